use super::*;

/// Decodes the wire in pieces of so many bytes: the content and what is left, or the error.
fn decode_by(
    wire: &[u8],
    piece: usize,
    limits: &ChunkLimits,
) -> Result<(Vec<u8>, usize, Fields), ChunkError> {
    let mut decoder = Decoder::new(limits.clone());
    let (mut content, mut used) = (Vec::new(), 0);
    while !decoder.is_complete() {
        let end = wire.len().min(used + piece);
        assert!(used < end, "the content does not end");
        let step = decoder.decode(&wire[used..end])?;
        match step.event {
            Event::Data(range) => content.extend_from_slice(&wire[used..end][range]),
            Event::NeedMore => assert_eq!(step.used, end - used),
            Event::End => assert!(decoder.is_complete()),
        }
        used += step.used;
    }
    Ok((content, wire.len() - used, decoder.trailers().clone()))
}

fn decode(wire: &str) -> Result<(String, usize, Fields), ChunkError> {
    let limits = ChunkLimits::default();
    let whole = decode_by(wire.as_bytes(), usize::MAX / 2, &limits);
    for piece in 1..8 {
        assert_eq!(
            decode_by(wire.as_bytes(), piece, &limits),
            whole,
            "in pieces of {piece}"
        );
    }
    whole.map(|(content, left, trailers)| (String::from_utf8(content).unwrap(), left, trailers))
}

fn refused(wire: &str) -> ChunkError {
    decode(wire).expect_err(wire)
}

#[test]
fn decodes_sizes_extensions_and_the_end() {
    for (wire, content, left) in [
        ("0\r\n\r\n", "", 0),
        ("0000\r\n\r\nGET", "", 3),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", 0),
        (
            "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            "01234567890123456789",
            0,
        ),
        ("0000000000000003\r\nabc\r\n0\r\n\r\n", "abc", 0),
        ("3;a\r\nabc\r\n0;b\r\n\r\n", "abc", 0),
        ("3 ; a = \"b;c\" ;d\r\nabc\r\n0\r\n\r\n", "abc", 0),
        ("3\t;a=\u{e9}\r\nabc\r\n0\r\n\r\n", "abc", 0),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", 0),
    ] {
        let (decoded, rest, trailers) = decode(wire).unwrap();
        assert_eq!((decoded.as_str(), rest), (content, left), "{wire:?}");
        assert!(trailers.is_empty());
    }
}

#[test]
fn refuses_sizes_that_are_not_plain_hexadecimal() {
    for wire in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\n",
        " 1\r\n",
        "0x1\r\n",
        "1g\r\n",
        ";a\r\n",
        "1_0\r\n",
        "\u{661}\r\n",
    ] {
        assert_eq!(refused(wire), ChunkError::Size, "{wire:?}");
    }
    assert_eq!(refused("10000000000000000\r\n"), ChunkError::SizeTooLarge);
    assert_eq!(refused("00000000000000001\r\na"), ChunkError::SizeTooLarge);
    let mut decoder = Decoder::new(ChunkLimits::default());
    decoder.decode(b"ffffffffffffffff\r\n").unwrap();
    assert_eq!(decoder.chunk_remaining(), u64::MAX);
}

#[test]
fn refuses_lines_that_do_not_end_in_crlf() {
    for wire in ["1\na\r\n", "1\rxa", "1;a\nb\r\n", "1;a\rb", "0\r\n\rx"] {
        assert_eq!(refused(wire), ChunkError::LineEnd, "{wire:?}");
    }
    for wire in ["1\r\nab", "1\r\na\n", "1\r\na\rb", "3\r\nab\r\n0\r\n\r\n"] {
        assert_eq!(refused(wire), ChunkError::DataEnd, "{wire:?}");
    }
}

#[test]
fn refuses_what_is_no_extension() {
    for wire in [
        "1 \r\n",
        "1 a\r\n",
        "1;\r\n",
        "1; ;\r\n",
        "1;=a\r\n",
        "1;a\0\r\n",
        "1;a\u{1}\r\n",
        "1;\"a\"\r\n",
    ] {
        assert_eq!(refused(wire), ChunkError::Extension, "{wire:?}");
    }
}

