//! What is asked, and what must come back: ids and times by name.

use serde_json::{Map, Value};

use crate::conformance::case::{Many, Step, Violation};

/// An idempotency key as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// No header.
    None,
    /// A blank inside: not a valid key.
    Invalid,
    /// A valid one.
    Text(String),
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// Whom the operation is for.
    Right,
    /// Nobody.
    None,
    /// A key with another secret.
    Wrong,
    /// A merchant where an administrator belongs, and the other way round.
    OtherKind,
}

/// A request that doesn't depend on twin or door.
#[derive(Debug, Clone)]
pub struct Call {
    /// The rpc's name.
    pub operation: &'static str,
    /// Members of the path.
    pub path: Vec<(&'static str, String)>,
    /// Of the query.
    pub params: Map<String, Value>,
    /// Members of the body.
    pub body: Map<String, Value>,
    /// The key.
    pub key: Key,
    /// Who asks.
    pub credential: Credential,
    /// The API key that a merchant uses, by name.
    pub secret: String,
}

impl Call {
    /// As the conformance runner sends it.
    pub fn step(&self, admin: bool, posts: bool) -> Step {
        let merchant = format!("Bearer ${{{}}}", self.secret);
        let wrong = format!("Bearer tp_live_01h455vb4pex5vsknk084sn02q_{}", "0".repeat(64));
        let auth = match (self.credential, admin) {
            (Credential::Right, true) | (Credential::OtherKind, false) => "admin".to_owned(),
            (Credential::Right, false) | (Credential::OtherKind, true) => merchant,
            (Credential::None, _) => "none".to_owned(),
            (Credential::Wrong, _) => wrong,
        };
        let key = match &self.key {
            Key::None => Many::Several(Vec::new()),
            Key::Invalid => Many::One("a b".into()),
            Key::Text(text) => Many::One(text.clone()),
        };
        Step {
            call: Some(self.operation.into()),
            auth: Some(Many::One(auth)),
            key: Some(key),
            path: self.path.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            params: self.params.clone(),
            body: posts.then(|| Value::Object(self.body.clone())),
            ..Step::default()
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let path: Vec<_> = self.path.iter().map(|(_, value)| value.as_str()).collect();
        let members = if self.params.is_empty() { &self.body } else { &self.params };
        let key = match &self.key {
            Key::None => String::new(),
            Key::Invalid => ", key \"a b\"".into(),
            Key::Text(text) => format!(", key {text:?}"),
        };
        let credential = match self.credential {
            Credential::Right => "",
            Credential::None => ", no credential",
            Credential::Wrong => ", an unknown credential",
            Credential::OtherKind => ", the other kind's credential",
        };
        format!("{} {} {}{key}{credential}", self.operation, path.join(" "), Value::Object(members.clone()))
    }
}

/// What must come back.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of an error.
    pub reason: Option<&'static str>,
    /// The object; of an error, what stands beside the members that all problems have.
    pub members: Map<String, Value>,
    /// All of them, in order.
    pub violations: Vec<Violation>,
    /// The payment that an error names over gRPC.
    pub payment: Option<String>,
    /// Whether it is a stored reply.
    pub replayed: bool,
}

impl Wanted {
    /// Success.
    pub fn object(members: Value) -> Self {
        Self { members: object(members), ..Self::default() }
    }

    /// An error without more to it.
    pub fn error(reason: &'static str) -> Self {
        Self { reason: Some(reason), ..Self::default() }
    }

    /// An error that names a payment.
    pub fn about(reason: &'static str, payment: &str, members: Value) -> Self {
        Self {
            reason: Some(reason),
            members: object(members),
            payment: Some(payment.into()),
            ..Self::default()
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let outcome =
            self.reason.map_or_else(|| Value::Object(self.members.clone()).to_string(), str::to_owned);
        format!("{outcome}{}", if self.replayed { " (a replay)" } else { "" })
    }
}

/// The members of a JSON object.
pub fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(members) = value { members } else { Map::new() }
}
