//! Where a merchant is told what happened: endpoints are made and deleted. Whether they are told is no matter of replies.

use serde_json::json;

use super::call::{Call, Wanted};
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

impl Machine {
    /// CreateWebhookEndpoint. A sequence makes fewer than the most that a merchant may have.
    pub fn create_webhook_endpoint(&mut self, call: &Call) -> Answer {
        let mut rules = Rules::new(&call.body);
        let url = rules.sized("url", 1, 500, |url| !BAD_URLS.contains(&url));
        rules.check()?;
        let n = self.endpoints.len();
        let id = format!("${{whe{n}}}");
        self.endpoints.push((id.clone(), true));
        Ok(Wanted::object(json!({
            "id": id, "url": url, "secret": format!("${{whsec{n}}}"), "created_at": format!("${{time_whe{n}}}"),
        })))
    }

    /// DeleteWebhookEndpoint.
    pub fn delete_webhook_endpoint(&mut self, call: &Call) -> Answer {
        let found = self.endpoints.iter_mut().find(|(id, there)| *there && id == path(call));
        found.ok_or_else(not_found)?.1 = false;
        Ok(Wanted::default())
    }
}
