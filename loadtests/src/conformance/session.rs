//! One run of one case: a fresh merchant, the steps in order, each sent to the twin and door that the route says.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select, try_join_all};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;
use prost_reflect::MessageDescriptor;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::case::{Case, Door, Many, Other, Step, Values};
use super::check::check;
use super::contract::{Caller, Contract, Key, Operation};
use super::document;
use super::message;
use super::reply::{Reply, from_grpc, from_http};
use super::route::{Route, Site, Target};
use super::shape;
use super::vars::{builtin, fill, fill_bytes, fill_text, unique};
use super::wire::{Outgoing, Wire};

/// Twice what the contract allows for settling an unknown outcome.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// So long may a place be taken: it comes free as fast as the machine is.
const PLACE_LIMIT: Duration = Duration::from_secs(60);
/// So long a revoked key may still be good.
const REMEMBERED: Duration = Duration::from_secs(5);
/// No step but one that settles waits for anything longer than a fraction of a second.
const LONGEST: Duration = Duration::from_secs(5);
const SETTLE_POLL: Duration = Duration::from_millis(50);

/// What every run needs.
#[derive(Debug)]
pub struct Bench {
    /// The contract.
    pub contract: Contract,
    /// The clients.
    pub wire: Wire,
    /// The credential of the admin operations.
    pub admin_token: String,
}

/// A step that was run.
#[derive(Debug)]
pub struct StepRun {
    /// The operation, or the raw request.
    pub operation: String,
    /// Where it went.
    pub target: String,
    /// The door that it took.
    pub door: Door,
    /// What was sent, for people.
    pub request: String,
    /// What came back.
    pub reply: Reply,
    /// How long it took.
    pub took: Duration,
    /// Everything that is wrong.
    pub faults: Vec<String>,
    /// Whether it may differ from the other twin's.
    pub loose: bool,
}

/// A request that is ready to go, with what its reply means.
#[derive(Clone)]
pub struct Prepared<'a> {
    outgoing: Outgoing,
    operation: Option<&'a Operation>,
    output: Option<MessageDescriptor>,
    streaming: bool,
    versioned: bool,
}

/// The other one of two requests that were sent at once, after the first was answered.
type Later<'a> = BoxFuture<'a, anyhow::Result<Reply>>;

impl Prepared<'_> {
    /// The request in a few lines, for people.
    pub fn describe(&self) -> String {
        describe(&self.outgoing)
    }
}

impl Bench {
    /// Runs all steps. An error is one of the runner or the network, not of a reply.
    pub async fn run(&self, case: &Case, route: &mut Route) -> anyhow::Result<Vec<StepRun>> {
        let mut values = self.set_up(case, &route.first().target).await.context("set-up")?;
        let (mut runs, mut later): (Vec<StepRun>, Vec<Later>) = (Vec::new(), Vec::new());
        for (index, step) in case.steps.iter().enumerate() {
            let site = route.site(step.on == Some(Other::Other), step.door == Some(Other::Other));
            let label = || format!("step {} ({})", index + 1, step.name.as_deref().unwrap_or("unnamed"));
            let run = self.step(case, &runs, step, &site, &mut values, &mut later).await;
            runs.push(run.with_context(label)?);
        }
        for reply in try_join_all(later).await? {
            ensure!(!reply.is_error(), "of two requests at once the later reply: {}", reply.summary());
        }
        Ok(runs)
    }

    /// A merchant and a key of its own, and the same again for a stranger where the case speaks of one.
    async fn set_up(&self, case: &Case, target: &Target) -> anyhow::Result<Values> {
        let mut values = builtin(OffsetDateTime::now_utc());
        for (name, value) in &case.vars {
            let value = fill(value, &values)?;
            values.insert(name.clone(), value);
        }
        values.insert("admin_token".into(), self.admin_token.clone().into());
        let (id, secret) = self.merchant(target, &case.merchant).await?;
        values.insert("merchant".into(), id.into());
        values.insert("merchant_key".into(), secret.into());
        if format!("{:?}", case.steps).contains("other") {
            let (id, secret) = self.merchant(target, &Map::new()).await?;
            values.insert("other_merchant".into(), id.into());
            values.insert("other_key".into(), secret.into());
        }
        Ok(values)
    }

    /// Makes a merchant and its API key over HTTP: `(id, secret)`.
    pub async fn merchant(
        &self,
        target: &Target,
        members: &Map<String, Value>,
    ) -> anyhow::Result<(String, String)> {
        let mut body = json!({"name": "Conformance"});
        if let Value::Object(body) = &mut body {
            body.extend(members.clone());
        }
        let id = self.admin_post(target, "/v1/merchants", &body, "id").await?;
        let secret =
            self.admin_post(target, &format!("/v1/merchants/{id}/api_keys"), &json!({}), "secret").await?;
        Ok((id, secret))
    }

