//! Bytes out, bytes in: one HTTP client a version for both doors. gRPC is framed here by hand over the same HTTP/2
//! client, since a gRPC library's own client enforces deadlines and limits itself and would answer in the twin's place.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{StreamExt, stream as source};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::stream;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Longer than the deadline of a request that names none: what takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);
/// A chunked body goes out in pieces of this size.
const CHUNK: usize = 8192;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// `http://host:port/path?query`.
    pub uri: String,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
    /// Whether its size isn't told.
    pub chunked: bool,
    /// Whether it never ends; of a message: whether its last byte is withheld.
    pub stalls: bool,
    /// How many items of a stream of events are waited for; 0: it isn't one.
    pub items: usize,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Incomings {
    /// The HTTP status.
    pub status: StatusCode,
    /// Headers, and trailers after them.
    pub headers: HeaderMap,
    /// The body; of a gRPC stream the first message.
    pub body: Bytes,
}

/// The clients.
#[derive(Debug, Clone)]
pub struct Wire {
    http1: Client<HttpConnector, Body>,
    http2: Client<HttpConnector, Body>,
}

impl Default for Wire {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        let http1 = builder.build(connector.clone());
        Self { http1, http2: builder.http2_only(true).build(connector) }
    }
}

impl Wire {
    /// Sends over HTTP/1.1, or cleartext HTTP/2, and reads the whole reply.
    pub async fn http(&self, outgoing: &Outgoing, version2: bool) -> anyhow::Result<Incomings> {
        let client = if version2 { &self.http2 } else { &self.http1 };
        let exchange = async {
            let response = client.request(request(outgoing)?).await.map_err(with_causes)?;
            let (head, body) = response.into_parts();
            if head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream") {
                let mut incomings =
                    Incomings { status: head.status, headers: head.headers, body: Bytes::new() };
                stream::read(body, &mut incomings, outgoing.items, stream::blocks).await?;
                return Ok(incomings);
            }
            let body = body.collect().await.map_err(with_causes)?.to_bytes();
            anyhow::Ok(Incomings { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(LIMIT, exchange)
            .await
            .map_err(|_| anyhow!("no reply within {} s", LIMIT.as_secs()))?
    }

    /// Sends one gRPC message. `streaming`: reads only the first message of the reply.
    pub async fn grpc(&self, outgoing: &Outgoing, streaming: bool) -> anyhow::Result<Incomings> {
        let mut framed = BytesMut::with_capacity(outgoing.body.len() + 5);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(outgoing.body.len())? + u32::from(outgoing.stalls));
        framed.extend_from_slice(&outgoing.body);
        let framed = Outgoing { body: framed.freeze(), ..outgoing.clone() };
        let exchange = async {
            let response = self.http2.request(request(&framed)?).await.map_err(with_causes)?;
            let (head, body) = response.into_parts();
            let mut incomings = Incomings { status: head.status, headers: head.headers, body: Bytes::new() };
            if outgoing.items > 0 {
                stream::read(body, &mut incomings, outgoing.items, stream::messages).await?;
            } else {
                read_message(body, &mut incomings, streaming).await?;
            }
            anyhow::Ok(incomings)
        };
        tokio::time::timeout(LIMIT, exchange)
            .await
            .map_err(|_| anyhow!("no reply within {} s", LIMIT.as_secs()))?
    }
}

/// An error and all that lies behind it.
pub fn with_causes(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    anyhow!("{:#}", anyhow::Error::new(error))
}

fn request(outgoing: &Outgoing) -> anyhow::Result<Request<Body>> {
    let uri: Uri = outgoing.uri.parse().with_context(|| format!("{} can't be sent", outgoing.uri))?;
    let body = if outgoing.chunked || outgoing.stalls {
        let piece = |chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)));
        let chunks: Vec<_> = outgoing.body.chunks(CHUNK).map(piece).collect();
        let rest =
            if outgoing.stalls { source::pending().left_stream() } else { source::empty().right_stream() };
        StreamBody::new(source::iter(chunks).chain(rest)).boxed_unsync()
    } else {
        Full::new(outgoing.body.clone()).boxed_unsync()
    };
    let mut request = Request::new(body);
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = uri;
    for (name, value) in &outgoing.headers {
        request.headers_mut().append(HeaderName::try_from(name.as_str())?, HeaderValue::from_bytes(value)?);
    }
    Ok(request)
}

async fn read_message(mut body: Incoming, incomings: &mut Incomings, streaming: bool) -> anyhow::Result<()> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame.map_err(with_causes)?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => incomings.headers.extend(frame.into_trailers().unwrap_or_default()),
        }
        if streaming && message_size(&bytes).is_some_and(|size| bytes.len() >= size + 5) {
            break;
        }
    }
    let Some(size) = message_size(&bytes) else {
        return Ok(());
    };
    if bytes[0] != 0 || bytes.len() < size + 5 || (!streaming && bytes.len() > size + 5) {
        bail!("a badly framed reply: {} bytes, {}", bytes.len(), hex::encode(&bytes[..5]));
    }
    bytes.advance(5);
    incomings.body = bytes.split_to(size).freeze();
    Ok(())
}

/// How long the first message is, without its prefix of five bytes.
pub fn message_size(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.get(1..5)?;
    Some(u32::from_be_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(uri: &str) -> Outgoing {
        let headers = vec![("x-a".into(), b"1".to_vec()), ("x-a".into(), vec![0xe9])];
        Outgoing {
            method: Method::POST,
            uri: uri.into(),
            headers,
            body: Bytes::from_static(b"{}"),
            chunked: false,
            stalls: false,
            items: 0,
        }
    }

    #[test]
    fn odd_paths_and_repeated_headers_go_out_as_they_are() {
        for path in ["//v1", "/v1/../x", "/v1/%zz", "/v1/%ff;a", "/v1?a=b&&a=%zz"] {
            let request = request(&outgoing(&format!("http://127.0.0.1:1{path}"))).unwrap();
            assert_eq!(request.uri().path_and_query().unwrap().as_str(), path);
            assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
        }
    }
}
