//! What a scenario of the workload `plain` writes down: its requests, and what is drawn for them.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::template::{Template, check_name};
use super::workload::{ABOUT, FLOW, NAME};
use crate::draw::Draw;
use crate::scenario::{Fault, Scenario};

/// The name that each request has a value of its own for: the same on both services, and in no other trace.
pub const REQUEST: &str = "request";
/// Beyond this a draw would not be even.
const SPAN_MAX: u64 = 1_000_000_000_000;
const HEX_MAX: usize = 64;

/// Where a drawn value comes from: exactly one of `from` and `to`, `hex`, `of`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A whole number from here on …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// … up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
    /// An id of so many hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<usize>,
    /// One of these texts and numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<Value>,
    /// How often it is drawn.
    #[serde(default)]
    pub each: Each,
}

/// How often a value is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Each {
    /// Once: all of a flow's steps have the same.
    #[default]
    Flow,
    /// For each step.
    Request,
}

/// A request, in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestSpec {
    /// As steps of flows name it.
    pub name: String,
    /// Its method.
    #[serde(default = "get")]
    pub method: String,
    /// Path and query; values are percent-encoded.
    pub path: String,
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Values are escaped as inside of a JSON text where a header says that it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Statuses of a reply as expected.
    #[serde(default = "ok")]
    pub expect: Vec<u16>,
    /// Statuses that refuse for want of capacity: counted, not timed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shed: Vec<u16>,
    /// What parts of the reply have to be, by JSON pointer; looked at in a sample of the replies.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub check: BTreeMap<String, String>,
    /// Names for what later requests need from the reply, by JSON pointer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub save: BTreeMap<String, String>,
}

fn get() -> String {
    "GET".into()
}

fn ok() -> Vec<u16> {
    vec![200]
}

impl Source {
    /// A value from it.
    pub fn draw(&self, draw: &mut Draw) -> Value {
        if let (Some(from), Some(to)) = (self.from, self.to) {
            return (from + draw.below(to.abs_diff(from) + 1).cast_signed()).into();
        }
        if let Some(digits) = self.hex {
            let digit = |_| char::from_digit(draw.below(16) as u32, 16).unwrap_or('0');
            return (0..digits).map(digit).collect::<String>().into();
        }
        self.of[draw.below(self.of.len() as u64) as usize].clone()
    }

    fn check(&self) -> Result<(), String> {
        let simple = |value: &Value| value.is_string() || value.is_number();
        match (self.from, self.to, self.hex, self.of.as_slice()) {
            (Some(from), Some(to), None, []) if from <= to && to.abs_diff(from) < SPAN_MAX => Ok(()),
            (Some(from), Some(to), None, []) => {
                Err(format!("from {from} to {to}: must be upwards, and at most {SPAN_MAX} numbers"))
            }
            (None, None, Some(1..=HEX_MAX), []) => Ok(()),
            (None, None, Some(digits), []) => Err(format!("hex: must be 1 to {HEX_MAX} digits, is {digits}")),
            (None, None, None, [_, ..]) if self.of.iter().all(simple) => Ok(()),
            (None, None, None, [_, ..]) => Err("of: must be texts and numbers".into()),
            _ => Err("must have one of: from and to, hex, of".into()),
        }
    }
}

impl RequestSpec {
    /// All of its texts that may have names in them.
    pub fn templates(&self) -> Result<Vec<Template>, Fault> {
        let parse = |field: String, text: &str| Template::parse(text).map_err(|problem| (field, problem));
        let mut all = vec![parse("path".into(), &self.path)?];
        for (name, value) in &self.headers {
            all.push(parse(format!("headers.{name}"), value)?);
        }
        if let Some(body) = &self.body {
            all.push(parse("body".into(), body)?);
        }
        for (pointer, value) in &self.check {
            all.push(parse(format!("check.{pointer}"), value)?);
        }
        Ok(all)
    }

    /// Names in it, each once. It was checked: what can't be parsed has none.
    pub fn names(&self) -> BTreeSet<String> {
        let templates = self.templates().unwrap_or_default();
        templates.iter().flat_map(|template| template.names().map(String::from)).collect()
    }

