//! The settings as they travel: all of them by gunicorn's names, and the typed part that workers read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Every setting by gunicorn's name, as plain values. The template makes Python's `cfg` of it, so that `cfg.workers`,
/// `cfg.bind`, … are what configuration files expect; workers read [`WorkerSettings`] from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(pub serde_json::Map<String, serde_json::Value>);

impl Settings {
    /// The part that a worker acts on; names that are absent have gunicorn's defaults.
    ///
    /// # Errors
    /// A value of the wrong kind; the message names the setting.
    pub fn worker(&self) -> Result<WorkerSettings, Mismatch> {
        let names = serde_json::to_value(WorkerSettings::default()).unwrap_or_default();
        for (name, value) in self
            .0
            .iter()
            .filter(|(name, _)| names.get(name.as_str()).is_some())
        {
            let alone =
                serde_json::Value::Object([(name.clone(), value.clone())].into_iter().collect());
            if let Err(fault) = serde_json::from_value::<WorkerSettings>(alone) {
                return Err(Mismatch {
                    name: name.clone(),
                    value: value.to_string(),
                    fault: fault.to_string(),
                });
            }
        }
        serde_json::from_value(serde_json::Value::Object(self.0.clone())).map_err(|fault| {
            Mismatch {
                name: String::new(),
                value: String::new(),
                fault: fault.to_string(),
            }
        })
    }
}

/// A setting whose value is of the wrong kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    name: String,
    value: String,
    fault: String,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Invalid value for {}: {}: {}",
            self.name, self.value, self.fault
        )
    }
}

impl std::error::Error for Mismatch {}

