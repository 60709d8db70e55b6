//! The application server that takes gunicorn's place.
fn main() {}
