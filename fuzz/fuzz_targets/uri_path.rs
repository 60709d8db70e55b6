//! The property is `http_wire::properties::uri_path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_wire::properties::uri_path(data));
