//! HTTP requests and replies against `proto/openapi.json`: the status, the headers and the body of every reply are documented, and a
//! request that was done is one that the document allows.

mod compile;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::Method;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::reply::Reply;
use super::wire::Outgoing;

/// What both twins serve.
pub const TEXT: &str = include_str!("../../../../proto/openapi.json");
/// Headers of HTTP itself, which belong to no operation.
const TRANSPORT: [&str; 5] = ["connection", "content-length", "content-type", "date", "transfer-encoding"];

static DOCUMENT: LazyLock<Result<Document, String>> =
    LazyLock::new(|| Document::compile(TEXT).map_err(|error| format!("proto/openapi.json: {error:#}")));

/// Everything in which an exchange isn't as documented: each fault names the operation, the status and the JSON pointer.
pub fn faults(sent: &Outgoing, reply: &Reply) -> Vec<String> {
    match &*DOCUMENT {
        Ok(document) => document.faults(sent, reply),
        Err(error) => vec![error.clone()],
    }
}

/// A document whose schemas are compiled.
pub struct Document {
    text: String,
    paths: Vec<(String, BTreeMap<String, Operation>)>,
    /// For a path that isn't documented.
    no_route: Answer,
    /// For a path's other methods, where the path is below /v1/ and where it isn't.
    no_method: [Answer; 2],
}

struct Operation {
    parameters: Vec<Parameter>,
    body: Option<Validator>,
    answers: BTreeMap<String, Answer>,
}

struct Parameter {
    place: String,
    value: Named,
}

struct Answer {
    headers: Vec<Named>,
    content: Option<(String, Validator)>,
}

/// A header or a parameter.
struct Named {
    name: String,
    required: bool,
    schema: Validator,
}

impl Document {
    /// As the function of this name.
    pub fn faults(&self, sent: &Outgoing, reply: &Reply) -> Vec<String> {
        let target = target(&sent.uri);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut faults = Vec::new();
        let Some((template, operations)) = self.path(path) else {
            check_reply(&self.no_route, sent, reply, &mut faults);
            return named(faults, "a path that isn't documented", reply.status);
        };
        let what = format!("{} {template}", sent.method);
        let Some(operation) = operations.get(sent.method.as_str()) else {
            let allowed = operations.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let place = usize::from(!template.starts_with("/v1/"));
            check_reply(&self.no_method[place], sent, reply, &mut faults);
            if reply.header("allow").as_deref() != Some(&allowed) {
                faults.push(format!("Allow is {:?}, documented are {allowed}", reply.header("allow")));
            }
            return named(faults, &what, reply.status);
        };
        match operation.answers.get(&reply.status.to_string()) {
            Some(answer) => check_reply(answer, sent, reply, &mut faults),
            None => faults.push("the status isn't documented".into()),
        }
        if reply.status < 400 {
            check_request(operation, template, path, query, sent, &mut faults);
        }
        if template == "/openapi.json" && reply.status == 200 && reply.text != self.text {
            faults.push("isn't proto/openapi.json, byte for byte".into());
        }
        named(faults, &what, reply.status)
    }

    /// The path's template; one without parameters comes first.
    fn path(&self, path: &str) -> Option<(&str, &BTreeMap<String, Operation>)> {
        let fits = |template: &str| {
            let (wanted, found) = (template.split('/'), path.split('/'));
            wanted.clone().count() == found.clone().count()
                && wanted.zip(found).all(|(wanted, found)| {
                    wanted == found || parameter(wanted).is_some() && !found.is_empty()
                })
        };
        let fitting = self.paths.iter().filter(|(template, _)| fits(template));
        fitting
            .min_by_key(|(template, _)| template.matches('{').count())
            .map(|(template, operations)| (template.as_str(), operations))
    }
}

/// Path and query of a URL.
fn target(uri: &str) -> &str {
    let begin = uri.find("://").map_or(0, |place| place + 3);
    uri[begin..].find('/').map_or("/", |place| &uri[begin + place..])
}

fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn named(faults: Vec<String>, what: &str, status: u16) -> Vec<String> {
    faults.into_iter().map(|fault| format!("openapi: {what}, {status}: {fault}")).collect()
}

