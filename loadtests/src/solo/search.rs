//! The highest rate that is kept: doubled until it isn't, then halved in between, then asked again. Each trial is the
//! caller's; this only says which rate is next.
//!
//! A miss while nothing was full may be a stall of the machine's, and a search that believed it would end far below the
//! capacity: such a rate is asked again, and missed where that is seen twice.

use serde::{Deserialize, Serialize};

use crate::stats::rounded;

/// Misses with nothing full before they are believed.
const DOUBTS: usize = 2;

/// What a trial says of its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The bound was kept.
    Kept,
    /// It was missed, and something was full.
    Missed,
    /// It was missed, and nothing was full.
    Doubtful,
}

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
    /// Trials at most: a service that holds a rate now and misses it then would never end the search.
    pub trials: usize,
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
    trials: Vec<(f64, Outcome)>,
}

impl Search {
    /// One that hasn't tried anything.
    pub fn new(reach: Reach) -> Self {
        Self { reach, trials: Vec::new() }
    }

    /// The rate to try next, as report.json can hold it; nothing: it is over.
    pub fn next(&self) -> Option<f64> {
        let Reach { start, least, most, resolution, trials, .. } = self.reach;
        if self.trials.len() >= trials || self.bracket().confirmed {
            return None;
        }
        if let Some((rate, Outcome::Doubtful)) = self.trials.last()
            && !self.missed(*rate)
        {
            return Some(*rate);
        }
        match (self.low(), self.high()) {
            (None, None) => Some(start.clamp(least, most)),
            (Some(low), None) if low < most => Some((low * 2.0).min(most)),
            (None, Some(high)) => (high > least).then(|| (high / 2.0).max(least)),
            (Some(low), Some(high)) if high / low > resolution => Some(rounded((low * high).sqrt())),
            (Some(low), _) => Some(low),
        }
    }

    /// What the rate's trial said.
    pub fn tell(&mut self, rate: f64, outcome: Outcome) {
        self.trials.push((rate, outcome));
    }

    /// What is known so far.
    pub fn bracket(&self) -> Bracket {
        let (low, high) = (self.low(), self.high());
        let close = match (low, high) {
            (Some(low), Some(high)) => high / low <= self.reach.resolution,
            (Some(low), None) => low >= self.reach.most,
            (None, _) => false,
        };
        let confirmed =
            close && low.is_some_and(|low| self.count(low, Outcome::Kept) > self.reach.confirmations);
        Bracket { low, high, confirmed }
    }

    fn high(&self) -> Option<f64> {
        let missed = self.trials.iter().map(|(rate, _)| *rate).filter(|rate| self.missed(*rate));
        missed.min_by(f64::total_cmp)
    }

    fn low(&self) -> Option<f64> {
        let below = |rate: &f64| self.high().is_none_or(|high| *rate < high);
        let kept = self.trials.iter().filter(|(_, outcome)| *outcome == Outcome::Kept).map(|(rate, _)| *rate);
        kept.filter(below).max_by(f64::total_cmp)
    }

    fn missed(&self, rate: f64) -> bool {
        self.count(rate, Outcome::Missed) > 0 || self.count(rate, Outcome::Doubtful) >= DOUBTS
    }

    fn count(&self, rate: f64, outcome: Outcome) -> usize {
        self.trials.iter().filter(|trial| **trial == (rate, outcome)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;

    const REACH: Reach =
        Reach { start: 50.0, least: 1.0, most: 10_000.0, resolution: 1.05, confirmations: 1, trials: 30 };

    fn asked(reach: Reach, says: &mut dyn FnMut(f64) -> Outcome) -> (Bracket, usize) {
        let mut search = Search::new(reach);
        while let Some(rate) = search.next() {
            let outcome = says(rate);
            search.tell(rate, outcome);
        }
        (search.bracket(), search.trials.len())
    }

    fn searched(reach: Reach, holds: &mut dyn FnMut(f64) -> bool) -> (Bracket, usize) {
        asked(reach, &mut |rate| if holds(rate) { Outcome::Kept } else { Outcome::Missed })
    }

    #[test]
    fn one_stall_of_the_machine_doesn_t_end_a_search_below() {
        let mut stalled = Vec::new();
        let (found, _) = asked(REACH, &mut |rate| match rate <= 480.0 {
            true if rate > 60.0 && !stalled.contains(&rate.to_bits()) => {
                stalled.push(rate.to_bits());
                Outcome::Doubtful
            }
            true => Outcome::Kept,
            false => Outcome::Missed,
        });
        let (low, high) = (found.low.unwrap(), found.high.unwrap());
        assert!(low <= 480.0 && 480.0 < high && high / low <= 1.05 && found.confirmed, "{found:?}");
        let (found, _) =
            asked(REACH, &mut |rate| if rate <= 100.0 { Outcome::Kept } else { Outcome::Doubtful });
        assert!(found.low.unwrap() <= 100.0 && found.high.unwrap() > 100.0 && found.confirmed, "{found:?}");
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
        assert!(trials <= REACH.trials, "{found:?}");
        let short = Reach { trials: 7, ..REACH };
        let (found, trials) =
            asked(short, &mut |rate| if rate <= 70.0 { Outcome::Kept } else { Outcome::Doubtful });
        assert_eq!((trials, found.confirmed), (7, false), "{found:?}");
        let (low, high) = (found.low.unwrap(), found.high.unwrap());
        assert!(low <= 70.0 && 70.0 < high && high / low > 1.05, "{found:?}");
    }
}
