//! CPU-bound work, bounded: so many hashes at once, so many waiting, each for so long. What doesn't fit is shed at once, which is
//! what keeps the rest fast. The permit moves into the job: a client that gives up doesn't free it while the work runs on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use opentelemetry::KeyValue;
use sha2::Sha256;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tracing::Span;
use zeroize::Zeroizing;

use crate::{
    domain::{
        error::{Error, Reason},
        id::MerchantId,
    },
    telemetry::{Call, Metrics, spans},
};

/// The limits.
#[derive(Clone, Copy)]
pub struct Limits {
    /// At once.
    pub permits: usize,
    /// Waiting.
    pub queue: usize,
    /// How long one waits.
    pub wait: Duration,
}

/// Runs jobs on the blocking threads, at most `permits` at once.
#[derive(Clone)]
pub struct HashPool {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    limits: Limits,
    metrics: Arc<Metrics>,
}

impl HashPool {
    /// A pool with its own permits.
    pub fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        let permits = Arc::new(Semaphore::new(limits.permits));
        Self { permits, waiting: Arc::new(AtomicUsize::new(0)), limits, metrics }
    }

    /// Runs `job`, unless it can't begin in time: OVERLOADED where the pool is full, DEADLINE_EXCEEDED where nobody waits any more.
    pub async fn run<T: Send + 'static>(
        &self,
        call: &Call,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let asked = Instant::now();
        let permit = self.permit(call, asked).await?;
        let waited = asked.elapsed().as_secs_f64();
        self.metrics.hash_wait.record(waited, &[]);
        let span = spans::hash(&call.span, waited * 1000.0);
        let (deadline, running, metrics) = (call.deadline, span.clone(), self.metrics.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            // The blocking threads have a queue of their own: look again.
            if Instant::now() >= deadline {
                late(&running);
                return Err(Error::DeadlineExceeded);
            }
            let began = Instant::now();
            let result = job();
            metrics.hash_run.record(began.elapsed().as_secs_f64(), &[]);
            spans::end(&running);
            Ok(result)
        });
        match timeout_at(call.deadline, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Error::Internal(panic.into())),
            Err(_) => {
                late(&span);
                Err(Error::DeadlineExceeded)
            }
        }
    }

    async fn permit(&self, call: &Call, now: Instant) -> Result<OwnedSemaphorePermit, Error> {
        if now >= call.deadline {
            return Err(Error::DeadlineExceeded);
        }
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let Some(_place) = Place::take(self) else {
            return Err(self.shed("hash_queue"));
        };
        let until = (now + self.limits.wait).min(call.deadline);
        match timeout_at(until, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(closed)) => Err(Error::Internal(closed.into())),
            Err(_) if until == call.deadline => Err(Error::DeadlineExceeded),
            Err(_) => Err(self.shed("hash_wait")),
        }
    }

    fn shed(&self, why: &'static str) -> Error {
        self.metrics.rejected.add(1, &[KeyValue::new("reason", why)]);
        Error::Overloaded(Some("the hash pool is full".into()))
    }
}

/// The deadline ended it, though the work may run on.
fn late(span: &Span) {
    spans::fail(span, Reason::DeadlineExceeded.as_str());
    spans::end(span);
}

/// A place in the queue, given back when dropped: the waiting future may be dropped too.
struct Place<'a>(&'a HashPool);

impl<'a> Place<'a> {
    fn take(pool: &'a HashPool) -> Option<Self> {
        let limit = pool.limits.queue;
        let next = |waiting| (waiting < limit).then_some(waiting + 1);
        pool.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        pool.metrics.hash_queue.add(1, &[]);
        Some(Self(pool))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.hash_queue.add(-1, &[]);
    }
}

/// HMAC-SHA256.
pub fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// A card's fingerprint, the same for one merchant's every use of it: keyed, stretched, and of no use to another merchant.
pub fn fingerprint(pepper: &[u8; 32], number: &str, merchant: MerchantId, iterations: u32) -> [u8; 32] {
    let password = Zeroizing::new(hmac(pepper, &[number.as_bytes()]));
    pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(&*password, merchant.0.as_bytes(), iterations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn call(milliseconds: u64) -> Call {
        let deadline = Instant::now() + Duration::from_millis(milliseconds);
        let (span, trace) = (Span::none(), spans::join(&Span::none(), None));
        Call { deadline, span, trace }
    }

    fn pool(permits: usize, queue: usize, wait: u64) -> HashPool {
        let limits = Limits { permits, queue, wait: Duration::from_millis(wait) };
        HashPool::new(limits, Metrics::new().unwrap())
    }

    #[test]
    fn fingerprints_are_those_of_the_vectors() {
        let vectors: toml::Table = include_str!("../../../proto/vectors/fingerprint.toml").parse().unwrap();
        for case in vectors["fingerprint"].as_array().unwrap() {
            let text = |name: &str| case[name].as_str().unwrap();
            let pepper: [u8; 32] = hex::decode(text("pepper")).unwrap().try_into().unwrap();
            let merchant = MerchantId::parse(text("merchant")).unwrap();
            let iterations = u32::try_from(case["iterations"].as_integer().unwrap()).unwrap();
            let ours = fingerprint(&pepper, text("number"), merchant, iterations);
            assert_eq!(hex::encode(ours), text("fingerprint"), "{case}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn impatient_clients_never_run_more_hashes_at_once_than_permits() {
        let pool = pool(2, 100, 1000);
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let clients = (0..40).map(|_| {
            let (pool, running, most) = (pool.clone(), running.clone(), most.clone());
            tokio::spawn(async move {
                let job = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    fingerprint(&[1; 32], "4242424242424242", MerchantId(uuid::Uuid::nil()), 20_000);
                    running.fetch_sub(1, Ordering::SeqCst);
                };
                let patience = Duration::from_millis(8);
                let _ = tokio::time::timeout(patience, pool.run(&call(10_000), job)).await;
            })
        });
        futures::future::join_all(clients).await;
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)), "{most:?} at once");
        assert_eq!(pool.waiting.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_full_queue_a_long_wait_and_a_passed_deadline_are_told_apart() {
        let pool = pool(1, 1, 10);
        let (release, held) = oneshot::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let busy = tokio::spawn({
            let pool = pool.clone();
            async move {
                let job = move || {
                    begun.send(()).unwrap();
                    held.blocking_recv().unwrap();
                };
                pool.run(&call(10_000), job).await.unwrap();
            }
        });
        has_begun.await.unwrap();
        let (waited, queued) = (call(10_000), call(10_000));
        let (long, full) = tokio::join!(pool.run(&waited, || ()), pool.run(&queued, || ()));
        assert!(matches!(long, Err(Error::Overloaded(_))), "waited 10 ms: {long:?}");
        assert!(matches!(full, Err(Error::Overloaded(_))), "no place in the queue: {full:?}");
        assert!(matches!(pool.run(&call(2), || ()).await, Err(Error::DeadlineExceeded)));
        assert!(matches!(pool.run(&call(0), || ()).await, Err(Error::DeadlineExceeded)));
        release.send(()).unwrap();
        busy.await.unwrap();
    }
}
