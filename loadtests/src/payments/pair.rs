//! Which two services are compared: one of each, or one of them against a second instance of itself.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

use stack::instance::Twin;

/// One of the two that are started, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// What is started.
    pub twin: Twin,
    /// In names of databases and logs, and in report.json: `rust`, or `rust_a` beside another of the same.
    pub name: String,
    /// In sentences: `Rust`, or `Rust A`.
    pub label: String,
}

/// The two, in the order of every ratio: the first's by the second's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair(pub [Side; 2]);

impl Pair {
    /// Of two services, told apart by letters where they are the same.
    pub fn of(twins: [Twin; 2]) -> Self {
        let same = twins[0] == twins[1];
        let side = |index: usize| {
            let twin = twins[index];
            let (mut name, mut text) = (twin.name().to_owned(), label(twin).to_owned());
            if same {
                name += ["_a", "_b"][index];
                text += [" A", " B"][index];
            }
            Side { twin, name, label: text }
        };
        Self([side(0), side(1)])
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
