//! Unknown outcomes become definite, once.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use payments::{
    domain::id::{MerchantId, OperationId, PaymentId},
    workers::recovery::Step,
};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::{
    network::{Ask, held},
    world::{Setting, VISA, World, card, payment_body},
};

#[tokio::test]
async fn an_answer_that_was_lost_is_settled_by_the_recovery() {
    for ending in ["3063", "3055"] {
        let world = World::new().await;
        let secret = world.merchant(json!({})).await;
        let token = world.token(&secret, &card(ending)).await;
        let body = payment_body(&token, 1000, "automatic", "k");
        let unknown = world.pay_with(&secret, "k", &[("request-timeout-ms", "300")], &body).await;
        assert_eq!((unknown.status, unknown.text("reason").as_str()), (504, "OUTCOME_UNKNOWN"), "{ending}");
        let meanwhile = world.pay_with(&secret, "k", &[], &body).await;
        assert_eq!(meanwhile.text("reason"), "IDEMPOTENCY_IN_PROGRESS");
        assert_eq!(
            world.workers.recovery.step().await.unwrap(),
            Step::Idle,
            "not before a second has passed"
        );

        world.pass(5_000);
        assert_eq!(world.workers.recovery.step().await.unwrap(), Step::Did { leased: 1, recorded: 1 });
        assert_eq!(world.workers.recovery.step().await.unwrap(), Step::Idle);
        let settled = world.pay_with(&secret, "k", &[], &body).await;
        assert_eq!((settled.status, settled.text("state").as_str()), (201, "captured"));
        assert!(settled.replayed());
        world.check_invariants().await;
    }
}

#[tokio::test]
async fn a_void_and_a_refund_are_settled_as_they_were_asked_for() {
    let world = World::with(Setting { latency: Duration::from_millis(200), ..Setting::default() }).await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    for (capture, verb, body, want) in [
        ("manual", "void", json!({}), json!({"state": "voided"})),
        (
            "automatic",
            "refunds",
            json!({"amount": 7, "reason": "late"}),
            json!({"state": "succeeded", "amount": 7, "reason": "late"}),
        ),
    ] {
        let payment = world.pay(&secret, &token, capture, verb).await.text("id");
        let path = format!("/v1/payments/{payment}/{verb}");
        let key = format!("{verb}-once");
        let headers = [("idempotency-key", key.as_str()), ("request-timeout-ms", "100")];
        let unknown = world.post(&path, &secret, &headers, &body).await;
        assert_eq!((unknown.status, unknown.text("reason").as_str()), (504, "OUTCOME_UNKNOWN"), "{verb}");
        let released = "select count(*) from operations where state = 'pending' and leased_until < created_at + interval '3 s'";
        while world.count(released).await == 0 {
            tokio::task::yield_now().await;
        }
        world.pass(5_000);
        assert_eq!(
            world.workers.recovery.step().await.unwrap(),
            Step::Did { leased: 1, recorded: 1 },
            "{verb}"
        );
        let settled = world.post(&path, &secret, &headers[..1], &body).await;
        assert!(settled.replayed(), "{settled:?}");
        for (member, want) in want.as_object().unwrap() {
            assert_eq!(&settled.json()[member], want, "{settled:?}");
        }
    }
    world.check_invariants().await;
}

#[tokio::test]
async fn an_operation_of_an_unknown_kind_stays_pending_and_holds_up_no_other() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, &card("3063")).await;
    for key in ["newer", "known"] {
        assert_eq!(world.pay(&secret, &token, "automatic", key).await.status, 504);
    }
    let newer = "alter table operations drop constraint operations_kind_check; update operations set kind = 'teleport' \
         where id = (select operation_id from idempotency_keys where key = 'newer')";
    sqlx::raw_sql(newer).execute(&mut world.sql().await).await.unwrap();
    world.pass(5_000);
    assert_eq!(world.workers.recovery.step().await.unwrap(), Step::Did { leased: 1, recorded: 1 });
    assert_eq!(world.pay(&secret, &token, "automatic", "known").await.status, 201);
    let newer = world.pay(&secret, &token, "automatic", "newer").await;
    assert_eq!(newer.text("reason"), "IDEMPOTENCY_IN_PROGRESS");
}

