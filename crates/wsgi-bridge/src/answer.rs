//! What an application has said about the response in hand: the one place that both its callables and the bridge hold.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use http_wire::fields::Fields;
use proxy_core::server::Interim;

use crate::outlet::{Outlet, Room};
use crate::response_head::Head;

/// Called once, at the first `write()`, on the application's thread: sends the head on its way, content follows through the outlet.
pub(crate) type Begin = Box<dyn FnOnce(Head, Arc<Outlet>, Option<Arc<Fields>>) + Send>;

/// Where `write()` leads.
#[derive(Default)]
pub(crate) enum Route {
    /// Nowhere: there is no request.
    #[default]
    Closed,
    /// The application runs on the connection's thread: content waits until it has returned.
    Here(Arc<Room>),
    /// It runs on another thread: the head goes out at the first `write()`, and each waits for the client.
    Across(Arc<Room>, Option<Begin>),
}

/// What the application has said about the response in hand.
#[derive(Default)]
pub(crate) struct Answer {
    /// Said, and not handed on yet.
    pub head: Option<Head>,
    /// `start_response` was called.
    pub started: bool,
    /// The head is on its way (or as good as): it cannot be changed any more.
    pub committed: bool,
    /// What was given to `write()`.
    pub outlet: Option<Arc<Outlet>>,
    /// Content bytes that may still be sent; `None` for any number.
    pub left: Option<u64>,
    /// The response has no content whatever the application gives: HEAD, 204, 304.
    pub without_content: bool,
    /// Content bytes that were sent on their way.
    pub produced: u64,
    /// The status, for the log, also when the head has been handed on.
    pub status: StatusCode,
    /// A copy of the response's fields, where the log wants them.
    pub fields: Option<Arc<Fields>>,
    head_method: bool,
    copies_fields: bool,
    route: Route,
    /// Where interim responses go.
    pub interim: Option<Interim>,
}

/// An [`Answer`] that both callables and the bridge hold.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Answer>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    /// Makes it ready for a request.
    pub fn reset(
        &mut self,
        head_method: bool,
        copies_fields: bool,
        route: Route,
        interim: Option<Interim>,
    ) {
        *self = Self {
            head_method,
            copies_fields,
            route,
            interim,
            ..Self::default()
        };
    }

    /// Ends it: calls of a `start_response` that somebody kept must not reach another request.
    pub fn close(&mut self) {
        let fields = self.fields.take();
        *self = Self {
            status: self.status,
            produced: self.produced,
            fields,
            ..Self::default()
        };
    }

    pub fn is_over(&self) -> bool {
        matches!(self.route, Route::Closed)
    }

    pub fn start(&mut self, head: Head) {
        self.started = true;
        self.left = head.content_length;
        self.without_content = self.head_method || matches!(head.status.as_u16(), 204 | 304);
        self.status = head.status;
        self.fields = self
            .copies_fields
            .then(|| Arc::new(head.fields_with_length()));
        self.head = Some(head);
    }

    /// Cuts a piece of content to what may be sent, and counts it. `None` when nothing of it may.
    pub fn admit(&mut self, mut piece: Bytes) -> Option<Bytes> {
        if self.without_content {
            return None;
        }
        if let Some(left) = &mut self.left {
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= piece.len() as u64;
        }
        self.produced += piece.len() as u64;
        (!piece.is_empty()).then_some(piece)
    }

    /// Bytes that were promised and not given.
    pub fn missing(&self) -> u64 {
        if self.without_content {
            0
        } else {
            self.left.unwrap_or(0)
        }
    }

    /// True when all that was promised has been sent on its way.
    pub fn is_complete(&self) -> bool {
        self.without_content || self.left == Some(0)
    }

    /// Where `write()` leads this time.
    pub fn open_outlet(&mut self) -> Option<Opened> {
        let (room, begin, waits) = match &mut self.route {
            Route::Closed => return None,
            Route::Here(room) => (room.clone(), None, false),
            Route::Across(room, begin) => (room.clone(), begin.take(), true),
        };
        let outlet = self
            .outlet
            .get_or_insert_with(|| Arc::new(Outlet::new(room)))
            .clone();
        Some((
            outlet,
            begin.and_then(|begin| Some((begin, self.head.take()?))),
            waits,
        ))
    }
}

/// An outlet for `write()`; what to call with the head, the first time; and whether a write waits for the client.
type Opened = (Arc<Outlet>, Option<(Begin, Head)>, bool);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_cut_to_the_promised_length() {
        let mut answer = Answer::default();
        answer.reset(false, false, Route::Closed, None);
        answer.start(Head {
            content_length: Some(4),
            ..Head::default()
        });
        assert_eq!(
            answer.admit(Bytes::from_static(b"abc")),
            Some(Bytes::from_static(b"abc"))
        );
        assert!(!answer.is_complete());
        assert_eq!(
            answer.admit(Bytes::from_static(b"def")),
            Some(Bytes::from_static(b"d"))
        );
        assert_eq!(answer.admit(Bytes::from_static(b"ghi")), None);
        assert!(answer.is_complete());
        assert_eq!(answer.produced, 4);
    }
}
