//! What must hold for any bytes whatever. Each function takes arbitrary input and panics when a promise is broken.
//!
//! The fuzz targets in `fuzz/` call these functions with input that libFuzzer grows, the tests below with input that proptest makes.
//! This module is compiled for those two only.

use std::ops::Range;

use crate::chunked::{self, ChunkError, ChunkLimits, Decoder, Event};
use crate::conditional::entity_tags;
use crate::date::HttpDate;
use crate::head::{
    Handling, HeadLimits, HeadPolicy, MethodCharacters, RequestError, RequestHead, RequestParser,
    ResponseError, ResponseHead, ResponseParser,
};
use crate::path::{Escape, Normalise, escape, normalise};
use crate::proxy_protocol::{self, Parsed, V1_BYTES_MAX, V2_BYTES_MAX, Versions};
use crate::range::{ContentRange, RangeLimits, Selection};
use crate::{Fields, body, encode, forwarded, host, list, path, range, scan, uwsgi};

/// A request head: the first byte chooses policy, limits and how the rest is split.
///
/// The result must not depend on the split; what was read must be written and read again as the same, with the same framing; nothing
/// read can break out of its line.
pub fn request_head(data: &[u8]) {
    let Some((&choice, wire)) = data.split_first() else {
        return;
    };
    let limits = limits(choice);
    let whole = read_request(wire, wire.len(), &limits);
    for piece in pieces(choice) {
        assert_eq!(
            read_request(wire, piece, &limits),
            whole,
            "in pieces of {piece}"
        );
    }
    let Ok(Some((used, head))) = whole else {
        return;
    };
    assert_eq!(
        read_request(&wire[..used], used, &limits),
        Ok(Some((used, head.clone()))),
        "without what follows"
    );
    check_fields(&head.fields);
    let mut written = Vec::new();
    encode::request_head(&head, &mut written);
    let roomy = roomy(&limits);
    let again = read_request(&written, written.len(), &roomy);
    assert_eq!(
        again,
        Ok(Some((written.len(), head.clone()))),
        "written and read again"
    );
    let (_, again) = again.unwrap().unwrap();
    assert_eq!(body::request_framing(&again), body::request_framing(&head));
    assert_eq!(
        (again.persists(), again.authority()),
        (head.persists(), head.authority())
    );
}

/// A header of the PROXY protocol: the first byte chooses the versions.
///
/// The result must not depend on the split, nor on what follows; what is waited for is bounded.
pub fn proxy_header(data: &[u8]) {
    let Some((&choice, wire)) = data.split_first() else {
        return;
    };
    let versions = [Versions::Any, Versions::V1, Versions::V2][usize::from(choice % 3)];
    let whole = proxy_protocol::parse(wire, versions);
    let first = (0..=wire.len().min(2 * V2_BYTES_MAX))
        .map(|end| proxy_protocol::parse(&wire[..end], versions))
        .find(|parsed| *parsed != Ok(Parsed::More))
        .unwrap_or(Ok(Parsed::More));
    assert_eq!(first, whole);
    match whole {
        Ok(Parsed::More) => assert!(wire.len() < V2_BYTES_MAX, "waits for ever"),
        Ok(Parsed::Header(header, used)) => {
            assert!(used <= wire.len() && used <= V2_BYTES_MAX);
            assert!(wire[0] != b'P' || used <= V1_BYTES_MAX);
            assert_eq!(
                proxy_protocol::parse(&wire[..used], versions),
                Ok(Parsed::Header(header, used))
            );
            if let proxy_protocol::Header::Tcp {
                source,
                destination,
            } = header
            {
                assert_eq!(source.is_ipv4(), destination.is_ipv4());
            }
        }
        Ok(Parsed::Absent) | Err(_) => {}
    }
}

