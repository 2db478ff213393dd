//! `loadtest golden`: what both twins tell of themselves, against each other and against files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use stack::instance::Twin;

use crate::conformance::canary;
use crate::conformance::case;
use crate::conformance::contract::Contract;
use crate::conformance::session::Bench;
use crate::conformance::wire::Wire;
use crate::conformance::world::{Ground, leave_logs};
use crate::golden::file::{self, Sections, Told};
use crate::golden::logs::Messages;
use crate::golden::metrics::Families;
use crate::golden::play::{Played, Player, settled_metrics};
use crate::golden::tree::{Forest, resources, service};
use crate::golden::webhooks::WebhookReceiver;
use crate::otlp::{Received, Receiver};

/// The spans of a run take about a megabyte.
const SPANS_LIMIT: usize = 64 << 20;
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Compares what both services tell of themselves with each other and with files: span trees, metrics, log lines
///
/// Starts a card network, a receiver of webhooks and both services, sends every case of golden/cases over HTTP and gRPC, takes
/// the spans by OTLP, stops the services, and prints every difference. `loadtest golden --bless` writes what is meant to be so from now on.
/// Needs a Postgres: `stack with-postgres -- loadtest golden`.
#[derive(Debug, Args)]
pub struct Golden {
    /// Writes the golden files, where the two services agree
    #[arg(long)]
    bless: bool,
    /// Where cases and golden files are
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/golden"))]
    folder: PathBuf,
    /// What the cases begin with
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/fixtures.toml"))]
    fixtures: PathBuf,
}

/// What one twin did, before it is told.
struct Run {
    played: Vec<Played>,
    metrics: Families,
    /// Of both: what only one of them can have.
    own_metrics: Sections,
    logs: Vec<String>,
}

impl Golden {
    /// True where both tell the same, and the same as the files.
    pub async fn run(self) -> anyhow::Result<bool> {
        let begin = Instant::now();
        let mut cases = case::load_with(&self.folder.join("cases"), &self.fixtures)?;
        let merchant = WebhookReceiver::start().await?;
        cases.iter_mut().for_each(|case| {
            case.vars.insert("receiver".into(), merchant.url().into());
        });
        let receiver = Receiver::start(SPANS_LIMIT).await?;
        let endpoint = receiver.endpoint();
        let (ground, acquirer) =
            Ground::start(&[("ACQUIRER_LATENCY", "fixed:1ms"), (ENDPOINT, endpoint)]).await?;
        let bench = Bench {
            contract: Contract::load()?,
            wire: Wire::default(),
            admin_token: ground.credentials.admin_token.clone(),
        };
        let start = |twin| Player::start(&ground, twin, &cases, endpoint);
        let (rust, go) = tokio::try_join!(start(Twin::Rust), start(Twin::Go))?;
        let (rust_played, go_played) = tokio::try_join!(rust.play(&bench, &cases), go.play(&bench, &cases))?;
        let players = [rust, go];
        let ([rust_metrics, go_metrics], own_metrics) = settled_metrics(&bench, &players).await?;
        // Without its connections the drain needn't wait for idle ones.
        drop(bench);
        let [rust, go] = players;
        let (rust_logs, go_logs) = tokio::try_join!(rust.stop(), go.stop())?;
        acquirer.stop().await;
        let (spans, refused) = receiver.take();
        if refused > 0 {
            bail!("{refused} spans didn't fit into {SPANS_LIMIT} bytes");
        }
        let rust = Run {
            played: rust_played,
            metrics: rust_metrics,
            own_metrics: own_metrics.clone(),
            logs: rust_logs,
        };
        let go = Run { played: go_played, metrics: go_metrics, own_metrics, logs: go_logs };
        let port = merchant.port();
        let (rust, go) = (rust.tell(Twin::Rust, &spans, port), go.tell(Twin::Go, &spans, port));
        let mut well = self.conclude(&rust, &go)?;
        let sent: String = spans.iter().map(|received| format!("{received:?}\n")).collect();
        std::fs::write(ground.logs.join("spans.txt"), sent)?;
        let admin = &ground.credentials.admin_token;
        let (leaks, _) =
            canary::search(&canary::numbers(&cases), admin, &[], Some(ground.logs.as_path())).await?;
        leaks.iter().for_each(|leak| println!("FAILED {leak}"));
        well &= leaks.is_empty();
        let count: usize = rust.values().map(Vec::len).sum();
        println!(
            "golden: {count} sections of {} files in {:.1} s",
            rust.len(),
            begin.elapsed().as_secs_f64()
        );
        Ok(leave_logs(&ground.logs, well))
    }

    fn conclude(&self, rust: &Told, go: &Told) -> anyhow::Result<bool> {
        let found = if self.bless {
            file::differences("- rust, + go", rust, go)
        } else {
            let golden = file::load(&self.folder)?;
            if rust == go {
                file::differences("- golden, + rust and go", &golden, rust)
            } else {
                let mut found = file::differences("- golden, + rust", &golden, rust);
                found.extend(file::differences("- golden, + go", &golden, go));
                found
            }
        };
        found.iter().for_each(|difference| println!("FAILED {difference}"));
        if !found.is_empty() {
            println!("{} differences; where the new state is meant: loadtest golden --bless", found.len());
        } else if self.bless {
            file::write(&self.folder, rust)?;
            println!("written to {}", self.folder.display());
        }
        Ok(found.is_empty())
    }
}

impl Run {
    /// `port` is that of the merchants' receiver, which no two runs share.
    fn tell(self, twin: Twin, spans: &[Received], port: u16) -> Told {
        let other = if twin == Twin::Rust { "payments-go" } else { "payments-rust" };
        let (forest, port) = (Forest::grow(spans), port.to_string());
        let mut told: BTreeMap<PathBuf, Sections> = BTreeMap::new();
        for case in self.played {
            let trees: Vec<_> = case
                .steps
                .iter()
                .map(|step| format!("{}\n{}", step.title, forest.draw(&step.trace).replace(&port, "(port)")))
                .collect();
            let name = PathBuf::from(format!("traces/{}.txt", case.area));
            told.entry(name).or_default().push((case.heading, trees.join("\n")));
        }
        told.insert("resources.txt".into(), resources(spans.iter().filter(|span| service(span) != other)));
        told.insert("metrics.txt".into(), self.metrics.sections());
        told.insert("metrics_of_one.txt".into(), self.own_metrics);
        let mut messages = Messages::default();
        self.logs.iter().for_each(|log| messages.add(log));
        told.insert("logs.txt".into(), messages.sections());
        told
    }
}
