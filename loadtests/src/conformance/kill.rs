//! `loadtest kill`: kill -9 of a twin in the middle of a load, and what must be true after its restart: everything that
//! was pending is settled within seconds, what was acknowledged is there (I5), what was unknown is one definite outcome
//! that agrees with the card network (I7), and the ledger's invariants hold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use futures::stream::{self, StreamExt};
use sqlx::{Connection, PgConnection, Row};
use stack::instance::{Instance, Twin};
use stack::migrate::Database;
use stack::test_postgres;
use tokio::task::JoinSet;

use super::agree;
use super::case::{Door, Step};
use super::check::comparable;
use super::crowd::{Crowd, capture, pay, refund, tokenise, void};
use super::ledger;
use super::reply::Reply;
use super::route::Site;
use super::slowest::Slowest;
use super::vars::unique;
use super::world::{Ground, leave_logs, target};
use crate::draw::Draw;

/// An unknown outcome is definite within this, once the service is ready.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
/// After this nothing more is expected to be settled.
const GIVEN_UP: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The load runs for a time between these before the kill.
const SHORTEST_MS: u64 = 300;
const LONGEST_MS: u64 = 1500;
/// Requests at once while replies are looked for again.
const LOOKING: usize = 16;
/// So often does a client ask that is told to come back, and after so long (the reply's Retry-After).
const ATTEMPTS: u32 = 3;
const COME_BACK: Duration = Duration::from_secs(1);

/// Kill a service (SIGKILL) in the middle of a load and check what is there after its restart
///
/// Starts a Postgres (or uses the one of TEST_DATABASE_URL), a card network, and each service on a database of its own.
/// After each restart everything that was pending must be settled within 5 s of readiness, what was acknowledged must be
/// there, and each outcome must agree with the card network's. At the end the databases' invariants are checked.
///
/// Prints a line a kill, and each fault. Logs are kept where there was one.
///
/// Exit codes: 0 nothing was lost, doubled or late; 1 something was; 2 could not run, or was interrupted (one line says
/// why).
#[derive(Debug, Args)]
pub struct Kill {
    /// Kills, 1 to 100000; the services take turns
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Clients at once, 1 to 512
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u16).range(1..=512))]
    clients: u16,
    /// Seed of the moments of the kills
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A request, and its reply if one came.
struct Sent {
    site: Site,
    step: Step,
    reply: Option<Reply>,
}

/// A twin with its database, alive or not.
struct Patient {
    twin: Twin,
    database: Database,
    instance: Option<Instance>,
    crowd: Arc<Crowd>,
    tokens: Arc<Vec<String>>,
    /// How often it was killed: each life has a log of its own.
    kills: u32,
}

impl Kill {
    /// True where nothing was lost, doubled, or settled late.
    pub async fn run(self) -> anyhow::Result<bool> {
        // Slow enough that a kill finds many operations between claim and record.
        let (ground, acquirer) =
            Ground::start(&[("ACQUIRER_LATENCY", "lognormal:p50=40ms,p99=200ms")]).await?;
        let mut patients = Vec::new();
        for twin in Twin::ALL {
            patients.push(Patient::new(&ground, twin).await?);
        }
        let mut draw = Draw::new(self.seed, "kills");
        eprintln!("kill: {} kills, {} clients, seed {}", self.rounds, self.clients, self.seed);
        let mut faults = Vec::new();
        for round in 0..self.rounds {
            let index = usize::try_from(round).unwrap_or_default() % patients.len();
            let after = Duration::from_millis(SHORTEST_MS + draw.below(LONGEST_MS - SHORTEST_MS));
            let found = patients[index].round(&ground, self.clients, after, &acquirer).await;
            let found = found.with_context(|| format!("kill {}", round + 1))?;
            faults.extend(found.into_iter().map(|fault| format!("kill {}: {fault}", round + 1)));
        }
        let databases = patients
            .iter()
            .map(|p| (p.twin.name().to_owned(), p.database.owner_url.clone()))
            .collect::<Vec<_>>();
        let whole = ledger::verify(&databases).await?;
        for fault in faults.iter().take(40) {
            println!("FAILED {fault}");
        }
        println!("{} kills, {} faults", self.rounds, faults.len());
        Ok(leave_logs(&ground.logs, whole && faults.is_empty()))
    }
}

/// The log's name of a twin's life after so many kills.
fn log(twin: Twin, kills: u32) -> String {
    format!("{}-{kills}.log", twin.name())
}

