//! The engine of a reverse proxy and origin-side HTTP server: connections, request phases, upstreams, features.
#![forbid(unsafe_code)]
