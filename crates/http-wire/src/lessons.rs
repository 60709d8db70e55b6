//! Lessons: known ways to make two readers of one message disagree, and what this crate does about each.
//!
//! A front server and the server behind it share a connection. If they disagree about where a request ends, an attacker's bytes become
//! the beginning of somebody else's request (smuggling), or answers reach the wrong client (desynchronisation). The same
//! disagreement about names, lines or hosts gets past access rules or poisons caches. The rule here: where two readings exist, the message is
//! refused ([RFC 9112 §6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3), §11.2), and what is forwarded is written anew from what was understood.
//!
//! Every entry below has a test in this module, run under the strict policy, under a tolerant one as a gateway
//! uses it (bare LF taken, odd names dropped), and in pieces of one byte.
//!
//! | lesson | what is sent | outcome |
//! | --- | --- | --- |
//! | CL.TE and TE.CL | `Content-Length` and `Transfer-Encoding` in one message, either order | refused ([`FramingError::LengthAndCoding`]) |
//! | TE.TE | two `Transfer-Encoding` lines, or a value that only one reader takes for `chunked`: `xchunked`, `chunked, identity`, `"chunked"`, `chunked;x`, trailing `\x0b` | refused |
//! | hidden TE | a name that only one reader takes for `Transfer-Encoding`: space or tab before the colon, folded line, control character, `Transfer_Encoding`, bare LF or CR before it | refused, or a different name that frames nothing |
//! | CL.CL | two `Content-Length` lines, different or equal | refused |
//! | odd lengths | `+5`, `-5`, `5, 5`, `0x5`, `5 5`, `1e1`, empty, beyond 64 bits | refused |
//! | CL.0 and GET with content | content where a server may not expect it | framed by its fields whatever the method |
//! | TE in HTTP/1.0 | `Transfer-Encoding` that an HTTP/1.0 reader ignores | refused |
//! | bare CR, bare LF, NUL | line ends that only one reader sees; text that only one reader cuts short | refused (bare LF: by policy) |
//! | folded lines | obsolete line folding | refused |
//! | first line with space | a field line before the first, hidden by white space | refused |
//! | request line tricks | HTTP/0.9, `http/1.1`, several spaces, tabs, `HTTP/1.1` twice, junk behind it | refused |
//! | host confusion | no `Host`, two, one that is no host, `user@host`; an absolute target that names another | refused; the target's authority counts |
//! | chunk sizes | overflow, sign, `0x`, space, `_`, no digits, more than 16 digits | refused |
//! | chunk extensions | bare LF in one (TERM.EXT), endless ones, control characters | refused |
//! | chunk ends | data longer than its size, bare LF after data (SPILL.TERM), junk behind the last chunk | refused, or left for the next message |
//! | trailers | `Content-Length`, `Host` and the like sent late | refused or dropped |
//! | response splitting | CR LF in values, reasons or targets that we write | can't be written |
//! | response desync | content behind responses to HEAD, 204, 304; both framings in a response | no content; refused |
//! | Connection abuse | `Connection: Content-Length` or `Host`, to have a proxy drop them | they stay |
//! | path confusion | `%2e%2e%2f`, `..%2f`, `//`, `%00`, double encoding | decoded once, resolved; above the root or NUL: refused |
//! | slow and endless heads | one byte at a time; no line end; too many fields | linear cost; limits hold for incomplete heads |
//!
//! [`FramingError::LengthAndCoding`]: crate::body::FramingError::LengthAndCoding

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use crate::body::{Framing, FramingError, request_framing, response_framing};
    use crate::chunked::{ChunkLimits, Decoder, Event};
    use crate::head::*;
    use crate::path::{Normalise, PathError, normalise};
    use crate::{Fields, Known, connection, encode};

    fn tolerant() -> HeadLimits {
        let policy = HeadPolicy {
            bare_lf: true,
            underscores: Handling::Drop,
            unusual_names: Handling::Drop,
            drop_invalid_names: true,
            minor_versions: true,
            control_bytes: true,
            ..HeadPolicy::default()
        };
        HeadLimits {
            policy,
            ..HeadLimits::default()
        }
    }

    /// Head and framing, or why not. Whole and byte by byte.
    fn read(wire: &str, limits: &HeadLimits) -> Result<(RequestHead, Framing, usize), String> {
        let outcome = |piece: usize| {
            let mut parser = RequestParser::new(limits.clone());
            let mut head = RequestHead::default();
            let mut end = 0;
            loop {
                end = wire.len().min(end + piece);
                match parser
                    .parse(&wire.as_bytes()[..end], &mut head)
                    .map_err(|error| format!("{error:?}"))?
                {
                    Some(used) => {
                        let framing =
                            request_framing(&head).map_err(|error| format!("{error:?}"))?;
                        return Ok((head, framing, used));
                    }
                    None => assert!(end < wire.len(), "incomplete: {wire:?}"),
                }
            }
        };
        let whole = outcome(wire.len());
        assert_eq!(outcome(1), whole, "{wire:?}");
        whole
    }

    fn post(lines: &str) -> String {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        )
    }

    /// Refused by both policies.
    fn refused(wire: &str) {
        for limits in [HeadLimits::default(), tolerant()] {
            if let Ok((head, framing, _)) = read(wire, &limits) {
                panic!("{wire:?} was taken: {head:?} {framing:?}");
            }
        }
    }

    /// Refused by the strict policy; the tolerant one reads it so that neither length nor coding counts.
    fn refused_or_without_framing(wire: &str) {
        assert!(read(wire, &HeadLimits::default()).is_err(), "{wire:?}");
        if let Ok((head, framing, _)) = read(wire, &tolerant()) {
            assert_eq!(framing, Framing::Empty, "{wire:?}");
            assert!(
                !head.fields.contains("Transfer-Encoding")
                    && !head.fields.contains("Content-Length"),
                "{wire:?}"
            );
        }
    }

    #[test]
    fn cl_te_and_te_cl() {
        refused(&post("Content-Length: 5\r\nTransfer-Encoding: chunked"));
        refused(&post("Transfer-Encoding: chunked\r\nContent-Length: 5"));
        refused(&post(
            "Transfer-Encoding: chunked\r\nX: y\r\ncontent-length: 0",
        ));
        refused(&post("Transfer-Encoding: identity\r\nContent-Length: 5"));
    }

    #[test]
    fn te_te() {
        for value in [
            "xchunked",
            "chunked, identity",
            "identity, chunked",
            "\"chunked\"",
            "chunked;x",
            "chunked\u{b}",
            "\u{b}chunked",
            "chunked, chunked",
            "chunked,",
            ", chunked",
            "chunked gzip",
            "chunke",
            "chunked\u{0}",
            "[chunked]",
            "chunked\rx",
            "\u{a0}chunked",
            "x: chunked",
            "",
        ] {
            refused(&post(&format!("Transfer-Encoding: {value}")));
        }
        refused(&post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x"));
        refused(&post("Transfer-Encoding: x\r\nTransfer-Encoding: chunked"));
        refused(&post(
            "Transfer-Encoding: chunked\r\nTransfer-encoding: identity",
        ));
        // White space around the value and its case are not tricks: every reader agrees.
        for value in ["chunked", "CHUNKED", "\tchunked \t"] {
            let (_, framing, _) = read(
                &post(&format!("Transfer-Encoding:{value}")),
                &HeadLimits::default(),
            )
            .unwrap();
            assert_eq!(framing, Framing::Chunked);
        }
    }

    #[test]
    fn hidden_te() {
        for lines in [
            "Transfer-Encoding : chunked",
            "Transfer-Encoding\t: chunked",
            " Transfer-Encoding: chunked",
            "X: y\r\n Transfer-Encoding: chunked",
            "Transfer-Encoding:\r\n chunked",
            "Transfer-Encoding\r\n: chunked",
            "Transfer-Encoding\u{b}: chunked",
            "\u{0}Transfer-Encoding: chunked",
            "Transfer-Encoding\u{0}: chunked",
            "Transfer Encoding: chunked",
            "X: y\rTransfer-Encoding: chunked",
            "Transfer-Encoding",
            ": chunked",
        ] {
            refused(&post(lines));
        }
        for lines in [
            "Transfer-Encoding@: chunked",
            "\u{e9}Transfer-Encoding: chunked",
            "(Transfer-Encoding: chunked",
            "{Content-Length: 5",
        ] {
            refused_or_without_framing(&post(lines));
        }
        // Another name is another name; an application behind may think otherwise, so a gateway drops it.
        for lines in [
            "Transfer_Encoding: chunked",
            "Content_Length: 5",
            "Transfer.Encoding: chunked",
        ] {
            let (head, framing, _) = read(&post(lines), &HeadLimits::default()).unwrap();
            assert_eq!((framing, head.fields.len()), (Framing::Empty, 2));
            let (head, framing, _) = read(&post(lines), &tolerant()).unwrap();
            assert_eq!((framing, head.fields.len()), (Framing::Empty, 1));
        }
        // Where LF alone ends a line it does so for framing too, and what is forwarded has CR LF.
        let wire = post("X: y\nTransfer-Encoding: chunked");
        assert!(read(&wire, &HeadLimits::default()).is_err());
        let (head, framing, _) = read(&wire, &tolerant()).unwrap();
        assert_eq!(framing, Framing::Chunked);
        let mut forwarded = Vec::new();
        encode::request_head(&head, &mut forwarded);
        assert!(forwarded.ends_with(b"\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn cl_cl_and_odd_lengths() {
        refused(&post("Content-Length: 5\r\nContent-Length: 6"));
        refused(&post("Content-Length: 5\r\ncontent-length: 5"));
        for value in [
            "+5",
            "-5",
            "5, 5",
            "5,6",
            "5,",
            "0x5",
            "5 5",
            "1e1",
            "",
            "5.",
            "5;x",
            "\"5\"",
            "5\u{b}",
            "\u{b}5",
            "\u{663}",
            "18446744073709551616",
            "5\u{0}",
            "5\r5",
            "99999999999999999999999999999999999999999",
        ] {
            refused(&post(&format!("Content-Length: {value}")));
        }
        refused_or_without_framing(&post("Content-Length\u{a0}: 5"));
    }

    #[test]
    fn content_counts_whatever_the_method() {
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "X"] {
            let wire = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /");
            let (_, framing, used) = read(&wire, &HeadLimits::default()).unwrap();
            assert_eq!((framing, &wire[used..]), (Framing::Length(5), "GET /"));
        }
    }

    #[test]
    fn te_in_http_1_0() {
        refused("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        refused(
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        );
    }

    #[test]
    fn bare_cr_bare_lf_and_nul() {
        refused("GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\n\r\n");
        refused("GET / HTTP/1.1\rHost: a\r\n\r\n");
        refused("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n");
        refused("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n");
        refused("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n");
        refused("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n");
        refused("GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n");
        for wire in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: w\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
        ] {
            assert!(read(wire, &HeadLimits::default()).is_err());
            assert!(read(wire, &tolerant()).is_ok());
        }
    }

    #[test]
    fn folded_lines_and_space_before_the_first_field() {
        refused("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n");
        refused("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\t\r\n\r\n");
        refused("GET / HTTP/1.1\r\n Host: evil\r\nHost: a\r\n\r\n");
        refused("GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n");
        refused("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n");
    }

    #[test]
    fn request_line_tricks() {
        for line in [
            "GET /",
            "GET / ",
            "GET",
            "/ HTTP/1.1",
            "GET / http/1.1",
            "GET / Http/1.1",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET\t/ HTTP/1.1",
            "GET /\tHTTP/1.1",
            "GET / HTTP/1.1 HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET / HTTP/1.1x",
            "GET / HTTP/01.1",
            "GET / HTTP/1.01",
            "GET / HTTP/+1.1",
            "GET / HTTP/2.0",
            "GET / HTTP/0.9",
            "GET / HTTP",
            " GET / HTTP/1.1",
            "\u{0}GET / HTTP/1.1",
            "GET:/ HTTP/1.1",
            "GET ?x HTTP/1.1",
            "GET \\ HTTP/1.1",
            "GET a HTTP/1.1",
        ] {
            refused(&format!("{line}\r\nHost: a\r\n\r\n"));
        }
    }

    #[test]
    fn host_confusion() {
        refused("GET / HTTP/1.1\r\n\r\n");
        refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
        refused("GET / HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n");
        refused("GET http://a/ HTTP/1.1\r\n\r\n");
        for host in [
            "a, b",
            "a b",
            "a@b",
            "user:pw@a",
            "a/",
            "a?b",
            "a#b",
            "a:b",
            "a:80:81",
            "a\\b",
            "http://a",
            "[::1",
            "a%",
        ] {
            refused(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            // In a target a slash ends the host.
            if !host.contains(['/', '?', '#']) {
                refused(&format!("GET http://{host}/ HTTP/1.1\r\nHost: a\r\n\r\n"));
            }
        }
        let (head, ..) = read(
            "GET http://real/ HTTP/1.1\r\nHost: other\r\n\r\n",
            &HeadLimits::default(),
        )
        .unwrap();
        assert_eq!(head.authority(), Some(&b"real"[..]));
    }

    fn decode(wire: &str) -> Result<(usize, String), String> {
        let mut decoder = Decoder::new(ChunkLimits::default());
        let (mut used, mut content) = (0, String::new());
        loop {
            let step = decoder
                .decode(&wire.as_bytes()[used..])
                .map_err(|error| format!("{error:?}"))?;
            match step.event {
                Event::Data(range) => content.push_str(&wire[used..][range]),
                Event::NeedMore => return Err("incomplete".into()),
                Event::End => return Ok((used + step.used, content)),
            }
            used += step.used;
        }
    }

    #[test]
    fn chunk_tricks() {
        for wire in [
            "+1\r\na\r\n0\r\n\r\n",
            "-1\r\na\r\n0\r\n\r\n",
            "0x1\r\na\r\n0\r\n\r\n",
            " 1\r\na\r\n0\r\n\r\n",
            "1 \r\na\r\n0\r\n\r\n",
            "1_0\r\na\r\n0\r\n\r\n",
            "\r\na\r\n0\r\n\r\n",
            "10000000000000001\r\na\r\n0\r\n\r\n",
            "fffffffffffffffff\r\na\r\n0\r\n\r\n",
            "1\na\r\n0\r\n\r\n",
            "1\ra\r\n0\r\n\r\n",
            "1;\nx\r\na\r\n0\r\n\r\n",
            "1;x\n2\r\na\r\n0\r\n\r\n",
            "1;x\ra\r\n0\r\n\r\n",
            "1;x\0\r\na\r\n0\r\n\r\n",
            "1\r\nab\r\n0\r\n\r\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\na0\r\n\r\n",
            "1\r\na\r\n0\n\r\n",
            "1\r\na\r\n0\r\n\n",
            "1\r\na\r\n0\r\nX\r\n\r\n",
            "1\r\na\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
            "0\r\nContent-Length: 5\r\n\r\n",
            "0\r\nHost: evil\r\n\r\n",
            "0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "0\r\n X: y\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            "0\r\nX: y\n\r\n",
        ] {
            assert!(
                decode(wire).is_err_and(|error| error != "incomplete"),
                "{wire:?}: {:?}",
                decode(wire)
            );
        }
        let endless = format!("1;{}", "x".repeat(20_000));
        assert!(
            decode(&endless)
                .unwrap_err()
                .starts_with("ExtensionsTooLong")
        );
        // What follows the end is the next message's, to the byte.
        let wire = "1\r\na\r\n0\r\n\r\nGET /next HTTP/1.1\r\n";
        let (used, content) = decode(wire).unwrap();
        assert_eq!(
            (&wire[used..], content.as_str()),
            ("GET /next HTTP/1.1\r\n", "a")
        );
    }

    #[test]
    fn response_splitting() {
        let mut fields = Fields::new();
        for value in ["a\r\nSet-Cookie: evil=1", "a\nb", "a\rb", "a\0"] {
            assert!(
                fields.append("Location", value).is_err() && fields.set("Location", value).is_err()
            );
            assert!(fields.append(value, "x").is_err());
            assert!(encode::field("Location", value, &mut Vec::new()).is_err());
        }
        assert!(fields.is_empty());
    }

    #[test]
    fn response_desync() {
        let mut head = ResponseHead::default();
        head.fields.append("Content-Length", "5").unwrap();
        for (status, method, framing) in [
            (200, Method::HEAD, Framing::Empty),
            (204, Method::GET, Framing::Empty),
            (304, Method::GET, Framing::Empty),
            (103, Method::GET, Framing::Empty),
            (200, Method::GET, Framing::Length(5)),
        ] {
            head.status = StatusCode::from_u16(status).unwrap();
            assert_eq!(response_framing(&head, &method), Ok(framing));
        }
        head.fields.append("Transfer-Encoding", "chunked").unwrap();
        assert_eq!(
            response_framing(&head, &Method::GET),
            Err(FramingError::LengthAndCoding)
        );
    }

    #[test]
    fn connection_abuse() {
        let mut fields = Fields::new();
        fields
            .append(
                Known::Connection,
                "Host, Content-Length, Authorization, X-Forwarded-For, Cookie, X-Mine",
            )
            .unwrap();
        for name in [
            "Host",
            "Content-Length",
            "Authorization",
            "X-Forwarded-For",
            "Cookie",
        ] {
            assert!(!connection::is_hop_by_hop(name, &fields), "{name}");
        }
        assert!(connection::is_hop_by_hop("X-Mine", &fields));
    }

    #[test]
    fn path_confusion() {
        let path = |text: &str| {
            normalise(text.as_bytes(), Normalise::default())
                .map(|path| String::from_utf8_lossy(&path).into_owned())
        };
        for text in [
            "/%2e%2e%2fetc",
            "/..%2fetc",
            "/a/..%2f..%2fetc",
            "/%2e%2e/etc",
            "/a/%2e%2e/../etc",
            "/..",
            "//../etc",
        ] {
            assert_eq!(path(text), Err(PathError::AboveRoot), "{text}");
        }
        assert_eq!(path("/a.php%00.png"), Err(PathError::Nul));
        assert_eq!(path("/%252e%252e/").as_deref(), Ok("/%2e%2e/"));
        assert_eq!(path("/static//../admin").as_deref(), Ok("/admin"));
        assert_eq!(path("/a/..;/b").as_deref(), Ok("/a/..;/b"));
        assert_eq!(path("/a\\..\\b").as_deref(), Ok("/a\\..\\b"));
    }
}
