//! Events are numbered once and in order, whoever leads, and whoever dies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use payments::{store::db::Db, usecase::payments::Clock, workers::relay::Relay};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::world::{VISA, World};

const OUTBOX: &str = "select count(*) from outbox";
const EVENTS: &str = "select count(*) from events";

/// Pairs of one payment's events that are told in another order than they happened in.
const OUT_OF_ORDER: &str = "select count(*) from events a
    join operations oa on oa.merchant_id = a.merchant_id and oa.id = a.operation_id
    join operations ob on ob.merchant_id = oa.merchant_id and ob.payment_id = oa.payment_id
    join events b on b.merchant_id = ob.merchant_id and b.operation_id = ob.id and b.sequence > a.sequence
    where oa.created_at > ob.created_at
      or oa.id = ob.id and array_position(array['payment.created', 'payment.authorized', 'payment.captured'], a.type)
        > array_position(array['payment.created', 'payment.authorized', 'payment.captured'], b.type)";

/// A relay with a connection of its own.
fn relay(world: &World, clock: &Clock) -> Relay {
    let url = stack::test_postgres::service_url(&world.owner_url).unwrap();
    let db = Db::new("relay", &url, 1, Duration::from_secs(5), world.metrics.clone()).unwrap();
    Relay::new(db, clock.clone(), world.metrics.clone())
}

/// At each look a lease is over.
fn hurried() -> Clock {
    let passed = AtomicI64::new(6);
    Clock::new(move || {
        OffsetDateTime::now_utc() + time::Duration::seconds(passed.fetch_add(6, Ordering::SeqCst))
    })
}

