//! The workers beside the road: balances are folded, old keys are forgotten.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use serde_json::json;
use sqlx::PgConnection;

use crate::world::{Setting, VISA, World, card};

/// Balances and what isn't folded yet against the entries, as every reader sees them.
async fn differences(connection: &mut PgConnection) -> i64 {
    let query = "with shown as (select account, sum(amount) as amount from (select account, amount from balances union all \
        select e.account, e.amount from ledger_tail t join ledger_entries e using (merchant_id, operation_id)) as parts \
        group by account), folded as (select account, sum(amount) as amount from ledger_entries group by account) \
        select count(*) from shown s full join folded f using (account) where s.amount is distinct from f.amount";
    sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balances_are_the_fold_of_the_entries_for_every_reader_while_both_grow() {
    const SELLERS: i64 = 3;
    const SALES: i64 = 12;
    let world = World::with(Setting::default()).await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let (world, secret, token) = (&world, &secret, &token);
    let sold = AtomicBool::new(false);
    let is_sold = || sold.load(Ordering::SeqCst);
    let sales = async {
        let sellers = (0..SELLERS).map(|seller| async move {
            for n in 0..SALES {
                let sale = world.pay(secret, token, "automatic", &format!("{seller}-{n}")).await;
                assert_eq!(sale.status, 201, "{sale:?}");
            }
        });
        join_all(sellers).await;
        sold.store(true, Ordering::SeqCst);
    };
    let rolls = join_all((0..2).map(|_| async {
        let mut folded = 0;
        loop {
            let last = is_sold();
            let did = world.workers.roll_up.step().await.unwrap();
            folded += did;
            if last && did == 0 {
                break folded;
            }
        }
    }));
    let reads = async {
        let (mut reader, mut read) = (world.sql().await, 0);
        while !is_sold() {
            assert_eq!(differences(&mut reader).await, 0);
            read += 1;
        }
        read
    };
    let ((), folded, read) = tokio::join!(sales, rolls, reads);
    assert_eq!(folded.iter().sum::<i64>(), SELLERS * SALES, "each journal once");
    assert!(read > 1, "nothing was read meanwhile");
    assert_eq!(world.count("select count(*) from ledger_tail").await, 0);
    let balance = "select sum(amount)::bigint from balances where account = 'acquirer_receivable'";
    assert_eq!(world.count(balance).await, SELLERS * SALES * 1000);
    world.check_invariants().await;
}

#[tokio::test]
async fn a_key_is_forgotten_after_its_time_unless_its_operation_is_pending() {
    let env = vec![("KEY_HOURS", "2".to_owned())];
    let world = World::with(Setting { env, ..Setting::default() }).await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, &card("3063")).await;
    let unknown = world.pay(&secret, &token, "automatic", "pending").await;
    assert_eq!(unknown.text("reason"), "OUTCOME_UNKNOWN");
    let token = world.token(&secret, VISA).await;
    assert_eq!(world.pay(&secret, &token, "automatic", "done").await.status, 201);

    world.pass(2 * 3_600_000 - 60_000);
    assert_eq!(world.workers.sweep.step().await.unwrap(), 0, "a minute early");
    assert!(world.pay(&secret, &token, "automatic", "done").await.replayed());
    world.pass(60_000);
    assert_eq!(world.workers.sweep.step().await.unwrap(), 3, "two tokens and a payment");
    assert_eq!(world.workers.sweep.step().await.unwrap(), 0);
    let left = "select count(*) from idempotency_keys where key = 'pending'";
    assert_eq!((world.count(left).await, world.count("select count(*) from idempotency_keys").await), (1, 1));
    assert_eq!(world.count("select count(*) from idempotency_replies").await, 0);
    let again = world.pay(&secret, &token, "automatic", "done").await;
    assert_eq!(again.text("reason"), "DUPLICATE_REFERENCE", "the key is free, the payment is there");

    world.workers.recovery.step().await.unwrap();
    assert_eq!(world.workers.sweep.step().await.unwrap(), 1, "settled, and old");
    world.check_invariants().await;
}
