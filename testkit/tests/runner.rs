//! The runner against a real server: what holds passes, what doesn't hold fails with words that help.
//!
//! The server is nginx where it is installed (Debian's path); without it these tests say so and check nothing else.

use std::path::{Path, PathBuf};

use testkit::scenario::{Outcome, Scenario, Settings, Subject, run};

/// Runs a scenario text; `None` without nginx.
fn outcome(text: &str) -> Option<Outcome> {
    let program = PathBuf::from("/usr/sbin/nginx");
    if !program.is_file() {
        eprintln!("no /usr/sbin/nginx here: the runner is not tested against it");
        return None;
    }
    let scenario = Scenario::parse(Path::new("test.scenario"), "test", text).expect("a scenario");
    Some(run(
        &scenario,
        &Settings {
            subject: Subject::Nginx,
            program,
            venv: None,
            keep: false,
        },
    ))
}

fn passes(text: &str) {
    if let Some(outcome) = outcome(text) {
        assert!(outcome.passed(), "{outcome:#?}");
    }
}

/// The scenario fails at this line with these words.
fn fails(text: &str, line: usize, words: &str) {
    let Some(outcome) = outcome(text) else { return };
    let first = outcome.failures.first().expect("a failure");
    assert!(first.message.contains(words), "{}", first.message);
    assert_eq!(first.line, line, "{}", first.message);
    assert!(!outcome.transcript.is_empty());
}

#[test]
fn a_conversation_that_holds_passes() {
    passes(
        "T\n--- server\nlocation / { proxy_pass http://{origin.one}; }\n--- origin one\nrequest ~ ^GET /x\nanswer 200 hi\n\
         --- client\nget /x\nstatus 200\nfield Content-Length: 2\nno field X\nbody hi\n",
    );
}

#[test]
fn a_wrong_status_is_shown_with_the_answer() {
    fails(
        "T\n--- server\nreturn 404;\n--- client\nget /\nstatus 200\n",
        6,
        "got \"HTTP/1.1 404 Not Found\"",
    );
}

#[test]
fn a_field_too_many_is_found() {
    let text = "T\n--- server\nadd_header A 1;\nadd_header A 2;\nlocation / { return 200 x; }\n\
                --- client\nget /\nstatus 200\nfield A: 1\n";
    fails(text, 9, "there is one more field A: \"2\"");
}

#[test]
fn bytes_that_nobody_expected_are_found() {
    let text = "T\n--- server\nreturn 200 x;\n--- client\n\
                >> GET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\nGET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n\nstatus 200\nstatus 200\n\
                >> GET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\nGET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n\n\
                connect other\n> GET / HTTP/1.0\n>\nstatus 200\nclosed\non main\nstatus 200\n";
    fails(text, 15, "has bytes that nobody expected");
}

#[test]
fn an_origin_that_is_asked_otherwise_fails_at_its_own_line() {
    let text = "T\n--- server\nlocation / { proxy_pass http://{origin.one}; }\n--- origin one\nrequest ~ ^GET /a\n\
                answer 200\n--- client\nget /b\nstatus 200\n";
    fails(text, 5, "the request line doesn't match ~ ^GET /a");
}

#[test]
fn a_connection_that_the_script_does_not_have_is_found() {
    let text = "T\n--- server\nlocation / { proxy_pass http://{origin.one}; proxy_read_timeout 100ms; }\n--- origin one\n\
                --- client\nget /\nstatus 504\n";
    fails(text, 4, "got a connection that its script doesn't have");
}

#[test]
fn a_server_that_cannot_start_is_told() {
    let Some(outcome) = outcome("T\n--- server\nnonsense;\n--- client\nget /\nstatus 200\n") else {
        return;
    };
    assert!(
        outcome.failures[0]
            .message
            .contains("the server ended with 1"),
        "{:?}",
        outcome.failures
    );
    assert!(
        outcome
            .logs
            .iter()
            .any(|(_, text)| text.contains("unknown directive \"nonsense\""))
    );
}

#[test]
fn lines_for_another_subject_are_left_out() {
    passes(
        "T\n--- server\nreturn 200 x;\n--- client\nget /\n[edge] status 404\n[nginx] status 200\n\
         --- differs edge\nfor this test\n",
    );
}

#[test]
fn commands_run_without_a_server() {
    passes(
        "T\n--- server\nreturn 200 x;\n--- commands\ncommand -v\nresult 0\nstderr ~ ^nginx version: \nstdout empty\n",
    );
    fails(
        "T\n--- server\nreturn 200 x;\n--- commands\ncommand -v\nresult 7\n",
        6,
        "exit code 7 was expected, got 0",
    );
}
