//! The scope of a request: ASGI's keys, most of them made once.

use std::collections::HashMap;
use std::net::IpAddr;

use http::Method;
use http_wire::fields::{FieldName, Fields};
use http_wire::{Known, Version};
use proxy_core::server::Address;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use wsgi_bridge::shared::{METHODS, Policy, latin1};
use wsgi_bridge::{Facts, percent_decoded};

use crate::settings::Settings;

/// `asgi.spec_version`. Not 2.4: from then on `send()` has to raise when the client is gone, and applications that are told so do
/// without listening for `http.disconnect`. Here, as with uvicorn, it is `receive()` that tells.
const SPEC_VERSION: &str = "2.3";
/// Names of fields other than the well-known ones are remembered up to this many, and only short ones.
const REMEMBERED_MAX: usize = 512;
const REMEMBERED_BYTES: usize = 64;
/// Addresses of clients, by the connection's number.
const CLIENTS: usize = 256;
/// More listeners than this are told anew each time.
const LOCALS_MAX: usize = 64;

/// Makes scopes. It remembers: one per loop.
pub(crate) struct Scopes {
    http: Py<PyDict>,
    /// What extensions there are for HTTP/1.0, which knows neither interim responses nor trailers.
    extensions_1_0: Py<PyDict>,
    websocket: Py<PyDict>,
    state: Option<Py<PyDict>>,
    known: Vec<Py<PyBytes>>,
    others: HashMap<Box<[u8]>, Py<PyBytes>>,
    methods: Vec<(Method, Py<PyString>)>,
    locals: Vec<(Address, Py<PyAny>)>,
    clients: Vec<Option<(u64, Py<PyAny>)>>,
    /// What every path is to begin with; mostly nothing.
    path_start: Box<[u8]>,
    forwarded_client: bool,
    trusted: wsgi_bridge::Trusted,
}

impl Scopes {
    /// `state` is what the lifespan of the application left, where it has one.
    pub fn new(py: Python<'_>, settings: &Settings, state: Option<Py<PyDict>>) -> PyResult<Self> {
        let http = template(py, settings, "http")?;
        // Without sendfile the application had better read its files itself: it may compress them, say.
        let of_files: &[&str] = match settings.http.sendfile {
            true => &["http.response.pathsend", "http.response.zerocopysend"],
            false => &[],
        };
        let of_heads = ["http.response.early_hint", "http.response.trailers"];
        http.set_item(
            "extensions",
            extensions(py, &[&of_heads, of_files].concat())?,
        )?;
        let websocket = template(py, settings, "websocket")?;
        websocket.set_item("extensions", extensions(py, &["websocket.http.response"])?)?;
        let known = Known::all()
            .iter()
            .map(|name| PyBytes::new(py, name.as_str().to_ascii_lowercase().as_bytes()).unbind());
        Ok(Self {
            http: http.unbind(),
            extensions_1_0: extensions(py, of_files)?.unbind(),
            websocket: websocket.unbind(),
            state,
            known: known.collect(),
            others: HashMap::new(),
            methods: METHODS
                .map(|method| {
                    let text = PyString::intern(py, method.as_str()).unbind();
                    (method, text)
                })
                .into(),
            locals: Vec::new(),
            clients: std::iter::repeat_with(|| None).take(CLIENTS).collect(),
            path_start: match settings.root_path_in_path {
                true => settings.root_path.as_bytes().into(),
                false => Box::default(),
            },
            forwarded_client: settings.forwarded_client,
            trusted: settings.http.forwarded_allow_ips.clone(),
        })
    }

