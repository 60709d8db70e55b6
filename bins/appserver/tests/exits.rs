//! Exit statuses of a start that fails: 3 and 4, as gunicorn's.

mod support;

use support::{PID_APP, Setup};

fn run(app: &str, arguments: &[&str]) -> (i32, String) {
    let (code, _, err) = Setup::new(app).args(arguments).run();
    (code, err)
}

#[test]
fn an_application_that_cannot_be_imported_ends_the_server_with_3() {
    let (code, err) = run("raise ValueError('at import')", &["--workers", "2"]);
    assert_eq!(code, 3, "{err}");
    for words in [
        "ValueError: at import",
        "exited with code 3",
        "Reason: Worker failed to boot.",
        "Shutting down: Master",
    ] {
        assert!(err.contains(words), "{words}: {err}");
    }
}

#[test]
fn an_application_that_is_not_there_ends_the_server_with_4() {
    for (app, words) in [
        ("application = 'text'", "must be callable"),
        ("x = 1", "application"),
    ] {
        let (code, err) = run(app, &[]);
        assert_eq!(code, 4, "{err}");
        assert!(
            err.contains("Reason: App failed to load.") && err.contains(words),
            "{err}"
        );
    }
}

#[test]
fn a_preloaded_application_fails_before_anything_listens() {
    let (code, err) = run("raise ValueError('at import')", &["--preload"]);
    assert_eq!(code, 3, "{err}");
    assert!(
        err.contains("ValueError: at import") && !err.contains("Listening at"),
        "{err}"
    );
}

#[test]
fn a_worker_that_dies_at_once_each_time_ends_the_start() {
    let (code, err) = run(
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        &[],
    );
    assert_eq!(code, 128 + 9, "{err}");
    assert!(
        err.contains("was sent SIGKILL!") && err.contains("Reason: no worker came up"),
        "{err}"
    );
}

#[test]
fn a_hook_that_fails_at_the_start_ends_it_with_1() {
    for hook in ["on_starting", "when_ready"] {
        let file = format!("def {hook}(server): raise KeyError('in {hook}')");
        let (code, _, err) = Setup::new(PID_APP).file("gunicorn.conf.py", &file).run();
        assert_eq!(code, 1, "{err}");
        assert!(
            err.contains(&format!("hook {hook} failed: KeyError")),
            "{err}"
        );
    }
}

#[test]
fn a_signal_before_the_server_serves_ends_it_with_0() {
    let file = "open('started', 'w').close()\nimport time\ntime.sleep(1000)\n";
    let mut server = Setup::new(PID_APP).file("gunicorn.conf.py", file).spawn();
    server.until("the file runs", || {
        server.prefix.join("started").exists().then_some(())
    });
    assert_eq!(server.stop(), 0);
}
