//! The program itself: exit codes, signals, log lines.

use std::{
    net::SocketAddr,
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::postgres::fresh_database;
use crate::world::{ADMIN, MASTER, PEPPER, Setting, VISA, World, card, card_body, network, payment_body};

fn program(arguments: &[&str], env: &[(&str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payments"));
    command.args(arguments).env_clear().envs(env.iter().map(|(name, value)| (*name, value)));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run(arguments: &[&str], env: &[(&str, String)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = program(arguments, env).output().await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn environment(database_url: String, network: SocketAddr) -> Vec<(&'static str, String)> {
    let any = "127.0.0.1:0".to_owned();
    vec![
        ("TWINPAY_DATABASE_URL", database_url),
        ("TWINPAY_ACQUIRER_URL", format!("http://{network}")),
        ("TWINPAY_HTTP_ADDR", any.clone()),
        ("TWINPAY_GRPC_ADDR", any.clone()),
        ("TWINPAY_ADMIN_ADDR", any),
        ("TWINPAY_ADMIN_TOKEN", ADMIN.into()),
        ("TWINPAY_PEPPER", PEPPER.into()),
        ("TWINPAY_WEBHOOK_MASTER", MASTER.into()),
        ("TWINPAY_HASH_ITERATIONS", "16".into()),
        ("TWINPAY_LOG_LEVEL", "debug".into()),
    ]
}

#[tokio::test]
async fn a_configuration_that_cant_be_used_is_one_line_and_exit_code_2() {
    let (code, _, told) = run(&[], &[("TWINPAY_DATABASE_URL", "mysql://x".into())]).await;
    assert_eq!((code, told.lines().count()), (Some(2), 1), "{told}");
    assert!(told.starts_with("payments: TWINPAY_"), "{told}");
    let (code, _, told) = run(&["migrate"], &[]).await;
    assert_eq!(
        (code, told.as_str()),
        (
            Some(2),
            "payments: TWINPAY_DATABASE_URL isn't set: it must be postgres://user:password@host:port/database\n"
        )
    );
    let (code, table, _) = run(&["config"], &[]).await;
    assert_eq!((code, table.lines().count()), (Some(0), payments::config::VARIABLES.len()));
}

#[tokio::test]
async fn migrate_says_the_version_and_a_missing_schema_is_exit_code_1() {
    // The role exists, as on any server that once had a database of ours.
    crate::world::database().await;
    let owner_url = fresh_database().await;
    let service_url = stack::test_postgres::service_url(&owner_url).unwrap();
    let (code, log, told) = run(&["serve"], &environment(service_url, network(Duration::ZERO).await)).await;
    assert_eq!(code, Some(1), "{log}{told}");
    assert!(told.contains("payments migrate"), "{told}");

    let password = stack::test_postgres::service_password(&owner_url).unwrap();
    let owner = [("TWINPAY_DATABASE_URL", owner_url), ("TWINPAY_SERVICE_PASSWORD", password)];
    let (code, told, error) = run(&["migrate"], &owner).await;
    let wanted = format!("schema at version {}\n", payments::store::db::SCHEMA_VERSION);
    assert_eq!((code, told), (Some(0), wanted), "{error}");
}

/// The program beside a service in this process, over one database; the latter's hands send the requests.
pub struct Beside {
    pub world: World,
    pub child: Child,
    pub log: Lines<BufReader<ChildStdout>>,
}

pub async fn beside(latency: Duration) -> Beside {
    beside_with(latency, &[]).await
}

/// With an environment that comes last.
pub async fn beside_with(latency: Duration, env: &[(&'static str, String)]) -> Beside {
    let mut world = World::with(Setting { latency, ..Setting::default() }).await;
    let service_url = stack::test_postgres::service_url(&world.owner_url).unwrap();
    let env = [&environment(service_url, network(latency).await), env].concat();
    let mut child = program(&[], &env).spawn().unwrap();
    let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line: Value = serde_json::from_str(&log.next_line().await.unwrap().unwrap()).unwrap();
        if line["message"] == "listening" {
            world.at.http = line["http_addr"].as_str().unwrap().parse().unwrap();
            world.at.grpc = line["grpc_addr"].as_str().unwrap().parse().unwrap();
            world.at.admin = line["admin_addr"].as_str().unwrap().parse().unwrap();
        }
        if line["message"] == "ready" {
            return Beside { world, child, log };
        }
    }
}

pub fn signal(child: &Child) {
    let pid = child.id().unwrap().to_string();
    let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn log_lines_are_json_with_the_trace_and_no_card_number_or_secret_and_a_drain_is_exit_code_0() {
    let Beside { world, mut child, mut log } = beside(Duration::ZERO).await;
    let secret = world.merchant(json!({})).await;
    let number = card("3063");
    let token = world.token(&secret, &number).await;
    let traceparent = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
    let unknown =
        world.pay_with(&secret, "k", &traceparent, &payment_body(&token, 5, "automatic", "k")).await;
    assert_eq!(unknown.status, 504);
    world.post("/v1/payment_tokens", "wrong", &[], &card_body(VISA)).await;

    signal(&child);
    let mut lines = Vec::new();
    while let Some(line) = log.next_line().await.unwrap() {
        lines.push(line);
    }
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    let parsed: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed = parsed.iter().find(|line| line["level"] == "error").unwrap();
    assert_eq!(failed["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((&failed["reason"], &failed["status"]), (&json!("OUTCOME_UNKNOWN"), &json!(504)));
    assert!(failed["error"].is_string() && failed["span_id"].is_string());
    for request in parsed.iter().filter(|line| line["message"] == "request") {
        let id = request["trace_id"].as_str().unwrap();
        assert!(id.len() == 32 && id.bytes().any(|b| b != b'0'), "{request}");
    }
    let requests = parsed.iter().filter(|line| line["message"] == "request").count();
    assert!(requests >= 5, "{requests} of at least 5 requests: {lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with(r#"{"timestamp":"2"#)));
    for hidden in [number.as_str(), VISA, secret.rsplit('_').next().unwrap(), ADMIN, PEPPER, MASTER] {
        assert!(!lines.iter().any(|line| line.contains(hidden)), "{hidden}");
    }
}

#[tokio::test]
async fn what_was_left_pending_is_settled_and_folded_by_the_program_itself() {
    let Beside { world, child, mut log } = beside(Duration::ZERO).await;
    // A pipe that nobody reads would stop it.
    tokio::spawn(async move { while log.next_line().await.unwrap().is_some() {} });
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, &card("3063")).await;
    let mut answer = world.pay(&secret, &token, "automatic", "k").await;
    assert_eq!((answer.status, answer.text("reason").as_str()), (504, "OUTCOME_UNKNOWN"));
    let settled = async {
        while answer.status != 201 {
            answer = world.pay(&secret, &token, "automatic", "k").await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("it is settled");
    assert!(answer.replayed());
    assert_eq!(world.count("select lease_token from operations").await, 1);
    let folded = async {
        while world.count("select count(*) from balances").await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), folded).await.expect("its journal is folded");
    drop(child);
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let Beside { world, mut child, mut log } = beside(Duration::from_secs(8)).await;
    let secret = world.merchant(json!({})).await;
    let (body, authorization) = (card_body(VISA).to_string(), format!("Bearer {secret}"));
    let headers = [("authorization", authorization.as_str()), ("idempotency-key", "t")];
    let cut = world.send(world.at.http, http::Method::POST, "/v1/payment_tokens", &headers, Some(&body));
    let signals = async {
        while world.count("select count(*) from pg_stat_activity where datname = current_database() and query like '-- find_replay%'").await == 0 {
            tokio::task::yield_now().await;
        }
        signal(&child);
        while !log.next_line().await.unwrap().unwrap().contains("draining") {}
        signal(&child);
        let began = std::time::Instant::now();
        let code = child.wait().await.unwrap().code();
        (code, began.elapsed())
    };
    let (answer, ended) = tokio::join!(cut, signals);
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(ended.0, Some(1));
    assert!(ended.1 < Duration::from_secs(2), "{ended:?}");
}
