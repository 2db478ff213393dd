//! Plays a script on one lane: on one twin, or on both of one database, where each step says which.

use anyhow::Context;
use futures::future::try_join_all;
use serde_json::{Map, Value, json};
use stack::instance::{Instance, Twin};
use stack::test_postgres;

use super::call::object;
use super::machine::is_admin;
use super::script::{Line, Script};
use super::unify::unify;
use crate::conformance::case::{Door, Step, Values, Violation};
use crate::conformance::contract::Contract;
use crate::conformance::crowd::{pay, refund, tokenise};
use crate::conformance::node::Node;
use crate::conformance::reply::{NAMES_PAYMENT, Reply};
use crate::conformance::route::{Site, Target};
use crate::conformance::session::Bench;
use crate::conformance::world::{Ground, target};

/// As little as may be: sequences are about money, the conformance cases are about hashes. Nobody listens where webhooks go. A request waits
/// until its deadline for what a busy machine is slow to give, and isn't shed.
const SETTINGS: [(&str, &str); 6] = [
    ("TWINPAY_HASH_ITERATIONS", "1"),
    ("TWINPAY_LOG_LEVEL", "info"),
    ("TWINPAY_WEBHOOK_RETRY_MS", "3600000"),
    ("TWINPAY_DATABASE_CONNECTIONS", "16"),
    ("TWINPAY_DATABASE_WAIT_MS", "30000"),
    ("TWINPAY_HASH_WAIT_MS", "30000"),
];
/// As many as a service has.
const CONNECTIONS: usize = 16;

/// A twin, or two of one database.
pub struct Lane {
    /// `rust`, `go`, `shared`.
    pub name: String,
    /// Where steps go.
    pub targets: Vec<Target>,
    /// The owner's URL of the database.
    pub database: String,
    /// Another merchant's objects.
    pub strangers: Values,
    /// Ended with it.
    _instances: Vec<(Twin, Instance)>,
}

/// A request and its reply.
#[derive(Debug)]
pub struct Exchange {
    /// For people.
    pub sent: String,
    /// What came back.
    pub reply: Reply,
    /// What is wrong with its form.
    pub shape: Vec<String>,
    /// The status of success.
    pub success: u16,
}

/// What is wrong with a sequence.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The lane.
    pub lane: String,
    /// From 0; none: with what it left behind.
    pub step: Option<usize>,
    /// Each in a line.
    pub faults: Vec<String>,
    /// The last request and its reply.
    pub exchange: Option<(String, String)>,
}

impl Failure {
    /// Of what a whole sequence left behind.
    pub fn at_the_end(lane: &str, faults: Vec<String>) -> Self {
        Self { lane: lane.into(), step: None, faults, exchange: None }
    }
}

impl Lane {
    /// Starts both twins, each on a database of its own.
    pub async fn separate(ground: &Ground, bench: &Bench) -> anyhow::Result<[Self; 2]> {
        let start = async |twin: Twin| {
            let database = test_postgres::migrated_database().await?;
            let instance = ground.twin(twin, &database, &format!("{}.log", twin.name()), &SETTINGS).await?;
            Self::new(bench, twin.name(), vec![(twin, instance)], database.owner_url).await
        };
        Ok([start(Twin::Rust).await?, start(Twin::Go).await?])
    }

    /// Starts both twins on one database.
    pub async fn shared(ground: &Ground, bench: &Bench) -> anyhow::Result<Self> {
        let database = test_postgres::migrated_database().await?;
        let mut instances = Vec::new();
        for twin in Twin::ALL {
            let log = format!("{}-shared.log", twin.name());
            instances.push((twin, ground.twin(twin, &database, &log, &SETTINGS).await?));
        }
        Self::new(bench, "shared", instances, database.owner_url).await
    }

    async fn new(
        bench: &Bench,
        name: &str,
        instances: Vec<(Twin, Instance)>,
        database: String,
    ) -> anyhow::Result<Self> {
        let targets: Vec<_> = instances.iter().map(|(twin, instance)| target(*twin, instance)).collect();
        for target in &targets {
            warm(bench, target).await?;
        }
        let site = Site { target: targets[0].clone(), door: Door::Http };
        let strangers = strangers(bench, &site).await.context("another merchant's objects")?;
        Ok(Self { name: name.into(), targets, database, strangers, _instances: instances })
    }

    /// Names of what is known before the first request.
    pub fn values(&self, bench: &Bench) -> Values {
        let mut values = self.strangers.clone();
        values.insert("admin_token".into(), bench.admin_token.clone().into());
        values
    }

    /// Sends one request after the other; the first that is answered otherwise ends it.
    pub async fn play(&self, bench: &Bench, script: &Script) -> Option<Failure> {
        let mut values = self.values(bench);
        for (index, line) in script.lines.iter().enumerate() {
            let failed =
                |faults, exchange| Failure { lane: self.name.clone(), step: Some(index), faults, exchange };
            let exchange = match self.ask(bench, line, &values).await {
                Ok(exchange) => exchange,
                Err(error) => return Some(failed(vec![format!("no reply: {error:#}")], None)),
            };
            let mut faults = judge(&bench.contract, exchange.success, line, &exchange.reply, &mut values);
            faults.extend(exchange.shape);
            if !faults.is_empty() {
                return Some(failed(faults, Some((exchange.sent, exchange.reply.summary()))));
            }
        }
        None
    }

