//! Directives that steer how nginx does its work and mean nothing here: accepted, checked for their place and number of arguments, and noted.

use std::sync::Arc;

use nginx_conf::{Args, Arity, Fault, Repeat, Scopes, Severity};

use crate::engine::compile::Settling;
use crate::engine::scopes::{
    EVENTS, EVENTS_ONLY, HTTP, HTTP_ONLY, HTTP_SERVER, HTTP_SERVER_LOCATION, LOCATION, MAIN,
    MAIN_ONLY, SERVER,
};
use crate::feature::{Directive, Feature};

/// The feature.
pub struct ProcessNotes;

/// Nothing is kept.
#[derive(Default)]
pub struct Written;

type D = Directive<Written>;

const MAIN_EVENTS: Scopes = Scopes::of(&[MAIN, EVENTS]);
const MAIN_HTTP: Scopes = Scopes::of(&[MAIN, HTTP, SERVER, LOCATION]);

impl Feature for ProcessNotes {
    type Written = Written;
    type Settled = ();
    const NAME: &'static str = "process_notes";
    const DIRECTIVES: &'static [D] = &[
        flag(
            "accept_mutex",
            EVENTS_ONLY,
            "the kernel wakes one thread for each connection",
        ),
        noted(
            "accept_mutex_delay",
            EVENTS_ONLY,
            1,
            1,
            "the kernel wakes one thread for each connection",
        ),
        flag(
            "multi_accept",
            EVENTS_ONLY,
            "waiting connections are accepted as fast as they are served",
        ),
        noted("use", EVENTS_ONLY, 1, 1, "epoll is used"),
        noted(
            "worker_aio_requests",
            EVENTS_ONLY,
            1,
            1,
            "files that are not in memory are read by a pool of threads",
        ),
        noted(
            "debug_connection",
            EVENTS_ONLY,
            1,
            1,
            "there is no debug log",
        ),
        noted(
            "worker_cpu_affinity",
            MAIN_ONLY,
            1,
            64,
            "the kernel places the threads",
        ),
        noted(
            "worker_rlimit_core",
            MAIN_ONLY,
            1,
            1,
            "the service manager's limit holds",
        ),
        noted("debug_points", MAIN_ONLY, 1, 1, "there are none"),
        noted("lock_file", MAIN_EVENTS, 1, 1, "no lock is needed"),
        flag(
            "pcre_jit",
            MAIN_ONLY,
            "expressions are compiled in another way",
        ),
        noted("thread_pool", MAIN_ONLY, 2, 3, "one pool serves all files"),
        noted(
            "timer_resolution",
            MAIN_ONLY,
            1,
            1,
            "the clock is read when needed",
        ),
        flag("sendfile", HTTP_SERVER_LOCATION, ""),
        size(
            "sendfile_max_chunk",
            HTTP_SERVER_LOCATION,
            "no connection can hold up the others with one",
        ),
        flag("tcp_nopush", HTTP_SERVER_LOCATION, ""),
        flag("tcp_nodelay", HTTP_SERVER_LOCATION, ""),
        noted(
            "aio",
            HTTP_SERVER_LOCATION,
            1,
            1,
            "files that are not in memory are read by a pool of threads",
        ),
        flag(
            "aio_write",
            HTTP_SERVER_LOCATION,
            "temporary files are written by a pool of threads",
        ),
        noted(
            "directio",
            HTTP_SERVER_LOCATION,
            1,
            1,
            "files are read through the kernel's cache",
        ),
        size(
            "directio_alignment",
            HTTP_SERVER_LOCATION,
            "files are read through the kernel's cache",
        ),
        size("read_ahead", HTTP_SERVER_LOCATION, "the kernel decides"),
        noted(
            "output_buffers",
            HTTP_SERVER_LOCATION,
            2,
            2,
            "buffers are as large as is useful",
        ),
        size(
            "postpone_output",
            HTTP_SERVER_LOCATION,
            "head and first content leave together",
        ),
        size("send_lowat", HTTP_SERVER_LOCATION, "the kernel decides"),
        flag(
            "reset_timedout_connection",
            HTTP_SERVER_LOCATION,
            "timed-out connections are closed",
        ),
        noted(
            "lingering_close",
            HTTP_SERVER_LOCATION,
            1,
            1,
            "unread content is read as far as `lingering_time` allows",
        ),
        noted(
            "lingering_timeout",
            HTTP_SERVER_LOCATION,
            1,
            1,
            "`lingering_time` holds",
        ),
        noted(
            "keepalive_disable",
            HTTP_SERVER_LOCATION,
            1,
            8,
            "no such browser is left",
        ),
        flag(
            "msie_padding",
            HTTP_SERVER_LOCATION,
            "no such browser is left",
        ),
        flag(
            "msie_refresh",
            HTTP_SERVER_LOCATION,
            "no such browser is left",
        ),
        noted(
            "open_file_cache",
            HTTP_SERVER_LOCATION,
            1,
            2,
            "files are opened when asked for, which is as fast",
        ),
        flag(
            "open_file_cache_errors",
            HTTP_SERVER_LOCATION,
            "files are opened when asked for",
        ),
        noted(
            "open_file_cache_min_uses",
            HTTP_SERVER_LOCATION,
            1,
            1,
            "files are opened when asked for",
        ),
        noted(
            "open_file_cache_valid",
            HTTP_SERVER_LOCATION,
            1,
            1,
            "files are opened when asked for",
        ),
        noted(
            "open_log_file_cache",
            HTTP_SERVER_LOCATION,
            1,
            5,
            "log files stay open",
        ),
        size("types_hash_bucket_size", HTTP_SERVER_LOCATION, ""),
        size("types_hash_max_size", HTTP_SERVER_LOCATION, ""),
        size("server_names_hash_bucket_size", HTTP_ONLY, ""),
        size("server_names_hash_max_size", HTTP_ONLY, ""),
        size("variables_hash_bucket_size", HTTP_ONLY, ""),
        size("variables_hash_max_size", HTTP_ONLY, ""),
        size("connection_pool_size", HTTP_SERVER, ""),
        size("request_pool_size", HTTP_SERVER, ""),
        size("subrequest_output_buffer_size", HTTP_SERVER_LOCATION, ""),
        noted(
            "client_body_temp_path",
            HTTP_SERVER_LOCATION,
            1,
            4,
            "content that waits on disk lies in files without a name in the system's temporary directory",
        ),
        flag("client_body_in_single_buffer", HTTP_SERVER_LOCATION, ""),
        flag(
            "log_subrequest",
            HTTP_SERVER_LOCATION,
            "there are no subrequests",
        ),
        noted("ssl_engine", MAIN_ONLY, 1, 1, "there is no OpenSSL"),
        noted("env", MAIN_ONLY, 1, 1, "the worker keeps the environment"),
        flag("quic_bpf", MAIN_HTTP, "there is no HTTP/3"),
    ];

    fn settle(&self, _: Written, outer: Option<&Arc<()>>, _: &mut Settling<'_>) -> Arc<()> {
        outer.cloned().unwrap_or_default()
    }
}