    async fn admin_post(
        &self,
        target: &Target,
        path: &str,
        body: &Value,
        member: &str,
    ) -> anyhow::Result<String> {
        let headers = vec![
            ("authorization".into(), format!("Bearer {}", self.admin_token).into_bytes()),
            ("content-type".into(), b"application/json".to_vec()),
        ];
        let uri = format!("{}{path}", target.http);
        let outgoing = Outgoing {
            method: Method::POST,
            uri,
            headers,
            body: body.to_string().into(),
            chunked: false,
            stalls: false,
            items: 0,
        };
        let reply = from_http(Door::Http, self.wire.http(&outgoing, false).await?);
        let found = reply.body.as_ref().and_then(|body| body.get(member)?.text().map(str::to_owned));
        found.ok_or_else(|| anyhow!("POST {path} on {}: {}", target.name, reply.summary()))
    }

    async fn step<'a>(
        &'a self,
        case: &Case,
        earlier: &[StepRun],
        step: &Step,
        site: &Site,
        values: &mut Values,
        later: &mut Vec<Later<'a>>,
    ) -> anyhow::Result<StepRun> {
        let prepared = self.prepare(step, site, values)?;
        let begin = Instant::now();
        let reply = if step.twice {
            let (reply, other) = self.twice(site, &prepared).await?;
            later.push(other);
            reply
        } else {
            self.settled(step, site, &prepared).await?
        };
        // What the checks take is no matter of the service's.
        let took = begin.elapsed();
        let same = match &step.expect.same_as {
            Some(name) => Some(find(case, earlier, name)?),
            None => None,
        };
        let library = step.expect.library.is_some() && step.expect.library == reply.given_by_library();
        let loose = step.expect.loose || library;
        let mut faults = Vec::new();
        if !library {
            faults = check(&self.contract, &step.expect, prepared.operation, values, &reply, same);
        }
        if !loose {
            faults.extend(self.shape(&prepared, &reply));
        }
        if site.door.is_http() && !library {
            faults.extend(document::faults(&prepared.outgoing, &reply));
        }
        if !step.settle && took > LONGEST {
            faults.push(format!("took {} ms, and nothing in the case waits", took.as_millis()));
        }
        save(step, &reply, values)?;
        Ok(StepRun {
            operation: prepared
                .operation
                .map_or_else(|| "raw request".into(), |operation| operation.name().into()),
            target: site.target.name.clone(),
            door: site.door,
            request: prepared.describe(),
            reply,
            took,
            faults,
            loose,
        })
    }

    /// Sends, again where the step waits for something.
    async fn settled(&self, step: &Step, site: &Site, prepared: &Prepared<'_>) -> anyhow::Result<Reply> {
        let begin = Instant::now();
        loop {
            let sent = begin.elapsed();
            let reply = self.send(site, prepared).await?;
            // What is sent after the limit counts, however slow the machine is.
            if !step.settle || sent > settle_limit(step, &reply) || !waits(step, &reply) {
                return Ok(reply);
            }
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    /// Sends twice at once: the first reply, and what becomes the other.
    async fn twice<'a>(&'a self, site: &Site, prepared: &Prepared<'a>) -> anyhow::Result<(Reply, Later<'a>)> {
        let send = || {
            let (site, prepared) = (site.clone(), prepared.clone());
            async move { self.send(&site, &prepared).await }.boxed()
        };
        let (Either::Left((reply, other)) | Either::Right((reply, other))) = select(send(), send()).await;
        Ok((reply?, other))
    }

    /// Sends what was prepared.
    pub async fn send(&self, site: &Site, prepared: &Prepared<'_>) -> anyhow::Result<Reply> {
        if site.door.is_http() {
            let incomings = self.wire.http(&prepared.outgoing, site.door == Door::Http2).await?;
            return Ok(from_http(site.door, incomings));
        }
        let incomings = self.wire.grpc(&prepared.outgoing, prepared.streaming).await?;
        let success = prepared.operation.map_or(200, |operation| operation.status);
        Ok(from_grpc(&self.contract, incomings, prepared.output.as_ref(), success))
    }

    /// Sends a step that must succeed: the id of what it made.
    pub async fn make(&self, site: &Site, step: &Step, values: &Values) -> anyhow::Result<String> {
        let reply = self.send(site, &self.prepare(step, site, values)?).await?;
        let id = reply.body.as_ref().and_then(|body| body.get("id")?.text().map(str::to_owned));
        id.with_context(|| format!("expected success, got {}", reply.summary()))
    }

    /// Everything that is wrong with the form of the reply to what was prepared.
    pub fn shape(&self, prepared: &Prepared<'_>, reply: &Reply) -> Vec<String> {
        shape::faults(&self.contract, reply, prepared.output.as_ref(), prepared.versioned)
    }

    /// Turns a step into a request to a twin's door.
    pub fn prepare(&self, step: &Step, site: &Site, values: &Values) -> anyhow::Result<Prepared<'_>> {
        let operation = step.call.as_deref().map(|name| self.contract.operation(name)).transpose()?;
        let headers = self.headers(step, operation, site.door, values)?;
        if site.door.is_http() {
            return http_request(&self.contract, step, operation, site, values, headers);
        }
        let rpc = step.grpc.as_deref().or(operation.map(|operation| operation.rpc.as_str()));
        let rpc = rpc.ok_or_else(|| anyhow!("neither call nor grpc"))?;
        let method = self.contract.method(rpc).ok();
        let body = match (&step.hex, &method) {
            (Some(digits), _) => bytes(digits)?,
            (None, Some(method)) => message::from_json(&method.input(), &grpc_body(step, values)?)
                .map_err(|error| anyhow!(error))?
                .encode_to_vec(),
            (None, None) => Vec::new(),
        };
        let uri = format!("http://{}/{rpc}", site.target.grpc);
        Ok(Prepared {
            outgoing: Outgoing {
                method: Method::POST,
                uri,
                headers,
                body: body.into(),
                chunked: false,
                stalls: step.stalls,
                items: items(&self.contract, step, operation),
            },
            operation,
            output: method.as_ref().map(prost_reflect::MethodDescriptor::output),
            streaming: method.is_some_and(|method| method.is_server_streaming()),
            versioned: true,
        })
    }

    fn headers(
        &self,
        step: &Step,
        operation: Option<&Operation>,
        door: Door,
        values: &Values,
    ) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        let mut add = |name: &str, value: &str| -> anyhow::Result<()> {
            headers.push((name.into(), fill_text(value, values)?.into_bytes()));
            Ok(())
        };
        if door == Door::Grpc {
            add("content-type", "application/grpc")?;
            add("te", "trailers")?;
        } else {
            let posts =
                step.http.as_ref().map(|raw| raw.method.as_str()).or(operation.map(|o| o.method.as_str()))
                    == Some("POST");
            let usual = Many::Several(if posts { vec!["application/json".into()] } else { Vec::new() });
            for value in step.content_type.as_ref().unwrap_or(&usual).values() {
                add("content-type", value)?;
            }
        }
        let usual = match operation.map(|operation| operation.caller) {
            Some(Caller::Admin) => "admin",
            Some(Caller::Merchant) => "merchant",
            None => "none",
        };
        for value in step.auth.as_ref().unwrap_or(&Many::One(usual.into())).values() {
            match value.as_str() {
                "none" => {}
                "admin" => add("authorization", "Bearer ${admin_token}")?,
                "merchant" => add("authorization", "Bearer ${merchant_key}")?,
                "other" => add("authorization", "Bearer ${other_key}")?,
                raw => add("authorization", raw)?,
            }
        }
        let fresh = operation.is_some_and(|operation| operation.key == Key::Required).then(unique);
        let usual = Many::Several(fresh.into_iter().collect());
        for value in step.key.as_ref().unwrap_or(&usual).values() {
            add("idempotency-key", value)?;
        }
        if let Some(limit) = step.timeout_ms {
            if door == Door::Grpc {
                add("grpc-timeout", &format!("{limit}m"))?;
            } else {
                add("request-timeout-ms", &limit.to_string())?;
            }
        }
        for (name, value) in &step.headers {
            add(name, value)?;
        }
        Ok(headers)
    }
}

