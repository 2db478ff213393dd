//! Two services that loadtest doesn't start: small ones of this test's own, each in a process of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use loadtests::procstat::Process;
use loadtests::report::{Metric, Report};

/// CPU that a service spends on each request, in µs.
const SPIN: &str = "LOADTEST_TEST_SPIN_US";
/// Set where a second process has a service's socket open, too.
const SHARED: &str = "LOADTEST_TEST_SHARED";

/// Set where a service answers nothing but HTTP/2.
const HTTP2: &str = "LOADTEST_TEST_HTTP2";

/// A service in a process of its own, which ends with this value.
struct Service {
    process: Child,
    url: String,
}

impl Service {
    fn start(spin_us: u64) -> Self {
        Self::start_with(spin_us, None)
    }

    fn start_with(spin_us: u64, variable: Option<&str>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--ignored", "--exact", "given::serves_orders", "--nocapture"]);
        command.envs(variable.map(|name| (name, "1")));
        command.env(SPIN, spin_us.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let url = lines.find_map(|line| Some(line.ok()?.split_once("listening: ")?.1.to_owned()));
        Self { process, url: url.expect("it listens") }
    }

    fn runs(&mut self) -> bool {
        self.process.try_wait().expect("a child").is_none()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("it ends");
    }
}

#[test]
#[ignore = "no test: what the tests of this file start as a service"]
fn serves_orders() {
    let Ok(spin) = std::env::var(SPIN) else { return };
    let spin_us = spin.parse().expect("a number");
    // Whoever started it is gone when its standard input ends.
    std::thread::spawn(|| {
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let heir = std::env::var_os(SHARED).map(|_| heir(&listener));
        let mut out = std::io::stdout();
        writeln!(out, "listening: http://{}", listener.local_addr().expect("bound")).expect("said");
        let orders: Rc<RefCell<HashMap<String, u64>>> = Rc::default();
        while let Ok((stream, _)) = listener.accept().await {
            let orders = Rc::clone(&orders);
            let service = service_fn(move |request| answer(request, Rc::clone(&orders), spin_us));
            tokio::task::spawn_local(async move {
                // HTTP/1.1 or HTTP/2, by the first bytes.
                auto::Builder::new(Local).serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
        drop(heir);
    });
}

/// Runs what a connection has to do on the same thread.
#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, work: F) {
        tokio::task::spawn_local(work);
    }
}

/// A process that has the socket as its standard input, and ends with this one.
fn heir(listener: &tokio::net::TcpListener) -> Child {
    let socket = listener.as_fd().try_clone_to_owned().expect("doubled");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "sleep", "600"]).stdin(Stdio::from(socket)).stdout(Stdio::null());
    command.spawn().expect("it starts")
}

async fn answer(
    request: Request<Incoming>,
    orders: Rc<RefCell<HashMap<String, u64>>>,
    spin_us: u64,
) -> hyper::Result<Response<Full<Bytes>>> {
    spin(spin_us);
    let reply = |status: StatusCode, body: String| {
        Ok(Response::builder().status(status).body(Full::from(body)).expect("a reply"))
    };
    if std::env::var_os(HTTP2).is_some() && request.version() != Version::HTTP_2 {
        return reply(StatusCode::HTTP_VERSION_NOT_SUPPORTED, String::new());
    }
    let path = request.uri().path().to_owned();
    if request.method() == Method::POST && path == "/orders" {
        let body = request.into_body().collect().await?.to_bytes();
        let order: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let id = format!("order {}", orders.borrow().len());
        orders.borrow_mut().insert(id.clone(), order["amount"].as_u64().expect("an amount"));
        let made = serde_json::json!({ "id": id, "amount": order["amount"] });
        return reply(StatusCode::CREATED, made.to_string());
    }
    let id = path.strip_prefix("/orders/").unwrap_or_default().replace("%20", " ");
    match orders.borrow().get(&id) {
        Some(amount) => reply(StatusCode::OK, serde_json::json!({ "amount": amount }).to_string()),
        None => reply(StatusCode::NOT_FOUND, String::new()),
    }
}

