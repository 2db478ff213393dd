//! Where the trees of two sides differ, with how often: no more is kept than there are places in them.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Counted;
use super::shape::{Difference, Kind, Spot, Variable, canonical, differences};
use super::tree::Tree;
use crate::report::wording::counted;

/// Different places that are told of one operation; what is beyond is told together.
const SPOTS_MAX: usize = 200;

/// Of one operation.
#[derive(Debug, Default)]
pub struct Structure {
    found: BTreeMap<Spot, Counted>,
    /// Of unpaired sides: each form that a tree has, how often on each side, and one trace of it.
    forms: BTreeMap<String, ([u64; 2], String)>,
    /// Requests of forms beyond those, and one trace of them.
    others: ([u64; 2], String),
}

impl Structure {
    /// A pair. Where several of its spans differ in one spot, as siblings of one name may, the pair counts once.
    pub fn compare(&mut self, pair: [&Tree<'_>; 2], variable: &Variable) {
        let mut counted = BTreeSet::new();
        for Difference { spot, sides } in differences(pair, variable) {
            let spot = self.told(spot);
            if counted.insert(spot.clone()) {
                self.add(spot, sides, pair[0]);
            }
        }
    }

    /// A spot as it is told: where there are too many, without its place.
    fn told(&self, spot: Spot) -> Spot {
        let full = self.found.len() >= SPOTS_MAX && !self.found.contains_key(&spot);
        if full { Spot { path: "(elsewhere)".into(), what: String::new(), ..spot } } else { spot }
    }

    fn add(&mut self, spot: Spot, sides: [String; 2], tree: &Tree<'_>) {
        let trace = || hex::encode(&tree.nodes[0].found.span.trace_id);
        let known = self.found.entry(spot.clone());
        known.or_insert_with(|| Counted { spot, count: 0, sides, trace: trace() }).count += 1;
    }

    /// A request of a side that isn't paired.
    pub fn form(&mut self, side: usize, tree: &Tree<'_>) {
        let form = canonical(tree);
        let trace = || hex::encode(&tree.nodes[0].found.span.trace_id);
        if self.forms.len() < SPOTS_MAX || self.forms.contains_key(&form) {
            self.forms.entry(form).or_insert_with(|| ([0, 0], trace())).0[side] += 1;
            return;
        }
        let (counts, of) = &mut self.others;
        counts[side] += 1;
        if of.is_empty() {
            *of = trace();
        }
    }

    /// In order. Of unpaired sides: the forms that one side alone has, and those of which that can't be told.
    pub fn list(self, operation: &str) -> Vec<Counted> {
        let others = untold(operation, self.others);
        let one_sided = self.forms.into_iter().filter(|(_, (counts, _))| counts.contains(&0));
        let form = |(form, ([first, second], trace)): (String, ([u64; 2], String))| {
            let (kind, sides) = match first {
                0 => (Kind::OnlySecond, [String::new(), form]),
                _ => (Kind::OnlyFirst, [form, String::new()]),
            };
            let spot = Spot { kind, path: operation.to_owned(), what: String::new() };
            Counted { spot, count: first + second, sides, trace }
        };
        self.found.into_values().chain(one_sided.map(form)).chain(others).collect()
    }
}

/// Requests of forms beyond those that are told apart. Where both sides have some, one side alone may have any of these: that
/// isn't the same structure, until somebody has looked.
fn untold(operation: &str, (counts, trace): ([u64; 2], String)) -> Option<Counted> {
    let kind = match counts {
        [0, 0] => return None,
        [_, 0] => Kind::OnlyFirst,
        [0, _] => Kind::OnlySecond,
        [_, _] => Kind::Count,
    };
    let side = |count: u64| match count {
        0 => String::new(),
        _ => format!("{} in forms beyond {SPOTS_MAX}, which are not told apart", counted(count, "request")),
    };
    let spot = Spot { kind, path: operation.to_owned(), what: String::new() };
    Some(Counted { spot, count: counts.iter().sum(), sides: counts.map(side), trace })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::made::{Made, made};
    use crate::traces::spill::Found;
    use crate::traces::tree::Grown;

    /// Each spot of two sides that are met `pairs` times: its kind, path and count.
    fn compared(sides: [&[Found]; 2], pairs: usize) -> Vec<(Kind, String, u64)> {
        let [one, other] = sides.map(Grown::of);
        let mut structure = Structure::default();
        for _ in 0..pairs {
            structure.compare([&one.requests[0], &other.requests[0]], &Variable::new());
        }
        let told = |Counted { spot, count, .. }: Counted| (spot.kind, spot.path, count);
        structure.list("root").into_iter().map(told).collect()
    }

    #[test]
    fn a_form_beyond_those_that_are_told_apart_isnt_taken_for_the_same() {
        let spans = made(&[("root", 1, 0, 0, 100), ("", 2, 1, 10, 20)]);
        // Both sides have as many forms as are told apart; beyond these each has what is given.
        let found = |others: [&[usize]; 2]| {
            let mut structure = Structure::default();
            for (side, others) in others.into_iter().enumerate() {
                for index in (0..SPOTS_MAX).chain(others.iter().copied()) {
                    let mut spans = spans.clone();
                    spans[1].span.name = format!("find {index}");
                    structure.form(side, &Grown::of(&spans).requests[0]);
                }
            }
            let told = |Counted { spot, count, sides, .. }: Counted| (spot.kind, count, sides);
            structure.list("root").into_iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(found([&[], &[]]), []);
        let said = |count| format!("{count} in forms beyond 200, which are not told apart");
        assert_eq!(found([&[700], &[800, 801]]), [(Kind::Count, 3, [said("1 request"), said("2 requests")])]);
        assert_eq!(found([&[], &[800]]), [(Kind::OnlySecond, 1, [String::new(), said("1 request")])]);
    }

    #[test]
    fn siblings_that_differ_alike_are_one_difference_of_their_pair() {
        let spans: [Made; 4] =
            [("root", 1, 0, 0, 100), ("find", 2, 1, 10, 20), ("find", 3, 1, 30, 40), ("find", 4, 1, 50, 60)];
        let (ones, mut others) = (made(&spans), made(&spans));
        others[1..].iter_mut().for_each(|found| found.span.status.get_or_insert_default().code = 2);
        assert_eq!(compared([&ones, &others], 7), [(Kind::Status, "root › find".to_owned(), 7)]);
    }

    #[test]
    fn of_more_places_than_are_told_the_others_are_one_difference_of_their_pair() {
        let spans: Vec<Made> = (1..=SPOTS_MAX as u16 + 51)
            .map(|id| ("only", id, u16::from(id > 1), u64::from(id), u64::from(id) + 1))
            .collect();
        let mut ones = made(&spans);
        (0..).zip(&mut ones).for_each(|(index, found)| found.span.name = format!("only {index}"));
        let found = compared([&ones, &ones[..1]], 3);
        assert_eq!(found.len(), SPOTS_MAX + 1);
        assert!(found.contains(&(Kind::OnlyFirst, "(elsewhere)".to_owned(), 3)), "{found:?}");
        assert!(found.iter().all(|(_, _, count)| *count == 3), "{found:?}");
    }
}
