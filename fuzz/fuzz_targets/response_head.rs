//! The property is `http_wire::properties::response_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_wire::properties::response_head(data));
