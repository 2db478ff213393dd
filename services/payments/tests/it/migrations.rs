//! `payments migrate`, run by hand and by many at once.

use futures::future::join_all;
use payments::{migrate::migrate, store::db::SCHEMA_VERSION};
use stack::test_postgres::service_password;

use crate::postgres::fresh_database;

#[tokio::test]
async fn migrating_twice_and_at_once_is_migrating_once() {
    let owner_url = fresh_database().await;
    let password = service_password(&owner_url).unwrap();
    let all = join_all((0..4).map(|_| migrate(&owner_url, Some(&password)))).await;
    for version in all {
        assert_eq!(version.unwrap(), SCHEMA_VERSION);
    }
    assert_eq!(
        migrate(&owner_url, None).await.unwrap(),
        SCHEMA_VERSION,
        "without a password the role keeps its own"
    );
}

#[tokio::test]
async fn databases_of_one_server_migrate_side_by_side() {
    let urls = join_all((0..6).map(|_| fresh_database())).await;
    let password = service_password(&urls[0]).unwrap();
    let all = join_all(urls.iter().map(|url| migrate(url, Some(&password)))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
}
