//! What the generator itself costs: CPU a request and lag, against the smallest server that hyper makes.
//!
//!     cargo run --release -p loadtests --example generator_cost -- [requests a second] [seconds]
//!
//! The server is another process on another core; aims are 25 µs a request and a lag p99 of 200 µs.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use loadtests::engine::{Engine, Limits, Target};
use loadtests::histogram::Sparse;
use loadtests::procstat::Process;
use loadtests::scenario::Parameters;
use loadtests::trace::{Line, Trace};
use loadtests::workload::{Checked, Effect, Player, Prepared};
use loadtests::{environment, realtime};

/// A body as long as a payment's.
const BODY: &str = "{\"id\":\"a reply of about the size of the real ones, so that reading it costs what it costs: \
    ........................................................................................................\"}";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cores = environment::cores()?;
    if arguments.first().is_some_and(|first| first == "serve") {
        realtime::pin(&cores[cores.len() - 1..])?;
        return runtime()?.block_on(serve());
    }
    let number = |index: usize, default: u64| arguments.get(index).map_or(Ok(default), |text| text.parse());
    let (rate, seconds) = (number(0, 1000)?, number(1, 5)?);
    let mut server = Command::new(std::env::current_exe()?).arg("serve").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().context("its output")?).read_line(&mut line)?;
    let outcome = measure(line.trim().parse()?, rate, seconds, &cores[..1]);
    server.kill()?;
    server.wait()?;
    outcome
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn serve() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let reply =
            |_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(BODY.as_bytes())))) };
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(reply)),
        );
    }
}

fn measure(address: SocketAddr, rate: u64, seconds: u64, cores: &[usize]) -> anyhow::Result<()> {
    realtime::pin(cores)?;
    let sender = realtime::go_fifo(realtime::SENDER);
    let line = |id: u64| Line {
        due_us: id * 1_000_000 / rate,
        id,
        door: "http".into(),
        operation: "get".into(),
        parameters: Parameters::new(),
        needs: None,
    };
    let trace = Arc::new(Trace { lines: (0..rate * seconds).map(line).collect(), sha256: String::new() });
    let limits = Limits { connections: 32, in_flight: 256, drain: Duration::from_secs(3) };
    tokio::task::LocalSet::new().block_on(&runtime()?, async {
        let engine = Engine::start(Arc::default())?;
        let mut target =
            Target::open("server", address, Arc::clone(&trace), vec!["get"], Box::new(Gets), limits).await?;
        let me = Process::of(std::process::id())?;
        let before = me.cpu_ns()?;
        let record = engine.play(&mut target, 0..trace.lines.len(), 0, seconds * 1_000_000).await?;
        let cpu_us = (me.cpu_ns()? - before) as f64 / 1e3;
        let at = |recorder| {
            [50.0, 99.0, 99.9].map(|percentile| Sparse::of(recorder).percentile(percentile).unwrap_or(0))
        };
        println!("{} build; pacer {}, sender {sender}", environment::build(), engine.pacer_policy());
        println!("{} of {} requests answered, {rate}/s", record.replies, record.offered);
        println!("CPU a request: {:.1} µs", cpu_us / record.replies as f64);
        println!("lag p50, p99, p99.9: {:?} µs; pacer awake: {:?} µs", at(&record.lag), at(&record.wake_lag));
        println!("latency p50, p99, p99.9: {:?} µs", at(&record.latency[0]));
        Ok(())
    })
}

/// A request with the headers of a real one.
struct Gets;

impl Player for Gets {
    fn prepare(&mut self, line: &Line) -> Option<Prepared> {
        let request = Request::get("/v1/payments/pay_01k0000000e0000000000000000")
            .header("host", "127.0.0.1")
            .header("authorization", "Bearer tp_live_0123456789_0123456789abcdef0123456789abcdef")
            .header("traceparent", format!("00-{:032x}-{:016x}-00", line.id + 1, line.id + 1));
        request.body(Full::default()).ok()
    }

    fn check(&mut self, _line: &Line, status: StatusCode, body: &Bytes, _sampled: bool) -> Checked {
        if status == StatusCode::OK && body.len() == BODY.len() {
            return Checked::Expected;
        }
        Checked::Unexpected(status.to_string())
    }

    fn effects(&self) -> Vec<Effect> {
        Vec::new()
    }
}
