//! What differs between two runs of one case by nature — ids, secrets, times — replaced by placeholders, one to one, so
//! that the rest can be compared byte for byte.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let secret = "tp_live_[0-9a-z]{26}_[0-9a-f]{64}";
    let id = "(?:mer|key|ptk|pay|op|ref|evt|ent|whe|req)_[0-7][0-9a-hjkmnp-tv-z]{25}";
    let webhook = "whsec_[0-9A-Za-z+/]{43}=";
    let time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z";
    // No other value has capitals and that length.
    let cursor = "AQ[A-Za-z0-9_-]{32}";
    Regex::new(&format!("{secret}|{webhook}|{id}|{time}|{cursor}|uniq_[0-9a-f]{{12}}")).ok()
});

/// Gives each id of one run a number, in the order in which they are seen.
#[derive(Debug, Default)]
pub struct Normaliser {
    seen: HashMap<String, String>,
    times: bool,
}

impl Normaliser {
    /// Gives times numbers too: what shows one time in one run must show one in the other.
    pub fn of_times() -> Self {
        Self { times: true, ..Self::default() }
    }

    /// The text with placeholders. The same id gives the same placeholder throughout a run.
    pub fn apply(&mut self, text: &str) -> String {
        let Some(pattern) = PATTERN.as_ref() else {
            return text.to_owned();
        };
        pattern.replace_all(text, |found: &Captures<'_>| self.placeholder(&found[0])).into_owned()
    }

    fn placeholder(&mut self, found: &str) -> String {
        let is_time = found.starts_with(|first: char| first.is_ascii_digit());
        if is_time && !self.times {
            return "<time>".into();
        }
        let cursor = found.starts_with("AQ").then_some("cursor");
        let time = is_time.then_some("time");
        let kind = time.or(cursor).or(found.split('_').next()).unwrap_or_default();
        let number = self.seen.len() + 1;
        self.seen.entry(found.to_owned()).or_insert_with(|| format!("<{kind} {number}>")).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_mapped_one_to_one_and_the_rest_is_kept() {
        let (one, two) = ("pay_01h455vb4pex5vsknk084sn02q", "pay_01h455vb4pex5vsknk084sn02r");
        let mut normaliser = Normaliser::default();
        assert_eq!(normaliser.apply(&format!("{{\"id\":\"{one}\"}}")), "{\"id\":\"<pay 1>\"}");
        assert_eq!(normaliser.apply(&format!("{two} {one} pay_short")), "<pay 2> <pay 1> pay_short");
        assert_eq!(
            normaliser.apply("2026-01-02T03:04:05.678901Z 2026-01-02T03:04:05Z"),
            "<time> 2026-01-02T03:04:05Z"
        );
        let cursor = "AQGJCl2slndLvM6zAgmagFhY9JjomLAgBg";
        assert_eq!(normaliser.apply(&format!("\"{cursor}\" {two}")), "\"<cursor 3>\" <pay 2>");
    }

    #[test]
    fn times_are_mapped_one_to_one_where_that_is_wanted() {
        let (one, two) = ("2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05.678902Z");
        let text = Normaliser::of_times().apply(&format!("{one} {two} {one}"));
        assert_eq!(text, "<time 1> <time 2> <time 1>");
    }
}