    /// The scope of an HTTP request.
    pub fn http<'py>(
        &mut self,
        py: Python<'py>,
        facts: &Facts,
        policy: &Policy,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.http.bind(py).copy()?;
        if facts.head.method != Method::GET {
            let method = self.methods.iter().find(|(m, _)| *m == facts.head.method);
            match method {
                Some((_, text)) => scope.set_item(intern!(py, "method"), text)?,
                None => {
                    scope.set_item(intern!(py, "method"), facts.head.method.as_str())?;
                }
            }
        }
        if facts.secure {
            scope.set_item(intern!(py, "scheme"), intern!(py, "https"))?;
        }
        if facts.head.version == Version::Http10 {
            let extensions = self.extensions_1_0.bind(py);
            scope.set_item(intern!(py, "extensions"), extensions)?;
        }
        self.put_common(&scope, facts, policy)?;
        Ok(scope)
    }

    /// The scope of a WebSocket.
    pub fn websocket<'py>(
        &mut self,
        py: Python<'py>,
        facts: &Facts,
        policy: &Policy,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.websocket.bind(py).copy()?;
        if facts.secure {
            scope.set_item(intern!(py, "scheme"), intern!(py, "wss"))?;
        }
        let offered = PyList::empty(py);
        for value in facts.head.fields.get_all(Known::SecWebSocketProtocol) {
            for element in http_wire::list::elements(value) {
                offered.append(latin1(py, element)?)?;
            }
        }
        scope.set_item(intern!(py, "subprotocols"), offered)?;
        self.put_common(&scope, facts, policy)?;
        Ok(scope)
    }

    fn put_common<'py>(
        &mut self,
        scope: &Bound<'py, PyDict>,
        facts: &Facts,
        policy: &Policy,
    ) -> PyResult<()> {
        let py = scope.py();
        let head = &facts.head;
        match head.version {
            Version::Http11 => {}
            Version::Http10 => {
                scope.set_item(intern!(py, "http_version"), intern!(py, "1.0"))?;
            }
            Version::Http2 => scope.set_item(intern!(py, "http_version"), intern!(py, "2"))?,
        }
        let mut raw = head.target.path();
        let whole;
        if !self.path_start.is_empty() {
            whole = [&*self.path_start, raw].concat();
            raw = &whole;
        }
        if raw != b"/" {
            scope.set_item(intern!(py, "path"), path(py, raw)?)?;
            scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, raw))?;
        }
        if let Some(query) = head.target.query().filter(|query| !query.is_empty()) {
            scope.set_item(intern!(py, "query_string"), PyBytes::new(py, query))?;
        }
        scope.set_item(intern!(py, "server"), self.server(py, facts)?)?;
        scope.set_item(intern!(py, "client"), self.client(py, facts)?)?;
        scope.set_item(
            intern!(py, "headers"),
            self.headers(py, &head.fields, facts.trusted, policy)?,
        )?;
        if let Some(state) = &self.state {
            scope.set_item(intern!(py, "state"), state.bind(py).copy()?)?;
        }
        Ok(())
    }

    fn headers<'py>(
        &mut self,
        py: Python<'py>,
        fields: &Fields,
        trusted: bool,
        policy: &Policy,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut pairs = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            if name.known().is_none()
                && name.as_bytes().contains(&b'_')
                && !policy.keeps_underscored(name.as_str(), trusted)
            {
                continue;
            }
            let name = self.name(py, name);
            pairs.push(PyTuple::new(py, [name, PyBytes::new(py, value)])?);
        }
        PyList::new(py, pairs)
    }

    fn name<'py>(&mut self, py: Python<'py>, name: FieldName<'_>) -> Bound<'py, PyBytes> {
        if let Some(known) = name.known() {
            return self.known[known as usize].bind(py).clone();
        }
        let bytes = name.as_bytes();
        if let Some(before) = self.others.get(bytes) {
            return before.bind(py).clone();
        }
        let made = PyBytes::new(py, &bytes.to_ascii_lowercase());
        if bytes.len() <= REMEMBERED_BYTES && self.others.len() < REMEMBERED_MAX {
            self.others.insert(bytes.into(), made.clone().unbind());
        }
        made
    }

    fn server<'py>(&mut self, py: Python<'py>, facts: &Facts) -> PyResult<Bound<'py, PyAny>> {
        let local = &facts.connection.local;
        if let Some((_, made)) = self.locals.iter().find(|(known, _)| known == local) {
            return Ok(made.bind(py).clone());
        }
        let made = match local {
            Address::Inet(address) => (address.ip().to_string(), address.port())
                .into_pyobject(py)?
                .into_any(),
            Address::Unix(Some(path)) => (path.to_string_lossy().into_owned(), py.None())
                .into_pyobject(py)?
                .into_any(),
            Address::Unix(None) => py.None().into_bound(py),
        };
        if self.locals.len() < LOCALS_MAX {
            self.locals.push((local.clone(), made.clone().unbind()));
        }
        Ok(made)
    }

    fn client<'py>(&mut self, py: Python<'py>, facts: &Facts) -> PyResult<Bound<'py, PyAny>> {
        if self.forwarded_client
            && facts.trusted
            && let Some(client) = self.told_client(&facts.head.fields)
        {
            return Ok((client, 0).into_pyobject(py)?.into_any());
        }
        let Address::Inet(peer) = facts.connection.client() else {
            return Ok(py.None().into_bound(py));
        };
        let serial = facts.connection.serial;
        let place = &mut self.clients[serial as usize % CLIENTS];
        if let Some((number, made)) = place
            && *number == serial
        {
            return Ok(made.bind(py).clone());
        }
        let made = (peer.ip().to_string(), peer.port())
            .into_pyobject(py)?
            .into_any();
        *place = Some((serial, made.clone().unbind()));
        Ok(made)
    }

    /// The client that trusted proxies tell: the last address of `X-Forwarded-For` that is none of theirs, or the first.
    fn told_client(&self, fields: &Fields) -> Option<String> {
        let value = fields.joined("X-Forwarded-For", ", ")?;
        let text = String::from_utf8_lossy(&value).into_owned();
        let hosts: Vec<&str> = text.split(',').map(str::trim).collect();
        let is_proxy = |host: &str| {
            host.parse::<IpAddr>()
                .is_ok_and(|ip| self.trusted.includes(&Address::Inet((ip, 0).into())))
        };
        let told = hosts.iter().rev().find(|host| !is_proxy(host));
        told.or(hosts.first())
            .filter(|host| !host.is_empty())
            .map(|host| (*host).to_owned())
    }
}

