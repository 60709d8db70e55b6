//! The settings that every location has, whatever answers there: what nginx's core module holds. The first of all features.

mod directives;
mod error_pages;
mod heads;
mod types;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nginx_conf::{Fault, List, Setting};
use static_files::{Symlinks, Types};

use super::compile::Settling;
use super::files::FilesAt;
use super::logs::{ErrorLog, Level};
use crate::feature::{Directive, Feature};
use crate::server::Limits;

pub use error_pages::ErrorPage;
use heads::Heads;

/// The common settings of a location, as a feature whose handlers are none.
pub struct Core;

/// What requests read.
#[derive(Debug)]
pub struct CoreSettings {
    /// `root` or `alias`.
    pub files: FilesAt,
    /// `types`.
    pub types: Arc<Types>,
    /// `error_page`, in the order written.
    pub error_pages: Arc<[ErrorPage]>,
    /// `recursive_error_pages`.
    pub recursive_error_pages: bool,
    /// `client_max_body_size`; `None` for any size.
    pub client_max_body_size: Option<u64>,
    /// `client_body_buffer_size`: content up to this size stays in memory.
    pub client_body_buffer_size: u64,
    /// `client_body_timeout`.
    pub client_body_timeout: Duration,
    /// `keepalive_timeout`, first argument.
    pub keepalive_timeout: Duration,
    /// `keepalive_timeout`, second argument: what the `Keep-Alive` field promises.
    pub keepalive_promise: Option<Duration>,
    /// `keepalive_time`: a connection older than this closes after its response.
    pub keepalive_time: Duration,
    /// `keepalive_min_timeout`: a drain leaves the idle connection open for so long.
    pub keepalive_min_timeout: Duration,
    /// `send_timeout`.
    pub send_timeout: Duration,
    /// `server_tokens`: the value of the `Server` field and of the foot of error pages.
    pub server_token: &'static str,
    /// `internal`.
    pub internal: bool,
    /// `absolute_redirect`.
    pub absolute_redirect: bool,
    /// `port_in_redirect`.
    pub port_in_redirect: bool,
    /// `server_name_in_redirect`.
    pub server_name_in_redirect: bool,
    /// `error_log`.
    pub error_log: ErrorLog,
    /// `log_not_found`.
    pub log_not_found: bool,
    /// `etag`.
    pub etag: bool,
    /// `if_modified_since`.
    pub if_modified_since: IfModifiedSince,
    /// `max_ranges`; `None` for any number.
    pub max_ranges: Option<usize>,
    /// `chunked_transfer_encoding`.
    pub chunked_transfer_encoding: bool,
    /// `merge_slashes`.
    pub merge_slashes: bool,
    /// `disable_symlinks`.
    pub symlinks: Symlinks,
    /// Limits and timeouts of a connection, from the default server of its port.
    pub limits: Arc<Limits>,
    /// What the limits are made of.
    heads: Heads,
}

impl CoreSettings {
    /// `keepalive_requests`: a connection closes after so many.
    pub fn keepalive_requests(&self) -> u64 {
        self.heads.keepalive_requests
    }
}

/// How `If-Modified-Since` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfModifiedSince {
    /// Never.
    Off,
    /// Only the very same time counts as not modified.
    Exact,
    /// The same time or a later one.
    Before,
}

