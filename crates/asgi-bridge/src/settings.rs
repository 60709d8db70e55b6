//! What an ASGI service may do differently. The defaults are gunicorn's where it has the setting, else uvicorn's.

use std::time::Duration;

/// How an [`AsgiService`](crate::AsgiService) treats connections. May grow: end a literal with `..Settings::default()`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What concerns HTTP: limits, trusted peers, header policy, log. What is WSGI's alone in it is not looked at.
    pub http: wsgi_bridge::Settings,
    /// `root_path` of the scopes. Default empty.
    pub root_path: String,
    /// `path` and `raw_path` of the scopes begin with it, as with uvicorn: for proxies that take it away. Default false.
    pub root_path_in_path: bool,
    /// `client` of the scopes is what trusted peers tell in `X-Forwarded-For`, as uvicorn does it. Default false.
    pub forwarded_client: bool,
    /// How long an application may go on after its client has left before its task is cancelled; `None` (default) for ever.
    pub disconnect_grace: Option<Duration>,
    /// The largest message of a WebSocket, in bytes; `None` for any. Default 16 MiB.
    pub message_bytes_max: Option<usize>,
    /// How often a WebSocket is pinged; `None` never. Default 20 s.
    pub ping_interval: Option<Duration>,
    /// How long the answer may take; `None` for ever. Default 20 s.
    pub ping_timeout: Option<Duration>,
    /// [`Hooks::began`](wsgi_bridge::Hooks::began) and `ended` are told of each call's first step. Default true.
    pub notes: bool,
    /// The `slot` that they are told. Default 0.
    pub slot: usize,
    /// Messages are compressed where the client can (RFC 7692). Default true.
    pub deflate: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http: wsgi_bridge::Settings::default(),
            root_path: String::new(),
            root_path_in_path: false,
            forwarded_client: false,
            disconnect_grace: None,
            message_bytes_max: Some(16 << 20),
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Some(Duration::from_secs(20)),
            notes: true,
            slot: 0,
            deflate: true,
        }
    }
}
