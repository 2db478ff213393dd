//! Between JSON and protobuf by the contract's mapping, for any message: the same member names, enums in lower case
//! without their prefix, times as RFC 3339 with six digits, what is absent left out.

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage,
    Value as Proto,
};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::node::Node;

/// What the two doors call the same thing: a query, a message.
const PARAMETERS: [(&str, &str); 2] = [("limit", "page_size"), ("cursor", "page_token")];
const NEXT: &str = "next_page_token";
const EVENT: &str = "payments.v1.Event";
const TIMESTAMP: &str = "google.protobuf.Timestamp";
const TIME_FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// A request message from a case's JSON. An enum may be a number, which is how a case sends one that isn't listed.
pub fn from_json(descriptor: &MessageDescriptor, value: &Value) -> Result<DynamicMessage, String> {
    let Value::Object(members) = value else {
        return Err(format!("{} needs an object, got {value}", descriptor.name()));
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, value) in members {
        let field = descriptor.get_field_by_name(name).ok_or_else(|| {
            format!("{} has no member {name}: this case is for HTTP only", descriptor.name())
        })?;
        let value = if field.is_map() { map(&field, value)? } else { scalar(&field.kind(), name, value)? };
        message.set_field(&field, value);
    }
    Ok(message)
}

fn map(field: &FieldDescriptor, value: &Value) -> Result<Proto, String> {
    let Value::Object(entries) = value else {
        return Err(format!("{} needs an object, got {value}", field.name()));
    };
    let Kind::Message(entry) = field.kind() else {
        return Err(format!("{} isn't a map", field.name()));
    };
    let kind = entry.map_entry_value_field().kind();
    let pairs =
        entries.iter().map(|(key, value)| Ok((MapKey::String(key.clone()), scalar(&kind, key, value)?)));
    Ok(Proto::Map(pairs.collect::<Result<_, String>>()?))
}

fn scalar(kind: &Kind, name: &str, value: &Value) -> Result<Proto, String> {
    let misfit = || format!("{name} can't be {value} over gRPC: this case is for HTTP only");
    let found = match (kind, value) {
        (Kind::String, Value::String(text)) => Some(Proto::String(text.clone())),
        (Kind::Bool, Value::Bool(truth)) => Some(Proto::Bool(*truth)),
        (Kind::Int64, Value::Number(number)) => number.as_i64().map(Proto::I64),
        (Kind::Int32, Value::Number(number)) => {
            number.as_i64().and_then(|number| i32::try_from(number).ok()).map(Proto::I32)
        }
        (Kind::Enum(_), Value::Number(number)) => {
            number.as_i64().and_then(|number| i32::try_from(number).ok()).map(Proto::EnumNumber)
        }
        (Kind::Enum(listed), Value::String(text)) => enum_number(listed, text).map(Proto::EnumNumber),
        (Kind::Message(inner), _) => Some(Proto::Message(from_json(inner, value)?)),
        _ => None,
    };
    found.ok_or_else(misfit)
}

fn enum_number(listed: &EnumDescriptor, text: &str) -> Option<i32> {
    listed.values().find(|value| enum_text(listed, value.name()) == text).map(|value| value.number())
}

/// `CAPTURE_METHOD_AUTOMATIC` of `CaptureMethod` is `automatic`. Names without the enum's own as prefix stay whole.
fn enum_text(listed: &EnumDescriptor, name: &str) -> String {
    let mut prefix = String::new();
    for (index, letter) in listed.name().chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            prefix.push('_');
        }
        prefix.push(letter.to_ascii_uppercase());
    }
    prefix.push('_');
    name.strip_prefix(&prefix).unwrap_or(name).to_lowercase()
}

