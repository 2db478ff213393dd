//! What a service answers at most, one kind of request at a time: clients that ask again as soon as they are answered, as
//! those of the limits do, and in turn with them, so that a share is of the same minutes.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use tokio::time::sleep;

use super::{InTurns, Limit, Saturation, door, on_cores};
use crate::clock::now_ns;
use crate::compare::{Contender, Support, SupportCores, Usage};
use crate::payments::Payments;
use crate::procstat::Process;
use crate::report::wording::number;
use crate::scenario::{Overrides, Scenario};
use crate::spread::Spread;
use crate::trace::{Line, Trace};
use crate::workload::{Checked, Player, Reply, Workload};

/// More than a service has connections to Postgres, so that the card network's answers are never waited for by all.
const CLIENTS: usize = 64;
/// So often at most is one request of what the load is about asked: a service that is cold may refuse some.
const ATTEMPTS: usize = 5;
/// After which one that was refused is asked again, as `Retry-After` says in every such reply.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Warm-up, three quarters of which make what the load is about: tokens to pay with, payments to read.
const WARM_UP_SECONDS: f64 = 1.5;
/// Clients wait for each other, for longer than a service usually lets them.
pub const PATIENT: [(&str, &str); 3] = [
    ("TWINPAY_HASH_QUEUE", "65536"),
    ("TWINPAY_HASH_WAIT_MS", "30000"),
    ("TWINPAY_DATABASE_WAIT_MS", "30000"),
];

/// The same, for a service's environment.
pub fn patient() -> Vec<(String, String)> {
    PATIENT.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// What is asked for, and the limit that bounds it.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Of these requests alone.
    pub scenario: &'static str,
    /// As a person calls them.
    pub label: &'static str,
    /// Of their rate.
    pub unit: &'static str,
    /// Of the limit's row.
    limit: &'static str,
    /// There is a limit a service.
    of_service: bool,
    /// More a second than any service answers.
    supply: f64,
}

/// Work of the CPU, of the database, and nearly none.
pub const KINDS: [Kind; 3] = [
    Kind {
        scenario: "tokenize",
        label: "Tokenisations",
        unit: "tokens/s",
        limit: "hash_",
        of_service: true,
        supply: 4_000.0,
    },
    Kind {
        scenario: "sale",
        label: "Sales",
        unit: "sales/s",
        limit: "database_sale",
        of_service: false,
        supply: 8_000.0,
    },
    Kind {
        scenario: "read",
        label: "Reads of a payment",
        unit: "replies/s",
        limit: "door_",
        of_service: true,
        supply: 40_000.0,
    },
];

/// One measurement.
#[derive(Debug, Clone)]
pub struct Turn {
    replies: u64,
    usage: Usage,
}

/// Every kind on every service, measured in turn.
pub struct Saturated {
    kinds: &'static [Kind],
    services: Vec<Contender>,
    support: Vec<Support>,
    cores: SupportCores,
    generator: Vec<usize>,
    turns: Vec<Vec<Turn>>,
    count: u64,
}

impl Saturated {
    /// Of services that let their clients wait (`PATIENT`); asked from the generator's cores.
    pub fn of(
        kinds: &'static [Kind],
        services: &[Contender],
        support: Vec<Support>,
        cores: SupportCores,
        generator: &[usize],
    ) -> Self {
        let turns = vec![Vec::new(); services.len() * kinds.len()];
        let (services, generator) = (services.to_vec(), generator.to_vec());
        Self { kinds, services, support, cores, generator, turns, count: 0 }
    }

    /// What this turn's clients ask, the same of each service, and how much of it makes what they need.
    fn trace(&self, kind: &Kind, length: Duration) -> anyhow::Result<(Trace, usize)> {
        let overrides = Overrides {
            warm_up_seconds: Some(WARM_UP_SECONDS),
            // The least that a scenario may have; nothing here is cut into slices.
            pairs: Some(2),
            slice_ms: Some((length.as_millis() as u64).div_ceil(2)),
            ..Overrides::default()
        };
        let mut scenario = Scenario::load(kind.scenario, &overrides)?;
        // Another one each turn: keys of an earlier one would be answered from what is stored.
        scenario.seed = scenario.seed.wrapping_add(self.count);
        scenario.stages.iter_mut().for_each(|stage| stage.rate = kind.supply);
        let trace = Trace::draw(&scenario.name, &scenario, &Payments)?;
        let making = trace.window(0, scenario.making_us()).len();
        Ok((trace, making))
    }