/// What a block says.
#[derive(Default)]
pub struct Written {
    root: Setting<nginx_conf::Template>,
    alias: Setting<nginx_conf::Template>,
    types: Setting<Arc<types::TypeLines>>,
    default_type: Setting<String>,
    error_pages: List<error_pages::Written>,
    recursive_error_pages: Setting<bool>,
    client_max_body_size: Setting<u64>,
    client_body_buffer_size: Setting<u64>,
    client_body_timeout: Setting<Duration>,
    client_header_timeout: Setting<Duration>,
    client_header_buffer_size: Setting<u64>,
    large_client_header_buffers: Setting<(u64, u64)>,
    keepalive_timeout: Setting<(Duration, Option<Duration>)>,
    keepalive_requests: Setting<u64>,
    keepalive_time: Setting<Duration>,
    keepalive_min_timeout: Setting<Duration>,
    send_timeout: Setting<Duration>,
    lingering_time: Setting<Duration>,
    server_tokens: Setting<bool>,
    internal: bool,
    absolute_redirect: Setting<bool>,
    port_in_redirect: Setting<bool>,
    server_name_in_redirect: Setting<bool>,
    error_logs: List<(PathBuf, Level)>,
    log_not_found: Setting<bool>,
    etag: Setting<bool>,
    if_modified_since: Setting<IfModifiedSince>,
    max_ranges: Setting<Option<usize>>,
    chunked_transfer_encoding: Setting<bool>,
    merge_slashes: Setting<bool>,
    symlinks: Setting<Symlinks>,
    underscores_in_headers: Setting<bool>,
    ignore_invalid_headers: Setting<bool>,
}

/// The `Server` field with `server_tokens on`.
pub const SERVER_WITH_VERSION: &str = concat!("edge/", env!("CARGO_PKG_VERSION"));
/// The `Server` field with `server_tokens off`.
pub const SERVER: &str = "edge";

impl Feature for Core {
    type Written = Written;
    type Settled = CoreSettings;
    const NAME: &'static str = "core";
    const DIRECTIVES: &'static [Directive<Written>] = directives::ALL;
    const VARIABLES: &'static [super::variables::Variable] = super::request_variables::ALL;

    fn settle(
        &self,
        written: Written,
        outer: Option<&Arc<CoreSettings>>,
        at: &mut Settling<'_>,
    ) -> Arc<CoreSettings> {
        let of = outer.map(Arc::as_ref);
        let heads = written.heads(of.map(|outer| &outer.heads));
        let keepalive = written.keepalive_timeout.get().copied();
        let keepalive_timeout = keepalive
            .map(|(idle, _)| idle)
            .or(of.map(|outer| outer.keepalive_timeout))
            .unwrap_or(Duration::from_secs(75));
        let keepalive_promise = keepalive.map_or_else(
            || of.and_then(|outer| outer.keepalive_promise),
            |(_, promise)| promise,
        );
        let send_timeout = written
            .send_timeout
            .settle(of.map(|outer| &outer.send_timeout), || {
                Duration::from_secs(60)
            });
        let tokens = written
            .server_tokens
            .get()
            .map(|on| if *on { SERVER_WITH_VERSION } else { SERVER });
        let body_max = written
            .client_max_body_size
            .get()
            .map(|bytes| (*bytes > 0).then_some(*bytes));
        let symlinks = written
            .symlinks
            .settle(of.map(|outer| &outer.symlinks), || Symlinks::Follow);
        Arc::new(CoreSettings {
            files: written.files(of, symlinks, at),
            types: types::settle(
                &heads.type_lines,
                &heads.default_type,
                of.map(|outer| (&outer.heads, &outer.types)),
            ),
            error_pages: error_pages::settle(
                &written.error_pages,
                of.map(|outer| &outer.error_pages),
                at,
            ),
            recursive_error_pages: written
                .recursive_error_pages
                .settle(of.map(|outer| &outer.recursive_error_pages), || false),
            client_max_body_size: body_max
                .or(of.map(|outer| outer.client_max_body_size))
                .unwrap_or(Some(1 << 20)),
            client_body_buffer_size: written
                .client_body_buffer_size
                .settle(of.map(|outer| &outer.client_body_buffer_size), || 16 << 10),
            client_body_timeout: written
                .client_body_timeout
                .settle(of.map(|outer| &outer.client_body_timeout), || {
                    Duration::from_secs(60)
                }),
            keepalive_timeout,
            keepalive_promise,
            keepalive_time: written
                .keepalive_time
                .settle(of.map(|outer| &outer.keepalive_time), || {
                    Duration::from_secs(3600)
                }),
            keepalive_min_timeout: written
                .keepalive_min_timeout
                .settle(of.map(|outer| &outer.keepalive_min_timeout), || {
                    Duration::ZERO
                }),
            send_timeout,
            server_token: tokens
                .or(of.map(|outer| outer.server_token))
                .unwrap_or(SERVER_WITH_VERSION),
            internal: written.internal,
            absolute_redirect: written
                .absolute_redirect
                .settle(of.map(|outer| &outer.absolute_redirect), || true),
            port_in_redirect: written
                .port_in_redirect
                .settle(of.map(|outer| &outer.port_in_redirect), || true),
            server_name_in_redirect: written
                .server_name_in_redirect
                .settle(of.map(|outer| &outer.server_name_in_redirect), || false),
            error_log: written.error_log(of, at),
            log_not_found: written
                .log_not_found
                .settle(of.map(|outer| &outer.log_not_found), || true),
            etag: written.etag.settle(of.map(|outer| &outer.etag), || true),
            if_modified_since: written
                .if_modified_since
                .settle(of.map(|outer| &outer.if_modified_since), || {
                    IfModifiedSince::Exact
                }),
            max_ranges: written
                .max_ranges
                .settle(of.map(|outer| &outer.max_ranges), || None),
            chunked_transfer_encoding: written
                .chunked_transfer_encoding
                .settle(of.map(|outer| &outer.chunked_transfer_encoding), || true),
            merge_slashes: written
                .merge_slashes
                .settle(of.map(|outer| &outer.merge_slashes), || true),
            symlinks,
            limits: Arc::new(heads.limits(keepalive_timeout, send_timeout)),
            heads,
        })
    }
}

