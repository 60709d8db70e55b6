//! The properties are `http_wire::properties::response_head` and the comparison with httparse that the tests make.
#![no_main]

#[path = "../../crates/http-wire/tests/against_httparse/compare.rs"]
#[allow(dead_code, reason = "one half is for the other kind of head")]
mod compare;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    http_wire::properties::response_head(data);
    let wire = data.get(1..).unwrap_or_default();
    compare::check(wire, &compare::response_ours(wire), &compare::response_theirs(wire));
});
