//! A plain JSON request, for setting up and asking for versions: one connection each, nothing timed.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// No span of these requests is wanted; a service that is told nothing may begin a trace of its own.
const UNSAMPLED: &str = "00-00000000000000000000000000000001-0000000000000001-00";
/// No such request takes longer unless something is wrong.
const LIMIT: Duration = Duration::from_secs(10);

/// `http://host:port` as an address.
pub fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let text = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    text.parse().with_context(|| format!("`{url}` isn't http://<ip>:<port>"))
}

/// The body of a GET as text; a status that isn't 2xx is an error.
pub async fn text(url: &str, path: &str) -> anyhow::Result<String> {
    let bytes = exchange(Method::GET, url, path, None, None).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The body of a GET that may take as long as `limit`; a status that isn't 2xx is an error.
pub async fn bytes(url: &str, path: &str, limit: Duration) -> anyhow::Result<Bytes> {
    within(limit, Method::GET, url, path, None, None).await
}

/// Sends a request with an optional bearer token and body; a status that isn't 2xx is an error with its reason.
pub async fn request(
    method: Method,
    url: &str,
    path: &str,
    bearer: Option<&str>,
    body: Option<Value>,
) -> anyhow::Result<Value> {
    let bytes = exchange(method, url, path, bearer, body).await?;
    serde_json::from_slice(&bytes).with_context(|| format!("the reply of {url}{path}"))
}

async fn exchange(
    method: Method,
    url: &str,
    path: &str,
    bearer: Option<&str>,
    body: Option<Value>,
) -> anyhow::Result<Bytes> {
    within(LIMIT, method, url, path, bearer, body).await
}

async fn within(
    limit: Duration,
    method: Method,
    url: &str,
    path: &str,
    bearer: Option<&str>,
    body: Option<Value>,
) -> anyhow::Result<Bytes> {
    let exchange = async {
        let stream = TcpStream::connect(address(url)?).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let builder = Request::builder().method(method.clone()).uri(path);
        let mut builder = builder.header(header::HOST, "localhost").header("traceparent", UNSAMPLED);
        if let Some(token) = bearer {
            builder = builder.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let response = sender.send_request(builder.body(Full::new(bytes))?).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        connection.abort();
        if !status.is_success() {
            bail!("{status}: {}", String::from_utf8_lossy(&bytes));
        }
        Ok(bytes)
    };
    let context = || format!("{method} {url}{path}");
    tokio::time::timeout(limit, exchange).await.with_context(context)?.with_context(context)
}