impl Written {
    fn files(
        &self,
        outer: Option<&CoreSettings>,
        symlinks: Symlinks,
        at: &mut Settling<'_>,
    ) -> FilesAt {
        if let (Some(root), Some(alias)) = (self.root.span(), self.alias.span()) {
            at.fault(
                Fault::new(
                    "\"alias\" directive is duplicate, \"root\" directive was specified earlier",
                )
                .at(alias)
                .note(root, "root is here"),
            );
        }
        if let Some(alias) = self.alias.spanned() {
            return FilesAt::new(at.path_template(alias), true, symlinks);
        }
        match (self.root.spanned(), outer) {
            (Some(root), _) => FilesAt::new(at.path_template(root), false, symlinks),
            (None, Some(outer)) => outer.files.with_symlinks(symlinks),
            (None, None) => FilesAt::new(at.default_root(), false, symlinks),
        }
    }

    fn error_log(&self, outer: Option<&CoreSettings>, at: &mut Settling<'_>) -> ErrorLog {
        if self.error_logs.is_empty() {
            return outer.map_or_else(|| at.default_error_log(), |outer| outer.error_log.clone());
        }
        let sinks = self
            .error_logs
            .iter()
            .filter_map(|line| Some((line.value.1, at.log_file(&line.value.0, line.span)?)));
        ErrorLog::new(sinks.collect())
    }

    fn heads(&self, outer: Option<&Heads>) -> Heads {
        Heads {
            timeout: self
                .client_header_timeout
                .settle(outer.map(|outer| &outer.timeout), || {
                    Duration::from_secs(60)
                }),
            line_bytes_max: self
                .client_header_buffer_size
                .settle(outer.map(|outer| &outer.line_bytes_max), || 1 << 10),
            buffers: self
                .large_client_header_buffers
                .settle(outer.map(|outer| &outer.buffers), || (4, 8 << 10)),
            keepalive_requests: self
                .keepalive_requests
                .settle(outer.map(|outer| &outer.keepalive_requests), || 1000),
            lingering_time: self
                .lingering_time
                .settle(outer.map(|outer| &outer.lingering_time), || {
                    Duration::from_secs(30)
                }),
            underscores: self
                .underscores_in_headers
                .settle(outer.map(|outer| &outer.underscores), || false),
            ignores_invalid: self
                .ignore_invalid_headers
                .settle(outer.map(|outer| &outer.ignores_invalid), || true),
            default_type: self
                .default_type
                .settle(outer.map(|outer| &outer.default_type), || {
                    "text/plain".to_owned()
                }),
            type_lines: self
                .types
                .get()
                .cloned()
                .or_else(|| outer.and_then(|outer| outer.type_lines.clone())),
        }
    }
}
