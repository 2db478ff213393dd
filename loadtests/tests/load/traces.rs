//! The services' own traces: a delay that is put between one of them and the card network is found where it is.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use loadtests::command::traces::again;
use loadtests::compare::{Contender, Order, play};
use loadtests::environment;
use loadtests::limits::saturation::patient;
use loadtests::otlp::Recorder;
use loadtests::payments::{Bench, EXPORTER, Layout, Payments, Service, Special};
use loadtests::realtime::settle;
use loadtests::scenario::{Overrides, Scenario};
use loadtests::stats::Interval;
use loadtests::trace::Trace;
use loadtests::traces::model::{Operation, Row};
use loadtests::traces::{Blocks, TracesReport};
use loadtests::workload::Sampled;
use stack::instance::{AcquirerOptions, Instance, Twin};

/// How much is played.
#[derive(Clone, Copy)]
struct Load {
    /// Requests a second.
    rate: f64,
    pairs: usize,
    slice_ms: u64,
}

/// Little: a busy machine has to keep up with it.
const SHORT: Load = Load { rate: 40.0, pairs: 12, slice_ms: 500 };

/// Enough for a difference of a fraction of a millisecond.
const LONG: Load = Load { rate: 60.0, pairs: 40, slice_ms: 1000 };

/// What bytes were held back, in ns, and how often: a sleep ends later than was asked.
#[derive(Default)]
struct Held {
    ns: AtomicU64,
    times: AtomicU64,
}

impl Held {
    fn mean_ns(&self) -> f64 {
        self.ns.load(Ordering::Relaxed) as f64 / self.times.load(Ordering::Relaxed) as f64
    }
}

/// Where bytes for `to` arrive `delay` later than they were sent; those back arrive at once.
fn delayed(to: SocketAddr, delay: Duration, held: &Arc<Held>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let held = Arc::clone(held);
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = TcpStream::connect(to).expect("the card network");
            for stream in [&near, &far] {
                stream.set_nodelay(true).expect("a socket");
            }
            let [near_back, far_back] = [&near, &far].map(|stream| stream.try_clone().expect("a socket"));
            let held = Arc::clone(&held);
            std::thread::spawn(move || pass(near, far, delay, &held));
            std::thread::spawn(move || pass(far_back, near_back, Duration::ZERO, &Held::default()));
        }
    });
    address
}

/// One reads as soon as there is something, the other writes when it is due: what follows isn't later for it.
fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration, held: &Held) {
    let (read, waiting) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (came, bytes) in waiting {
                // Not waited for busily: Postgres and the card network are on this core.
                std::thread::sleep(delay.saturating_sub(came.elapsed()));
                if to.write_all(&bytes).is_err() {
                    break;
                }
                held.ns.fetch_add(came.elapsed().as_nanos() as u64, Ordering::Relaxed);
                held.times.fetch_add(1, Ordering::Relaxed);
            }
            to.shutdown(Shutdown::Write).ok();
        });
        let mut bytes = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            if read.send((Instant::now(), bytes[..length].to_vec())).is_err() {
                break;
            }
        }
        drop(read);
    });
}

/// Where each has its place; this thread, and all that it starts, is off the services' core from now on.
fn settled() -> Layout {
    let layout = Layout::of(&environment::cores().expect("cores"));
    settle(&layout.around()).expect("its cores");
    layout
}