/// A reply message as JSON, members in declared order; an event's object in the envelope that HTTP puts around it.
pub fn to_node(message: &DynamicMessage) -> Node {
    let is_event = message.descriptor().full_name() == EVENT;
    let mut members = Vec::new();
    for field in message.descriptor().fields() {
        let value = message.get_field(&field);
        let absent =
            if field.supports_presence() { !message.has_field(&field) } else { is_empty(&field, &value) };
        if absent {
            continue;
        }
        let shown = node(&field.kind(), &value);
        if is_event && field.containing_oneof().is_some() {
            members.push(("data".to_owned(), Node::Object(vec![("object".to_owned(), shown)])));
        } else {
            members.push((field.name().to_owned(), shown));
        }
    }
    Node::Object(members)
}

/// What a parameter of a query is called in a message.
pub fn member(parameter: &str) -> &str {
    PARAMETERS.iter().find(|(name, _)| *name == parameter).map_or(parameter, |(_, member)| member)
}

/// What a member of a message is called in a query; none where only a query may call it so.
pub fn parameter(member: &str) -> Option<&str> {
    if PARAMETERS.iter().any(|(name, _)| *name == member) {
        return None;
    }
    Some(PARAMETERS.iter().find(|(_, ours)| *ours == member).map_or(member, |(name, _)| name))
}

/// The field with the objects of a list: such a message begins with it.
pub fn objects(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    message.fields().next().filter(|field| field.is_list() && field.kind().as_message().is_some())
}

/// Whether a list comes in pages.
pub fn is_paged(message: &MessageDescriptor) -> bool {
    message.get_field_by_name(NEXT).is_some()
}

/// A reply message as HTTP shows it: a list as `data`, with what says that there is more.
pub fn to_reply(message: &DynamicMessage) -> Node {
    let Some(objects) = objects(&message.descriptor()) else {
        return to_node(message);
    };
    let data = node(&objects.kind(), &message.get_field(&objects));
    let mut members = vec![("data".to_owned(), data)];
    if let Some(next) = message.get_field_by_name(NEXT) {
        let next = next.as_str().unwrap_or_default().to_owned();
        members.push(("has_more".into(), Node::Bool(!next.is_empty())));
        if !next.is_empty() {
            members.push(("next_cursor".into(), Node::Text(next)));
        }
    }
    Node::Object(members)
}

/// Integers and texts are shown even when they are zero or empty; enums, maps and lists aren't.
fn is_empty(field: &FieldDescriptor, value: &Proto) -> bool {
    value.as_map().is_some_and(|entries| entries.is_empty())
        || value.as_list().is_some_and(|items| items.is_empty())
        || (!field.is_list() && value.as_enum_number() == Some(0))
}

fn node(kind: &Kind, value: &Proto) -> Node {
    match value {
        Proto::Bool(truth) => Node::Bool(*truth),
        Proto::I32(number) => Node::Number((*number).into()),
        Proto::I64(number) => Node::Number((*number).into()),
        Proto::U32(number) => Node::Number((*number).into()),
        Proto::U64(number) => Node::Number((*number).into()),
        Proto::String(text) => Node::Text(text.clone()),
        Proto::Bytes(bytes) => Node::Text(hex::encode(bytes)),
        Proto::F32(_) | Proto::F64(_) => Node::Text("a floating-point number".into()),
        Proto::List(items) => Node::List(items.iter().map(|item| node(kind, item)).collect()),
        Proto::Message(inner) if inner.descriptor().full_name() == TIMESTAMP => Node::Text(timestamp(inner)),
        Proto::Message(inner) => to_node(inner),
        Proto::EnumNumber(number) => match kind
            .as_enum()
            .and_then(|listed| listed.get_value(*number).map(|value| enum_text(listed, value.name())))
        {
            Some(text) => Node::Text(text),
            None => Node::Number((*number).into()),
        },
        Proto::Map(entries) => {
            let mut members: Vec<_> = entries
                .iter()
                .map(|(key, value)| (key.as_str().unwrap_or_default().to_owned(), node(kind, value)))
                .collect();
            members.sort_by(|one, other| one.0.as_bytes().cmp(other.0.as_bytes()));
            Node::Object(members)
        }
    }
}

