//! Requests made here rather than read from a case: for races and kills, where many run at once and their effects are
//! counted in the database.

use anyhow::Context;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row};

use super::case::{Many, Step, Values};
use super::contract::Contract;
use super::reply::Reply;
use super::route::{Site, Target};
use super::session::Bench;
use super::wire::Wire;
use super::world::Ground;

/// A merchant and the means to ask for it.
pub struct Crowd {
    /// Contract and clients.
    pub bench: Bench,
    /// `merchant`, `merchant_key`, and whatever is added.
    pub values: Values,
}

impl Crowd {
    /// Makes a merchant of its own through `target`.
    pub async fn new(ground: &Ground, target: &Target) -> anyhow::Result<Self> {
        let admin_token = ground.credentials.admin_token.clone();
        let bench = Bench { contract: Contract::load()?, wire: Wire::default(), admin_token };
        let (id, secret) = bench.merchant(target, &serde_json::Map::new()).await?;
        let mut values = Values::new();
        values.insert("merchant".into(), id.into());
        values.insert("merchant_key".into(), secret.into());
        Ok(Self { bench, values })
    }

    /// Sends one request.
    pub async fn ask(&self, site: &Site, step: &Step) -> anyhow::Result<Reply> {
        self.bench.send(site, &self.bench.prepare(step, site, &self.values)?).await
    }

    /// Sends one request that must succeed: the id of what it made.
    pub async fn make(&self, site: &Site, step: &Step) -> anyhow::Result<String> {
        self.bench.make(site, step, &self.values).await
    }
}

/// Tokenises a card.
pub fn tokenise(key: &str, number: &str) -> Step {
    let body = json!({"card": {"number": number, "exp_month": 12, "exp_year": 2099, "cvc": "123"}});
    call("CreatePaymentToken", key, body)
}

/// Makes a payment.
pub fn pay(key: &str, token: &str, capture: &str, reference: &str, amount: u64) -> Step {
    let body = json!({"amount": amount, "currency": "USD", "payment_token": token, "capture": capture, "merchant_reference": reference});
    call("CreatePayment", key, body)
}

/// Captures a part.
pub fn capture(key: &str, payment: &str, amount: u64) -> Step {
    of("CapturePayment", key, payment, json!({"amount": amount}))
}

/// Releases what isn't captured.
pub fn void(key: &str, payment: &str) -> Step {
    of("VoidPayment", key, payment, json!({}))
}

/// Gives back a part.
pub fn refund(key: &str, payment: &str, amount: u64) -> Step {
    of("CreateRefund", key, payment, json!({"amount": amount}))
}

/// Reads a payment.
pub fn get(payment: &str) -> Step {
    let path = [("id".into(), payment.into())].into();
    Step { call: Some("GetPayment".into()), path, ..Step::default() }
}

fn of(name: &str, key: &str, payment: &str, body: Value) -> Step {
    let mut step = call(name, key, body);
    step.path.insert("id".into(), payment.into());
    step
}

fn call(name: &str, key: &str, body: Value) -> Step {
    Step { call: Some(name.into()), key: Some(Many::One(key.into())), body: Some(body), ..Step::default() }
}

/// How many rows each table has that an effect leaves something in.
pub const EFFECTS: [&str; 7] = [
    "payment_tokens",
    "payments",
    "operations",
    "idempotency_keys",
    "idempotency_replies",
    "events",
    "ledger_entries",
];

/// Counts all of them in one snapshot.
pub async fn count(url: &str) -> anyhow::Result<[i64; EFFECTS.len()]> {
    let mut connection = PgConnection::connect(url).await.context("connecting as the owner")?;
    let query = sqlx::query(
        "select (select count(*) from payment_tokens), (select count(*) from payments), (select count(*) from operations),
           (select count(*) from idempotency_keys), (select count(*) from idempotency_replies),
           (select count(*) from outbox) + (select count(*) from events), (select count(*) from ledger_entries)",
    );
    let row = query.fetch_one(&mut connection).await.context("counting rows")?;
    connection.close().await.ok();
    let mut counts = [0; EFFECTS.len()];
    for (index, count) in counts.iter_mut().enumerate() {
        *count = row.try_get(index)?;
    }
    Ok(counts)
}
