//! `start_response` and `write`: where the application says what its response is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use http_wire::Known;
use http_wire::fields::Fields;
use proxy_core::server::Interim;
use pyo3::exceptions::{PyAssertionError, PyOSError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::outlet::{Fill, Outlet, Pushed, Room};
use crate::text;

/// The head of a response, checked.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub status: StatusCode,
    /// Where the application's phrase is not the usual one.
    pub reason: Option<Bytes>,
    pub fields: Fields,
    /// What the application promises in `Content-Length`, which is not among the fields.
    pub content_length: Option<u64>,
}

impl Head {
    /// The fields, with the promised length.
    pub fn fields_with_length(&self) -> Fields {
        let mut fields = self.fields.clone();
        if let Some(length) = self.content_length {
            append_length(length, &mut fields);
        }
        fields
    }
}

/// Adds `Content-Length`.
pub(crate) fn append_length(length: u64, fields: &mut Fields) {
    let appended = fields.append(Known::ContentLength, itoa::Buffer::new().format(length));
    debug_assert!(appended.is_ok(), "a number and a known name");
}

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
    interim: Option<Interim>,
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

    fn is_over(&self) -> bool {
        matches!(self.route, Route::Closed)
    }

    fn start(&mut self, head: Head) {
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
}

/// What a `start_response` holds; [`Starter`](crate::starter::Starter) makes it callable.
#[pyclass(frozen, name = "start_response", module = "viaduct")]
pub(crate) struct StartResponse {
    answer: Shared,
    write: Py<Write>,
    hints: Py<EarlyHints>,
}

/// What `start_response` returns: `write(data)`.
#[pyclass(frozen, name = "write", module = "viaduct")]
pub(crate) struct Write {
    answer: Shared,
}

impl StartResponse {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let answer = Shared::default();
        let write = Py::new(
            py,
            Write {
                answer: answer.clone(),
            },
        )?;
        let hints = Py::new(
            py,
            EarlyHints {
                answer: answer.clone(),
            },
        )?;
        Ok(Self {
            answer,
            write,
            hints,
        })
    }

    /// The request's `wsgi.early_hints`.
    pub fn hints(&self) -> &Py<EarlyHints> {
        &self.hints
    }

    pub fn answer(&self) -> &Shared {
        &self.answer
    }

    /// Whether nobody but this holds `write` or the hints. The caller is attached.
    pub fn is_free(&self) -> bool {
        let free = |object: *mut ffi::PyObject| {
            // SAFETY: the object is alive and we are attached. A count that reads too high only means that it is not used again.
            unsafe { ffi::Py_REFCNT(object) == 1 }
        };
        free(self.write.as_ptr()) && free(self.hints.as_ptr())
    }

    /// The call, as PEP 3333 has it.
    pub fn start(
        &self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Write>> {
        let py = status.py();
        // Reading the fields may run Python code; nothing is locked meanwhile.
        let head = read_head(status, headers);
        let mut answer = self.answer.lock();
        if answer.is_over() {
            return Err(PyAssertionError::new_err(
                "start_response() called after the request ended",
            ));
        }
        match exc_info.filter(|exc_info| !exc_info.is_none()) {
            Some(exc_info) if answer.committed => return Err(raise_again(exc_info)),
            None if answer.started => {
                return Err(PyAssertionError::new_err("Response headers already set!"));
            }
            _ => answer.start(head?),
        }
        drop(answer);
        Ok(self.write.clone_ref(py))
    }
}

#[pymethods]
impl Write {
    #[pyo3(signature = (data, /))]
    fn __call__(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let piece = bytes_of(data)?;
        let mut answer = self.answer.lock();
        if answer.is_over() {
            return Err(PyAssertionError::new_err(
                "write() called after the request ended",
            ));
        }
        if !answer.started {
            return Err(PyAssertionError::new_err(
                "write() called before start_response()",
            ));
        }
        answer.committed |= !piece.is_empty();
        let Some(piece) = answer.admit(piece) else {
            return Ok(());
        };
        let Some((outlet, begin, waits)) = answer.open_outlet() else {
            return Ok(());
        };
        let fields = answer.fields.clone();
        drop(answer);
        if let Some((begin, head)) = begin {
            begin(head, outlet.clone(), fields);
        }
        let pushed = if waits {
            py.detach(|| outlet.push_waiting(&piece, || false))
        } else {
            outlet.push(&piece, Fill::Spool)
        };
        match pushed? {
            Pushed::Taken | Pushed::Gone => Ok(()),
            Pushed::Full => Err(PyOSError::new_err(
                "write(): the response is larger than what may be stored on its way",
            )),
        }
    }
}

