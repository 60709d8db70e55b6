//! Builds the environ of a request: PEP 3333's and CGI's keys with gunicorn's values.
//!
//! What is the same for every request of a listener lies in a template that is copied; the keys are made once.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use http::Method;
use http_wire::Version;
use http_wire::fields::Fields;
use http_wire::{Known, KnownSet};
use proxy_core::server::{Address, Connection, Proxied};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::errors::Errors;
use crate::file_wrapper::FileWrapper;
use crate::hooks::{Facts, Hooks};
use crate::input::Input;
use crate::names::Names;
use crate::policy::Policy;
use crate::reception::METHODS;
use crate::settings::Settings;
use crate::start::EarlyHints;
use crate::text;
use crate::trailers::SendTrailers;

/// Makes environs. One per application thread or behind a lock: it remembers.
pub(crate) struct Environs {
    names: Names,
    keys: Keys,
    /// What does not depend on the listener.
    base: Py<PyDict>,
    templates: Vec<Template>,
    /// The texts of peers' ports, each at the place of its connection's number.
    ports: Box<[Option<Port>]>,
}

/// A connection's number, and the text of its peer's port.
type Port = (u64, Py<PyString>);

/// What requests of a listener have in common, with the values of the last request where the next one's are likely to be the same.
struct Template {
    local: Address,
    dict: Py<PyDict>,
    /// `REMOTE_ADDR` is the text of this.
    peer: Option<IpAddr>,
    /// `HTTP_HOST` is this and, behind a unix socket, `SERVER_NAME` and `SERVER_PORT` are of it, with or without TLS.
    host: Option<(Vec<u8>, bool)>,
}

/// Keys and values that are used again and again.
struct Keys {
    method: Py<PyString>,
    raw_uri: Py<PyString>,
    path_info: Py<PyString>,
    script_name: Py<PyString>,
    query_string: Py<PyString>,
    protocol: Py<PyString>,
    remote_addr: Py<PyString>,
    remote_port: Py<PyString>,
    server_name: Py<PyString>,
    server_port: Py<PyString>,
    scheme: Py<PyString>,
    input: Py<PyString>,
    hints: Py<PyString>,
    https: Py<PyString>,
    http10: Py<PyString>,
    methods: Vec<(Method, Py<PyString>)>,
}

/// More listeners than this are rebuilt each time instead of remembered.
const TEMPLATES_MAX: usize = 64;
/// Connections whose ports are remembered.
const PORTS: usize = 256;

impl Environs {
    pub fn new(
        py: Python<'_>,
        settings: &Settings,
        multithread: bool,
        hooks: Arc<dyn Hooks>,
    ) -> PyResult<Self> {
        let base = PyDict::new(py);
        base.set_item("wsgi.version", (1, 0))?;
        base.set_item("wsgi.errors", Py::new(py, Errors::new(hooks))?)?;
        base.set_item("wsgi.multithread", multithread)?;
        base.set_item("wsgi.multiprocess", settings.multiprocess)?;
        base.set_item("wsgi.run_once", false)?;
        base.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        base.set_item("wsgi.input_terminated", true)?;
        base.set_item("SERVER_SOFTWARE", &settings.server_software)?;
        base.set_item("wsgi.input", Py::new(py, Input::empty())?)?;
        base.set_item("wsgi.url_scheme", intern!(py, "http"))?;
        base.set_item("QUERY_STRING", intern!(py, ""))?;
        base.set_item("SCRIPT_NAME", intern!(py, ""))?;
        base.set_item("SERVER_PROTOCOL", intern!(py, "HTTP/1.1"))?;
        base.set_item("REQUEST_METHOD", intern!(py, "GET"))?;
        let names = Names::new(py);
        let keys = Keys::new(py);
        // Places for what every request has, so that no copy has to grow.
        for key in [
            "RAW_URI",
            "PATH_INFO",
            "REMOTE_ADDR",
            "HTTP_HOST",
            "wsgi.early_hints",
        ] {
            base.set_item(intern_str(py, key), py.None())?;
        }
        Ok(Self {
            names,
            keys,
            base: base.unbind(),
            templates: Vec::new(),
            ports: (0..PORTS).map(|_| None).collect(),
        })
    }

