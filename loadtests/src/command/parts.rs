//! What a run finds, part by part, and the report that is put together from the parts, whichever run found them.

use serde::{Deserialize, Serialize};

use super::task::Task;
use crate::limits::Limits;
use crate::limits::looking::Looking;
use crate::report::standing::{
    reasons, reasons_of_alone, reasons_of_capacity, reasons_of_control, reasons_of_footprint,
    reasons_of_limits, reasons_of_looking, reasons_of_scenario, reasons_of_traced, reasons_of_tuned,
};
use crate::report::{
    Compared, ContenderReport, Control, Environment, FORMAT, Failed, Given, Report, Rows, ScenarioReport,
    Traced, Version,
};
use crate::solo::{Capacity, Footprint, SoloReport, SoloRun};
use crate::stats::rounded;
use crate::validity::{Bound, name};

/// What one part found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The two against each other.
    Compared(Box<ScenarioReport>),
    /// One against itself.
    Control {
        /// The scenario's name.
        of: String,
        /// What was found.
        control: Box<Control>,
    },
    /// Services that are tuned, or one of them and its default.
    Tuned {
        /// The scenario's name.
        of: String,
        /// What each was given, by default and tuned.
        given: Vec<Given>,
        /// What was found.
        compared: Box<Compared>,
    },
    /// Both once more, with every request traced.
    Traced {
        /// The scenario's name.
        of: String,
        /// What was found.
        traced: Box<Traced>,
    },
    /// What the machine could do at most.
    Limits(Limits),
    /// What it costs to be traced.
    Looking(Looking),
    /// How much each takes of one scenario.
    Capacity(Box<Capacity>),
    /// What each takes beside the work.
    Footprints(Vec<Footprint>),
    /// One service, one scenario.
    Alone(Box<SoloRun>),
}

impl Outcome {
    /// Why it is no result; none: it is.
    pub fn void(&self) -> Vec<String> {
        match self {
            Self::Compared(report) => reasons_of_scenario(report, Bound::voids),
            Self::Control { of, control } => reasons_of_control(of, control, Bound::voids),
            Self::Tuned { of, compared, .. } => reasons_of_tuned(of, compared, Bound::voids),
            Self::Traced { of, traced } => reasons_of_traced(of, traced, Bound::voids),
            Self::Alone(run) => reasons_of_alone(run, Bound::voids),
            Self::Limits(limits) => reasons_of_limits(limits, Bound::voids),
            Self::Looking(looking) => reasons_of_looking(looking, Bound::voids),
            Self::Capacity(capacity) => reasons_of_capacity(capacity, Bound::voids),
            Self::Footprints(footprints) => {
                footprints.iter().flat_map(|one| reasons_of_footprint(one, Bound::voids)).collect()
            }
        }
    }
}

/// What is said of a whole run, and isn't in its parts.
pub struct Head {
    /// Begin, RFC 3339.
    pub started_at: String,
    /// What it took.
    pub seconds: f64,
    /// What it ran on.
    pub environment: Environment,
    /// Why it is void, beside the bounds that were missed.
    pub trouble: Vec<String>,
}

/// The parts so far.
#[derive(Default)]
pub struct Parts {
    contenders: Vec<ContenderReport>,
    scenarios: Vec<ScenarioReport>,
    limits: Option<Limits>,
    looking: Option<Looking>,
    solo: SoloReport,
    alone: Vec<SoloRun>,
    failed: Vec<Failed>,
}

impl Parts {
    /// Of these two, whatever comes.
    pub fn of(contenders: Vec<ContenderReport>) -> Self {
        Self { contenders, ..Self::default() }
    }