/// What a worker does differently by setting. Names, units and defaults are gunicorn's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerSettings {
    /// Number of workers; more than one is `wsgi.multiprocess`.
    pub workers: u32,
    /// The kind of worker: `sync`, `gthread`, `asgi`, or the name of uvicorn's that stands for it.
    pub worker_class: String,
    /// An ASGI application beside the WSGI one.
    pub asgi_app: Option<String>,
    /// Requests whose paths begin with one of these go to it; WebSockets always do.
    pub asgi_paths: Vec<String>,
    /// The event loop: `auto`, `asyncio` or `uvloop`.
    pub asgi_loop: String,
    /// The lifespan protocol: `auto`, `on` or `off`.
    pub asgi_lifespan: String,
    /// Seconds that an ASGI application may go on after its client has left; 0 cancels it at once.
    pub asgi_disconnect_grace_period: u64,
    /// The largest message of a WebSocket, in bytes; 0 for any.
    pub websocket_max_message_size: u64,
    /// Seconds between pings of a WebSocket; 0 for none.
    pub ws_ping_interval: u64,
    /// Seconds that the answer to a ping may take; 0 for ever.
    pub ws_ping_timeout: u64,
    /// `root_path` of ASGI scopes.
    pub root_path: String,
    /// Threads that run the application; 1 runs it on the connection's own thread.
    pub threads: u32,
    /// Most open connections of a worker.
    pub worker_connections: u32,
    /// Requests after which a worker asks to be replaced; 0 for never.
    pub max_requests: u64,
    /// Up to so many are added to it, at random.
    pub max_requests_jitter: u64,
    /// Bytes of resident memory with which a worker asks to be replaced; 0 for any.
    pub worker_max_rss: u64,
    /// Seconds after which a worker asks to be replaced; 0 for never.
    pub worker_max_lifetime: u64,
    /// Seconds a request may run; the master acts on it.
    pub timeout: u64,
    /// Seconds for the requests in flight when a worker is told to end.
    pub graceful_timeout: u64,
    /// Seconds a connection may be idle between requests; 0 closes after each response.
    pub keepalive: u64,
    /// Longest request line in bytes; 0 for any (1 MiB then).
    pub limit_request_line: u32,
    /// Most fields of a request.
    pub limit_request_fields: u32,
    /// Longest field line in bytes; 0 for any (1 MiB then).
    pub limit_request_field_size: u32,
    /// The application is imported by the template.
    pub preload_app: bool,
    /// Replace workers when a file of the application changes.
    pub reload: bool,
    /// More files (or globs) to watch.
    pub reload_extra_files: Vec<String>,
    /// `None` and `true` send files with sendfile; `false` never. (gunicorn's own value of `--no-sendfile` is `False`.)
    pub sendfile: Option<bool>,
    /// Directory to work in.
    pub chdir: Option<String>,
    /// `NAME=value` pairs for the environment.
    pub raw_env: Vec<String>,
    /// Directories for `sys.path`, separated by commas.
    pub pythonpath: Option<String>,
    /// User id of workers; `None` keeps the master's.
    pub user: Option<u32>,
    /// Group id of workers; `None` keeps the master's.
    pub group: Option<u32>,
    /// Take the supplementary groups of `user`.
    pub initgroups: bool,
    /// File mode mask; applied in workers when not 0 (gunicorn's default 0 leaves the process's own).
    pub umask: u32,
    /// Name in the process list.
    pub proc_name: Option<String>,
    /// Fields of a trusted peer that make `wsgi.url_scheme` `https`, by upper-case name.
    pub secure_scheme_headers: BTreeMap<String, String>,
    /// Peers that are believed: addresses, networks, `*`. A list or one comma separated string.
    #[serde(deserialize_with = "words")]
    pub forwarded_allow_ips: Vec<String>,
    /// Fields with `_` in their name that are taken from a trusted peer.
    #[serde(deserialize_with = "words")]
    pub forwarder_headers: Vec<String>,
    /// Other fields with `_` in their name: `drop`, `refuse` or `dangerous`.
    pub header_map: String,
    /// Methods with lower case, `#`, or a length outside 3..=20 are accepted.
    pub permit_unconventional_http_method: bool,
    /// Fields may go on in the next line.
    pub permit_obsolete_folding: bool,
    /// Which PROXY protocol is read ahead of connections: `off`, `v1`, `v2` or `auto`.
    pub proxy_protocol: String,
    /// Who may send it: addresses, networks, `*`.
    #[serde(deserialize_with = "words")]
    pub proxy_allow_ips: Vec<String>,
    /// What gateways speak: `http` or `uwsgi`.
    pub protocol: String,
    /// Who may speak the uwsgi protocol: addresses, networks, `*`.
    #[serde(deserialize_with = "words")]
    pub uwsgi_allow_ips: Vec<String>,
    /// Folders whose files are answered in front of the application, as `PREFIX=FOLDER`.
    #[serde(rename = "static")]
    pub statics: Vec<String>,
    /// `HTTP/1.2` to `HTTP/1.9` are taken for 1.1.
    pub permit_unconventional_http_version: bool,
    /// The method is changed to upper case.
    pub casefold_http_method: bool,
    /// Access log: a path, `-` for standard output, `None` for none.
    pub accesslog: Option<String>,
    /// Form of its lines.
    pub access_log_format: String,
    /// Error log: a path, or `-` for standard error.
    pub errorlog: String,
    /// `debug`, `info`, `warning`, `error` or `critical`.
    pub loglevel: String,
    /// Standard output and error go to the error log.
    pub capture_output: bool,
    /// The logs go to syslog as well.
    pub syslog: bool,
    /// Where that is: `udp://HOST:PORT`, `tcp://HOST:PORT`, `unix://PATH`.
    pub syslog_addr: String,
    /// Its lines begin with `gunicorn.` and this; `None` for the name of the process.
    pub syslog_prefix: Option<String>,
    /// Their facility.
    pub syslog_facility: String,
    /// The access log does not go to syslog.
    pub disable_redirect_access_to_syslog: bool,
    /// A StatsD server: `HOST:PORT` or `unix://PATH`.
    pub statsd_host: Option<String>,
    /// What its metrics begin with.
    pub statsd_prefix: String,
    /// Tags behind each metric.
    pub dogstatsd_tags: String,
    /// Where metrics can be read, if anywhere: workers count for them then.
    pub metrics_bind: Option<String>,
    /// The certificate: a PEM file. With it connections are encrypted.
    pub certfile: Option<String>,
    /// Its private key; `None` for the same file.
    pub keyfile: Option<String>,
    /// Who signs certificates of clients.
    pub ca_certs: Option<String>,
    /// Whether clients need one: 0 for no, 1 for a good one or none, 2 for yes.
    pub cert_reqs: u32,
    /// Cipher suites of TLS 1.2, in OpenSSL's words: see [`ciphers`](crate::ciphers).
    pub ciphers: Option<String>,
    /// `h1`, `h2`, the best first.
    #[serde(deserialize_with = "words")]
    pub http_protocols: Vec<String>,
    /// HTTP/2 without TLS: `off`, `prior-knowledge`, `upgrade` or `both`.
    pub http2_cleartext: String,
    /// Requests of a connection of HTTP/2 at a time.
    pub http2_max_concurrent_streams: u64,
    /// Bytes of content under way per request.
    pub http2_initial_window_size: u64,
    /// Largest frame that is taken.
    pub http2_max_frame_size: u64,
    /// Largest head, in bytes; 0 for any (1 MiB then).
    pub http2_max_header_list_size: u64,
}

