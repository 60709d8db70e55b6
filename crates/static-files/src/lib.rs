//! From a request path to a representation: contained opening, validators, ranges, variants, listing, file bodies.
#![forbid(unsafe_code)]