    /// One more. A control follows its scenario; one without it would control nothing.
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Compared(report) => self.scenarios.push(*report),
            Outcome::Control { of, control } => {
                let controlled = self.scenarios.iter_mut().find(|report| report.scenario.name == of);
                if let Some(report) = controlled {
                    report.controls.push(*control);
                }
            }
            Outcome::Tuned { of, given, compared } => {
                let report = self.scenarios.iter_mut().find(|report| report.scenario.name == of);
                if let Some(report) = report {
                    let rows = report.rows.get_or_insert(Rows { given, compared: Vec::new() });
                    rows.compared.push(*compared);
                }
            }
            Outcome::Traced { of, traced } => {
                let report = self.scenarios.iter_mut().find(|report| report.scenario.name == of);
                if let Some(report) = report {
                    report.traced = Some(traced);
                }
            }
            Outcome::Limits(limits) => self.limits = Some(limits),
            Outcome::Looking(looking) => self.looking = Some(looking),
            Outcome::Capacity(capacity) => self.solo.capacities.push(*capacity),
            Outcome::Footprints(footprints) => self.solo.footprints = footprints,
            Outcome::Alone(run) => {
                let unmet = |one: &&mut ContenderReport| {
                    one.name == run.service.name && one.version == Version::default()
                };
                if let Some(unmet) = self.contenders.iter_mut().find(unmet) {
                    unmet.version = run.service.version.clone();
                }
                self.alone.push(*run);
            }
        }
    }

    /// One that couldn't be measured. What it controls doesn't stand without it; all else does.
    pub fn fail(&mut self, task: &Task, error: &anyhow::Error) {
        let controlled = match task {
            Task::Control { of, .. } => Some(of.name.clone()),
            Task::Compared(_)
            | Task::Tuned { .. }
            | Task::Traced(_)
            | Task::Limits(_)
            | Task::Looking(_)
            | Task::Capacity(..)
            | Task::Footprints(..)
            | Task::Alone(..) => None,
        };
        // A service's log follows in lines of its own, where it is one that ended.
        let error = format!("{error:#}");
        let why = error.lines().next().unwrap_or_default().trim_end_matches("; the end of its log:");
        let complete = Bound {
            name: name::COMPLETE.into(),
            asks: "it is measured to its end".into(),
            measured: format!("ended by an error: {why}"),
            held: false,
            allowed: false,
            applies: true,
        };
        self.failed.push(Failed { part: task.name(), of: controlled, validity: vec![complete] });
    }

    /// Whether a task is about a scenario whose comparison isn't there.
    pub fn lacks(&self, task: &Task) -> bool {
        let of = match task {
            Task::Control { of, .. } | Task::Tuned { of, .. } | Task::Traced(of) => &of.name,
            Task::Compared(_)
            | Task::Limits(_)
            | Task::Looking(_)
            | Task::Capacity(..)
            | Task::Footprints(..)
            | Task::Alone(..) => return false,
        };
        !self.scenarios.iter().any(|report| report.scenario.name == *of)
    }

    /// The two as one more part met them: what they say of themselves, and how long they took to start.
    pub fn meet(&mut self, contenders: Vec<ContenderReport>) {
        for (index, met) in contenders.into_iter().enumerate() {
            match self.contenders.get_mut(index) {
                Some(known) => {
                    known.version = met.version;
                    known.ready_ms.extend(met.ready_ms);
                }
                None => self.contenders.push(met),
            }
        }
    }

    /// Scenarios so far.
    pub fn scenarios(&self) -> &[ScenarioReport] {
        &self.scenarios
    }

    /// All of it.
    pub fn report(self, head: Head) -> Report {
        let Self { contenders, scenarios, limits, looking, solo, alone, failed } = self;
        let Head { started_at, seconds, environment, trouble } = head;
        let mut report = Report {
            format: FORMAT,
            started_at,
            seconds: rounded(seconds),
            command: std::env::args().collect(),
            void: trouble,
            allowed: Vec::new(),
            environment,
            contenders,
            scenarios,
            asserts: Vec::new(),
            limits,
            looking,
            solo: (solo != SoloReport::default()).then_some(solo),
            alone,
            failed,
            development: None,
        };
        report.allowed = reasons(&report, |bound| bound.allowed);
        report.void.extend(reasons(&report, Bound::voids));
        report
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use stack::instance::Twin;

    use super::*;
    use crate::limits;
    use crate::report::sample;
    use crate::report::standing::{VOID, is_void, standing};
    use crate::scenario::Scenario;

    fn scenario(name: &str) -> Scenario {
        Scenario { name: name.into(), ..sample::scenario(12, vec![]).scenario }
    }

    /// Two scenarios that were compared, and what couldn't be measured.
    fn report(failed: &[Task]) -> Report {
        let mut parts = Parts::default();
        for name in ["checkout", "read"] {
            let report = ScenarioReport { scenario: scenario(name), ..sample::scenario(12, vec![]) };
            parts.add(Outcome::Compared(Box::new(report)));
        }
        failed.iter().for_each(|task| parts.fail(task, &anyhow!("no such file").context("hashloop")));
        let (started_at, environment) = (String::new(), Environment::default());
        parts.report(Head { started_at, seconds: 1.0, environment, trouble: vec![] })
    }

    fn limits() -> Task {
        Task::Limits(limits::Effort { length: std::time::Duration::ZERO, repetitions: 1, connections: 1 })
    }

    #[test]
    fn what_could_not_be_measured_is_void_alone_and_says_why() {
        let valid = report(&[]);
        assert!(valid.void.is_empty() && valid.failed.is_empty());
        let without = report(&[limits()]);
        let wanted = "limits of the machine, complete: it is measured to its end; it was ended by an error: hashloop: no such file.";
        assert_eq!(without.void, [wanted]);
        assert!(standing(&without).0 != VOID && without.allowed.is_empty());
        assert_eq!([0, 1].map(|index| is_void(&without, &without.scenarios[index])), [false, false]);
        let read = Report { scenarios: vec![], ..report(&[limits()]) };
        assert_eq!(standing(&read).0, VOID, "nothing is left");
    }

    #[test]
    fn the_log_of_a_service_that_ended_is_no_part_of_the_reason() {
        let mut parts = Parts::default();
        parts.fail(&limits(), &anyhow!("no reply").context("Go ended; the end of its log:\n{}\n"));
        assert_eq!(parts.failed[0].validity[0].measured, "ended by an error: Go ended");
    }

    #[test]
    fn a_scenario_does_not_stand_without_its_control() {
        let control = |name: &str| Task::Control { of: scenario(name), twin: Twin::Go, pairs: 2 };
        let one = report(&[control("checkout")]);
        assert_eq!([0, 1].map(|index| is_void(&one, &one.scenarios[index])), [true, false]);
        assert!(standing(&one).0 != VOID);
        let both = report(&[control("checkout"), control("read")]);
        assert_eq!(standing(&both).0, VOID);
    }

    #[test]
    fn what_belongs_to_a_comparison_that_is_not_there_is_not_measured() {
        let mut parts = Parts::default();
        parts.fail(&Task::Compared(scenario("checkout")), &anyhow!("no"));
        assert!(parts.lacks(&Task::Traced(scenario("checkout"))) && !parts.lacks(&limits()));
        let report = sample::scenario(12, vec![]);
        parts.add(Outcome::Compared(Box::new(report)));
        assert!(!parts.lacks(&Task::Traced(scenario("checkout"))));
    }
}
