//! Bodies: how one is read, and what becomes of one that nobody reads to its end. hyper closes an HTTP/1 connection with such a one, so
//! that each refusal would cost the client a connection.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

use crate::domain::error::Error;

/// A body has at most so many bytes.
pub(super) const MAX_BODY: usize = 65_536;

/// For the rest of a body that is left unread: what was sent with the head is here, what is withheld may never come.
const DRAIN_TIME: Duration = Duration::from_millis(50);

/// The whole body, before `late` and before the request's deadline; wiped when dropped, since it may hold a card.
pub(super) async fn read(
    body: &mut Body,
    declared: Option<usize>,
    late: Instant,
    deadline: Instant,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    // Of full size from the start where it may grow, so that no copy of a part stays behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(declared.unwrap_or(MAX_BODY)));
    loop {
        let frame = match timeout_at(late.min(deadline), body.frame()).await {
            Err(_) if deadline < late => return Err(Error::DeadlineExceeded),
            Err(_) => return Err(Error::RequestTimeout),
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(_))) => return Err(Error::MalformedBody),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > MAX_BODY {
            return Err(Error::PayloadTooLarge);
        }
        bytes.extend_from_slice(&data);
    }
}

/// Where a watched body comes back to if it is dropped before its end.
#[derive(Clone, Default)]
pub(super) struct Unread(Arc<Mutex<Option<Body>>>);

impl Unread {
    /// The body, with its rest coming back here.
    pub(super) fn watch(&self, body: Body) -> Body {
        if body.is_end_stream() { body } else { Body::new(Watched { body: Some(body), rest: self.clone() }) }
    }

    /// Whether nothing of the body is on its way any more. Takes what arrives soon.
    pub(super) async fn drained(&self) -> bool {
        let rest = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(rest) = rest else { return true };
        let mut rest = Limited::new(rest, MAX_BODY);
        let all = async {
            while let Some(frame) = rest.frame().await {
                drop(frame?);
            }
            Ok::<_, axum::BoxError>(())
        };
        matches!(timeout(DRAIN_TIME, all).await, Ok(Ok(())))
    }
}

/// None once it has ended.
struct Watched {
    body: Option<Body>,
    rest: Unread,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if frame.is_none() {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
    }
}