/// A packet of the uwsgi protocol: what was read can be written as HTTP and read again as the same.
pub fn uwsgi_packet(data: &[u8]) {
    let whole = uwsgi::parse(data);
    let Some(fixed) = data.first_chunk() else {
        assert_eq!(whole, Err(uwsgi::UwsgiError::Truncated));
        return;
    };
    match uwsgi::size(*fixed) {
        Ok(size) if size <= data.len() => assert_eq!(uwsgi::parse(&data[..size]), whole),
        _ => assert!(whole.is_err()),
    }
    let Ok(request) = whole else { return };
    check_fields(&request.head.fields);
    let mut written = Vec::new();
    encode::request_head(&request.head, &mut written);
    let mut roomy = roomy(&limits(0b1_0000));
    roomy.fields = uwsgi::VARIABLES_MAX;
    roomy.policy.host = crate::head::HostRule {
        required: false,
        checked: false,
        empty: true,
    };
    roomy.policy.target.non_ascii = false;
    roomy.policy.method.length_max = usize::MAX;
    roomy.policy.control_bytes = true;
    let again = read_request(&written, written.len(), &roomy);
    assert_eq!(again, Ok(Some((written.len(), request.head.clone()))));
    let stated = request.head.fields.get(crate::Known::ContentLength);
    let stated = stated.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    assert_eq!(stated.unwrap_or(0), request.content_length);
}

/// A response head, as [`request_head`].
pub fn response_head(data: &[u8]) {
    let Some((&choice, wire)) = data.split_first() else {
        return;
    };
    let limits = limits(choice);
    let whole = read_response(wire, wire.len(), &limits);
    for piece in pieces(choice) {
        assert_eq!(
            read_response(wire, piece, &limits),
            whole,
            "in pieces of {piece}"
        );
    }
    let Ok(Some((_, head))) = whole else { return };
    check_fields(&head.fields);
    let mut written = Vec::new();
    encode::response_head(&head, &mut written);
    let again = read_response(&written, written.len(), &roomy(&limits));
    assert_eq!(
        again,
        Ok(Some((written.len(), head.clone()))),
        "written and read again"
    );
    let (_, again) = again.unwrap().unwrap();
    for method in [http::Method::GET, http::Method::HEAD, http::Method::CONNECT] {
        assert_eq!(
            body::response_framing(&again, &method),
            body::response_framing(&head, &method)
        );
    }
}

/// Chunked content: the result must not depend on the split, and content and trailers must survive being written and read again.
pub fn chunked(data: &[u8]) {
    let Some((&choice, wire)) = data.split_first() else {
        return;
    };
    let limits = ChunkLimits {
        extension_bytes: usize::from(choice),
        trailers: limits(choice),
        forbidden_trailers: [Handling::Keep, Handling::Drop, Handling::Refuse]
            [usize::from(choice % 3)],
    };
    let whole = decode(wire, wire.len(), &limits);
    for piece in pieces(choice) {
        assert_eq!(decode(wire, piece, &limits), whole, "in pieces of {piece}");
    }
    let Ok(Some(decoded)) = whole else { return };
    check_fields(&decoded.trailers);
    let mut written = Vec::new();
    for chunk in decoded.content.chunks(usize::from(choice) + 1) {
        chunked::write_chunk(chunk, &mut written);
    }
    chunked::finish(&decoded.trailers, &mut written);
    let roomy = ChunkLimits {
        trailers: roomy(&limits.trailers),
        ..limits
    };
    let again = decode(&written, written.len(), &roomy).unwrap().unwrap();
    assert_eq!(
        (again.content, again.trailers, again.used),
        (decoded.content, decoded.trailers, written.len())
    );
}

/// A path: what is normalised leads nowhere but down, and comes out the same when it is escaped and normalised again.
pub fn uri_path(data: &[u8]) {
    for which in [Escape::Path, Escape::Query, Escape::Component] {
        assert_eq!(&*path::decode(&escape(data, which)), data);
    }
    for merge_slashes in [true, false] {
        let how = Normalise { merge_slashes };
        let Ok(normal) = normalise(data, how) else {
            continue;
        };
        assert!(normal.starts_with(b"/") && !normal.contains(&0));
        let mut segments = normal.split(|&byte| byte == b'/');
        assert!(
            segments.all(|segment| segment != b"." && segment != b".."),
            "{normal:?}"
        );
        assert!(
            !merge_slashes || !normal.windows(2).any(|pair| pair == b"//"),
            "{normal:?}"
        );
        assert_eq!(
            normalise(&escape(&normal, Escape::Path), how).as_ref(),
            Ok(&normal)
        );
    }
}

