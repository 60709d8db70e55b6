//! The heads of requests: how long, how many, and how strictly they are read.

use std::sync::Arc;
use std::time::Duration;

use http_wire::head::{
    Handling, HeadLimits, HeadPolicy, HostRule, MethodCharacters, MethodRule, TargetRule,
};
use http_wire::{Known, KnownSet};

use super::types;
use crate::server::Limits;

/// How long an idle connection may go on to wait when its worker has been told to end: a request that is on the way is answered then,
/// where nginx may lose it.
const IDLE_GRACE: Duration = Duration::from_millis(500);

/// What the directives about heads say.
#[derive(Clone, Debug)]
pub(super) struct Heads {
    pub(super) timeout: Duration,
    pub(super) line_bytes_max: u64,
    pub(super) buffers: (u64, u64),
    pub(super) keepalive_requests: u64,
    pub(super) lingering_time: Duration,
    pub(super) underscores: bool,
    pub(super) ignores_invalid: bool,
    pub(super) default_type: String,
    pub(super) type_lines: Option<Arc<types::TypeLines>>,
}

impl Heads {
    /// The limits of connections whose default server this is.
    pub(super) fn limits(&self, keep_alive_timeout: Duration, send_timeout: Duration) -> Limits {
        let (buffers, buffer_bytes) = (usize_of(self.buffers.0), usize_of(self.buffers.1));
        let line = buffer_bytes.max(usize_of(self.line_bytes_max));
        let head = HeadLimits {
            line_bytes: line,
            field_bytes: line,
            fields: 1000,
            head_bytes: buffer_bytes
                .saturating_mul(buffers)
                .saturating_add(usize_of(self.line_bytes_max)),
            policy: policy(self.underscores, self.ignores_invalid),
        };
        Limits {
            head,
            head_timeout: self.timeout,
            keep_alive_timeout,
            // Each location has its own number; the engine counts.
            keep_alive_requests: u64::MAX,
            idle_grace: IDLE_GRACE,
            writes_together: true,
            send_timeout,
            drain_bytes: u64::MAX,
            drain_timeout: self.lingering_time,
            ..Limits::default()
        }
    }
}

/// How strictly heads are read: what nginx takes and RFC 9112 leaves open; what RFC 9112 forbids is refused.
fn policy(underscores: bool, ignores_invalid: bool) -> HeadPolicy {
    let unusual = if ignores_invalid {
        Handling::Drop
    } else {
        Handling::Refuse
    };
    HeadPolicy {
        folding: false,
        bare_lf: true,
        method: MethodRule {
            characters: MethodCharacters::Capitals,
            length_min: 1,
            length_max: 8192,
        },
        target: TargetRule {
            asterisk: false,
            authority: false,
            fragment: true,
            non_ascii: true,
            ..TargetRule::default()
        },
        minor_versions: true,
        extra_spaces: true,
        underscores: if underscores { Handling::Keep } else { unusual },
        unusual_names: unusual,
        drop_invalid_names: ignores_invalid,
        control_bytes: true,
        host: HostRule {
            required: true,
            checked: true,
            empty: false,
        },
        single: KnownSet::of(&[
            Known::Host,
            Known::ContentLength,
            Known::TransferEncoding,
            Known::Range,
            Known::Expect,
        ]),
    }
}

fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use http_wire::head::{RequestError, RequestHead, RequestParser};

    use super::*;

    /// With nginx's defaults: `large_client_header_buffers 4 8k`, `ignore_invalid_headers on`, `underscores_in_headers off`.
    fn defaults() -> HeadLimits {
        let heads = Heads {
            timeout: Duration::from_secs(60),
            line_bytes_max: 1 << 10,
            buffers: (4, 8 << 10),
            keepalive_requests: 1000,
            lingering_time: Duration::from_secs(30),
            underscores: false,
            ignores_invalid: true,
            default_type: "text/plain".to_owned(),
            type_lines: None,
        };
        heads
            .limits(Duration::from_secs(75), Duration::from_secs(60))
            .head
    }

    fn read(wire: &str) -> Result<RequestHead, RequestError> {
        let mut head = RequestHead::default();
        let used = RequestParser::new(defaults()).parse(wire.as_bytes(), &mut head)?;
        assert_eq!(used, Some(wire.len()), "{wire:?}");
        Ok(head)
    }

    #[test]
    fn bare_lf_is_taken_and_odd_names_are_dropped() {
        let head =
            read("GET  /\u{e9}#x  HTTP/1.3 \nHost: a\nX_Y: 1\nX.Y: 2\nX@Y: 3\nX-Y: \u{1}4\n\n")
                .unwrap();
        let names: Vec<&str> = head.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Host", "X-Y"]);
        assert_eq!(head.target.path(), "/\u{e9}".as_bytes());
    }

    #[test]
    fn what_nginx_refuses_is_refused() {
        for (wire, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nRange: a\r\nRange: b\r\n\r\n",
                400,
            ),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            (&format!("GET /{} HTTP/1.1\r\n", "a".repeat(8190)), 414),
            (
                &format!("GET / HTTP/1.1\r\nA: {}\r\n", "a".repeat(8190)),
                431,
            ),
            (
                &format!(
                    "GET / HTTP/1.1\r\n{}",
                    format!("A: {}\r\n", "a".repeat(8000)).repeat(5)
                ),
                431,
            ),
        ] {
            assert_eq!(read(wire).unwrap_err().status(), status, "{wire:?}");
        }
    }
}