    /// The environ of a request. `input` is absent for requests without content.
    pub fn build<'py>(
        &mut self,
        py: Python<'py>,
        facts: &Facts,
        policy: &Policy,
        input: Option<Py<Input>>,
        hints: &Py<EarlyHints>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let head = &facts.head;
        let host = head.fields.get(Known::Host);
        let environ = self.template(py, facts, host)?;
        self.put_target(&environ, facts, policy)?;
        if head.method != Method::GET {
            let method = self.keys.method(py, &head.method)?;
            set(&environ, &self.keys.method, method.as_ptr())?;
        }
        match head.version {
            Version::Http11 => {}
            Version::Http10 => set(&environ, &self.keys.protocol, self.keys.http10.as_ptr())?,
            Version::Http2 => {
                let protocol = intern!(py, "HTTP/2.0");
                set(&environ, &self.keys.protocol, protocol.as_ptr())?;
            }
        }
        if facts.secure {
            set(&environ, &self.keys.scheme, self.keys.https.as_ptr())?;
        }
        set(&environ, &self.keys.hints, hints.as_ptr())?;
        if let Some(input) = input {
            set(&environ, &self.keys.input, input.as_ptr())?;
            if !head.fields.contains(Known::ContentLength) {
                // Chunked; many frameworks read nothing without a length, and we know it.
                let length =
                    text::latin1(py, itoa::Buffer::new().format(input.get().len()).as_bytes())?;
                set(
                    &environ,
                    self.names.known(Known::ContentLength),
                    length.as_ptr(),
                )?;
            }
        }
        self.put_port(&environ, &facts.connection)?;
        if let Some(proxied) = &facts.connection.proxied {
            put_proxied(&environ, proxied)?;
        }
        if host.is_none() {
            environ.del_item(self.names.known(Known::Host))?;
            if let Address::Unix(path) = &facts.connection.local {
                let path = path.as_deref().map(Path::as_os_str);
                let path = path.map_or(&b""[..], OsStr::as_encoded_bytes);
                self.keys.put_server(&environ, path, b"")?;
            }
        }
        self.put_fields(&environ, facts, policy)?;
        if head.version == Version::Http2 {
            // gunicorn's; whoever sends a field "Version" does not get through with it.
            environ.set_item(intern!(py, "HTTP_VERSION"), intern!(py, "2"))?;
            // Priorities have left the standard (RFC 9113 §5.3): these are what a stream has of which nothing is said.
            environ.set_item(intern!(py, "gunicorn.http2.priority_weight"), 16)?;
            environ.set_item(intern!(py, "gunicorn.http2.priority_depends_on"), 0)?;
        }
        if let Some(trailers) = &facts.trailers {
            let send = Py::new(py, SendTrailers(trailers.clone()))?;
            environ.set_item(intern!(py, "gunicorn.http2.send_trailers"), send)?;
        }
        Ok(environ)
    }

    /// A copy of the listener's template, which is brought up to date before.
    fn template<'py>(
        &mut self,
        py: Python<'py>,
        facts: &Facts,
        host: Option<&[u8]>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let local = &facts.connection.local;
        let known = self
            .templates
            .iter()
            .position(|known| known.local == *local);
        let mut fresh;
        let template = match known {
            Some(known) => &mut self.templates[known],
            None => {
                fresh = self.new_template(py, local)?;
                if self.templates.len() < TEMPLATES_MAX {
                    self.templates.push(fresh);
                    let last = self.templates.len() - 1;
                    &mut self.templates[last]
                } else {
                    &mut fresh
                }
            }
        };
        if let Some(host) = host
            && !template.has_host(host, facts.secure)
        {
            let dict = template.dict.bind(py);
            let text = text::latin1(py, host)?;
            set(dict, self.names.known(Known::Host), text.as_ptr())?;
            if let Address::Unix(_) = local {
                let (name, port) = split_host(host);
                let usual = if facts.secure {
                    &b"443"[..]
                } else {
                    &b"80"[..]
                };
                self.keys.put_server(dict, name, port.unwrap_or(usual))?;
            }
            template.remember_host(host, facts.secure);
        }
        if let Address::Inet(peer) = facts.connection.client()
            && template.peer != Some(peer.ip())
        {
            let text = PyString::new(py, &peer.ip().to_string());
            set(
                template.dict.bind(py),
                &self.keys.remote_addr,
                text.as_ptr(),
            )?;
            template.peer = Some(peer.ip());
        }
        template.dict.bind(py).copy()
    }

    fn new_template(&self, py: Python<'_>, local: &Address) -> PyResult<Template> {
        let dict = self.base.bind(py).copy()?;
        match local {
            Address::Inet(address) => {
                dict.set_item(&self.keys.server_name, address.ip().to_string())?;
                dict.set_item(&self.keys.server_port, address.port().to_string())?;
                dict.set_item(&self.keys.remote_port, py.None())?;
            }
            Address::Unix(_) => {
                dict.set_item(&self.keys.server_name, py.None())?;
                dict.set_item(&self.keys.server_port, py.None())?;
                dict.set_item(&self.keys.remote_addr, intern!(py, ""))?;
            }
        }
        Ok(Template {
            local: local.clone(),
            dict: dict.unbind(),
            peer: None,
            host: None,
        })
    }

    fn put_target(
        &self,
        environ: &Bound<'_, PyDict>,
        facts: &Facts,
        policy: &Policy,
    ) -> PyResult<()> {
        let py = environ.py();
        let target = &facts.head.target;
        let raw = text::latin1(py, target.as_bytes())?;
        set(environ, &self.keys.raw_uri, raw.as_ptr())?;
        let script_name = policy.script_name(&facts.head.fields, facts.script_told);
        if !script_name.is_empty() {
            set(
                environ,
                &self.keys.script_name,
                text::latin1(py, script_name)?.as_ptr(),
            )?;
        }
        if let Some(query) = target.query().filter(|query| !query.is_empty()) {
            set(
                environ,
                &self.keys.query_string,
                text::latin1(py, query)?.as_ptr(),
            )?;
        }
        let path = &target.path()[script_name.len()..];
        if memchr::memchr(b'%', path).is_some() {
            return set(
                environ,
                &self.keys.path_info,
                text::latin1(py, &percent_decoded(path))?.as_ptr(),
            );
        }
        if path.len() == target.as_bytes().len() {
            return set(environ, &self.keys.path_info, raw.as_ptr());
        }
        set(
            environ,
            &self.keys.path_info,
            text::latin1(py, path)?.as_ptr(),
        )
    }

    /// `REMOTE_PORT`, which a peer on a unix socket does not have.
    fn put_port(&mut self, environ: &Bound<'_, PyDict>, connection: &Connection) -> PyResult<()> {
        let py = environ.py();
        let Address::Inet(peer) = connection.client() else {
            return set(environ, &self.keys.remote_addr, intern!(py, "").as_ptr());
        };
        let place = &mut self.ports[connection.serial as usize % PORTS];
        let text = match place {
            Some((serial, text)) if *serial == connection.serial => text,
            other => {
                let text = text::latin1(py, itoa::Buffer::new().format(peer.port()).as_bytes())?;
                &mut other.insert((connection.serial, text.unbind())).1
            }
        };
        set(environ, &self.keys.remote_port, text.as_ptr())
    }

    fn put_fields(
        &mut self,
        environ: &Bound<'_, PyDict>,
        facts: &Facts,
        policy: &Policy,
    ) -> PyResult<()> {
        let py = environ.py();
        let fields = &facts.head.fields;
        let mut seen = KnownSet::EMPTY;
        for (name, value) in fields {
            let repeated = match name.known() {
                // The template has it.
                Some(Known::Host) if !seen.contains(Known::Host) => {
                    seen = seen.with(Known::Host);
                    continue;
                }
                Some(known) => {
                    let before = seen;
                    seen = seen.with(known);
                    before.contains(known)
                }
                None if name.as_bytes().contains(&b'_')
                    && !policy.keeps_underscored(name.as_str(), facts.trusted) =>
                {
                    continue;
                }
                None => true,
            };
            let value = text::latin1(py, value)?;
            let key = self.names.key(py, name);
            // SAFETY: all three are live objects; both calls take new references of their own.
            let done = unsafe {
                let before = if repeated {
                    ffi::PyDict_GetItemWithError(environ.as_ptr(), key.as_ptr())
                } else {
                    std::ptr::null_mut()
                };
                if before.is_null() {
                    ffi::PyDict_SetItem(environ.as_ptr(), key.as_ptr(), value.as_ptr())
                } else {
                    let before = Bound::from_borrowed_ptr(py, before);
                    let joined = before
                        .add(intern!(py, ","))
                        .and_then(|text| text.add(value))?;
                    ffi::PyDict_SetItem(environ.as_ptr(), key.as_ptr(), joined.as_ptr())
                }
            };
            check(py, done)?;
        }
        Ok(())
    }
}

