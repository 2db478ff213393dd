//! Where a merchant is told what happened: endpoints are made and deleted. Whether they are told is no matter of replies.

use serde_json::{Map, Value, json};

use super::call::{Call, Wanted, object};
use super::lists::limit;
use super::machine::{Answer, Machine, not_found, path};
use super::rules::Rules;

/// URLs that aren't taken; all others that a plan draws are.
pub const BAD_URLS: [&str; 6] = [
    "ftp://127.0.0.1/",
    "https://user@127.0.0.1/",
    "https://127.0.0.1:0/",
    "https://127.0.0.1/#f",
    "https://127.0.0.1/%zz",
    "https://Example.com/",
];

/// An endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// By name.
    pub id: String,
    /// Until it is deleted.
    pub there: bool,
    shown: Map<String, Value>,
}

impl Machine {
    /// CreateWebhookEndpoint. A sequence makes fewer than the most that a merchant may have.
    pub fn create_webhook_endpoint(&mut self, call: &Call) -> Answer {
        let mut rules = Rules::new(&call.body);
        let url = rules.sized("url", 1, 500, |url| !BAD_URLS.contains(&url));
        rules.check()?;
        let n = self.endpoints.len();
        let id = format!("${{whe{n}}}");
        let shown = object(json!({"id": id, "url": url, "created_at": format!("${{time_whe{n}}}")}));
        let mut members = shown.clone();
        members.insert("secret".into(), format!("${{whsec{n}}}").into());
        self.endpoints.push(Endpoint { id, there: true, shown });
        Ok(Wanted { members, ..Wanted::default() })
    }

    /// ListWebhookEndpoints: without secrets.
    pub fn list_webhook_endpoints(&mut self, call: &Call) -> Answer {
        let limit = limit(Rules::new(&call.params))?;
        let all = self.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.there);
        let found = all.map(|(index, endpoint)| (index, endpoint.shown.clone().into())).collect();
        self.page(call, limit, found)
    }

    /// DeleteWebhookEndpoint.
    pub fn delete_webhook_endpoint(&mut self, call: &Call) -> Answer {
        let found = self.endpoints.iter_mut().find(|endpoint| endpoint.there && endpoint.id == path(call));
        found.ok_or_else(not_found)?.there = false;
        Ok(Wanted::default())
    }
}