#[tokio::test]
async fn a_request_that_is_fenced_answers_what_the_recovery_recorded() {
    let world = World::with(Setting { latency: Duration::from_millis(700), ..Setting::default() }).await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let leased = async {
        while world.count("select count(*) from operations where state = 'pending'").await == 0 {
            tokio::task::yield_now().await;
        }
        world.pass(5_000);
        world.workers.recovery.step().await.unwrap()
    };
    let (answer, step) = tokio::join!(world.pay(&secret, &token, "automatic", "k"), leased);
    assert_eq!(step, Step::Did { leased: 1, recorded: 1 });
    assert_eq!((answer.status, answer.text("state").as_str(), answer.replayed()), (201, "captured", false));
    assert_eq!(world.count("select lease_token from operations").await, 1);
    world.check_invariants().await;
}

#[tokio::test]
async fn a_late_writer_changes_nothing() {
    use payments::{
        domain::payment::{Command, Verdict, conclude, decide},
        reply::Reply,
        store::{
            idempotency::{Claim, Ticket},
            operations::{Outcome, claim_operation, record_operation, reject_operation},
        },
        telemetry::Call,
    };

    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let payment = PaymentId::parse(&world.pay(&secret, &token, "manual", "k").await.text("id")).unwrap();
    let merchant: uuid::Uuid = sqlx::query_scalar("select merchant_id from payments")
        .fetch_one(&mut world.sql().await)
        .await
        .unwrap();

    let db = payments::store::db::Db::new(
        "late",
        &stack::test_postgres::service_url(&world.owner_url).unwrap(),
        1,
        Duration::from_secs(5),
        world.metrics.clone(),
    )
    .unwrap();
    let call = Call {
        deadline: tokio::time::Instant::now() + Duration::from_secs(10),
        span: tracing::Span::none(),
        trace: payments::telemetry::spans::nowhere(),
    };
    let now = time::OffsetDateTime::now_utc();
    let ticket = Ticket {
        merchant: MerchantId(merchant),
        key: "late",
        request_hash: [7; 32],
        operation: OperationId::fresh(),
        now,
        leased_until: now + Duration::from_secs(4),
        traceparent: String::new(),
    };
    let command = Command::Capture { amount: None, last: true };
    let Claim::Ours(late) = claim_operation(&db, &call, &ticket, payment, command.clone()).await.unwrap()
    else {
        panic!("not claimed");
    };
    world.pass(5_000);
    assert_eq!(world.workers.recovery.step().await.unwrap(), Step::Did { leased: 1, recorded: 1 });
    let entries = world.count("select count(*) from ledger_entries").await;

    let change = decide(&late.payment, &command, late.fees).unwrap();
    let change = conclude(late.payment.clone(), &command, change, Verdict::Approved, now);
    let reply = Reply::fresh(200, "{}".into());
    let outcome =
        Outcome { succeeded: true, failure_reason: None, change: &change, event_data: "{}", reply: &reply };
    assert!(!record_operation(&db, &call, &late, &outcome).await.unwrap());
    assert!(!reject_operation(&db, &call, &late, &reply).await.unwrap());
    assert_eq!(world.count("select count(*) from ledger_entries").await, entries);
    assert_eq!(world.count("select count(*) from idempotency_replies where body = '{}'").await, 0);
    world.check_invariants().await;
}

#[tokio::test]
async fn without_a_network_a_card_is_refused_and_a_payment_is_unknown_until_it_is_back() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = stack::test_postgres::service_url(&world.owner_url).unwrap();
    let env = vec![("ACQUIRER_URL", format!("http://{closed}"))];
    let lost = World::over(world.owner_url.clone(), &url, &Setting { env, ..Setting::default() }).await;
    let body = crate::world::card_body(VISA);
    let refused = lost.post("/v1/payment_tokens", &secret, &[("idempotency-key", "t")], &body).await;
    assert_eq!((refused.status, refused.text("reason").as_str()), (503, "ACQUIRER_UNAVAILABLE"));
    assert_eq!(refused.headers["retry-after"], "1");
    let unknown = lost.pay(&secret, &token, "automatic", "k").await;
    assert_eq!((unknown.status, unknown.text("reason").as_str()), (504, "OUTCOME_UNKNOWN"));
    lost.pass(5_000);
    assert_eq!(lost.workers.recovery.step().await.unwrap(), Step::Did { leased: 1, recorded: 0 });

    // A second instance, whose network is there.
    world.pass(12_000);
    assert_eq!(world.workers.recovery.step().await.unwrap(), Step::Did { leased: 1, recorded: 1 });
    assert_eq!(lost.pay(&secret, &token, "automatic", "k").await.status, 201);
    world.check_invariants().await;
}

