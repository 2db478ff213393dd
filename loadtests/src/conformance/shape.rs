//! What every reply must look like, whatever its case says: members in declared order, ids with their prefix, times with
//! six digits, the texts of `proto/errors.toml`, and the headers that the contract gives to all.

use std::sync::LazyLock;

use prost_reflect::{FieldDescriptor, MessageDescriptor};
use regex::Regex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::contract::Contract;
use super::message::{is_paged, objects};
use super::node::Node;
use super::normal::Normaliser;
use super::reply::Reply;
use super::stream;

/// Headers that must be the same on both twins.
pub const COMPARED: [&str; 6] =
    ["content-type", "retry-after", "allow", "www-authenticate", "idempotency-replayed", "cache-control"];
/// The members of a problem, in order.
const PROBLEM: [&str; 10] = [
    "type",
    "title",
    "status",
    "detail",
    "reason",
    "violations",
    "decline_reason",
    "current_state",
    "allowed_states",
    "payment",
];
/// The members of a list, in order.
const LIST: [&str; 3] = ["data", "has_more", "next_cursor"];
/// The members of an event, in order.
const EVENT: [&str; 5] = ["id", "type", "sequence", "created_at", "data"];
const NO_CONTENT: u16 = 204;
const PAYMENT: &str = "payments.v1.Payment";

static ID: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("^[a-z]{2,3}_[0-7][0-9a-hjkmnp-tv-z]{25}$").ok());
static TIME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$").ok());
static DIGITS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("[0-9]{13}").ok());
static SUM: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#""(?:acquirer_receivable|merchant_payable|fee_income)":-?[0-9]+"#).ok());
static SECRET: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("^tp_live_[0-9a-z]{26}_[0-9a-f]{64}$").ok());
static WEBHOOK_SECRET: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("^whsec_[0-9A-Za-z+/]{43}=$").ok());