/// That many events in the outbox, of one merchant.
async fn happened(world: &World, count: i32) {
    let insert = "insert into outbox (merchant_id, id, type, data, created_at)
        select '018f0000-0000-7000-8000-000000000001', gen_random_uuid(), 'payment.created', n::text, now()
        from generate_series(1, $1) n";
    sqlx::query(insert).bind(count).execute(&mut world.sql().await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_that_take_turns_number_every_event_once_and_in_order() {
    let world = World::new().await;
    let over = Arc::new(AtomicBool::new(false));
    let clock = hurried();
    let relays = [relay(&world, &clock), relay(&world, &clock)].map(|relay| {
        let over = over.clone();
        tokio::spawn(async move {
            let mut published = 0;
            loop {
                let last = over.load(Ordering::SeqCst);
                let step = relay.step().await.unwrap();
                published += step;
                if last && step == 0 {
                    return published;
                }
            }
        })
    });
    for _ in 0..4 {
        let secret = world.merchant(json!({})).await;
        let token = world.token(&secret, VISA).await;
        join_all((0..10).map(|n| {
            let (world, secret, token) = (&world, &secret, &token);
            async move {
                let paid = world.pay(secret, token, "manual", &n.to_string()).await;
                for amount in [300, 200] {
                    let body = json!({"amount": amount, "final": false});
                    let captured =
                        world.capture(secret, &paid.text("id"), &format!("{n}-{amount}"), body).await;
                    assert_eq!(captured.status, 200, "{captured:?}");
                }
                assert_eq!(world.pay(secret, token, "automatic", &format!("sale-{n}")).await.status, 201);
            }
        }))
        .await;
    }
    over.store(true, Ordering::SeqCst);
    let [one, other] = relays;
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    let changes = world.count("select token from leases").await;
    assert!(one > 0 && other > 0 && changes >= 4, "{one} and {other} published, with {changes} changes");
    assert_eq!((one + other, world.count(EVENTS).await), (280, 280));
    assert_eq!((world.count(OUTBOX).await, world.count(OUT_OF_ORDER).await), (0, 0));
    world.check_invariants().await;
}

#[tokio::test]
async fn a_relay_that_is_cut_off_in_the_middle_has_published_nothing() {
    let world = World::new().await;
    let (cut_off, later) = (relay(&world, &Clock::system()), relay(&world, &Clock::system()));
    happened(&world, 1).await;
    assert_eq!(cut_off.step().await.unwrap(), 1);
    happened(&world, 300).await;
    let mut owner = world.sql().await;
    let mut locking = owner.begin().await.unwrap();
    sqlx::query("update event_sequences set last = last").execute(&mut *locking).await.unwrap();
    let cut = async {
        let waits = "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        let mut sql = world.sql().await;
        let pid: i32 = loop {
            match sqlx::query_scalar(waits).fetch_optional(&mut sql).await.unwrap() {
                Some(pid) => break pid,
                None => tokio::task::yield_now().await,
            }
        };
        sqlx::query("select pg_terminate_backend($1)").bind(pid).execute(&mut sql).await.unwrap();
    };
    let (step, ()) = tokio::join!(cut_off.step(), cut);
    step.unwrap_err();
    locking.rollback().await.unwrap();
    assert_eq!((world.count(OUTBOX).await, world.count(EVENTS).await), (300, 1));
    assert_eq!(later.step().await.unwrap(), 0, "the lease isn't over");
    let later = relay(&world, &hurried());
    let mut published = 0;
    while published < 300 {
        published += later.step().await.unwrap();
    }
    assert_eq!((published, world.count(OUTBOX).await, world.count(EVENTS).await), (300, 0, 301));
    world.check_invariants().await;
}

#[tokio::test]
async fn another_leads_when_the_lease_is_over_or_handed_over() {
    let world = World::new().await;
    let (one, other) = (relay(&world, &Clock::system()), relay(&world, &Clock::system()));
    happened(&world, 1).await;
    assert_eq!(one.step().await.unwrap(), 1);
    happened(&world, 1).await;
    assert_eq!(other.step().await.unwrap(), 0);
    let stop = CancellationToken::new();
    stop.cancel();
    one.clone().run(stop.clone()).await;
    happened(&world, 1).await;
    // What was there at the hand-over was published with it.
    assert_eq!((world.count(EVENTS).await, other.step().await.unwrap()), (2, 1));
    other.run(stop).await;
    happened(&world, 1).await;
    assert_eq!(one.step().await.unwrap(), 1, "handed over by an empty outbox");

    let late = relay(&world, &hurried());
    happened(&world, 1).await;
    assert_eq!(late.step().await.unwrap(), 1);
    world.check_invariants().await;
}

#[tokio::test]
async fn a_long_outbox_is_published_in_batches_and_in_its_order() {
    let world = World::new().await;
    happened(&world, 450).await;
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.push(world.workers.relay.step().await.unwrap());
    }
    assert_eq!(steps, [200, 200, 50, 0]);
    assert_eq!(world.count("select count(*) from events where sequence::text = data").await, 450);
    world.check_invariants().await;
}

#[tokio::test]
async fn each_enabled_endpoint_of_the_merchant_gets_a_delivery_of_each_event() {
    let world = World::new().await;
    let endpoints = "insert into webhook_endpoints (merchant_id, id, url, created_at, disabled_at) values
        ('018f0000-0000-7000-8000-000000000001', '018f0000-0000-7000-8000-00000000000a', 'https://a', now(), null),
        ('018f0000-0000-7000-8000-000000000001', '018f0000-0000-7000-8000-00000000000b', 'https://b', now(), null),
        ('018f0000-0000-7000-8000-000000000001', '018f0000-0000-7000-8000-00000000000c', 'https://c', now(), now()),
        ('018f0000-0000-7000-8000-000000000002', '018f0000-0000-7000-8000-00000000000d', 'https://d', now(), null)";
    sqlx::query(endpoints).execute(&mut world.sql().await).await.unwrap();
    happened(&world, 3).await;
    assert_eq!(world.workers.relay.step().await.unwrap(), 3);
    let deliveries: Vec<(String, i64)> = sqlx::query_as(
        "select e.url, d.event_sequence from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id
         where d.state = 'pending' order by 1, 2",
    )
    .fetch_all(&mut PgConnection::connect(&world.owner_url).await.unwrap())
    .await
    .unwrap();
    let due = ["https://a", "https://b"].map(|url| [1, 2, 3].map(|n| (url.to_owned(), n))).concat();
    assert_eq!(deliveries, due);
}
