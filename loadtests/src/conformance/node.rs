//! JSON with its members in the order in which they stand on the wire: an ordinary parser forgets that order, and here
//! it is part of what is compared.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `null`, which no reply may hold.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string, decoded.
    Text(String),
    /// An array.
    List(Vec<Node>),
    /// An object, members in order.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Parses a whole text; a member that occurs twice is an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// The member of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|(member, _)| member == name).map(|(_, node)| node)
    }

    /// The member at a dotted path, such as `card.brand` or `data.0.id`.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, name| {
            node.get(name).or_else(|| node.items().get(name.parse::<usize>().ok()?))
        })
    }

    /// The items of an array; of anything else none.
    pub fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    /// The members of an object; of anything else none.
    pub fn members(&self) -> &[(String, Self)] {
        if let Self::Object(members) = self { members } else { &[] }
    }

    /// The names of the members, in order.
    pub fn names(&self) -> Vec<&str> {
        self.members().iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The same object without some of its members.
    pub fn without(&self, names: &[&str]) -> Self {
        let Self::Object(members) = self else {
            return self.clone();
        };
        Self::Object(members.iter().filter(|(name, _)| !names.contains(&name.as_str())).cloned().collect())
    }

    /// As a value of `serde_json`, which doesn't keep the order.
    pub fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone()),
            Self::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Self::Object(members) => {
                Value::Object(members.iter().map(|(name, node)| (name.clone(), node.value())).collect())
            }
        }
    }
}

/// Compact JSON with only the escapes that JSON demands.
impl fmt::Display for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => out.write_str("null"),
            Self::Bool(truth) => write!(out, "{truth}"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Text(text) => write!(out, "{}", Value::String(text.clone())),
            Self::List(items) => {
                out.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(out, "{}{item}", if index == 0 { "" } else { "," })?;
                }
                out.write_str("]")
            }
            Self::Object(members) => {
                out.write_str("{")?;
                for (index, (name, node)) in members.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(out, "{comma}{}:{node}", Value::String(name.clone()))?;
                }
                out.write_str("}")
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_bool<E: Error>(self, truth: bool) -> Result<Node, E> {
        Ok(Node::Bool(truth))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Number(number.into()))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Number(number.into()))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        Number::from_f64(number).map(Node::Number).ok_or_else(|| E::custom("a number out of range"))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut members: Vec<(String, Node)> = Vec::new();
        while let Some((name, node)) = entries.next_entry::<String, Node>()? {
            if members.iter().any(|(earlier, _)| *earlier == name) {
                return Err(A::Error::custom(format!("the member {name} occurs twice")));
            }
            members.push((name, node));
        }
        Ok(Node::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_come_out_as_they_went_in() {
        let text = r#"{"z":1,"a":[true,null,"\u0001é"],"m":{"b":-5,"a":""}}"#;
        let node = Node::parse(text.as_bytes()).unwrap();
        assert_eq!(node.to_string(), text);
        assert_eq!(node.names(), ["z", "a", "m"]);
        assert_eq!(node.at("m.b"), Some(&Node::Number((-5).into())));
        assert_eq!(node.without(&["a", "m"]).to_string(), r#"{"z":1}"#);
    }

    #[test]
    fn a_member_that_occurs_twice_is_an_error() {
        let error = Node::parse(br#"{"a":1,"a":1}"#).expect_err("refused");
        assert!(error.contains("the member a occurs twice"), "{error}");
    }
}
