//! What stands around the services under test: one Postgres and one card network for a whole run, each pinned from its
//! first instruction, and which cores are whose.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use stack::instance::{AcquirerOptions, Credentials, Instance, Twin};
use stack::migrate::{Database, migrated_database};
use stack::postgres::{Durability, Options, Postgres};

use super::tuning::Places;
use super::vocabulary::{CARD_NETWORK_LATENCY, OF_SERVICES, Payments, USUAL_LATENCY};
use super::{pools, rows, upkeep};
use crate::compare::{Support, SupportCores};
use crate::limits::hash::{self, ROUNDS};
use crate::scenario::{Scenario, Settings};
use crate::workload::Workload;

/// The services' variable.
const HASH_ROUNDS: &str = "TWINPAY_HASH_ITERATIONS";
/// Of a trial run: an unoptimised build takes 50 ms for the usual 16 384 rounds of a card's hash, and whoever waits on a busy machine has to be
/// served late, not shed.
const LIGHT: [(&str, &str); 4] = [
    (HASH_ROUNDS, "1024"),
    ("TWINPAY_HASH_QUEUE", "1000"),
    ("TWINPAY_HASH_WAIT_MS", "5000"),
    ("TWINPAY_DATABASE_WAIT_MS", "5000"),
];

/// Which cores are whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The service under test; the idle one too.
    pub service: Vec<usize>,
    /// This process' sending thread.
    pub generator: Vec<usize>,
    /// Postgres and the card network.
    pub support: Vec<usize>,
}

impl Layout {
    /// For the cores that this process may use: the last one for the service, since the first gets most interrupts.
    pub fn of(cores: &[usize]) -> Self {
        match cores {
            [] => Self { service: vec![0], generator: vec![0], support: vec![0] },
            [only] => Self { service: vec![*only], generator: vec![*only], support: vec![*only] },
            [rest, service] => Self { service: vec![*service], generator: vec![*rest], support: vec![*rest] },
            [generator, support @ .., service] => {
                Self { service: vec![*service], generator: vec![*generator], support: support.to_vec() }
            }
        }
    }

    /// The cores of Postgres and the card network. A full one of them is a limit of its own, whatever the generator's
    /// has left: so only who runs on them counts.
    pub fn support_cores(&self) -> SupportCores {
        let on_them = |cores: &[usize]| cores.iter().any(|core| self.support.contains(core));
        SupportCores {
            count: self.support.len(),
            with_generator: on_them(&self.generator),
            with_contenders: on_them(&self.service),
        }
    }

    /// Cores of everything but the services.
    pub fn around(&self) -> Vec<usize> {
        self.generator.iter().chain(&self.support).copied().collect()
    }

    /// For the report of two.
    pub fn lines(&self) -> Vec<(String, String)> {
        self.told("Both services", ", one of them idle")
    }

    /// For the report of one.
    pub fn lines_alone(&self) -> Vec<(String, String)> {
        self.told("The service", "")
    }

    fn told(&self, service: &str, more: &str) -> Vec<(String, String)> {
        let cores = |cores: &[usize]| {
            let list = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            format!("core {list}")
        };
        let mut lines = vec![
            (service.to_owned(), format!("{}{more}", cores(&self.service))),
            ("Load generator".to_owned(), cores(&self.generator)),
            ("Postgres and card network".to_owned(), cores(&self.support)),
        ];
        if self.service == self.generator {
            lines.push((
                "Warning".into(),
                "there is only one core: everything shares it, and the figures show that".into(),
            ));
        }
        lines
    }
}

/// What a whole run shares.
pub struct Bench {
    postgres: Postgres,
    card_network: Mutex<CardNetwork>,
    /// Variables of both services in the scenario that is prepared.
    scenario_env: Mutex<Vec<(String, String)>>,
    /// The least that a tokenisation takes there.
    tokenize_floor: Mutex<Option<Floor>>,
    layout: Layout,
    /// Variables of both services, in place of their defaults.
    env: Vec<(String, String)>,
    /// The role of all services is the server's, so all of its databases have one.
    service_password: String,
    logs: PathBuf,
}

/// Of an operation whose work is a hash.
#[derive(Debug, Clone, Copy)]
struct Floor {
    /// Of each hash.
    rounds: u32,
    /// Unset where no loop tells.
    floor_us: Option<u64>,
}

impl Floor {
    fn line(self) -> (String, String) {
        let Self { rounds, floor_us } = self;
        let told = match floor_us {
            Some(us) => format!(
                "{:.2} ms: half of the time of one hash of {rounds} rounds, in the faster language’s loop on the services’ core",
                us as f64 / 1e3
            ),
            None => "not known: no loop of hashes was built for speed".into(),
        };
        ("Least time of a tokenisation".into(), told)
    }
}

/// A panic elsewhere leaves both as they were.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one that runs.
struct CardNetwork {
    instance: Instance,
    latency: String,
}

