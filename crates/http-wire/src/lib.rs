//! HTTP/1.0 and HTTP/1.1 on the wire: heads, fields, framing, chunks, ranges, dates. No I/O, no clock.
#![forbid(unsafe_code)]