/// Two instances of one service, the second with a longer way to the card network: what their traces say, and by how much in ns
/// the way was longer in the mean.
async fn compared(
    twin: Twin,
    delay: Duration,
    load: Load,
    layout: &Layout,
    folder: &Path,
) -> (TracesReport, f64) {
    let bench = Bench::start(layout.clone(), &[twin], true, folder, |_| {}).await.expect("a bench");
    let network =
        Instance::acquirer(AcquirerOptions::new(&folder.join("network.log"))).await.expect("a card network");
    let to: SocketAddr = network.grpc().parse().expect("an address");
    let files: [PathBuf; 2] = ["a", "b"].map(|name| folder.join(format!("{name}.jsonl.zst")));
    let (mut recorders, mut services) = (Vec::new(), Vec::new());
    let held = [(); 2].map(|()| Arc::new(Held::default()));
    for ((file, delay), held) in files.iter().zip([Duration::ZERO, delay]).zip(&held) {
        let recorder = Recorder::start(([127, 0, 0, 1], 0).into(), file).await.expect("a receiver");
        let special = Special {
            // A refused request has no tree.
            env: [vec![(EXPORTER.to_owned(), recorder.endpoint().to_owned())], patient()].concat(),
            acquirer: Some(delayed(to, delay, held).to_string()),
            ..Special::default()
        };
        let home = bench.home(twin, &format!("traces_{}", recorders.len())).await.expect("a database");
        let mut service = bench.service(&home, &special).await.expect("a service");
        service.contender.target.sampled = Sampled { share: 1.0, from: 0 };
        recorders.push(recorder);
        services.push(service);
    }
    played(&services, load, layout).await;
    for service in services {
        service.stop().await;
    }
    for recorder in recorders {
        recorder.close().await.expect("a file");
    }
    network.stop().await;
    bench.stop().await.expect("it stops");
    let report =
        again(&files, ["A", "B"].map(String::from), Blocks::Windows(load.pairs), 500, 1).expect("traces");
    (report, held[1].mean_ns() - held[0].mean_ns())
}

async fn played(services: &[Service], load: Load, layout: &Layout) {
    let overrides = Overrides {
        rate: Some(load.rate),
        pairs: Some(load.pairs),
        slice_ms: Some(load.slice_ms),
        warm_up_seconds: Some(1.0),
        ..Overrides::default()
    };
    let scenario = Scenario::load("checkout", &overrides).expect("a scenario");
    let trace = Arc::new(Trace::draw("checkout", &scenario, &Payments).expect("a trace"));
    let contenders: Vec<Contender> = services.iter().map(|service| service.contender.clone()).collect();
    let contenders: [Contender; 2] = contenders.try_into().expect("two");
    let (cores, (events, _happened)) = (layout.generator.clone(), tokio::sync::mpsc::unbounded_channel());
    let playing = move || {
        let order = Order {
            scenario: &scenario,
            trace,
            workload: &Payments,
            contenders: &contenders,
            support: &[],
            cores: &cores,
            order_seed: 1,
            most_stolen: None,
            settle: &|_| async { Ok(()) }.boxed_local(),
        };
        play(&order, &Arc::new(AtomicBool::new(false)), &events).expect("played")
    };
    tokio::task::spawn_blocking(playing).await.expect("the thread");
}

#[test]
fn a_longer_way_to_the_card_network_is_found_in_its_calls_and_nowhere_else() {
    // Far more than what a busy machine adds here and there, in the mean of hundreds.
    const LONGER: Duration = Duration::from_millis(40);
    let wanted = LONGER.as_nanos() as f64;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let layout = settled();
    for twin in Twin::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let (report, _) = runtime.block_on(compared(twin, LONGER, SHORT, &layout, folder.path()));
        let mut looked_at = 0;
        for operation in report.operations.iter().filter(|operation| operation.requests[0] >= 100) {
            assert_eq!(operation.differences, [], "{}", operation.name);
            // Medians: what a busy machine adds here and there is in the means.
            let longer =
                |row: &Row| row.times[1].p50.zip(row.times[0].p50).map_or(0, |(b, a)| b as i64 - a as i64);
            let most = operation.rows.iter().max_by_key(|row| longer(row)).expect("rows");
            if !operation.rows.iter().any(of_network) {
                continue;
            }
            assert!(of_network(most), "{}: {most:?}", operation.name);
            assert!((longer(most) as f64 / wanted - 1.0).abs() < 0.5, "{}: {most:?}", operation.name);
            looked_at += 1;
        }
        assert!(looked_at >= 2, "{:?}", report.operations);
    }
}