fn is(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// No amount, year or count has as many digits as a card number; ids, secrets and sums of amounts are taken out before.
fn shows_card(text: &str) -> bool {
    let text = Normaliser::default().apply(text);
    SUM.as_ref().is_some_and(|sum| is(&DIGITS, &sum.replace_all(&text, "")))
}

/// Everything that is wrong with the form of a reply. `output` is the message of success.
pub fn faults(
    contract: &Contract,
    reply: &Reply,
    output: Option<&MessageDescriptor>,
    versioned: bool,
) -> Vec<String> {
    let mut faults = reply.faults.clone();
    if !reply.header("request-id").is_some_and(|id| id.starts_with("req_") && is(&ID, &id)) {
        faults.push(format!("request-id is {:?}", reply.header("request-id")));
    }
    if reply.header("idempotency-replayed").is_some_and(|value| value != "true") {
        faults.push("idempotency-replayed is neither true nor absent".into());
    }
    if reply.door.is_http() {
        http_headers(contract, reply, output, versioned, &mut faults);
    }
    if shows_card(&reply.text) {
        faults.push("a number as long as a card's in the reply".into());
    }
    match (&reply.body, output) {
        (Some(body), _) if reply.is_error() => problem(contract, reply, body, &mut faults),
        (Some(body), Some(output)) if output.name() == stream::OUTPUT => told(contract, body, &mut faults),
        (Some(body), Some(output)) => match objects(output) {
            Some(objects) => list(contract, output, &objects, body, &mut faults),
            None => object(output, body, "", &mut faults),
        },
        _ => {}
    }
    faults
}

fn http_headers(
    contract: &Contract,
    reply: &Reply,
    output: Option<&MessageDescriptor>,
    versioned: bool,
    faults: &mut Vec<String>,
) {
    let mut want = |name: &str, wanted: Option<String>| {
        let found = reply.header(name);
        if found != wanted {
            faults.push(format!("{name} is {found:?}, not {wanted:?}"));
        }
    };
    if versioned {
        want("cache-control", Some("no-store".into()));
    }
    let kind = match output {
        _ if reply.is_error() => "application/problem+json",
        Some(output) if output.name() == stream::OUTPUT => "text/event-stream",
        _ => "application/json",
    };
    want("content-type", (reply.status != NO_CONTENT).then(|| kind.into()));
    let row = reply.reason().and_then(|reason| contract.errors.row(reason));
    want("retry-after", row.and_then(|row| row.retry_after).map(|seconds| seconds.to_string()));
    want("www-authenticate", (reply.status == 401).then(|| "Bearer".into()));
    if reply.headers.contains_key("allow") != (reply.status == 405) {
        faults.push(format!("allow is {:?} with status {}", reply.header("allow"), reply.status));
    }
}

fn problem(contract: &Contract, reply: &Reply, body: &Node, faults: &mut Vec<String>) {
    let Some(reason) = reply.reason() else {
        if reply.door.is_http() {
            faults.push("an error without a reason".into());
        }
        return;
    };
    let Some(row) = contract.errors.row(reason) else {
        faults.push(format!("the reason {reason} isn't in proto/errors.toml"));
        return;
    };
    let mut want = |name: &str, wanted: &str| {
        let found = body.get(name).map(|node| node.text().map_or_else(|| node.to_string(), str::to_owned));
        if found.as_deref() != Some(wanted) {
            faults.push(format!("{name} is {found:?}, not {wanted:?}"));
        }
    };
    want("type", &contract.errors.type_uri(reason));
    want("title", &row.title);
    want("status", &row.status.to_string());
    want("detail", &row.detail);
    if reply.status != row.status {
        faults.push(format!("{reason} comes with status {}, not {}", reply.status, row.status));
    }
    ordered(&body.names(), &PROBLEM, "", faults);
    let has = |name: &str| body.get(name).is_some();
    let mut belongs = |name: &str, wanted: bool| {
        if has(name) != wanted {
            faults.push(format!("{reason} {} {name}", if wanted { "lacks" } else { "has" }));
        }
    };
    belongs("violations", reason == "VALIDATION_FAILED");
    belongs("decline_reason", reason == "CARD_DECLINED");
    belongs("current_state", reason == "PAYMENT_STATE_INVALID");
    belongs("allowed_states", reason == "PAYMENT_STATE_INVALID");
    belongs("payment", row.status == 402 && reply.door.is_http());
    if let (Some(payment), Some(output)) = (body.get("payment"), contract.pool.get_message_by_name(PAYMENT)) {
        object(&output, payment, "payment.", faults);
    }
}

/// A list: its objects newest first and none twice, and a cursor exactly where there is more.
fn list(
    contract: &Contract,
    output: &MessageDescriptor,
    objects: &FieldDescriptor,
    body: &Node,
    faults: &mut Vec<String>,
) {
    let paged = is_paged(output);
    ordered(&body.names(), if paged { &LIST } else { &LIST[..1] }, "", faults);
    let Some(Node::List(items)) = body.get("data") else {
        faults.push("data isn't a list".into());
        return;
    };
    if let Some(inner) = objects.kind().as_message() {
        for (index, item) in items.iter().enumerate() {
            let path = format!("data.{index}.");
            match inner.name() {
                "Event" => event(contract, item, &path, faults),
                _ => object(inner, item, &path, faults),
            }
        }
    }
    if !paged {
        return;
    }
    let more = body.get("has_more") == Some(&Node::Bool(true));
    if !more && body.get("has_more") != Some(&Node::Bool(false)) || more != body.get("next_cursor").is_some()
    {
        faults.push("has_more isn't true with a next_cursor and false without".into());
    }
    // An id grows with time, and so does its text; events have a sequence, in which a longer number is a larger one.
    let places = items.iter().filter_map(|item| item.get("sequence").or_else(|| item.get("id")));
    let places: Vec<_> = places.map(|place| (place.to_string().len(), place.to_string())).collect();
    if places.windows(2).any(|pair| pair[0] <= pair[1]) {
        let shown: Vec<_> = places.iter().map(|(_, place)| place.as_str()).collect();
        faults.push(format!("data isn't newest first, or something is there twice: {}", shown.join(", ")));
    }
}

/// A stream: a heartbeat first, then events whose objects are whole and whose sequence has no gap.
fn told(contract: &Contract, body: &Node, faults: &mut Vec<String>) {
    let Some(Node::List(items)) = body.get("items") else {
        faults.push("no items".into());
        return;
    };
    if items.first().is_none_or(|first| first.get("heartbeat").is_none()) {
        faults.push("the first item isn't a heartbeat".into());
    }
    let events: Vec<_> = items.iter().filter_map(|item| item.get("event")).collect();
    for (index, told) in events.iter().enumerate() {
        event(contract, told, &format!("event {index}: "), faults);
    }
    let sequences: Vec<_> =
        events.iter().filter_map(|event| event.get("sequence")?.to_string().parse::<i64>().ok()).collect();
    if sequences.len() != events.len() || sequences.windows(2).any(|pair| pair[1] != pair[0] + 1) {
        faults.push(format!("the sequence is {sequences:?}"));
    }
}

/// An event: its envelope, and in it a payment or a refund.
fn event(contract: &Contract, body: &Node, path: &str, faults: &mut Vec<String>) {
    ordered(&body.names(), &EVENT, path, faults);
    let [id, at, kind] =
        ["id", "created_at", "type"].map(|name| body.get(name).and_then(Node::text).unwrap_or_default());
    if !(id.starts_with("evt_") && is(&ID, id) && is(&TIME, at)) {
        faults.push(format!("{path}the id is {id:?} and the time {at:?}"));
    }
    let message = if kind.starts_with("refund.") { "payments.v1.Refund" } else { PAYMENT };
    match (body.at("data.object"), contract.pool.get_message_by_name(message)) {
        (Some(told), Some(output)) => object(&output, told, &format!("{path}data.object."), faults),
        _ => faults.push(format!("{path}data.object is missing")),
    }
}

/// An object against its message: no unknown member, none out of order, ids and times well-formed.
fn object(output: &MessageDescriptor, body: &Node, path: &str, faults: &mut Vec<String>) {
    let fields: Vec<_> = output.fields().collect();
    let declared: Vec<_> = fields.iter().map(|field| field.name()).collect();
    ordered(&body.names(), &declared, path, faults);
    for field in &fields {
        let Some(node) = body.get(field.name()) else {
            let optional = field.supports_presence() || field.is_map() || field.kind().as_enum().is_some();
            if !optional {
                faults.push(format!("{path}{} is missing", field.name()));
            }
            continue;
        };
        let name = format!("{path}{}", field.name());
        match (field.kind().as_message(), node) {
            (_, Node::Null) => faults.push(format!("{name} is null")),
            (Some(inner), Node::Text(text)) if inner.name() == "Timestamp" && !is(&TIME, text) => {
                faults.push(format!("{name} is {text:?}, not a time with six digits"));
            }
            (Some(_), Node::Object(_)) if field.is_map() => sorted(&name, node, faults),
            (Some(inner), Node::Object(_)) => object(inner, node, &format!("{name}."), faults),
            _ => {}
        }
    }
    ids(output, body, path, faults);
    if output.full_name() == PAYMENT {
        times(body, path, faults);
    }
}

fn ordered(found: &[&str], declared: &[&str], path: &str, faults: &mut Vec<String>) {
    let places: Vec<_> = found.iter().map(|name| declared.iter().position(|known| known == name)).collect();
    for (name, place) in found.iter().zip(&places) {
        if place.is_none() {
            faults.push(format!("{path}{name} isn't a documented member"));
        }
    }
    if !places.is_sorted() {
        faults.push(format!("members of {path}* are out of order: {}", found.join(", ")));
    }
}

fn sorted(name: &str, node: &Node, faults: &mut Vec<String>) {
    if !node.names().iter().map(|name| name.as_bytes()).is_sorted() {
        faults.push(format!("{name} isn't sorted by the bytes of its keys: {node}"));
    }
}

fn ids(output: &MessageDescriptor, body: &Node, path: &str, faults: &mut Vec<String>) {
    let own = match output.name() {
        "Merchant" => "mer_",
        "ApiKey" => "key_",
        "PaymentToken" => "ptk_",
        "Payment" => "pay_",
        "Refund" => "ref_",
        "LedgerEntry" => "ent_",
        "WebhookEndpoint" => "whe_",
        _ => return,
    };
    let others =
        [("merchant_id", "mer_"), ("payment_token", "ptk_"), ("operation", "op_"), ("payment", "pay_")];
    for (member, prefix) in others.into_iter().chain([("id", own)]) {
        if let Some(text) = body.get(member).and_then(Node::text)
            && !(text.starts_with(prefix) && is(&ID, text))
        {
            faults.push(format!("{path}{member} is {text:?}, not an id with {prefix}"));
        }
    }
    let (pattern, form) = match own {
        "whe_" => (&WEBHOOK_SECRET, "whsec_<base64 of 32 bytes>"),
        _ => (&SECRET, "tp_live_<id>_<64 hex digits>"),
    };
    if let Some(secret) = body.get("secret").and_then(Node::text)
        && !is(pattern, secret)
    {
        faults.push(format!("{path}secret isn't {form}"));
    }
}

/// A payment's times are in order, and an authorisation lapses seven days after it was asked for.
fn times(body: &Node, path: &str, faults: &mut Vec<String>) {
    let time = |name| OffsetDateTime::parse(body.get(name)?.text()?, &Rfc3339).ok();
    let (Some(created), Some(updated)) = (time("created_at"), time("updated_at")) else {
        return;
    };
    if updated < created {
        faults.push(format!("{path}updated_at is before created_at"));
    }
    let state = body.get("state").and_then(Node::text).unwrap_or_default();
    let lapses = ["authorized", "partially_captured"].contains(&state);
    match time("expires_at") {
        Some(expires) if expires - created != time::Duration::days(7) => {
            faults.push(format!("{path}expires_at isn't seven days after created_at"));
        }
        Some(_) if !lapses && state != "processing" => {
            faults.push(format!("{path}expires_at where nothing is left to capture"))
        }
        None if lapses => faults.push(format!("{path}expires_at is missing")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object_faults(message: &str, json: &str) -> Vec<String> {
        let contract = Contract::load().unwrap();
        let output = contract.pool.get_message_by_name(message).unwrap();
        let mut faults = Vec::new();
        object(&output, &Node::parse(json.as_bytes()).unwrap(), "", &mut faults);
        faults
    }

    const TOKEN: &str = r#"{"id":"ptk_01h455vb4pex5vsknk084sn02q","card":{"brand":"visa","last4":"4242","exp_month":1,"exp_year":2030},"created_at":"2026-01-02T03:04:05.678901Z"}"#;

    #[test]
    fn a_well_formed_object_has_no_faults() {
        assert_eq!(object_faults("payments.v1.PaymentToken", TOKEN), Vec::<String>::new());
    }

    #[test]
    fn a_number_as_long_as_a_cards_is_seen_and_a_long_balance_is_none() {
        assert!(shows_card(r#"{"detail":"4242424242424242"}"#));
        assert!(shows_card(r#"{"amount":1000000000999}"#));
        assert!(!shows_card(r#"{"amount":999999999999,"id":"ptk_01h455vb4pex5vsknk084sn02q"}"#));
        let balance =
            r#"{"acquirer_receivable":1000000000999,"merchant_payable":-971000000910,"fee_income":0}"#;
        assert!(!shows_card(balance));
    }

    #[test]
    fn each_fault_of_a_list_is_named() {
        let contract = Contract::load().unwrap();
        let output = contract.pool.get_message_by_name("payments.v1.ListPaymentsResponse").unwrap();
        let found = |json: &str| {
            let mut faults = Vec::new();
            let body = Node::parse(json.as_bytes()).unwrap();
            list(&contract, &output, &objects(&output).unwrap(), &body, &mut faults);
            faults
        };
        assert_eq!(found(r#"{"data":[],"has_more":false}"#), Vec::<String>::new());
        assert_eq!(found(r#"{"data":[],"has_more":true,"next_cursor":"x"}"#), Vec::<String>::new());
        let pages = "has_more isn't true with a next_cursor and false without";
        for (json, wanted) in [
            (r#"{"data":[]}"#, pages),
            (r#"{"data":[],"has_more":true}"#, pages),
            (r#"{"data":[],"has_more":false,"next_cursor":"x"}"#, pages),
            (r#"{"has_more":false}"#, "data isn't a list"),
            (r#"{"has_more":false,"data":[]}"#, "members of * are out of order: has_more, data"),
        ] {
            assert_eq!(found(json), [wanted]);
        }
        let (one, two) = ("pay_01h455vb4pex5vsknk084sn02q", "pay_01h455vb4pex5vsknk084sn02r");
        for (first, second, wanted) in [(two, one, false), (one, two, true), (one, one, true)] {
            let json = format!(r#"{{"data":[{{"id":"{first}"}},{{"id":"{second}"}}],"has_more":false}}"#);
            let named = found(&json).iter().any(|fault| fault.starts_with("data isn't newest first"));
            assert_eq!(named, wanted, "{json}");
        }
    }

    #[test]
    fn events_stand_by_their_sequence_and_have_an_object() {
        let contract = Contract::load().unwrap();
        let output = contract.pool.get_message_by_name("payments.v1.ListEventsResponse").unwrap();
        for (first, second, wanted) in [(10, 9, false), (9, 10, true), (9, 9, true)] {
            let json =
                format!(r#"{{"data":[{{"sequence":{first}}},{{"sequence":{second}}}],"has_more":false}}"#);
            let body = Node::parse(json.as_bytes()).unwrap();
            let mut faults = Vec::new();
            list(&contract, &output, &objects(&output).unwrap(), &body, &mut faults);
            let named = faults.iter().any(|fault| fault.starts_with("data isn't newest first"));
            assert_eq!(named, wanted, "{json}");
            assert!(faults.iter().any(|fault| fault == "data.1.data.object is missing"), "{faults:?}");
        }
    }

    #[test]
    fn each_fault_of_an_object_is_named() {
        for (from, to, wanted) in [
            ("ptk_01h", "pay_01h", "not an id with ptk_"),
            (".678901Z", ".678Z", "not a time with six digits"),
            (
                r#""brand":"visa","last4":"4242""#,
                r#""last4":"4242","brand":"visa""#,
                "members of card.* are out of order",
            ),
            (r#""last4":"4242","#, "", "card.last4 is missing"),
            (r#""exp_month":1"#, r#""exp_month":null"#, "card.exp_month is null"),
            (r#""card":"#, r#""number":"4","card":"#, "number isn't a documented member"),
        ] {
            let faults = object_faults("payments.v1.PaymentToken", &TOKEN.replace(from, to));
            assert!(faults.iter().any(|fault| fault.contains(wanted)), "wanted {wanted:?}, got {faults:?}");
        }
    }
}
