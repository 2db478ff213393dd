//! Who asks: the administrator, or a merchant by an API key. Keys are remembered for at most 5 s, so a revocation takes at most that.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use opentelemetry::KeyValue;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::{Instant, timeout_at};

use super::payments::Payments;
use crate::{
    domain::{
        error::Error,
        id::{KeyId, MerchantId},
    },
    store::{
        db::Failure,
        merchants::{Credential, find_api_key},
    },
    telemetry::Call,
};

/// How long a key is remembered.
const REMEMBERED: Duration = Duration::from_secs(5);
/// How many keys are.
const MAX_KEYS: u64 = 10_000;
/// How long a look-up may take, which serves all that wait for the same key, whatever their deadlines.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(2);

/// Where an API key's text begins.
pub(super) const KEY_PREFIX: &str = "tp_live_";

/// The cache of keys; only those that exist are remembered.
pub(super) fn cache() -> Cache<KeyId, Credential> {
    Cache::builder().max_capacity(MAX_KEYS).time_to_live(REMEMBERED).build()
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// By the admin token.
    Admin,
    /// By one of its API keys.
    Merchant(MerchantId, KeyId),
}

impl Caller {
    /// Only a merchant may.
    pub fn merchant(self) -> Result<MerchantId, Error> {
        match self {
            Self::Merchant(merchant, _) => Ok(merchant),
            Self::Admin => Err(Error::PermissionDenied),
        }
    }

    /// Only the administrator may.
    pub fn admin(self) -> Result<(), Error> {
        match self {
            Self::Admin => Ok(()),
            Self::Merchant(..) => Err(Error::PermissionDenied),
        }
    }
}

enum LookUp {
    Unknown,
    Failed(Failure),
}

impl Payments {
    /// From the values of `Authorization`: exactly one, `Bearer`, one space, the credential.
    pub async fn authenticate<'a>(
        &self,
        call: &Call,
        mut values: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Caller, Error> {
        let credential = match (values.next(), values.next()) {
            (Some(value), None) => bearer(value).ok_or(Error::Unauthenticated)?,
            (_, _) => return Err(Error::Unauthenticated),
        };
        if bool::from(credential.as_bytes().ct_eq(self.settings.admin_token.as_bytes())) {
            return Ok(Caller::Admin);
        }
        let (id, secret) = parse(credential).ok_or(Error::Unauthenticated)?;
        let key = self.look_up(call, id).await?;
        let digest: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        if bool::from(digest.ct_eq(&key.secret_sha256)) {
            Ok(Caller::Merchant(key.merchant, id))
        } else {
            Err(Error::Unauthenticated)
        }
    }

    /// Whether the caller's API key doesn't ask too often. The administrator isn't limited.
    pub async fn limit(&self, caller: Caller) -> Result<(), Error> {
        match caller {
            Caller::Merchant(_, key) if !self.rate_limit.allow(key).await => {
                self.metrics.rejected.add(1, &[KeyValue::new("reason", "rate_limit")]);
                Err(Error::RateLimited)
            }
            Caller::Merchant(..) | Caller::Admin => Ok(()),
        }
    }

    async fn look_up(&self, call: &Call, id: KeyId) -> Result<Credential, Error> {
        let init = async {
            let call = call.until(Instant::now() + LOOK_UP_LIMIT);
            match find_api_key(&self.db, &call, id).await {
                Ok(Some(key)) => Ok(key),
                Ok(None) => Err(LookUp::Unknown),
                Err(failure) => Err(LookUp::Failed(failure)),
            }
        };
        match timeout_at(call.deadline, self.keys.try_get_with(id, init)).await {
            Ok(Ok(key)) => Ok(key),
            Ok(Err(failed)) => Err(failure(failed)),
            Err(_) => Err(Error::DeadlineExceeded),
        }
    }
}

/// One failure may be told to all that waited for it; its cause then stays with the one that is told last.
fn failure(failed: Arc<LookUp>) -> Error {
    match Arc::try_unwrap(failed) {
        Ok(LookUp::Unknown) => Error::Unauthenticated,
        Ok(LookUp::Failed(failure)) => failure.reading(),
        Err(shared) => match &*shared {
            LookUp::Unknown => Error::Unauthenticated,
            LookUp::Failed(Failure::Broken(cause)) => Error::Internal(cause.to_string().into()),
            LookUp::Failed(_) => Error::Overloaded(None),
        },
    }
}

fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, credential) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(credential)
}

/// `tp_live_<key id's suffix>_<64 hex digits>`
fn parse(credential: &str) -> Option<(KeyId, &str)> {
    let (suffix, secret) = credential.strip_prefix(KEY_PREFIX)?.split_once('_')?;
    let hex = secret.len() == 64 && secret.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    Some((KeyId::of_suffix(suffix)?, secret)).filter(|_| hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_exactly() {
        assert_eq!(bearer(b"Bearer x y"), Some("x y"));
        assert_eq!(bearer(b"bEARER x"), Some("x"));
        for bad in ["", "Bearer", "Basic x", "Bearer\tx"] {
            assert_eq!(bearer(bad.as_bytes()), None, "{bad}");
        }
        let (id, secret) = (KeyId::fresh(), "0f".repeat(32));
        let good = format!("{KEY_PREFIX}{}_{secret}", id.suffix());
        assert_eq!(parse(&good), Some((id, secret.as_str())));
        for bad in [
            good.to_uppercase(),
            format!(" {good}"),
            format!("{good}0"),
            good.replace("0f", "0F"),
            good.replace("tp_live", "tp_test"),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }
}
