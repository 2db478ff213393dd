//! One service's side of a trace of plain requests: fills in each request from its line and the earlier replies of its
//! flow, and judges each reply.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::{Context, anyhow};
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use super::spec::{REQUEST, RequestSpec};
use super::template::{Escape, Template};
use super::workload::{ABOUT, FLOW};
use crate::trace::{Door, Line, Trace};
use crate::workload::{Checked, Effect, Player, PlayerTarget, Prepared, Reply};

/// A request, parsed once.
struct Shape {
    name: String,
    method: Method,
    path: Template,
    headers: Vec<(HeaderName, Template)>,
    body: Template,
    /// How a value is put into the body.
    escape: Escape,
    expect: Vec<StatusCode>,
    shed: Vec<StatusCode>,
    check: Vec<(String, Template)>,
    save: Vec<(String, String)>,
    /// It has a `Host` of its own.
    hosted: bool,
}

/// What a line asks for, and where the values come from that earlier replies have.
struct Step {
    shape: usize,
    /// A name, and the request whose reply saves it.
    earlier: Vec<(String, usize)>,
}

/// Plays traces of plain requests; see the module's text.
pub struct PlainPlayer {
    shapes: Vec<Shape>,
    steps: Vec<Step>,
    /// By the number of the request: what its reply saved, in the order of its shape's `save`.
    saved: Vec<Option<Box<[String]>>>,
    host: HeaderValue,
    authority: Authority,
    /// Of the trace: makes `${request}` of two traces differ.
    mark: String,
}

impl PlainPlayer {
    /// Prepares to play `trace` for the target; fails on lines that aren't of these requests.
    pub fn new(requests: &[RequestSpec], trace: &Trace, target: &PlayerTarget) -> anyhow::Result<Self> {
        let shapes = requests.iter().map(shape).collect::<anyhow::Result<Vec<_>>>()?;
        let names: Vec<_> = requests.iter().map(RequestSpec::names).collect();
        // The last request of each flow that saves a name.
        let mut savers: HashMap<(u64, &str), usize> = HashMap::new();
        let mut steps = Vec::new();
        for (number, line) in trace.lines.iter().enumerate() {
            let place = || format!("request {}", line.id);
            let shape = shapes.iter().position(|shape| shape.name == line.operation);
            let shape =
                shape.with_context(|| format!("{}: unknown operation `{}`", place(), line.operation))?;
            let parameter = |name: &str| line.parameters.get(name).and_then(Value::as_u64);
            let flow = parameter(FLOW).with_context(|| format!("{}: no number `{FLOW}`", place()))?;
            let saver = |flow: u64, name: &str| savers.get(&(flow, name)).copied();
            let earlier = |name: &String| {
                let by = saver(flow, name).or_else(|| saver(parameter(ABOUT)?, name))?;
                Some((name.clone(), by))
            };
            let earlier = names[shape].iter().filter_map(earlier).collect();
            steps.push(Step { shape, earlier });
            let saves = requests[shape].save.keys();
            savers.extend(saves.map(|name| ((flow, name.as_str()), number)));
        }
        let saved = vec![None; trace.lines.len()];
        let authority = Authority::try_from(target.addresses.http.to_string())?;
        let host = HeaderValue::try_from(authority.as_str())?;
        Ok(Self { shapes, steps, saved, host, authority, mark: trace.sha256[..16].to_owned() })
    }

    /// The value of a name for a line: from the flow's earlier replies, or drawn.
    fn value<'a>(&'a self, line: &'a Line, name: &str) -> Option<Cow<'a, str>> {
        if name == REQUEST {
            return Some(Cow::Owned(format!("{}-{}", self.mark, line.id)));
        }
        let earlier = self.steps[line.id as usize].earlier.iter().find(|(known, _)| known == name);
        if let Some((_, by)) = earlier {
            let slot = self.shapes[self.steps[*by].shape].save.iter().position(|(saved, _)| saved == name)?;
            return Some(Cow::Borrowed(self.saved[*by].as_ref()?[slot].as_str()));
        }
        line.parameters.get(name).and_then(text)
    }
}

impl Player for PlainPlayer {
    fn prepare(&mut self, line: &Line) -> Option<Prepared> {
        let shape = &self.shapes[self.steps[line.id as usize].shape];
        let value = |name: &str| self.value(line, name);
        let path = shape.path.fill(value, Escape::Url)?;
        let mut request = Request::builder().method(shape.method.clone());
        request = match line.door {
            Door::Http if shape.hosted => request.uri(path),
            Door::Http => request.uri(path).header(HOST, self.host.clone()),
            Door::Http2 | Door::Grpc => request.uri(format!("http://{}{path}", self.authority)),
        };
        for (name, template) in &shape.headers {
            request = request.header(name, template.fill(value, Escape::None)?);
        }
        let body = shape.body.fill(value, shape.escape)?;
        // A value of a reply that no header takes, such as one with a line break, makes no request: it is skipped.
        request.body(Full::new(body.into())).ok()
    }