impl WorkerSettings {
    /// Do access lines go to syslog?
    #[must_use]
    pub fn access_to_syslog(&self) -> bool {
        self.syslog && !self.disable_redirect_access_to_syslog
    }
}

impl WorkerSettings {
    /// Whether the application is an ASGI one.
    pub fn is_asgi(&self) -> bool {
        self.worker_class == "asgi" || self.is_uvicorn()
    }

    /// Whether there is an ASGI application beside the WSGI one.
    pub fn has_both(&self) -> bool {
        !self.is_asgi() && self.asgi_app.is_some()
    }

    /// Whether uvicorn's worker was asked for, which differs from gunicorn's in what it tells of clients behind proxies.
    pub fn is_uvicorn(&self) -> bool {
        self.worker_class.starts_with("uvicorn")
    }
}

/// gunicorn's default form of access log lines.
const ACCESS_LOG_FORMAT: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

impl Default for WorkerSettings {
    fn default() -> Self {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let secure = [
            ("X-FORWARDED-PROTOCOL", "ssl"),
            ("X-FORWARDED-PROTO", "https"),
            ("X-FORWARDED-SSL", "on"),
        ];
        Self {
            workers: 1,
            worker_class: "sync".to_owned(),
            asgi_app: None,
            asgi_paths: Vec::new(),
            asgi_loop: "auto".to_owned(),
            asgi_lifespan: "auto".to_owned(),
            asgi_disconnect_grace_period: 3,
            websocket_max_message_size: 16 << 20,
            ws_ping_interval: 20,
            ws_ping_timeout: 20,
            root_path: String::new(),
            threads: 1,
            worker_connections: 1000,
            max_requests: 0,
            max_requests_jitter: 0,
            worker_max_rss: 0,
            worker_max_lifetime: 0,
            timeout: 30,
            graceful_timeout: 30,
            keepalive: 2,
            limit_request_line: 4094,
            limit_request_fields: 100,
            limit_request_field_size: 8190,
            preload_app: false,
            reload: false,
            reload_extra_files: Vec::new(),
            sendfile: None,
            chdir: None,
            raw_env: Vec::new(),
            pythonpath: None,
            user: None,
            group: None,
            initgroups: false,
            umask: 0,
            proc_name: None,
            secure_scheme_headers: secure
                .iter()
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            forwarded_allow_ips: owned(&["127.0.0.1", "::1"]),
            forwarder_headers: owned(&["SCRIPT_NAME", "PATH_INFO"]),
            header_map: "drop".to_owned(),
            permit_unconventional_http_method: false,
            permit_obsolete_folding: false,
            proxy_protocol: "off".to_owned(),
            proxy_allow_ips: owned(&["127.0.0.1", "::1"]),
            protocol: "http".to_owned(),
            uwsgi_allow_ips: owned(&["127.0.0.1", "::1"]),
            statics: Vec::new(),
            permit_unconventional_http_version: false,
            casefold_http_method: false,
            accesslog: None,
            access_log_format: ACCESS_LOG_FORMAT.to_owned(),
            errorlog: "-".to_owned(),
            loglevel: "info".to_owned(),
            capture_output: false,
            syslog: false,
            syslog_addr: "udp://localhost:514".to_owned(),
            syslog_prefix: None,
            syslog_facility: "user".to_owned(),
            disable_redirect_access_to_syslog: false,
            statsd_host: None,
            statsd_prefix: String::new(),
            dogstatsd_tags: String::new(),
            metrics_bind: None,
            certfile: None,
            keyfile: None,
            ca_certs: None,
            cert_reqs: 0,
            ciphers: None,
            http_protocols: owned(&["h1"]),
            http2_cleartext: "off".to_owned(),
            http2_max_concurrent_streams: 100,
            http2_initial_window_size: 65535,
            http2_max_frame_size: 16384,
            http2_max_header_list_size: 65536,
        }
    }
}

/// A list of words, or one string with commas between them.
fn words<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<String>),
        One(String),
    }
    Ok(match Either::deserialize(from)? {
        Either::List(words) => words,
        Either::One(text) => text
            .split(',')
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect(),
    })
}
