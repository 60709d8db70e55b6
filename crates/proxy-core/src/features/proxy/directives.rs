//! The directives of [`Proxy`](super::Proxy).

use std::time::Duration;

use nginx_conf::{Args, Arity, Fault, Repeat, Scopes, Setting, Severity};

use super::attempt::NextUpstream;
use super::{Written, field_name, redirects};
use crate::engine::scopes::{HTTP_SERVER_LOCATION, LOCATION_IF_LIMIT};
use crate::feature::Directive;

type D = Directive<Written>;
type Read = fn(&mut Args<'_>, &mut Written) -> Result<(), Fault>;

/// All of them.
pub(super) const ALL: &[D] = &[
    D {
        name: "proxy_pass",
        scopes: LOCATION_IF_LIMIT,
        syntax: "URL",
        doc: "The origin server, or the upstream, that answers: http://name[:port][/uri] or http://unix:/path[:/uri].",
        read: |args, written| written.pass.set(args.template()?),
        ..D::DEFAULT
    },
    D {
        name: "proxy_set_header",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::exactly(2),
        repeat: Repeat::Many,
        syntax: "field value",
        default: "Host $proxy_host",
        doc: "A field of the request to the origin server; an empty value leaves it out. A block with any inherits none.",
        read: |args, written| {
            let name = field_name(args.one()?)?;
            let value = args.template()?;
            written.set_fields.push(name.map(|name| (name, value)))
        },
        ..D::DEFAULT
    },
    D {
        name: "proxy_http_version",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "1.0 | 1.1",
        default: "1.1",
        doc: "The version of HTTP that origin servers are spoken to in.",
        read: |args, written| {
            let word = args.one()?;
            if word.text() == "2" || word.text() == "2.0" {
                return Err(word
                    .fault("\"proxy_http_version 2\" is not supported yet")
                    .help("write 1.1"));
            }
            written
                .http_10
                .set(word.one_of(&[("1.0", true), ("1.1", false)])?)
        },
        ..D::DEFAULT
    },
    time(
        "proxy_connect_timeout",
        "60s",
        "The longest time for making a connection to an origin server.",
        |args, written| positive(args, &mut written.connect_timeout),
    ),
    time(
        "proxy_send_timeout",
        "60s",
        "The longest pause between two writes to an origin server.",
        |args, written| positive(args, &mut written.send_timeout),
    ),
    time(
        "proxy_read_timeout",
        "60s",
        "The longest pause between two reads from an origin server.",
        |args, written| positive(args, &mut written.read_timeout),
    ),
    flag(
        "proxy_buffering",
        "on",
        "Whether a response is read ahead of a slow client, into memory and then into a file.",
        |args, written| written.buffering.set(args.flag()?),
    ),
    size(
        "proxy_buffer_size",
        "64k",
        "The largest head of a response; a larger one is answered with 502.",
        |args, written| written.buffer_size.set(args.size()?),
    ),
    D {
        name: "proxy_buffers",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::exactly(2),
        syntax: "number size",
        default: "8 8k",
        doc: "How much of a response is held in memory ahead of a slow client.",
        read: |args, written| {
            let number = args.number(2..=65_536_u64)?;
            let size = args.size()?.value;
            written.buffers.set(number.map(|number| (number, size)))
        },
        ..D::DEFAULT
    },
    size(
        "proxy_max_temp_file_size",
        "1024m",
        "How much of a response is held in a file ahead of a slow client; 0 for nothing.",
        |args, written| written.max_temp_file_size.set(args.size()?),
    ),
    noted("proxy_busy_buffers_size", 1, 1),
    noted("proxy_temp_file_write_size", 1, 1),
    noted("proxy_headers_hash_bucket_size", 1, 1),
    noted("proxy_headers_hash_max_size", 1, 1),
    noted("proxy_socket_keepalive", 1, 1),
    noted("proxy_send_lowat", 1, 1),
    D {
        name: "proxy_temp_path",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::between(1, 4),
        syntax: "path [level1 [level2 [level3]]]",
        default: "the system's temporary directory",
        doc: "Where content lies that waits on disk, in files without a name.",
        read: |args, written| {
            let path = args.path()?;
            args.rest();
            written.temp_path.set(path)
        },
        ..D::DEFAULT
    },
    flag(
        "proxy_request_buffering",
        "on",
        "Whether request content is read completely before it is sent on.",
        |args, written| written.request_buffering.set(args.flag()?),
    ),
    D {
        name: "proxy_next_upstream",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::at_least(1),
        syntax: "error | timeout | invalid_header | http_500 | http_502 | http_503 | http_504 | http_403 | http_404 | http_429 | non_idempotent | off ...",
        default: "error timeout",
        doc: "When a request is passed to the next peer.",
        read: |args, written| {
            let span = args.span();
            let next = NextUpstream::read(args)?;
            written
                .next_upstream
                .set(nginx_conf::Spanned { value: next, span })
        },
        ..D::DEFAULT
    },
    D {
        name: "proxy_next_upstream_tries",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "number",
        default: "0",
        doc: "The most peers that are tried for a request; 0 for all.",
        read: |args, written| {
            written
                .next_upstream_tries
                .set(args.number(0..=usize::MAX)?)
        },
        ..D::DEFAULT
    },
    time(
        "proxy_next_upstream_timeout",
        "0",
        "How long a request may be passed to further peers; 0 for any time.",
        |args, written| written.next_upstream_timeout.set(args.duration()?),
    ),
    D {
        name: "proxy_redirect",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::between(1, 2),
        repeat: Repeat::Many,
        syntax: "default | off | redirect replacement",
        default: "default",
        doc: "How `Location` and `Refresh` of an origin server are changed.",
        read: |args, written| redirects::read(args, &mut written.redirects),
        ..D::DEFAULT
    },
    names(
        "proxy_hide_header",
        "A field of the response that is not passed on.",
        |args, written| written.hidden.push(field_name(args.one()?)?),
    ),
    names(
        "proxy_pass_header",
        "A field of the response that is passed on although it usually is not.",
        |args, written| written.passed.push(field_name(args.one()?)?),
    ),
    D {
        name: "proxy_ignore_headers",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::at_least(1),
        syntax: "field ...",
        doc: "Fields of the response that steer nothing: X-Accel-Redirect, X-Accel-Buffering and their like.",
        read: |args, written| {
            for arg in args.rest() {
                written.ignored.push(field_name(arg)?)?;
            }
            Ok(())
        },
        ..D::DEFAULT
    },
    flag(
        "proxy_intercept_errors",
        "off",
        "Whether `error_page` is for responses of status 300 and above, too.",
        |args, written| written.intercept_errors.set(args.flag()?),
    ),
    flag(
        "proxy_ignore_client_abort",
        "off",
        "Whether a request goes on when its client has left.",
        |args, written| written.ignore_client_abort.set(args.flag()?),
    ),
    flag(
        "proxy_pass_request_headers",
        "on",
        "Whether the client's fields are passed on.",
        |args, written| written.pass_request_fields.set(args.flag()?),
    ),
    flag(
        "proxy_pass_request_body",
        "on",
        "Whether the client's content is passed on.",
        |args, written| written.pass_request_content.set(args.flag()?),
    ),
    D {
        name: "proxy_set_body",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "value",
        doc: "Content that is sent instead of the client's.",
        read: |args, written| written.content.set(args.template()?),
        ..D::DEFAULT
    },
    D {
        name: "proxy_method",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "method",
        doc: "The method that is sent instead of the client's.",
        read: |args, written| written.method.set(args.template()?),
        ..D::DEFAULT
    },
    refused("proxy_bind"),
    refused("proxy_limit_rate"),
    refused("proxy_cookie_domain"),
    refused("proxy_cookie_path"),
    refused("proxy_cookie_flags"),
    refused("proxy_pass_trailers"),
];

const fn flag(name: &'static str, default: &'static str, doc: &'static str, read: Read) -> D {
    D {
        name,
        scopes: HTTP_SERVER_LOCATION,
        syntax: "on | off",
        default,
        doc,
        read,
        ..D::DEFAULT
    }
}

const fn time(name: &'static str, default: &'static str, doc: &'static str, read: Read) -> D {
    D {
        name,
        scopes: HTTP_SERVER_LOCATION,
        syntax: "time",
        default,
        doc,
        read,
        ..D::DEFAULT
    }
}

const fn size(name: &'static str, default: &'static str, doc: &'static str, read: Read) -> D {
    D {
        name,
        scopes: HTTP_SERVER_LOCATION,
        syntax: "size",
        default,
        doc,
        read,
        ..D::DEFAULT
    }
}

const fn names(name: &'static str, doc: &'static str, read: Read) -> D {
    D {
        name,
        scopes: HTTP_SERVER_LOCATION,
        repeat: Repeat::Many,
        syntax: "field",
        doc,
        read,
        ..D::DEFAULT
    }
}

/// Steers how nginx divides its memory; accepted.
const fn noted(name: &'static str, min: usize, max: usize) -> D {
    let scopes: Scopes = HTTP_SERVER_LOCATION;
    let doc = "Accepted: nothing here needs to be told.";
    D {
        name,
        scopes,
        args: Arity::between(min, max),
        syntax: "...",
        doc,
        read: |args, _| {
            args.rest();
            Ok(())
        },
        ..D::DEFAULT
    }
}

/// Known to nginx, not here yet.
const fn refused(name: &'static str) -> D {
    let read: Read = |args, _| {
        args.rest();
        let fault = Fault::new(format!("\"{}\" is not supported yet", args.directive()))
            .severity(Severity::Emerg);
        Err(fault.help("edge does not start with a line that it can't honour; take it out, or keep this site behind nginx for now"))
    };
    D {
        name,
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::ANY,
        repeat: Repeat::Many,
        syntax: "...",
        doc: "Not supported yet.",
        read,
        ..D::DEFAULT
    }
}

fn positive(args: &mut Args<'_>, setting: &mut Setting<Duration>) -> Result<(), Fault> {
    let time = args.duration()?;
    if time.is_zero() {
        return Err(Fault::directive("value must be more than 0")
            .at(time.span)
            .help("write a time such as 60s"));
    }
    setting.set(time)
}