/// `environ["wsgi.early_hints"]`: sends 103 (Early Hints) with the given fields ahead of the response. Does nothing for clients that
/// speak HTTP/1.0, and once the response has begun.
#[pyclass(frozen, name = "early_hints", module = "viaduct")]
pub(crate) struct EarlyHints {
    answer: Shared,
}

#[pymethods]
impl EarlyHints {
    #[pyo3(signature = (headers, /))]
    fn __call__(&self, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut head = Head::default();
        let mut scratch = Vec::new();
        for item in headers.try_iter()? {
            let (name, value) = item?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            let pair = PyTuple::new(headers.py(), [text_of(name)?, text_of(value)?])?;
            read_field(&pair.into_any(), &mut head, &mut scratch)?;
        }
        let answer = self.answer.lock();
        if let Some(interim) = answer.interim.as_ref().filter(|_| !answer.committed) {
            interim.send(StatusCode::EARLY_HINTS, &head.fields);
        }
        Ok(())
    }
}

/// Names and values of early hints may be bytes.
fn text_of(item: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    match item.cast::<PyBytes>() {
        Ok(bytes) => Ok(text::latin1(item.py(), bytes.as_bytes())?.into_any()),
        Err(_) => Ok(item),
    }
}

/// An outlet for `write()`; what to call with the head, the first time; and whether a write waits for the client.
type Opened = (Arc<Outlet>, Option<(Begin, Head)>, bool);

