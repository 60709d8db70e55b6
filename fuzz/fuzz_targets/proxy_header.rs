//! The properties are `http_wire::properties::proxy_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_wire::properties::proxy_header(data));
