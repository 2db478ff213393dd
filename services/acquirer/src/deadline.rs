//! The caller's deadline, from the `grpc-timeout` header. By hand: tonic's own server enforces it with CANCELLED, where
//! callers expect DEADLINE_EXCEEDED.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::latency::LONGEST;

/// When the caller stops waiting; no later than 30 s from now.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// Of a request that has just arrived.
    pub fn of(metadata: &MetadataMap) -> Deadline {
        let timeout = metadata.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
        Deadline(Instant::now() + timeout.unwrap_or(LONGEST).min(LONGEST))
    }

    /// Lets `latency` pass; an error where the deadline comes first.
    pub async fn pass(self, latency: Duration) -> Result<(), Status> {
        if latency.is_zero() {
            return Ok(());
        }
        let end = Instant::now() + latency;
        sleep_until(end.min(self.0)).await;
        if end > self.0 { Err(exceeded()) } else { Ok(()) }
    }

    /// Lets everything pass.
    pub async fn exceed(self) -> Status {
        sleep_until(self.0).await;
        exceeded()
    }
}

fn exceeded() -> Status {
    Status::deadline_exceeded("the deadline passed before the answer")
}

/// At most eight digits and a unit, as the gRPC protocol has it.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = Some(digits)
        .filter(|digits| digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_digit()))?
        .parse()
        .ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_longer_than_the_deadline_is_an_error_at_the_deadline() {
        let deadline = Deadline(Instant::now() + Duration::from_millis(5));
        assert!(deadline.pass(Duration::ZERO).await.is_ok());
        assert!(deadline.pass(Duration::from_micros(1)).await.is_ok());
        let status = deadline.pass(Duration::from_secs(600)).await.expect_err("late");
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert_eq!(deadline.exceed().await.code(), tonic::Code::DeadlineExceeded);
    }

    #[test]
    fn timeouts_are_read_as_the_protocol_says() {
        assert_eq!(parse("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for bad in ["", "S", "5", "5s", "-5S", "123456789S", "5 S", "５S"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