/// The path, decoded; bytes that are no UTF-8 become replacement characters.
fn path<'py>(py: Python<'py>, raw: &[u8]) -> PyResult<Bound<'py, PyString>> {
    if raw.is_ascii() && memchr::memchr(b'%', raw).is_none() {
        return latin1(py, raw);
    }
    Ok(PyString::new(
        py,
        &String::from_utf8_lossy(&percent_decoded(raw)),
    ))
}

fn extensions<'py>(py: Python<'py>, names: &[&str]) -> PyResult<Bound<'py, PyDict>> {
    let extensions = PyDict::new(py);
    for name in names {
        extensions.set_item(name, PyDict::new(py))?;
    }
    Ok(extensions)
}

fn template<'py>(py: Python<'py>, settings: &Settings, kind: &str) -> PyResult<Bound<'py, PyDict>> {
    let asgi = PyDict::new(py);
    asgi.set_item("version", "3.0")?;
    asgi.set_item("spec_version", SPEC_VERSION)?;
    let scope = PyDict::new(py);
    let intern = |text: &str| PyString::intern(py, text);
    scope.set_item(intern("type"), intern(kind))?;
    scope.set_item(intern("asgi"), asgi)?;
    scope.set_item(intern("http_version"), intern("1.1"))?;
    if kind == "http" {
        scope.set_item(intern("method"), intern("GET"))?;
    }
    let scheme = if kind == "http" { "http" } else { "ws" };
    scope.set_item(intern("scheme"), intern(scheme))?;
    scope.set_item(intern("path"), intern("/"))?;
    scope.set_item(intern("raw_path"), PyBytes::new(py, b"/"))?;
    scope.set_item(intern("query_string"), PyBytes::new(py, b""))?;
    scope.set_item(intern("root_path"), &settings.root_path)?;
    for key in ["headers", "client", "server"] {
        scope.set_item(intern(key), py.None())?;
    }
    Ok(scope)
}
