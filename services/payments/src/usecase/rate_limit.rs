//! How often one API key may ask: a bucket for each, of so many requests at once, refilled by so many a second.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::{future::Cache, policy::EvictionPolicy};

use crate::domain::id::KeyId;

/// How many keys have a bucket: it bounds the memory that they take.
const MAX_BUCKETS: u64 = 10_000;
/// How long a bucket is kept that nobody takes from.
const IDLE: Duration = Duration::from_secs(60);

/// The buckets. Cheap to clone.
#[derive(Clone)]
pub(super) struct RateLimit {
    quota: Option<Quota>,
    buckets: Cache<KeyId, Arc<DefaultDirectRateLimiter>>,
}

impl RateLimit {
    /// Requests a second, 0: no limit; and at once.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = NonZeroU32::new(per_second).map(|limit| Quota::per_second(limit).allow_burst(burst));
        let buckets = Cache::builder()
            .max_capacity(MAX_BUCKETS)
            .time_to_idle(IDLE)
            // The default keeps the often used, and would turn away the bucket of a newcomer.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { quota, buckets }
    }

    /// Takes from the key's bucket; false: there is nothing in it.
    pub(super) async fn allow(&self, key: KeyId) -> bool {
        let Some(quota) = self.quota else { return true };
        let full = async move { Arc::new(RateLimiter::direct(quota)) };
        self.buckets.get_with(key, full).await.check().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_may_burst_then_gets_its_rate() {
        let limit = RateLimit::new(1, 3);
        let (key, other) = (KeyId::fresh(), KeyId::fresh());
        let mut allowed = 0;
        while limit.allow(key).await {
            allowed += 1;
        }
        assert!(allowed >= 3, "{allowed}");
        assert!(limit.allow(other).await, "another key has a bucket of its own");
        while !limit.allow(key).await {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_number_of_buckets_is_bounded() {
        let limit = RateLimit::new(1, 1);
        for _ in 0..MAX_BUCKETS + 10 {
            assert!(limit.allow(KeyId::fresh()).await);
        }
        limit.buckets.run_pending_tasks().await;
        assert_eq!(limit.buckets.entry_count(), MAX_BUCKETS);
    }

    #[tokio::test]
    async fn no_limit_is_no_bucket() {
        let (limit, key) = (RateLimit::new(0, 1), KeyId::fresh());
        for _ in 0..10 {
            assert!(limit.allow(key).await);
        }
        limit.buckets.run_pending_tasks().await;
        assert_eq!(limit.buckets.entry_count(), 0);
    }
}
