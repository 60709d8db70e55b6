//! The property is `http_wire::properties::ranges`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_wire::properties::ranges(data));