impl CardNetwork {
    async fn start(layout: &Layout, logs: &Path, latency: &str) -> anyhow::Result<Self> {
        let mut options = AcquirerOptions::new(&logs.join("acquirer.log"));
        options.cpus = layout.support.clone();
        options.env = vec![("ACQUIRER_LATENCY".into(), latency.into())];
        Ok(Self { instance: Instance::acquirer(options).await?, latency: latency.into() })
    }
}

impl Bench {
    /// Starts Postgres and the card network; `say` is told what takes long.
    /// Where `light`, tokenising takes little CPU and nobody is shed: what is asked of a build that isn't optimised.
    /// `logs` gets a log of each. Only `twins` will be asked for.
    pub async fn start(
        layout: Layout,
        twins: &[Twin],
        light: bool,
        logs: &Path,
        say: impl Fn(&str),
    ) -> anyhow::Result<Self> {
        // What is missing is said before anything is started.
        twins.iter().try_for_each(|twin| twin.binary().map(drop))?;
        stack::binaries::acquirer()?;
        let mut options = Options::temporary(Durability::Safe)?;
        options.cpus = layout.support.clone();
        let postgres = Postgres::start_saying(options, say).await?;
        upkeep::no_autovacuum(&postgres.url("postgres")).await?;
        let card_network = Mutex::new(CardNetwork::start(&layout, logs, USUAL_LATENCY).await?);
        // A few merchants send all of the load.
        let mut env = vec![("TWINPAY_RATE_LIMIT".to_owned(), "0".to_owned())];
        if light {
            env.extend(LIGHT.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        let service_password = Credentials::random().admin_token;
        Ok(Self {
            postgres,
            card_network,
            scenario_env: Mutex::default(),
            tokenize_floor: Mutex::default(),
            layout,
            env,
            service_password,
            logs: logs.into(),
        })
    }

    /// What settings of a runtime may depend on, in the scenario that is prepared.
    pub fn places(&self) -> anyhow::Result<Places> {
        let cores = self.layout.service.len();
        Ok(Places { cores, permits: pools::permits(&self.service_env(), cores)? })
    }

    /// Has the card network be as the scenario's settings ask, for the services that are started from then on.
    pub async fn prepare(&self, scenario: &Scenario) -> anyhow::Result<()> {
        self.surround(&scenario.settings).await?;
        self.look_at_hashes().await
    }

    /// The same where no scenario asks for anything: what the machine can do isn't to depend on what was played before.
    pub async fn prepare_usual(&self) -> anyhow::Result<()> {
        self.surround(&Settings::new()).await
    }

    async fn surround(&self, settings: &Settings) -> anyhow::Result<()> {
        let of_services = settings.iter().filter(|(name, _)| name.starts_with(OF_SERVICES));
        *locked(&self.scenario_env) =
            of_services.map(|(name, value)| (name.clone(), value.clone())).collect();
        let wanted = settings.get(CARD_NETWORK_LATENCY).map_or(USUAL_LATENCY, String::as_str);
        if self.network().latency == wanted {
            return Ok(());
        }
        let other = CardNetwork::start(&self.layout, &self.logs, wanted).await?;
        let before = std::mem::replace(&mut *self.network(), other);
        before.instance.stop().await;
        Ok(())
    }

    /// Once for each number of rounds, while the services' core has nothing else to do.
    async fn look_at_hashes(&self) -> anyhow::Result<()> {
        let rounds = self.hash_rounds()?;
        let known = *locked(&self.tokenize_floor);
        if known.is_none_or(|floor| floor.rounds != rounds) {
            let floor_us = hash::floor_us(&self.layout.service, rounds).await?;
            *locked(&self.tokenize_floor) = Some(Floor { rounds, floor_us });
        }
        Ok(())
    }

    /// The least that the work of an operation takes in the scenario that is prepared, in µs: the time of a card's hash, or
    /// of the card network's answer.
    pub fn floor_us(&self, operation: &str, settings: &Settings) -> Option<u64> {
        match operation {
            "tokenize" => locked(&self.tokenize_floor).and_then(|floor| floor.floor_us),
            _ => Payments.floor_us(operation, settings),
        }
    }

    /// `host:port` of the card network.
    pub(super) fn card_network(&self) -> String {
        self.network().instance.grpc()
    }

    fn network(&self) -> MutexGuard<'_, CardNetwork> {
        locked(&self.card_network)
    }

    /// Variables of both services, in place of their defaults.
    pub(super) fn service_env(&self) -> Vec<(String, String)> {
        [self.env.as_slice(), &locked(&self.scenario_env)].concat()
    }

    /// Rounds of a card's hash in the services.
    pub fn hash_rounds(&self) -> anyhow::Result<u32> {
        let env = self.service_env();
        let set = env.iter().rfind(|(name, _)| name == HASH_ROUNDS);
        set.map_or(Ok(ROUNDS), |(_, value)| value.parse().with_context(|| format!("{HASH_ROUNDS}={value}")))
    }

    /// Where what is started logs.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Which cores are whose.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The database server's process.
    pub fn postgres_pid(&self) -> u32 {
        self.postgres.pid()
    }

    /// A database with the schema and nothing in it, unless it is there.
    pub async fn database(&self, name: &str) -> anyhow::Result<Database> {
        Ok(migrated_database(&self.postgres.url("postgres"), name, &self.service_password).await?)
    }

    /// Those whose CPU is expected beside the contenders'.
    pub fn support(&self) -> Vec<Support> {
        let support = |name: &str, pid| Support { name: name.into(), pid };
        vec![support("Postgres", self.postgres.pid()), support("Card network", self.network().instance.pid())]
    }

    /// The database server's version.
    pub async fn postgres_version(&self) -> anyhow::Result<String> {
        rows::server_version(&self.postgres.url("postgres")).await
    }

    /// Every setting that isn't the services' default.
    pub async fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut settings = vec![
            line(
                "Services",
                "their defaults (`payments config` prints them), the same for both; no trace exporter",
            ),
            line(
                "Databases",
                "one Postgres, one database each, fresh for each scenario; every commit is on disk",
            ),
            line("Autovacuum", &upkeep::autovacuum(&self.postgres.url("postgres")).await?),
            line(
                "Vacuum and analyze",
                "once on what holds rows in both databases, by their owner, after three quarters of the warm-up",
            ),
            line(
                "Card network latency",
                &format!("{USUAL_LATENCY}, where a scenario has no setting of its own"),
            ),
            line("Velocity limit", "off"),
            line("Merchants", &super::MERCHANTS.to_string()),
        ];
        let pools = pools::lines(&self.env, self.layout.service.len())?;
        settings
            .extend(self.env.iter().filter(|(name, _)| pools.iter().all(|(pool, _)| pool != name)).cloned());
        settings.extend(pools);
        settings.extend(locked(&self.tokenize_floor).map(Floor::line));
        Ok(settings)
    }

