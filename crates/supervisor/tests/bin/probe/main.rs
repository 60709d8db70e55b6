//! A small server for the tests: a master whose workers answer one line on each connection.
//!
//! Workers come into being by exec of this program, or, with `template=1`, as grandchildren of a template process that
//! forks them and that they are orphaned from. It reports on standard output what happens.

mod master;
mod template;
mod tools;
mod worker;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let code = match task.as_str() {
        "master" => master::run(&rest),
        "worker" => worker::run_executed(&rest),
        "template" => template::run(&rest),
        "become" => tools::become_another(&rest),
        "daemon" => tools::daemon(&rest),
        other => panic!("unknown task {other:?}"),
    };
    std::process::exit(code);
}
