//! The bare handler: `GET /livez` on the services' HTTP port, as fast as so many connections ask. In a closed loop, each
//! connection asks again when it has its answer: this is about how much a door can take, not about latency.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::future::try_join_all;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{InTurns, Limit, on_cores};
use crate::clock::now_ns;
use crate::compare::Contender;
use crate::procstat::Process;
use crate::report::wording::number;

/// On the HTTP port, without a dependency.
pub const PATH: &str = "/livez";
/// A handler that does nothing takes no longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Both services' doors, measured in turn.
pub struct Doors {
    services: Vec<(String, SocketAddr, u32)>,
    generator: Vec<usize>,
    connections: usize,
    turns: Vec<Vec<Turn>>,
    count: usize,
}

/// One measurement of one door.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Turn {
    /// Answers.
    pub replies: u64,
    /// Wall time.
    pub wall_ns: u64,
    /// CPU of the service's process.
    pub service_ns: u64,
    /// CPU of this process.
    pub generator_ns: u64,
}

impl Turn {
    fn rate(&self) -> f64 {
        self.replies as f64 * 1e9 / self.wall_ns as f64
    }

    fn cpu_us(&self) -> f64 {
        self.service_ns as f64 / 1e3 / self.replies as f64
    }
}

impl Doors {
    /// Asked from the generator's cores.
    pub fn of(contenders: &[Contender], generator: &[usize], connections: usize) -> anyhow::Result<Self> {
        let service = |contender: &Contender| {
            let (name, address) = (contender.name.clone(), contender.target.addresses.http);
            Ok((name, address, contender.process()?))
        };
        let services = contenders.iter().map(service).collect::<anyhow::Result<Vec<_>>>()?;
        let turns = vec![Vec::new(); services.len()];
        Ok(Self { services, generator: generator.to_vec(), connections, turns, count: 0 })
    }

    /// Two a service: how fast it answers, and what an answer costs it.
    pub fn limits(self) -> Vec<Limit> {
        let rows = |((name, ..), turns): ((String, SocketAddr, u32), Vec<Turn>)| {
            let values = |of: fn(&Turn) -> f64| turns.iter().map(of).collect::<Vec<_>>();
            let what = format!("{PATH} over {} connections, {name}", self.connections);
            let full = Some(full(&turns));
            let rate = Limit::measured(
                &format!("door_{name}"),
                what.clone(),
                "replies/s",
                &values(Turn::rate),
                full,
            );
            let label = format!("CPU a reply: {what}");
            let cost = Limit::measured(&format!("door_cpu_{name}"), label, "µs", &values(Turn::cpu_us), None);
            [rate, cost]
        };
        self.services.into_iter().zip(self.turns).flat_map(rows).collect()
    }
}

impl InTurns for Doors {
    const WHAT: &'static str = "doors";

    /// One measurement of each; who is first changes from turn to turn.
    async fn repeat(&mut self, length: Duration) -> anyhow::Result<()> {
        for step in 0..self.services.len() {
            let index = (step + self.count) % self.services.len();
            let (name, address, pid) = self.services[index].clone();
            let connections = self.connections;
            let work = move || ask(address, pid, connections, length);
            let turn =
                on_cores(&self.generator, work).await.with_context(|| format!("{name}: GET {PATH}"))?;
            self.turns[index].push(turn);
        }
        self.count += 1;
        Ok(())
    }

    fn take_back(&mut self) {
        for turns in &mut self.turns {
            turns.pop();
        }
    }
}

/// Which of the two had no CPU left.
fn full(turns: &[Turn]) -> String {
    let sum = |of: fn(&Turn) -> u64| turns.iter().map(of).sum::<u64>() as f64;
    let wall = sum(|turn| turn.wall_ns).max(1.0);
    let percent = |ns: f64| number(ns / wall * 100.0);
    let (service, generator) = (sum(|turn| turn.service_ns), sum(|turn| turn.generator_ns));
    format!("service {} % of a core, generator {} %", percent(service), percent(generator))
}

fn ask(address: SocketAddr, pid: u32, connections: usize, length: Duration) -> anyhow::Result<Turn> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (service, own) = (Process::of(pid)?, Process::of(std::process::id())?);
    runtime.block_on(async {
        let opened = try_join_all((0..connections).map(|_| open(address))).await?;
        let before = (service.cpu_ns()?, own.cpu_ns()?, now_ns());
        let until = before.2 + length.as_nanos() as u64;
        let loops = opened.into_iter().map(|connection| again_and_again(connection, until));
        let replies = timeout(length + ANSWER_LIMIT, try_join_all(loops)).await;
        let replies = replies.with_context(|| format!("no answer for {} s", ANSWER_LIMIT.as_secs()))??;
        Ok(Turn {
            replies: replies.into_iter().sum(),
            wall_ns: now_ns() - before.2,
            service_ns: service.cpu_ns()? - before.0,
            generator_ns: own.cpu_ns()? - before.1,
        })
    })
}

/// A connection without a request on it.
pub async fn open(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end shows in the sender's next use.
    tokio::spawn(driver);
    Ok(sender)
}

async fn again_and_again(mut connection: SendRequest<Full<Bytes>>, until_ns: u64) -> anyhow::Result<u64> {
    let mut replies = 0;
    while now_ns() < until_ns {
        connection.ready().await?;
        let request = Request::get(PATH).header(header::HOST, "localhost").body(Full::default())?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        if status != StatusCode::OK {
            bail!("answered {status}");
        }
        replies += 1;
    }
    Ok(replies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_a_second_and_costs_a_reply() {
        let turn =
            Turn { replies: 5000, wall_ns: 500_000_000, service_ns: 100_000_000, generator_ns: 450_000_000 };
        assert_eq!((turn.rate(), turn.cpu_us()), (10_000.0, 20.0));
        assert_eq!(full(&[turn, turn]), "service 20.0 % of a core, generator 90.0 %");
        let doors = Doors {
            services: vec![("rust".into(), ([127, 0, 0, 1], 1).into(), 1)],
            generator: vec![0],
            connections: 8,
            turns: vec![vec![turn; 3]],
            count: 3,
        };
        let rows = doors.limits();
        assert_eq!((rows[0].name.as_str(), rows[1].name.as_str()), ("door_rust", "door_cpu_rust"));
        assert_eq!(rows[0].figure.as_ref().unwrap().values.len(), 3);
    }

    #[test]
    fn a_door_that_never_answers_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let asked = ask(listener.local_addr().unwrap(), std::process::id(), 2, Duration::from_millis(10));
        assert_eq!(asked.unwrap_err().to_string(), "no answer for 5 s");
    }
}
