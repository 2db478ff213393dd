//! A merchant's receiver of webhooks, on this machine: what it answers stands in its URLs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Where redirects point: who follows one is welcome there, and shows it.
const ELSEWHERE: HeaderValue = HeaderValue::from_static("/204");

/// A receiver that listens until it is dropped.
#[derive(Debug)]
pub struct WebhookReceiver {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl WebhookReceiver {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let came = Arc::new(Came::default());
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let came = Arc::clone(&came);
                let service = service_fn(move |request| answer(Arc::clone(&came), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, server })
    }

    /// `http://host:port`. The path that follows names the statuses that a webhook gets, one at each time that it comes, the last one from
    /// then on: `/500/204` refuses it once.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Another one in each run.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// How often each webhook came to each path.
#[derive(Debug, Default)]
struct Came(Mutex<HashMap<(String, HeaderValue), usize>>);

impl Came {
    /// None where the path names no status, or the request no webhook.
    fn status(&self, head: &Parts) -> Option<StatusCode> {
        let (path, id) = (head.uri.path(), head.headers.get("webhook-id")?);
        let mut came = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = came.entry((path.to_owned(), id.clone())).or_default();
        let statuses: Vec<&str> = path.split('/').skip(1).collect();
        let status = statuses.get(*times).or(statuses.last())?;
        *times += 1;
        status.parse().ok()
    }
}

async fn answer(came: Arc<Came>, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    body.collect().await?;
    let mut response = Response::new(Empty::new());
    *response.status_mut() = came.status(&head).unwrap_or(StatusCode::BAD_REQUEST);
    if response.status().is_redirection() {
        response.headers_mut().insert(LOCATION, ELSEWHERE);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::wire::{Outgoing, Wire};
    use http::Method;

    #[tokio::test]
    async fn each_webhook_gets_the_statuses_of_its_path_in_turn() {
        let (receiver, wire) = (WebhookReceiver::start().await.unwrap(), Wire::default());
        let post = async |path: &str, id: &[u8]| {
            let outgoing = Outgoing {
                method: Method::POST,
                uri: format!("{}{path}", receiver.url()),
                headers: vec![("webhook-id".into(), id.to_vec())],
                body: Bytes::from_static(b"{}"),
                chunked: false,
                stalls: false,
                items: 0,
            };
            let reply = wire.http(&outgoing, false).await.unwrap();
            (reply.status.as_u16(), reply.headers.get(LOCATION).is_some())
        };
        assert_eq!(post("/302/204", b"a").await, (302, true));
        assert_eq!(post("/302/204", b"b").await, (302, true));
        assert_eq!(post("/302/204", b"a").await, (204, false));
        assert_eq!(post("/302/204", b"a").await, (204, false));
        assert_eq!(post("/x", b"a").await, (400, false));
    }
}
