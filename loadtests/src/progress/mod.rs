//! What is said while a comparison or a run of one service lasts: a view of the whole on a terminal, plain lines
//! elsewhere. All of it on standard error.
//!
//! `state` is what is known so far, `view` draws it, `screen` owns the terminal and gives it back however the run ends.

mod screen;
pub mod state;
pub mod view;

use std::time::{Duration, Instant};

use crate::compare::Event;
use crate::report::wording::millis;
use crate::scenario::Scenario;
use screen::Screen;
use state::Act;

pub use screen::{interrupted, restore};

/// Between two plain lines.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);

/// Tells a person how far a run is.
pub struct Progress {
    screen: Option<Screen>,
    told: Instant,
}

impl Progress {
    /// Decides by what standard error is.
    pub fn new() -> Self {
        Self { screen: Screen::open(), told: Instant::now() }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        match &self.screen {
            Some(screen) => screen.change(|state| state.lines.push(text.to_owned())),
            None => eprintln!("{text}"),
        }
    }

    /// What is being done now, where nothing can be counted.
    pub fn doing(&self, text: &str) {
        match &self.screen {
            Some(screen) => screen.change(|state| state.doing = text.to_owned()),
            None => eprintln!("{text} …"),
        }
    }

    /// Follows a scenario; `name` is for a person.
    pub fn scenario(&mut self, name: &str, scenario: &Scenario, labels: [String; 2]) -> Follow<'_> {
        self.follow(Act::new(name, scenario, labels))
    }

    /// Follows one service's load; `name` is for a person.
    pub fn alone(&mut self, name: &str, scenario: &Scenario, label: &str) -> Follow<'_> {
        self.follow(Act::alone(name, scenario, label))
    }

    fn follow(&mut self, act: Act) -> Follow<'_> {
        if let Some(screen) = &self.screen {
            screen.change(|state| {
                state.doing = format!("{}: warming up", act.name);
                state.act = Some(act.clone());
            });
        }
        Follow { progress: self, act }
    }

    /// Takes the view away; the lines that stay are left.
    pub fn end(&self) {
        if let Some(screen) = &self.screen {
            screen.close();
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
    act: Act,
}

impl Follow<'_> {
    /// Shows an event.
    pub fn event(&mut self, event: Event) {
        let warm = match &event {
            Event::Warm(name) => Some(format!("{}: {name} is warm", self.act.name)),
            Event::Slice(_) => None,
        };
        self.act.event(event);
        match (&self.progress.screen, warm) {
            (Some(screen), _) => screen.change(|state| {
                if self.act.slices.0 > 0 {
                    state.doing = format!("{}: playing", self.act.name);
                }
                state.act = Some(self.act.clone());
            }),
            (None, Some(warm)) => eprintln!("{warm}"),
            (None, None) => self.plain(),
        }
    }

    fn plain(&mut self) {
        let (done, all) = self.act.slices;
        if done < all && self.progress.told.elapsed() < PLAIN_PAUSE {
            return;
        }
        self.progress.told = Instant::now();
        let side = |index: usize| {
            let seen = &self.act.sides[index].seen;
            let at =
                |percentile| seen.latency.percentile(percentile).map_or("-".into(), |us| millis(us as f64));
            format!("{} p50 {} p99 {} ms", self.act.labels[index], at(50.0), at(99.0))
        };
        let sides: Vec<_> = (0..self.act.sides.len()).map(side).collect();
        let unexpected: u64 = self.act.sides.iter().map(|side| side.seen.unexpected).sum();
        let unexpected =
            if unexpected > 0 { format!(", {unexpected} UNEXPECTED replies") } else { String::new() };
        let (name, are) = (&self.act.name, self.act.slices_are);
        eprintln!("{name}: {done} of {all} {are}: {}{unexpected}", sides.join(", "));
    }
}
