//! What a service takes beside the work: its program's size, its start, and memory, idle and for each thing it holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use stack::instance::{AcquirerOptions, Instance, Twin};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bench::Bench;
use super::pair::label;
use super::service::{Home, Service, Special};
use super::{Payments, metrics};
use crate::command::folder::Interrupted;
use crate::draw::Draw;
use crate::limits::door;
use crate::limits::saturation::PATIENT;
use crate::procstat::Process;
use crate::scenario::{Overrides, Scenario};
use crate::solo::{Footprint, Row, aside};
use crate::spread::Spread;
use crate::surroundings::{Care, Meanwhile, Since, Surroundings, undisturbed};
use crate::trace::Trace;
use crate::workload::Workload;

/// What the card network takes while requests are held in flight: all have to be there before the first ends. The services
/// give up after 10 s.
const HELD: Duration = Duration::from_secs(9);
/// Before idle memory is looked at: what a start leaves to do is done.
const REST: Duration = Duration::from_secs(1);
const KIB: f64 = 1024.0;
const MIB: f64 = 1_048_576.0;

/// How often and how much.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Starts of each service.
    pub starts: usize,
    /// Repetitions of what is about memory.
    pub repetitions: usize,
    /// Connections and requests that are held.
    pub held: usize,
    /// The order is drawn from it.
    pub seed: u64,
}

/// Figures of one service while they are gathered.
#[derive(Default)]
struct Gathered {
    start_ms: Vec<f64>,
    idle_mib: Vec<f64>,
    loaded_mib: Vec<f64>,
    connection_kib: Vec<f64>,
    request_kib: Vec<f64>,
    switches: Vec<f64>,
    left_out: Vec<String>,
    seen: Vec<Meanwhile>,
}

impl Gathered {
    /// What one repetition found.
    fn add(&mut self, one: Self) {
        self.idle_mib.extend(one.idle_mib);
        self.loaded_mib.extend(one.loaded_mib);
        self.connection_kib.extend(one.connection_kib);
        self.request_kib.extend(one.request_kib);
        self.switches.extend(one.switches);
        self.left_out.extend(one.left_out);
    }
}

/// Measures both services, in an order drawn for each repetition; memory under load is that of `scenario`.
pub async fn footprints(
    bench: &Bench,
    scenario: &Scenario,
    effort: &Effort,
    (care, stopped): (&Care, &watch::Receiver<bool>),
    say: &dyn Fn(&str),
) -> anyhow::Result<Vec<Footprint>> {
    let mut draw = Draw::new(effort.seed, "footprints");
    let mut gathered = [Gathered::default(), Gathered::default()];
    let (support, what) = (bench.support(), "starts of both services");
    say(what);
    let homes = [bench.home(Twin::Rust, "starts").await?, bench.home(Twin::Go, "starts").await?];
    let started = async |_| {
        let since = Since::now(&[], &support)?;
        let found = starts(bench, &homes, effort.starts, &mut draw, stopped).await?;
        Ok((found, since.until_now(what)?))
    };
    let (starts, meanwhile) = undisturbed(care, say, started).await?;
    for (gathered, start_ms) in gathered.iter_mut().zip(starts) {
        (gathered.start_ms, gathered.seen) = (start_ms, vec![meanwhile.clone()]);
    }
    for repetition in 0..effort.repetitions {
        say(&format!("memory of both services, {} of {}", repetition + 1, effort.repetitions));
        let first = usize::from(draw.coin());
        for index in [first, 1 - first] {
            let what = format!("memory of {}, repetition {}", label(Twin::ALL[index]), repetition + 1);
            let memory = async |again: u32| {
                if *stopped.borrow() {
                    bail!(Interrupted);
                }
                let (since, mut one) = (Since::now(&[], &support)?, Gathered::default());
                let (twin, name) = (Twin::ALL[index], format!("memory_{repetition}_{again}"));
                let unexpected = loaded(bench, twin, &name, scenario, stopped, &mut one).await?;
                if let Err(error) = held(bench, twin, &name, effort.held, &mut one).await {
                    // One figure less, not all that was measured before.
                    one.left_out.push(format!(
                        "memory a request in flight, in repetition {}: {error:#}",
                        repetition + 1
                    ));
                }
                Ok((one, Meanwhile { unexpected, ..since.until_now(&what)? }))
            };
            let (one, meanwhile) = undisturbed(care, say, memory).await?;
            gathered[index].add(one);
            gathered[index].seen.push(meanwhile);
        }
    }
    let one = |(twin, gathered)| footprint(twin, gathered, effort.held, care);
    Twin::ALL.into_iter().zip(gathered).map(one).collect()
}

