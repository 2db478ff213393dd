//! A workload of two operations, and a server whose manners the test chooses.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use loadtests::draw::Draw;
use loadtests::engine::{self, Addresses, Engine, Limits, Record, Target};
use loadtests::scenario::{Flow, Overrides, Parameters, Scenario};
use loadtests::trace::{Door, Kinds, Line, Trace};
use loadtests::workload::{
    Checked, Effect, Operation, Player, PlayerTarget, Prepared, Reply, Sampled, Workload,
};
use tokio::time::Instant;

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
    fn draw_flow(&self, flow: &Flow, _about: Option<&Parameters>, draw: &mut Draw) -> Vec<Parameters> {
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
        let request = match line.door {
            Door::Http => Request::get(format!("/{}", line.id)).header("host", "toy"),
            Door::Http2 => Request::get(format!("http://toy/{}", line.id)),
            Door::Grpc => Request::post(format!("http://toy/{}", line.id)).header("te", "trailers"),
        };
        Some(request.body(Full::default()).expect("a request"))
    }
    fn check(&mut self, line: &Line, reply: &Reply, _sampled: bool) -> Checked {
        self.0[line.id as usize] = true;
        let (status, body) = (reply.status, &reply.body);
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Checked::Shed;
        }
        let fine = reply.code() == if line.door == Door::Grpc { 0 } else { 200 };
        if fine && body.as_ref() == b"hello" {
            return Checked::Expected;
        }
        Checked::Unexpected(format!("{} {}", line.operation, reply.code()))
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
    play_while_asked(scenario, manner, None)
}

/// The same; a connection on which nothing is asked for `idle` is closed.
pub fn play_while_asked(scenario: &Scenario, manner: fn(u64) -> Manner, idle: Option<Duration>) -> Record {
    let trace = Arc::new(Trace::draw("toy.toml", scenario, &Toy).expect("a trace"));
    let limits = Limits::of(scenario);
    engine::runtime().expect("a runtime").block_on(async {
        let http = serve(manner, idle).await;
        let addresses = Addresses { http, grpc: Some(http) };
        let player_target = PlayerTarget { addresses, credentials: vec![], sampled: Sampled::default() };
        let player = Toy.player(&trace, &player_target).expect("a player");
        let engine = Engine::start(Arc::new(AtomicBool::new(false))).expect("an engine");
        let mut target = Target::open(
            "toy",
            addresses,
            Arc::clone(&trace),
            Kinds::of(&trace, Toy.operations()),
            player,
            limits,
        )
        .await
        .expect("open");
        engine.play(&mut target, trace.window(0, 500_000), 0, 500_000).await.expect("played")
    })
}

/// The same server in a thread of its own, for as long as the test's process lives.
pub fn serve_aside(manner: fn(u64) -> Manner) -> SocketAddr {
    serve_aside_while_asked(manner, None)
}

/// The same; a connection on which nothing is asked for `idle` is closed.
pub fn serve_aside_while_asked(manner: fn(u64) -> Manner, idle: Option<Duration>) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            tell.send(serve(manner, idle).await).expect("somebody waits");
            std::future::pending::<()>().await;
        });
    });
    told.recv().expect("an address")
}

async fn serve(manner: fn(u64) -> Manner, idle: Option<Duration>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let asked = Rc::new(Cell::new(Instant::now()));
            let noted = Rc::clone(&asked);
            let service = service_fn(move |request| {
                noted.set(Instant::now());
                answer(request, manner)
            });
            tokio::task::spawn_local(async move {
                let builder = auto::Builder::new(Here);
                tokio::select! {
                    // A request that hangs up is an error of its connection.
                    served = builder.serve_connection(TokioIo::new(stream), service) => drop(served),
                    () = idle_for(idle, &asked) => {}
                }
            });
        }
    });
    address
}

/// Until nothing was asked for so long; for ever where there is no bound.
async fn idle_for(most: Option<Duration>, asked: &Cell<Instant>) {
    let Some(most) = most else { return std::future::pending().await };
    while asked.get().elapsed() < most {
        tokio::time::sleep_until(asked.get() + most).await;
    }
}

/// Has hyper's own tasks run in the thread of the server.
#[derive(Clone, Copy)]
struct Here;

impl<F: Future<Output = ()> + 'static> Executor<F> for Here {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// gRPC's status is that of HTTP, by the rules of the toy.
async fn answer(
    request: Request<Incoming>,
    manner: fn(u64) -> Manner,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, std::io::Error> {
    let id = request.uri().path().trim_start_matches('/').parse().expect("a number");
    let grpc = request.headers().contains_key("te");
    let hello = |status: u16| {
        if !grpc {
            let body = Full::from("hello").boxed_unsync();
            return Response::builder().status(status).body(body).expect("a reply");
        }
        let code = if status == 200 { 0 } else { 14 };
        let trailers =
            HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from(code))]);
        let frames = [Ok(Frame::data(Bytes::from_static(b"hello"))), Ok(Frame::trailers(trailers))];
        Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync())
    };
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