/// The trace of the requests that are left unsettled.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PENDING: &str = "select count(*) from operations where state = 'pending'";

/// Sales whose answer was lost, none of them due. Their references count from 0.
async fn unsettled(count: usize) -> (World, UnboundedReceiver<Ask>) {
    let (network, mut asks) = held().await;
    let env = vec![("ACQUIRER_URL", format!("http://{network}")), ("LEASE_MS", "60000".to_owned())];
    let world = World::with(Setting { env, ..Setting::default() }).await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    // A few at once: a lease that can't be handed back within a second is kept, and this would wait for it in vain.
    let paid = stream::iter(0..count).map(|n| {
        let (world, secret, key) = (&world, &secret, n.to_string());
        let (body, traceparent) = (payment_body(&token, 1000, "automatic", &key), &traceparent);
        async move { world.pay_with(secret, &key, &[("traceparent", traceparent)], &body).await.status }
    });
    let lost = async {
        while let Some(ask) = asks.recv().await {
            drop(ask);
        }
    };
    let statuses: Vec<_> = tokio::select! {
        statuses = paid.buffered(4).collect() => statuses,
        () = lost => panic!("the network is gone"),
    };
    assert_eq!(statuses, vec![504; count]);
    let held = "select count(*) from operations where leased_until > created_at + interval '30 seconds'";
    while world.count(held).await > 0 {
        tokio::task::yield_now().await;
    }
    let update = "update operations set leased_until = now() + interval '1 hour'";
    sqlx::query(update).execute(&mut world.sql().await).await.unwrap();
    (world, asks)
}

/// Makes those due whose reference is like this.
async fn due(world: &World, reference: &str) {
    let update = "update operations set leased_until = now() \
        where payment_id in (select id from payments where merchant_reference like $1)";
    sqlx::query(update).bind(reference).execute(&mut world.sql().await).await.unwrap();
}

#[tokio::test]
async fn an_ask_that_hangs_delays_no_other_operation_and_is_finished_after_the_stop() {
    let (world, mut asks) = unsettled(2).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(world.workers.recovery.clone().run(stop.clone()));
    due(&world, "0").await;
    let hanging = asks.recv().await.unwrap();
    due(&world, "1").await;
    asks.recv().await.unwrap().approve();
    while world.count(PENDING).await == 2 {
        tokio::task::yield_now().await;
    }
    assert!(!hanging.is_over(), "the second had to wait for the first");
    stop.cancel();
    assert_eq!(world.count(PENDING).await, 1);
    assert!(!running.is_finished(), "it left the first behind");
    hanging.approve();
    running.await.unwrap();
    assert_eq!(world.count(PENDING).await, 0);
    world.check_invariants().await;
}

#[tokio::test]
async fn no_more_is_leased_than_there_are_places() {
    let leased = "select count(*) from operations where lease_token > 0";
    let (world, mut asks) = unsettled(52).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(world.workers.recovery.clone().run(stop.clone()));
    due(&world, "%").await;
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(asks.recv().await.unwrap());
    }
    assert_eq!(world.count(leased).await, 50);
    held.pop().unwrap().approve();
    held.push(asks.recv().await.unwrap());
    assert_eq!(world.count(leased).await, 51);
    held.into_iter().for_each(Ask::approve);
    asks.recv().await.unwrap().approve();
    stop.cancel();
    running.await.unwrap();
    assert_eq!(world.count(PENDING).await, 0);
    world.check_invariants().await;
}

#[tokio::test]
async fn the_recovery_asks_under_a_trace_of_its_own() {
    let (world, mut asks) = unsettled(1).await;
    due(&world, "0").await;
    let asked = async {
        let ask = asks.recv().await.unwrap();
        let traceparent = ask.traceparent.clone();
        ask.approve();
        traceparent
    };
    let (step, traceparent) = tokio::join!(world.workers.recovery.step(), asked);
    assert_eq!(step.unwrap(), Step::Did { leased: 1, recorded: 1 });
    let trace = traceparent.split('-').nth(1).unwrap();
    assert!(trace.len() == 32 && trace.bytes().any(|b| b != b'0') && trace != TRACE, "{traceparent}");
}