/// Values of fields: ranges stay within the representation and what is read is written the same; no value makes a reader panic.
pub fn ranges(data: &[u8]) {
    let (length, value) = match data.split_first_chunk::<2>() {
        Some((length, value)) => (u64::from(u16::from_le_bytes(*length)), value),
        None => (0, data),
    };
    for length in [length, u64::MAX] {
        check_selection(
            &range::select(
                value,
                length,
                &RangeLimits {
                    ranges_max: 20,
                    refuse_malformed: true,
                },
            ),
            length,
        );
    }
    if let Some(content_range) = ContentRange::parse(value) {
        assert_eq!(
            ContentRange::parse(content_range.to_string().as_bytes()),
            Some(content_range)
        );
    }
    if let Some(date) = HttpDate::parse(value) {
        assert_eq!(HttpDate::parse(&date.text()), Some(date));
    }
    for tag in entity_tags(value) {
        assert!(tag.weak_eq(&tag) && tag.strong_eq(&tag) != tag.is_weak());
    }
    if let Ok(elements) = forwarded::parse(value) {
        for element in &elements {
            let mut written = Vec::new();
            element.write(&mut written);
            // Control characters can't be quoted; values from the wire have none.
            if scan::all(value, scan::VALUE) && !written.is_empty() {
                assert_eq!(
                    forwarded::parse(&written).as_deref(),
                    Ok(std::slice::from_ref(element))
                );
            }
        }
    }
    for (item, weight) in list::weighted(value) {
        assert!(weight <= 1000 && item.len() <= value.len());
    }
    if let Some(authority) = host::Authority::parse(value) {
        assert!(!authority.host().is_empty());
    }
}

fn check_selection(selection: &Selection, length: u64) {
    let within = |range: &Range<u64>| range.start < range.end && range.end <= length;
    match selection {
        Selection::Whole | Selection::Unsatisfiable => {}
        Selection::One(range) => assert!(within(range)),
        Selection::Several(ranges) => {
            assert!(ranges.len() > 1 && ranges.iter().all(within));
            assert!(
                ranges
                    .iter()
                    .map(|range| range.end - range.start)
                    .sum::<u64>()
                    <= length
            );
        }
    }
}

fn check_fields(fields: &Fields) {
    for (name, value) in fields {
        assert!(
            scan::is_token(name.as_bytes()) && scan::is_safe(value) && scan::trim(value) == value
        );
        assert!(fields.contains(name) && fields.get_all(name.as_str()).any(|other| other == value));
    }
}

fn limits(choice: u8) -> HeadLimits {
    let bit = |bit: u8| choice >> bit & 1 == 1;
    let handling = if bit(1) {
        Handling::Drop
    } else {
        Handling::Keep
    };
    let policy = HeadPolicy {
        bare_lf: bit(0),
        underscores: handling,
        unusual_names: handling,
        drop_invalid_names: bit(1),
        control_bytes: bit(2),
        minor_versions: bit(3),
        extra_spaces: bit(3),
        ..HeadPolicy::default()
    };
    let mut limits = HeadLimits {
        policy,
        ..HeadLimits::default()
    };
    limits.policy.target.fragment = bit(4);
    limits.policy.target.non_ascii = bit(4);
    limits.policy.host.required = bit(5);
    if bit(5) {
        limits.policy.method.characters = MethodCharacters::Capitals;
    }
    limits.policy.folding = bit(7);
    if bit(6) {
        limits = HeadLimits {
            line_bytes: 24,
            field_bytes: 20,
            fields: 3,
            head_bytes: 64,
            ..limits
        };
    }
    limits
}

