//! The program and its log: killed in the middle of load, with a torn line, with a broken one.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use payments_proto::acquirer::v1::acquirer_service_client::AcquirerServiceClient;
use payments_proto::acquirer::v1::{GetOperationRequest, Outcome, SaleRequest};
use tonic::Code;
use tonic::transport::Channel;

const TOKEN: &str = "ntk_4242_0123456789abcdef0123456789abcdef";
const DECLINED: &str = "ntk_0002_0123456789abcdef0123456789abcdef";

type Client = AcquirerServiceClient<Channel>;

fn command(log: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acquirer"));
    command.env("ACQUIRER_ADDR", "127.0.0.1:0").env("ACQUIRER_LATENCY", "fixed:0ms").env("ACQUIRER_LOG", log);
    command
}

/// Killed with -9 when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("runs");
    }
}

async fn start(log: &Path) -> (Program, Client) {
    let mut child = command(log).stdout(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("reads");
    let program = Program(child);
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let addr = line["grpc_addr"].as_str().expect("an address");
    (program, Client::connect(format!("http://{addr}")).await.expect("connects"))
}

/// What a start says that is to fail.
fn refused(log: &Path) -> String {
    let child = command(log).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut program = Program(child);
    let (mut line, mut said) = (String::new(), String::new());
    BufReader::new(program.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("reads");
    assert!(line.contains("\"failed\""), "{line}");
    program.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("reads");
    assert_eq!(program.0.wait().expect("ends").code(), Some(1));
    said
}

fn sale(id: &str, amount: i64) -> SaleRequest {
    let network_token = if amount % 2 == 0 { TOKEN } else { DECLINED };
    SaleRequest {
        operation_id: id.into(),
        network_token: network_token.into(),
        amount,
        currency: "USD".into(),
    }
}

/// Every id that the log holds, in order.
fn logged(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).expect("reads");
    text.lines().map(|line| line.split(' ').next().expect("an id").into()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_load_loses_no_answered_operation_and_none_is_done_twice() {
    const WORKERS: usize = 16;
    let folder = tempfile::tempdir().expect("folder");
    let log = folder.path().join("operations.log");
    let answered = Arc::new(Mutex::new(HashMap::new()));
    let mut last_asked = Vec::new();
    for round in 0..4 {
        let (program, client) = start(&log).await;
        let enough = Arc::new(AtomicUsize::new(300));
        let workers = (0..WORKERS).map(|worker| {
            let (mut client, answered, enough) = (client.clone(), answered.clone(), enough.clone());
            tokio::spawn(async move {
                for count in 0.. {
                    let (id, amount) = (format!("{round}-{worker}-{count}"), count + 1);
                    let Ok(reply) = client.sale(sale(&id, amount)).await else { return (id, amount) };
                    answered.lock().expect("free").insert(id, (amount, reply.into_inner().result));
                    enough.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).ok();
                }
                unreachable!("the load ends with the network")
            })
        });
        let workers: Vec<_> = workers.collect();
        while enough.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        drop(program);
        for worker in workers {
            last_asked.push(worker.await.expect("no panic"));
        }
    }

    let (_program, mut client) = start(&log).await;
    let answered = answered.lock().expect("free").clone();
    assert!(answered.len() >= 4 * 300);
    for (id, (amount, result)) in &answered {
        let found = client.get_operation(GetOperationRequest { operation_id: id.clone() }).await.expect(id);
        assert_eq!((found.get_ref().amount, found.get_ref().result), (*amount, *result), "{id}");
        assert_eq!(client.sale(sale(id, *amount)).await.expect(id).into_inner().result, *result);
        let other = client.sale(sale(id, amount + 2)).await.expect_err(id);
        assert_eq!(other.code(), Code::AlreadyExists, "{id}");
    }
    for (id, amount) in last_asked {
        client.sale(sale(&id, amount)).await.expect("asked again");
    }
    let mut ids = logged(&log);
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an operation was done twice");
    assert_eq!(all, answered.len() + 4 * WORKERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_last_line_is_an_operation_that_was_never_done() {
    let folder = tempfile::tempdir().expect("folder");
    let log = folder.path().join("operations.log");
    let (program, mut client) = start(&log).await;
    for id in ["whole", "torn"] {
        client.sale(sale(id, 2)).await.expect("answers");
    }
    drop(program);
    let text = fs::read(&log).expect("reads");
    fs::write(&log, &text[..text.len() - 5]).expect("written");
    for _ in 0..2 {
        let (_program, mut client) = start(&log).await;
        let found = client.get_operation(GetOperationRequest { operation_id: "whole".into() }).await;
        assert_eq!(found.expect("found").get_ref().result.expect("set").outcome, Outcome::Approved as i32);
        client
            .sale(sale("torn", 4))
            .await
            .expect("its id is free, and taken again the same after the restart");
    }
    assert_eq!(logged(&log), ["whole", "torn"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_log_is_named_with_its_line_and_a_log_in_use_with_its_user() {
    let folder = tempfile::tempdir().expect("folder");
    let log = folder.path().join("operations.log");
    let (program, mut client) = start(&log).await;
    for id in ["one", "two", "three"] {
        client.sale(sale(id, 2)).await.expect("answers");
    }
    let said = refused(&log);
    assert_eq!(said, format!("ACQUIRER_LOG is {}: another card network has it open\n", log.display()));
    drop(program);

    let broken = fs::read_to_string(&log).expect("reads").replacen("two", "too", 1);
    fs::File::create(&log).and_then(|mut file| file.write_all(broken.as_bytes())).expect("written");
    let said = refused(&log);
    let expected = "line 2 isn't a record: remove the file, or name another\n";
    assert_eq!(said, format!("ACQUIRER_LOG is {}: {expected}", log.display()));
    assert_eq!(fs::read_to_string(&log).expect("reads"), broken, "it is left as it is");
}