    /// Each kind's turns on each service, in their order.
    pub fn turns(&self) -> impl Iterator<Item = (&Kind, usize, &[Turn])> {
        let places =
            self.kinds.iter().flat_map(|kind| (0..self.services.len()).map(move |service| (kind, service)));
        places.zip(&self.turns).map(|((kind, service), turns)| (kind, service, turns.as_slice()))
    }

    /// One a kind and service; shares are of the limit as it was measured in the same turn.
    pub fn rows(self, limits: &[Limit]) -> Vec<Saturation> {
        let each =
            self.kinds.iter().flat_map(|kind| self.services.iter().map(move |service| (kind, service)));
        let row = |((kind, service), turns): ((&Kind, &Contender), &Vec<Turn>)| {
            let values = |of: fn(&Turn) -> f64| turns.iter().map(of).collect::<Vec<_>>();
            let name = match kind.of_service {
                true => format!("{}{}", kind.limit, service.name),
                false => kind.limit.to_owned(),
            };
            let limit = limits.iter().find(|limit| limit.name == name);
            let rate = Spread::of(&values(Turn::rate))?;
            Some(Saturation {
                name: format!("saturated_{}_{}", kind.scenario, service.name),
                label: format!("{} by {CLIENTS} clients, {}", kind.label, service.name),
                unit: kind.unit.into(),
                share: limit.and_then(|limit| limit.share(&rate)),
                rate,
                cpu_us: Spread::of(&values(Turn::cpu_us))?,
                limit: limit.map_or(name, |limit| limit.label.clone()),
                full: full(turns, self.cores),
            })
        };
        each.zip(&self.turns).filter_map(row).collect()
    }
}

impl InTurns for Saturated {
    const WHAT: &'static str = "services at their most";

    /// One measurement of each; who is first changes from turn to turn.
    async fn repeat(&mut self, length: Duration) -> anyhow::Result<()> {
        let count = self.services.len();
        for (row, kind) in self.kinds.iter().enumerate() {
            let drawn = Arc::new(self.trace(kind, length)?);
            for step in 0..count {
                let index = (step + self.count as usize) % count;
                let (contender, support) = (self.services[index].clone(), self.support.clone());
                let trace = Arc::clone(&drawn);
                let what = format!("{}: {} by {CLIENTS} clients", contender.name, kind.label);
                let work = move || ask(&contender, &support, &trace, length);
                let turn = on_cores(&self.generator, work).await.context(what)?;
                self.turns[row * count + index].push(turn);
            }
        }
        self.count += 1;
        Ok(())
    }

    fn take_back(&mut self) {
        for turns in &mut self.turns {
            turns.pop();
        }
    }
}

impl Turn {
    /// Replies a second.
    pub fn rate(&self) -> f64 {
        self.replies as f64 * 1e9 / self.usage.wall_ns.max(1) as f64
    }

    /// CPU of the service a reply, in µs.
    pub fn cpu_us(&self) -> f64 {
        self.usage.contenders_ns as f64 / 1e3 / self.replies.max(1) as f64
    }
}

/// How busy the two sides of the machine were.
fn full(turns: &[Turn], cores: SupportCores) -> String {
    let mean = |of: &dyn Fn(&Usage) -> f64| {
        let sum: f64 = turns.iter().map(|turn| of(&turn.usage)).sum();
        number(sum / turns.len().max(1) as f64 * 100.0)
    };
    let service = mean(&|usage| usage.contenders_ns as f64 / usage.wall_ns.max(1) as f64);
    let others = mean(&|usage| usage.support_share(cores));
    format!("service {service} % of a core; Postgres, card network and clients {others} % of theirs")
}

/// What makes something, then the others for so long.
fn ask(
    contender: &Contender,
    support: &[Support],
    (trace, making): &(Trace, usize),
    length: Duration,
) -> anyhow::Result<Turn> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let process = Process::of(contender.process()?)?;
    runtime.block_on(async {
        let player = Payments.player(trace, &contender.target)?;
        let clients = Clients { trace, player: RefCell::new(player), next: Cell::new(0) };
        let address = contender.target.addresses.http;
        // What needs another's result comes when all of those are there.
        let (first, then): (Vec<_>, Vec<_>) =
            (0..*making).partition(|index| trace.lines[*index].needs.is_none());
        for lines in [first, then] {
            clients.ask(address, &lines, None).await.context("making what the load is about")?;
        }
        let before = Usage::now(&[process], support)?;
        let until = now_ns() + length.as_nanos() as u64;
        let lines: Vec<_> = (*making..trace.lines.len()).collect();
        let replies = clients.ask(address, &lines, Some(until)).await?;
        ensure!(replies > 0, "nothing could be asked");
        Ok(Turn { replies, usage: Usage::now(&[process], support)?.since(&before) })
    })
}