impl Patient {
    async fn new(ground: &Ground, twin: Twin) -> anyhow::Result<Self> {
        let database = test_postgres::migrated_database().await?;
        let instance = ground.twin(twin, &database, &log(twin, 0), &[]).await?;
        let site = Site { target: target(twin, &instance), door: Door::Http };
        let crowd = Crowd::new(ground, &site.target).await?;
        let mut tokens = Vec::new();
        for number in ["4242424242424242", "5555555555554444", "4000000000009995", "4000000000003071"] {
            tokens.push(crowd.make(&site, &tokenise(&unique(), number)).await?);
        }
        Ok(Self {
            twin,
            database,
            instance: Some(instance),
            crowd: Arc::new(crowd),
            tokens: Arc::new(tokens),
            kills: 0,
        })
    }

    async fn round(
        &mut self,
        ground: &Ground,
        clients: u16,
        after: Duration,
        acquirer: &Instance,
    ) -> anyhow::Result<Vec<String>> {
        let instance = self.instance.take().context("the twin isn't running")?;
        let begin = time::OffsetDateTime::now_utc();
        let mut load = JoinSet::new();
        for client in 0..clients {
            let door = if client % 2 == 0 { Door::Http } else { Door::Grpc };
            let site = Site { target: target(self.twin, &instance), door };
            load.spawn(play(Arc::clone(&self.crowd), Arc::clone(&self.tokens), site, usize::from(client)));
        }
        tokio::time::sleep(after).await;
        instance.kill();
        let sent: Vec<Sent> = load.join_all().await.into_iter().flatten().collect();
        let pending = self.pending().await?;

        self.kills += 1;
        let instance = ground.twin(self.twin, &self.database, &log(self.twin, self.kills), &[]).await?;
        let ready_at = time::OffsetDateTime::now_utc();
        let (ready, settled) = (instance.ready_after(), self.settle().await?);
        let slowest = Slowest::find(&self.database.owner_url, begin, ready_at, instance.log()).await?;
        let site = Site { target: target(self.twin, &instance), door: Door::Http };
        self.instance = Some(instance);

        let mut faults = Vec::new();
        let slowest = slowest.map(|slowest| format!("; {slowest}")).unwrap_or_default();
        match settled {
            Some(took) if took <= SETTLED_WITHIN => {}
            Some(took) => faults.push(format!("settled after {} ms{slowest}", took.as_millis())),
            None => faults.push(format!("not settled after {} s{slowest}", GIVEN_UP.as_secs())),
        }
        let lost = sent.iter().filter(|sent| sent.reply.is_none()).count();
        let found_again = self.look_again(&site, &sent, &mut faults).await;
        let agreed = agree::with_network(
            &self.crowd.bench,
            &self.database.owner_url,
            &acquirer.grpc(),
            begin,
            &mut faults,
        )
        .await?;
        println!(
            "{} killed after {} ms: {} replies, {lost} requests unanswered, {pending} operations pending; ready again after {} ms, \
             all settled {} ms later; {found_again} replies found again, {agreed} operations agree with the network",
            self.twin.name(),
            after.as_millis(),
            sent.len() - lost,
            ready.as_millis(),
            settled.map_or_else(|| "never".into(), |took| took.as_millis().to_string()),
        );
        Ok(faults)
    }

    async fn pending(&self) -> anyhow::Result<i64> {
        let mut connection = PgConnection::connect(&self.database.owner_url).await?;
        let query = sqlx::query("select count(*) from operations where state = 'pending'");
        let pending = query.fetch_one(&mut connection).await?.try_get(0)?;
        connection.close().await.ok();
        Ok(pending)
    }