/// What gunicorn tells of the PROXY protocol.
fn put_proxied(environ: &Bound<'_, PyDict>, proxied: &Proxied) -> PyResult<()> {
    environ.set_item("PROXY_PROTOCOL", proxied.protocol)?;
    if let Some(destination) = proxied.destination {
        environ.set_item("PROXY_ADDR", destination.ip().to_string())?;
        environ.set_item("PROXY_PORT", destination.port().to_string())?;
    }
    Ok(())
}

impl Template {
    fn has_host(&self, host: &[u8], secure: bool) -> bool {
        let known = self.host.as_ref();
        known.is_some_and(|(known, with_tls)| known == host && *with_tls == secure)
    }

    fn remember_host(&mut self, host: &[u8], secure: bool) {
        let (known, with_tls) = self.host.get_or_insert_default();
        known.clear();
        known.extend_from_slice(host);
        *with_tls = secure;
    }
}

impl Keys {
    /// `SERVER_NAME` and `SERVER_PORT` behind a unix socket, which come from `Host`, as gunicorn has it.
    fn put_server(&self, environ: &Bound<'_, PyDict>, name: &[u8], port: &[u8]) -> PyResult<()> {
        let py = environ.py();
        set(environ, &self.server_name, text::latin1(py, name)?.as_ptr())?;
        set(environ, &self.server_port, text::latin1(py, port)?.as_ptr())
    }

