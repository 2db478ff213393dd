//! A server whose CPU time a request is known, and the workload that asks it.
//!
//! It owes a drawn time for each request, and spins until its process has used what it owes since its first: reading,
//! writing and the runtime's own work are in it, so that the mean is what was asked for. Costs are drawn, since a
//! comparison of constants would have intervals of no width.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::draw::Draw;
use crate::engine;
use crate::procstat::Process;
use crate::scenario::{Flow, Parameters};
use crate::trace::{Line, Trace};
use crate::workload::{Checked, Effect, Operation, Player, PlayerTarget, Prepared, Reply, Workload};

/// Serves until it is killed, after a line that says where; `cpu_us` is the mean of a request.
pub fn serve(cpu_us: f64, seed: u64) -> anyhow::Result<()> {
    engine::runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", serde_json::json!({"message": "listening", "http_addr": listener.local_addr()?}));
        let debt = Rc::new(Debt {
            process: Process::of(std::process::id())?,
            cpu_us,
            owed_ns: Cell::new(None),
            draw: RefCell::new(Draw::new(seed, "costs")),
        });
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let debt = Rc::clone(&debt);
            let answer = service_fn(move |_| {
                let debt = Rc::clone(&debt);
                async move {
                    debt.pay();
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"spun"))))
                }
            });
            tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    })
}

/// What the process will have used in all once it has answered what it was asked.
struct Debt {
    process: Process,
    cpu_us: f64,
    owed_ns: Cell<Option<u64>>,
    draw: RefCell<Draw>,
}

impl Debt {
    fn pay(&self) {
        let used = || self.process.cpu_ns().unwrap_or(u64::MAX);
        let owed =
            self.owed_ns.get().unwrap_or_else(used) + cost_ns(self.cpu_us, &mut self.draw.borrow_mut());
        self.owed_ns.set(Some(owed));
        while used() < owed {
            std::hint::spin_loop();
        }
    }
}

/// At least half of the mean, exponential beyond.
fn cost_ns(mean_us: f64, draw: &mut Draw) -> u64 {
    (mean_us * (0.5 + draw.exponential(2.0)) * 1e3) as u64
}

/// The workload `spin`: one operation.
pub struct Spin;

impl Workload for Spin {
    fn name(&self) -> &'static str {
        "spin"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation { name: "spin", needs: &[] }]
    }

    fn check_flow(&self, _flow: &Flow) -> Result<(), String> {
        Ok(())
    }

    fn draw_flow(&self, flow: &Flow, _about: Option<&Parameters>, _draw: &mut Draw) -> Vec<Parameters> {
        flow.steps.iter().map(|_| Parameters::new()).collect()
    }

    fn player(&self, _trace: &Trace, target: &PlayerTarget) -> anyhow::Result<Box<dyn Player>> {
        let host = target.addresses.http.to_string();
        Ok(Box::new(Asking { host: host.parse().context("an address as a host")?, spun: 0 }))
    }
}

struct Asking {
    host: http::HeaderValue,
    spun: u64,
}

impl Player for Asking {
    fn prepare(&mut self, _line: &Line) -> Option<Prepared> {
        Request::get("/").header(http::header::HOST, self.host.clone()).body(Full::default()).ok()
    }

    fn check(&mut self, _line: &Line, reply: &Reply, _sampled: bool) -> Checked {
        if reply.status != StatusCode::OK {
            return Checked::Unexpected(format!("spin {}", reply.status.as_u16()));
        }
        self.spun += 1;
        Checked::Expected
    }

    fn effects(&self) -> Vec<Effect> {
        vec![Effect { name: "spun", count: self.spun }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_have_the_mean_that_is_asked_for() {
        let mut draw = Draw::new(1, "costs");
        let mean = (0..100_000).map(|_| cost_ns(400.0, &mut draw) as f64).sum::<f64>() / 1e5;
        assert!((mean / 400_000.0 - 1.0).abs() < 0.01, "{mean} ns");
    }
}
