//! The tests that stand in modules which need no Python: the library itself cannot be linked outside of it.
#![allow(
    dead_code,
    reason = "of each module only what its tests use is used here"
)]

#[path = "../src/below.rs"]
mod below;
#[path = "../src/statics/mounts.rs"]
mod mounts;
#[path = "../src/peers.rs"]
mod peers;
#[path = "../src/retire.rs"]
mod retire;
#[path = "../src/room.rs"]
mod room;
