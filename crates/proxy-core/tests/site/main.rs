//! The engine as a program has it that takes it from the library: a configuration text, a list of features with one of its
//! own, real sockets, one runtime.

mod buffering;
mod choosing;
mod faults;
mod features;
mod open_files;
mod probe;
mod reload;
mod tower;
mod turns;
mod upstreams;
mod world;
