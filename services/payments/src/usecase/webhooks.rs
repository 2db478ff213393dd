//! Webhook endpoints: where a merchant wants to be told, and the secrets and signatures of Standard Webhooks.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    page::{Filter, List, Page},
    payments::Payments,
};
use crate::{
    domain::{
        error::{Error, Rule, Violations},
        id::{EndpointId, EventId, MerchantId},
        webhook::{Endpoint, MAX_ENDPOINTS, Target},
    },
    hash_pool::hmac,
    store::webhooks::{delete_webhook_endpoint, insert_webhook_endpoint, list_webhook_endpoints},
    telemetry::Call,
};

/// The longest URL, in bytes.
const MAX_URL: usize = 500;

/// A new endpoint, with its secret: shown once.
pub struct NewEndpoint {
    /// What is stored of it.
    pub endpoint: Endpoint,
    /// `whsec_…`
    pub secret: String,
}

/// What a receiver knows webhooks of an endpoint by: derived, so that it needn't be stored.
pub struct Secret([u8; 32]);

impl Secret {
    /// Of an endpoint.
    pub fn of(master: &[u8; 32], endpoint: EndpointId) -> Self {
        Self(hmac(master, &[endpoint.0.as_bytes()]))
    }

    /// As it is shown.
    pub fn text(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// The value of `webhook-signature`; `timestamp` is in seconds since 1970.
    pub fn sign(&self, event: EventId, timestamp: i64, body: &str) -> String {
        let head = format!("{event}.{timestamp}.");
        format!("v1,{}", STANDARD.encode(hmac(&self.0, &[head.as_bytes(), body.as_bytes()])))
    }
}

impl Payments {
    /// `url` is as it was sent.
    pub async fn create_webhook_endpoint(
        &self,
        call: &Call,
        merchant: MerchantId,
        url: Option<String>,
        mut violations: Violations,
    ) -> Result<NewEndpoint, Error> {
        let url = violations.text("url", url, 1, MAX_URL).unwrap_or_default();
        if !url.is_empty() && Target::parse(&url, self.settings.webhook_targets).is_none() {
            violations.add("url", Rule::Malformed);
        }
        violations.check()?;
        let endpoint =
            Endpoint { id: EndpointId::fresh(), url, created_at: self.clock.now(), disabled_at: None };
        let inserted = insert_webhook_endpoint(&self.db, call, merchant, &endpoint).await;
        if !inserted.map_err(|failure| failure.writing(None))? {
            let mut violations = Violations::default();
            violations.add("webhook_endpoints", Rule::TooMany(MAX_ENDPOINTS));
            violations.check()?;
        }
        let secret = Secret::of(&self.settings.webhook_master, endpoint.id).text();
        Ok(NewEndpoint { endpoint, secret })
    }

    /// A page of a merchant's endpoints.
    pub async fn list_webhook_endpoints(
        &self,
        call: &Call,
        merchant: MerchantId,
        page: Page,
        mut violations: Violations,
    ) -> Result<List<Endpoint>, Error> {
        let size = page.size(&mut violations);
        violations.check()?;
        let filter = Filter::new("list_webhook_endpoints", merchant, &[]);
        let after = page.after(filter)?;
        let rows = list_webhook_endpoints(&self.db, call, merchant, after, size + 1).await;
        Ok(List::new(rows.map_err(|failure| failure.reading())?, size, filter, |endpoint| endpoint.id.0))
    }

    /// `id` is as it was sent.
    pub async fn delete_webhook_endpoint(
        &self,
        call: &Call,
        merchant: MerchantId,
        id: &str,
        violations: Violations,
    ) -> Result<(), Error> {
        violations.check()?;
        let deleted = delete_webhook_endpoint(&self.db, call, merchant, EndpointId::sent(id)).await;
        if deleted.map_err(|failure| failure.writing(None))? { Ok(()) } else { Err(Error::ResourceNotFound) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_signatures_are_those_of_the_vectors() {
        let vectors: toml::Table = include_str!("../../../../proto/vectors/signatures.toml").parse().unwrap();
        let master: [u8; 32] = std::array::from_fn(|n| n as u8);
        for case in vectors["signature"].as_array().unwrap() {
            let text = |name: &str| case[name].as_str().unwrap();
            let secret = Secret::of(&master, EndpointId::parse(text("endpoint")).unwrap());
            assert_eq!(secret.text(), text("secret"));
            let timestamp = case["timestamp"].as_integer().unwrap();
            let signed = secret.sign(EventId::parse(text("id")).unwrap(), timestamp, text("body"));
            assert_eq!(signed, text("signature"));
        }
    }
}
