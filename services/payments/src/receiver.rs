//! The client of merchants' receivers: one POST an attempt, over a connection of its own, so that every address is looked at when it is
//! dialled and nothing outlives the attempt. It follows no redirect, asks no proxy and keeps no cookie.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, FusedFuture as _},
};
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use tokio_util::either::Either;

use crate::domain::webhook::{Attempt, Fault, Target, Targets};

/// A whole attempt, from the look-up of the name to the end of the answer.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// What is read of an answer's head, and of its body; nobody looks at either.
const MAX_ANSWER: usize = 65_536;
const USER_AGENT: &str = "twinpay-webhooks/1";

/// Whether an address may be dialled.
pub type Allow = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;
/// The addresses of a name, with the port.
pub type LookUp = Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Receiver {
    /// Asked for each address of each attempt.
    pub allow: Allow,
    /// The system's resolver.
    pub look_up: LookUp,
    /// Of a whole attempt.
    pub limit: Duration,
    /// Made by the first attempt that needs it, from the system's certificates.
    pub tls: Arc<OnceLock<TlsConnector>>,
}

impl Receiver {
    /// For the configured targets.
    pub fn new(targets: Targets) -> Self {
        Self {
            allow: Arc::new(move |address| targets.allow(address)),
            look_up: Arc::new(|host, port| {
                Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
            }),
            limit: ATTEMPT_LIMIT,
            tls: Arc::default(),
        }
    }

    /// One attempt. `signed` are the headers that name and sign it.
    pub async fn post(&self, target: Target<'_>, signed: [(&'static str, &str); 3], body: String) -> Attempt {
        let mut status = None;
        let fault = match request(target, signed, body) {
            None => Some(Fault::Connect),
            Some(request) => match timeout(self.limit, self.exchange(target, request, &mut status)).await {
                Ok(done) => done.err(),
                Err(_) => Some(Fault::Timeout),
            },
        };
        Attempt { status, fault }
    }

    async fn exchange(
        &self,
        target: Target<'_>,
        request: Request<Full<Bytes>>,
        status: &mut Option<u16>,
    ) -> Result<(), Fault> {
        let stream = self.dial(target).await?;
        let shaking = http1::Builder::new().max_buf_size(MAX_ANSWER).handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaking.map_err(|_| Fault::Connect)?;
        let mut connection = pin!(connection.fuse());
        let mut answer = pin!(async {
            let response = sender.send_request(request).await.map_err(|_| Fault::Connect)?;
            *status = Some(response.status().as_u16());
            if !response.status().is_success() {
                return Err(Fault::Status);
            }
            skim(response.into_body()).await
        });
        loop {
            tokio::select! {
                biased;
                result = &mut answer => return result,
                _ = &mut connection, if !connection.is_terminated() => {}
            }
        }
    }

    /// Dials what it looked at: between the look-up and the dial nobody is asked again.
    async fn dial(&self, target: Target<'_>) -> Result<Either<TcpStream, TlsStream<TcpStream>>, Fault> {
        let looked_up = (self.look_up)(target.host.to_owned(), target.port).await;
        let found = looked_up.map_err(|_| Fault::Connect)?;
        let mut fault = if found.is_empty() { Fault::Connect } else { Fault::RefusedAddress };
        for address in found.into_iter().filter(|address| (self.allow)(address.ip())) {
            let Ok(stream) = TcpStream::connect(address).await else {
                fault = Fault::Connect;
                continue;
            };
            if !target.tls {
                return Ok(Either::Left(stream));
            }
            let name = ServerName::try_from(target.host.to_owned()).map_err(|_| Fault::Tls)?;
            let tls = self.tls.get_or_init(|| connector(system_roots()));
            return tls.connect(name, stream).await.map(Either::Right).map_err(|_| Fault::Tls);
        }
        Err(fault)
    }
}

/// None where the URL isn't one after all.
fn request(target: Target<'_>, signed: [(&str, &str); 3], body: String) -> Option<Request<Full<Bytes>>> {
    let slash = if target.rest.starts_with('/') { "" } else { "/" };
    let mut request = Request::post(format!("{slash}{}", target.rest))
        .header(header::HOST, target.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close");
    for (name, value) in signed {
        request = request.header(name, value);
    }
    request.body(Full::from(body)).ok()
}

/// Reads a body to its end, or as much of it as anybody may send.
async fn skim(mut body: Incoming) -> Result<(), Fault> {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.map_err(|_| Fault::Body)?.data_ref().map_or(0, Bytes::len);
        if read >= MAX_ANSWER {
            break;
        }
    }
    Ok(())
}

/// Speaks TLS 1.2 and 1.3 to whom these vouch for.
pub fn connector(roots: RootCertStore) -> TlsConnector {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = match builder.with_safe_default_protocol_versions() {
        Ok(builder) => builder.with_root_certificates(roots).with_no_client_auth(),
        // The provider is compiled in, and has both versions.
        Err(_) => ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}

/// Those of the machine; without any, nobody is vouched for.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
