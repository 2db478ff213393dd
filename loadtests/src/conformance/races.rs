//! `loadtest races`: many clients with one key at the same moment, over both doors and both twins of one database. One
//! effect each, and every reply that isn't IDEMPOTENCY_IN_PROGRESS is the same. And many with keys of their own at one
//! payment: `one_payment`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueEnum as _};
use futures::future::join_all;
use stack::instance::{Instance, Twin};
use stack::test_postgres;

use super::case::{Door, Step};
use super::crowd::{Crowd, EFFECTS, capture, count, pay, tokenise};
use super::ledger;
use super::one_payment;
use super::reply::Reply;
use super::route::{Site, Target};
use super::vars::unique;
use super::world::{Ground, leave_logs, target};

/// Between two lines of progress.
const TOLD_EVERY: Duration = Duration::from_secs(20);

/// Let many clients use one key at the same moment, over both doors and both services of one database
///
/// Starts a Postgres (or uses the one of TEST_DATABASE_URL), a card network and both services on one database. In each
/// race all clients send the same request under the same key at once. There must be one first reply and one effect in the
/// database; every other reply is the same as the first, or says that it is in progress. In every fourth race they capture,
/// void and refund one payment, each under a key of its own: only documented replies, and the payment is their sum.
///
/// Prints what was replied how often, and each fault. Logs are kept where there was one.
///
/// Exit codes: 0 each race had one effect; 1 one hadn't; 2 could not run, or was interrupted (one line says why).
#[derive(Debug, Args)]
pub struct Races {
    /// Races, 1 to 100000; tokenise, pay, capture, and all verbs at one payment take turns
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// One kind of race alone
    #[arg(long)]
    only: Option<Kind>,
    /// Clients at once, 2 to 512
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..=512))]
    clients: u16,
}

/// What is raced for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// CreatePaymentToken under one key
    Tokenise,
    /// CreatePayment under one key
    Pay,
    /// CapturePayment under one key
    Capture,
    /// Capture, void and refund one payment, each under a key of its own
    OnePayment,
}

/// What one race did.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each kind of reply came.
    pub replies: BTreeMap<&'static str, u64>,
    /// What must not be.
    pub faults: Vec<String>,
}

/// A request that is raced with, and the rows that one effect leaves, in the order of `EFFECTS`.
struct Heat {
    name: &'static str,
    step: Step,
    wanted: [i64; EFFECTS.len()],
}

impl Races {
    /// True where every race had one effect.
    pub async fn run(self) -> anyhow::Result<bool> {
        let (ground, _acquirer) = Ground::start(&[("ACQUIRER_LATENCY", "fixed:5ms")]).await?;
        let database = test_postgres::migrated_database().await?;
        let rust = ground.twin(Twin::Rust, &database, "rust.log", &[]).await?;
        let go = ground.twin(Twin::Go, &database, "go.log", &[]).await?;
        let sites = sites(&rust, &go);
        let crowd = Crowd::new(&ground, &sites[0].target).await?;
        let (begin, mut all, mut told) = (Instant::now(), Tally::default(), Instant::now());
        eprintln!("races: {} rounds of {} clients, two twins, both doors", self.rounds, self.clients);
        for round in 0..self.rounds {
            let turn = Kind::value_variants()[round as usize % Kind::value_variants().len()];
            let heat = heat(&crowd, &sites[0], self.only.unwrap_or(turn));
            let (name, tally) = match heat.await.with_context(|| format!("preparing round {round}"))? {
                None => ("one payment", one_payment::race(&crowd, &sites, self.clients).await?),
                Some(heat) => {
                    (heat.name, race(&crowd, &sites, &heat, self.clients, &database.owner_url).await?)
                }
            };
            if told.elapsed() > TOLD_EVERY {
                eprintln!("  {round} of {} rounds, {} faults", self.rounds, all.faults.len());
                told = Instant::now();
            }
            all.faults
                .extend(tally.faults.into_iter().map(|fault| format!("round {round}, {name}: {fault}")));
            for (kind, count) in tally.replies {
                *all.replies.entry(kind).or_default() += count;
            }
        }
        let whole = ledger::verify(&[("shared".into(), database.owner_url)]).await?;
        for fault in all.faults.iter().take(40) {
            println!("FAILED {fault}");
        }
        let replies: Vec<_> = all.replies.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let (rounds, clients, took) = (self.rounds, self.clients, begin.elapsed().as_secs_f64());
        println!(
            "{rounds} races of {clients} clients in {took:.1} s: {}; {} faults",
            replies.join(", "),
            all.faults.len()
        );
        Ok(leave_logs(&ground.logs, whole && all.faults.is_empty()))
    }
}

fn sites(rust: &Instance, go: &Instance) -> Vec<Site> {
    let place = |target: &Target, door| Site { target: target.clone(), door };
    let (rust, go) = (target(Twin::Rust, rust), target(Twin::Go, go));
    [Door::Http, Door::Grpc, Door::Http2]
        .into_iter()
        .flat_map(|door| [place(&rust, door), place(&go, door)])
        .collect()
}

