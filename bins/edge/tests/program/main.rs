//! The program as its users meet it: command lines, configurations, signals, processes. Everything runs the built binary.

mod commands;
mod configurations;
mod limits;
mod logs;
mod manager;
mod processes;
mod reload;
mod server;
