//! A workload of two operations, and a server whose manners the test chooses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use loadtests::draw::Draw;
use loadtests::engine::{Engine, Limits, Record, Target};
use loadtests::scenario::{Flow, Overrides, Parameters, Scenario};
use loadtests::trace::{Line, Trace};
use loadtests::workload::{Checked, Effect, Operation, Player, PlayerTarget, Prepared, Workload};

/// `make` gives something that `use` needs.
pub struct Toy;

impl Workload for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }
    fn operations(&self) -> &'static [Operation] {
        &[Operation { name: "make", needs: &[] }, Operation { name: "use", needs: &["make"] }]
    }
    fn check_flow(&self, _flow: &Flow) -> Result<(), String> {
        Ok(())
    }
    fn draw_flow(&self, flow: &Flow, draw: &mut Draw) -> Vec<Parameters> {
        let parameters = |_| Parameters::from_iter([("x".to_owned(), draw.below(100).into())]);
        flow.steps.iter().map(parameters).collect()
    }
    fn player(&self, trace: &Trace, _target: &PlayerTarget) -> anyhow::Result<Box<dyn Player>> {
        Ok(Box::new(ToyPlayer(vec![false; trace.lines.len()])))
    }
}

struct ToyPlayer(Vec<bool>);

impl Player for ToyPlayer {
    fn prepare(&mut self, line: &Line) -> Option<Prepared> {
        if line.needs.is_some_and(|id| !self.0[id as usize]) {
            return None;
        }
        let request = Request::get(format!("/{}", line.id)).header("host", "toy").body(Full::default());
        Some(request.expect("a request"))
    }
    fn check(&mut self, line: &Line, status: StatusCode, body: &Bytes, _sampled: bool) -> Checked {
        self.0[line.id as usize] = true;
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Checked::Shed;
        }
        if status == StatusCode::OK && body.as_ref() == b"hello" {
            return Checked::Expected;
        }
        Checked::Unexpected(format!("{} {}", line.operation, status.as_u16()))
    }
    fn effects(&self) -> Vec<Effect> {
        vec![Effect { name: "made", count: self.0.iter().filter(|made| **made).count() as u64 }]
    }
}

/// How the server treats the request of a given number.
#[derive(Clone, Copy)]
pub enum Manner {
    Reply,
    Late(Duration),
    Never,
    Status(u16),
    HangUp,
}

/// One scenario text for all: constant arrivals, one slice that is played.
pub fn scenario(steps: &str, rate: f64, connections: usize, in_flight: usize) -> Scenario {
    let text = format!(
        r#"
        description = "test"
        workload = "toy"
        seed = 1
        arrivals = "constant"
        think_time_ms = 20
        connections = {connections}
        in_flight = {in_flight}
        slice_ms = 500
        pairs = 2
        drain_ms = 300
        warm_up = {{ rate = {rate}, seconds = 0.1 }}
        stages = [{{ rate = {rate}, seconds = 1.0 }}]
        flows = [{{ name = "only", share = 1, steps = {steps} }}]
        "#
    );
    Scenario::parse("toy.toml", "toy", &text, &Overrides::default()).expect("a good scenario")
}

/// Plays the first half second of the scenario's trace against a server of such manners.
pub fn play(scenario: &Scenario, manner: fn(u64) -> Manner) -> Record {
    let trace = Arc::new(Trace::draw("toy.toml", scenario, &Toy).expect("a trace"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let limits = Limits {
        connections: scenario.connections,
        in_flight: scenario.in_flight,
        drain: Duration::from_millis(scenario.drain_ms),
    };
    local.block_on(&runtime, async {
        let address = serve(manner).await;
        let player_target = PlayerTarget { authority: "toy".into(), credentials: vec![] };
        let player = Toy.player(&trace, &player_target).expect("a player");
        let engine = Engine::start(Arc::new(AtomicBool::new(false))).expect("an engine");
        let mut target =
            Target::open("toy", address, Arc::clone(&trace), vec!["make", "use"], player, limits)
                .await
                .expect("open");
        engine.play(&mut target, trace.window(0, 500_000), 0, 500_000).await.expect("played")
    })
}

/// The same server in a thread of its own, for as long as the test's process lives.
pub fn serve_aside(manner: fn(u64) -> Manner) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            tell.send(serve(manner).await).expect("somebody waits");
            std::future::pending::<()>().await;
        });
    });
    told.recv().expect("an address")
}

async fn serve(manner: fn(u64) -> Manner) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request| answer(request, manner));
            tokio::task::spawn_local(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

async fn answer(
    request: Request<Incoming>,
    manner: fn(u64) -> Manner,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let id = request.uri().path().trim_start_matches('/').parse().expect("a number");
    let hello = |status: u16| Response::builder().status(status).body(Full::from("hello")).expect("a reply");
    match manner(id) {
        Manner::Reply => Ok(hello(200)),
        Manner::Status(status) => Ok(hello(status)),
        Manner::HangUp => Err(std::io::Error::other("hang up")),
        Manner::Never => {
            std::future::pending::<Result<_, Infallible>>().await.map_err(|never| match never {})
        }
        Manner::Late(by) => {
            tokio::time::sleep(by).await;
            Ok(hello(200))
        }
    }
}
