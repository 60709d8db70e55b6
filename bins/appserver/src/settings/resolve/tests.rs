//! Places and their order, and what settings mean together.

use super::*;
use serde_json::json;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Environment {
        variables: variables.iter().map(own).collect(),
        folder: "/tmp".into(),
    }
}

fn place(source: Source, values: Value) -> Written {
    let Value::Object(values) = values else {
        panic!("an object")
    };
    let values = values
        .into_iter()
        .map(|(name, value)| (name, ConfigValue::Plain(value)));
    Written {
        source,
        values: values.collect(),
        places: BTreeMap::new(),
    }
}

fn file(values: Value) -> Written {
    place(Source::File("gunicorn.conf.py".into()), values)
}

fn faults(written: &[Written]) -> String {
    let faults = resolve(&environment(&[]), Some("app"), written).unwrap_err();
    faults
        .iter()
        .map(Fault::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn later_places_win_and_lists_are_replaced() {
    let found = resolve(
        &environment(&[("WEB_CONCURRENCY", "7"), ("PORT", "9000")]),
        Some("app"),
        &[
            file(json!({"bind": ["a:1", "b:2"], "threads": "4", "timeout": 5})),
            place(Source::CommandVariable, json!({"timeout": "6"})),
            place(Source::CommandLine, json!({"bind": ["c:3"]})),
        ],
    )
    .unwrap();
    assert_eq!(found.list("bind"), ["c:3"]);
    assert_eq!(
        (
            found.number("workers"),
            found.number("threads"),
            found.number("timeout")
        ),
        (7, 4, 6)
    );
    assert_eq!(found.text("worker_class"), Some("gthread"));
}

#[test]
fn port_is_a_default_only() {
    let with_port = environment(&[("PORT", "9000"), ("WEB_CONCURRENCY", "")]);
    let found = resolve(&with_port, Some("app"), &[]).unwrap();
    assert_eq!(found.list("bind"), ["0.0.0.0:9000"]);
    assert_eq!(found.number("workers"), 1);
    let found = resolve(&with_port, Some("app"), &[file(json!({"bind": ":1"}))]).unwrap();
    assert_eq!(found.list("bind"), [":1"]);
}

#[test]
fn every_fault_is_told_with_its_place() {
    let words = faults(&[
        file(json!({"workers": "many", "paste": "y.ini", "bind": 8000})),
        place(Source::CommandLine, json!({"paste": "x.ini"})),
    ]);
    for part in [
        "Invalid value for workers: many\n\nError: gunicorn.conf.py: workers takes a whole number from 0, got 'many'",
        "Invalid value for bind: 8000",
        "gunicorn.conf.py: paste is refused: PasteDeploy files",
        "command line: --paste/--paster is refused: PasteDeploy files are not read",
    ] {
        assert!(words.contains(part), "{part:?} is not in {words}");
    }
}

#[test]
fn faults_name_the_line_where_it_is_known() {
    let mut conf = file(json!({
        "workers": "many", "paste": "x.ini", "worker_class": "gevent", "chdir": "no-such"
    }));
    for (name, line) in [("workers", 3), ("paste", 4), ("worker_class", 5)] {
        let place = format!("gunicorn.conf.py:{line}");
        conf.places.insert(name.to_owned(), place);
    }
    let words = faults(&[conf.clone()]);
    for part in [
        "Error: gunicorn.conf.py:3: workers takes a whole number",
        "gunicorn.conf.py:4: paste is refused",
        "gunicorn.conf.py:5: worker_class (-k) \"gevent\" is refused",
    ] {
        assert!(words.contains(part), "{part:?} is not in {words}");
    }
    conf.values.retain(|name, _| name == "chdir");
    conf.places.insert("chdir".to_owned(), "a.py:9".to_owned());
    let words = faults(&[conf.clone()]);
    assert!(words.contains("Error: a.py:9: can't chdir to"), "{words}");
    // The command line wins, so that is where the fault is.
    let line = place(Source::CommandLine, json!({"chdir": "nor-this"}));
    let words = faults(&[conf, line]);
    assert!(
        words.contains("Error: command line: can't chdir to"),
        "{words}"
    );
}

#[test]
fn a_refused_setting_may_have_its_default() {
    let found = resolve(
        &environment(&[]),
        None,
        &[file(
            json!({"spew": false, "dirty_workers": 0, "proxy_protocol": false}),
        )],
    );
    assert_eq!(found.unwrap().application, "");
}

#[test]
fn versions_of_http_are_read_as_gunicorn_reads_them() {
    let resolved = |written| resolve(&environment(&[]), None, &[file(written)]).unwrap();
    for (written, read) in [
        (json!(" H2 , h1 "), &["h2", "h1"][..]),
        (json!(["h1"]), &["h1"]),
        (json!(""), &["h1"]),
        (json!(null), &["h1"]),
    ] {
        let found = resolved(json!({"http_protocols": written}));
        assert_eq!(found.list("http_protocols"), read, "{written}");
    }
    let mode = |mode| resolved(json!({"http_protocols": "h2", "http2_cleartext": mode}));
    for (written, read) in [
        (json!(true), "prior-knowledge"),
        (json!(" Both"), "both"),
        (json!("upgrade"), "upgrade"),
    ] {
        let found = mode(written);
        assert_eq!(found.text("http2_cleartext"), Some(read));
        assert_eq!(found.notes, [""; 0]);
    }
    let found = mode(json!(null));
    assert_eq!(found.text("http2_cleartext"), Some("off"));
    assert!(found.notes[0].contains("HTTP/2 will never be spoken"));
}

#[test]
fn what_means_nothing_to_rustls_is_told() {
    let resolved = |written| resolve(&environment(&[]), None, &[file(written)]);
    for (written, words) in [
        (
            json!({"ciphers": "AES256"}),
            "with TLS 1.2 ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-RSA",
        ),
        (
            json!({"ciphers": "TLSv1"}),
            "names no suite of TLS 1.2 that is spoken here",
        ),
        (
            json!({"ssl_version": 5}),
            "`ssl_version` is deprecated and it is ignored",
        ),
    ] {
        let notes = resolved(written).unwrap().notes;
        assert!(notes[0].contains(words), "{notes:?}");
    }
}

#[test]
fn worker_classes_have_aliases_and_what_does_not_exist_is_told() {
    let class = |name: &str| {
        resolve(
            &environment(&[]),
            None,
            &[file(json!({"worker_class": name}))],
        )
    };
    let found = class("gunicorn.workers.gthread.ThreadWorker").unwrap();
    assert_eq!(found.text("worker_class"), Some("gthread"));
    for name in [
        "asgi",
        "uvicorn.workers.UvicornWorker",
        "uvicorn_worker.UvicornWorker",
    ] {
        assert_eq!(class(name).unwrap().text("worker_class"), Some(name));
    }
    let loop_of = |name: &str| class(name).unwrap().text("asgi_loop").map(str::to_owned);
    assert_eq!(
        loop_of("uvicorn.workers.UvicornWorker").as_deref(),
        Some("auto")
    );
    assert_eq!(
        loop_of("uvicorn.workers.UvicornH11Worker").as_deref(),
        Some("asyncio")
    );
    for (name, part) in [
        ("gevent", "green threads"),
        (
            "geventwebsocket.gunicorn.workers.GeventWebSocketWorker",
            "green threads",
        ),
        ("gunicorn.workers.UnicormWorker", "no such class"),
        ("uvicorn", "no such class"),
    ] {
        let words = class(name).unwrap_err()[0].to_string();
        assert!(words.contains(name) && words.contains(part), "{words}");
    }
    // The template knows what these derive from.
    for name in ["my_site.workers.Worker", "<class '__config__.Worker'>"] {
        let found = class(name).unwrap();
        assert!(name.contains(found.text("worker_class").unwrap()));
    }
}

#[test]
fn the_folder_counts_from_where_the_program_was_started() {
    let found = resolve(
        &environment(&[]),
        None,
        &[file(json!({"chdir": "../usr/./bin"}))],
    )
    .unwrap();
    assert_eq!(found.text("chdir"), Some("/usr/bin"));
    let words = faults(&[file(json!({"chdir": "no-such-folder"}))]);
    assert!(
        words.contains("can't chdir to '/tmp/no-such-folder'"),
        "{words}"
    );
}

#[test]
fn variables_without_a_name_are_refused() {
    assert!(faults(&[file(json!({"raw_env": ["A=1", "B"]}))]).contains("'B' invalid"));
}
