//! What the generator itself costs: CPU a request and lag, against the smallest server that hyper makes.
//!
//!     cargo run --release -p loadtests --example generator_cost -- [requests a second] [seconds] [http|http2|grpc]
//!
//! The server is another process on another core. At 10 000 a second over 32 connections the aims are 25 µs a request
//! (50 µs over gRPC) and a lag p99 of 200 µs.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use loadtests::engine::{self, Addresses, Engine, Limits, Target};
use loadtests::histogram::Sparse;
use loadtests::procstat::Process;
use loadtests::scenario::Parameters;
use loadtests::trace::{Door, Kinds, Line, Trace};
use loadtests::workload::{Checked, Effect, Operation, Player, Prepared, Reply};
use loadtests::{environment, realtime};

/// A body as long as a payment's.
const BODY: &str = "{\"id\":\"a reply of about the size of the real ones, so that reading it costs what it costs: \
    ........................................................................................................\"}";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cores = environment::cores()?;
    if arguments.first().is_some_and(|first| first == "serve") {
        realtime::pin(&cores[cores.len() - 1..])?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(serve());
    }
    let number = |index: usize, default: u64| arguments.get(index).map_or(Ok(default), |text| text.parse());
    let (rate, seconds) = (number(0, 10_000)?, number(1, 5)?);
    let door = match arguments.get(2).map_or("http", String::as_str) {
        "http" => Door::Http,
        "http2" => Door::Http2,
        "grpc" => Door::Grpc,
        other => bail!("`{other}` is none of http, http2, grpc"),
    };
    let mut server = Command::new(std::env::current_exe()?).arg("serve").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().context("its output")?).read_line(&mut line)?;
    let outcome = measure(line.trim().parse()?, rate, seconds, door, &cores[..1]);
    server.kill()?;
    server.wait()?;
    outcome
}

async fn serve() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            builder.serve_connection(TokioIo::new(stream), service_fn(reply)).await
        });
    }
}

async fn reply(request: Request<Incoming>) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    if request.headers().get("content-type").is_none_or(|kind| kind != "application/grpc") {
        return Ok(Response::new(Full::new(Bytes::from_static(BODY.as_bytes())).boxed_unsync()));
    }
    let frame = [&[0][..], &(BODY.len() as u32).to_be_bytes(), BODY.as_bytes()].concat();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(Bytes::from(frame))), Ok(Frame::trailers(trailers))];
    Ok(Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync()))
}

fn measure(address: SocketAddr, rate: u64, seconds: u64, door: Door, cores: &[usize]) -> anyhow::Result<()> {
    realtime::pin(cores)?;
    let sender = realtime::go_fifo(realtime::SENDER);
    let line = |id: u64| Line {
        due_us: id * 1_000_000 / rate,
        id,
        door,
        operation: "get".into(),
        parameters: Parameters::new(),
        needs: None,
    };
    let trace = Arc::new(Trace { lines: (0..rate * seconds).map(line).collect(), sha256: String::new() });
    let limits = Limits { connections: 32, in_flight: 256, drain: Duration::from_secs(3) };
    let kinds = Kinds::of(&trace, &[Operation { name: "get", needs: &[] }]);
    let addresses = Addresses { http: address, grpc: Some(address) };
    engine::runtime()?.block_on(async {
        let engine = Engine::start(Arc::default())?;
        let player = Box::new(Gets(address.to_string()));
        let mut target = Target::open("server", addresses, Arc::clone(&trace), kinds, player, limits).await?;
        let me = Process::of(std::process::id())?;
        let before = me.cpu_ns()?;
        let record = engine.play(&mut target, 0..trace.lines.len(), 0, seconds * 1_000_000).await?;
        let cpu_us = (me.cpu_ns()? - before) as f64 / 1e3;
        let at =
            |times: &Sparse| [50.0, 99.0, 99.9].map(|percentile| times.percentile(percentile).unwrap_or(0));
        println!("{} build, {} at {rate}/s; sender {sender}", environment::build(), door.label());
        println!("{} of {} requests answered; {:?}", record.replies, record.offered, record.kinds);
        println!("CPU a request: {:.1} µs", cpu_us / record.replies as f64);
        println!("lag p50, p99, p99.9: {:?} µs; awake: {:?} µs", at(&record.lag), at(&record.wake_lag));
        println!("latency p50, p99, p99.9: {:?} µs", at(&record.latency[0]));
        Ok(())
    })
}

/// A request with the headers of a real one.
struct Gets(String);

impl Player for Gets {
    fn prepare(&mut self, line: &Line) -> Option<Prepared> {
        let path = "/v1/payments/pay_01k0000000e0000000000000000";
        let request = match line.door {
            Door::Http => Request::get(path).header("host", &self.0),
            Door::Http2 => Request::get(format!("http://{}{path}", self.0)),
            Door::Grpc => Request::builder()
                .method(Method::POST)
                .uri(format!("http://{}{path}", self.0))
                .header("content-type", "application/grpc")
                .header("te", "trailers"),
        };
        let request = request
            .header("authorization", "Bearer tp_live_0123456789_0123456789abcdef0123456789abcdef")
            .header("traceparent", format!("00-{:032x}-{:016x}-00", line.id + 1, line.id + 1));
        let body = if line.door == Door::Grpc { Bytes::from_static(&[0; 5]) } else { Bytes::new() };
        request.body(Full::new(body)).ok()
    }

    fn check(&mut self, line: &Line, reply: &Reply, _sampled: bool) -> Checked {
        let wanted = if line.door == Door::Grpc { (0, BODY.len() + 5) } else { (200, BODY.len()) };
        if (reply.code(), reply.body.len()) == wanted {
            return Checked::Expected;
        }
        Checked::Unexpected(reply.code().to_string())
    }

    fn effects(&self) -> Vec<Effect> {
        Vec::new()
    }
}
