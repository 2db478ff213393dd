//! Instances, with a stand-in for the services: addresses, environment, cores, and their end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stack::instance::{AcquirerOptions, Credentials, Instance, Twin, TwinOptions};

fn stand_in() -> PathBuf {
    let exe = std::env::current_exe().expect("a path");
    exe.parent().and_then(Path::parent).expect("a folder").join("examples/stand_in")
}

fn twin(folder: &Path) -> TwinOptions {
    let log = folder.join("twin.log");
    let options = TwinOptions::new(Twin::Rust, "postgres://x", "127.0.0.1:1", &Credentials::random(), &log);
    TwinOptions { program: Some(stand_in()), ..options }
}

fn environment(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).expect("runs");
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[tokio::test]
async fn a_twin_on_any_port_says_where_it_listens() {
    let folder = tempfile::tempdir().expect("folder");
    let one = Instance::twin(twin(folder.path())).await.expect("starts");
    let two = Instance::twin(twin(folder.path())).await.expect("a second one, on the same log");
    assert_ne!(one.http(), two.http());
    for instance in [&one, &two] {
        assert!(instance.http().starts_with("http://127.0.0.1:") && !instance.http().ends_with(":0"));
        assert!(instance.admin().starts_with("http://127.0.0.1:") && !instance.grpc().starts_with("http"));
        assert!(instance.ready_after() > Duration::ZERO && instance.alive());
    }
}

#[tokio::test]
async fn a_twin_gets_what_it_needs_and_what_it_is_given_wins() {
    let folder = tempfile::tempdir().expect("folder");
    let given = ("TWINPAY_ACQUIRER_URL".to_string(), "http://elsewhere".to_string());
    let options = TwinOptions { env: vec![given], ..twin(folder.path()) };
    let (pepper, token) = (options.pepper.clone(), options.admin_token.clone());
    let master = options.webhook_master.clone();
    let instance = Instance::twin(options).await.expect("starts");
    let environment = environment(instance.pid());
    for expected in [
        "TWINPAY_DATABASE_URL=postgres://x".to_string(),
        format!("TWINPAY_PEPPER={pepper}"),
        format!("TWINPAY_WEBHOOK_MASTER={master}"),
        format!("TWINPAY_ADMIN_TOKEN={token}"),
        "TWINPAY_ACQUIRER_URL=http://elsewhere".to_string(),
        "TWINPAY_HTTP_ADDR=127.0.0.1:0".to_string(),
    ] {
        assert!(environment.contains(&expected), "{expected}");
    }
    assert!(!environment.iter().any(|word| word.starts_with("TEST_DATABASE_URL")));
}

#[tokio::test]
async fn all_threads_of_a_pinned_instance_are_on_its_core() {
    let folder = tempfile::tempdir().expect("folder");
    let options = AcquirerOptions {
        program: Some(stand_in()),
        cpus: vec![0],
        ..AcquirerOptions::new(&folder.path().join("log"))
    };
    let instance = Instance::acquirer(options).await.expect("starts");
    for task in std::fs::read_dir(format!("/proc/{}/task", instance.pid())).expect("runs").flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).expect("runs");
        let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).expect("a list");
        assert_eq!(line.split_whitespace().nth(1), Some("0"));
    }
}

#[tokio::test]
async fn stopped_killed_and_dropped_instances_are_gone() {
    let folder = tempfile::tempdir().expect("folder");
    let start = || Instance::twin(twin(folder.path()));
    let (stopped, killed, dropped) = (start().await, start().await, start().await);
    let (stopped, killed, dropped) =
        (stopped.expect("starts"), killed.expect("starts"), dropped.expect("starts"));
    let identities = [stopped.identity(), killed.identity(), dropped.identity()];
    assert!(identities.iter().all(|identity| identity.alive()));
    assert!(stopped.stop().await, "without a kill");
    killed.kill();
    drop(dropped);
    assert!(!identities.iter().any(|identity| identity.alive()));
}

#[tokio::test]
async fn an_instance_that_dies_shows_its_own_log_only() {
    let folder = tempfile::tempdir().expect("folder");
    let log = folder.path().join("log");
    std::fs::write(&log, "of an earlier run\n").expect("written");
    // It refuses its address, and says so before it ends.
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = busy.local_addr().expect("bound").port();
    let options = AcquirerOptions { program: Some(stand_in()), port, ..AcquirerOptions::new(&log) };
    let error = Instance::acquirer(options).await.expect_err("ends").to_string();
    assert!(error.contains("acquirer ended before it was ready") && error.contains("AddrInUse"), "{error}");
    assert!(!error.contains("earlier run"), "{error}");
}
