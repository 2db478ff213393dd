//! What the load machinery asks of a workload: parameters for a trace's lines, requests when they are due, and a
//! verdict on each reply. Nothing here, or in what calls it, knows what the operations mean.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Full;

use crate::draw::Draw;
use crate::engine::Addresses;
use crate::scenario::{Flow, Parameters, Settings};
use crate::trace::{Door, Line, Trace};

/// A kind of request that a workload knows.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// As scenarios and traces name it.
    pub name: &'static str,
    /// The result of an earlier step of one of these kinds is needed; empty: of none.
    pub needs: &'static [&'static str],
}

/// A vocabulary of operations and how they are spoken.
pub trait Workload {
    /// As scenarios name it.
    fn name(&self) -> &'static str;

    /// Every operation; a trace's lines are reported in this order.
    fn operations(&self) -> &[Operation];

    /// Refuses parameters of a flow that this workload doesn't know, saying which and why.
    fn check_flow(&self, flow: &Flow) -> Result<(), String>;

    /// Refuses a setting of a scenario that this workload doesn't know, or its value: its name, and the problem.
    fn check_settings(&self, settings: &Settings) -> Result<(), (String, String)> {
        settings.keys().next().map_or(Ok(()), |name| Err((name.clone(), "unknown setting".into())))
    }

    /// The least that the work of an operation takes, in µs; unset where that isn't known.
    fn floor_us(&self, _operation: &str, _settings: &Settings) -> Option<u64> {
        None
    }

    /// Refuses a trace that it can't play: the request's number and the problem.
    fn check_trace(&self, _trace: &Trace) -> Result<(), (u64, String)> {
        Ok(())
    }

    /// Draws the parameters of each step of one flow. Everything that varies between requests is drawn here, so that
    /// it stands in the trace. `about`: the parameters of the earlier request whose object the flow is about.
    fn draw_flow(&self, flow: &Flow, about: Option<&Parameters>, draw: &mut Draw) -> Vec<Parameters>;

    /// A player of `trace` against one target.
    fn player(&self, trace: &Trace, target: &PlayerTarget) -> anyhow::Result<Box<dyn Player>>;
}

/// Whom a player's requests are for.
#[derive(Debug, Clone)]
pub struct PlayerTarget {
    /// Where its doors listen.
    pub addresses: Addresses,
    /// One credential a scope of the workload; what they are is the workload's business.
    pub credentials: Vec<String>,
    /// Whose traces are asked for.
    pub sampled: Sampled,
}

/// Requests that ask the service for a trace of them, by the flag of their `traceparent`. By default none: tracing stays off
/// while timing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sampled {
    /// Of all, from 0 to 1.
    pub share: f64,
    /// None before this one, by its place in the trace: those of the warm-up.
    pub from: u64,
}

impl Sampled {
    /// Whether a request is one of them: the same for each service.
    pub fn has(&self, id: u64) -> bool {
        // A golden-ratio step spreads whole numbers evenly over all of them (Knuth, TAOCP 3, 6.4).
        let place = (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
        id >= self.from && (place as f64) < self.share * (1_u64 << 53) as f64
    }
}

/// A request that is about to be sent.
pub type Prepared = Request<Full<Bytes>>;

/// A reply as it came, over any door.
#[derive(Debug)]
pub struct Reply {
    /// Of HTTP.
    pub status: StatusCode,
    /// Of HTTP.
    pub headers: HeaderMap,
    /// Whole.
    pub body: Bytes,
    /// After the body; gRPC says there how it went.
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// gRPC's code, where the reply has one: in the trailers, or in the headers where there is no message.
    pub fn grpc_code(&self) -> Option<u16> {
        let value = self.metadata("grpc-status")?;
        value.to_str().ok()?.parse().ok()
    }

    /// A trailer, or the header where there are no trailers.
    pub fn metadata(&self, name: &str) -> Option<&HeaderValue> {
        self.trailers.as_ref().unwrap_or(&self.headers).get(name)
    }

    /// What is counted: gRPC's code, or HTTP's status.
    pub fn code(&self) -> u16 {
        self.grpc_code().unwrap_or(self.status.as_u16())
    }
}

/// What a reply was.
#[derive(Debug, PartialEq, Eq)]
pub enum Checked {
    /// As the contract says for this request.
    Expected,
    /// Refused for want of capacity before anything was done, as the contract allows.
    Shed,
    /// Anything else, in a few words that group well.
    Unexpected(String),
}

/// One target's side of a trace being played: holds the results that later requests need.
pub trait Player {
    /// What each connection sends when it has opened: something that costs next to nothing, so that a service which
    /// closes silent connections lets those live that wait for their turn.
    fn greeting(&self, _door: Door) -> Option<Prepared> {
        None
    }

    /// The request of `line`, or nothing where the result that it needs isn't there.
    fn prepare(&mut self, line: &Line) -> Option<Prepared>;

    /// Judges a reply, keeping what later requests need. `sampled`: look at the whole body.
    fn check(&mut self, line: &Line, reply: &Reply, sampled: bool) -> Checked;

    /// Replies so far that must each have left something countable behind, by what they left.
    fn effects(&self) -> Vec<Effect>;
}

/// A number that must be found again on the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What is counted.
    pub name: &'static str,
    /// How many of it.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_requests_is_sampled_and_none_before_the_first() {
        let count = |share, from| (0..10_000).filter(|id| Sampled { share, from }.has(*id)).count();
        assert_eq!((count(0.0, 0), count(1.0, 0), count(1.0, 9_000)), (0, 10_000, 1_000));
        assert!((90..=110).contains(&count(0.01, 0)), "{}", count(0.01, 0));
    }
}
