//! The variables that every request has: what nginx's core module offers.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use http_wire::Known;

use super::clock;
use super::exchange::Exchange;
use super::variables::Variable;
use crate::server::Address;

/// All of them.
pub(super) const ALL: &[Variable] = &[
    Variable::plain("args", "the arguments of the request", arguments),
    Variable::plain("query_string", "the same as $args", arguments),
    Variable::plain(
        "is_args",
        "\"?\" when there are arguments, else empty",
        |ex, _, out| text(out, if ex.uri.args.is_empty() { b"" } else { b"?" }),
    ),
    Variable::family("arg_", "one argument of the request by name", argument),
    Variable::plain(
        "binary_remote_addr",
        "the client's address as bytes",
        |ex, _, out| match &ex.request.connection.peer {
            Address::Inet(peer) => match peer.ip() {
                std::net::IpAddr::V4(ip) => text(out, &ip.octets()),
                std::net::IpAddr::V6(ip) => text(out, &ip.octets()),
            },
            Address::Unix(_) => text(out, b"unix:"),
        },
    ),
    Variable::plain(
        "body_bytes_sent",
        "bytes of content sent to the client",
        |ex, _, out| number(out, ex.sent.as_ref().map_or(0, |sent| sent.body_bytes)),
    ),
    Variable::plain("bytes_sent", "bytes sent to the client", |ex, _, out| {
        number(out, ex.sent.as_ref().map_or(0, |sent| sent.bytes))
    }),
    Variable::plain("connection", "the connection's number", |ex, _, out| {
        number(out, ex.request.connection.serial)
    }),
    Variable::plain(
        "connection_time",
        "seconds with milliseconds since the connection was accepted",
        |ex, _, out| {
            let age = ex.request.connection.since.elapsed();
            write!(out, "{}.{:03}", age.as_secs(), age.subsec_millis()).is_ok()
        },
    ),
    Variable::plain(
        "connection_requests",
        "requests that the connection has carried, this one included",
        |ex, _, out| number(out, ex.request.ordinal),
    ),
    Variable::plain(
        "content_length",
        "the Content-Length of the request",
        |ex, _, out| field(ex, Known::ContentLength, out),
    ),
    Variable::plain(
        "content_type",
        "the Content-Type of the request",
        |ex, _, out| field(ex, Known::ContentType, out),
    ),
    Variable::family("cookie_", "one cookie of the request by name", cookie),
    Variable::plain(
        "document_root",
        "root or alias for this request",
        |ex, _, out| {
            ex.expand_into(&ex.core().files.path, out);
            true
        },
    ),
    Variable::plain("document_uri", "the same as $uri", |ex, _, out| {
        text(out, &ex.uri.path)
    }),
    Variable::plain(
        "uri",
        "the path of the request, decoded and normalised",
        |ex, _, out| text(out, &ex.uri.path),
    ),
    Variable::plain(
        "host",
        "the host that the request is for, lower-case, without port; else the server's name",
        |ex, _, out| {
            text(
                out,
                if ex.host.is_empty() {
                    ex.server.name.as_bytes()
                } else {
                    &ex.host
                },
            )
        },
    ),
    Variable::plain("hostname", "the name of this machine", |_, _, out| {
        text(out, rustix::system::uname().nodename().to_bytes())
    }),
    Variable::plain(
        "gzip_ratio",
        "no value: responses are not compressed",
        |_, _, _| false,
    ),
    Variable::family("http_", "one field of the request by name", request_field),
    Variable::plain("https", "\"on\" over TLS, else empty", |ex, _, out| {
        text(
            out,
            if ex.request.connection.tls {
                b"on"
            } else {
                b""
            },
        )
    }),
    Variable::plain(
        "msec",
        "the time in seconds with milliseconds",
        |_, _, out| {
            let now = clock::since_epoch();
            write!(out, "{}.{:03}", now.as_secs(), now.subsec_millis()).is_ok()
        },
    ),
    Variable::plain("nginx_version", "the version of edge", |_, _, out| {
        text(out, env!("CARGO_PKG_VERSION").as_bytes())
    }),
    Variable::plain("pid", "the number of the worker process", |_, _, out| {
        number(out, u64::from(std::process::id()))
    }),
    Variable::plain(
        "pipe",
        "\"p\" when the request was pipelined, else \".\"",
        |_, _, out| text(out, b"."),
    ),
    Variable::plain(
        "limit_rate",
        "0: the rate of responses is not limited",
        |_, _, out| text(out, b"0"),
    ),
    Variable::plain(
        "realpath_root",
        "root or alias for this request with all symbolic links resolved",
        |ex, _, out| {
            let root = ex.expand(&ex.core().files.path);
            match std::fs::canonicalize(OsStr::from_bytes(&root)) {
                Ok(path) => text(out, path.as_os_str().as_bytes()),
                Err(_) => false,
            }
        },
    ),
    Variable::plain(
        "remote_addr",
        "the client's address",
        |ex, _, out| match &ex.request.connection.peer {
            Address::Inet(peer) => write!(out, "{}", peer.ip()).is_ok(),
            Address::Unix(_) => text(out, b"unix:"),
        },
    ),
    Variable::plain("remote_port", "the client's port", |ex, _, out| {
        match &ex.request.connection.peer {
            Address::Inet(peer) => number(out, u64::from(peer.port())),
            Address::Unix(_) => text(out, b""),
        }
    }),
    Variable::plain(
        "remote_user",
        "the user name of Basic authentication",
        remote_user,
    ),
    Variable::plain("request", "the request line as sent", |ex, _, out| {
        let head = &ex.request.head;
        out.extend_from_slice(ex.method_sent().as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(head.target.as_bytes());
        out.push(b' ');
        text(out, head.version.as_str().as_bytes())
    }),
    Variable::plain(
        "request_completion",
        "\"OK\" when the response was sent completely, else empty",
        |ex, _, out| {
            text(
                out,
                if ex.sent.as_ref().is_some_and(|sent| sent.complete) {
                    b"OK"
                } else {
                    b""
                },
            )
        },
    ),
    Variable::plain(
        "request_filename",
        "the path of the file that root or alias and the URI name",
        |ex, _, out| {
            out.extend_from_slice(&ex.file_path());
            true
        },
    ),
    Variable::plain(
        "request_id",
        "16 random bytes in hexadecimal, the same for the whole request",
        |ex, _, out| text(out, ex.id().as_bytes()),
    ),
    Variable::plain(
        "request_length",
        "bytes of the request, head and content",
        |ex, _, out| {
            number(
                out,
                ex.sent
                    .as_ref()
                    .map_or(ex.request.head_bytes, |sent| sent.request_bytes),
            )
        },
    ),
    Variable::plain("request_method", "the method", |ex, _, out| {
        text(out, ex.request.head.method.as_str().as_bytes())
    }),
    Variable::plain(
        "request_time",
        "seconds with milliseconds since the first byte of the request",
        |ex, _, out| {
            let age = ex.age();
            write!(out, "{}.{:03}", age.as_secs(), age.subsec_millis()).is_ok()
        },
    ),
    Variable::plain("request_uri", "the request target as sent", |ex, _, out| {
        text(out, ex.request.head.target.as_bytes())
    }),
    Variable::plain("scheme", "http or https", |ex, _, out| {
        text(
            out,
            if ex.request.connection.tls {
                b"https"
            } else {
                b"http"
            },
        )
    }),
    Variable {
        name: "sent_http_",
        family: true,
        doc: "one field of the response by name",
        needs_response_fields: true,
        eval: |ex, name, out| {
            let fields = ex.answer.as_ref().and_then(|answer| answer.fields.as_ref());
            fields.is_some_and(|fields| joined(fields, name, out))
        },
    },
    Variable::plain(
        "server_addr",
        "the address that accepted the connection",
        |ex, _, out| match &ex.request.connection.local {
            Address::Inet(local) => write!(out, "{}", local.ip()).is_ok(),
            local => write!(out, "{local}").is_ok(),
        },
    ),
    Variable::plain(
        "server_name",
        "the first name of the server",
        |ex, _, out| text(out, ex.server.name.as_bytes()),
    ),
    Variable::plain(
        "server_port",
        "the port that accepted the connection",
        |ex, _, out| match &ex.request.connection.local {
            Address::Inet(local) => number(out, u64::from(local.port())),
            Address::Unix(_) => text(out, b""),
        },
    ),
    Variable::plain(
        "server_protocol",
        "the protocol version of the request",
        |ex, _, out| text(out, ex.request.head.version.as_str().as_bytes()),
    ),
    Variable::plain(
        "ssl_cipher",
        "no value: the connection is not encrypted",
        |_, _, _| false,
    ),
    Variable::plain(
        "ssl_protocol",
        "no value: the connection is not encrypted",
        |_, _, _| false,
    ),
    Variable::plain(
        "ssl_server_name",
        "no value: the connection is not encrypted",
        |_, _, _| false,
    ),
    Variable::plain(
        "status",
        "the status of the response",
        |ex, _, out| match &ex.answer {
            Some(answer) => write!(out, "{:03}", answer.status.as_u16()).is_ok(),
            None => text(out, b"000"),
        },
    ),
    Variable::plain("time_iso8601", "the local time in ISO 8601", |_, _, out| {
        clock::append_time_iso8601(out);
        true
    }),
    Variable::plain(
        "time_local",
        "the local time in the Common Log Format",
        |_, _, out| {
            clock::append_time_local(out);
            true
        },
    ),
];

fn text(out: &mut Vec<u8>, value: &[u8]) -> bool {
    out.extend_from_slice(value);
    true
}

fn number(out: &mut Vec<u8>, value: u64) -> bool {
    text(out, itoa::Buffer::new().format(value).as_bytes())
}

fn field(exchange: &Exchange, name: Known, out: &mut Vec<u8>) -> bool {
    exchange
        .request
        .head
        .fields
        .get_known(name)
        .is_some_and(|value| text(out, value))
}

/// `http_x_request_id` means `X-Request-Id`: the name is compared with dashes as underscores, without regard to case.
fn request_field(exchange: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    joined(&exchange.request.head.fields, name, out)
}

/// All values of a field, joined as nginx joins them: cookies with `; `, others with `, `.
fn joined(fields: &http_wire::Fields, name: &str, out: &mut Vec<u8>) -> bool {
    let separator: &[u8] = if name.eq_ignore_ascii_case("cookie") {
        b"; "
    } else {
        b", "
    };
    let mut found = false;
    for (_, value) in fields
        .iter()
        .filter(|(field, _)| same_name(field.as_bytes(), name.as_bytes()))
    {
        if found {
            out.extend_from_slice(separator);
        }
        found = true;
        out.extend_from_slice(value);
    }
    found
}

fn same_name(field: &[u8], variable: &[u8]) -> bool {
    let fold = |byte: u8| {
        if byte == b'-' {
            b'_'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    field.len() == variable.len()
        && field
            .iter()
            .zip(variable)
            .all(|(a, b)| fold(*a) == fold(*b))
}

fn arguments(exchange: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    !exchange.uri.args.is_empty() && text(out, &exchange.uri.args)
}

fn argument(exchange: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let mut pairs = exchange.uri.args.split(|byte| *byte == b'&');
    let value = pairs.find_map(|pair| {
        let (key, value) = pair.split_at_checked(name.len())?;
        let value = value.strip_prefix(b"=")?;
        key.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
    });
    value.is_some_and(|value| text(out, value))
}

fn cookie(exchange: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let mut lines = exchange.request.head.fields.get_all(Known::Cookie);
    let value = lines.find_map(|line| {
        // A value ends at a semicolon and may have commas; what is no pair of that name ends at either.
        let mut rest = line;
        while !rest.is_empty() {
            rest = rest.trim_ascii_start();
            if let Some((key, after)) = rest.split_at_checked(name.len())
                && key.eq_ignore_ascii_case(name.as_bytes())
                && let Some(value) = after.trim_ascii_start().strip_prefix(b"=")
            {
                return value.trim_ascii_start().split(|byte| *byte == b';').next();
            }
            let next = memchr::memchr2(b';', b',', rest);
            rest = next.map_or(&[][..], |at| &rest[at + 1..]);
        }
        None
    });
    value.is_some_and(|value| text(out, value))
}

fn remote_user(exchange: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let Some(credentials) = exchange.request.head.fields.get_known(Known::Authorization) else {
        return false;
    };
    let Some((scheme, encoded)) = credentials.split_at_checked(6) else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return false;
    }
    let Some(decoded) = BASE64.decode(encoded.trim_ascii()).ok() else {
        return false;
    };
    let user = decoded
        .split(|byte| *byte == b':')
        .next()
        .unwrap_or_default();
    !user.is_empty() && decoded.len() > user.len() && text(out, user)
}
