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

/// When something can be done between two stretches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// What the load is about is there: the database's housekeeping is due, which costs whoever asks next.
    Made,
    /// All is warm, and what comes next is measured.
    Warm,
}

/// The warm-up, then pairs of slices.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The warm-up, played on both and not measured: what makes what the load is about,
    pub making: Window,
    /// and what asks the same as the slices.
    pub rehearsal: Window,
    /// Which contender gets each of the two first.
    pub warm_up_first: usize,
    /// The slices, and which contender gets each first.
    pub pairs: Vec<(Window, usize)>,
}

impl Plan {
    /// The pairs without those that were set aside: each with its place among all.
    pub fn kept(&self, set_aside: &[usize]) -> impl Iterator<Item = (usize, (Window, usize))> {
        let kept = |(place, _): &(usize, _)| !set_aside.contains(place);
        self.pairs.iter().copied().enumerate().filter(kept)
    }

    /// Of a scenario; who goes first, in the warm-up too, is drawn from `order_seed`.
    pub fn of(scenario: &Scenario, order_seed: u64) -> Self {
        let firsts = firsts(scenario.pairs, &mut Draw::new(order_seed, "order"));
        let (begin, length_us) = (scenario.warm_up_us(), scenario.slice_ms * 1000);
        let making_us = scenario.making_us();
        let pair = |(index, first): (usize, usize)| {
            (Window { from_us: begin + index as u64 * length_us, length_us }, first)
        };
        Self {
            making: Window { from_us: 0, length_us: making_us },
            rehearsal: Window { from_us: making_us, length_us: begin - making_us },
            warm_up_first: usize::from(Draw::new(order_seed, "warm-up").coin()),
            pairs: firsts.into_iter().enumerate().map(pair).collect(),
        }
    }
}

/// Each contender in half of the pairs, shuffled: whoever goes first meets a cache that the other's slice has left
/// warm or cold, and that must weigh alike on both. Of an odd count one is drawn.
fn firsts(pairs: usize, draw: &mut Draw) -> Vec<usize> {
    let mut firsts: Vec<usize> = (0..pairs / 2 * 2).map(|index| index % 2).collect();
    if !pairs.is_multiple_of(2) {
        firsts.push(usize::from(draw.coin()));
    }
    for index in (1..firsts.len()).rev() {
        firsts.swap(index, draw.below(index as u64 + 1) as usize);
    }
    firsts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Overrides;

    #[test]
    fn warm_up_and_slices_cover_the_trace() {
        let scenario =
            Scenario::load("checkout", &Overrides { pairs: Some(100), ..Overrides::default() }).unwrap();
        let plan = Plan::of(&scenario, 1);
        let mut end = 0;
        let slices = plan.pairs.iter().map(|(window, _)| window);
        for window in [&plan.making, &plan.rehearsal].into_iter().chain(slices) {
            assert_eq!(window.from_us, end);
            end += window.length_us;
        }
        assert_eq!(end, scenario.total_us());
    }

    #[test]
    fn who_warms_up_first_is_drawn_from_the_seed() {
        let scenario = Scenario::load("checkout", &Overrides::default()).unwrap();
        let drawn = |seed| Plan::of(&scenario, seed).warm_up_first;
        let second: usize = (0..200).map(drawn).sum();
        assert!((70..130).contains(&second), "the second was first in {second} of 200");
        assert!((0..200).all(|seed| drawn(seed) == drawn(seed)));
    }

    #[test]
    fn each_goes_first_in_exactly_half_of_the_pairs() {
        let drawn = |pairs, seed| firsts(pairs, &mut Draw::new(seed, "order"));
        for seed in 0..200 {
            assert_eq!(drawn(100, seed).iter().sum::<usize>(), 50);
            assert!([2, 3].contains(&drawn(5, seed).iter().sum::<usize>()));
        }
        assert_eq!(drawn(100, 7), drawn(100, 7));
        assert_ne!(drawn(100, 7), drawn(100, 8));
        let odd = |wanted| (0..200).any(|seed| drawn(5, seed).iter().sum::<usize>() == wanted);
        assert!(odd(2) && odd(3), "the odd one is drawn");
    }
}
