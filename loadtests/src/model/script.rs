//! A plan turned into requests, with what each must be answered.

use anyhow::Context;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::call::{Call, Credential, Key, Wanted, object};
use super::machine::Machine;
use super::plan::{
    self, Amount, Ask, Card, KeyPlan, Pay, Place, Plan, Reference, UNKNOWN_PAYMENT, UNKNOWN_TOKEN, Which,
};
use crate::conformance::contract::Contract;

/// One request of a sequence.
#[derive(Debug, Clone)]
pub struct Line {
    /// Where it goes.
    pub place: Place,
    /// What is asked.
    pub call: Call,
    /// What must come back.
    pub wanted: Wanted,
}

/// A whole sequence, and what it leaves behind.
#[derive(Debug, Clone)]
pub struct Script {
    /// Of the merchant.
    pub name: String,
    /// In order.
    pub lines: Vec<Line>,
    /// At the end.
    pub machine: Machine,
}

/// The plans of a seed: the first, and simpler ones on the way to the smallest that fails.
pub fn tree(seed: u64) -> anyhow::Result<Box<dyn ValueTree<Value = Plan>>> {
    let bytes: [u8; 32] = Sha256::digest(format!("twinpay model {seed}")).into();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let tree = plan::plan().boxed().new_tree(&mut runner);
    tree.map_err(|reason| anyhow::anyhow!("{reason}")).context("drawing a sequence")
}

/// Writes a plan's script.
pub fn write(contract: &Contract, plan: &Plan, name: &str) -> anyhow::Result<Script> {
    let mut script = Script { name: name.into(), lines: Vec::new(), machine: Machine::default() };
    let settings = &plan.merchant;
    let mut body = object(json!({"name": name}));
    let members = [
        ("fee_bps", settings.fee_bps),
        ("fee_fixed", settings.fee_fixed),
        ("amount_limit", settings.amount_limit),
        ("velocity_limit", settings.velocity_limit),
    ];
    body.extend(members.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.into()))));
    let card = Card { number: Some(plan.card), month: Some(12), year: Some(2099), cvc: Some("123") };
    for (operation, body) in
        [("CreateMerchant", body), ("CreateApiKey", Map::new()), ("CreatePaymentToken", tokenise(card))]
    {
        let path =
            if operation == "CreateApiKey" { vec![("merchant_id", "${mer}".into())] } else { Vec::new() };
        let key = if operation == "CreatePaymentToken" { Key::Text("first".into()) } else { Key::None };
        let (credential, secret) = (Credential::Right, "secret0".into());
        script.add(contract, plan.place, Call { operation, path, body, key, credential, secret })?;
    }
    for (index, planned) in plan.steps.iter().enumerate() {
        let mut call = script.call(&planned.ask, index);
        if !matches!(planned.ask, Ask::Again(_)) {
            call.credential = planned.credential;
            call.key = match planned.key {
                _ if call.operation.starts_with("Get") || call.operation == "CreateApiKey" => Key::None,
                KeyPlan::Fresh => Key::Text(format!("own-{index}")),
                KeyPlan::Shared(n) => Key::Text(format!("shared-{n}")),
                KeyPlan::Missing => Key::None,
                KeyPlan::Invalid => Key::Invalid,
            };
        }
        script.add(contract, planned.place, call)?;
    }
    Ok(script)
}

impl Script {
    fn add(&mut self, contract: &Contract, place: Place, call: Call) -> anyhow::Result<()> {
        let wanted = self.machine.answer(contract.operation(call.operation)?, &call);
        self.lines.push(Line { place, call, wanted });
        Ok(())
    }

    /// The request that a step asks for; key and credential are still open.
    fn call(&self, ask: &Ask, index: usize) -> Call {
        let id = |which| self.payment(which);
        let (operation, path, body) = match ask {
            // A second merchant would be another sequence's.
            Ask::Again(back) => return self.lines[(self.lines.len() - 1 - back).max(1)].call.clone(),
            Ask::Get(which) => ("GetPayment", vec![("id", id(*which))], Map::new()),
            Ask::Capture(which, amount, last) => {
                let room = |machine: &Machine| {
                    let payment = machine.payments.iter().find(|payment| payment.id == id(*which));
                    payment.map_or(1000, |payment| payment.authorized - payment.captured)
                };
                let mut body = Map::new();
                put(&mut body, "amount", measure(*amount, room(&self.machine)));
                put(&mut body, "final", *last);
                ("CapturePayment", vec![("id", id(*which))], body)
            }
            Ask::Void(which) => ("VoidPayment", vec![("id", id(*which))], Map::new()),
            Ask::Pay(pay) => ("CreatePayment", Vec::new(), self.pay(pay, index)),
            Ask::Tokenise(card) => ("CreatePaymentToken", Vec::new(), tokenise(*card)),
            Ask::ApiKey(known) => {
                let id = if *known { "${mer}" } else { "mer_7zzzzzzzzzzzzzzzzzzzzzzzzz" };
                ("CreateApiKey", vec![("merchant_id", id.into())], Map::new())
            }
        };
        let secret = self.machine.newest_secret();
        Call { operation, path, body, key: Key::None, credential: Credential::Right, secret }
    }