/// Whether it is of a call to the card network.
fn of_network(row: &Row) -> bool {
    row.path.iter().any(|name| name.contains("AcquirerService/"))
}

#[test]
#[ignore = "its figures are of a release build on a machine that does nothing else: cargo test --release -p loadtests --test load -- --ignored"]
fn a_millisecond_and_a_fifth_of_one_are_named_and_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let layout = settled();
    let (mut looked_at, mut left_out) = (0, 0);
    for longer in [Duration::from_millis(1), Duration::from_micros(200)] {
        for twin in Twin::ALL {
            let folder = tempfile::tempdir().expect("a folder");
            let (report, held) = runtime.block_on(compared(twin, longer, LONG, &layout, folder.path()));
            let mut named = 0;
            for operation in report.operations.iter().filter(|operation| operation.requests[0] >= 100) {
                let Some(call) = operation.rows.iter().find(|row| of_network(row)) else { continue };
                // Not each request makes this call.
                let wanted = held * call.spans[0] as f64 / operation.requests[0] as f64;
                say(longer, twin, operation, wanted);
                let Interval { low, high } = call.interval.expect("an interval");
                left_out += usize::from(!(low..=high).contains(&wanted));
                looked_at += 1;
                assert_eq!(operation.differences, [], "{}", operation.name);
                // What can't be told from nothing isn't named.
                let told = |row: &&Row| row.interval.is_some_and(|found| found.low > 0.0 || found.high < 0.0);
                match operation.rows.iter().find(told) {
                    Some(first) => assert!(of_network(first), "{}: {first:?}", operation.name),
                    None => continue,
                }
                named += 1;
                let off = (call.difference_ns / wanted - 1.0).abs();
                assert!(longer < Duration::from_millis(1) || off <= 0.1, "{}: {call:?}", operation.name);
            }
            assert!(named >= if longer < Duration::from_millis(1) { 1 } else { 4 }, "{longer:?}, {twin:?}");
        }
    }
    // One in twenty leaves the truth out by chance.
    assert!(left_out <= 2, "{left_out} of {looked_at}");
}

/// The first rows, for who reads along.
fn say(longer: Duration, twin: Twin, operation: &Operation, wanted: f64) {
    println!("{longer:?} {twin:?} {}, n {}: {:.0} us", operation.name, operation.requests[0], wanted / 1e3);
    for row in operation.rows.iter().take(2) {
        let Interval { low, high } = row.interval.expect("an interval");
        let [estimate, low, high] = [row.difference_ns, low, high].map(|ns| (ns / 1e3).round());
        println!("    {} {estimate} [{low}, {high}]", row.path.last().expect("a name"));
    }
}

fn loadtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("traces").args(arguments).output().expect("it runs")
}

#[test]
fn both_services_do_the_same_by_their_traces() {
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().to_str().expect("a name");
    let unserved = ["--allow-void", "skipped,shed,dropped,connections"];
    let asserts = ["--assert", "structure_differences==0", "--assert", "vocabulary==0"];
    let output = loadtest(&[&["--smoke", "--out", folder], unserved.as_slice(), asserts.as_slice()].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("The same spans in the same places"), "{said}");
    // The files that stay say the same.
    let files = ["rust", "go"].map(|name| format!("{folder}/traces-checkout-{name}.jsonl.zst"));
    let output = loadtest(&[&files[0], &files[1], "--assert", "structure_differences==0"]);
    let again = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{again}{}", String::from_utf8_lossy(&output.stderr));
    assert!(again.contains("held: structure_differences==0: it is 0"), "{again}");
    // Without what tells that a value may differ, it is a difference.
    let output =
        loadtest(&[&files[0], &files[1], "--wait", "none=ms", "--assert", "structure_differences==0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("value of `twinpay.db_wait_ms`"));
}
