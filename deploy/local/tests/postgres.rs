//! A real server, made and ended.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use stack::postgres::{Durability, Options, Postgres};
use stack::{folders, test_postgres};

async fn ask(url: &str, query: &'static str) -> String {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    let answer = sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("answers");
    connection.close().await.expect("closes");
    answer
}

fn owner_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("runs");
    let line = status.lines().find(|line| line.starts_with("Uid:")).expect("a uid");
    line.split_whitespace().nth(1).expect("a uid").parse().expect("a number")
}

/// A kept server in a folder that this test removes.
fn kept(name: &str) -> Options {
    let folder =
        folders::shared_folder().expect("folder").join(format!("test-{name}-{}", std::process::id()));
    Options { folder, temporary: false, ..Options::temporary(Durability::None).expect("options") }
}

struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[tokio::test]
async fn a_server_runs_as_somebody_else_than_root_and_leaves_nothing() {
    let options = Options::temporary(Durability::None).expect("options");
    let folder = options.folder.clone();
    let server = Postgres::start(options).await.expect("starts");
    let (pid, identity) = (server.pid(), server.identity());
    assert_ne!(owner_of(pid), 0);
    assert_eq!(ask(&server.url("postgres"), "show fsync").await, "off");
    assert_eq!(ask(&server.url("postgres"), "select current_user::text").await, "twinpay");
    server.stop().await.expect("stops");
    assert!(!identity.alive());
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let server =
        Postgres::start(Options::temporary(Durability::None).expect("options")).await.expect("starts");
    let url = stack::urls::with_user(&server.url("postgres"), "twinpay", "guess").expect("a URL");
    assert!(PgConnection::connect(&url).await.is_err());
    server.stop().await.expect("stops");
}

#[tokio::test]
async fn a_killed_server_starts_again_on_its_folder_and_still_has_the_data() {
    let options = Options { durability: Durability::Safe, ..kept("killed") };
    let _remove = Remove(options.folder.clone());
    let server = Postgres::start(options.clone()).await.expect("starts");
    assert!(server.create_database("kept").await.expect("made"));
    assert!(!server.create_database("kept").await.expect("no error"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(server.pid()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    assert!(server.identity().ends_within(Duration::from_secs(10)).await);
    drop(server);
    assert!(
        options
            .folder
            .read_dir()
            .expect("folder")
            .flatten()
            .any(|entry| entry.path().join("postmaster.pid").exists())
    );

    let again = Postgres::start(options).await.expect("starts on what the kill left");
    assert_eq!(ask(&again.url("kept"), "select current_database()::text").await, "kept");
    again.stop().await.expect("stops");
}

#[tokio::test]
async fn a_server_that_an_earlier_run_left_running_is_replaced() {
    let options = kept("left");
    let _remove = Remove(options.folder.clone());
    let left = Postgres::start(options.clone()).await.expect("starts");
    let first = left.identity();
    left.release();
    let again = Postgres::start(options).await.expect("starts");
    assert!(!first.alive());
    again.stop().await.expect("stops");
}

#[tokio::test]
async fn a_folder_gets_the_password_that_it_is_started_with() {
    let options = kept("password");
    let _remove = Remove(options.folder.clone());
    Postgres::start(options.clone()).await.expect("starts").stop().await.expect("stops");
    let other = Postgres::start(Options { password: "another".into(), ..options }).await.expect("starts");
    assert_eq!(ask(&other.url("postgres"), "select 'in'").await, "in");
    other.stop().await.expect("stops");
}

#[tokio::test]
async fn a_taken_port_is_an_error_with_the_servers_own_words() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let options = Options { port: Some(port), ..Options::temporary(Durability::None).expect("options") };
    let folder = options.folder.clone();
    let error = Postgres::start(options).await.expect_err("taken").to_string();
    assert!(error.contains("Address already in use"), "{error}");
    assert!(!folder.exists(), "a failed start leaves nothing");
}

#[tokio::test]
async fn every_test_gets_an_empty_database_of_its_own() {
    let (one, two) = (test_postgres::fresh_database(), test_postgres::fresh_database());
    let (one, two) = (one.await.expect("made"), two.await.expect("made"));
    assert_ne!(one, two);
    for url in [one, two] {
        let tables = "select count(*)::text from information_schema.tables where table_schema = 'public'";
        assert_eq!(ask(&url, tables).await, "0");
    }
}
