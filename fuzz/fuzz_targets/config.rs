//! The property is `nginx_conf::properties::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nginx_conf::properties::configuration(data));