/// Keeps members of a reply for later steps; `@payment_id` is the payment that a gRPC error names.
fn save(step: &Step, reply: &Reply, values: &mut Values) -> anyhow::Result<()> {
    for (name, member) in &step.save {
        let named = || reply.payment_id.clone().filter(|_| member == "@payment_id").map(Value::String);
        let found =
            reply.body.as_ref().and_then(|body| body.at(member)).map(super::node::Node::value).or_else(named);
        let found = found.ok_or_else(|| anyhow!("no {member} to save as {name} in {}", reply.summary()))?;
        values.insert(name.clone(), found);
    }
    Ok(())
}

fn waits(step: &Step, reply: &Reply) -> bool {
    if is_revoked(step) {
        return !reply.is_error();
    }
    if step.expect.reason.as_deref() == Some("OVERLOADED") {
        return reply.reason() == Some("DEADLINE_EXCEEDED");
    }
    let there = |member: &String| reply.body.as_ref().is_some_and(|body| body.at(member).is_some());
    matches!(reply.reason(), Some("IDEMPOTENCY_IN_PROGRESS" | "PAYMENT_BUSY" | "OVERLOADED"))
        || (!reply.is_error() && !step.save.values().all(there))
}

fn settle_limit(step: &Step, reply: &Reply) -> Duration {
    match reply.reason() {
        _ if is_revoked(step) => REMEMBERED,
        Some("OVERLOADED") => PLACE_LIMIT,
        _ => SETTLE_LIMIT,
    }
}

