//! `gunicorn.http2.send_trailers`: fields that follow the content of a response of HTTP/2.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use proxy_core::body::{Body, BodyError};
use pyo3::prelude::*;

use crate::response_head::{Head, read_field};

/// What the application says that is to follow; the last word counts. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Trailers(Arc<Mutex<Option<HeaderMap>>>);

impl Trailers {
    fn said(&self, fields: HeaderMap) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fields);
    }

    fn take(&self) -> Option<HeaderMap> {
        let fields = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        fields.filter(|fields| !fields.is_empty())
    }

    fn is_some(&self) -> bool {
        let fields = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fields.is_some()
    }

    /// The body with what follows it. Who makes it bit by bit may say that until the last of it.
    pub(crate) fn follow(&self, body: Body) -> Body {
        match body {
            Body::Stream(_) | Body::Ahead(_) => {}
            _ if self.is_some() => {}
            whole => return whole,
        }
        Body::stream(Trailing {
            body,
            trailers: self.clone(),
        })
    }
}

struct Trailing {
    body: Body,
    trailers: Trailers,
}

impl http_body::Body for Trailing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => Poll::Ready(
                self.trailers
                    .take()
                    .map(|fields| Ok(Frame::trailers(fields))),
            ),
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && !self.trailers.is_some()
    }

    fn size_hint(&self) -> SizeHint {
        match self.trailers.is_some() {
            // Where the length is known to be nothing, nothing follows.
            true => SizeHint::new(),
            false => self.body.size_hint(),
        }
    }
}

/// `environ["gunicorn.http2.send_trailers"]`.
#[pyclass(frozen, name = "send_trailers", module = "viaduct")]
pub(crate) struct SendTrailers(pub Trailers);

#[pymethods]
impl SendTrailers {
    #[pyo3(signature = (trailers, /))]
    fn __call__(&self, trailers: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut head = Head::default();
        let mut scratch = Vec::new();
        for item in trailers.try_iter()? {
            let (name, value) = item?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            // gunicorn takes numbers: grpc-status is one.
            let pair = (name, value.str()?).into_pyobject(trailers.py())?;
            read_field(&pair.into_any(), &mut head, &mut scratch)?;
        }
        let mut fields = HeaderMap::with_capacity(head.fields.len());
        for (name, value) in &head.fields {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                fields.append(name, value);
            }
        }
        self.0.said(fields);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;
    use crate::tests::with_python;

    fn frames(mut body: Body) -> Vec<String> {
        let mut seen = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
            let frame = frame.expect("is a frame");
            seen.push(match frame.into_data() {
                Ok(data) => String::from_utf8_lossy(&data).into_owned(),
                Err(frame) => format!("{:?}", frame.into_trailers().expect("are trailers")),
            });
        }
        seen
    }

    #[test]
    fn what_was_said_follows_the_content() {
        with_python(|py| {
            let trailers = Trailers::default();
            assert!(matches!(trailers.follow("x".into()), Body::Bytes(_)));
            let send = Py::new(py, SendTrailers(trailers.clone())).expect("is made");
            let send = send.bind(py);
            let say = |list| send.call1((py.eval(list, None, None).expect("evaluates"),));
            for wrong in [c"[(':path', '/')]", c"[('a', 'b\\n')]", c"[1]"] {
                assert!(say(wrong).is_err(), "{wrong:?}");
            }
            say(c"[('Grpc-Status', 0), ('connection', 'close')]").expect("are fields");
            let followed = trailers.follow("content".into());
            assert_eq!(followed.exact_length(), None);
            assert_eq!(frames(followed), ["content", r#"{"grpc-status": "0"}"#]);
            say(c"[]").expect("are none");
            assert_eq!(frames(trailers.follow(Body::Empty)), [""; 0]);
        });
    }
}