#[test]
fn limits_extensions_over_the_whole_content() {
    let limits = ChunkLimits {
        extension_bytes: 6,
        ..ChunkLimits::default()
    };
    assert!(decode_by(b"1;ab\r\nx\r\n1;ab\r\nx\r\n0\r\n\r\n", 100, &limits).is_ok());
    let error = decode_by(b"1;ab\r\nx\r\n1;ab\r\nx\r\n0;\r\n\r\n", 100, &limits).unwrap_err();
    assert_eq!(error, ChunkError::ExtensionsTooLong { limit: 6 });
}

#[test]
fn reads_trailers() {
    let (content, left, trailers) =
        decode("1\r\na\r\n0\r\nX-Sum: 1\r\nx-sum:2\r\n\r\nGET /").unwrap();
    assert_eq!((content.as_str(), left), ("a", 5));
    assert_eq!(trailers.get_all("X-Sum").collect::<Vec<_>>(), [b"1", b"2"]);
}

#[test]
fn refuses_bad_and_forbidden_trailers() {
    for (wire, error) in [
        ("0\r\nX: 1\n\r\n", SectionError::BareLf),
        ("0\r\n\n", SectionError::BareLf),
        ("0\r\n X: 1\r\n\r\n", SectionError::Fold),
        ("0\r\nX : 1\r\n\r\n", SectionError::SpaceBeforeColon),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", SectionError::NoColon),
        (
            "0\r\nContent-Length: 5\r\n\r\n",
            SectionError::NotForTrailers(Known::ContentLength),
        ),
        (
            "0\r\nA: b\r\ntransfer-ENCODING: chunked\r\n\r\n",
            SectionError::NotForTrailers(Known::TransferEncoding),
        ),
    ] {
        assert_eq!(refused(wire), ChunkError::Trailers(error), "{wire:?}");
    }
    let drop = ChunkLimits {
        forbidden_trailers: Handling::Drop,
        ..ChunkLimits::default()
    };
    let (_, _, trailers) = decode_by(b"0\r\nHost: a\r\nX: b\r\n\r\n", 100, &drop).unwrap();
    assert_eq!(trailers.len(), 1);
}

#[test]
fn limits_trailers() {
    let trailers = HeadLimits {
        head_bytes: 20,
        fields: 1,
        ..HeadLimits::default()
    };
    let limits = ChunkLimits {
        trailers,
        ..ChunkLimits::default()
    };
    for piece in [1, 3, 1000] {
        assert!(decode_by(b"0\r\nX: 0123456789abc\r\n\r\n", piece, &limits).is_ok());
        let error = decode_by(b"0\r\nX: 0123456789abcdef\r\n\r\n", piece, &limits).unwrap_err();
        assert_eq!(error, SectionError::TooLarge { limit: 20 }.into());
        let error = decode_by(b"0\r\nA: 1\r\nB: 2\r\n\r\n", piece, &limits).unwrap_err();
        assert_eq!(error, SectionError::TooManyFields { limit: 1 }.into());
    }
}

#[test]
fn can_be_used_again() {
    let mut decoder = Decoder::new(ChunkLimits::default());
    decoder.decode(b"0\r\nA: b\r\n\r\n").unwrap();
    assert_eq!(
        decoder.decode(b"more").unwrap(),
        Step {
            used: 0,
            event: Event::End
        }
    );
    decoder.reset();
    assert!(decoder.trailers().is_empty() && !decoder.is_complete());
    assert_eq!(
        decoder.decode(b"1\r\na").unwrap(),
        Step {
            used: 4,
            event: Event::Data(3..4)
        }
    );
}

#[test]
fn what_is_written_is_read_back() {
    let mut out = Vec::new();
    for chunk in ["a", "", "hello, world, this is more than fifteen bytes"] {
        write_chunk(chunk.as_bytes(), &mut out);
    }
    let mut trailers = Fields::new();
    trailers.append("X-Sum", "1").unwrap();
    finish(&trailers, &mut out);
    let (content, left, read) = decode(std::str::from_utf8(&out).unwrap()).unwrap();
    assert_eq!(
        (content.as_str(), left),
        ("ahello, world, this is more than fifteen bytes", 0)
    );
    assert_eq!(read, trailers);
    for len in [1, 15, 16, 255, 4096, u64::MAX] {
        assert_eq!(size_line(len).as_ref(), format!("{len:x}\r\n").as_bytes());
    }
    let mut out = Vec::new();
    finish(&Fields::new(), &mut out);
    assert_eq!(out, LAST_CHUNK);
}
