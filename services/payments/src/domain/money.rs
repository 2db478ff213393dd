//! Amounts: integers of minor units, never floats. Sums are checked; a fee follows the contract's formula.

use serde::{Serialize, Serializer};

/// The largest amount of one payment, in minor units.
pub const MAX_AMOUNT: i64 = 999_999_999_999;

/// Minor units of some currency, 1 to [`MAX_AMOUNT`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Amount(i64);

impl Amount {
    /// None where `value` is out of range.
    pub fn new(value: i64) -> Option<Self> {
        (1..=MAX_AMOUNT).contains(&value).then_some(Self(value))
    }

    /// Minor units.
    pub fn minor(self) -> i64 {
        self.0
    }
}

/// The supported currencies (ISO 4217).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Currency {
    /// US dollar.
    Usd,
    /// Euro.
    Eur,
    /// Pound sterling.
    Gbp,
    /// Yen; its minor unit is the yen itself.
    Jpy,
}

impl Currency {
    /// None where the code isn't supported.
    pub fn parse(code: &str) -> Option<Self> {
        Some(match code {
            "USD" => Self::Usd,
            "EUR" => Self::Eur,
            "GBP" => Self::Gbp,
            "JPY" => Self::Jpy,
            _ => return None,
        })
    }

    /// The ISO code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Usd => "USD",
            Self::Eur => "EUR",
            Self::Gbp => "GBP",
            Self::Jpy => "JPY",
        }
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// What a merchant pays for a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fees {
    /// Hundredths of a percent, 0 to 10 000.
    pub bps: i32,
    /// Minor units, 0 to [`MAX_AMOUNT`].
    pub fixed: i64,
}

impl Fees {
    /// The fee on a capture in minor units: `(amount * bps + 5000) / 10000 + fixed`, at most the amount. Can't overflow: an amount
    /// times 10 000 is below 2^54.
    pub fn on(self, amount: Amount) -> i64 {
        let share = (amount.0 * i64::from(self.bps) + 5000) / 10_000;
        (share + self.fixed).min(amount.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> toml::Table {
        include_str!("../../../../proto/vectors/money.toml").parse().unwrap()
    }

    #[test]
    fn amounts_are_in_range_as_the_vectors_say() {
        for case in vectors()["amount"].as_array().unwrap() {
            let value = case["value"].as_integer().unwrap();
            assert_eq!(Amount::new(value).is_some(), case["valid"].as_bool().unwrap(), "{value}");
        }
    }

    #[test]
    fn fees_are_as_the_vectors_say() {
        for case in vectors()["fee"].as_array().unwrap() {
            let member = |name: &str| case[name].as_integer().unwrap();
            let fees = Fees { bps: i32::try_from(member("fee_bps")).unwrap(), fixed: member("fee_fixed") };
            assert_eq!(fees.on(Amount::new(member("amount")).unwrap()), member("fee"), "{case}");
        }
    }
}