impl Answer {
    fn open_outlet(&mut self) -> Option<Opened> {
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

/// The exception of an `exc_info` tuple.
fn raise_again(exc_info: &Bound<'_, PyAny>) -> PyErr {
    match exc_info.get_item(1) {
        Ok(value) if !value.is_none() => PyErr::from_value(value),
        Ok(_) => PyTypeError::new_err("exc_info has no exception"),
        Err(error) => error,
    }
}

/// The bytes of a piece of content. Small ones are copied, large ones are borrowed from Python until they are sent.
pub fn bytes_of(item: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    const COPIED: usize = 16 << 10;
    let Ok(item) = item.cast::<PyBytes>() else {
        let kind = item
            .get_type()
            .name()
            .map_or_else(|_| "?".to_owned(), |name| name.to_string());
        return Err(PyTypeError::new_err(format!(
            "response content must be bytes, not {kind}"
        )));
    };
    let bytes = item.as_bytes();
    if bytes.len() <= COPIED {
        return Ok(Bytes::copy_from_slice(bytes));
    }
    Ok(Bytes::from_owner(Borrowed {
        start: bytes.as_ptr(),
        len: bytes.len(),
        _item: item.clone().unbind(),
    }))
}

/// Bytes that belong to a Python object.
struct Borrowed {
    start: *const u8,
    len: usize,
    _item: Py<PyBytes>,
}

// SAFETY: a Python bytes object never changes, and the reference keeps it alive; its count is only touched while attached
// (pyo3 defers a drop on a detached thread).
unsafe impl Send for Borrowed {}
// SAFETY: as above.
unsafe impl Sync for Borrowed {}

impl AsRef<[u8]> for Borrowed {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `start` and `len` are those of the bytes object that `_item` keeps alive.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

/// Reads and checks what was given to `start_response`.
fn read_head(status: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<Head> {
    let Ok(text) = status.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!(
            "status must be a str, got {}",
            repr(status)
        )));
    };
    let (status, reason) = read_status(text::borrow(text)?)
        .ok_or_else(|| PyValueError::new_err(format!("Invalid status {}", repr(status))))?;
    if status.is_informational() {
        let fault = format!(
            "status {} is interim; a response needs a final one (200 and up)",
            status.as_u16()
        );
        return Err(PyValueError::new_err(fault));
    }
    let mut head = Head {
        status,
        reason,
        ..Head::default()
    };
    let mut scratch = Vec::new();
    if let Ok(list) = headers.cast_exact::<PyList>() {
        head.fields = Fields::with_capacity(list.len(), list.len() * 40);
        for item in list {
            read_field(&item, &mut head, &mut scratch)?;
        }
    } else {
        for item in headers.try_iter()? {
            read_field(&item?, &mut head, &mut scratch)?;
        }
    }
    if status == StatusCode::NO_CONTENT {
        head.content_length = None;
    }
    Ok(head)
}

/// `200 OK`: three digits, and a phrase behind one space (PEP 3333; RFC 9112 §4).
fn read_status(text: &str) -> Option<(StatusCode, Option<Bytes>)> {
    let (digits, phrase) = text.split_at_checked(3)?;
    let status = StatusCode::from_bytes(digits.as_bytes()).ok()?;
    let Some(phrase) = phrase.strip_prefix(' ') else {
        return phrase.is_empty().then_some((status, None));
    };
    if Some(phrase) == status.canonical_reason() {
        return Some((status, None));
    }
    let mut bytes = Vec::new();
    text::append_latin1(phrase, &mut bytes).ok()?;
    is_field_text(&bytes).then(|| (status, Some(bytes.into())))
}

fn read_field(item: &Bound<'_, PyAny>, head: &mut Head, scratch: &mut Vec<u8>) -> PyResult<()> {
    match item.cast_exact::<PyTuple>() {
        Ok(pair) if pair.len() == 2 => {
            let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
            read_pair(&name, &value, head, scratch)
        }
        _ => {
            let (name, value) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            read_pair(&name, &value, head, scratch)
        }
    }
}

fn read_pair(
    name: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
    head: &mut Head,
    scratch: &mut Vec<u8>,
) -> PyResult<()> {
    let Ok(name) = name.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!(
            "header name must be a str, got {}",
            repr(name)
        )));
    };
    let Ok(value) = value.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!(
            "value of header {} must be a str, got {}",
            repr(name),
            repr(value)
        )));
    };
    let (name_text, value_text) = (text::borrow(name)?, text::borrow(value)?);
    // Only the name is told: the value may be a secret.
    let refuse = || {
        PyValueError::new_err(format!(
            "value of header {} has characters that cannot be sent",
            repr(name)
        ))
    };
    let value_bytes = if value_text.is_ascii() {
        value_text.as_bytes()
    } else {
        scratch.clear();
        text::append_latin1(value_text, scratch).map_err(|_| refuse())?;
        &scratch[..]
    };
    if !is_field_text(value_bytes) {
        return Err(refuse());
    }
    let known = Known::find(name_text.as_bytes());
    match known {
        Some(Known::ContentLength) => return read_length(value_text, head),
        Some(known) if belongs_to_the_connection(known) && !is_websocket(known, value_bytes) => {
            return Ok(());
        }
        None if name_text.eq_ignore_ascii_case("trailers") => return Ok(()),
        Some(known) if known.as_str() == name_text => head.fields.append(known, value_bytes),
        _ => head.fields.append(name_text, value_bytes),
    }
    .map_err(|error| PyValueError::new_err(format!("Invalid HTTP header {}: {error}", repr(name))))
}

fn read_length(value: &str, head: &mut Head) -> PyResult<()> {
    let value = value.trim_matches([' ', '\t']);
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let length = value.parse::<u64>().ok().filter(|_| digits);
    let Some(length) = length else {
        return Err(PyValueError::new_err(format!(
            "Content-Length {value:?} is not a number of bytes"
        )));
    };
    if head.content_length.is_some_and(|before| before != length) {
        return Err(PyValueError::new_err(
            "two different values of Content-Length",
        ));
    }
    head.content_length = Some(length);
    Ok(())
}

/// Fields that are the server's to send, so that an application's are left out (PEP 3333 forbids it to send them).
fn belongs_to_the_connection(name: Known) -> bool {
    use Known::{
        Connection, Date, KeepAlive, ProxyAuthenticate, ProxyAuthorization, ProxyConnection,
        Server, Te, TransferEncoding, Upgrade,
    };
    matches!(
        name,
        Connection
            | Date
            | KeepAlive
            | ProxyAuthenticate
            | ProxyAuthorization
            | ProxyConnection
            | Server
            | Te
            | TransferEncoding
            | Upgrade
    )
}

fn is_websocket(name: Known, value: &[u8]) -> bool {
    name == Known::Upgrade && value.trim_ascii().eq_ignore_ascii_case(b"websocket")
}

/// RFC 9110 §5.5: visible characters, spaces, tabs, and bytes from 0x80 up.
pub fn is_field_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

