//! The highest rate that is kept: doubled until it isn't, then halved in between, then asked again. Each trial is the
//! caller's; this only says which rate is next.

use serde::{Deserialize, Serialize};

use crate::stats::rounded;

/// Trials of one search at most: a service that holds a rate now and misses it then would never end it.
const TRIALS_MAX: usize = 30;

/// How far a search goes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// The first rate that is tried.
    pub start: f64,
    /// No rate below is tried.
    pub least: f64,
    /// No rate above is tried.
    pub most: f64,
    /// How close the two ends are in the end: the upper by the lower.
    pub resolution: f64,
    /// How often the lower end has to be kept, after the search, before it is believed.
    pub confirmations: usize,
}

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bracket {
    /// The highest rate that was kept, below every one that was missed; unset: none was.
    pub low: Option<f64>,
    /// The lowest that was missed; unset: none was, up to the highest that may be tried.
    pub high: Option<f64>,
    /// The lower end was kept as often as was asked.
    pub confirmed: bool,
}

/// A search in progress.
#[derive(Debug)]
pub struct Search {
    reach: Reach,
    trials: Vec<(f64, bool)>,
}

impl Search {
    /// One that hasn't tried anything.
    pub fn new(reach: Reach) -> Self {
        Self { reach, trials: Vec::new() }
    }

    /// The rate to try next, as report.json can hold it; nothing: it is over.
    pub fn next(&self) -> Option<f64> {
        let Reach { start, least, most, resolution, .. } = self.reach;
        if self.trials.len() >= TRIALS_MAX || self.bracket().confirmed {
            return None;
        }
        match (self.low(), self.high()) {
            (None, None) => Some(start.clamp(least, most)),
            (Some(low), None) if low < most => Some((low * 2.0).min(most)),
            (None, Some(high)) => (high > least).then(|| (high / 2.0).max(least)),
            (Some(low), Some(high)) if high / low > resolution => Some(rounded((low * high).sqrt())),
            (Some(low), _) => Some(low),
        }
    }

    /// Whether the rate was kept.
    pub fn tell(&mut self, rate: f64, held: bool) {
        self.trials.push((rate, held));
    }

    /// What is known so far.
    pub fn bracket(&self) -> Bracket {
        let (low, high) = (self.low(), self.high());
        let kept = |low: f64| self.trials.iter().filter(|(rate, held)| *held && *rate == low).count();
        let close = match (low, high) {
            (Some(low), Some(high)) => high / low <= self.reach.resolution,
            (Some(low), None) => low >= self.reach.most,
            (None, _) => false,
        };
        let confirmed = close && low.is_some_and(|low| kept(low) > self.reach.confirmations);
        Bracket { low, high, confirmed }
    }

    fn high(&self) -> Option<f64> {
        let missed = self.trials.iter().filter(|(_, held)| !held).map(|(rate, _)| *rate);
        missed.min_by(f64::total_cmp)
    }

    fn low(&self) -> Option<f64> {
        let below = |rate: &f64| self.high().is_none_or(|high| *rate < high);
        let kept = self.trials.iter().filter(|(_, held)| *held).map(|(rate, _)| *rate);
        kept.filter(below).max_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;

    const REACH: Reach =
        Reach { start: 50.0, least: 1.0, most: 10_000.0, resolution: 1.05, confirmations: 1 };

    fn searched(reach: Reach, holds: &mut dyn FnMut(f64) -> bool) -> (Bracket, usize) {
        let mut search = Search::new(reach);
        while let Some(rate) = search.next() {
            let held = holds(rate);
            search.tell(rate, held);
        }
        (search.bracket(), search.trials.len())
    }

    #[test]
    fn any_capacity_is_bracketed_and_confirmed() {
        for capacity in [1.3, 12.0, 49.0, 51.0, 480.0, 9_000.0] {
            let (found, trials) = searched(REACH, &mut |rate| rate <= capacity);
            let (low, high) = (found.low.unwrap(), found.high.unwrap());
            assert!(low <= capacity && capacity < high && high / low <= 1.05 && found.confirmed, "{found:?}");
            assert!(trials <= 20, "{trials} for {capacity}");
        }
    }

    #[test]
    fn what_is_kept_once_and_missed_when_asked_again_is_no_capacity() {
        let mut asked = Vec::new();
        let (found, _) = searched(REACH, &mut |rate| {
            asked.push(rate);
            // Lucky the first time.
            rate <= 400.0 || rate <= 500.0 && asked.iter().filter(|other| **other == rate).count() == 1
        });
        assert!(found.confirmed && found.low.unwrap() <= 400.0, "{found:?}");
    }

    #[test]
    fn the_ends_of_the_reach_are_said() {
        let all = searched(REACH, &mut |_| true).0;
        assert_eq!(all, Bracket { low: Some(10_000.0), high: None, confirmed: true });
        let none = searched(REACH, &mut |_| false).0;
        assert_eq!(none, Bracket { low: None, high: Some(1.0), confirmed: false });
    }

    #[test]
    fn a_service_of_moods_ends_the_search_too() {
        let mut draw = Draw::new(1, "moods");
        let (found, trials) = searched(REACH, &mut |_| draw.coin());
        assert!(trials <= TRIALS_MAX, "{found:?}");
    }
}
