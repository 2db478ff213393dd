//! Where the trees of two sides differ, with how often: no more is kept than there are places in them.

use std::collections::BTreeMap;

use super::model::Counted;
use super::shape::{Kind, Spot, Variable, canonical, differences};
use super::tree::Tree;

/// Different places that are told of one operation; what is beyond is told together.
const SPOTS_MAX: usize = 200;

/// Of one operation.
#[derive(Debug, Default)]
pub struct Structure {
    found: BTreeMap<Spot, Counted>,
    /// Of unpaired sides: each form that a tree has, how often on each side, and one trace of it.
    forms: BTreeMap<String, ([u64; 2], String)>,
}

impl Structure {
    /// A pair.
    pub fn compare(&mut self, pair: [&Tree<'_>; 2], variable: &Variable) {
        for difference in differences(pair, variable) {
            self.add(difference.spot, difference.sides, pair[0]);
        }
    }

    fn add(&mut self, spot: Spot, sides: [String; 2], tree: &Tree<'_>) {
        let full = self.found.len() >= SPOTS_MAX && !self.found.contains_key(&spot);
        let spot = if full { Spot { path: "(elsewhere)".into(), what: String::new(), ..spot } } else { spot };
        let trace = || hex::encode(&tree.nodes[0].found.span.trace_id);
        let known = self.found.entry(spot.clone());
        known.or_insert_with(|| Counted { spot, count: 0, sides, trace: trace() }).count += 1;
    }

    /// A request of a side that isn't paired.
    pub fn form(&mut self, side: usize, tree: &Tree<'_>) {
        let mut form = canonical(tree);
        if self.forms.len() >= SPOTS_MAX && !self.forms.contains_key(&form) {
            form = "(any other)".to_owned();
        }
        let trace = || hex::encode(&tree.nodes[0].found.span.trace_id);
        self.forms.entry(form).or_insert_with(|| ([0, 0], trace())).0[side] += 1;
    }

    /// In order. Of unpaired sides: the forms that one side alone has.
    pub fn list(self, operation: &str) -> Vec<Counted> {
        let one_sided = self.forms.into_iter().filter(|(_, (counts, _))| counts.contains(&0));
        let form = |(form, ([first, second], trace)): (String, ([u64; 2], String))| {
            let (kind, sides) = match first {
                0 => (Kind::OnlySecond, [String::new(), form]),
                _ => (Kind::OnlyFirst, [form, String::new()]),
            };
            let spot = Spot { kind, path: operation.to_owned(), what: String::new() };
            Counted { spot, count: first + second, sides, trace }
        };
        self.found.into_values().chain(one_sided.map(form)).collect()
    }
}