/// The same policy, and room for what grows when it is written again.
fn roomy(limits: &HeadLimits) -> HeadLimits {
    HeadLimits {
        policy: limits.policy.clone(),
        line_bytes: 1 << 20,
        field_bytes: 1 << 20,
        head_bytes: 1 << 24,
        ..HeadLimits::default()
    }
}

fn pieces(choice: u8) -> [usize; 2] {
    [1, 2 + usize::from(choice % 11)]
}

fn read_request(
    wire: &[u8],
    piece: usize,
    limits: &HeadLimits,
) -> Result<Option<(usize, RequestHead)>, RequestError> {
    let mut parser = RequestParser::new(limits.clone());
    let mut head = RequestHead::default();
    let mut end = 0;
    while end < wire.len() {
        end = wire.len().min(end + piece);
        if let Some(used) = parser.parse(&wire[..end], &mut head)? {
            return Ok(Some((used, head)));
        }
    }
    Ok(None)
}

fn read_response(
    wire: &[u8],
    piece: usize,
    limits: &HeadLimits,
) -> Result<Option<(usize, ResponseHead)>, ResponseError> {
    let mut parser = ResponseParser::new(limits.clone());
    let mut head = ResponseHead::default();
    let mut end = 0;
    while end < wire.len() {
        end = wire.len().min(end + piece);
        if let Some(used) = parser.parse(&wire[..end], &mut head)? {
            return Ok(Some((used, head)));
        }
    }
    Ok(None)
}

#[derive(Debug, PartialEq)]
struct Decoded {
    content: Vec<u8>,
    trailers: Fields,
    used: usize,
}

