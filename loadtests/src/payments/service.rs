//! One service by itself on a database of its own, started as a comparison starts it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use http::Method;
use stack::instance::{Credentials, Instance, Twin, TwinOptions};
use stack::migrate::Database;

use super::Payments;
use super::bench::Bench;
use super::metrics::{SPANS_DROPPED, requests, sum};
use super::{client, rows, setup, upkeep};
use crate::compare::{Contender, Moment};
use crate::conformance::ledger::invariants;
use crate::engine::Addresses;
use crate::report::Version;
use crate::scenario::Scenario;
use crate::solo::{Order, Settle};
use crate::trace::Trace;
use crate::validity::Invariant;
use crate::workload::{PlayerTarget, Sampled};

/// The services' variable for where their spans go; unset: nowhere.
pub const EXPORTER: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The first profile of a Rust program reads its debug information.
const PROFILE_WRITTEN: Duration = Duration::from_secs(30);

/// A database for one service, and the secrets that belong to it.
pub struct Home {
    /// Whose.
    pub twin: Twin,
    name: String,
    database: Database,
    credentials: Credentials,
}

/// What differs from a service that is as by default.
#[derive(Debug, Clone, Default)]
pub struct Special {
    /// More variables.
    pub env: Vec<(String, String)>,
    /// `host:port` of another card network.
    pub acquirer: Option<String>,
    /// Another program than the usual one.
    pub program: Option<PathBuf>,
}

/// A service that is ready.
pub struct Service {
    /// For who plays.
    pub contender: Contender,
    /// What it says of itself.
    pub version: Version,
    /// From its start to ready.
    pub ready_ms: f64,
    instance: Instance,
    pub(super) owner_url: String,
}

impl Bench {
    /// A fresh database; each call needs another name.
    pub async fn home(&self, twin: Twin, name: &str) -> anyhow::Result<Home> {
        self.home_called(twin, &format!("{name}_{}", twin.name())).await
    }

    /// The same, where the service alone doesn't tell it from another one.
    pub(super) async fn home_called(&self, twin: Twin, name: &str) -> anyhow::Result<Home> {
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let database = self.database(&name).await?;
        Ok(Home { twin, name, database, credentials: Credentials::random() })
    }

    /// Starts the service of `home` and gives it merchants.
    pub async fn service(&self, home: &Home, special: &Special) -> anyhow::Result<Service> {
        let instance = self.instance(home, special).await?;
        let credentials = setup::merchants(&instance.http(), &home.credentials.admin_token).await?;
        let addresses = Addresses {
            http: client::address(&instance.http())?,
            grpc: Some(client::address(&instance.grpc())?),
        };
        let contender = Contender {
            name: home.twin.name().into(),
            pid: Some(instance.pid()),
            target: PlayerTarget { addresses, credentials, sampled: Sampled::default() },
        };
        let program = special.program.clone().map_or_else(|| home.twin.binary(), Ok)?;
        Ok(Service {
            contender,
            version: version(&instance, home.twin, &program).await?,
            ready_ms: instance.ready_after().as_secs_f64() * 1e3,
            instance,
            owner_url: home.database.owner_url.clone(),
        })
    }

    /// Starts it and nothing else.
    pub async fn instance(&self, home: &Home, special: &Special) -> anyhow::Result<Instance> {
        let acquirer = special.acquirer.clone().unwrap_or_else(|| self.card_network());
        let (url, log) = (&home.database.service_url, self.log(&home.name));
        let mut options = TwinOptions::new(home.twin, url, &acquirer, &home.credentials, &log);
        options.cpus = self.layout().service.clone();
        options.env = [self.service_env(), special.env.clone()].concat();
        options.program.clone_from(&special.program);
        Ok(Instance::twin(options).await?)
    }
}

