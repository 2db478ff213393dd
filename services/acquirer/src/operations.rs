//! What the network remembers: one decision an operation id. The first ask decides; a later ask with the same request
//! gets the same answer, and one with another request is refused.
//!
//! Memory is bounded: [`SHARDS`] x [`SHARD_OPERATIONS`] operations, about 100 MB when full, the oldest of a shard going
//! first. A caller retries within seconds; at 2 000 operations a second the oldest are four minutes old when they go.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use payments_proto::acquirer::v1::Result as Decision;

use crate::script::Rpc;

/// Small tables, each with its own lock: none is ever copied while it grows for longer than some microseconds.
pub const SHARDS: usize = 64;
/// Operations that a shard remembers.
pub const SHARD_OPERATIONS: usize = 8192;

/// What an operation came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// A card was replaced by a token; the token follows from the operation id.
    Provisioned,
    /// Money was decided about.
    Decided {
        /// By which rpc.
        rpc: Rpc,
        /// Minor units.
        amount: i64,
        /// ISO 4217.
        currency: [u8; 3],
        /// The decision.
        decision: Decision,
    },
}

/// The answer to an ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// Nothing was decided: the first ask meets an error. The next one doesn't.
    Fails,
    /// This ask decided.
    First(Outcome),
    /// An earlier one did.
    Again(Outcome),
    /// An earlier one did, with another request.
    Conflict,
}

#[derive(Debug)]
enum Entry {
    Failed,
    Done { fingerprint: u64, outcome: Outcome },
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Arc<str>, Entry>,
    /// Oldest first.
    order: VecDeque<Arc<str>>,
}

/// All operations that are remembered.
#[derive(Debug)]
pub struct Operations {
    shards: Vec<Mutex<Shard>>,
    /// Keyed by randomness of this process: a fingerprint in memory gives no card away.
    hasher: RandomState,
    limit: usize,
}

impl Default for Operations {
    fn default() -> Operations {
        Operations::with_limit(SHARD_OPERATIONS)
    }
}

impl Operations {
    /// With another limit a shard.
    pub fn with_limit(limit: usize) -> Operations {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Operations { shards, hasher: RandomState::new(), limit }
    }

    /// Asks for an operation: of concurrent first asks one decides. `fails` is whether the first one meets an error, as it
    /// does where `decide` gives nothing.
    pub fn ask(
        &self,
        id: &str,
        request: impl std::hash::Hash,
        fails: bool,
        decide: impl FnOnce() -> Option<Outcome>,
    ) -> Answer {
        let fingerprint = self.hasher.hash_one(request);
        let mut shard = self.shard(id);
        match shard.entries.get_mut(id) {
            Some(Entry::Done { fingerprint: earlier, outcome }) if *earlier == fingerprint => {
                Answer::Again(*outcome)
            }
            Some(Entry::Done { .. }) => Answer::Conflict,
            Some(entry @ Entry::Failed) => {
                let Some(outcome) = decide() else { return Answer::Fails };
                *entry = Entry::Done { fingerprint, outcome };
                Answer::First(outcome)
            }
            None if fails => {
                shard.insert(id, Entry::Failed, self.limit);
                Answer::Fails
            }
            None => {
                let Some(outcome) = decide() else { return Answer::Fails };
                shard.insert(id, Entry::Done { fingerprint, outcome }, self.limit);
                Answer::First(outcome)
            }
        }
    }

    /// Remembers what an earlier process decided; a later record of an operation counts.
    pub fn restore(&self, id: &str, request: impl std::hash::Hash, outcome: Outcome) {
        let entry = Entry::Done { fingerprint: self.hasher.hash_one(request), outcome };
        let mut shard = self.shard(id);
        match shard.entries.get_mut(id) {
            Some(earlier) => *earlier = entry,
            None => shard.insert(id, entry, self.limit),
        }
    }

    /// What an operation came to.
    pub fn find(&self, id: &str) -> Option<Outcome> {
        match self.shard(id).entries.get(id)? {
            Entry::Done { outcome, .. } => Some(*outcome),
            Entry::Failed => None,
        }
    }

    /// A panic under the lock can't leave a shard half-changed: what may panic runs before the change.
    fn shard(&self, id: &str) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(id) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn insert(&mut self, id: &str, entry: Entry, limit: usize) {
        if self.order.len() >= limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        let id: Arc<str> = id.into();
        self.order.push_back(Arc::clone(&id));
        self.entries.insert(id, entry);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn the_first_ask_decides_and_later_ones_get_the_same() {
        let operations = Operations::default();
        assert_eq!(operations.find("a"), None);
        assert_eq!(
            operations.ask("a", 1, false, || Some(Outcome::Provisioned)),
            Answer::First(Outcome::Provisioned)
        );
        assert_eq!(
            operations.ask("a", 1, false, || panic!("decided twice")),
            Answer::Again(Outcome::Provisioned)
        );
        assert_eq!(operations.ask("a", 2, false, || panic!("decided twice")), Answer::Conflict);
        assert_eq!(operations.find("a"), Some(Outcome::Provisioned));
    }

    #[test]
    fn an_error_bites_once_and_decides_nothing() {
        let operations = Operations::default();
        assert_eq!(operations.ask("a", 1, true, || panic!("decided")), Answer::Fails);
        assert_eq!(operations.find("a"), None);
        assert_eq!(
            operations.ask("a", 2, true, || Some(Outcome::Provisioned)),
            Answer::First(Outcome::Provisioned)
        );
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let operations = Operations::with_limit(4);
        for i in 0..10_000 {
            operations.ask(&i.to_string(), i, false, || Some(Outcome::Provisioned));
        }
        let remembered: usize =
            operations.shards.iter().map(|shard| shard.lock().expect("free").entries.len()).sum();
        assert_eq!(remembered, 4 * SHARDS);
        assert_eq!(operations.find("0"), None);
        assert_eq!(operations.find("9999"), Some(Outcome::Provisioned));
    }

    #[test]
    fn of_concurrent_first_asks_one_decides() {
        let operations = Operations::default();
        let gate = Barrier::new(8);
        for round in 0..200 {
            let id = round.to_string();
            let firsts: usize = std::thread::scope(|scope| {
                let ask = || {
                    gate.wait();
                    matches!(operations.ask(&id, 1, false, || Some(Outcome::Provisioned)), Answer::First(_))
                        as usize
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
            });
            assert_eq!(firsts, 1, "round {round}");
        }
    }
}
