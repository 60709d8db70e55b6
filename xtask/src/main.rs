//! What a person types: demo, test, bench, docs.
fn main() {}
