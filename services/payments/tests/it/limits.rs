//! Deadlines, the hash pool, and the wait for the database.

use futures::future::join_all;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::world::{ADMIN, Setting, VISA, World, card_body, database, payment_body, unique};

#[tokio::test]
async fn a_deadline_that_is_over_writes_nothing() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let body = payment_body(&token, 1000, "automatic", "k");
    let over = world.pay_with(&secret, "k", &[("request-timeout-ms", "0")], &body).await;
    assert_eq!((over.status, over.text("reason").as_str()), (504, "DEADLINE_EXCEEDED"));
    let odd = world.pay_with(&secret, "k", &[("request-timeout-ms", "soon")], &body).await;
    assert_eq!(odd.json()["violations"][0]["field"], "Request-Timeout-Ms");
    let nobody = world.pay_with("nobody", "k", &[("request-timeout-ms", "0")], &body).await;
    assert_eq!(nobody.status, 401, "the credential comes first");
    assert_eq!(world.count("select count(*) from idempotency_keys where key = 'k'").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashes_beyond_permits_and_queue_are_shed_at_once_and_the_rest_are_served() {
    let env = vec![
        ("HASH_PERMITS", "1".to_owned()),
        ("HASH_QUEUE", "1".to_owned()),
        ("HASH_WAIT_MS", "10".to_owned()),
        ("HASH_ITERATIONS", "200000".to_owned()),
    ];
    let world = World::with(Setting { env, ..Setting::default() }).await;
    let secret = world.merchant(json!({})).await;
    let (body, keys) = (card_body(VISA), (0..16).map(|_| unique("t")).collect::<Vec<_>>());
    let send = |key| {
        let (world, secret, body) = (&world, &secret, &body);
        async move { world.post("/v1/payment_tokens", secret, &[("idempotency-key", key)], body).await }
    };
    let answers = join_all(keys.iter().map(|key| send(key))).await;
    let shed = answers.iter().filter(|a| a.status == 503).collect::<Vec<_>>();
    assert!(!shed.is_empty() && shed.len() < answers.len(), "{answers:?}");
    for answer in shed {
        assert_eq!(
            (answer.text("reason").as_str(), &answer.headers["retry-after"]),
            ("OVERLOADED", &"1".parse().unwrap())
        );
    }
    assert_eq!(send("afterwards").await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_a_connection_no_longer_than_it_may_and_a_stuck_one_is_replaced() {
    let env = vec![("DATABASE_CONNECTIONS", "1".to_owned()), ("DATABASE_WAIT_MS", "50".to_owned())];
    let world = World::with(Setting { env, ..Setting::default() }).await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let mut owner = world.sql().await;
    let mut lock = owner.begin().await.unwrap();
    sqlx::query("lock table payments in access exclusive mode").execute(&mut *lock).await.unwrap();

    let body = payment_body(&token, 1000, "automatic", "stuck");
    let stuck = world.pay_with(&secret, "stuck", &[("request-timeout-ms", "600")], &body);
    let second = async {
        let waiting = "select count(*) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())";
        while world.count(waiting).await == 0 {
            tokio::task::yield_now().await;
        }
        world.pay(&secret, &token, "automatic", "second").await
    };
    let (stuck, second) = tokio::join!(stuck, second);
    assert_eq!((second.status, second.text("reason").as_str()), (503, "OVERLOADED"));
    assert_eq!(
        (stuck.status, stuck.text("reason").as_str()),
        (504, "OUTCOME_UNKNOWN"),
        "a claim was under way"
    );
    lock.rollback().await.unwrap();

    // Connecting counts as waiting, and a slow connect goes on for the next request: one of a few gets it.
    let mut fine = world.pay(&secret, &token, "automatic", "fine").await;
    for _ in 0..10 {
        if fine.status == 503 {
            fine = world.pay(&secret, &token, "automatic", "fine").await;
        }
    }
    assert_eq!(fine.status, 201, "the connection that was stuck is gone, the pool isn't: {fine:?}");
    world.check_invariants().await;
}

#[tokio::test]
async fn a_database_that_accepts_and_says_nothing_sheds_requests_long_before_their_deadlines() {
    let owner_url = database().await;
    let mut silent = url::Url::parse(&stack::test_postgres::service_url(&owner_url).unwrap()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    silent.set_host(Some("127.0.0.1")).unwrap();
    silent.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let env = vec![("DATABASE_WAIT_MS", "50".to_owned())];
    let world = World::over(owner_url, silent.as_str(), &Setting { env, ..Setting::default() }).await;
    let soon = [("request-timeout-ms", "1500")];
    let shed = world.post("/v1/merchants", ADMIN, &soon, &json!({"name": "x"})).await;
    assert_eq!((shed.status, shed.text("reason").as_str()), (503, "OVERLOADED"));
    let told = world.send(world.at.admin, http::Method::GET, "/metrics", &[], None).await.unwrap().body;
    assert!(told.contains(r#"twinpay_admission_rejected_total{reason="database_wait"} 1"#), "{told}");
}

#[tokio::test]
async fn killed_connections_are_replaced() {
    let world =
        World::with(Setting { env: vec![("DATABASE_CONNECTIONS", "2".into())], ..Setting::default() }).await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and usename = 'twinpay_service'";
    for _ in 0..3 {
        sqlx::raw_sql(AssertSqlSafe(kill)).execute(&mut world.sql().await).await.unwrap();
        let mut definite = 0;
        for _ in 0..4 {
            let answer = world.pay(&secret, &token, "automatic", &unique("kill")).await;
            assert!([201, 503, 504].contains(&answer.status), "{answer:?}");
            definite += u32::from(answer.status == 201);
        }
        assert!(definite >= 1, "the pool never came back");
    }
    world.check_invariants().await;
}

/// Each refusal would cost a client its connection, the most where it costs the most: under load.
#[tokio::test]
async fn a_refused_request_keeps_its_connection_unless_its_body_is_withheld() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::new().await;
    let refused = "POST /v1/payments HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n";
    for (body, then) in [("{\"a\":1}", "HTTP/1.1 200 OK"), ("{", "connection: close")] {
        let mut stream = tokio::net::TcpStream::connect(world.at.http).await.unwrap();
        stream.write_all(refused.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        while !answer.contains("UNAUTHENTICATED") {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await.unwrap();
            answer.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
        }
        if body.len() == 7 {
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        }
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains(then), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_refused_and_its_connection_closed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let env = vec![("BODY_TIMEOUT_MS", "50".to_owned())];
    let world = World::with(Setting { env, ..Setting::default() }).await;
    let head = format!(
        "POST /v1/merchants HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer {ADMIN}\r\n"
    );
    for rest in [
        "content-length: 12\r\n\r\n",
        "content-length: 12\r\n\r\n{\"name\"",
        "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(world.at.http).await.unwrap();
        stream.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the connection ends in order");
        assert!(answer.starts_with("HTTP/1.1 408"), "{rest}: {answer}");
        assert!(
            answer.contains("REQUEST_TIMEOUT") && answer.contains("connection: close"),
            "{rest}: {answer}"
        );
    }
}
