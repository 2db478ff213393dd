//! The road of a payment, and what a key means on it.

use std::collections::HashSet;

use futures::future::join_all;
use serde_json::json;

use crate::world::{VISA, World, card, payment_body, unique};

#[tokio::test]
async fn a_sale_is_captured_journalled_told_and_replayed() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let first = world.pay(&secret, &token, "automatic", "k").await;
    assert_eq!((first.status, first.text("state").as_str()), (201, "captured"), "{first:?}");
    let again = world.pay(&secret, &token, "automatic", "k").await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert!(again.replayed() && !first.replayed());

    assert_eq!(world.count("select count(*) from ledger_entries").await, 3);
    let told = "select count(*) from outbox where type in ('payment.created', 'payment.authorized', 'payment.captured')";
    assert_eq!(world.count(told).await, 3);
    let kept = world.count("select count(*) from outbox where type = 'payment.captured' and data = (select body from idempotency_replies r join operations o on o.id = r.operation_id)").await;
    assert_eq!(kept, 1, "the event shows the payment as the reply does");
    world.check_invariants().await;
}

#[tokio::test]
async fn a_manual_payment_is_captured_in_parts() {
    let world = World::new().await;
    let secret = world.merchant(json!({"fee_bps": 0, "fee_fixed": 0})).await;
    let token = world.token(&secret, VISA).await;
    let payment = world.pay(&secret, &token, "manual", "k").await;
    assert_eq!(
        (payment.text("state").as_str(), payment.json()["expires_at"].is_string()),
        ("authorized", true)
    );
    let id = payment.text("id");

    let part = world.capture(&secret, &id, "c1", json!({"amount": 400})).await;
    assert_eq!((part.status, part.text("state").as_str()), (200, "partially_captured"));
    let much = world.capture(&secret, &id, "c2", json!({"amount": 601})).await;
    assert_eq!((much.status, much.text("reason").as_str()), (409, "AMOUNT_EXCEEDS_CAPTURABLE"));
    let stored = world.capture(&secret, &id, "c2", json!({"amount": 601})).await;
    assert_eq!(
        (stored.body == much.body, stored.replayed()),
        (true, true),
        "decided under the claim: stored"
    );
    let rest = world.capture(&secret, &id, "c3", json!({})).await;
    assert_eq!((rest.text("state").as_str(), rest.json()["captured"].as_i64()), ("captured", Some(1000)));
    let done = world.capture(&secret, &id, "c4", json!({})).await;
    assert_eq!((done.status, done.text("current_state").as_str()), (409, "captured"));
    assert!(
        !world.capture(&secret, &id, "c4", json!({})).await.replayed(),
        "refused by the claim: the key stays free"
    );
    assert_eq!(world.count("select count(*) from ledger_entries").await, 4, "no entry for a fee of zero");
    world.check_invariants().await;
}

#[tokio::test]
async fn declines_and_refusals_are_stored_with_the_payment() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    for (ending, reason) in
        [("0002", "do_not_honor"), ("9995", "insufficient_funds"), ("0119", "processing_error")]
    {
        let token = world.token(&secret, &card(ending)).await;
        let declined = world.pay(&secret, &token, "automatic", ending).await;
        assert_eq!((declined.status, declined.text("decline_reason").as_str()), (402, reason));
        assert_eq!(declined.json()["payment"]["state"], "declined");
        assert_eq!(world.pay(&secret, &token, "automatic", ending).await.body, declined.body);
    }
    let token = world.token(&secret, &card("3071")).await;
    let id = world.pay(&secret, &token, "manual", "k").await.text("id");
    let refused = world.capture(&secret, &id, "c", json!({})).await;
    assert_eq!((refused.status, refused.text("reason").as_str()), (402, "OPERATION_REFUSED"));
    assert_eq!(
        (&refused.json()["payment"]["state"], &refused.json()["decline_reason"]),
        (&json!("authorized"), &json!(null))
    );
    assert_eq!(world.count("select count(*) from outbox where type = 'payment.operation_failed'").await, 1);
    world.check_invariants().await;
}

#[tokio::test]
async fn a_refund_is_told_as_itself_and_found_again() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let refund = async |payment: &str, key: &str, body: serde_json::Value| {
        let path = format!("/v1/payments/{payment}/refunds");
        world.post(&path, &secret, &[("idempotency-key", key)], &body).await
    };
    let token = world.token(&secret, VISA).await;
    let payment = world.pay(&secret, &token, "automatic", "k").await.text("id");
    let part = refund(&payment, "r", json!({"amount": 400, "reason": "late"})).await;
    assert_eq!((part.status, part.text("state").as_str()), (201, "succeeded"), "{part:?}");
    assert_eq!(
        world
            .count("select sum(amount)::bigint from ledger_entries where account = 'acquirer_receivable'")
            .await,
        600
    );
    let told = "select count(*) from outbox where type = 'refund.succeeded' and data = (select body from idempotency_replies r join operations o on o.id = r.operation_id where kind = 'refund')";
    assert_eq!(world.count(told).await, 1, "the event shows the refund as the reply does");
    let much = refund(&payment, "m", json!({"amount": 601})).await;
    assert_eq!((much.status, much.text("reason").as_str()), (409, "AMOUNT_EXCEEDS_REFUNDABLE"));

    let token = world.token(&secret, &card("3097")).await;
    let payment = world.pay(&secret, &token, "automatic", "other").await.text("id");
    let refused = refund(&payment, "x", json!({"amount": 5})).await;
    assert_eq!((refused.status, refused.text("reason").as_str()), (402, "OPERATION_REFUSED"));
    assert_eq!(refused.json()["payment"]["refunded"], 0);
    let told = "select count(*) from outbox where type = 'refund.failed' and data::jsonb @> '{\"amount\": 5, \"state\": \"failed\", \"failure_reason\": \"refused\"}'";
    assert_eq!(world.count(told).await, 1, "what wasn't moved is told with its amount");
    world.check_invariants().await;
}

