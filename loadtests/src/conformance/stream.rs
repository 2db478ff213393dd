//! Streams of events, read until so many items are there. Both doors in one form: {"items":[{"heartbeat":{}},{"event":{…}},…]}, an event
//! as the envelope that HTTP shows.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::message::to_node;
use super::node::Node;
use super::wire::{Incomings, message_size, with_causes};

/// The message of a stream's items.
pub const OUTPUT: &str = "WatchEventsResponse";
/// What stands between server-sent events.
const END: &str = "\n\n";

/// Reads as many items, or to the end. `whole` says where the first so many end.
pub async fn read(
    mut body: Incoming,
    into: &mut Incomings,
    items: usize,
    whole: fn(&[u8], usize) -> Option<usize>,
) -> anyhow::Result<()> {
    let mut bytes = BytesMut::new();
    while whole(&bytes, items).is_none() {
        let Some(frame) = body.frame().await else { break };
        match frame.map_err(with_causes)?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => into.headers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    bytes.truncate(whole(&bytes, items).unwrap_or(bytes.len()));
    into.body = bytes.freeze();
    Ok(())
}

/// The end of the first server-sent events.
pub fn blocks(bytes: &[u8], items: usize) -> Option<usize> {
    let ends = bytes.windows(END.len()).enumerate().filter(|(_, window)| *window == END.as_bytes());
    ends.map(|(place, _)| place + END.len()).nth(items.checked_sub(1)?)
}

/// The end of the first gRPC messages.
pub fn messages(bytes: &[u8], items: usize) -> Option<usize> {
    let all = split(bytes);
    Some(all.get(..items)?.iter().map(|message| message.len() + 5).sum())
}

fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while let Some(size) = message_size(bytes)
        && let Some((message, rest)) = bytes.split_at_checked(size + 5)
    {
        all.push(&message[5..]);
        bytes = rest;
    }
    all
}

/// Server-sent events.
pub fn from_blocks(text: &str) -> Result<Node, String> {
    let blocks = text.split_terminator(END).map(from_block).collect::<Result<_, _>>()?;
    Ok(Node::Object(vec![("items".into(), Node::List(blocks))]))
}

fn from_block(block: &str) -> Result<Node, String> {
    let one = |name: &str, value| Node::Object(vec![(name.to_owned(), value)]);
    if block == ": heartbeat" {
        return Ok(one("heartbeat", Node::Object(Vec::new())));
    }
    let wrong = |why: &str| format!("an event {why}: {block:?}");
    let lines: Vec<_> = block.split('\n').collect();
    let [id, kind, data] = lines.as_slice() else { return Err(wrong("that hasn't three lines")) };
    let data = data.strip_prefix("data: ").ok_or_else(|| wrong("without data"))?;
    let event =
        Node::parse(data.as_bytes()).map_err(|error| wrong(&format!("whose data isn't JSON ({error})")))?;
    let member =
        |name| event.get(name).map(|node: &Node| node.text().map_or_else(|| node.to_string(), str::to_owned));
    if member("sequence").as_deref() != id.strip_prefix("id: ")
        || member("type").as_deref() != kind.strip_prefix("event: ")
    {
        return Err(wrong("whose id and type aren't those of its data"));
    }
    Ok(one("event", event))
}

/// Messages.
pub fn from_messages(body: &Bytes, output: &MessageDescriptor) -> Result<Node, String> {
    let decode = |bytes: &[u8]| {
        let message = DynamicMessage::decode(output.clone(), bytes)
            .map_err(|error| format!("a message can't be decoded: {error}"))?;
        Ok::<_, String>(to_node(&message))
    };
    let items = split(body).into_iter().map(decode).collect::<Result<_, _>>()?;
    Ok(Node::Object(vec![("items".into(), Node::List(items))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSE: &str =
        ": heartbeat\n\nid: 1\nevent: a.b\ndata: {\"id\":\"x\",\"type\":\"a.b\",\"sequence\":1}\n\n";

    #[test]
    fn server_sent_events_are_counted_and_read() {
        let ends = [1, 2, 3].map(|items| blocks(SSE.as_bytes(), items));
        assert_eq!(ends, [Some(13), Some(SSE.len()), None]);
        let items = from_blocks(SSE).unwrap().to_string();
        assert_eq!(items, r#"{"items":[{"heartbeat":{}},{"event":{"id":"x","type":"a.b","sequence":1}}]}"#);
        for (from, to) in
            [("id: 1", "id: 2"), ("event: a", "event: b"), ("data: ", "data:"), ("{\"id", "{id")]
        {
            assert!(from_blocks(&SSE.replacen(from, to, 1)).is_err(), "{to}");
        }
    }

    #[test]
    fn messages_are_counted() {
        let bytes = [0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 1, 0, 0, 0, 0, 9, 1];
        assert_eq!([1, 2, 3].map(|items| messages(&bytes, items)), [Some(5), Some(12), None]);
    }
}
