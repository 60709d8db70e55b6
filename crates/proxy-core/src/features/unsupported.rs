//! Directives of nginx that edge does not have yet: refused by name, so that nothing a configuration relies on is left out silently.

use std::sync::Arc;

use nginx_conf::{Arg, Args, Arity, BlockKind, Fault, Faults, Repeat, Scopes};

use crate::engine::compile::Settling;
use crate::engine::scopes::{
    HTTP, LIMIT_EXCEPT, LOCATION, LOCATION_IF, MAIN, MAIN_ONLY, SERVER, SERVER_IF, UPSTREAM_ONLY,
};
use crate::engine::variables::VariableTable;
use crate::feature::{Directive, Feature};

/// The feature.
pub struct Unsupported;

/// The variables that refused lines would have made: who uses them is not told about each use as well.
#[derive(Default)]
pub struct Written {
    makes: Vec<Box<str>>,
}

type D = Directive<Written>;

const ANYWHERE: Scopes = Scopes::of(&[
    MAIN,
    HTTP,
    SERVER,
    LOCATION,
    SERVER_IF,
    LOCATION_IF,
    LIMIT_EXCEPT,
]);

impl Feature for Unsupported {
    type Written = Written;
    type Settled = ();
    const NAME: &'static str = "unsupported";
    const DIRECTIVES: &'static [D] = &[
        line("rewrite", ANYWHERE, "rewriting (rewrite, if, set)"),
        line("set", ANYWHERE, "rewriting (rewrite, if, set)"),
        line("break", ANYWHERE, "rewriting (rewrite, if, set)"),
        line("rewrite_log", ANYWHERE, "rewriting (rewrite, if, set)"),
        line(
            "uninitialized_variable_warn",
            ANYWHERE,
            "rewriting (rewrite, if, set)",
        ),
        block("if", ANYWHERE, "rewriting (rewrite, if, set)"),
        block("limit_except", ANYWHERE, "rewriting (rewrite, if, set)"),
        block("map", ANYWHERE, "map and its relatives"),
        block("geo", ANYWHERE, "map and its relatives"),
        block("split_clients", ANYWHERE, "map and its relatives"),
        line("map_hash_bucket_size", ANYWHERE, "map and its relatives"),
        line("map_hash_max_size", ANYWHERE, "map and its relatives"),
        line("geoip_country", ANYWHERE, "map and its relatives"),
        line("geoip_city", ANYWHERE, "map and its relatives"),
        line("geoip_org", ANYWHERE, "map and its relatives"),
        line("gzip", ANYWHERE, "compression"),
        line("gzip_buffers", ANYWHERE, "compression"),
        line("gzip_comp_level", ANYWHERE, "compression"),
        line("gzip_disable", ANYWHERE, "compression"),
        line("gzip_http_version", ANYWHERE, "compression"),
        line("gzip_min_length", ANYWHERE, "compression"),
        line("gzip_proxied", ANYWHERE, "compression"),
        line("gzip_types", ANYWHERE, "compression"),
        line("gzip_vary", ANYWHERE, "compression"),
        line("gzip_static", ANYWHERE, "compression"),
        line("gunzip", ANYWHERE, "compression"),
        line("gunzip_buffers", ANYWHERE, "compression"),
        line("brotli", ANYWHERE, "compression"),
        line("brotli_static", ANYWHERE, "compression"),
        line("brotli_types", ANYWHERE, "compression"),
        line("brotli_comp_level", ANYWHERE, "compression"),
        line("zstd", ANYWHERE, "compression"),
        line("zstd_static", ANYWHERE, "compression"),
        line("ssl", ANYWHERE, "TLS"),
        line("ssl_certificate", ANYWHERE, "TLS"),
        line("ssl_certificate_key", ANYWHERE, "TLS"),
        line("ssl_ciphers", ANYWHERE, "TLS"),
        line("ssl_protocols", ANYWHERE, "TLS"),
        line("ssl_prefer_server_ciphers", ANYWHERE, "TLS"),
        line("ssl_session_cache", ANYWHERE, "TLS"),
        line("ssl_session_timeout", ANYWHERE, "TLS"),
        line("ssl_session_tickets", ANYWHERE, "TLS"),
        line("ssl_session_ticket_key", ANYWHERE, "TLS"),
        line("ssl_dhparam", ANYWHERE, "TLS"),
        line("ssl_ecdh_curve", ANYWHERE, "TLS"),
        line("ssl_stapling", ANYWHERE, "TLS"),
        line("ssl_stapling_verify", ANYWHERE, "TLS"),
        line("ssl_stapling_file", ANYWHERE, "TLS"),
        line("ssl_stapling_responder", ANYWHERE, "TLS"),
        line("ssl_trusted_certificate", ANYWHERE, "TLS"),
        line("ssl_client_certificate", ANYWHERE, "TLS"),
        line("ssl_verify_client", ANYWHERE, "TLS"),
        line("ssl_verify_depth", ANYWHERE, "TLS"),
        line("ssl_crl", ANYWHERE, "TLS"),
        line("ssl_password_file", ANYWHERE, "TLS"),
        line("ssl_buffer_size", ANYWHERE, "TLS"),
        line("ssl_conf_command", ANYWHERE, "TLS"),
        line("ssl_early_data", ANYWHERE, "TLS"),
        line("ssl_reject_handshake", ANYWHERE, "TLS"),
        line("ssl_ocsp", ANYWHERE, "TLS"),
        line("ssl_ocsp_cache", ANYWHERE, "TLS"),
        line("ssl_ocsp_responder", ANYWHERE, "TLS"),
        line("ssl_certificate_cache", ANYWHERE, "TLS"),
        line("http2", ANYWHERE, "HTTP/2 and HTTP/3"),
        line(
            "http2_max_concurrent_streams",
            ANYWHERE,
            "HTTP/2 and HTTP/3",
        ),
        line("http2_body_preread_size", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("http2_chunk_size", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("http2_push", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("http2_push_preload", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("http2_recv_buffer_size", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("http2_idle_timeout", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("http2_max_field_size", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("http2_max_header_size", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("http2_max_requests", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("http2_recv_timeout", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("http3", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("http3_hq", ANYWHERE, "HTTP/2 and HTTP/3"),
        line(
            "http3_max_concurrent_streams",
            ANYWHERE,
            "HTTP/2 and HTTP/3",
        ),
        line("http3_stream_buffer_size", ANYWHERE, "HTTP/2 and HTTP/3"),
        line(
            "quic_active_connection_id_limit",
            ANYWHERE,
            "HTTP/2 and HTTP/3",
        ),
        line("quic_gso", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("quic_host_key", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("quic_retry", ANYWHERE, "HTTP/2 and HTTP/3"),
        line("allow", ANYWHERE, "access control"),
        line("deny", ANYWHERE, "access control"),
        line("satisfy", ANYWHERE, "access control"),
        line("auth_basic", ANYWHERE, "access control"),
        line("auth_basic_user_file", ANYWHERE, "access control"),
        line("auth_request", ANYWHERE, "access control"),
        line("auth_request_set", ANYWHERE, "access control"),
        line("auth_delay", ANYWHERE, "access control"),
        line("auth_jwt", ANYWHERE, "access control"),
        line("secure_link", ANYWHERE, "access control"),
        line("secure_link_md5", ANYWHERE, "access control"),
        line("secure_link_secret", ANYWHERE, "access control"),
        line("valid_referers", ANYWHERE, "access control"),
        line("referer_hash_bucket_size", ANYWHERE, "access control"),
        line("referer_hash_max_size", ANYWHERE, "access control"),
        line("limit_req", ANYWHERE, "limits"),
        line("limit_req_zone", ANYWHERE, "limits"),
        line("limit_req_status", ANYWHERE, "limits"),
        line("limit_req_log_level", ANYWHERE, "limits"),
        line("limit_req_dry_run", ANYWHERE, "limits"),
        line("limit_conn", ANYWHERE, "limits"),
        line("limit_conn_zone", ANYWHERE, "limits"),
        line("limit_conn_status", ANYWHERE, "limits"),
        line("limit_conn_log_level", ANYWHERE, "limits"),
        line("limit_conn_dry_run", ANYWHERE, "limits"),
        line("limit_rate", ANYWHERE, "limits"),
        line("limit_rate_after", ANYWHERE, "limits"),
        line("limit_zone", ANYWHERE, "limits"),
        line(
            "set_real_ip_from",
            ANYWHERE,
            "the client's address behind a proxy",
        ),
        line(
            "real_ip_header",
            ANYWHERE,
            "the client's address behind a proxy",
        ),
        line(
            "real_ip_recursive",
            ANYWHERE,
            "the client's address behind a proxy",
        ),
        line("autoindex", ANYWHERE, "listings and further content"),
        line(
            "autoindex_exact_size",
            ANYWHERE,
            "listings and further content",
        ),
        line("autoindex_format", ANYWHERE, "listings and further content"),
        line(
            "autoindex_localtime",
            ANYWHERE,
            "listings and further content",
        ),
        line("random_index", ANYWHERE, "listings and further content"),
        line("charset", ANYWHERE, "listings and further content"),
        block("charset_map", ANYWHERE, "listings and further content"),
        line("charset_types", ANYWHERE, "listings and further content"),
        line("source_charset", ANYWHERE, "listings and further content"),
        line("override_charset", ANYWHERE, "listings and further content"),
        line("sub_filter", ANYWHERE, "listings and further content"),
        line(
            "sub_filter_last_modified",
            ANYWHERE,
            "listings and further content",
        ),
        line("sub_filter_once", ANYWHERE, "listings and further content"),
        line("sub_filter_types", ANYWHERE, "listings and further content"),
        line("addition_types", ANYWHERE, "listings and further content"),
        line("add_before_body", ANYWHERE, "listings and further content"),
        line("add_after_body", ANYWHERE, "listings and further content"),
        line("add_trailer", ANYWHERE, "listings and further content"),
        line(
            "add_trailer_inherit",
            ANYWHERE,
            "listings and further content",
        ),
        line("ssi", ANYWHERE, "listings and further content"),
        line("ssi_types", ANYWHERE, "listings and further content"),
        line(
            "ssi_silent_errors",
            ANYWHERE,
            "listings and further content",
        ),
        line("ssi_value_length", ANYWHERE, "listings and further content"),
        line(
            "ssi_last_modified",
            ANYWHERE,
            "listings and further content",
        ),
        line(
            "ssi_min_file_chunk",
            ANYWHERE,
            "listings and further content",
        ),
        line("dav_access", ANYWHERE, "listings and further content"),
        line("dav_methods", ANYWHERE, "listings and further content"),
        line(
            "create_full_put_path",
            ANYWHERE,
            "listings and further content",
        ),
        line("min_delete_depth", ANYWHERE, "listings and further content"),
        line("empty_gif", ANYWHERE, "listings and further content"),
        line("flv", ANYWHERE, "listings and further content"),
        line("mp4", ANYWHERE, "listings and further content"),
        line("mp4_buffer_size", ANYWHERE, "listings and further content"),
        line(
            "mp4_max_buffer_size",
            ANYWHERE,
            "listings and further content",
        ),
        line("mp4_limit_rate", ANYWHERE, "listings and further content"),
        line(
            "mp4_limit_rate_after",
            ANYWHERE,
            "listings and further content",
        ),
        line("slice", ANYWHERE, "listings and further content"),
        line("image_filter", ANYWHERE, "listings and further content"),
        line(
            "image_filter_buffer",
            ANYWHERE,
            "listings and further content",
        ),
        line(
            "image_filter_interlace",
            ANYWHERE,
            "listings and further content",
        ),
        line(
            "image_filter_jpeg_quality",
            ANYWHERE,
            "listings and further content",
        ),
        line(
            "image_filter_sharpen",
            ANYWHERE,
            "listings and further content",
        ),
        line(
            "image_filter_transparency",
            ANYWHERE,
            "listings and further content",
        ),
        line(
            "image_filter_webp_quality",
            ANYWHERE,
            "listings and further content",
        ),
        line("xslt_stylesheet", ANYWHERE, "listings and further content"),
        line("xslt_types", ANYWHERE, "listings and further content"),
        line("mirror", ANYWHERE, "listings and further content"),
        line(
            "mirror_request_body",
            ANYWHERE,
            "listings and further content",
        ),
        line("stub_status", ANYWHERE, "listings and further content"),
        line("userid", ANYWHERE, "listings and further content"),
        line("userid_domain", ANYWHERE, "listings and further content"),
        line("userid_expires", ANYWHERE, "listings and further content"),
        line("userid_flags", ANYWHERE, "listings and further content"),
        line("userid_mark", ANYWHERE, "listings and further content"),
        line("userid_name", ANYWHERE, "listings and further content"),
        line("userid_p3p", ANYWHERE, "listings and further content"),
        line("userid_path", ANYWHERE, "listings and further content"),
        line("userid_service", ANYWHERE, "listings and further content"),
        line(
            "client_body_in_file_only",
            ANYWHERE,
            "listings and further content",
        ),
        line("early_hints", ANYWHERE, "listings and further content"),
        line("post_action", ANYWHERE, "listings and further content"),
        line("proxy_cache", ANYWHERE, "caching"),
        line("proxy_cache_path", ANYWHERE, "caching"),
        line("proxy_cache_background_update", ANYWHERE, "caching"),
        line("proxy_cache_bypass", ANYWHERE, "caching"),
        line("proxy_cache_convert_head", ANYWHERE, "caching"),
        line("proxy_cache_key", ANYWHERE, "caching"),
        line("proxy_cache_lock", ANYWHERE, "caching"),
        line("proxy_cache_lock_age", ANYWHERE, "caching"),
        line("proxy_cache_lock_timeout", ANYWHERE, "caching"),
        line("proxy_cache_max_range_offset", ANYWHERE, "caching"),
        line("proxy_cache_methods", ANYWHERE, "caching"),
        line("proxy_cache_min_uses", ANYWHERE, "caching"),
        line("proxy_cache_purge", ANYWHERE, "caching"),
        line("proxy_cache_revalidate", ANYWHERE, "caching"),
        line("proxy_cache_use_stale", ANYWHERE, "caching"),
        line("proxy_cache_valid", ANYWHERE, "caching"),
        line("proxy_no_cache", ANYWHERE, "caching"),
        line("proxy_store", ANYWHERE, "caching"),
        line("proxy_store_access", ANYWHERE, "caching"),
        line("proxy_force_ranges", ANYWHERE, "caching"),
        line(
            "fastcgi_pass",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_param",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_index",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_split_path_info",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_buffers",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_buffer_size",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_read_timeout",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_connect_timeout",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_send_timeout",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_intercept_errors",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_hide_header",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_keep_conn",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_busy_buffers_size",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_temp_file_write_size",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_cache",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_cache_path",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_cache_key",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_cache_valid",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_request_buffering",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "fastcgi_temp_path",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_pass",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_param",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_read_timeout",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_send_timeout",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_connect_timeout",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_buffering",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_buffers",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_buffer_size",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_busy_buffers_size",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_max_temp_file_size",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_request_buffering",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_temp_path",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_modifier1",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "uwsgi_modifier2",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "scgi_pass",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "scgi_param",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "scgi_read_timeout",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "scgi_temp_path",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "grpc_pass",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "grpc_set_header",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "grpc_read_timeout",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "grpc_send_timeout",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line(
            "memcached_pass",
            ANYWHERE,
            "origin servers that speak other protocols",
        ),
        line("proxy_ssl_certificate", ANYWHERE, "TLS to origin servers"),
        line(
            "proxy_ssl_certificate_key",
            ANYWHERE,
            "TLS to origin servers",
        ),
        line("proxy_ssl_ciphers", ANYWHERE, "TLS to origin servers"),
        line("proxy_ssl_conf_command", ANYWHERE, "TLS to origin servers"),
        line("proxy_ssl_crl", ANYWHERE, "TLS to origin servers"),
        line("proxy_ssl_name", ANYWHERE, "TLS to origin servers"),
        line("proxy_ssl_password_file", ANYWHERE, "TLS to origin servers"),
        line("proxy_ssl_protocols", ANYWHERE, "TLS to origin servers"),
        line("proxy_ssl_server_name", ANYWHERE, "TLS to origin servers"),
        line("proxy_ssl_session_reuse", ANYWHERE, "TLS to origin servers"),
        line(
            "proxy_ssl_trusted_certificate",
            ANYWHERE,
            "TLS to origin servers",
        ),
        line("proxy_ssl_verify", ANYWHERE, "TLS to origin servers"),
        line("proxy_ssl_verify_depth", ANYWHERE, "TLS to origin servers"),
        line("ip_hash", UPSTREAM_ONLY, "further balancing"),
        line("least_conn", UPSTREAM_ONLY, "further balancing"),
        line("least_time", UPSTREAM_ONLY, "further balancing"),
        line("hash", UPSTREAM_ONLY, "further balancing"),
        line("random", UPSTREAM_ONLY, "further balancing"),
        line("sticky", UPSTREAM_ONLY, "further balancing"),
        line("sticky_cookie_insert", UPSTREAM_ONLY, "further balancing"),
        line("queue", UPSTREAM_ONLY, "further balancing"),
        line("ntlm", UPSTREAM_ONLY, "further balancing"),
        line("state", UPSTREAM_ONLY, "further balancing"),
        line("health_check", ANYWHERE, "health checks and metrics"),
        block("match", ANYWHERE, "health checks and metrics"),
        line("status_zone", ANYWHERE, "health checks and metrics"),
        line("api", ANYWHERE, "health checks and metrics"),
        line("js_import", ANYWHERE, "health checks and metrics"),
        line("js_content", ANYWHERE, "health checks and metrics"),
        line("js_set", ANYWHERE, "health checks and metrics"),
        line("perl", ANYWHERE, "health checks and metrics"),
        line("perl_modules", ANYWHERE, "health checks and metrics"),
        line("perl_require", ANYWHERE, "health checks and metrics"),
        line("perl_set", ANYWHERE, "health checks and metrics"),
        line("otel_trace", ANYWHERE, "health checks and metrics"),
        block("otel_exporter", ANYWHERE, "health checks and metrics"),
        line("otel_service_name", ANYWHERE, "health checks and metrics"),
        line(
            "resolver",
            ANYWHERE,
            "name servers of one's own; names are asked of those of this machine and renewed when they expire",
        ),
        line(
            "resolver_timeout",
            ANYWHERE,
            "name servers of one's own; names are asked of those of this machine and renewed when they expire",
        ),
        line("load_module", MAIN_ONLY, "dynamic modules"),
        block("stream", MAIN_ONLY, "other protocols than HTTP"),
        block("mail", MAIN_ONLY, "other protocols than HTTP"),
        line(
            "google_perftools_profiles",
            MAIN_ONLY,
            "other protocols than HTTP",
        ),
    ];

    fn declare(written: &Written, variables: &mut VariableTable, _: &mut Faults) {
        for name in &written.makes {
            let _ = variables.assign(name);
        }
    }

    fn settle(&self, _: Written, outer: Option<&Arc<()>>, _: &mut Settling<'_>) -> Arc<()> {
        outer.cloned().unwrap_or_default()
    }
}

/// A directive that ends with a semicolon; `area` says what it belongs to.
const fn line(name: &'static str, scopes: Scopes, area: &'static str) -> D {
    D {
        name,
        scopes,
        args: Arity::ANY,
        repeat: Repeat::Many,
        syntax: "...",
        doc: area,
        read: refuse,
        ..D::DEFAULT
    }
}

/// A directive with a block.
const fn block(name: &'static str, scopes: Scopes, area: &'static str) -> D {
    D {
        block: BlockKind::FreeForm,
        ..line(name, scopes, area)
    }
}

/// What asks for nothing that edge does not do anyway: features turned off, limits without a limit, everybody let in.
const HONOURED: &[(&str, &str)] = &[
    ("auth_basic", "off"),
    ("auth_request", "off"),
    ("autoindex", "off"),
    ("brotli", "off"),
    ("brotli_static", "off"),
    ("charset", "off"),
    ("client_body_in_file_only", "off"),
    ("gunzip", "off"),
    ("gzip", "off"),
    ("gzip_static", "off"),
    ("limit_rate", "0"),
    ("mirror", "off"),
    ("proxy_cache", "off"),
    ("proxy_store", "off"),
    ("rewrite_log", "off"),
    ("ssi", "off"),
    ("ssl", "off"),
    ("uninitialized_variable_warn", "on"),
    ("uninitialized_variable_warn", "off"),
    ("userid", "off"),
];

/// What only steers something that is refused itself (`gzip_types`: `gzip on`), and without it means nothing in nginx either. Lines that
/// name keys or certificates are not among them.
const STEERING: &[&str] = &[
    "addition_types",
    "allow",
    "auth_basic_user_file",
    "auth_delay",
    "autoindex_exact_size",
    "autoindex_format",
    "autoindex_localtime",
    "brotli_comp_level",
    "brotli_types",
    "charset_types",
    "create_full_put_path",
    "dav_access",
    "gunzip_buffers",
    "gzip_buffers",
    "gzip_comp_level",
    "gzip_disable",
    "gzip_http_version",
    "gzip_min_length",
    "gzip_proxied",
    "gzip_types",
    "gzip_vary",
    "limit_conn_dry_run",
    "limit_conn_log_level",
    "limit_conn_status",
    "limit_conn_zone",
    "limit_rate_after",
    "limit_req_dry_run",
    "limit_req_log_level",
    "limit_req_status",
    "limit_req_zone",
    "map_hash_bucket_size",
    "map_hash_max_size",
    "min_delete_depth",
    "mirror_request_body",
    "override_charset",
    "proxy_no_cache",
    "proxy_ssl_ciphers",
    "proxy_ssl_name",
    "proxy_ssl_protocols",
    "proxy_ssl_server_name",
    "proxy_ssl_session_reuse",
    "proxy_ssl_verify",
    "proxy_ssl_verify_depth",
    "proxy_store_access",
    "real_ip_header",
    "real_ip_recursive",
    "referer_hash_bucket_size",
    "referer_hash_max_size",
    "resolver_timeout",
    "satisfy",
    "source_charset",
    "ssl_buffer_size",
    "ssl_ciphers",
    "ssl_early_data",
    "ssl_ecdh_curve",
    "ssl_prefer_server_ciphers",
    "ssl_protocols",
    "ssl_session_cache",
    "ssl_session_tickets",
    "ssl_session_timeout",
    "ssl_stapling",
    "ssl_stapling_verify",
    "ssl_verify_depth",
    "sub_filter_last_modified",
    "sub_filter_once",
    "sub_filter_types",
    "xslt_types",
];

/// Whole families of such lines, but for their heads.
const STEERING_FAMILIES: &[(&str, &[&str])] = &[
    ("fastcgi_", &["fastcgi_pass"]),
    ("grpc_", &["grpc_pass"]),
    ("http2_", &[]),
    ("proxy_cache_", &["proxy_cache_purge"]),
    ("scgi_", &["scgi_pass"]),
    ("ssi_", &[]),
    ("userid_", &[]),
    ("uwsgi_", &["uwsgi_pass"]),
];

/// Does it mean nothing without something that is refused?
fn steers(name: &str) -> bool {
    let of_family = |(beginning, heads): &(&str, &[&str])| {
        name.starts_with(beginning) && !heads.contains(&name)
    };
    STEERING.contains(&name) || STEERING_FAMILIES.iter().any(of_family)
}

/// The variable that a line makes, by its place among the words; `usize::MAX` is the last.
const MAKERS: &[(&str, usize)] = &[
    ("auth_request_set", 0),
    ("geo", usize::MAX),
    ("js_set", 0),
    ("map", 1),
    ("perl_set", 0),
    ("set", 0),
    ("split_clients", 1),
];

fn made(name: &str, words: &[Arg<'_>]) -> Option<Box<str>> {
    let (_, place) = MAKERS.iter().find(|(maker, _)| *maker == name)?;
    let word = words.get(*place).or(words.last())?;
    word.text().strip_prefix('$').map(Into::into)
}

fn refuse(args: &mut Args<'_>, written: &mut Written) -> Result<(), Fault> {
    let words = args.rest();
    let name = args.directive();
    let honoured = match &*words {
        [word] => HONOURED.contains(&(name, word.text())),
        _ => false,
    };
    if honoured || steers(name) {
        return Ok(());
    }
    written.makes.extend(made(name, &words));
    let area = Unsupported::DIRECTIVES
        .iter()
        .find(|directive| directive.name == name)
        .map_or("", |directive| directive.doc);
    let fault = Fault::new(format!("\"{name}\" is not supported yet ({area})")).at(args.span());
    Err(fault.help("edge does not start with a line that it can't honour; take it out, or keep this site behind nginx for now"))
}