    fn new(py: Python<'_>) -> Self {
        let key = |text: &str| intern_str(py, text).unbind();
        Self {
            method: key("REQUEST_METHOD"),
            raw_uri: key("RAW_URI"),
            path_info: key("PATH_INFO"),
            script_name: key("SCRIPT_NAME"),
            query_string: key("QUERY_STRING"),
            protocol: key("SERVER_PROTOCOL"),
            remote_addr: key("REMOTE_ADDR"),
            remote_port: key("REMOTE_PORT"),
            server_name: key("SERVER_NAME"),
            server_port: key("SERVER_PORT"),
            scheme: key("wsgi.url_scheme"),
            input: key("wsgi.input"),
            hints: key("wsgi.early_hints"),
            https: key("https"),
            http10: key("HTTP/1.0"),
            methods: METHODS
                .map(|method| (method.clone(), key(method.as_str())))
                .into(),
        }
    }

    fn method(&self, py: Python<'_>, method: &Method) -> PyResult<Py<PyString>> {
        match self.methods.iter().find(|(known, _)| known == method) {
            Some((_, text)) => Ok(text.clone_ref(py)),
            None => Ok(text::latin1(py, method.as_str().as_bytes())?.unbind()),
        }
    }
}

fn intern_str<'py>(py: Python<'py>, text: &str) -> Bound<'py, PyString> {
    PyString::intern(py, text)
}

/// `environ[key] = value`, without pyo3's conversions.
#[inline]
fn set(environ: &Bound<'_, PyDict>, key: &Py<PyString>, value: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: dict, key and value are live objects, and the dict takes references of its own.
    let done = unsafe { ffi::PyDict_SetItem(environ.as_ptr(), key.as_ptr(), value) };
    check(environ.py(), done)
}

#[inline]
fn check(py: Python<'_>, done: std::os::raw::c_int) -> PyResult<()> {
    if done == 0 {
        Ok(())
    } else {
        Err(PyErr::fetch(py))
    }
}

/// `%41` becomes `A`; what is no such triple stays (as `urllib.parse.unquote_to_bytes`).
pub fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(path.get(at + 1)), digit(path.get(at + 2)))
        {
            decoded.push((high * 16 + low) as u8);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    decoded
}

/// Name and port of a `Host` field; an IPv6 address keeps its brackets.
fn split_host(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    let after = host
        .iter()
        .rposition(|&byte| byte == b']')
        .map_or(0, |at| at + 1);
    match host[after..].iter().position(|&byte| byte == b':') {
        Some(at) => (&host[..after + at], Some(&host[after + at + 1..])),
        None => (host, None),
    }
}

/// Values of the environ as text, for the access log.
pub(crate) fn values(environ: &Bound<'_, PyDict>, names: &[String]) -> Vec<Option<String>> {
    let in_any_case = |name: &str| {
        environ.iter().find(|(key, _)| {
            key.extract::<String>()
                .is_ok_and(|key| key.eq_ignore_ascii_case(name))
        })
    };
    let value = |name: &String| -> Option<String> {
        let exact = environ.get_item(name).ok().flatten();
        let value = exact.or_else(|| in_any_case(name).map(|(_, value)| value))?;
        value
            .str()
            .ok()
            .map(|text| text.to_string_lossy().into_owned())
    };
    names.iter().map(value).collect()
}

/// A request's fields as gunicorn's `req.headers`: `(NAME, value)` with the name in capitals.
pub fn headers<'py>(py: Python<'py>, fields: &Fields) -> PyResult<Bound<'py, pyo3::types::PyList>> {
    let list = pyo3::types::PyList::empty(py);
    for (name, value) in fields {
        list.append((name.as_str().to_ascii_uppercase(), text::latin1(py, value)?))?;
    }
    Ok(list)
}

#[cfg(test)]
mod tests;
