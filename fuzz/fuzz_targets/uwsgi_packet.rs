//! The properties are `http_wire::properties::uwsgi_packet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_wire::properties::uwsgi_packet(data));