/// So many of each service, in ms, in an order that is drawn for each.
async fn starts(
    bench: &Bench,
    homes: &[Home; 2],
    count: usize,
    draw: &mut Draw,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<[Vec<f64>; 2]> {
    let mut found = [Vec::new(), Vec::new()];
    for _ in 0..count {
        let first = usize::from(draw.coin());
        for index in [first, 1 - first] {
            if *stopped.borrow() {
                bail!(Interrupted);
            }
            let instance = bench.instance(&homes[index], &Special::default()).await?;
            found[index].push(instance.ready_after().as_secs_f64() * 1e3);
            instance.stop().await;
        }
    }
    Ok(found)
}

fn footprint(twin: Twin, gathered: Gathered, held: usize, care: &Care) -> anyhow::Result<Footprint> {
    let program = twin.binary()?;
    let size = std::fs::metadata(&program).with_context(|| program.display().to_string())?.len();
    let row = |name: &str, label: String, unit: &str, values: &[f64]| {
        let figure = Spread::of(values)?;
        Some(Row { name: name.into(), label, unit: unit.into(), figure })
    };
    let rows = [
        row("start_ms", "Start to the first 200 of /readyz".into(), "ms", &gathered.start_ms),
        row("binary", "Program, as built".into(), "MiB", &[size as f64 / MIB]),
        row("rss_idle", "Memory (RSS) idle, after its start".into(), "MiB", &gathered.idle_mib),
        row("rss_loaded", "Memory (RSS) at the end of the load".into(), "MiB", &gathered.loaded_mib),
        row("connection", format!("Memory an open connection, of {held}"), "KiB", &gathered.connection_kib),
        row("request", format!("Memory a request in flight, of {held}"), "KiB", &gathered.request_kib),
        row("switches", "Context switches a reply".into(), "", &gathered.switches),
    ];
    let rows = rows.into_iter().flatten().collect();
    let surroundings = Surroundings::of(gathered.seen, care);
    Ok(Footprint { label: label(twin).into(), rows, left_out: gathered.left_out, surroundings })
}

fn rss(service: &Service) -> anyhow::Result<f64> {
    Ok(Process::of(service.contender.process()?)?.rss_bytes()? as f64)
}

/// Idle, then under the scenario's load; its unexpected replies.
async fn loaded(
    bench: &Bench,
    twin: Twin,
    name: &str,
    scenario: &Scenario,
    stopped: &watch::Receiver<bool>,
    into: &mut Gathered,
) -> anyhow::Result<BTreeMap<String, u64>> {
    let home = bench.home(twin, &format!("{name}_loaded")).await?;
    let service = bench.service(&home, &Special::default()).await?;
    tokio::time::sleep(REST).await;
    into.idle_mib.push(rss(&service)? / MIB);
    let trace = Arc::new(Trace::draw(&scenario.name, scenario, &Payments)?);
    let order = service.order(bench, scenario, &trace);
    let played = aside(order, stopped, &mut |_| ()).await.map_err(|error| service.explain(error))?;
    into.loaded_mib.push(rss(&service)? / MIB);
    into.switches.push(played.switches_a_reply());
    service.stop().await;
    Ok(Meanwhile::of(name, &played.usage, played.warm_up.iter().chain([&played.record])).unexpected)
}

/// With so many connections open, then with a request on each that waits for the card network.
async fn held(
    bench: &Bench,
    twin: Twin,
    name: &str,
    count: usize,
    into: &mut Gathered,
) -> anyhow::Result<()> {
    let mut options = AcquirerOptions::new(&bench.log("slow_acquirer"));
    options.cpus = bench.layout().support.clone();
    options.env = vec![("ACQUIRER_LATENCY".into(), format!("fixed:{}ms", HELD.as_millis()))];
    let slow = Instance::acquirer(options).await?;
    // Nothing but the card network is to hold them up.
    let env = [PATIENT.as_slice(), &[("TWINPAY_HASH_ITERATIONS", "1")]].concat();
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let home = bench.home(twin, &format!("{name}_held")).await?;
    let service =
        bench.service(&home, &Special { env, acquirer: Some(slow.grpc()), ..Special::default() }).await?;
    tokio::time::sleep(REST).await;
    let idle = rss(&service)?;
    let connections = try_join_all((0..count).map(|_| used(&service))).await?;
    let open = rss(&service)?;
    into.connection_kib.push((open - idle) / KIB / count as f64);
    let requests = tokenisations(&service, count)?;
    let mut answers = JoinSet::new();
    for (connection, request) in connections.into_iter().zip(requests) {
        answers.spawn(answer(connection, request));
    }
    all_asked(&service, count, &mut answers).await?;
    into.request_kib.push((rss(&service)? - open) / KIB / count as f64);
    // Nobody waits for what they would answer.
    service.kill();
    slow.kill();
    Ok(())
}

/// A connection that has carried a request, as an idle one of a client's pool has.
async fn used(service: &Service) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let mut connection = door::open(service.contender.target.addresses.http).await?;
    let request = Request::get(door::PATH).header(header::HOST, "localhost").body(Full::default())?;
    connection.send_request(request).await?.into_body().collect().await?;
    Ok(connection)
}

async fn answer(
    mut connection: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<StatusCode> {
    connection.ready().await?;
    let response = connection.send_request(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

/// So many different ones.
fn tokenisations(service: &Service, count: usize) -> anyhow::Result<Vec<Request<Full<Bytes>>>> {
    let pairs = count.div_ceil(50).max(2);
    let overrides = Overrides {
        rate: Some(200.0),
        pairs: Some(pairs),
        slice_ms: Some(500),
        warm_up_seconds: Some(1.0),
        ..Overrides::default()
    };
    let scenario = Scenario::load("tokenize", &overrides)?;
    let trace = Trace::draw("tokenize", &scenario, &Payments)?;
    ensure!(trace.lines.len() >= count, "only {} of {count} requests were drawn", trace.lines.len());
    let mut player = Payments.player(&trace, &service.contender.target)?;
    let requests = trace.lines[..count].iter().filter_map(|line| player.prepare(line));
    Ok(requests.collect())
}

/// Until each has been hashed: the next step is to ask the card network. An answer comes too early.
async fn all_asked(
    service: &Service,
    count: usize,
    answers: &mut JoinSet<anyhow::Result<StatusCode>>,
) -> anyhow::Result<()> {
    loop {
        let asked = metrics::sum(&service.metrics().await?, metrics::HASHES_RUN, &[]) >= count as f64;
        if let Some(answer) = answers.try_join_next() {
            let name = &service.contender.name;
            bail!("{name}: of {count} requests that were to wait together one was answered: {}", answer??);
        }
        if asked {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
