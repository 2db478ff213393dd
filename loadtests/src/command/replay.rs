//! `loadtest replay`: one request trace to both twins, each reply of one held against the other's.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use futures::stream::{self, StreamExt};
use proptest::strategy::ValueTree;
use serde_json::json;

use crate::conformance::contract::{Contract, code_name};
use crate::conformance::ledger;
use crate::conformance::normal::Normaliser;
use crate::conformance::reply::Reply;
use crate::conformance::session::Bench;
use crate::conformance::shape::COMPARED;
use crate::conformance::wire::Wire;
use crate::conformance::world::{Ground, leave_logs};
use crate::model::digest;
use crate::model::play::{Exchange, Lane, learn};
use crate::model::script::{self, Line, Script};
use crate::model::tally::Tally;

/// Differences that are printed.
const SHOWN: usize = 20;
/// Between two lines of progress.
const TOLD_EVERY: Duration = Duration::from_secs(20);

/// Send one request trace to both services, request by request, and compare each pair of replies
///
/// Starts a Postgres (or uses the one of TEST_DATABASE_URL), a card network, and each service on a database of its own.
/// The trace is made of clients, each a merchant of its own that sends one request after the other: every operation, valid
/// and not, through all doors, with keys used again. Status, headers and bodies must be the same, ids and times mapped one
/// to one; and so must be the ledgers at the end. Then the databases' invariants are checked.
///
/// Prints each difference with the request and both replies. It times nothing: a scenario's trace, as `loadtest trace` writes
/// it, is played by `compare --trace` and `run --trace`.
///
/// Exit codes: 0 no difference; 1 there is one; 2 could not run, or was interrupted (one line says why).
#[derive(Debug, Args)]
pub struct Replay {
    /// Requests to each service, 1 to 100000000
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    requests: u64,
    /// Seed of the trace
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients at once, 1 to 16
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=16))]
    jobs: u16,
    /// Also write the trace there, as JSON Lines; a file that is there stays
    #[arg(long, value_name = "FILE")]
    write_trace: Option<PathBuf>,
}

impl Replay {
    /// True where nothing differs.
    pub async fn run(self) -> anyhow::Result<bool> {
        let contract = Contract::load()?;
        let clients = clients(&contract, self.seed, self.requests)?;
        let trace: Vec<_> = clients.iter().flat_map(lines).collect();
        if let Some(path) = &self.write_trace {
            let text = trace.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
            let written = File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
            written.with_context(|| format!("{} can't be written", path.display()))?;
        }
        let sha256 = digest::sha256(&trace);
        eprintln!(
            "replay: {} requests of {} clients, seed {}, trace sha256 {sha256}",
            trace.len(),
            clients.len(),
            self.seed
        );
        let (ground, _acquirer) = Ground::start(&[("ACQUIRER_LATENCY", "fixed:0ms")]).await?;
        let admin_token = ground.credentials.admin_token.clone();
        let bench = Bench { contract, wire: Wire::default(), admin_token };
        let lanes = Lane::separate(&ground, &bench).await?;
        let begin = Instant::now();
        let differences = self.compare(&bench, &lanes, &clients).await;
        let took = begin.elapsed().as_secs_f64();
        let mut tally = Tally::default();
        clients.iter().for_each(|client| tally.add(&client.lines));
        println!("{tally}");
        println!("{} requests to each service in {took:.0} s: {differences} differences", trace.len());
        let same = ledgers(&lanes).await?;
        let databases: Vec<_> = lanes.iter().map(|lane| (lane.name.clone(), lane.database.clone())).collect();
        let whole = ledger::verify(&databases).await?;
        Ok(leave_logs(&ground.logs, whole && same && differences == 0))
    }

    /// How many pairs of replies differ; the first are printed.
    async fn compare(&self, bench: &Bench, lanes: &[Lane; 2], clients: &[Script]) -> usize {
        let runs = stream::iter(clients).map(|client| pair(bench, lanes, client));
        let mut runs = runs.buffer_unordered(self.jobs.into());
        let (mut differences, mut told, mut done) = (0, Instant::now(), 0);
        while let Some(found) = runs.next().await {
            done += 1;
            if let Some(text) = found {
                differences += 1;
                if differences <= SHOWN {
                    println!("DIFFERENT {text}");
                }
            }
            if told.elapsed() > TOLD_EVERY {
                eprintln!("  {done} of {} clients, {differences} differences", clients.len());
                told = Instant::now();
            }
        }
        differences
    }
}

