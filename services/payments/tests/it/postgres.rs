//! The Postgres of these tests: that of `TEST_DATABASE_URL`, else a container, else one of the stack's.

/// A new, empty database: its owner's URL.
pub async fn fresh_database() -> String {
    // Shown as a person reads it, since there is something to set or to start.
    stack::test_postgres::choose(container::start).await.unwrap_or_else(|error| panic!("{error}"));
    stack::test_postgres::fresh_database().await.unwrap()
}