/// [`noted`], `on` or `off`.
const fn flag(name: &'static str, scopes: Scopes, why: &'static str) -> D {
    let read: Read = |args, _| {
        args.flag()?;
        note(args);
        Ok(())
    };
    D {
        read,
        syntax: "on | off",
        repeat: Repeat::Once,
        ..noted(name, scopes, 1, 1, why)
    }
}

/// [`noted`], a size.
const fn size(name: &'static str, scopes: Scopes, why: &'static str) -> D {
    let read: Read = |args, _| {
        args.size()?;
        note(args);
        Ok(())
    };
    D {
        read,
        syntax: "size",
        repeat: Repeat::Once,
        ..noted(name, scopes, 1, 1, why)
    }
}

/// A directive that is accepted; `why` says why it has nothing to do, empty where nobody needs to be told.
const fn noted(name: &'static str, scopes: Scopes, min: usize, max: usize, why: &'static str) -> D {
    let read: Read = |args, _| {
        args.rest();
        note(args);
        Ok(())
    };
    let doc = if why.is_empty() { NOTHING } else { why };
    D {
        name,
        scopes,
        args: Arity::between(min, max),
        repeat: Repeat::Many,
        syntax: "...",
        doc,
        read,
        ..D::DEFAULT
    }
}

type Read = fn(&mut Args<'_>, &mut Written) -> Result<(), Fault>;

/// What is said of directives whose meaning nobody misses.
const NOTHING: &str = "Accepted: nothing here needs to be told.";

/// Tells why a directive has nothing to do, where somebody may wonder.
fn note(args: &mut Args<'_>) {
    let name = args.directive();
    let known = ProcessNotes::DIRECTIVES
        .iter()
        .find(|directive| directive.name == name);
    if let Some(directive) = known.filter(|directive| directive.doc != NOTHING) {
        let words = format!("\"{name}\" has no meaning here: {}", directive.doc);
        args.report(Fault::new(words).severity(Severity::Notice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_has_a_place_and_a_text() {
        for directive in ProcessNotes::DIRECTIVES {
            assert!(
                directive.scopes.iter().next().is_some(),
                "{}",
                directive.name
            );
            assert!(!directive.doc.is_empty(), "{}", directive.name);
        }
    }
}