/// Everything that the race itself doesn't make is made before it. The race at one payment makes its own.
async fn heat(crowd: &Crowd, site: &Site, kind: Kind) -> anyhow::Result<Option<Heat>> {
    let (key, reference) = (unique(), unique());
    let token = async || crowd.make(site, &tokenise(&unique(), "4242424242424242")).await;
    Ok(match kind {
        Kind::OnePayment => None,
        Kind::Tokenise => {
            let step = tokenise(&key, "4242424242424242");
            Some(Heat { name: "CreatePaymentToken", step, wanted: [1, 0, 0, 1, 1, 0, 0] })
        }
        Kind::Pay => {
            let step = pay(&key, &token().await?, "automatic", &reference, 1000);
            Some(Heat { name: "CreatePayment", step, wanted: [0, 1, 1, 1, 1, 3, 3] })
        }
        Kind::Capture => {
            let payment = pay(&unique(), &token().await?, "manual", &reference, 1000);
            let step = capture(&key, &crowd.make(site, &payment).await?, 400);
            Some(Heat { name: "CapturePayment", step, wanted: [0, 0, 1, 1, 1, 1, 3] })
        }
    })
}

async fn race(crowd: &Crowd, sites: &[Site], heat: &Heat, clients: u16, url: &str) -> anyhow::Result<Tally> {
    let before = count(url).await?;
    let asked = (0..usize::from(clients)).map(|client| crowd.ask(&sites[client % sites.len()], &heat.step));
    let replies: Vec<Reply> = join_all(asked).await.into_iter().collect::<Result<_, _>>()?;
    let mut tally = judge(&replies);
    // Once it is over every site gives the one reply.
    for site in sites {
        let reply = crowd.ask(site, &heat.step).await?;
        if !reply.replayed() || reply.is_error() {
            tally.faults.push(format!("not replayed afterwards: {}", reply.summary()));
        }
        compare(replies.iter().find(|first| !first.is_error()), &reply, &mut tally.faults);
    }
    let after = count(url).await?;
    for ((table, wanted), (before, after)) in EFFECTS.iter().zip(heat.wanted).zip(before.iter().zip(after)) {
        if after - before != wanted {
            tally.faults.push(format!("{} rows in {table}, not {wanted}", after - before));
        }
    }
    Ok(tally)
}

fn judge(replies: &[Reply]) -> Tally {
    let mut tally = Tally::default();
    let winner = replies.iter().find(|reply| !reply.is_error());
    for reply in replies {
        let kind = match reply.reason() {
            None if !reply.is_error() && reply.replayed() => "replays",
            None if !reply.is_error() => "first replies",
            Some("IDEMPOTENCY_IN_PROGRESS") => "in progress",
            _ => "unexpected",
        };
        *tally.replies.entry(kind).or_default() += 1;
        if kind == "unexpected" {
            tally.faults.push(format!("{}: {}", reply.door.name(), reply.summary()));
        }
        if !reply.is_error() {
            compare(winner, reply, &mut tally.faults);
        }
    }
    let firsts = tally.replies.get("first replies").copied().unwrap_or_default();
    if firsts != 1 {
        tally.faults.push(format!("{firsts} first replies"));
    }
    tally
}

/// Over HTTP byte for byte, over gRPC by value.
fn compare(winner: Option<&Reply>, reply: &Reply, faults: &mut Vec<String>) {
    let Some(winner) = winner else { return };
    let both_http = winner.door.is_http() && reply.door.is_http();
    let same = if both_http { winner.text == reply.text } else { winner.body == reply.body };
    if !same {
        faults.push(format!("two bodies: {} and {}", winner.text, reply.text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::Node;
    use super::*;

    fn reply(door: Door, status: u16, text: &str, replayed: bool) -> Reply {
        let mut headers = http::HeaderMap::new();
        if replayed {
            headers.insert("idempotency-replayed", http::HeaderValue::from_static("true"));
        }
        let (body, text) = (Node::parse(text.as_bytes()).ok(), text.to_owned());
        Reply { door, status, code: None, headers, text, body, payment_id: None, faults: Vec::new() }
    }

    #[test]
    fn one_first_reply_and_equal_replays_are_right() {
        let busy = r#"{"reason":"IDEMPOTENCY_IN_PROGRESS"}"#;
        let tally = judge(&[
            reply(Door::Http, 201, "{}", false),
            reply(Door::Http, 201, "{}", true),
            reply(Door::Http, 409, busy, false),
        ]);
        assert!(tally.faults.is_empty(), "{:?}", tally.faults);
    }

    #[test]
    fn two_first_replies_other_bytes_and_other_errors_are_faults() {
        let other = r#"{"reason":"PAYMENT_BUSY"}"#;
        let tally = judge(&[
            reply(Door::Http, 201, "{}", false),
            reply(Door::Http, 201, "{ }", false),
            reply(Door::Http, 409, other, false),
        ]);
        let faults = tally.faults.join("; ");
        for wanted in ["two bodies", "2 first replies", "PAYMENT_BUSY"] {
            assert!(faults.contains(wanted), "{faults}");
        }
    }
}
