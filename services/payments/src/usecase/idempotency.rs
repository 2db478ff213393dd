//! What a key means, once, for every verb.

use crate::{
    domain::{error::Error, id::PaymentId},
    reply::Reply,
    store::{db::Failure, idempotency::Claim},
};

/// The longest key, in bytes.
const MAX_KEY: usize = 255;
/// How often a statement looks again when others keep taking key or payment between its snapshot and its lock.
const MAX_LOOKS: u32 = 3;

/// 1 to 255 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// From the header's values: at most one, plain or as a structured-field string. None where there is none.
    pub fn parse<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<Option<Self>, Error> {
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Error::IdempotencyKeyInvalid);
        }
        let plain = match value.strip_prefix(b"\"") {
            None => Some(value.to_owned()),
            Some(quoted) => unquote(quoted),
        };
        plain
            .filter(|key| (1..=MAX_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic))
            .and_then(|key| String::from_utf8(key).ok())
            .map(|key| Some(Self(key)))
            .ok_or(Error::IdempotencyKeyInvalid)
    }

    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The inside of a structured-field string (RFC 8941): `\"` and `\\` are its only escapes.
fn unquote(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return rest.next().is_none().then_some(plain),
            b'\\' => plain.push(*rest.next().filter(|next| matches!(next, b'"' | b'\\'))?),
            _ => plain.push(*byte),
        }
    }
    None
}

/// Runs a statement that takes a key, again where it says so; `payment` is the one that it also takes. The inner error is a replay.
pub(super) async fn take<T, F: Future<Output = Result<Claim<T>, Failure>>>(
    payment: Option<PaymentId>,
    statement: impl Fn() -> F,
) -> Result<Result<T, Reply>, Error> {
    for _look in 0..MAX_LOOKS {
        match statement().await.map_err(|failure| failure.writing(payment))? {
            Claim::Ours(ours) => return Ok(Ok(ours)),
            Claim::Answered(answer) => return answer.map(Err),
            Claim::LookAgain => {}
        }
    }
    // A key that was taken is seen at the second look, so this is another's claim in progress; a payment that others keep taking
    // is busy.
    Err(payment.map_or(Error::IdempotencyInProgress, Error::PaymentBusy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Option<Option<String>> {
        let key = IdempotencyKey::parse(values.iter().map(|v| v.as_bytes())).ok()?;
        Some(key.map(|key| key.0))
    }

    #[test]
    fn keys_are_plain_or_structured_strings_of_visible_ascii() {
        assert_eq!(parse(&[]), Some(None));
        let longest = "k".repeat(255);
        for (value, want) in [
            ("order-1", "order-1"),
            ("a\"b", "a\"b"),
            (longest.as_str(), longest.as_str()),
            (r#""order-1""#, "order-1"),
            (r#""a\"\\b""#, r#"a"\b"#),
        ] {
            assert_eq!(parse(&[value]), Some(Some(want.to_owned())), "{value}");
        }
        let long = "k".repeat(256);
        for bad in
            ["", "a b", "é", "\"", "\"\"", "\"a", "\"a\"b", r#""a\b""#, "\"a b\"", r#""a\"#, &long, "a\tb"]
        {
            assert_eq!(parse(&[bad]), None, "{bad}");
        }
        assert_eq!(parse(&["a", "a"]), None);
    }
}
