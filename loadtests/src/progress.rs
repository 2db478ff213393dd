//! What is said while a comparison runs: a live line on a terminal, plain lines elsewhere. All of it on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::compare::Event;
use crate::histogram::Sparse;
use crate::report::wording::millis;

/// Between two plain lines.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);

/// Tells a person how far a run is.
pub struct Progress {
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    /// Decides by what standard error is.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self { bar, told: Instant::now() }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// What is being done now, where nothing can be counted.
    pub fn doing(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => eprintln!("{text} …"),
        }
    }

    /// Follows a scenario of so many pairs.
    pub fn scenario(&mut self, name: &str, pairs: usize, labels: [String; 2]) -> Follow<'_> {
        if let Some(bar) = &self.bar {
            // The template is this text: it parses.
            let style =
                ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} slices, {eta} left  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_length(pairs as u64 * 2);
            bar.set_position(0);
            bar.set_prefix(name.to_owned());
            bar.set_message("warming up");
            bar.reset_eta();
        }
        let slices = (0, pairs * 2);
        Follow {
            progress: self,
            name: name.to_owned(),
            labels,
            seen: Default::default(),
            unexpected: 0,
            slices,
        }
    }

    /// Takes the live line away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// A scenario being followed.
pub struct Follow<'a> {
    progress: &'a mut Progress,
    name: String,
    labels: [String; 2],
    seen: [Sparse; 2],
    unexpected: u64,
    slices: (usize, usize),
}

impl Follow<'_> {
    /// Shows an event.
    pub fn event(&mut self, event: Event) {
        match event {
            Event::Warm(name) if self.progress.bar.is_none() => eprintln!("{}: {name} is warm", self.name),
            Event::Warm(_) => {}
            Event::Slice { contender, latency, unexpected, .. } => {
                self.seen[contender] = Sparse::merge([&self.seen[contender], &latency]);
                self.unexpected += unexpected;
                self.slices.0 += 1;
                self.show();
            }
        }
    }

    fn show(&mut self) {
        let side = |index: usize| {
            let at = |percentile| {
                self.seen[index].percentile(percentile).map_or("-".into(), |us| millis(us as f64))
            };
            format!("{} p50 {} p99 {} ms", self.labels[index], at(50.0), at(99.0))
        };
        let unexpected = if self.unexpected > 0 {
            format!(", {} UNEXPECTED replies", self.unexpected)
        } else {
            String::new()
        };
        let text = format!("{}, {}{unexpected}", side(0), side(1));
        let (done, all) = self.slices;
        match &self.progress.bar {
            Some(bar) => {
                bar.set_position(done as u64);
                bar.set_message(text);
            }
            None if done == all || self.progress.told.elapsed() >= PLAIN_PAUSE => {
                self.progress.told = Instant::now();
                eprintln!("{}: {done} of {all} slices: {text}", self.name);
            }
            None => {}
        }
    }
}
