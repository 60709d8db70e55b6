//! The kinds of blocks that an `nginx.conf` has.

use nginx_conf::{Scope, Scopes};

/// The top of the file.
pub const MAIN: Scope = Scope::new("main");
/// `events { … }`.
pub const EVENTS: Scope = Scope::new("events");
/// `http { … }`.
pub const HTTP: Scope = Scope::new("http");
/// `upstream name { … }`.
pub const UPSTREAM: Scope = Scope::new("upstream");
/// `server { … }`.
pub const SERVER: Scope = Scope::new("server");
/// `location uri { … }`.
pub const LOCATION: Scope = Scope::new("location");
/// `if (…) { … }` in a server.
pub const SERVER_IF: Scope = Scope::new("if in server");
/// `if (…) { … }` in a location.
pub const LOCATION_IF: Scope = Scope::new("if in location");
/// `limit_except method { … }`.
pub const LIMIT_EXCEPT: Scope = Scope::new("limit_except");

/// Only at the top.
pub const MAIN_ONLY: Scopes = Scopes::of(&[MAIN]);
/// Only in `events`.
pub const EVENTS_ONLY: Scopes = Scopes::of(&[EVENTS]);
/// Only in `http`.
pub const HTTP_ONLY: Scopes = Scopes::of(&[HTTP]);
/// Only in `server`.
pub const SERVER_ONLY: Scopes = Scopes::of(&[SERVER]);
/// Only in `location`.
pub const LOCATION_ONLY: Scopes = Scopes::of(&[LOCATION]);
/// Only in `upstream`.
pub const UPSTREAM_ONLY: Scopes = Scopes::of(&[UPSTREAM]);
/// `http` and `server`.
pub const HTTP_SERVER: Scopes = Scopes::of(&[HTTP, SERVER]);
/// `http`, `server` and `location`.
pub const HTTP_SERVER_LOCATION: Scopes = Scopes::of(&[HTTP, SERVER, LOCATION]);
/// `http`, `server`, `location` and `if` in a location.
pub const HTTP_SERVER_LOCATION_IF: Scopes = Scopes::of(&[HTTP, SERVER, LOCATION, LOCATION_IF]);
/// `server`, `location` and `if` in both.
pub const SERVER_LOCATION_IFS: Scopes = Scopes::of(&[SERVER, LOCATION, SERVER_IF, LOCATION_IF]);
/// `server` and `location`.
pub const SERVER_LOCATION: Scopes = Scopes::of(&[SERVER, LOCATION]);
/// `location`, `if` in it and `limit_except`.
pub const LOCATION_IF_LIMIT: Scopes = Scopes::of(&[LOCATION, LOCATION_IF, LIMIT_EXCEPT]);
/// The top, `http`, `server` and `location`.
pub const EVERYWHERE: Scopes = Scopes::of(&[MAIN, HTTP, SERVER, LOCATION]);
