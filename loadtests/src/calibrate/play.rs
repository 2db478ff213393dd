//! Compares two toy servers, each a process of its own on the services' core, as services are compared.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use futures::FutureExt;
use stack::instance::{Instance, ProgramOptions};
use tokio::sync::{mpsc, watch};

use super::{Effort, Spin};
use crate::command::folder::Interrupted;
use crate::compare::{Contender, Order, Playback, Slice, play, raw, sample};
use crate::engine::{Addresses, aside};
use crate::payments::Layout;
use crate::scenario::{Overrides, Scenario};
use crate::stats::Pair;
use crate::trace::Trace;
use crate::workload::{PlayerTarget, Sampled};

/// CPU of the second server a request.
const CPU_US: f64 = 1000.0;
/// Requests a second: a fifth of the core, so that queues are short and costs show.
const RATE: u32 = 200;
/// Played on each before the first slice.
const WARM_UP_SECONDS: f64 = 0.5;

/// Who plays, where, and who is told.
pub struct Players<'a> {
    /// Which cores are whose.
    pub layout: &'a Layout,
    /// Gets a log of each server.
    pub logs: &'a Path,
    /// Becomes true where it is to end.
    pub stopped: &'a watch::Receiver<bool>,
    /// Hears what is being done.
    pub tell: &'a dyn Fn(&str),
}

impl Players<'_> {
    /// Tells.
    pub fn say(&self, text: &str) {
        (self.tell)(text);
    }

    /// Plays so many pairs of slices on two fresh servers, the first of which costs `ratio` times the second.
    pub async fn play(
        &self,
        effort: &Effort,
        ratio: f64,
        slice_ms: u64,
        pairs: usize,
    ) -> anyhow::Result<Vec<Pair>> {
        let scenario = scenario(effort.seed, slice_ms, pairs)?;
        let servers = [self.server(effort, CPU_US * ratio, 1).await?, self.server(effort, CPU_US, 2).await?];
        let contenders = [contender("first", &servers[0])?, contender("second", &servers[1])?];
        let playback = self.compare(scenario, contenders, effort.seed).await?;
        if let Some(failure) = playback.failure {
            return Err(failure);
        }
        if playback.pairs.len() < pairs {
            bail!(Interrupted);
        }
        let unexpected = playback.pairs.iter().flatten().flat_map(|slice| &slice.record.kinds).next();
        if let Some((kind, count)) = unexpected {
            bail!("a toy server answered {count} × {kind}");
        }
        let pair = |[first, second]: &[Slice; 2]| {
            let (a, b) = (raw(first, &[])?, raw(second, &[])?);
            anyhow::Ok([
                sample(&a, &b, first.record.all_latency()),
                sample(&b, &a, second.record.all_latency()),
            ])
        };
        playback.pairs.iter().map(pair).collect()
    }

    async fn server(&self, effort: &Effort, cpu_us: f64, number: u64) -> anyhow::Result<Instance> {
        let arguments =
            ["spin".to_owned(), cpu_us.to_string(), (effort.seed.wrapping_mul(2) + number).to_string()];
        Ok(Instance::program(ProgramOptions {
            name: "toy server".into(),
            program: effort.program.clone(),
            args: arguments.into(),
            cpus: self.layout.service.clone(),
            log: self.logs.join(format!("toy_{number}.log")),
        })
        .await?)
    }

    async fn compare(
        &self,
        scenario: Scenario,
        contenders: [Contender; 2],
        order_seed: u64,
    ) -> anyhow::Result<Playback> {
        let trace = Arc::new(Trace::draw(&scenario.name, &scenario, &Spin)?);
        let cores = self.layout.generator.clone();
        let playing = aside(self.stopped, move |stop| {
            let settle = |_| async { Ok(()) }.boxed_local();
            let order = Order {
                scenario: &scenario,
                trace,
                workload: &Spin,
                contenders: &contenders,
                support: &[],
                cores: &cores,
                order_seed,
                most_stolen: None,
                settle: &settle,
            };
            // Nobody follows the events.
            play(&order, stop, &mpsc::unbounded_channel().0)
        });
        playing.await
    }
}

fn contender(name: &str, server: &Instance) -> anyhow::Result<Contender> {
    let url = server.http();
    let address =
        url.strip_prefix("http://").unwrap_or(&url).parse().with_context(|| format!("{name}: {url}"))?;
    let addresses = Addresses { http: address, grpc: None };
    let target = PlayerTarget { addresses, credentials: Vec::new(), sampled: Sampled::default() };
    Ok(Contender { name: name.into(), pid: Some(server.pid()), target })
}

fn scenario(seed: u64, slice_ms: u64, pairs: usize) -> anyhow::Result<Scenario> {
    let seconds = (pairs as u64 * slice_ms) as f64 / 1e3;
    let text = format!(
        r#"
        description = "Requests of a known cost."
        workload = "spin"
        seed = {seed}
        arrivals = "poisson"
        think_time_ms = 1
        connections = 8
        in_flight = 256
        slice_ms = {slice_ms}
        pairs = {pairs}
        drain_ms = 3000
        warm_up = {{ rate = {RATE}.0, seconds = {WARM_UP_SECONDS:?} }}
        stages = [{{ rate = {RATE}.0, seconds = {seconds:?} }}]
        flows = [{{ name = "spin", share = 1, steps = ["spin"] }}]
        "#
    );
    Ok(Scenario::parse("calibrate", "calibrate", &text, &Overrides::default())?)
}
