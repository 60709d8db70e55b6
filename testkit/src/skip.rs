//! Tests that this machine does not allow.

use std::io::Write;

/// Says that a test checks nothing here, past the capture of test output, so that nobody takes silence for success.
pub fn nothing_checked(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: {test}: NOTHING WAS CHECKED: {why}"
    );
}