/// So many that they send so many requests together; the last may be cut.
fn clients(contract: &Contract, seed: u64, requests: u64) -> anyhow::Result<Vec<Script>> {
    let (mut clients, mut left) = (Vec::new(), usize::try_from(requests)?);
    while left > 0 {
        let number = clients.len();
        // A trace's clients share nothing with the neighbouring seed's.
        let drawn = seed.wrapping_mul(1 << 32).wrapping_add(number as u64);
        let mut client =
            script::write(contract, &script::tree(drawn)?.current(), &format!("client {number}"))?;
        client.lines.truncate(left);
        left -= client.lines.len();
        clients.push(client);
    }
    Ok(clients)
}

/// A client's requests as the trace has them.
fn lines(client: &Script) -> Vec<String> {
    let line = |line: &Line| {
        let step = line.call.step(false, true);
        json!({
            "client": client.name, "door": line.place.door.name(), "call": line.call.operation, "path": step.path,
            "params": line.call.params, "body": line.call.body, "key": format!("{:?}", line.call.key), "credential": format!("{:?}", line.call.credential),
        })
        .to_string()
    };
    client.lines.iter().map(line).collect()
}

/// One client's requests to both; the first difference ends it, since the rest would only follow from it.
async fn pair(bench: &Bench, lanes: &[Lane; 2], client: &Script) -> Option<String> {
    let mut values = [lanes[0].values(bench), lanes[1].values(bench)];
    let mut normalisers = [Normaliser::of_times(), Normaliser::of_times()];
    for (index, line) in client.lines.iter().enumerate() {
        let asked =
            tokio::join!(lanes[0].ask(bench, line, &values[0]), lanes[1].ask(bench, line, &values[1]));
        let place = format!("{}, request {}: {}", client.name, index + 1, line.call.line());
        let exchanges = match asked {
            (Ok(one), Ok(other)) => [one, other],
            (Err(error), _) | (_, Err(error)) => return Some(format!("{place}: no reply: {error:#}")),
        };
        let mut views = Vec::new();
        for (side, exchange) in exchanges.iter().enumerate() {
            views.push(normalisers[side].apply(&view(exchange)));
            learn(line, &exchange.reply, &mut values[side]);
        }
        if views[0] != views[1] {
            let [rust, go] = &exchanges;
            let raw = format!(
                "  rust sent {}\n  rust got  {}\n  go   got  {}",
                rust.sent,
                rust.reply.summary(),
                go.reply.summary()
            );
            return Some(format!("{place}\n  rust: {}\n  go:   {}\n{raw}", views[0], views[1]));
        }
    }
    None
}

/// All that both must show alike, and what is wrong with its form.
fn view(exchange: &Exchange) -> String {
    let reply: &Reply = &exchange.reply;
    let headers: Vec<_> =
        COMPARED.iter().filter_map(|name| Some(format!("{name}: {}", reply.header(name)?))).collect();
    let code = reply.code.map(code_name).unwrap_or_default();
    let named = reply.payment_id.as_deref().unwrap_or_default();
    let shape = exchange.shape.join("; ");
    format!("{} {code} {named} [{}] {} {shape}", reply.status, headers.join(", "), reply.text)
}

/// Whether both ledgers are the same; prints their digests, and where they part.
async fn ledgers(lanes: &[Lane; 2]) -> anyhow::Result<bool> {
    let (rust, go) =
        tokio::try_join!(digest::entries(&lanes[0].database), digest::entries(&lanes[1].database))?;
    for (lane, entries) in lanes.iter().zip([&rust, &go]) {
        println!("ledger of {}: {} entries, sha256 {}", lane.name, entries.len(), digest::sha256(entries));
    }
    let none = "nothing".to_owned();
    let length = rust.len().max(go.len());
    let parted = (0..length).find(|place| rust.get(*place) != go.get(*place));
    if let Some(place) = parted {
        println!("DIFFERENT ledgers from entry {} on", place + 1);
        println!("  rust: {}\n  go:   {}", rust.get(place).unwrap_or(&none), go.get(place).unwrap_or(&none));
    }
    Ok(parted.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_has_as_many_requests_as_wanted_and_depends_on_its_seed_alone() {
        let contract = Contract::load().unwrap();
        let trace = |seed| {
            let clients = clients(&contract, seed, 100).unwrap();
            clients.iter().flat_map(lines).collect::<Vec<_>>()
        };
        assert_eq!(trace(1).len(), 100);
        assert_eq!(trace(1), trace(1));
        assert_ne!(trace(1), trace(2));
    }
}
