//! Which part of a trace is played when, and on whom first.

use crate::draw::Draw;
use crate::scenario::Scenario;

/// A stretch of the trace in µs from its begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From this time on.
    pub from_us: u64,
    /// For so long.
    pub length_us: u64,
}

/// The warm-up, then pairs of slices.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Played on both, not measured.
    pub warm_up: Window,
    /// The slices, and which contender gets each first.
    pub pairs: Vec<(Window, usize)>,
}

impl Plan {
    /// Of a scenario; the orders are drawn from its seed.
    pub fn of(scenario: &Scenario) -> Self {
        let mut draw = Draw::new(scenario.seed, "order");
        let (begin, length_us) = (scenario.warm_up_us(), scenario.slice_ms * 1000);
        let pair = |index: usize| {
            (Window { from_us: begin + index as u64 * length_us, length_us }, usize::from(draw.coin()))
        };
        Self {
            warm_up: Window { from_us: 0, length_us: begin },
            pairs: (0..scenario.pairs).map(pair).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Overrides;

    #[test]
    fn the_slices_cover_the_trace_after_the_warm_up_and_both_go_first_at_times() {
        let scenario =
            Scenario::load("checkout", &Overrides { pairs: Some(100), ..Overrides::default() }).unwrap();
        let plan = Plan::of(&scenario);
        let mut end = plan.warm_up.length_us;
        for (window, _) in &plan.pairs {
            assert_eq!(window.from_us, end);
            end += window.length_us;
        }
        assert_eq!(end, scenario.total_us());
        let second_first = plan.pairs.iter().filter(|(_, first)| *first == 1).count();
        assert!((30..=70).contains(&second_first), "{second_first} of 100");
    }
}
