//! Authorisations lapse once.

use serde_json::json;

use crate::world::{VISA, World};

/// A day over the seven that an authorisation lasts.
const EIGHT_DAYS_MS: i64 = 8 * 86_400_000;

#[tokio::test]
async fn what_has_lapsed_expires_and_what_was_captured_stays() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let untouched = world.pay(&secret, &token, "manual", "a").await.text("id");
    let part = world.pay(&secret, &token, "manual", "b").await.text("id");
    assert_eq!(world.capture(&secret, &part, "c", json!({"amount": 400})).await.status, 200);
    world.pay(&secret, &token, "automatic", "d").await;
    assert_eq!(world.workers.expiry.step().await.unwrap(), 0, "nothing has lapsed yet");

    world.pass(EIGHT_DAYS_MS);
    assert_eq!(world.workers.expiry.step().await.unwrap(), 2);
    assert_eq!(world.workers.expiry.step().await.unwrap(), 0, "once");
    let expired = "select count(*) from payments where expires_at is null and (state, captured) in (('expired', 0), ('captured', 400))";
    assert_eq!(world.count(expired).await, 2);
    let told = "select count(*) from outbox where type = 'payment.expired' and operation_id is null and data::jsonb ->> 'state' in ('expired', 'captured') and not data::jsonb ? 'expires_at'";
    assert_eq!(world.count(told).await, 2);
    let late = world.capture(&secret, &untouched, "e", json!({})).await;
    assert_eq!((late.status, late.text("current_state").as_str()), (409, "expired"));
    world.check_invariants().await;
}

#[tokio::test]
async fn a_payment_with_a_pending_operation_expires_later() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    world.pay(&secret, &token, "manual", "a").await;
    sqlx::raw_sql("update payments set pending_operation_id = id")
        .execute(&mut world.sql().await)
        .await
        .unwrap();
    world.pass(EIGHT_DAYS_MS);
    assert_eq!(world.workers.expiry.step().await.unwrap(), 0, "it is busy");
    sqlx::raw_sql("update payments set pending_operation_id = null")
        .execute(&mut world.sql().await)
        .await
        .unwrap();
    assert_eq!(world.workers.expiry.step().await.unwrap(), 1);
}
