//! The web server that takes nginx's place.
fn main() {}