#[tokio::test]
async fn risk_rules_block_by_amount_and_by_velocity_without_asking_the_network() {
    let world = World::new().await;
    let secret = world.merchant(json!({"amount_limit": 500, "velocity_limit": 2})).await;
    // Its first ask would hang: nobody asks.
    let token = world.token(&secret, &card("3055")).await;
    let blocked = world.pay(&secret, &token, "automatic", "k").await;
    assert_eq!((blocked.status, blocked.text("reason").as_str()), (402, "RISK_BLOCKED"));
    assert_eq!(
        (&blocked.json()["payment"]["decline_reason"], &blocked.json()["decline_reason"]),
        (&json!("risk_blocked"), &json!(null))
    );

    let tokens = [world.token(&secret, VISA).await, world.token(&secret, VISA).await];
    let racing = join_all((0..10).map(|n| {
        let (world, secret, token) = (&world, &secret, &tokens[n % 2]);
        async move {
            let key = unique("velocity");
            world.pay_with(secret, &key, &[], &payment_body(token, 100, "automatic", &key)).await.status
        }
    }));
    let mut statuses = racing.await;
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 402, 402, 402, 402, 402, 402, 402, 402], "two of ten with one card");
    world.pass(61_000);
    let later =
        world.pay_with(&secret, "later", &[], &payment_body(&tokens[0], 100, "automatic", "later")).await;
    assert_eq!(later.status, 201);
    world.check_invariants().await;
}

#[tokio::test]
async fn sixty_four_clients_with_one_key_have_one_effect() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    for round in 0..3 {
        let key = format!("race-{round}");
        let answers = join_all((0..64).map(|_| world.pay(&secret, &token, "automatic", &key))).await;
        let good: HashSet<&str> =
            answers.iter().filter(|a| a.status == 201).map(|a| a.body.as_str()).collect();
        assert_eq!(good.len(), 1, "{answers:?}");
        for other in answers.iter().filter(|a| a.status != 201) {
            assert_eq!(other.text("reason"), "IDEMPOTENCY_IN_PROGRESS");
        }
    }
    assert_eq!(world.count("select count(*) from payments").await, 3);
    let answers = join_all((0..64).map(|_| world.pay(&secret, &token, "automatic", "race-0"))).await;
    assert!(answers.iter().all(|a| a.status == 201 && a.replayed()));

    let body = crate::world::card_body(VISA);
    let tokens = join_all(
        (0..64).map(|_| world.post("/v1/payment_tokens", &secret, &[("idempotency-key", "t")], &body)),
    );
    let bodies: HashSet<String> = tokens.await.into_iter().map(|a| a.body).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    world.check_invariants().await;
}

#[tokio::test]
async fn captures_of_one_payment_at_once_succeed_once() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let id = world.pay(&secret, &token, "manual", "k").await.text("id");
    let racing = join_all((0..32).map(|n| {
        let (world, secret, id) = (&world, &secret, &id);
        async move { world.capture(secret, id, &format!("c{n}"), json!({})).await }
    }));
    let answers = racing.await;
    assert_eq!(answers.iter().filter(|a| a.status == 200).count(), 1, "{answers:?}");
    for other in answers.iter().filter(|a| a.status != 200) {
        assert!(
            ["PAYMENT_BUSY", "PAYMENT_STATE_INVALID"].contains(&other.text("reason").as_str()),
            "{other:?}"
        );
    }
    world.check_invariants().await;
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_merchant() {
    let world = World::new().await;
    let (one, two) = (world.merchant(json!({})).await, world.merchant(json!({})).await);
    let (t1, t2) = (world.token(&one, VISA).await, world.token(&two, VISA).await);
    let payment = world.pay(&one, &t1, "manual", "k").await;
    assert_eq!(world.pay(&one, &t1, "automatic", "k").await.text("reason"), "IDEMPOTENCY_KEY_REUSED");
    let stolen = world.pay_with(&two, "x", &[], &payment_body(&t1, 1, "automatic", "x")).await;
    assert_eq!((stolen.status, stolen.text("reason").as_str()), (404, "RESOURCE_NOT_FOUND"));
    assert_eq!(world.pay(&two, &t2, "manual", "k").await.status, 201);
    let id = payment.text("id");
    assert_eq!(world.capture(&two, &id, "c", json!({})).await.status, 404);
    let twice = world.pay_with(&one, "other", &[], &payment_body(&t1, 1000, "manual", "k")).await;
    assert_eq!((twice.status, twice.text("reason").as_str()), (409, "DUPLICATE_REFERENCE"));
    let free = world.pay_with(&one, "other", &[], &payment_body(&t1, 1000, "manual", "another")).await;
    assert_eq!(free.status, 201, "a refused reference leaves the key free");

    let merchant = json!({"name": "keyed"});
    let key = [("idempotency-key", "m")];
    let first = world.post("/v1/merchants", crate::world::ADMIN, &key, &merchant).await;
    let second = world.post("/v1/merchants", crate::world::ADMIN, &key, &merchant).await;
    assert_eq!((first.status, &first.body, second.replayed()), (201, &second.body, true));
}