    fn check(&self) -> Result<(), Fault> {
        let fail = |field: &str, problem: String| Err((field.to_owned(), problem));
        if self.name.is_empty() {
            return fail("name", "is missing".into());
        }
        if Method::from_bytes(self.method.as_bytes()).is_err() || self.method != self.method.to_uppercase() {
            return fail("method", format!("`{}` is no method", self.method));
        }
        // As a value might fill it.
        let filled = self.path.replace("${", "").replace('}', "");
        if !self.path.starts_with('/') || filled.parse::<http::uri::PathAndQuery>().is_err() {
            return fail("path", format!("`{}` is no path: it begins with / and has no spaces", self.path));
        }
        for (name, value) in &self.headers {
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
                return fail(&format!("headers.{name}"), "is no header".into());
            }
        }
        for (field, statuses) in [("expect", &self.expect), ("shed", &self.shed)] {
            if let Some(status) = statuses.iter().find(|status| !(200..=599).contains(*status)) {
                return fail(field, format!("{status} is no status of a reply: 200 to 599"));
            }
        }
        if self.expect.is_empty() {
            return fail("expect", "must name at least one status".into());
        }
        for (name, pointer) in &self.save {
            check_name(name).map_err(|problem| (format!("save.{name}"), problem))?;
            if !pointer.starts_with('/') {
                return fail(&format!("save.{name}"), format!("`{pointer}` is no JSON pointer, such as /id"));
            }
        }
        if let Some(pointer) = self.check.keys().find(|pointer| !pointer.starts_with('/')) {
            return fail("check", format!("`{pointer}` is no JSON pointer, such as /id"));
        }
        self.templates().map(drop)
    }
}

/// Checks all that a scenario says of its requests: the field, and what is wrong with it. Another workload's has none.
pub fn check(scenario: &Scenario) -> Result<(), Fault> {
    let Scenario { requests, draw, doors, flows, warm_up_flows, .. } = scenario;
    if scenario.workload != NAME {
        let of_plain = |field: &str| Err((field.to_owned(), format!("only the workload {NAME} has them")));
        return if !requests.is_empty() {
            of_plain("requests")
        } else if !draw.is_empty() {
            of_plain("draw")
        } else {
            Ok(())
        };
    }
    if requests.is_empty() {
        return Err(("requests".into(), "must name at least one".into()));
    }
    if doors.grpc > 0 {
        return Err(("doors.grpc".into(), format!("the workload {NAME} speaks HTTP only")));
    }
    for (name, source) in draw {
        let field = format!("draw.{name}");
        check_name(name).and_then(|()| source.check()).map_err(|problem| (field.clone(), problem))?;
        if [REQUEST, FLOW, ABOUT].contains(&name.as_str()) {
            return Err((field, "is a name of loadtest’s own: request, flow, about".into()));
        }
    }
    for (index, request) in requests.iter().enumerate() {
        let at = |(field, problem): Fault| (format!("requests[{index}].{field}"), problem);
        request.check().map_err(at)?;
        if requests[..index].iter().any(|earlier| earlier.name == request.name) {
            return Err(at(("name".into(), format!("`{}` is the name of an earlier one", request.name))));
        }
        let taken = request.save.keys().find(|name| draw.contains_key(*name) || *name == REQUEST);
        if let Some(name) = taken {
            return Err(at((format!("save.{name}"), "is drawn already".into())));
        }
    }
    let saved: BTreeSet<_> = requests.iter().flat_map(|request| request.save.keys()).collect();
    for (index, request) in requests.iter().enumerate() {
        let unknown = |name: &String| !draw.contains_key(name) && !saved.contains(name) && name != REQUEST;
        if let Some(name) = request.names().into_iter().find(unknown) {
            return Err((
                format!("requests[{index}]"),
                format!("`${{{name}}}` is neither drawn nor saved by any request, nor `${{{REQUEST}}}`"),
            ));
        }
    }
    let made: BTreeSet<_> = warm_up_flows.iter().flat_map(|flow| saved_by(requests, &flow.steps)).collect();
    for (group, flows, there) in [("warm_up_flows", warm_up_flows, BTreeSet::new()), ("flows", flows, made)] {
        for (index, flow) in flows.iter().enumerate() {
            check_steps(requests, &flow.steps, there.clone())
                .map_err(|(step, problem)| (format!("{group}[{index}].steps[{step}]"), problem))?;
        }
    }
    Ok(())
}