fn timestamp(message: &DynamicMessage) -> String {
    let part = |name| message.get_field_by_name(name);
    let seconds = part("seconds").and_then(|value| value.as_i64()).unwrap_or_default();
    let nanos = part("nanos").and_then(|value| value.as_i32()).unwrap_or_default();
    let rendered = OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .filter(|_| nanos % 1000 == 0 && (0..1_000_000_000).contains(&nanos))
        .and_then(|time| time.replace_nanosecond(u32::try_from(nanos).unwrap_or_default()).ok())
        .and_then(|time| time.format(TIME_FORMAT).ok());
    // Shown as it is: the shape check then names it.
    rendered.unwrap_or_else(|| format!("{seconds} s and {nanos} ns"))
}

#[cfg(test)]
mod tests {
    use super::super::contract::Contract;
    use super::*;

    fn round_trip(message: &str, json: &str) -> String {
        let pool = Contract::load().unwrap().pool;
        let descriptor = pool.get_message_by_name(message).unwrap();
        to_node(&from_json(&descriptor, &serde_json::from_str(json).unwrap()).unwrap()).to_string()
    }

    #[test]
    fn a_request_goes_to_protobuf_and_back_with_enums_and_maps() {
        let json = r#"{"metadata":{"é":"2","z":"1","😀":"3"},"capture":"manual","amount":5}"#;
        let wanted = r#"{"amount":5,"capture":"manual","metadata":{"z":"1","é":"2","😀":"3"}}"#;
        assert_eq!(round_trip("payments.v1.CreatePaymentRequest", json), wanted);
    }

    #[test]
    fn integers_are_shown_when_zero_and_unset_enums_and_maps_are_not() {
        let wanted = concat!(
            r#"{"id":"p","payment_token":"","amount":0,"currency":"","merchant_reference":"","#,
            r#""authorized":0,"captured":0,"refunded":0,"created_at":"1970-01-01T00:00:01.000002Z"}"#
        );
        let json = r#"{"id":"p","created_at":{"seconds":1,"nanos":2000}}"#;
        assert_eq!(round_trip("payments.v1.Payment", json), wanted);
    }

    #[test]
    fn a_list_is_shown_as_over_http() {
        let pool = Contract::load().unwrap().pool;
        let descriptor = pool.get_message_by_name("payments.v1.ListPaymentsResponse").unwrap();
        let shown = |json: &str| {
            to_reply(&from_json(&descriptor, &serde_json::from_str(json).unwrap()).unwrap()).to_string()
        };
        assert_eq!(shown("{}"), r#"{"data":[],"has_more":false}"#);
        let more = shown(r#"{"next_page_token":"AQ"}"#);
        assert_eq!(more, r#"{"data":[],"has_more":true,"next_cursor":"AQ"}"#);
        let members = ["limit", "cursor", "state"].map(member);
        assert_eq!(members, ["page_size", "page_token", "state"]);
        let parameters = ["page_size", "page_token", "state", "limit", "cursor"].map(parameter);
        assert_eq!(parameters, [Some("limit"), Some("cursor"), Some("state"), None, None]);
    }

    #[test]
    fn an_event_has_the_envelope_that_http_puts_around_its_object() {
        let shown = round_trip(
            "payments.v1.Event",
            r#"{"id":"e","type":"t","sequence":1,"refund":{"id":"r","amount":2}}"#,
        );
        let wanted = r#"{"id":"e","type":"t","sequence":1,"data":{"object":{"id":"r","payment":"","amount":2,"currency":""}}}"#;
        assert_eq!(shown, wanted);
    }

    #[test]
    fn what_grpc_cannot_say_is_refused() {
        let pool = Contract::load().unwrap().pool;
        let descriptor = pool.get_message_by_name("payments.v1.CreatePaymentRequest").unwrap();
        for json in [r#"{"amont":5}"#, r#"{"amount":"5"}"#, r#"{"capture":"sometimes"}"#, r#"{"amount":1.5}"#]
        {
            let error = from_json(&descriptor, &serde_json::from_str(json).unwrap()).expect_err("refused");
            assert!(error.contains("HTTP only"), "{error}");
        }
    }
}