fn decode(wire: &[u8], piece: usize, limits: &ChunkLimits) -> Result<Option<Decoded>, ChunkError> {
    let mut decoder = Decoder::new(limits.clone());
    let (mut content, mut used) = (Vec::new(), 0);
    while used < wire.len() {
        let part = &wire[used..wire.len().min(used + piece)];
        let step = decoder.decode(part)?;
        used += step.used;
        match step.event {
            Event::Data(range) => {
                assert!(!range.is_empty() && range.end == step.used);
                content.extend_from_slice(&part[range]);
            }
            Event::NeedMore => assert_eq!(step.used, part.len()),
            Event::End => {
                return Ok(Some(Decoded {
                    content,
                    trailers: decoder.trailers().clone(),
                    used,
                }));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// Bits and pieces of messages, good and bad, and any byte.
    fn fragments() -> impl Strategy<Value = Vec<u8>> {
        let piece = select(vec![
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "POST /a?b=c HTTP/1.0\r\n",
            "GET",
            "OPTIONS *",
            "CONNECT a:1",
            " ",
            "  ",
            "/",
            "/a%20b",
            "#f",
            "http://b/",
            "HTTP/1.1",
            "HTTP/1.2",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 404\r\n",
            "\r\n",
            "\r\n\r\n",
            "\n",
            "\r",
            ":",
            ": ",
            "Host: a",
            "A: b",
            "X_Y:z",
            "é: é",
            "Content-Length: 5\r\n",
            "Content-Length:0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close, x\r\n",
            "\t",
            "\r\n ",
            "\0",
            ",",
            ";",
            "0\r\n",
            "5\r\nhello\r\n",
            "3 ;a=b\r\nabc\r\n",
            "00A\r\n0123456789\r\n",
            "ffffffffffffffff\r\n",
            "X-Sum: 1\r\n",
            "..",
            "%2e",
            "%2F",
            "%",
            "//",
            "./",
            "bytes=",
            "0-4",
            "-5",
            "9-",
            "\"",
            "W/\"a\"",
            "for=",
            "\"[::1]:80\"",
            "\\",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "q=0.5",
            "*",
        ]);
        let piece = prop_oneof![6 => piece.prop_map(|text| text.as_bytes().to_vec()), 1 => vec(any::<u8>(), 1..4)];
        (any::<u8>(), vec(piece, 0..14))
            .prop_map(|(choice, pieces)| [vec![choice], pieces.concat()].concat())
    }

    /// A good message with a few bytes changed, added or taken away.
    fn mutated() -> impl Strategy<Value = Vec<u8>> {
        let seed = select(vec![
            "GET /index.html?a=b HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\nX_Odd:  c \r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/10\r\nTransfer-Encoding: chunked\r\n\r\n",
            "5;x=y\r\nhello\r\n7\r\n, world\r\n0\r\nX-Sum: 1\r\nY:2\r\n\r\nGET",
            "/a/b/../%2e%2e/c//d%2Fe",
        ]);
        let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..3u8);
        (any::<u8>(), seed, vec(edit, 0..4)).prop_map(|(choice, seed, edits)| {
            let mut bytes = seed.as_bytes().to_vec();
            for (place, byte, kind) in edits {
                let at = place.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => drop(bytes.remove(at)),
                }
            }
            bytes.insert(0, choice);
            bytes
        })
    }

    /// Good PROXY headers, with a few bytes changed.
    fn proxy_headers() -> impl Strategy<Value = Vec<u8>> {
        let line = "(PROXY )?(TCP4|TCP6|UNKNOWN|X)( [0-9a-f:.]{0,12}){0,5}\r?\n?[a-z]{0,3}"
            .prop_map(String::into_bytes);
        let good = select(vec![
            b"PROXY TCP4 192.0.2.1 198.51.100.9 4711 443\r\nGET".to_vec(),
            b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n".to_vec(),
        ]);
        let binary = (any::<[u8; 2]>(), 0..60u16, vec(any::<u8>(), 0..70)).prop_map(
            |(kind, length, rest)| {
                [
                    b"\r\n\r\n\0\r\nQUIT\n",
                    &kind.map(|byte| byte & 0x23)[..],
                    &length.to_be_bytes(),
                    &rest,
                ]
                .concat()
            },
        );
        let edit = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
        (any::<u8>(), prop_oneof![line, good, binary], edit).prop_map(|(choice, mut wire, edit)| {
            if let (Some((place, byte)), false) = (edit, wire.is_empty()) {
                let at = place.index(wire.len());
                wire[at] = byte;
            }
            wire.insert(0, choice);
            wire
        })
    }

    /// Packets of likely and unlikely variables, some cut off.
    fn uwsgi_packets() -> impl Strategy<Value = Vec<u8>> {
        let key = prop_oneof![
            4 => select(vec![
                "REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTPS", "HTTP_HOST",
                "HTTP_X_A", "HTTP_", "SERVER_NAME", "wsgi.url_scheme",
            ]).prop_map(str::to_owned),
            1 => "[A-Z_]{0,8}",
        ];
        let value = prop_oneof![
            2 => select(vec!["GET", "POST", "/", "/a b", "/a%20b", "/caf\u{e9}", "a=b", "/a?b", "5", "", "on", "*"]).prop_map(|text| text.as_bytes().to_vec()),
            1 => vec(any::<u8>(), 0..12),
        ];
        let text = |text: Vec<u8>| [&(text.len() as u16).to_le_bytes()[..], &text].concat();
        let variable = (key, value)
            .prop_map(move |(key, value)| [text(key.into_bytes()), text(value)].concat());
        (vec(variable, 0..10), -2..3i32, 0..20u8).prop_map(|(variables, off, modifier)| {
            let rest = variables.concat();
            let size = (rest.len() as i32 + off / 2).max(0) as u16;
            [
                &[u8::from(modifier == 1)][..],
                &size.to_le_bytes(),
                &[0],
                &rest,
            ]
            .concat()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn hold_for_fragments(data in fragments()) {
            request_head(&data);
            response_head(&data);
            chunked(&data);
            uri_path(&data[1..]);
            ranges(&data);
            ranges(&data[1..]);
        }

        #[test]
        fn hold_for_mutated_messages(data in mutated()) {
            request_head(&data);
            response_head(&data);
            chunked(&data);
            uri_path(&data[1..]);
        }

        #[test]
        fn hold_for_proxy_headers(data in proxy_headers()) {
            proxy_header(&data);
        }

        #[test]
        fn hold_for_uwsgi_packets(data in uwsgi_packets()) {
            uwsgi_packet(&data);
        }

        #[test]
        fn any_content_survives_being_chunked(content in vec(any::<u8>(), 0..500), size in 1..40usize, piece in 1..20usize) {
            let mut wire = Vec::new();
            for chunk in content.chunks(size) {
                chunked::write_chunk(chunk, &mut wire);
            }
            wire.extend_from_slice(chunked::LAST_CHUNK);
            let decoded = decode(&wire, piece, &ChunkLimits::default()).unwrap().unwrap();
            prop_assert_eq!(decoded.content, content);
        }

        #[test]
        fn any_head_survives_being_written(
            target in "/[!-\"$-~]{0,30}",
            method in "[A-Z]{1,10}",
            lines in vec(("[!#-'*+.^_`|~0-9A-Za-z-]{1,12}", vec(any::<u8>(), 0..20)), 0..10),
        ) {
            let mut head = RequestHead { method: method.parse().unwrap(), ..RequestHead::default() };
            prop_assume!(head.method != http::Method::CONNECT);
            head.target = crate::head::Target::parse(target.as_bytes(), &head.method, &Default::default()).unwrap();
            head.fields.append("Host", "a").unwrap();
            for (name, value) in &lines {
                let appended = head.fields.append(name, value);
                prop_assert_eq!(appended.is_ok(), !value.iter().any(|byte| b"\r\n\0".contains(byte)));
            }
            let mut wire = Vec::new();
            encode::request_head(&head, &mut wire);
            let policy = HeadPolicy { control_bytes: true, single: Default::default(), ..HeadPolicy::default() };
            let read = read_request(&wire, 7, &HeadLimits { policy, ..HeadLimits::default() });
            if head.fields.count("host") == 1 {
                prop_assert_eq!(read, Ok(Some((wire.len(), head))));
            }
        }

        #[test]
        fn every_date_is_read_back(unix in HttpDate::MIN.unix()..=HttpDate::MAX.unix()) {
            let date = HttpDate::from_unix(unix);
            prop_assert_eq!(HttpDate::parse(&date.text()), Some(date));
        }

        #[test]
        fn fields_behave_like_a_plain_list(steps in vec((0..6u8, 0..6usize, "[a-z ]{0,30}"), 0..60)) {
            let names = ["Host", "X-A", "x-a", "X-B", "Content-Type", "content-type"];
            let mut fields = Fields::new();
            let mut plain: Vec<(String, String)> = Vec::new();
            for (kind, name, value) in steps {
                let (name, value) = (names[name], value.trim().to_owned());
                let same = |line: &(String, String)| line.0.eq_ignore_ascii_case(name);
                match kind {
                    0..3 => {
                        fields.append(name, &value).unwrap();
                        plain.push((name.into(), value));
                    }
                    3 => {
                        fields.set(name, &value).unwrap();
                        let first = plain.iter().position(same).unwrap_or(plain.len());
                        plain.retain(|line| !same(line));
                        plain.insert(first, (name.into(), value));
                    }
                    4 => {
                        prop_assert_eq!(fields.remove(name), plain.iter().any(same));
                        plain.retain(|line| !same(line));
                    }
                    _ => {
                        fields.retain(|_, text| text.len() % 2 == 0);
                        plain.retain(|line| line.1.len() % 2 == 0);
                    }
                }
            }
            let lines: Vec<_> = fields.iter().map(|(name, value)| (name.to_string(), String::from_utf8(value.to_vec()).unwrap())).collect();
            prop_assert_eq!(&lines, &plain);
            let mut wire = Vec::new();
            encode::fields(&fields, &mut wire);
            let written: String = plain.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            prop_assert_eq!(String::from_utf8(wire).unwrap(), written);
            for name in names {
                let values: Vec<_> = plain.iter().filter(|line| line.0.eq_ignore_ascii_case(name)).map(|line| line.1.as_bytes()).collect();
                prop_assert_eq!(fields.get(name), values.first().copied());
                prop_assert_eq!(fields.get_all(name).collect::<Vec<_>>(), values);
            }
        }
    }
}
