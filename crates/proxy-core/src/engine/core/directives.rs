//! The directives of [`Core`](super::Core).

use std::path::PathBuf;
use std::sync::Arc;

use nginx_conf::{Args, Arity, BlockKind, Fault, Repeat, Severity};
use static_files::Symlinks;

use super::types::TypeLines;
use super::{IfModifiedSince, Written, error_pages};
use crate::engine::logs::Level;
use crate::engine::scopes::{
    EVERYWHERE, HTTP_SERVER, HTTP_SERVER_LOCATION, HTTP_SERVER_LOCATION_IF, LOCATION_ONLY,
};
use crate::feature::Directive;

type D = Directive<Written>;

/// All of them.
pub(super) const ALL: &[D] = &[
    D {
        name: "root",
        scopes: HTTP_SERVER_LOCATION_IF,
        syntax: "path",
        default: "html",
        doc: "Directory of the files; the whole URI is added to it.",
        read: |args, written| written.root.set(args.template()?),
        ..D::DEFAULT
    },
    D {
        name: "alias",
        scopes: LOCATION_ONLY,
        syntax: "path",
        doc: "What stands in for the location's own part of the URI.",
        read: |args, written| written.alias.set(args.template()?),
        ..D::DEFAULT
    },
    D {
        name: "types",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::NONE,
        block: BlockKind::FreeForm,
        syntax: "{ type extension ...; }",
        default: "text/html html; image/gif gif; image/jpeg jpg;",
        doc: "Content types by file name extension. A block replaces all of the outer one.",
        read: |args, written| {
            let lines = TypeLines::read(args);
            let place = args.key().span();
            written.types.set(nginx_conf::Spanned {
                value: Arc::new(lines),
                span: place,
            })
        },
        ..D::DEFAULT
    },
    D {
        name: "default_type",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "mime-type",
        default: "text/plain",
        doc: "Content type of files whose extension is in no `types`.",
        read: |args, written| written.default_type.set(args.string()?),
        ..D::DEFAULT
    },
    D {
        name: "error_page",
        scopes: HTTP_SERVER_LOCATION_IF,
        args: Arity::at_least(2),
        repeat: Repeat::Many,
        syntax: "code ... [=[response]] uri",
        doc: "What is shown for a status: a URI inside, a named location, or another site to go to.",
        read: |args, written| error_pages::read(args, &mut written.error_pages),
        ..D::DEFAULT
    },
    flag(
        "recursive_error_pages",
        HTTP_SERVER_LOCATION,
        "off",
        "Whether the page for an error may itself lead to `error_page`.",
        |args, written| written.recursive_error_pages.set(args.flag()?),
    ),
    D {
        name: "client_max_body_size",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "size",
        default: "1m",
        doc: "The largest request content; more is answered with 413. 0 allows any size.",
        read: |args, written| written.client_max_body_size.set(args.offset()?),
        ..D::DEFAULT
    },
    D {
        name: "client_body_buffer_size",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "size",
        default: "16k",
        doc: "Request content up to this size is held in memory, the rest in a temporary file.",
        read: |args, written| written.client_body_buffer_size.set(args.size()?),
        ..D::DEFAULT
    },
    duration(
        "client_body_timeout",
        HTTP_SERVER_LOCATION,
        "60s",
        "The longest pause between two pieces of request content.",
        |args, written| written.client_body_timeout.set(args.duration()?),
    ),
    duration(
        "client_header_timeout",
        HTTP_SERVER,
        "60s",
        "The longest time to read a request head.",
        |args, written| written.client_header_timeout.set(args.duration()?),
    ),
    D {
        name: "client_header_buffer_size",
        scopes: HTTP_SERVER,
        syntax: "size",
        default: "1k",
        doc: "A request head up to this size counts as small; what is larger needs `large_client_header_buffers`.",
        read: |args, written| written.client_header_buffer_size.set(args.size()?),
        ..D::DEFAULT
    },
    D {
        name: "large_client_header_buffers",
        scopes: HTTP_SERVER,
        args: Arity::exactly(2),
        syntax: "number size",
        default: "4 8k",
        doc: "The longest request line (414 beyond) and field line (400 beyond), and how many of that size fit in one head.",
        read: |args, written| {
            let number = args.number(1..=1024_u64)?;
            let size = args.size()?;
            written
                .large_client_header_buffers
                .set(number.map(|number| (number, size.value)))
        },
        ..D::DEFAULT
    },
    D {
        name: "keepalive_timeout",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::between(1, 2),
        syntax: "timeout [header_timeout]",
        default: "75s",
        doc: "How long an idle connection stays open; 0 closes after each response. The second time goes into `Keep-Alive`.",
        read: |args, written| {
            let idle = args.duration()?;
            let promise = if args.left() > 0 {
                Some(args.seconds()?.value)
            } else {
                None
            };
            written
                .keepalive_timeout
                .set(idle.map(|idle| (idle, promise)))
        },
        ..D::DEFAULT
    },
    D {
        name: "keepalive_requests",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "number",
        default: "1000",
        doc: "Requests on one connection before it is closed.",
        read: |args, written| written.keepalive_requests.set(args.number(0..=u64::MAX)?),
        ..D::DEFAULT
    },
    duration(
        "keepalive_time",
        HTTP_SERVER_LOCATION,
        "1h",
        "A connection older than this is closed after its response.",
        |args, written| written.keepalive_time.set(args.duration()?),
    ),
    duration(
        "keepalive_min_timeout",
        HTTP_SERVER_LOCATION,
        "0",
        "How long after its last response a reload or a graceful end leaves an idle connection open.",
        |args, written| written.keepalive_min_timeout.set(args.duration()?),
    ),
    duration(
        "send_timeout",
        HTTP_SERVER_LOCATION,
        "60s",
        "The longest pause between two writes to a client.",
        |args, written| written.send_timeout.set(args.duration()?),
    ),
    duration(
        "lingering_time",
        HTTP_SERVER_LOCATION,
        "30s",
        "The longest time spent reading content that nobody wants before a connection closes.",
        |args, written| written.lingering_time.set(args.duration()?),
    ),
    D {
        name: "server_tokens",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "on | off | build",
        default: "on",
        doc: "Whether the `Server` field and error pages tell the version.",
        read: |args, written| {
            written.server_tokens.set(args.one_of(&[
                ("on", true),
                ("off", false),
                ("build", true),
            ])?)
        },
        ..D::DEFAULT
    },
    D {
        name: "internal",
        scopes: LOCATION_ONLY,
        args: Arity::NONE,
        syntax: "",
        doc: "The location answers internal redirects only; requests from outside get 404.",
        read: |_, written| {
            written.internal = true;
            Ok(())
        },
        ..D::DEFAULT
    },
    flag(
        "absolute_redirect",
        HTTP_SERVER_LOCATION,
        "on",
        "Whether redirects of our own name scheme and host.",
        |args, written| written.absolute_redirect.set(args.flag()?),
    ),
    flag(
        "port_in_redirect",
        HTTP_SERVER_LOCATION,
        "on",
        "Whether absolute redirects name the port.",
        |args, written| written.port_in_redirect.set(args.flag()?),
    ),
    flag(
        "server_name_in_redirect",
        HTTP_SERVER_LOCATION,
        "off",
        "Whether absolute redirects name the first `server_name` instead of the `Host`.",
        |args, written| written.server_name_in_redirect.set(args.flag()?),
    ),
    D {
        name: "error_log",
        scopes: EVERYWHERE,
        args: Arity::between(1, 2),
        repeat: Repeat::Many,
        syntax: "file [level]",
        default: "logs/error.log error",
        doc: "Where errors go, and from which level on: debug, info, notice, warn, error, crit, alert, emerg.",
        read: read_error_log,
        ..D::DEFAULT
    },
    flag(
        "log_not_found",
        HTTP_SERVER_LOCATION,
        "on",
        "Whether missing files are errors worth a line.",
        |args, written| written.log_not_found.set(args.flag()?),
    ),
    flag(
        "etag",
        HTTP_SERVER_LOCATION,
        "on",
        "Whether files get an `ETag`.",
        |args, written| written.etag.set(args.flag()?),
    ),
    D {
        name: "if_modified_since",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "off | exact | before",
        default: "exact",
        doc: "How `If-Modified-Since` compares with the time of a file.",
        read: |args, written| {
            let choices = [
                ("off", IfModifiedSince::Off),
                ("exact", IfModifiedSince::Exact),
                ("before", IfModifiedSince::Before),
            ];
            written.if_modified_since.set(args.one_of(&choices)?)
        },
        ..D::DEFAULT
    },
    D {
        name: "max_ranges",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "number",
        doc: "The most ranges of one request; 0 turns ranges off. Any number unless set.",
        read: |args, written| {
            written
                .max_ranges
                .set(args.number(0..=usize::MAX)?.map(Some))
        },
        ..D::DEFAULT
    },
    flag(
        "chunked_transfer_encoding",
        HTTP_SERVER_LOCATION,
        "on",
        "Whether content of unknown length is sent chunked; else the connection's end ends it.",
        |args, written| written.chunked_transfer_encoding.set(args.flag()?),
    ),
    flag(
        "merge_slashes",
        HTTP_SERVER,
        "on",
        "Whether several slashes in a row count as one.",
        |args, written| written.merge_slashes.set(args.flag()?),
    ),
    flag(
        "underscores_in_headers",
        HTTP_SERVER,
        "off",
        "Whether request fields with an underscore in their name are kept.",
        |args, written| written.underscores_in_headers.set(args.flag()?),
    ),
    flag(
        "ignore_invalid_headers",
        HTTP_SERVER,
        "on",
        "Whether request fields with unusual names are left out; else the request is refused.",
        |args, written| written.ignore_invalid_headers.set(args.flag()?),
    ),
    D {
        name: "disable_symlinks",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::between(1, 2),
        syntax: "off | on | if_not_owner",
        default: "off",
        doc: "Whether symbolic links on the way to a file are refused.",
        read: |args, written| {
            let choices = [
                ("off", Symlinks::Follow),
                ("on", Symlinks::Refuse),
                ("if_not_owner", Symlinks::IfOwner),
            ];
            let policy = args.one_of(&choices)?;
            if args.left() > 0 {
                let part = args.one()?;
                return Err(part
                    .fault("\"disable_symlinks\" with \"from=\" is not supported")
                    .help("leave the parameter out: the check covers the path below the root"));
            }
            written.symlinks.set(policy)
        },
        ..D::DEFAULT
    },
];