    fn check(&mut self, line: &Line, reply: &Reply, sampled: bool) -> Checked {
        let (status, body) = (reply.status, &reply.body);
        let shape = &self.shapes[self.steps[line.id as usize].shape];
        let unexpected =
            |what: &str| Checked::Unexpected(format!("{} {}{what}", shape.name, status.as_u16()));
        if !shape.expect.contains(&status) {
            return if shape.shed.contains(&status) { Checked::Shed } else { unexpected("") };
        }
        let looked_at: &[_] = if sampled { &shape.check } else { &[] };
        if shape.save.is_empty() && looked_at.is_empty() {
            return Checked::Expected;
        }
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return unexpected(": the body isn’t JSON");
        };
        for (pointer, wanted) in looked_at {
            // Its values were there for the request.
            let wanted = wanted.fill(|name| self.value(line, name), Escape::None);
            let got = body.pointer(pointer).and_then(text);
            if got.as_deref() != wanted.as_deref() {
                return unexpected(&format!(": {pointer} isn’t what was wanted"));
            }
        }
        let mut saved = Vec::new();
        for (_, pointer) in &shape.save {
            let Some(value) = body.pointer(pointer).and_then(text) else {
                return unexpected(&format!(": no {pointer} in the body"));
            };
            saved.push(value.into_owned());
        }
        self.saved[line.id as usize] = Some(saved.into());
        Checked::Expected
    }

    fn effects(&self) -> Vec<Effect> {
        // What a reply left behind can't be counted from here.
        Vec::new()
    }
}