    /// Stops what it started.
    pub async fn stop(self) -> anyhow::Result<()> {
        let network = self.card_network.into_inner().unwrap_or_else(PoisonError::into_inner);
        network.instance.stop().await;
        self.postgres.stop().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Usage;
    use crate::validity::{Evidence, judge, name};

    #[test]
    fn the_service_never_shares_its_core_where_there_are_two() {
        for cores in 2..10 {
            let cores: Vec<usize> = (0..cores).collect();
            let layout = Layout::of(&cores);
            assert_eq!(layout.service.len(), 1);
            assert!(
                !layout.generator.contains(&layout.service[0])
                    && !layout.support.contains(&layout.service[0])
            );
            assert!(!layout.around().contains(&layout.service[0]));
            assert!(!layout.support.is_empty());
        }
        let layout = Layout::of(&[0, 1, 2, 3]);
        assert_eq!((layout.generator, layout.support, layout.service), (vec![0], vec![1, 2], vec![3]));
    }

    #[test]
    fn one_core_is_said_to_be_one() {
        let layout = Layout::of(&[0]);
        assert!(layout.lines().iter().any(|(name, _)| name == "Warning"));
        let all = SupportCores { count: 1, with_generator: true, with_contenders: true };
        assert_eq!(layout.support_cores(), all);
    }

    #[test]
    fn full_support_cores_are_seen_with_any_number_of_cores() {
        for cores in [2, 3, 5, 16] {
            let layout = Layout::of(&Vec::from_iter(0..cores));
            let held = |support_ns: u64| {
                let usage = Usage {
                    wall_ns: 1000,
                    generator_ns: 50,
                    contenders_ns: 900,
                    support_ns: vec![("Postgres".into(), support_ns)],
                    ..Usage::default()
                };
                let support_share = usage.support_share(layout.support_cores());
                let bounds = judge(&Evidence { support_share, ..Evidence::default() }, &[]);
                bounds.iter().any(|bound| bound.name == name::SUPPORT && bound.held)
            };
            let all = layout.support.len() as u64 * 1000;
            assert!(held(all * 8 / 10), "{cores} cores, 80 % of the support's in use");
            assert!(!held(all * 95 / 100), "{cores} cores, 95 % of the support's in use");
        }
    }

    #[test]
    fn the_generator_counts_where_it_shares_the_support_s_core() {
        let usage = Usage { wall_ns: 1000, generator_ns: 300, contenders_ns: 900, ..Usage::default() };
        let share = |cores: usize| usage.support_share(Layout::of(&Vec::from_iter(0..cores)).support_cores());
        assert_eq!([1, 2, 3].map(share), [1.2, 0.3, 0.0]);
    }
}
