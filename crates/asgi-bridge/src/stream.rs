//! Contents of responses: what an application sends piece by piece, and none.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Method;
use http_body::Frame;
use proxy_core::body::{Body, BodyError};
use wsgi_bridge::Facts;
use wsgi_bridge::shared::unstated;

use crate::exchange::Exchange;

/// The content of a response that the application sends piece by piece.
pub(crate) struct Stream(pub Arc<Exchange>);

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_frame(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Content in memory. A response that has none does not tell a length that nobody gave.
pub(crate) fn whole(bytes: Bytes, facts: &Facts) -> Body {
    if bytes.is_empty() && facts.head.method == Method::HEAD {
        return unstated();
    }
    Body::Bytes(bytes)
}
