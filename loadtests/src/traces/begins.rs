//! When the requests of a side began: windows of time that hold as many of them each. Windows of the same length would be
//! empty but for one or two where a single request came an hour before the others.

/// As many begins as are kept, at most; then every second one goes.
const KEPT_MAX: usize = 1 << 16;

/// Begins, in ns of the Unix epoch; of very many some, as evenly as they came by.
#[derive(Debug, Clone)]
pub struct Begins {
    every: u64,
    seen: u64,
    kept: Vec<u64>,
}

impl Begins {
    /// None yet.
    pub fn none() -> Self {
        Self { every: 1, seen: 0, kept: Vec::new() }
    }

    /// One more.
    pub fn add(&mut self, at: u64) {
        if self.seen.is_multiple_of(self.every) {
            self.kept.push(at);
        }
        self.seen += 1;
        if self.kept.len() > KEPT_MAX {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.seen
    }

    /// So many windows, with as many requests in each as can be.
    pub fn windows(mut self, count: usize) -> Windows {
        self.kept.sort_unstable();
        let edge = |index: usize| self.kept.get(index * self.kept.len() / count).copied();
        Windows((1..count).filter_map(edge).collect())
    }
}

/// Windows of time, one after another.
#[derive(Debug)]
pub struct Windows(Vec<u64>);

impl Windows {
    /// The window of a moment, from 0.
    pub fn of(&self, at: u64) -> usize {
        self.0.partition_point(|edge| *edge <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(begins: impl Iterator<Item = u64> + Clone) -> Vec<usize> {
        let mut all = Begins::none();
        begins.clone().for_each(|at| all.add(at));
        assert_eq!(all.count(), begins.clone().count() as u64);
        let windows = all.windows(24);
        let mut filled = vec![0; 24];
        begins.for_each(|at| filled[windows.of(at)] += 1);
        filled
    }

    #[test]
    fn each_window_has_as_many_whatever_came_long_before_or_after() {
        let odd = [0, 1, u64::MAX];
        let filled = filled(odd.into_iter().chain((0..2400).map(|index| 1_000_000_000 + index * 1000)));
        assert!(filled.iter().all(|count| (99..=102).contains(count)), "{filled:?}");
    }

    #[test]
    fn of_very_many_some_are_kept() {
        // In an order that isn't theirs.
        let filled = filled((0..1_000_000_u64).map(|index| index * 7919 % 1_000_003));
        assert!(filled.iter().all(|count| (40_000..43_500).contains(count)), "{filled:?}");
    }

    #[test]
    fn fewer_than_windows_are_in_windows_of_their_own() {
        let filled = filled((0..10).map(|index| index * 100));
        assert_eq!(filled.iter().max(), Some(&1));
        assert_eq!(super::Begins::none().windows(24).of(5), 0);
    }
}
