//! The property is `http_wire::properties::chunked`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_wire::properties::chunked(data));