fn check_reply(answer: &Answer, sent: &Outgoing, reply: &Reply, faults: &mut Vec<String>) {
    for header in &answer.headers {
        let values: Vec<_> =
            reply.headers.get_all(&header.name).iter().map(http::HeaderValue::as_bytes).collect();
        check_named(header, &values, "the header", faults);
    }
    for name in reply.headers.keys().map(http::HeaderName::as_str).filter(|name| !TRANSPORT.contains(name)) {
        if !answer.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name)) {
            faults.push(format!("the header {name} isn't documented"));
        }
    }
    let Some((media, schema)) = &answer.content else {
        if !reply.text.is_empty() {
            faults.push("a body where none is documented".into());
        }
        return;
    };
    if reply.header("content-type").as_deref() != Some(media) {
        faults.push(format!("the content type is {:?}, documented is {media}", reply.header("content-type")));
    }
    if sent.method == Method::HEAD {
        return;
    }
    let body = match (&reply.body, media.ends_with("json")) {
        (Some(node), true) => node.value(),
        (_, _) => Value::String(reply.text.clone()),
    };
    check(schema, &body, "/", faults);
}

/// A request that was done.
fn check_request(
    operation: &Operation,
    template: &str,
    path: &str,
    query: &str,
    sent: &Outgoing,
    faults: &mut Vec<String>,
) {
    let pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name, Cow::from(percent_decode_str(value))))
        .collect();
    for Parameter { place, value } in &operation.parameters {
        let values: Vec<&[u8]> = match place.as_str() {
            "path" => {
                let segments = template.split('/').zip(path.split('/'));
                segments
                    .filter(|(wanted, _)| parameter(wanted) == Some(&value.name))
                    .map(|(_, found)| found.as_bytes())
                    .collect()
            }
            "query" => {
                pairs.iter().filter(|(name, _)| *name == value.name).map(|(_, found)| &**found).collect()
            }
            _ => {
                let headers = sent.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&value.name));
                headers.map(|(_, found)| found.as_slice()).collect()
            }
        };
        check_named(value, &values, &format!("the request was done, its {place} parameter"), faults);
    }
    for (name, _) in &pairs {
        if !operation.parameters.iter().any(|known| known.place == "query" && known.value.name == *name) {
            faults.push(format!(
                "the request was done with the query parameter {name}, which isn't documented"
            ));
        }
    }
    match (&operation.body, sent.body.is_empty()) {
        (None, true) => {}
        (None, false) => faults.push("the request was done with a body, and none is documented".into()),
        (Some(schema), empty) => {
            let body = if empty { Ok(json!({})) } else { serde_json::from_slice(&sent.body) };
            match body {
                Ok(body) => check(schema, &body, "the request was done, its body /", faults),
                Err(error) => faults.push(format!("the request was done, its body isn't JSON: {error}")),
            }
        }
    }
}

fn check_named(named: &Named, values: &[&[u8]], what: &str, faults: &mut Vec<String>) {
    let name = &named.name;
    match values {
        [] if named.required => faults.push(format!("{what} {name} is missing")),
        [] => {}
        [value] => {
            // What comes as text may be documented as a number.
            let text = String::from_utf8_lossy(value).into_owned();
            let number = text.parse::<i64>().ok().map(Value::from);
            let fits = |value: &Value| named.schema.is_valid(value);
            if !fits(&Value::String(text.clone())) && !number.as_ref().is_some_and(fits) {
                faults.push(format!("{what} {name} is {text:?}, which isn't as documented"));
            }
        }
        [_, ..] => faults.push(format!("{what} {name} is there {} times", values.len())),
    }
}

fn check(schema: &Validator, value: &Value, at: &str, faults: &mut Vec<String>) {
    for error in schema.iter_errors(value) {
        tell(&error, at, faults);
    }
}

/// Of several forms the one that fits best says what is wrong.
fn tell(error: &ValidationError<'_>, at: &str, faults: &mut Vec<String>) {
    let best = if let ValidationErrorKind::OneOfNotValid { context } = error.kind() {
        context.iter().min_by_key(|errors| errors.len())
    } else {
        None
    };
    match best {
        Some(errors) => errors.iter().for_each(|error| tell(error, at, faults)),
        None => {
            let pointer = error.instance_path().as_str().trim_start_matches('/');
            faults.push(format!("{at}{pointer}: {}", error.masked()));
        }
    }
}