/// As it stands in a text; objects, lists and nothing don't.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn shape(request: &RequestSpec) -> anyhow::Result<Shape> {
    let parse = |text: &str| Template::parse(text).map_err(|problem| anyhow!("{}: {problem}", request.name));
    let header = |(name, value): (&String, &String)| Ok((HeaderName::try_from(name)?, parse(value)?));
    let checked = |(pointer, value): (&String, &String)| anyhow::Ok((pointer.clone(), parse(value)?));
    let statuses =
        |all: &[u16]| all.iter().map(|status| StatusCode::from_u16(*status)).collect::<Result<_, _>>();
    let json = |(name, value): (&String, &String)| {
        name.eq_ignore_ascii_case("content-type") && value.to_ascii_lowercase().contains("json")
    };
    Ok(Shape {
        name: request.name.clone(),
        hosted: request.headers.keys().any(|name| name.eq_ignore_ascii_case("host")),
        method: request.method.parse()?,
        path: parse(&request.path)?,
        headers: request.headers.iter().map(header).collect::<anyhow::Result<_>>()?,
        body: parse(request.body.as_deref().unwrap_or_default())?,
        escape: if request.headers.iter().any(json) { Escape::Json } else { Escape::None },
        expect: statuses(&request.expect)?,
        shed: statuses(&request.shed)?,
        check: request.check.iter().map(checked).collect::<anyhow::Result<_>>()?,
        save: request.save.iter().map(|(name, pointer)| (name.clone(), pointer.clone())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::engine::Addresses;
    use crate::plain::Plain;
    use crate::scenario::{Overrides, Scenario};
    use crate::workload::{Sampled, Workload};

    fn playing() -> (Trace, Box<dyn Player>) {
        let scenario = Scenario::load("plain-example", &Overrides::default()).unwrap();
        let plain = Plain::of(&scenario);
        let trace = Trace::draw("plain-example", &scenario, &plain).unwrap();
        let player = player_of(&plain, &trace);
        (trace, player)
    }

    fn player_of(plain: &Plain, trace: &Trace) -> Box<dyn Player> {
        let addresses = Addresses { http: "127.0.0.1:1".parse().unwrap(), grpc: None };
        plain
            .player(trace, &PlayerTarget { addresses, credentials: vec![], sampled: Sampled::default() })
            .unwrap()
    }

    fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
        Reply { status, headers: Default::default(), body: body.into(), trailers: None }
    }

    /// A flow's request, and the one that reads what it made.
    fn two(trace: &Trace) -> (&Line, &Line) {
        let read = trace.lines.iter().find(|line| line.operation == "read").unwrap();
        (&trace.lines[read.needs.unwrap() as usize], read)
    }

    #[test]
    fn a_request_is_filled_from_its_draws_and_from_the_earlier_reply_of_its_flow() {
        let (trace, mut player) = playing();
        let (create, read) = two(&trace);
        let request = player.prepare(create).unwrap();
        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/orders"));
        let key = format!("{}-{}", &trace.sha256[..16], create.id);
        assert_eq!(request.headers()["idempotency-key"].to_str().unwrap(), key);
        // What it makes isn't there yet.
        assert!(player.prepare(read).is_none());
        let made = reply(StatusCode::CREATED, r#"{"id": "o/1", "more": []}"#);
        assert_eq!(player.check(create, &made, false), Checked::Expected);
        let customer = create.parameters["customer"].as_str().unwrap();
        let wanted = format!("/orders/o%2F1?customer={customer}");
        assert_eq!(player.prepare(read).unwrap().uri().to_string(), wanted);
    }

    #[test]
    fn flows_do_not_share_what_they_save() {
        let (trace, mut player) = playing();
        let reads: Vec<_> = trace.lines.iter().filter(|line| line.operation == "read").collect();
        let made = |id: u64| reply(StatusCode::CREATED, format!(r#"{{"id": {id}}}"#));
        for line in trace.lines.iter().filter(|line| line.operation == "create") {
            assert_eq!(player.check(line, &made(line.id), false), Checked::Expected);
        }
        let second = reads.iter().filter(|line| player.prepare(line).is_some()).count();
        assert_eq!(second, reads.len());
        for read in reads {
            let path = player.prepare(read).unwrap().uri().path().to_owned();
            let made = trace
                .lines
                .iter()
                .rfind(|line| line.operation == "create" && line.parameters[FLOW] == read.parameters[FLOW]);
            assert_eq!(path, format!("/orders/{}", made.unwrap().id));
        }
    }

    #[test]
    fn replies_are_told_apart_by_status_and_by_what_they_lack() {
        let (trace, mut player) = playing();
        let (create, read) = two(&trace);
        let mut check = |line: &Line, status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            player.check(line, &reply(status, Bytes::copy_from_slice(body.as_bytes())), true)
        };
        let unexpected = |what: &str| Checked::Unexpected(what.into());
        assert_eq!(check(create, 503, "busy"), Checked::Shed);
        assert_eq!(check(create, 200, "{}"), unexpected("create 200"));
        assert_eq!(check(create, 201, "oops"), unexpected("create 201: the body isn’t JSON"));
        let amount = create.parameters["amount"].clone();
        let nameless = format!(r#"{{"id": null, "amount": {amount}}}"#);
        assert_eq!(check(create, 201, &nameless), unexpected("create 201: no /id in the body"));
        assert_eq!(
            check(create, 201, r#"{"id": 7, "amount": 1}"#),
            unexpected("create 201: /amount isn’t what was wanted")
        );
        assert_eq!(
            check(create, 201, r#"{"id": 7}"#),
            unexpected("create 201: /amount isn’t what was wanted")
        );
        let right = format!(r#"{{"id": 7, "amount": {}}}"#, create.parameters["amount"]);
        assert_eq!(check(create, 201, &right), Checked::Expected);
        assert_eq!(check(read, 503, ""), unexpected("read 503"));
        assert_eq!(check(read, 200, "not looked at"), Checked::Expected);
    }

    #[test]
    fn over_http_2_the_authority_stands_in_the_uri() {
        let (trace, mut player) = playing();
        let (create, _) = two(&trace);
        let one = player.prepare(create).unwrap();
        assert_eq!(
            (one.uri().to_string(), &one.headers()[HOST]),
            ("/orders".into(), &HeaderValue::from_static("127.0.0.1:1"))
        );
        let two = player.prepare(&Line { door: Door::Http2, ..create.clone() }).unwrap();
        assert_eq!(
            (two.uri().to_string(), two.headers().get(HOST)),
            ("http://127.0.0.1:1/orders".into(), None)
        );
    }

    #[test]
    fn a_flow_may_be_about_what_the_warm_up_has_made() {
        let text = include_str!("../../scenarios/plain-example.toml");
        let text = text.replace("[[flows]]\nname = \"order\"", "[[warm_up_flows]]\nname = \"order\"");
        let text = text.replace("[\"create\", \"read\", \"read\"]", "[\"read\"]");
        let scenario = Scenario::parse("x.toml", "x", &text, &Overrides::default()).unwrap();
        let plain = Plain::of(&scenario);
        let trace = Trace::draw("x.toml", &scenario, &plain).unwrap();
        let mut player = player_of(&plain, &trace);
        let read = trace.lines.iter().rfind(|line| line.operation == "read").unwrap();
        let create = &trace.lines[read.needs.unwrap() as usize];
        assert!(create.due_us < scenario.warm_up_us() && read.due_us > scenario.warm_up_us());
        assert!(player.prepare(read).is_none());
        player.check(create, &reply(StatusCode::CREATED, r#"{"id": 7}"#), false);
        // Whose it is goes with it.
        let wanted = format!("/orders/7?customer={}", create.parameters["customer"].as_str().unwrap());
        assert_eq!(player.prepare(read).unwrap().uri().to_string(), wanted);
    }

    #[test]
    fn both_services_get_the_same_requests() {
        let ((trace, mut one), (_, mut other)) = (playing(), playing());
        for line in trace.lines.iter().filter(|line| line.operation == "create") {
            let (a, b) = (one.prepare(line).unwrap(), other.prepare(line).unwrap());
            assert_eq!((a.uri(), a.headers()), (b.uri(), b.headers()));
        }
    }
}