/// Uses so much of this process's CPU.
fn spin(us: u64) {
    let clock = Process::of(std::process::id()).expect("this process");
    let until = clock.cpu_ns().expect("a clock") + us * 1000;
    while clock.cpu_ns().expect("a clock") < until {}
}

fn compare(services: [&Service; 2], more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["compare", "--smoke", "--scenario", "plain-example", "--rate", "30"]);
    // How fast an unoptimised build is on a busy machine is not the business here.
    command.args(["--allow-void", "skipped,shed,dropped,connections"]);
    command.args(["--a", &services[0].url, "--b", &services[1].url]).args(more);
    command
}

#[test]
fn of_two_services_that_run_the_one_that_spends_less_is_found_to() {
    let (mut quick, mut slow) = (Service::start(100), Service::start(3000));
    let out = tempfile::tempdir().expect("a folder");
    let labels = ["--label-a", "Quick", "--label-b", "Slow", "--pairs", "12", "--slice", "400"];
    let asserts = ["--assert", "cpu_ratio<1", "--assert", "p50_a<100", "--assert", "errors==0"];
    let mut command = compare([&quick, &slow], &[labels.as_slice(), &asserts].concat());
    let output = command.arg("--out").arg(out.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{}{said}", String::from_utf8_lossy(&output.stdout));
    assert!(quick.runs() && slow.runs(), "they aren't loadtest's to stop");
    let verify =
        Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("verify").arg(out.path()).output().expect("it runs");
    assert_eq!(verify.status.code(), Some(0), "{}", String::from_utf8_lossy(&verify.stdout));
    let report = Report::read(&out.path().join("report.json")).expect("a report");
    let scenario = &report.scenarios[0];
    let metric = |name: &str| -> &Metric {
        scenario.metrics.iter().find(|metric| metric.name == name).expect("it is measured")
    };
    for name in ["p50", "cpu"] {
        let ratio = &metric(name).ratio;
        assert!(ratio.differs() && ratio.estimate < Some(1.0), "{name}: {ratio:?}");
    }
    // Each request costs at least what it spins.
    let [a, b] = metric("cpu").values;
    assert!(a >= 100.0 && b >= 3000.0, "{a} and {b} µs");
    let bound = |name: &str| scenario.validity.iter().find(|bound| bound.name == name).expect("a bound");
    for name in ["invariants", "support"] {
        assert!(
            !bound(name).applies && bound(name).measured.starts_with("not applicable: "),
            "{:?}",
            bound(name)
        );
    }
    assert!(
        bound("counts").held && bound("counts").asks.contains("can’t be counted"),
        "{:?}",
        bound("counts")
    );
    assert!(bound("build").measured.contains("of the services it isn’t known"), "{:?}", bound("build"));
    for service in [&quick, &slow] {
        let wanted = format!("{}, process {}, which may use core", service.url, service.process.id());
        let layout = &report.environment.layout;
        assert!(layout.iter().any(|(_, told)| told.starts_with(&wanted)), "{layout:?}");
    }
    let page = fs::read_to_string(out.path().join("report.html")).expect("a page");
    assert!(page.contains("Quick against Slow") && page.contains("not applicable: loadtest doesn’t know"));
}

#[test]
fn a_trace_that_was_written_is_the_one_that_is_played() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, out) = (folder.path().join("trace.jsonl"), folder.path().join("out"));
    let load = ["--pairs", "3", "--slice", "400", "--warm-up", "1", "--seed", "7"];
    let mut write = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    write.args(["trace", "--scenario", "plain-example", "--rate", "30"]).args(load).arg("--out").arg(&file);
    let said = String::from_utf8(write.output().expect("it runs").stdout).expect("text");
    let sha256 = said.trim_end().rsplit_once("sha256 ").expect("a hash").1;
    let (one, other) = (Service::start(0), Service::start(0));
    // Drawn for a trial it would be another one.
    let mut command = compare([&one, &other], &load);
    let output = command.arg("--trace").arg(&file).arg("--out").arg(&out).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report = Report::read(&out.join("report.json")).expect("a report");
    assert_eq!(report.scenarios[0].trace_sha256, sha256);
    let replies: u64 = report.scenarios[0].slices.iter().flatten().map(|slice| slice.replies).sum();
    assert!(replies > 20, "{replies} replies");
    let verify =
        Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("verify").arg(&out).output().expect("it runs");
    let said = String::from_utf8_lossy(&verify.stdout);
    assert!(verify.status.success() && said.contains("0 of 1 traces could be drawn again"), "{said}");
}