const fn flag(
    name: &'static str,
    scopes: nginx_conf::Scopes,
    default: &'static str,
    doc: &'static str,
    read: fn(&mut Args<'_>, &mut Written) -> Result<(), Fault>,
) -> D {
    D {
        name,
        scopes,
        syntax: "on | off",
        default,
        doc,
        read,
        ..D::DEFAULT
    }
}

const fn duration(
    name: &'static str,
    scopes: nginx_conf::Scopes,
    default: &'static str,
    doc: &'static str,
    read: fn(&mut Args<'_>, &mut Written) -> Result<(), Fault>,
) -> D {
    D {
        name,
        scopes,
        syntax: "time",
        default,
        doc,
        read,
        ..D::DEFAULT
    }
}

fn read_error_log(args: &mut Args<'_>, written: &mut Written) -> Result<(), Fault> {
    let file = args.one()?;
    for scheme in ["syslog:", "memory:"] {
        if file.text().starts_with(scheme) {
            return Err(file
                .fault(format!("\"error_log\" can't write to \"{scheme}\" yet"))
                .help("name a file, or stderr, and let the service manager collect it"));
        }
    }
    let mut level = Level::Error;
    if args.left() > 0 {
        let choices = Level::ALL.map(|level| (level.word(), level));
        let word = args.one()?;
        level = word.one_of(&choices)?.value;
        if level == Level::Debug {
            args.report(
                word.fault("\"debug\" tells no more than \"info\" here")
                    .severity(Severity::Warn),
            );
        }
    }
    written
        .error_logs
        .push(file.spanned((PathBuf::from(file.text()), level)))
}
