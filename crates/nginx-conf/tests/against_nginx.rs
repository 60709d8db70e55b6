//! The same text to the real nginx and to us: what nginx says first must be among what we say. Where nginx isn't
//! installed there is nothing to compare with, and the test says so.

mod common;

use std::path::Path;
use std::process::Command;

use nginx_conf::{DiskLoader, Faults, Parser, Style};
use proptest::prelude::*;

const NGINX: &str = "/usr/sbin/nginx";

#[test]
fn says_what_nginx_says() {
    let Some(bench) = Bench::new() else { return };
    let texts = [
        "foo bar;",
        "events{} http { server { listen 80 } }",
        "events{} root /x;",
        "events {} http { sendfile yes; }",
        "events {} http { sendfile on; sendfile off; }",
        "events {} http { client_max_body_size 10x; }",
        "events {} http { client_max_body_size 1g2; }",
        "events {} http { keepalive_timeout x; }",
        "events {} http { keepalive_timeout 1y; }",
        "events {} http { keepalive_timeout 1h1h; }",
        "events {} http { keepalive_timeout 1m1h; }",
        "events {} http { keepalive_timeout 1.5s; }",
        "events {} http { root; }",
        "events {} http { root a b; }",
        "events;",
        "events {} worker_processes 1 {}",
        "events {",
        "events {} http { root \"abc; }",
        "events {} http { root 'abc; }",
        "events {} http { root \"abc\"x; }",
        "events {} http { root \"abc\"\"def\"; }",
        "events {} http { root \"abc\"#; }",
        "events {} http { root \"abc\"} }",
        "events {} }",
        "events {} ;",
        "events {} {",
        "events {} http { include missing.conf; }",
        "events {} http { include brace.conf; }",
        "events {} http { include open.conf; }",
        "events {} http { include nothing-*.conf; include; }",
        "events {} http { include a b; }",
        "events {} http { server { location / { if $x { } } } }",
        "events {} http { server { location / { if ($uri == x) { } } } }",
        "events {} http { server { location / { if (-q /x) { } } } }",
        "events {} http { server { location / { if ($uri a) { } } } }",
        "events {} http { server { location / { if ($uri = a b) { } } } }",
        "events {} http { server { location / { if ($uri { } } } }",
        "events {} http { server { location / { if ( ) { } } } }",
        "events {} http { server { location / { if () { } } } }",
        "events {} http { server { location / { if ($) { } } } }",
        "events {} http { server { location / { if (a = b) { } } } }",
        "events {} http { server { location / { if (-f) { } } } }",
        "events {} http { server { return 200 \"${foo\"; } }",
        "events {} http { server { return 200 \"${foo-x}\"; } }",
        "events {} http { server { return 200 \"$\"; } }",
        "events {} http { server { return 200 \"${}\"; } }",
        "events {} http { server { return 200 \"a$-b\"; } }",
        "events {} http { server { listen foo:bar; } }",
        "events {} http { server { listen 99999; } }",
        "events {} http { server { listen 0; } }",
        "events {} http { server { listen 9-8; } }",
        "events {} http { server { listen 127.0.0.1:; } }",
        "events {} http { server { listen :80; } }",
        "events {} http { server { listen [::1; } }",
        "events {} http { server { listen [::1]80; } }",
        "events {} http { server { listen [zz]:80; } }",
        "events {} http { server { listen a/b:80; } }",
        "events {} http { server { listen unix:; } }",
        "events {} http { server { listen 80 foo; } }",
        "events {} http { types { text/html { } } }",
        "events {} http { types { include; } }",
        "events {} http { types { text/html; text/x x; ; } }",
        "events {} http { server { location ~ ^/x{2}/ { } } }",
        "events {} http { upstream a { server :80; } }",
        "events {} http { upstream a { server 127.0.0.1:99999; } }",
        "events {} http { upstream a { server 127.0.0.1:80 weigth=3; } }",
        "events {} http { upstream a { listen 80; } }",
        "events {} http { server { server { } } }",
        "events {} events {}",
    ];
    let differences: Vec<String> = texts
        .iter()
        .filter_map(|text| bench.difference(text))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn reads_the_same_good_texts() {
    let Some(bench) = Bench::new() else { return };
    let texts = [
        "events {} # no newline at the end",
        "events{}http{server{listen 127.0.0.1:8999;server_name a b;}}",
        "events {} http { server { location / { if ($uri) { } if ( $uri ) { } if ($uri = \"a b\") { } } } }",
        "events {} http { server { location / { if (!-f \"$uri\") { } if ($uri !~* \"a\") { } if (-x /x ) { } } } }",
        "events {} http { server { location ~ \"^/x{2}/\" { } location /a#b { } location \"/c d\" { } } }",
        "events {} http { keepalive_timeout 1h30m; client_max_body_size 1M; }",
        "events {} http { keepalive_timeout '1h 30m' 20; client_max_body_size 0; }",
        "events {} http { include nothing-*.conf; server { return 200 \"${uri}x$1$uri\"; } }",
        "events {} http { types { text/html html; \"text/a b\" 'c d'; } }",
        "events {} http { upstream a { server 127.0.0.1 backup; server 127.0.0.2:80 weight=3; } server { server_name \"\" '' x; } }",
    ];
    for text in texts {
        assert_eq!(bench.nginx(text), None, "nginx refuses {text}");
        let ours = bench.ours(text);
        assert!(ours.is_empty(), "{text}: {ours:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// nginx names an unknown directive by the word it read: that shows its lexer's work on any text.
    #[test]
    fn cuts_words_as_nginx_does(text in r#"[a-c"'\\${}; #\tn()]{1,12}"#) {
        let Some(bench) = Bench::new() else { return Ok(()) };
        if let Some(difference) = bench.difference(&text) {
            return Err(TestCaseError::fail(difference));
        }
    }
}

#[test]
fn dumps_as_nginx_does() {
    let Some(bench) = Bench::new() else { return };
    let at = |name: &str| bench.folder.path().join(name);
    std::fs::write(at("b.part"), "# b").unwrap();
    std::fs::write(at("a.part"), "include c;\n").unwrap();
    std::fs::write(at("c"), "\n").unwrap();
    let path = bench.write("events {} include *.part; include c; http {\n}");
    let output = Command::new(NGINX)
        .arg("-T")
        .arg("-p")
        .arg(bench.folder.path())
        .arg("-c")
        .arg(&path)
        .output()
        .unwrap();
    let (tree, faults) = Parser::new(&DiskLoader).parse(&path);
    assert!(faults.is_empty());
    let theirs = String::from_utf8(output.stdout).unwrap();
    assert!(theirs.contains("# configuration file"), "{theirs}");
    assert_eq!(
        theirs,
        String::from_utf8(tree.sources.set().dump()).unwrap()
    );
}

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Option<Bench> {
        if !Path::new(NGINX).exists() {
            eprintln!("{NGINX} is not installed: nothing to compare with");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("brace.conf"), "bad }\n").unwrap();
        std::fs::write(folder.path().join("open.conf"), "server {\n").unwrap();
        Some(Bench { folder })
    }

    fn difference(&self, text: &str) -> Option<String> {
        let theirs = self.nginx(text)?;
        if theirs.contains("no \"events\" section") {
            return None;
        }
        let ours = self.ours(text);
        let (message, place) = theirs.rsplit_once(" in /").unwrap_or((&theirs, ""));
        let same = ours
            .iter()
            .any(|line| says(line, message) && line.ends_with(place));
        (!same).then(|| format!("{text}\n  nginx: {theirs}\n  ours: {ours:#?}"))
    }

    fn write(&self, text: &str) -> std::path::PathBuf {
        let path = self.folder.path().join("n.conf");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What nginx finds first, without time and process.
    fn nginx(&self, text: &str) -> Option<String> {
        let path = self.write(text);
        let output = Command::new(NGINX)
            .arg("-t")
            .arg("-p")
            .arg(self.folder.path())
            .arg("-c")
            .arg(&path)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        let line = words.lines().find(|line| line.contains("[emerg]"))?;
        let message = line.split("[emerg] ").nth(1).unwrap();
        let numbers = |part: &str| {
            part.bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'#')
        };
        match message.split_once(": ") {
            Some((process, rest)) if numbers(process) => Some(rest.to_owned()),
            _ => Some(message.to_owned()),
        }
    }

    fn ours(&self, text: &str) -> Vec<String> {
        let path = self.write(text);
        let (tree, mut faults): (_, Faults) = Parser::new(&DiskLoader).parse(&path);
        common::house()
            .registry
            .walk(&tree.root, common::MAIN, &(), &mut faults);
        let rendered = faults.render("t", &tree.sources, Style::Line);
        rendered
            .lines()
            .filter_map(|line| line.strip_prefix("t: [emerg] "))
            .map(str::to_owned)
            .collect()
    }
}

/// Our line holds nginx's words, control characters made visible; where we add the value, the words around it do.
fn says(line: &str, message: &str) -> bool {
    let message = message.replace('\t', "\\t").replace('\r', "\\r");
    let quantity = message.strip_suffix(" directive invalid value");
    line.contains(&message)
        || quantity.is_some_and(|name| line.contains(&format!("{name} directive invalid value \"")))
}
