//! How long a request may take: what the client says, at most 30 s; 10 s where it says nothing.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::error::{Error, Rule, Violations};

/// More is cut.
const MAX: Duration = Duration::from_secs(30);
/// Where nothing is said.
const DEFAULT: Duration = Duration::from_secs(10);

/// Where nothing is said.
pub fn default(now: Instant) -> Instant {
    now + DEFAULT
}

/// From the values of `Request-Timeout-Ms`: one, of 1 to 9 ASCII digits.
pub fn from_http<'a>(mut values: impl Iterator<Item = &'a [u8]>, now: Instant) -> Result<Instant, Error> {
    let timeout = match (values.next(), values.next()) {
        (None, _) => DEFAULT,
        (Some(value), None) => Duration::from_millis(number(value, 9).ok_or_else(malformed)?),
        (Some(_), Some(_)) => return Err(malformed()),
    };
    Ok(now + timeout.min(MAX))
}

/// From `grpc-timeout`: 1 to 8 digits and a unit. What isn't well-formed is as absent.
pub fn from_grpc(value: Option<&[u8]>, now: Instant) -> Instant {
    let timeout = value.and_then(|value| {
        let (unit, digits) = value.split_last()?;
        let number = number(digits, 8)?;
        Some(match unit {
            b'H' => Duration::from_secs(number * 3600),
            b'M' => Duration::from_secs(number * 60),
            b'S' => Duration::from_secs(number),
            b'm' => Duration::from_millis(number),
            b'u' => Duration::from_micros(number),
            b'n' => Duration::from_nanos(number),
            _ => return None,
        })
    });
    now + timeout.unwrap_or(DEFAULT).min(MAX)
}

fn number(digits: &[u8], most: usize) -> Option<u64> {
    let fits = (1..=most).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| fits)?.parse().ok()
}

fn malformed() -> Error {
    let mut violations = Violations::default();
    violations.add("Request-Timeout-Ms", Rule::Malformed);
    violations.check().err().unwrap_or(Error::DeadlineExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_timeout_is_read_capped_and_refused() {
        let now = Instant::now();
        let http = |values: &[&'static str]| {
            let deadline = from_http(values.iter().map(|v| v.as_bytes()), now);
            deadline.ok().map(|deadline| (deadline - now).as_millis())
        };
        assert_eq!(http(&[]), Some(10_000));
        assert_eq!((http(&["0"]), http(&["007"]), http(&["999999999"])), (Some(0), Some(7), Some(30_000)));
        for bad in
            [&["" as &str] as &[&str], &["-1"], &["1.5"], &["1s"], &["0000000001"], &[" 1"], &["1", "1"]]
        {
            let bad: Vec<&'static str> = bad.iter().map(|v| (*v).to_owned().leak() as &str).collect();
            assert_eq!(http(&bad), None, "{bad:?}");
        }
        let grpc = |value: &str| (from_grpc(Some(value.as_bytes()), now) - now).as_micros();
        assert_eq!(
            (grpc("250m"), grpc("3S"), grpc("99999999n"), grpc("1H")),
            (250_000, 3_000_000, 99_999, 30_000_000)
        );
        assert_eq!((grpc("m"), grpc("x"), grpc("123456789m")), (10_000_000, 10_000_000, 10_000_000));
    }
}