    /// Sends one request.
    pub async fn ask(&self, bench: &Bench, line: &Line, values: &Values) -> anyhow::Result<Exchange> {
        let operation = bench.contract.operation(line.call.operation)?;
        let target = self.targets[line.place.twin % self.targets.len()].clone();
        let site = Site { target, door: line.place.door };
        let step = line.call.step(is_admin(operation), operation.method == "POST");
        let prepared = bench.prepare(&step, &site, values)?;
        let reply = bench.send(&site, &prepared).await?;
        let sent = format!("{} {} {}", site.target.name, site.door.name(), prepared.describe());
        let shape = bench.shape(&prepared, &reply);
        Ok(Exchange { sent, reply, shape, success: operation.status })
    }
}

/// A merchant's objects, each by its name in scripts.
async fn strangers(bench: &Bench, site: &Site) -> anyhow::Result<Values> {
    let mut values = Values::new();
    let (_, secret) = bench.merchant(&site.target, &Map::new()).await?;
    values.insert("merchant_key".into(), secret.into());
    let token = bench.make(site, &tokenise("k", "4242424242424242"), &values).await?;
    let payment = bench.make(site, &pay("l", &token, "manual", "r", 1000), &values).await?;
    let sale = bench.make(site, &pay("m", &token, "automatic", "s", 1000), &values).await?;
    let refund = bench.make(site, &refund("n", &sale, 1), &values).await?;
    let url = Some(json!({"url": "https://127.0.0.1:1"}));
    let endpoint = Step { call: Some("CreateWebhookEndpoint".into()), body: url, ..Step::default() };
    let endpoint = bench.make(site, &endpoint, &values).await?;
    let params = object(json!({"limit": 1}));
    let page = Step { call: Some("ListPayments".into()), params, ..Step::default() };
    let page = bench.send(site, &bench.prepare(&page, site, &values)?).await?;
    let cursor = page.body.as_ref().and_then(|body| body.get("next_cursor")?.text());
    let cursor = cursor.with_context(|| format!("no next_cursor in {}", page.summary()))?;
    let ids = [("token", token), ("payment", payment), ("refund", refund), ("endpoint", endpoint)];
    let ids = ids.into_iter().chain([("cursor", cursor.to_owned())]);
    values.extend(ids.map(|(kind, id)| (format!("stranger_{kind}"), id.into())));
    Ok(values)
}

/// Has the service connect to its database, once more with each turn: so many at once would take longer than a service waits for a new
/// connection, where the machine is busy.
async fn warm(bench: &Bench, target: &Target) -> anyhow::Result<()> {
    let name = Map::new();
    for at_once in 1..=CONNECTIONS {
        let merchants = (0..at_once).map(|_| bench.merchant(target, &name));
        try_join_all(merchants).await.context("warming up")?;
    }
    Ok(())
}

/// Learns what the reply's names mean, whatever else it says.
pub fn learn(line: &Line, reply: &Reply, values: &mut Values) {
    let mut ignored = Vec::new();
    let found = reply.body.as_ref().map_or(Value::Null, Node::value);
    unify(&Value::Object(line.wanted.members.clone()), &found, values, "", &mut ignored);
    if let (Some(name), Some(id)) = (&line.wanted.payment, &reply.payment_id) {
        unify(&name.clone().into(), &id.clone().into(), values, "", &mut ignored);
    }
}

fn judge(contract: &Contract, success: u16, line: &Line, reply: &Reply, values: &mut Values) -> Vec<String> {
    let mut faults = Vec::new();
    let wanted = &line.wanted;
    let row = wanted.reason.and_then(|reason| contract.errors.row(reason));
    let status = row.map_or(success, |row| row.status);
    if (wanted.reason, status) != (reply.reason(), reply.status) {
        let name = |reason: Option<&str>| reason.unwrap_or("success").to_owned();
        let (reason, found) = (name(wanted.reason), name(reply.reason()));
        return vec![format!("expected {reason} ({status}), got {found} ({})", reply.status)];
    }
    if wanted.replayed != reply.replayed() {
        faults.push(if wanted.replayed { "isn't a replay".into() } else { "is a replay".into() });
    }
    let mut members = wanted.members.clone();
    if let Some(row) = row {
        let kind = contract.errors.type_uri(&row.reason);
        let problem = json!({"type": kind, "title": row.title, "status": row.status, "detail": row.detail, "reason": row.reason});
        members.extend(object(problem));
        if !wanted.violations.is_empty() {
            let all = wanted.violations.iter().map(|violation| violation_object(contract, violation));
            members.insert("violations".into(), all.collect());
        }
        let named = wanted.payment.as_ref().filter(|_| NAMES_PAYMENT.contains(&row.reason.as_str()));
        if let (false, Some(name)) = (reply.door.is_http(), named) {
            members.remove("payment");
            let found = reply.payment_id.clone().map_or(Value::Null, Value::String);
            unify(&name.clone().into(), &found, values, "payment_id", &mut faults);
        }
    }
    // No content has no members.
    let found = reply.body.as_ref().map_or_else(|| json!({}), Node::value);
    unify(&Value::Object(members), &found, values, "body", &mut faults);
    faults
}

fn violation_object(contract: &Contract, violation: &Violation) -> Value {
    let description = contract.errors.description(&violation.reason, violation.min, violation.max);
    json!({"field": violation.field, "reason": violation.reason, "description": description})
}