fn is_revoked(step: &Step) -> bool {
    step.expect.reason.as_deref() == Some("UNAUTHENTICATED")
}

fn find<'a>(case: &Case, earlier: &'a [StepRun], name: &str) -> anyhow::Result<&'a Reply> {
    let place = case.steps.iter().position(|step| step.name.as_deref() == Some(name));
    let run = place
        .and_then(|place| earlier.get(place))
        .ok_or_else(|| anyhow!("no earlier step is named {name}"))?;
    Ok(&run.reply)
}

fn grpc_body(step: &Step, values: &Values) -> anyhow::Result<Value> {
    let mut body = fill(step.body.as_ref().unwrap_or(&json!({})), values)?;
    if let Value::Object(members) = &mut body {
        for (name, value) in &step.path {
            members.insert(name.clone(), fill_text(value, values)?.into());
        }
        for (name, value) in &step.params {
            members.insert(message::member(name).to_owned(), fill(value, values)?);
        }
    }
    Ok(body)
}

fn http_request<'a>(
    contract: &Contract,
    step: &Step,
    operation: Option<&'a Operation>,
    site: &Site,
    values: &Values,
    headers: Vec<(String, Vec<u8>)>,
) -> anyhow::Result<Prepared<'a>> {
    let (method, mut path) = match (&step.http, operation) {
        (Some(raw), _) => (raw.method.as_str(), fill_text(&raw.path, values)?),
        (None, Some(operation)) => (operation.method.as_str(), operation.path.clone()),
        (None, None) => anyhow::bail!("neither call nor http"),
    };
    for (name, value) in &step.path {
        path = path.replace(&format!("{{{name}}}"), &fill_text(value, values)?);
    }
    if let Some(query) = &step.query {
        path = format!("{path}?{}", fill_text(query, values)?);
    }
    for (index, (name, value)) in step.params.iter().enumerate() {
        let value = fill(value, values)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mark = if index == 0 { '?' } else { '&' };
        path = format!("{path}{mark}{name}={}", utf8_percent_encode(&text, NON_ALPHANUMERIC));
    }
    let body: Bytes = match (&step.body, &step.text, &step.hex) {
        (Some(value), _, _) => fill(value, values)?.to_string().into(),
        (_, Some(text), _) => fill_bytes(text, values)?.into(),
        (_, _, Some(digits)) => bytes(digits)?.into(),
        (None, None, None) => Bytes::new(),
    };
    let versioned = path.starts_with("/v1/");
    Ok(Prepared {
        outgoing: Outgoing {
            method: method.parse()?,
            uri: format!("{}{path}", site.target.http),
            headers,
            body,
            chunked: step.chunked,
            stalls: step.stalls,
            items: items(contract, step, operation),
        },
        operation,
        output: operation
            .and_then(|operation| contract.method(&operation.rpc).ok())
            .map(|method| method.output()),
        streaming: false,
        versioned,
    })
}

/// How much of a stream is read; 0 where the operation has none.
fn items(contract: &Contract, step: &Step, operation: Option<&Operation>) -> usize {
    let method = operation.and_then(|operation| contract.method(&operation.rpc).ok());
    if method.is_some_and(|method| method.is_server_streaming()) { step.items.unwrap_or(1) } else { 0 }
}

/// Of hex digits, with blanks between them for the reader.
fn bytes(digits: &str) -> anyhow::Result<Vec<u8>> {
    hex::decode(digits.replace(' ', "")).context("hex")
}

/// A request in a few lines, long values cut.
fn describe(outgoing: &Outgoing) -> String {
    let headers: Vec<_> = outgoing
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", cut(&String::from_utf8_lossy(value))))
        .collect();
    let body = match std::str::from_utf8(&outgoing.body) {
        Ok(text) if !outgoing.headers.iter().any(|(name, _)| name == "te") => cut(text),
        _ => format!("{} bytes: {}", outgoing.body.len(), cut(&hex::encode(&outgoing.body))),
    };
    format!("{} {} [{}] {body}", outgoing.method, cut(&outgoing.uri), headers.join(", "))
}

fn cut(text: &str) -> String {
    const SHOWN: usize = 600;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
