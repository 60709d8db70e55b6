//! The property is `http_wire::properties::request_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_wire::properties::request_head(data));
