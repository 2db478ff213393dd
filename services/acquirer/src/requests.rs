//! The shape of requests: everything else is INVALID_ARGUMENT. No message repeats a value, since a value may be a card.

use payments_proto::acquirer::v1::ProvisionTokenRequest;
use tonic::Status;
use zeroize::Zeroize;

use crate::script::Script;

/// The longest operation id, in bytes.
const OPERATION_ID_BYTES: usize = 64;
/// The largest amount, in minor units.
const AMOUNT_LIMIT: i64 = 999_999_999_999;

/// A request about money, checked.
#[derive(Debug, Clone, Copy)]
pub struct Money<'a> {
    pub operation_id: &'a str,
    pub network_token: &'a str,
    pub script: Script,
    pub amount: i64,
    pub currency: [u8; 3],
}

impl<'a> Money<'a> {
    /// Checks the members that all requests about money have.
    pub fn check(id: &'a str, token: &'a str, amount: i64, currency: &str) -> Result<Money<'a>, Status> {
        let operation_id = operation_id(id)?;
        let script =
            Script::of_token(token).ok_or_else(|| invalid("network_token isn't one of this network"))?;
        if !(1..=AMOUNT_LIMIT).contains(&amount) {
            return Err(invalid("amount must be from 1 to 999999999999"));
        }
        let currency: [u8; 3] = currency
            .as_bytes()
            .try_into()
            .ok()
            .filter(|code: &[u8; 3]| code.iter().all(u8::is_ascii_uppercase))
            .ok_or_else(|| invalid("currency must be three upper-case letters"))?;
        Ok(Money { operation_id, network_token: token, script, amount, currency })
    }
}

/// Checks an operation id.
pub fn operation_id(id: &str) -> Result<&str, Status> {
    let fits = (1..=OPERATION_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(id) } else { Err(invalid("operation_id must be 1 to 64 visible ASCII characters")) }
}

/// Checks a card, and gives its script.
pub fn card(request: &ProvisionTokenRequest) -> Result<Script, Status> {
    let number = request.card_number.as_bytes();
    if !(12..=19).contains(&number.len()) || !number.iter().all(u8::is_ascii_digit) {
        return Err(invalid("card_number must be 12 to 19 digits"));
    }
    if !luhn(number) {
        return Err(invalid("card_number has a wrong check digit"));
    }
    if !(1..=12).contains(&request.exp_month) {
        return Err(invalid("exp_month must be from 1 to 12"));
    }
    if !(2000..=2100).contains(&request.exp_year) {
        return Err(invalid("exp_year must be from 2000 to 2100"));
    }
    if !(3..=4).contains(&request.cvc.len()) || !request.cvc.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid("cvc must be 3 or 4 digits"));
    }
    Script::of_card(&request.card_number).ok_or_else(|| invalid("card_number must be 12 to 19 digits"))
}

/// Overwrites what must not stay in memory.
pub fn wipe(request: &mut ProvisionTokenRequest) {
    request.card_number.zeroize();
    request.cvc.zeroize();
}

fn invalid(message: &'static str) -> Status {
    Status::invalid_argument(message)
}

/// From the right, every second digit counts twice.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .map(|digit| u32::from(digit - b'0'))
        .enumerate()
        .map(|(place, digit)| match digit * 2 {
            _ if place % 2 == 0 => digit,
            double if double > 9 => double - 9,
            double => double,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ProvisionTokenRequest {
        ProvisionTokenRequest {
            operation_id: "op".into(),
            card_number: "4242424242424242".into(),
            exp_month: 12,
            exp_year: 2030,
            cvc: "123".into(),
        }
    }

    #[test]
    fn each_wrong_member_of_a_card_is_named_without_its_value() {
        assert!(card(&request()).is_ok());
        let table: [(&str, ProvisionTokenRequest); 8] = [
            ("card_number", ProvisionTokenRequest { card_number: "4242424242424241".into(), ..request() }),
            ("card_number", ProvisionTokenRequest { card_number: "42424242424".into(), ..request() }),
            ("card_number", ProvisionTokenRequest { card_number: "4242 4242 4242 4242".into(), ..request() }),
            ("card_number", ProvisionTokenRequest { card_number: String::new(), ..request() }),
            ("exp_month", ProvisionTokenRequest { exp_month: 13, ..request() }),
            ("exp_year", ProvisionTokenRequest { exp_year: 30, ..request() }),
            ("cvc", ProvisionTokenRequest { cvc: "12".into(), ..request() }),
            ("cvc", ProvisionTokenRequest { cvc: "12a".into(), ..request() }),
        ];
        for (member, wrong) in table {
            let status = card(&wrong).expect_err(member);
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().starts_with(member), "{}", status.message());
            assert!(!status.message().contains("4242"), "{}", status.message());
        }
    }

    #[test]
    fn each_wrong_member_of_a_money_request_is_named() {
        let token = "ntk_4242_0123456789abcdef0123456789abcdef";
        assert!(Money::check("op", token, 1, "USD").is_ok());
        let long = "x".repeat(65);
        for (member, id, token, amount, currency) in [
            ("operation_id", "", token, 1, "USD"),
            ("operation_id", &long, token, 1, "USD"),
            ("operation_id", "a b", token, 1, "USD"),
            ("network_token", "op", "ptk_1", 1, "USD"),
            ("amount", "op", token, 0, "USD"),
            ("amount", "op", token, AMOUNT_LIMIT + 1, "USD"),
            ("currency", "op", token, 1, "usd"),
            ("currency", "op", token, 1, "US"),
        ] {
            let status = Money::check(id, token, amount, currency).expect_err(member);
            assert!(status.message().starts_with(member), "{}", status.message());
        }
    }

    #[test]
    fn a_wiped_request_holds_no_card() {
        let mut request = request();
        wipe(&mut request);
        assert_eq!((request.card_number.as_str(), request.cvc.as_str()), ("", ""));
    }
}
