//! A card: its number in the one type that can't be printed, compared or serialised, and what may be shown of it.

use time::OffsetDateTime;
use zeroize::{Zeroize, Zeroizing};

use super::{error::names, id::TokenId};

/// A card number that passed Luhn. Wiped when dropped; no Debug, no Display, no Serialize.
pub struct CardNumber(Zeroizing<String>);

impl CardNumber {
    /// None where the check digit is wrong. `digits` must be 12 to 19 ASCII digits; it is taken, so that no copy stays behind.
    pub fn new(mut digits: Zeroizing<String>) -> Option<Self> {
        if luhn(digits.as_bytes()) {
            return Some(Self(digits));
        }
        digits.zeroize();
        None
    }

    /// The digits, for the hash and the card network alone.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The last four digits, which may be shown.
    pub fn last4(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }

    /// Who issued it, by its first digits.
    pub fn brand(&self) -> Brand {
        brand(&self.0)
    }
}

/// ISO/IEC 7812-1: from the right, every second digit doubled, the sum a multiple of ten.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0') * if place % 2 == 1 { 2 } else { 1 };
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

fn brand(digits: &str) -> Brand {
    let first = |n: usize| digits.get(..n).and_then(|d| d.parse::<u32>().ok()).unwrap_or(0);
    match (first(1), first(2), first(3), first(4)) {
        (4, ..) => Brand::Visa,
        (_, 51..=55, ..) | (_, _, _, 2221..=2720) => Brand::Mastercard,
        (_, 34 | 37, ..) => Brand::Amex,
        (_, 65, ..) | (_, _, 644..=649, _) | (_, _, _, 6011) => Brand::Discover,
        (_, _, _, 3528..=3589) => Brand::Jcb,
        (_, 36 | 38 | 39, ..) | (_, _, 300..=305, _) => Brand::Diners,
        (_, 62, ..) => Brand::Unionpay,
        _ => Brand::Unknown,
    }
}

names! {
    /// The card schemes that are told apart.
    Brand {
        Visa = "visa",
        Mastercard = "mastercard",
        Amex = "amex",
        Discover = "discover",
        Jcb = "jcb",
        Diners = "diners",
        Unionpay = "unionpay",
        Unknown = "unknown",
    }
}

/// What stands for a card, and what may be shown of it.
pub struct PaymentToken {
    /// ptk_…
    pub id: TokenId,
    /// By the number's first digits.
    pub brand: Brand,
    /// The number's last digits.
    pub last4: String,
    /// When it ends.
    pub expiry: Expiry,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// When a card ends: it is good until the last moment of this month, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expiry {
    /// 1 to 12.
    pub month: i16,
    /// 2000 to 2100.
    pub year: i16,
}

impl Expiry {
    /// Whether the card's month has ended at `now`.
    pub fn passed(self, now: OffsetDateTime) -> bool {
        (i32::from(self.year), i32::from(self.month)) < (now.year(), i32::from(u8::from(now.month())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn numbers_are_checked_and_branded_as_the_vectors_say() {
        let vectors: toml::Table = include_str!("../../../../proto/vectors/cards.toml").parse().unwrap();
        for case in vectors["card"].as_array().unwrap() {
            let number = case["number"].as_str().unwrap();
            let card = CardNumber::new(Zeroizing::new(number.to_owned()));
            assert_eq!(card.is_some(), case["valid"].as_bool().unwrap(), "{number}");
            if let Some(card) = card {
                assert_eq!(card.brand().as_str(), case["brand"].as_str().unwrap(), "{number}");
                assert_eq!(card.last4(), case["last4"].as_str().unwrap());
            }
        }
    }

    #[test]
    fn a_card_is_good_until_its_month_ends() {
        let expiry = Expiry { month: 2, year: 2028 };
        assert!(!expiry.passed(datetime!(2028-02-29 23:59:59.999_999 UTC)));
        assert!(expiry.passed(datetime!(2028-03-01 0:00 UTC)));
        assert!(expiry.passed(datetime!(2029-01-01 0:00 UTC)));
        assert!(!expiry.passed(datetime!(2027-12-31 0:00 UTC)));
    }
}
