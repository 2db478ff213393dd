//! Sends every case to both twins over every door, each of its named steps in a trace of its own.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::Method;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection, Row};
use stack::instance::{Instance, Twin};
use stack::test_postgres;
use tokio::time::Instant;

use super::file::Sections;
use super::metrics::Families;
use super::tree::CALLER;
use crate::conformance::case::{Case, Door, Stage};
use crate::conformance::route::{Route, Target};
use crate::conformance::run::doors;
use crate::conformance::session::{Bench, StepRun};
use crate::conformance::wire::Outgoing;
use crate::conformance::world::{Ground, settings, target};

/// A request is counted after its reply has left, and what runs on in the background later still.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// All attempts at a webhook take a second or two: each begins at the worker's next look.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// A twin, with those of its kind that have settings of their own.
pub struct Player {
    /// Which one.
    pub twin: Twin,
    /// Processes by what they are set up for; `None`: the usual.
    staged: Vec<(Option<Stage>, Instance)>,
    /// The owner's URL of each one's database.
    databases: Vec<String>,
}

/// A case that was sent through one door.
pub struct Played {
    /// The case's file without its ending.
    pub area: String,
    /// The case's sentence and its door.
    pub heading: String,
    /// The named steps in order.
    pub steps: Vec<Traced>,
}

/// A step that was sent in a trace of its own.
pub struct Traced {
    /// The trace's id.
    pub trace: Vec<u8>,
    /// The step's name and what was answered.
    pub title: String,
}

