//! Which two services are compared: one of each, or one of them against a second instance of itself.

use std::fmt::{Display, Formatter};
use std::iter;
use std::str::FromStr;

use stack::instance::Twin;

use super::tuning::{Tuned, Tuning};
use crate::report::rows::TUNED;
use crate::workload::Sampled;

/// One of the two that are started, and what it is called.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// What is started.
    pub twin: Twin,
    /// In names of databases and logs, and in report.json: `rust`, or `rust_a` beside another of the same.
    pub name: String,
    /// In sentences: `Rust`, or `Rust A`.
    pub label: String,
    /// How it is tuned; unset: it is as by default.
    pub tuned: Option<Tuned>,
    /// What of it is traced; unset: nothing, as by default.
    pub traced: Option<Traced>,
}

/// A service that tells of its requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// Where it sends its spans, by OTLP over gRPC.
    pub endpoint: String,
    /// Of which requests.
    pub sampled: Sampled,
}

impl Side {
    fn of(twin: Twin) -> Self {
        Self { twin, name: twin.name().into(), label: label(twin).into(), tuned: None, traced: None }
    }

    fn tuned(&self, tuning: &Tuning) -> Self {
        Self {
            twin: self.twin,
            name: format!("{}_tuned", self.name),
            label: format!("{} tuned", self.label),
            tuned: Some(tuning.of(self.twin).clone()),
            traced: None,
        }
    }
}

/// The two, in the order of every ratio: the first's by the second's.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair(pub [Side; 2]);

impl Pair {
    /// Of two services, told apart by letters where they are the same.
    pub fn of(twins: [Twin; 2]) -> Self {
        let same = twins[0] == twins[1];
        let side = |index: usize| {
            let mut side = Side::of(twins[index]);
            if same {
                side.name += ["_a", "_b"][index];
                side.label += [" A", " B"][index];
            }
            side
        };
        Self([side(0), side(1)])
    }

    /// The same two, each telling of the same requests.
    pub fn traced(&self, endpoints: [&str; 2], sampled: Sampled) -> Self {
        let mut pair = self.clone();
        for (side, endpoint) in pair.0.iter_mut().zip(endpoints) {
            side.traced = Some(Traced { endpoint: endpoint.to_owned(), sampled });
        }
        pair
    }

    /// The same two, tuned.
    pub fn tuned(&self, tuning: &Tuning) -> Self {
        Self(self.0.each_ref().map(|side| side.tuned(tuning)))
    }

    /// A service tuned, and as it is by default.
    pub fn gain(twin: Twin, tuning: &Tuning) -> Self {
        let default = Side::of(twin);
        Self([default.tuned(tuning), default])
    }

    /// What tuning adds to this pair, by its name in report.json: both tuned, then each tuned and its default.
    pub fn rows(&self, tuning: &Tuning) -> Vec<(String, Self)> {
        let gains = self.twins().into_iter().map(|twin| Self::gain(twin, tuning));
        let gains = gains.map(|pair| (pair.0[0].name.clone(), pair));
        iter::once((TUNED.to_owned(), self.tuned(tuning))).chain(gains).collect()
    }

    /// As a sentence calls the two.
    pub fn against(&self) -> String {
        self.0.each_ref().map(|side| side.label.as_str()).join(" against ")
    }

    /// What is started, each once.
    pub fn twins(&self) -> Vec<Twin> {
        let mut twins = vec![self.0[0].twin, self.0[1].twin];
        twins.dedup();
        twins
    }
}

impl Default for Pair {
    /// One of each.
    fn default() -> Self {
        Self::of(Twin::ALL)
    }
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let twin = |name: &str| Twin::ALL.into_iter().find(|twin| twin.name() == name);
        let both = text.split_once(',').and_then(|(first, second)| Some([twin(first)?, twin(second)?]));
        both.map(Self::of).ok_or_else(|| "two of rust and go, such as `rust,go` or `rust,rust`".into())
    }
}

impl Display for Pair {
    /// As `from_str` reads it.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.0[0].twin.name(), self.0[1].twin.name())
    }
}

/// As a sentence calls it.
pub fn label(twin: Twin) -> &'static str {
    match twin {
        Twin::Rust => "Rust",
        Twin::Go => "Go",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(text: &str) -> [(String, String); 2] {
        text.parse::<Pair>().unwrap().0.map(|side| (side.name, side.label))
    }

    #[test]
    fn one_of_each_is_called_by_its_name_and_two_of_one_by_letters() {
        let both = |one: [&str; 2], other: [&str; 2]| {
            [one, other].map(|[name, label]| (name.to_owned(), label.to_owned()))
        };
        assert_eq!(sides("rust,go"), both(["rust", "Rust"], ["go", "Go"]));
        assert_eq!(sides("rust,rust"), both(["rust_a", "Rust A"], ["rust_b", "Rust B"]));
        assert_eq!(sides("go,go"), both(["go_a", "Go A"], ["go_b", "Go B"]));
        assert_eq!(Pair::default(), "rust,go".parse().unwrap());
    }

    #[test]
    fn what_is_tuned_is_called_so_and_set_so() {
        let tuning = Tuning::read(std::path::Path::new(crate::payments::USUAL_TUNING)).unwrap();
        let called = |pair: Pair| pair.0.map(|side| (side.name, side.label, side.tuned.is_some()));
        let side = |name: &str, label: &str, tuned| (name.to_owned(), label.to_owned(), tuned);
        let both = [side("rust_tuned", "Rust tuned", true), side("go_tuned", "Go tuned", true)];
        assert_eq!(called(Pair::default().tuned(&tuning)), both);
        let gain = [side("go_tuned", "Go tuned", true), side("go", "Go", false)];
        assert_eq!(called(Pair::gain(Twin::Go, &tuning)), gain);
        let of = |pair: Pair| pair.0[0].tuned.clone();
        assert_eq!(of(Pair::gain(Twin::Go, &tuning)).as_ref(), Some(tuning.of(Twin::Go)));
    }

    #[test]
    fn each_program_is_asked_for_once() {
        let twins = |text: &str| text.parse::<Pair>().unwrap().twins();
        assert_eq!(twins("rust,go"), Twin::ALL);
        assert_eq!(twins("go,go"), [Twin::Go]);
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        for text in ["", "rust", "rust,", "rust,java", "Rust,Go", "rust,go,go"] {
            assert!(text.parse::<Pair>().is_err(), "{text}");
        }
    }
}
