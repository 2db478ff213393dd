//! Merchants and their API keys, made through the service's own door before the warm-up.

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};

use super::client::request;
use super::vocabulary::MERCHANTS;

/// Makes the merchants of a trace on one service; one key each, in order. No velocity limit: a load test's traffic
/// would trip it, and it serialises the claims of one card.
pub async fn merchants(url: &str, admin_token: &str) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::new();
    for number in 0..MERCHANTS {
        let post = async |path: String, body: Value| {
            request(Method::POST, url, &path, Some(admin_token), Some(body)).await
        };
        let merchant = post("/v1/merchants".into(), json!({"name": format!("Load {number}")})).await?;
        let id = merchant["id"].as_str().context("a merchant without an id")?;
        let key = post(format!("/v1/merchants/{id}/api_keys"), json!({})).await?;
        keys.push(key["secret"].as_str().context("an API key without its secret")?.to_owned());
    }
    Ok(keys)
}
