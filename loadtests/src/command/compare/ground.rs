//! Where the two that are compared come from: services of the judge's own, which it starts and stops, or two that run.

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use stack::instance::Twin;

use crate::compare::{Contender, Look, Moment, Support};
use crate::payments::{Bench, Layout, Pair, Pairing};
use crate::plain::Given;
use crate::report::Version;
use crate::scenario::{Scenario, Settings};
use crate::validity::{Build, Invariant};
use crate::workload::Workload;

/// What is done between making, rehearsal and slices.
pub type Settle = Box<dyn Fn(Moment) -> LocalBoxFuture<'static, anyhow::Result<()>> + Send>;

/// For a whole run.
pub enum Ground {
    /// Started for each scenario.
    Twins { bench: Box<Bench>, pair: Pair, layout: Layout },
    /// They run already, and go on.
    Given(Given),
}

/// For one scenario.
pub enum Sides<'a> {
    Twins(Box<Pairing>),
    Given(&'a Given),
}

/// What is found of the two after the last slice.
pub struct Found {
    pub rows: Vec<Vec<u64>>,
    pub invariants: Vec<Vec<Invariant>>,
    /// Requests that each says it got, where it does.
    pub counted: Vec<Option<u64>>,
    pub builds: Vec<Build>,
    /// Before the first slice and after the last.
    pub looks: Vec<Option<[Look; 2]>>,
    /// Bounds that can't be looked at, and why.
    pub inapplicable: Vec<(String, String)>,
    /// Spans that each has lost.
    pub spans_dropped: [u64; 2],
}

impl Ground {
    /// The two of the run; `name` is for what has to be made for them.
    pub async fn sides(&self, name: &str) -> anyhow::Result<Sides<'_>> {
        match self {
            Self::Twins { bench, pair, .. } => Ok(Sides::Twins(Box::new(bench.pairing(name, pair).await?))),
            Self::Given(given) => Ok(Sides::Given(given)),
        }
    }

    /// Has what the judge started be as the scenario's settings ask.
    pub async fn prepare(&self, scenario: &Scenario) -> anyhow::Result<()> {
        match self {
            Self::Twins { bench, .. } => bench.prepare(scenario).await,
            Self::Given(_) => Ok(()),
        }
    }

    /// The least that the work of an operation takes, in µs, as far as it is known: of the scenario that is prepared.
    pub fn floor_us(&self, operation: &str, workload: &dyn Workload, settings: &Settings) -> Option<u64> {
        match self {
            Self::Twins { bench, .. } => bench.floor_us(operation, settings),
            Self::Given(_) => workload.floor_us(operation, settings),
        }
    }

    /// Two others than the run's; only where the judge starts them.
    pub async fn others(&self, name: &str, pair: &Pair) -> anyhow::Result<Sides<'_>> {
        match self {
            Self::Twins { bench, .. } => Ok(Sides::Twins(Box::new(bench.pairing(name, pair).await?))),
            Self::Given(_) => anyhow::bail!("this needs services that loadtest can start"),
        }
    }

    /// The two that are compared, where the judge starts them.
    pub fn pair(&self) -> Option<&Pair> {
        match self {
            Self::Twins { pair, .. } => Some(pair),
            Self::Given(_) => None,
        }
    }

    /// What the judge has started.
    pub fn bench(&self) -> Option<&Bench> {
        match self {
            Self::Twins { bench, .. } => Some(bench),
            Self::Given(_) => None,
        }
    }

    /// Those that can have a control.
    pub fn twins(&self) -> Vec<Twin> {
        match self {
            Self::Twins { pair, .. } => pair.twins(),
            Self::Given(_) => Vec::new(),
        }
    }

    /// Those whose CPU is expected beside the contenders'.
    pub fn support(&self) -> Vec<Support> {
        match self {
            Self::Twins { bench, .. } => bench.support(),
            Self::Given(given) => given.support(),
        }
    }

    /// Whose cores are whose.
    pub fn layout(&self) -> &Layout {
        match self {
            Self::Twins { layout, .. } => layout,
            Self::Given(given) => given.layout(),
        }
    }

    /// The same for a person.
    pub fn lines(&self) -> Vec<(String, String)> {
        match self {
            Self::Twins { layout, .. } => layout.lines(),
            Self::Given(given) => given.lines(),
        }
    }

    /// What a reader asks of the machine beside what it is.
    pub async fn machine(&self) -> anyhow::Result<Vec<(String, String)>> {
        match self {
            Self::Twins { bench, .. } => Ok(vec![("Postgres".into(), bench.postgres_version().await?)]),
            Self::Given(_) => Ok(Vec::new()),
        }
    }

    /// Every setting that isn't a default.
    pub async fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        match self {
            Self::Twins { bench, .. } => bench.settings().await,
            Self::Given(_) => {
                let unknown = "as whoever started them set them: loadtest doesn’t know their settings";
                Ok(vec![("Services".into(), unknown.into())])
            }
        }
    }

    /// Stops what was started.
    pub async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Twins { bench, .. } => bench.stop().await,
            Self::Given(_) => Ok(()),
        }
    }
}

impl Sides<'_> {
    /// As sentences call them.
    pub fn labels(&self) -> [String; 2] {
        match self {
            Self::Twins(pairing) => pairing.labels.clone(),
            Self::Given(given) => given.labels(),
        }
    }

    /// As what plays a trace takes them.
    pub fn contenders(&self) -> [Contender; 2] {
        match self {
            Self::Twins(pairing) => pairing.contenders(),
            Self::Given(given) => given.contenders(),
        }
    }

    /// What each says of itself, and how long its start took, in ms.
    pub fn starts(&self) -> [(Version, Option<f64>); 2] {
        match self {
            Self::Twins(pairing) => pairing.starts().map(|(version, ready_ms)| (version, Some(ready_ms))),
            Self::Given(_) => [0, 1].map(|_| (Version::default(), None)),
        }
    }

    /// What is done between making, rehearsal and slices.
    pub fn settle(&self) -> Settle {
        match self {
            Self::Twins(pairing) => Box::new(pairing.settle()),
            Self::Given(_) => Box::new(|_| async { Ok(()) }.boxed_local()),
        }
    }

    /// Who has ended by itself, in a sentence, and the end of its log where there is one.
    pub fn obituary(&self) -> Option<(String, Option<String>)> {
        match self {
            Self::Twins(pairing) => {
                let (label, log) = pairing.obituary()?;
                Some((format!("{label} ended during the run"), Some(log)))
            }
            Self::Given(given) => Some((given.obituary()?, None)),
        }
    }

    /// What they have left behind.
    pub async fn found(&self) -> anyhow::Result<Found> {
        Ok(match self {
            Self::Twins(pairing) => Found {
                rows: pairing.rows().await?,
                invariants: pairing.invariants().await?,
                counted: pairing.counted().await?,
                builds: pairing.builds(),
                looks: pairing.looks().await?,
                inapplicable: Vec::new(),
                spans_dropped: pairing.spans_dropped().await?,
            },
            Self::Given(given) => Found {
                rows: vec![Vec::new(); 2],
                invariants: vec![Vec::new(); 2],
                counted: vec![None; 2],
                builds: Vec::new(),
                looks: vec![None; 2],
                inapplicable: given.inapplicable(),
                spans_dropped: [0, 0],
            },
        })
    }

    /// Stops what was started for the scenario.
    pub async fn stop(self) {
        match self {
            Self::Twins(pairing) => pairing.stop().await,
            Self::Given(_) => {}
        }
    }
}