impl Player {
    /// Starts a twin for all stages, each on a database of its own. Spans go to `endpoint`.
    pub async fn start(ground: &Ground, twin: Twin, cases: &[Case], endpoint: &str) -> anyhow::Result<Self> {
        let mut stages: Vec<Option<Stage>> = vec![None];
        for case in cases {
            if !stages.contains(&case.stage) {
                stages.push(case.stage);
            }
        }
        let (mut staged, mut databases) = (Vec::new(), Vec::new());
        for stage in stages {
            let (name, mut env) = stage.map_or(("usual", Vec::new()), |stage| settings(stage, twin));
            env.push(("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
            // A webhook's attempts follow each other as fast as they are looked for: all of them are seen.
            env.push(("TWINPAY_WEBHOOK_RETRY_MS", "1"));
            let database = test_postgres::migrated_database().await?;
            let log = format!("{}-{name}.log", twin.name());
            staged.push((stage, ground.twin(twin, &database, &log, &env).await?));
            databases.push(database.owner_url);
        }
        Ok(Self { twin, staged, databases })
    }

    /// Sends all cases one after another, each over all its doors, and waits until their webhooks are delivered or given up. A reply that
    /// isn't as the case says is an error.
    pub async fn play(&self, bench: &Bench, cases: &[Case]) -> anyhow::Result<Vec<Played>> {
        let mut played = Vec::new();
        for case in cases {
            let of_stage = self.staged.iter().find(|(stage, _)| *stage == case.stage);
            let (_, instance) = of_stage.ok_or_else(|| anyhow!("no twin for {:?}", case.stage))?;
            let to = target(self.twin, instance);
            for door in doors(case).into_iter().filter(|door| *door != Door::Http2) {
                let heading = format!("{}, over {}", case.name, if door.is_http() { "HTTP" } else { "gRPC" });
                let steps = one(bench, case, &to, door)
                    .await
                    .with_context(|| format!("{}: {heading}: {}", case.area, to.name))?;
                played.push(Played { area: case.area.clone(), heading, steps });
            }
        }
        for database in &self.databases {
            told(database).await.with_context(|| format!("{}'s webhooks", self.twin.name()))?;
        }
        Ok(played)
    }

    /// What all processes show at `/metrics`, and of that what only this twin can have.
    async fn metrics(&self, bench: &Bench) -> anyhow::Result<(Families, Sections)> {
        let mut families = Families::default();
        for (_, instance) in &self.staged {
            let get = Outgoing {
                method: Method::GET,
                uri: format!("{}/metrics", instance.admin()),
                headers: Vec::new(),
                body: Bytes::new(),
                chunked: false,
                stalls: false,
                items: 0,
            };
            let reply = bench.wire.http(&get, false).await?;
            if reply.status != 200 {
                bail!("{}: {}", get.uri, reply.status);
            }
            families.add(&String::from_utf8_lossy(&reply.body));
        }
        let own = families.take_own(self.twin);
        Ok((families, own))
    }

    /// Ends all processes in good order, so that they send what they still hold, and reads their logs.
    pub async fn stop(self) -> anyhow::Result<Vec<String>> {
        let mut logs = Vec::new();
        for (_, instance) in self.staged {
            let log = instance.log().to_owned();
            if !instance.stop().await {
                bail!("{} had to be killed; its log is {}", self.twin.name(), log.display());
            }
            logs.push(std::fs::read_to_string(&log).with_context(|| log.display().to_string())?);
        }
        Ok(logs)
    }
}

/// The metrics of both, once they agree, or at the latest when a limit is over; then what only one of them can have.
pub async fn settled_metrics(
    bench: &Bench,
    players: &[Player; 2],
) -> anyhow::Result<([Families; 2], Sections)> {
    let limit = Instant::now() + SETTLED_WITHIN;
    loop {
        let [(first, of_first), (second, of_second)] =
            [players[0].metrics(bench).await?, players[1].metrics(bench).await?];
        if first == second || Instant::now() >= limit {
            return Ok(([first, second], [of_first, of_second].concat()));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until no event is left to publish and no webhook to deliver.
async fn told(database: &str) -> anyhow::Result<()> {
    let limit = Instant::now() + TOLD_WITHIN;
    let mut connection = PgConnection::connect(database).await?;
    loop {
        let query = sqlx::query(
            "select (select count(*) from outbox) + (select count(*) from webhook_deliveries where state = 'pending')",
        );
        let left: i64 = query.fetch_one(&mut connection).await?.try_get(0)?;
        if left == 0 {
            break;
        }
        if Instant::now() >= limit {
            bail!("{left} still under way after {} s", TOLD_WITHIN.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(connection.close().await?)
}

async fn one(bench: &Bench, case: &Case, to: &Target, door: Door) -> anyhow::Result<Vec<Traced>> {
    let mut case = case.clone();
    let mut traces = Vec::new();
    for (index, step) in case.steps.iter_mut().enumerate() {
        let place = format!("{} {} {} {} {index}", to.name, door.name(), case.area, case.name);
        let trace = step.name.is_some().then(|| Sha256::digest(place)[..16].to_vec());
        if let Some(trace) = &trace {
            step.headers.push(("traceparent".into(), format!("00-{}-{CALLER}-01", hex::encode(trace))));
        }
        traces.push(trace);
    }
    // A step that says `door = "other"` goes over HTTP.
    let mut route = Route::Cross([to.clone(), to.clone()], [door, Door::Http]);
    let runs = bench.run(&case, &mut route).await?;
    let mut traced = Vec::new();
    for ((run, step), trace) in runs.iter().zip(&case.steps).zip(traces) {
        if !run.faults.is_empty() {
            bail!("{}\n  sent {}\n  got  {}", run.faults.join("\n"), run.request, run.reply.summary());
        }
        if let (Some(trace), Some(name)) = (trace, &step.name) {
            traced.push(Traced { trace, title: title(name, run) });
        }
    }
    Ok(traced)
}

/// `sale: 402 CARD_DECLINED`; over gRPC with the status that the reason has over HTTP.
fn title(name: &str, run: &StepRun) -> String {
    let reply = &run.reply;
    let reason = reply.reason().map(|reason| format!(" {reason}")).unwrap_or_default();
    let replayed = if reply.replayed() { ", replayed" } else { "" };
    format!("{name}: {}{reason}{replayed}", reply.status)
}