    fn pay(&self, pay: &Pay, index: usize) -> Map<String, Value> {
        let token = match pay.token {
            Which::Newest(back) => {
                newest(&self.machine.tokens, back).map_or(UNKNOWN_TOKEN, |token| token.id.as_str())
            }
            Which::Unknown => UNKNOWN_TOKEN,
            Which::Malformed => "ptk_short",
            Which::Strangers => "${stranger_token}",
        };
        let reference = match &pay.reference {
            Reference::Fresh => Some(format!("order {index}")),
            Reference::Shared(n) => Some(format!("shared {n}")),
            Reference::Text(text) => text.clone(),
        };
        let mut body = object(json!({"payment_token": token}));
        put(&mut body, "amount", measure(pay.amount, self.machine.settings.amount_limit));
        put(&mut body, "currency", pay.currency);
        put(&mut body, "capture", pay.capture);
        put(&mut body, "merchant_reference", reference);
        put(&mut body, "description", pay.description.clone());
        if !pay.metadata.is_empty() {
            let pairs = pay.metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into()));
            body.insert("metadata".into(), Value::Object(pairs.collect()));
        }
        body
    }

    fn payment(&self, which: Which) -> String {
        let id = match which {
            Which::Newest(back) => {
                newest(&self.machine.payments, back).map_or(UNKNOWN_PAYMENT, |payment| payment.id.as_str())
            }
            Which::Unknown => UNKNOWN_PAYMENT,
            Which::Malformed => "pay_short",
            Which::Strangers => "${stranger_payment}",
        };
        id.to_owned()
    }
}

fn tokenise(card: Card) -> Map<String, Value> {
    let mut members = Map::new();
    put(&mut members, "number", card.number);
    put(&mut members, "exp_month", card.month);
    put(&mut members, "exp_year", card.year);
    put(&mut members, "cvc", card.cvc);
    object(json!({"card": members}))
}

fn put(body: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(name.into(), value.into());
    }
}

fn newest<T>(made: &[T], back: usize) -> Option<&T> {
    made.get(made.len().checked_sub(1)?.saturating_sub(back))
}

fn measure(amount: Amount, whole: i64) -> Option<i64> {
    match amount {
        Amount::Absent => None,
        Amount::Exactly(amount) => Some(amount),
        Amount::Part(hundredths) => Some((whole / 100 * hundredths).max(1)),
        Amount::Over(more) => Some(whole + more),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn scripts(seeds: std::ops::Range<u64>) -> impl Iterator<Item = Script> {
        let contract = Contract::load().unwrap();
        seeds.map(move |seed| write(&contract, &tree(seed).unwrap().current(), "a").unwrap())
    }

    #[test]
    fn a_seed_is_one_sequence_and_another_seed_another() {
        let text = |seed| format!("{:?}", scripts(seed..seed + 1).next().unwrap().lines);
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn a_thousand_sequences_meet_every_error_a_replay_and_success() {
        let lines = scripts(0..1000).flat_map(|script| script.lines);
        let seen: BTreeSet<_> = lines
            .map(|line| line.wanted.reason.unwrap_or(if line.wanted.replayed { "replay" } else { "success" }))
            .collect();
        let wanted = [
            "AMOUNT_EXCEEDS_CAPTURABLE",
            "CARD_DECLINED",
            "CARD_INVALID",
            "CURRENCY_UNSUPPORTED",
            "DUPLICATE_REFERENCE",
            "IDEMPOTENCY_KEY_INVALID",
            "IDEMPOTENCY_KEY_MISSING",
            "IDEMPOTENCY_KEY_REUSED",
            "OPERATION_REFUSED",
            "PAYMENT_STATE_INVALID",
            "PERMISSION_DENIED",
            "RESOURCE_NOT_FOUND",
            "RISK_BLOCKED",
            "UNAUTHENTICATED",
            "VALIDATION_FAILED",
            "replay",
            "success",
        ];
        assert_eq!(seen, wanted.into());
    }

    #[test]
    fn whatever_is_asked_the_journals_sum_to_zero_and_totals_are_in_order() {
        for machine in scripts(0..1000).map(|script| script.machine) {
            let mut sums = std::collections::BTreeMap::<&str, i64>::new();
            for ((currency, _), amount) in &machine.balances {
                *sums.entry(currency).or_default() += amount;
            }
            assert!(sums.values().all(|sum| *sum == 0), "{:?}", machine.balances);
            let ordered = |p: &super::super::money::Payment| {
                0 <= p.refunded && p.refunded <= p.captured && p.captured <= p.authorized
            };
            assert!(machine.payments.iter().all(ordered), "{:?}", machine.payments);
        }
    }
}
