//! A plan turned into requests, with what each must be answered.

use anyhow::Context;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};

use super::asking::tokenise;
use super::call::{Call, Credential, Key, Wanted, object};
use super::drawing;
use super::machine::Machine;
use super::plan::{Ask, Card, KeyPlan, Place, Plan, Planned};
use crate::conformance::contract::{Contract, Key as KeyNeed};

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
    let tree = drawing::plan().boxed().new_tree(&mut runner);
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
        let (params, credential, secret) = (Map::new(), Credential::Right, "secret0".into());
        let call = Call { operation, path, params, body, key, credential, secret };
        script.add(contract, plan.place, call)?;
    }
    for planned in &plan.steps {
        script.step(contract, planned)?;
    }
    Ok(script)
}

impl Script {
    /// A step: what it needs, what it asks for, and the pages after that.
    fn step(&mut self, contract: &Contract, planned: &Planned) -> anyhow::Result<()> {
        if let Some(need) = self.need(&planned.ask) {
            let (credential, key) = (Credential::Right, KeyPlan::Fresh);
            self.step(contract, &Planned { ask: need, credential, key, ..planned.clone() })?;
        }
        let mut call = self.call(&planned.ask);
        if !matches!(planned.ask, Ask::Again(_)) {
            call.credential = planned.credential;
            call.key = match planned.key {
                _ if contract.operation(call.operation)?.key == KeyNeed::None => Key::None,
                KeyPlan::Fresh => Key::Text(format!("own-{}", self.lines.len())),
                KeyPlan::Shared(n) => Key::Text(format!("shared-{n}")),
                KeyPlan::Missing => Key::None,
                KeyPlan::Invalid => Key::Invalid,
            };
        }
        self.add(contract, planned.place, call.clone())?;
        let pages = if let Ask::List(listing) = &planned.ask { listing.pages } else { 1 };
        for page in 1..pages {
            let Some(cursor) = self.lines.last().and_then(|line| line.wanted.members.get("next_cursor"))
            else {
                break;
            };
            call.params.insert("cursor".into(), cursor.clone());
            let twin = planned.place.twin + page;
            self.add(contract, Place { twin, ..planned.place }, call.clone())?;
        }
        Ok(())
    }

    fn add(&mut self, contract: &Contract, place: Place, call: Call) -> anyhow::Result<()> {
        let wanted = self.machine.answer(contract.operation(call.operation)?, &call);
        self.lines.push(Line { place, call, wanted });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tally::Tally;
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
            "AMOUNT_EXCEEDS_REFUNDABLE",
            "CARD_DECLINED",
            "CARD_INVALID",
            "CURRENCY_UNSUPPORTED",
            "CURSOR_INVALID",
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
    fn each_operation_succeeds_in_a_third_of_its_tries() {
        let mut tally = Tally::default();
        scripts(0..1000).for_each(|script| tally.add(&script.lines));
        let contract = Contract::load().unwrap();
        // When an event is published is the relay's matter.
        let elsewhere = ["WatchEvents", "ListEvents"];
        let missing = |name: &&str| !elsewhere.contains(name) && tally.of(name).is_none();
        let names = contract.operations.iter().map(|operation| operation.name());
        assert_eq!(names.filter(missing).collect::<Vec<_>>(), [""; 0], "never asked for");
        for (name, count) in tally.all() {
            assert!(count.accepted * 3 >= count.requests, "{name}: {count:?}");
        }
    }

    #[test]
    fn a_thousand_sequences_meet_refunds_that_fail_and_pages_that_are_not_the_first() {
        let refused = scripts(0..1000).filter(|script| script.machine.events.contains_key("refund.failed"));
        assert!(refused.count() >= 10);
        let later = |line: &Line| {
            let wanted = &line.wanted;
            line.call.params.contains_key("cursor")
                && wanted.reason.is_none()
                && wanted.members["data"] != json!([])
        };
        let pages = scripts(0..1000).flat_map(|script| script.lines).filter(later);
        let pages = pages.count();
        assert!(pages >= 200, "{pages}");
    }

    #[test]
    fn whatever_is_asked_the_journals_sum_to_zero_and_totals_are_in_order() {
        for machine in scripts(0..1000).map(|script| script.machine) {
            let mut sums = std::collections::BTreeMap::<String, i64>::new();
            for ((currency, _), amount) in machine.balances() {
                *sums.entry(currency).or_default() += amount;
            }
            assert!(sums.values().all(|sum| *sum == 0), "{sums:?}");
            let ordered = |p: &super::super::money::Payment| {
                0 <= p.refunded && p.refunded <= p.captured && p.captured <= p.authorized
            };
            assert!(machine.payments.iter().all(ordered), "{:?}", machine.payments);
        }
    }
}