/// What a service says of itself; fails where its program is the other one.
async fn version(instance: &Instance, twin: Twin, program: &Path) -> anyhow::Result<Version> {
    let told = client::request(Method::GET, &instance.admin(), "/version", None, None).await?;
    let version: Version = serde_json::from_value(told)?;
    let (is, wanted) = (&version.implementation, twin.name());
    ensure!(is == wanted, "{}: this is the {is} service, wanted the {wanted} one", program.display());
    Ok(version)
}

impl Service {
    /// What its `/metrics` shows.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        client::text(&self.instance.admin(), "/metrics").await
    }

    /// Spans that it has lost, as its `/metrics` counts them.
    pub async fn spans_dropped(&self) -> anyhow::Result<u64> {
        Ok(sum(&self.metrics().await?, SPANS_DROPPED, &[]) as u64)
    }

    /// Where it spends its CPU time in the next seconds, as `go tool pprof` reads it.
    pub fn profile(&self, seconds: u64) -> impl Future<Output = anyhow::Result<Bytes>> + Send + use<> {
        let (admin, path) = (self.instance.admin(), format!("/debug/pprof/profile?seconds={seconds}"));
        let limit = Duration::from_secs(seconds) + PROFILE_WRITTEN;
        async move { client::bytes(&admin, &path, limit).await }
    }

    /// A play of the whole trace on it; before the load its database is vacuumed and analysed.
    pub fn order(&self, bench: &Bench, scenario: &Scenario, trace: &Arc<Trace>) -> Order {
        Order {
            scenario: scenario.clone(),
            trace: Arc::clone(trace),
            workload: &Payments,
            contender: self.contender.clone(),
            support: bench.support(),
            cores: bench.layout().generator.clone(),
            settle: self.settle(),
        }
    }

    /// What is done instead where the database is none of the figure: `/metrics` as it is before the load is kept.
    pub fn look(&self, into: &Arc<Mutex<String>>) -> Settle {
        let (admin, into) = (self.instance.admin(), Arc::clone(into));
        Box::new(move |moment| {
            let (admin, into) = (admin.clone(), Arc::clone(&into));
            Box::pin(async move {
                if moment == Moment::Made {
                    return Ok(());
                }
                let text = client::text(&admin, "/metrics").await?;
                *into.lock().map_err(|_| anyhow!("a look at /metrics panicked"))? = text;
                Ok(())
            })
        })
    }

    fn settle(&self) -> Settle {
        let urls = vec![self.owner_url.clone()];
        Box::new(move |moment| {
            let urls = urls.clone();
            Box::pin(async move {
                match moment {
                    Moment::Made => upkeep::vacuum(&urls).await,
                    Moment::Warm => Ok(()),
                }
            })
        })
    }

    /// Rows in its database, in the order of the player's effects.
    pub async fn rows(&self) -> anyhow::Result<Vec<u64>> {
        rows::count(&self.owner_url).await
    }

    /// Requests of loads that it has counted since its start.
    pub async fn counted(&self) -> anyhow::Result<u64> {
        Ok(requests(&self.metrics().await?))
    }

    /// What must always hold in its database, as its owner finds it.
    pub async fn invariants(&self) -> anyhow::Result<Vec<Invariant>> {
        invariants(&self.owner_url).await.with_context(|| format!("{}’s database", self.contender.name))
    }

    /// An error with the end of its log, where it has ended by itself.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match self.last_words() {
            Some(log) => {
                error.context(format!("the service ended during the run; the end of its log:\n{log}\n"))
            }
            None => error,
        }
    }

    /// The end of its log, where it has ended by itself.
    pub fn last_words(&self) -> Option<String> {
        (!self.instance.alive()).then(|| self.instance.log_tail())
    }

    /// Its process, and where it tells about itself.
    pub(super) fn watched(&self) -> (u32, String) {
        (self.instance.pid(), self.instance.admin())
    }

    /// Ends it at once, whatever it is at.
    pub fn kill(self) {
        self.instance.kill();
    }

    /// Stops it.
    pub async fn stop(self) {
        self.instance.stop().await;
    }
}