#[test]
fn http_2_is_spoken_where_it_is_asked_for() {
    let (one, other) = (Service::start_with(0, Some(HTTP2)), Service::start_with(0, Some(HTTP2)));
    let out = tempfile::tempdir().expect("a folder");
    let mut command = compare([&one, &other], &["--pairs", "2", "--door", "http2"]);
    let output = command.arg("--out").arg(out.path()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report = Report::read(&out.path().join("report.json")).expect("a report");
    let replies: u64 = report.scenarios[0].slices.iter().flatten().map(|slice| slice.replies).sum();
    assert!(replies > 50, "{replies} replies");
}

/// Compares two until the second is killed, at the first line that `is_time` picks with what was said before; the exit
/// code, what was said, and the second's address.
fn killed(out: &Path, is_time: fn(&str, &str) -> bool) -> (Option<i32>, String, String) {
    let (quick, mut slow) = (Service::start(0), Service::start(0));
    let mut command = compare([&quick, &slow], &["--pairs", "100"]);
    let piped = command.arg("--out").arg(out).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = piped.spawn().expect("it runs");
    let mut said = String::new();
    for line in BufReader::new(run.stderr.take().expect("piped")).lines() {
        let line = line.expect("text");
        if is_time(&line, &said) {
            slow.process.kill().expect("it ends");
        }
        said += &(line + "\n");
    }
    (run.wait().expect("it ends").code(), said, slow.url.clone())
}

#[test]
fn a_service_that_ends_in_the_middle_is_named_and_nothing_hangs() {
    let out = tempfile::tempdir().expect("a folder");
    // Whoever is second is warm: the slices begin.
    let (code, said, url) =
        killed(out.path(), |line, said| line.ends_with(" is warm") && said.contains(" is warm"));
    assert_eq!(code, Some(2), "{said}");
    let wanted = format!("loadtest: B ({url}) takes no connection any more: Connection refused");
    assert!(said.lines().last().expect("a line").starts_with(&wanted), "{said}");
}

#[test]
fn one_that_ends_after_some_slices_is_named_on_what_was_measured_before() {
    let out = tempfile::tempdir().expect("a folder");
    let (code, said, url) = killed(out.path(), |line, _| {
        let played =
            line.split_once("plain-example: ").and_then(|(_, rest)| rest.split_once(" of 200 slices"));
        played.is_some_and(|(done, _)| done.parse::<u32>().is_ok_and(|done| done >= 4))
    });
    assert_eq!(code, Some(3), "{said}");
    let report = Report::read(&out.path().join("report.json")).expect("a report");
    let begin = format!("plain-example: B ({url}) takes no connection any more: ");
    let why = &report.void[0];
    assert!(why.starts_with(&begin) && why.ends_with("; what is shown was measured before."), "{why}");
    let pairs = report.scenarios[0].slices[0].len();
    assert!((1..100).contains(&pairs), "{pairs} pairs");
}

#[test]
fn where_a_process_is_not_known_cpu_and_memory_are_left_out_and_that_is_said() {
    let (shared, other) = (Service::start_with(0, Some(SHARED)), Service::start(0));
    let run = |more: &[&str]| {
        let out = tempfile::tempdir().expect("a folder");
        let mut command = compare([&shared, &other], &["--pairs", "2"]);
        let output = command.args(more).arg("--out").arg(out.path()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let report = Report::read(&out.path().join("report.json")).expect("a report");
        let page = fs::read_to_string(out.path().join("report.html")).expect("a page");
        let names: Vec<_> = report.scenarios[0].metrics.iter().map(|metric| metric.name.clone()).collect();
        let of_processes: Vec<_> = ["cpu", "idle_cpu", "rss"]
            .into_iter()
            .filter(|name| names.iter().any(|known| known == name))
            .collect();
        let others =
            report.scenarios[0].validity.iter().find(|bound| bound.name == "others").expect("a bound");
        (of_processes.len(), page.contains("data-plot=\"cpu\""), others.applies, report)
    };
    let (metrics, drawn, others, report) = run(&[]);
    assert_eq!((metrics, drawn, others), (0, false, false));
    let told = &report.environment.layout[0].1;
    assert!(told.contains("its process isn’t known: 2 processes listen on port"), "{told}");
    let pid = shared.process.id().to_string();
    let (metrics, drawn, others, _) = run(&["--pid-a", &pid]);
    assert_eq!((metrics, drawn, others), (3, true, true));
}

#[test]
fn where_no_more_connections_may_be_opened_it_says_so_at_once() {
    let (one, other) = (Service::start(0), Service::start(0));
    let out = tempfile::tempdir().expect("a folder");
    // What a program has open by itself, and fewer than the scenario's 16 to each.
    let mut limited = Command::new("bash");
    limited.args(["-c", "ulimit -n $0; exec \"$@\"", "36"]);
    let mut command = compare([&one, &other], &["--pairs", "2"]);
    command.arg("--out").arg(out.path());
    let output = limited.arg(command.get_program()).args(command.get_args()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let last = said.lines().last().expect("a line");
    assert!(last.contains("of 16 connections to ") && last.contains("Too many open files"), "{last}");
    assert!(last.ends_with("; let it open more files (ulimit -n), or ask for fewer connections"), "{last}");
}

#[test]
fn a_full_disk_leaves_the_old_report_as_it_was() {
    let (one, other) = (Service::start(0), Service::start(0));
    let out = tempfile::tempdir().expect("a folder");
    let run = |limit_kib: u64| {
        // The signal ignored, a file that grows beyond the limit can't be written to, as on a full disk.
        let mut limited = Command::new("bash");
        limited.args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\""]).arg(limit_kib.to_string());
        let mut command = compare([&one, &other], &["--pairs", "2"]);
        command.arg("--out").arg(out.path());
        limited.arg(command.get_program()).args(command.get_args()).output().expect("it runs")
    };
    let files = || -> Vec<(String, Vec<u8>)> {
        let entries =
            fs::read_dir(out.path()).expect("a folder").map(|entry| entry.expect("an entry").path());
        let file = |path: std::path::PathBuf| (path.display().to_string(), fs::read(&path).expect("a file"));
        let mut files: Vec<_> = entries.map(file).collect();
        files.sort();
        files
    };
    let first = run(100_000);
    assert_eq!(first.status.code(), Some(0), "{}", String::from_utf8_lossy(&first.stderr));
    let (old, page) = (files(), out.path().join("report.html"));
    let names: Vec<_> = old.iter().map(|(name, _)| name.rsplit('/').next().expect("a name")).collect();
    assert_eq!(names, ["report.html", "report.json", "summary.md"]);
    // The page is the longest, and written last.
    let second = run(fs::metadata(&page).expect("a page").len() / 1024 - 1);
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{said}");
    let wanted = format!("loadtest: {} can't be written: File too large", page.display());
    assert!(said.lines().last().expect("a line").starts_with(&wanted), "{said}");
    assert!(files() == old, "the old report isn't what it was");
}

#[test]
fn services_and_scenario_have_to_fit() {
    let (one, other) = (Service::start(0), Service::start(0));
    let refusal = |command: &mut Command| {
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        said
    };
    let mut command = compare([&one, &other], &["--scenario", "checkout"]);
    let wanted = "loadtest: checkout: its workload is payments, which only services that loadtest starts can serve: --a and --b need `plain`\n";
    assert_eq!(refusal(&mut command), wanted);
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["compare", "--scenario", "plain-example"]);
    let wanted =
        "loadtest: plain-example: its workload is plain: name two services that run by --a and --b\n";
    assert_eq!(refusal(&mut command), wanted);
    for option in ["--control", "--traced"] {
        let mut command = compare([&one, &other], &[option]);
        assert!(refusal(&mut command).contains("cannot be used with"), "{option}");
    }
    let mut command = compare([&one, &one], &[]);
    assert!(refusal(&mut command).starts_with("loadtest: --a and --b are the same service, at 127.0.0.1:"));
}