/// Who asks, with one player.
struct Clients<'a> {
    trace: &'a Trace,
    player: RefCell<Box<dyn Player>>,
    /// Place in the lines that are asked.
    next: Cell<usize>,
}

impl Clients<'_> {
    /// All of them, these lines of the trace, up to a time of the clock; each reply has to be as expected. Without such a
    /// time every line gets its reply, and one that was refused is asked again.
    async fn ask(&self, address: SocketAddr, lines: &[usize], until_ns: Option<u64>) -> anyhow::Result<u64> {
        self.next.set(0);
        let replies = (0..CLIENTS).map(|_| self.again_and_again(address, lines, until_ns));
        Ok(try_join_all(replies).await?.into_iter().sum())
    }

    async fn again_and_again(
        &self,
        address: SocketAddr,
        lines: &[usize],
        until_ns: Option<u64>,
    ) -> anyhow::Result<u64> {
        let mut connection = door::open(address).await?;
        let attempts = if until_ns.is_some() { 1 } else { ATTEMPTS };
        let mut replies = 0;
        while until_ns.is_none_or(|until_ns| now_ns() < until_ns) {
            let Some(index) = lines.get(self.next.replace(self.next.get() + 1)) else { break };
            replies += self.one(&mut connection, &self.trace.lines[*index], attempts).await?;
        }
        Ok(replies)
    }

    /// How many replies: none where the result is missing that it needs.
    async fn one(
        &self,
        connection: &mut SendRequest<Full<Bytes>>,
        line: &Line,
        attempts: usize,
    ) -> anyhow::Result<u64> {
        for attempt in 1.. {
            let Some(request) = self.player.borrow_mut().prepare(line) else { break };
            connection.ready().await?;
            let (parts, body) = connection.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            let reply = Reply { status: parts.status, headers: parts.headers, body, trailers: None };
            let checked = self.player.borrow_mut().check(line, &reply, false);
            match checked {
                Checked::Expected => return Ok(1),
                Checked::Shed if attempt < attempts => sleep(RETRY_AFTER).await,
                Checked::Shed => bail!(
                    "refused with {} for want of capacity, attempt {attempt} of {attempts}",
                    reply.status
                ),
                Checked::Unexpected(what) => bail!("answered {what}"),
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use http::StatusCode;

    use super::*;
    use crate::engine::Addresses;
    use crate::workload::{PlayerTarget, Sampled};

    const BUSY: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, r#"{"reason":"OVERLOADED"}"#);
    const MADE: (StatusCode, &str) =
        (StatusCode::CREATED, r#"{"id":"ptok_01k0000000e0000000000000000","object":"payment_token"}"#);

    /// What comes of a hundred tokenisations where the first so many requests are refused.
    fn asked(refused: usize, until_ns: Option<u64>) -> anyhow::Result<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let seen = AtomicUsize::new(0);
            let answer = move || if seen.fetch_add(1, Ordering::Relaxed) < refused { BUSY } else { MADE };
            let answer = Arc::new(answer);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            let http = listener.local_addr()?;
            let router = Router::new().fallback(move || ready(answer()));
            tokio::spawn(axum::serve(listener, router).into_future());
            let scenario = Scenario::load("tokenize", &Overrides::default())?;
            let trace = Trace::draw("tokenize", &scenario, &Payments)?;
            let credentials = (0..100).map(|number| format!("tp_live_key{number}")).collect();
            let target = PlayerTarget {
                addresses: Addresses { http, grpc: None },
                credentials,
                sampled: Sampled::default(),
            };
            let player = RefCell::new(Payments.player(&trace, &target)?);
            let clients = Clients { trace: &trace, player, next: Cell::new(0) };
            clients.ask(http, &(0..100).collect::<Vec<_>>(), until_ns).await
        })
    }

    #[test]
    fn what_a_load_is_about_is_asked_for_again_where_it_was_refused() {
        assert_eq!(asked(150, None).unwrap(), 100);
        let error = asked(usize::MAX, None).unwrap_err().to_string();
        assert_eq!(error, "refused with 503 Service Unavailable for want of capacity, attempt 5 of 5");
    }

    #[test]
    fn what_is_measured_is_never_asked_for_again() {
        assert_eq!(asked(0, Some(u64::MAX)).unwrap(), 100);
        let error = asked(1, Some(u64::MAX)).unwrap_err().to_string();
        assert_eq!(error, "refused with 503 Service Unavailable for want of capacity, attempt 1 of 1");
    }
}