fn repr(object: &Bound<'_, PyAny>) -> String {
    object.repr().map_or_else(
        |_| "?".to_owned(),
        |text| text.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::with_python;

    /// Calls `start_response` with Python's `(status, headers)` and gives the head or the exception's text.
    fn start(arguments: &std::ffi::CStr) -> Result<Head, String> {
        with_python(|py| {
            let pair = py.eval(arguments, None, None).expect("evaluates");
            read_head(
                &pair.get_item(0).expect("has a status"),
                &pair.get_item(1).expect("has headers"),
            )
            .map_err(|error| error.to_string())
        })
    }

    fn lines(head: &Head) -> Vec<String> {
        let line = |(name, value): (http_wire::fields::FieldName<'_>, &[u8])| {
            format!("{}: {}", name.as_str(), String::from_utf8_lossy(value))
        };
        head.fields.iter().map(line).collect()
    }

    #[test]
    fn fields_keep_order_spelling_and_repetition_and_the_servers_own_are_left_out() {
        let head = start(
            cr"('200 OK', [('x-Odd', ' a\t'), ('Date', 'never'), ('Server', 'x'), ('Set-Cookie', 'a=1'), ('Connection', 'close'),
              ('Set-Cookie', 'b=2'), ('Transfer-Encoding', 'chunked'), ('Content-Length', '12'), ('Keep-Alive', '5')])",
        )
        .expect("is accepted");
        assert_eq!(
            lines(&head),
            ["x-Odd: a", "Set-Cookie: a=1", "Set-Cookie: b=2"]
        );
        assert_eq!(
            (head.status.as_u16(), head.reason, head.content_length),
            (200, None, Some(12))
        );
    }

    #[test]
    fn a_phrase_of_ones_own_is_kept_and_latin1_is_sent_as_latin1() {
        let head =
            start(cr"('404 Rien trouv\xe9', iter([('X-Name', 'caf\xe9')]))").expect("is accepted");
        assert_eq!(head.reason.as_deref(), Some(&b"Rien trouv\xe9"[..]));
        assert_eq!(head.fields.get("x-name"), Some(&b"caf\xe9"[..]));
        assert_eq!(
            start(cr"('404 Not Found', ())")
                .expect("is accepted")
                .reason,
            None
        );
    }

    #[test]
    fn nothing_that_could_split_a_response_is_accepted() {
        for bad in [
            cr"('200 OK\r\nX: y', [])",
            cr"('200 O\0K', [])",
            cr"('20', [])",
            cr"('200OK', [])",
            cr"('099 Low', [])",
            cr"('100 Continue', [])",
            cr"('200 \u20ac', [])",
            cr"(b'200 OK', [])",
            cr"('200 OK', [('X', 'a\r\nSet-Cookie: b')])",
            cr"('200 OK', [('X', 'a\nb')])",
            cr"('200 OK', [('X', 'a\x7fb')])",
            cr"('200 OK', [('X', 'a\0')])",
            cr"('200 OK', [('X', '\u20ac')])",
            cr"('200 OK', [('X', '\ud800')])",
            cr"('200 OK', [('X Y', 'a')])",
            cr"('200 OK', [('X:', 'a')])",
            cr"('200 OK', [('', 'a')])",
            cr"('200 OK', [('X\r\n', 'a')])",
            cr"('200 OK', [(b'X', 'a')])",
            cr"('200 OK', [('X', b'a')])",
            cr"('200 OK', [('X', 'a', 'b')])",
            cr"('200 OK', None)",
            cr"('200 OK', [('Content-Length', '1'), ('Content-Length', '2')])",
            cr"('200 OK', [('Content-Length', '-1')])",
            cr"('200 OK', [('Content-Length', '1_0')])",
            cr"('200 OK', [('Content-Length', '')])",
        ] {
            assert!(start(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_value_of_a_refused_field_is_not_told() {
        let fault = start(cr"('200 OK', [('X-Token', 'secret\n')])").expect_err("is refused");
        assert!(
            fault.contains("X-Token") && !fault.contains("secret"),
            "{fault}"
        );
    }

    #[test]
    fn a_204_has_no_length() {
        let head = start(cr"('204 No Content', [('Content-Length', '0')])").expect("is accepted");
        assert_eq!((lines(&head), head.content_length), (vec![], None));
    }

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