/// Names that the replies to these steps save.
fn saved_by(requests: &[RequestSpec], steps: &[String]) -> Vec<String> {
    let find = |name: &String| requests.iter().find(|request| request.name == *name);
    steps.iter().filter_map(find).flat_map(|request| request.save.keys().cloned()).collect()
}

/// That each step's names are saved before it, or are `there` already. Unknown steps are the trace's to refuse.
fn check_steps(
    requests: &[RequestSpec],
    steps: &[String],
    mut there: BTreeSet<String>,
) -> Result<(), (usize, String)> {
    let find = |name: &String| requests.iter().find(|request| request.name == *name);
    for (step, request) in steps.iter().enumerate().filter_map(|(step, name)| Some((step, find(name)?))) {
        let savers =
            |name: &String| requests.iter().filter(|request| request.save.contains_key(name)).count();
        if let Some(name) = request.names().into_iter().find(|name| savers(name) > 0 && !there.contains(name))
        {
            return Err((step, format!("`{}` needs a step before it that saves `{name}`", request.name)));
        }
        there.extend(request.save.keys().cloned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Overrides;

    const GOOD: &str = include_str!("../../scenarios/plain-example.toml");

    fn refusal(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        let read = Scenario::parse("x.toml", "x", &text, &Overrides::default());
        read.expect_err("refused").to_string()
    }

    #[test]
    fn each_refusal_names_the_field_and_what_is_wrong() {
        let cases = [
            ("method = \"POST\"", "method = \"post it\"", "requests[0].method: `post it` is no method"),
            ("path = \"/orders\"", "path = \"orders\"", "requests[0].path: `orders` is no path"),
            ("expect = [201]", "expect = [20]", "requests[0].expect: 20 is no status of a reply"),
            ("expect = [201]", "expect = []", "requests[0].expect: must name at least one status"),
            ("expect = [201]", "expects = [201]", "requests[0].expects: unknown field `expects`"),
            ("order = \"/id\"", "order = \"id\"", "requests[0].save.order: `id` is no JSON pointer"),
            ("\"/amount\" =", "\"amount\" =", "requests[0].check: `amount` is no JSON pointer"),
            ("order = \"/id\"", "amount = \"/id\"", "requests[0].save.amount: is drawn already"),
            ("${amount}", "${amonut}", "requests[0]: `${amonut}` is neither drawn nor saved"),
            (
                "name = \"read\"",
                "name = \"create\"",
                "requests[1].name: `create` is the name of an earlier one",
            ),
            ("from = 100", "from = 100000", "draw.amount: from 100000 to 50000: must be upwards"),
            ("from = 100, to = 50000", "from = 100", "draw.amount: must have one of: from and to, hex, of"),
            ("customer = { hex", "flow = { hex", "draw.flow: is a name of loadtest’s own"),
            (
                "arrivals =",
                "doors = { grpc = 1 }\narrivals =",
                "doors.grpc: the workload plain speaks HTTP only",
            ),
            ("hex = 12", "hex = 0", "draw.customer: hex: must be 1 to 64 digits, is 0"),
            (
                "[\"create\", \"read\"]",
                "[\"read\"]",
                "flows[0].steps[0]: `read` needs a step before it that saves `order`",
            ),
        ];
        for (from, to, wanted) in cases {
            let said = refusal(from, to);
            assert!(said.starts_with(&format!("x.toml: {wanted}")) && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn draws_are_within_their_bounds_and_reach_them() {
        let source = |text: &str| toml::from_str::<Source>(text).unwrap();
        let mut draw = Draw::new(1, "test");
        let mut many = |source: &Source| (0..500).map(|_| source.draw(&mut draw)).collect::<Vec<_>>();
        let numbers = many(&source("from = -1\nto = 2"));
        for wanted in -1..=2 {
            assert!(numbers.contains(&wanted.into()), "{wanted}");
        }
        assert!(numbers.iter().all(|number| (-1..=2).contains(&number.as_i64().unwrap())));
        let ids = many(&source("hex = 8"));
        let hex = |id: &Value| {
            id.as_str().is_some_and(|id| id.len() == 8 && id.chars().all(|c| c.is_ascii_hexdigit()))
        };
        assert!(ids.iter().all(hex), "{ids:?}");
        let choices = many(&source("of = [\"EUR\", 7]"));
        assert!(choices.contains(&"EUR".into()) && choices.contains(&7.into()));
    }
}