    /// How long until nothing is pending.
    async fn settle(&self) -> anyhow::Result<Option<Duration>> {
        let begin = Instant::now();
        let mut connection = PgConnection::connect(&self.database.owner_url).await?;
        while begin.elapsed() < GIVEN_UP {
            let query = sqlx::query("select count(*) from operations where state = 'pending'");
            let pending: i64 = query.fetch_one(&mut connection).await?.try_get(0)?;
            if pending == 0 {
                return Ok(Some(begin.elapsed()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(None)
    }

    /// Sends everything once more: what was answered is answered alike, what wasn't has a definite answer now.
    async fn look_again(&self, site: &Site, sent: &[Sent], faults: &mut Vec<String>) -> usize {
        let asked = sent.iter().map(|sent| async move {
            let site = Site { target: site.target.clone(), door: sent.site.door };
            (sent, self.ask_patiently(&site, &sent.step).await)
        });
        let mut answers = stream::iter(asked).buffer_unordered(LOOKING);
        let mut found = 0;
        while let Some((sent, answer)) = answers.next().await {
            let fault = match answer {
                Ok(now) => compare(sent.reply.as_ref(), &now),
                Err(error) => Some(format!("no answer after the restart: {error:#}")),
            };
            found += usize::from(fault.is_none() && sent.reply.is_some());
            faults.extend(fault);
        }
        found
    }

    /// A reply that says to come back says nothing about what was stored.
    async fn ask_patiently(&self, site: &Site, step: &Step) -> anyhow::Result<Reply> {
        let mut reply = self.crowd.ask(site, step).await;
        for _ in 1..ATTEMPTS {
            match &reply {
                Ok(shed) if shed.reason() == Some("OVERLOADED") => {
                    tokio::time::sleep(COME_BACK).await;
                    reply = self.crowd.ask(site, step).await;
                }
                Ok(_) | Err(_) => break,
            }
        }
        reply
    }
}

/// Sales, some given back in two parts, and payments captured in two parts or voided after one, one after the other until
/// the twin is gone.
async fn play(crowd: Arc<Crowd>, tokens: Arc<Vec<String>>, site: Site, client: usize) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut ask = async |step: Step| -> Option<String> {
        let reply = crowd.ask(&site, &step).await.ok();
        let id = reply.as_ref().and_then(|reply| reply.body.as_ref()?.get("id")?.text().map(str::to_owned));
        let gone = reply.is_none();
        sent.push(Sent { site: site.clone(), step, reply });
        if gone { None } else { Some(id.unwrap_or_default()) }
    };
    'turns: for turn in client.. {
        let token = &tokens[turn % tokens.len()];
        let kind = if turn % 2 == 0 { "automatic" } else { "manual" };
        let Some(payment) = ask(pay(&unique(), token, kind, &unique(), 1000)).await else { break };
        if payment.is_empty() {
            continue;
        }
        let then = match turn % 4 {
            0 => vec![refund(&unique(), &payment, 400), refund(&unique(), &payment, 600)],
            1 => vec![capture(&unique(), &payment, 400), capture(&unique(), &payment, 600)],
            2 => Vec::new(),
            _ => vec![capture(&unique(), &payment, 400), void(&unique(), &payment)],
        };
        for step in then {
            if ask(step).await.is_none() {
                break 'turns;
            }
        }
    }
    sent
}

/// Statuses that are stored under the key, and so must come again as they were.
fn is_stored(reply: &Reply) -> bool {
    matches!(reply.status, 200 | 201 | 402)
        || matches!(reply.reason(), Some("AMOUNT_EXCEEDS_CAPTURABLE" | "AMOUNT_EXCEEDS_REFUNDABLE"))
}

fn compare(before: Option<&Reply>, now: &Reply) -> Option<String> {
    let Some(before) = before else {
        let definite = is_stored(now) || now.reason() == Some("PAYMENT_STATE_INVALID");
        return (!definite).then(|| format!("unanswered before, and still not definite: {}", now.summary()));
    };
    if !is_stored(before) {
        // Shed or refused without a trace: nothing to find again.
        return (before.status == 500).then(|| format!("a failure before the kill: {}", before.summary()));
    }
    let same =
        if before.door.is_http() { before.text == now.text } else { comparable(before) == comparable(now) };
    (!same || !now.replayed()).then(|| format!("acknowledged as {}, now {}", before.summary(), now.summary()))
}

#[cfg(test)]
mod tests {
    use super::super::node::Node;
    use super::*;

    fn reply(status: u16, text: &str, replayed: bool) -> Reply {
        let mut headers = http::HeaderMap::new();
        if replayed {
            headers.insert("idempotency-replayed", http::HeaderValue::from_static("true"));
        }
        let body = Node::parse(text.as_bytes()).ok();
        Reply {
            door: Door::Http,
            status,
            code: None,
            headers,
            text: text.into(),
            body,
            payment_id: None,
            faults: Vec::new(),
        }
    }

    #[test]
    fn an_acknowledged_reply_must_come_again_as_a_replay() {
        let before = reply(201, r#"{"id":"a"}"#, false);
        assert_eq!(compare(Some(&before), &reply(201, r#"{"id":"a"}"#, true)), None);
        assert!(
            compare(Some(&before), &reply(201, r#"{"id":"a"}"#, false)).is_some(),
            "it was done a second time"
        );
        assert!(compare(Some(&before), &reply(201, r#"{"id":"b"}"#, true)).is_some());
    }

    #[test]
    fn an_unanswered_request_must_be_definite_now() {
        assert_eq!(compare(None, &reply(402, "{}", true)), None);
        assert!(compare(None, &reply(409, r#"{"reason":"IDEMPOTENCY_IN_PROGRESS"}"#, false)).is_some());
        assert!(compare(None, &reply(504, r#"{"reason":"OUTCOME_UNKNOWN"}"#, false)).is_some());
    }
}
