//! The tree against tables of two features.

mod common;

use std::time::Duration;

use common::*;
use nginx_conf::*;

#[test]
fn gives_each_feature_what_it_wrote_in_each_block() {
    let level = good(
        "worker_processes 4;
        http {
            root /a; limit_req_status 429; client_max_body_size 8m; keepalive_timeout 75s 60;
            server { listen 80 default_server; listen [::]:443; server_name a b; root /b; location / { } location = /x { sendfile on; } }
            server { }
        }",
    );
    let House { core, rewrite, .. } = house();
    assert_eq!(level.written(core).unwrap().workers.get(), Some(&4));
    assert!(level.written(rewrite).is_none());
    let http = level.children_in(HTTP).next().unwrap();
    assert_eq!(http.written(rewrite).unwrap().status.get(), Some(&429));
    assert_eq!(http.written(core).unwrap().body_max.get(), Some(&(8 << 20)));
    assert_eq!(
        http.written(core).unwrap().keepalive.get(),
        Some(&Duration::from_secs(75))
    );
    let servers: Vec<&Level> = http.children_in(SERVER).collect();
    assert_eq!(servers.len(), 2);
    let first = servers[0].written(core).unwrap();
    assert_eq!(first.listen.len(), 2);
    assert_eq!(first.head, ["default"]);
    assert_eq!(
        first
            .names
            .iter()
            .map(|name| name.value.as_str())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    let locations: Vec<&[String]> = servers[0]
        .children()
        .iter()
        .map(|level| level.written(core).unwrap().head.as_slice())
        .collect();
    assert_eq!(locations, [&["/"][..], &["=", "/x"]]);
    assert!(
        servers[1].written(core).is_some(),
        "a block's own head counts as written"
    );
    assert_eq!(servers[1].name(), "server");
}

#[test]
fn reads_one_name_by_its_place() {
    let level = good(
        "http { upstream app { server 10.0.0.1:80 weight=3; server unix:/x backup; } server { } }",
    );
    let upstream = level.children()[0].children_in(UPSTREAM).next().unwrap();
    let written = upstream.written(house().core).unwrap();
    assert_eq!(written.head, ["app"]);
    assert_eq!(
        written
            .peers
            .iter()
            .map(|peer| peer.to_string())
            .collect::<Vec<_>>(),
        ["10.0.0.1:80", "unix:/x"]
    );
}

#[test]
fn keeps_the_order_of_directives_and_blocks() {
    let level = good("http { server { set $a 1; if ($a) { set $b 2; } set $c 3; } }");
    let server = &level.children()[0].children()[0];
    let steps = &server.written(house().rewrite).unwrap().steps;
    assert_eq!(steps, &[(0, "$a".to_owned()), (2, "$c".to_owned())]);
    assert_eq!(
        server.children_in(IF).map(Level::order).collect::<Vec<_>>(),
        [1]
    );
}

#[test]
fn hands_over_free_form_lines() {
    let level = good("http { types { text/html html htm; \"a b/c\" 'd e'; } }");
    let types = &level.children()[0].written(house().core).unwrap().types;
    let pairs: Vec<(&str, &str)> = types
        .iter()
        .map(|(kind, name)| (kind.as_str(), name.as_str()))
        .collect();
    assert_eq!(
        pairs,
        [
            ("text/html", "html"),
            ("text/html", "htm"),
            ("a b/c", "d e")
        ]
    );
}

#[test]
fn takes_what_was_written_out_of_a_level() {
    let mut level = good("daemon off;");
    let core = house().core;
    assert_eq!(level.take(core).daemon.get(), Some(&false));
    assert_eq!(level.take(core), Core::default());
}

#[test]
fn counts_duplicates_by_block_and_not_by_file() {
    assert!(faults_of("http { root /a; server { root /b; } server { root /c; } }").is_empty());
    assert_eq!(
        faults_of("http { root /a; root /b; }"),
        ["t: [emerg] \"root\" directive is duplicate in /n.conf:1"]
    );
    let files = SourceSet::of([("/n.conf", "daemon on;")]);
    let (tree, mut faults) = Parser::new(&files).globals("daemon off;").parse("/n.conf");
    house().registry.walk(&tree.root, MAIN, &(), &mut faults);
    let text = faults.render("t", &tree.sources, Style::Line);
    assert_eq!(
        text,
        "t: [emerg] \"daemon\" directive is duplicate in /n.conf:1\n  first given here: command line\n  help: keep one of the two\n"
    );
}

#[test]
fn reads_a_block_whose_head_is_faulty() {
    let found = faults_of("http { server extra { lisetn 80; location { rooot /x; } } }");
    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn refuses_what_a_reader_left_unread() {
    assert_eq!(
        faults_of("http { server { listen 80 foo bar; } }"),
        ["t: [emerg] invalid parameter \"foo\" in /n.conf:1"]
    );
}

#[test]
fn refuses_two_features_with_one_directive_in_one_place() {
    const AGAIN: &[Directive<Core>] = &[Directive {
        name: "root",
        scopes: Scopes::of(&[SERVER]),
        ..Directive::DEFAULT
    }];
    const ELSEWHERE: &[Directive<Core>] = &[Directive {
        name: "root",
        scopes: Scopes::of(&[EVENTS]),
        ..Directive::DEFAULT
    }];
    let mut registry = house().registry;
    let overlap = registry.add("other", AGAIN).unwrap_err();
    assert_eq!(
        overlap.to_string(),
        "directive \"root\" in server belongs to both \"core\" and \"other\""
    );
    registry.add("third", ELSEWHERE).unwrap();
    assert_eq!(registry.named("root").count(), 2);
}

#[test]
fn lists_directives_for_the_reference() {
    let house = house();
    let entry = house.registry.named("limit_req_status").next().unwrap();
    assert_eq!(
        (entry.feature, entry.synopsis().as_str()),
        ("rewrite", "limit_req_status code;")
    );
    assert_eq!(entry.scopes.to_string(), "http, server, location");
    assert_eq!(
        house.registry.named("location").next().unwrap().synopsis(),
        "location [ = | ~ | ~* | ^~ ] uri { ... }"
    );
    assert!(house.registry.entries().len() > 20);
}

#[test]
fn gives_readers_the_context_of_the_walk() {
    #[derive(Default)]
    struct Seen(Option<u32>);
    const TABLE: &[Directive<Seen>] = &[Directive {
        name: "look",
        scopes: Scopes::of(&[MAIN]),
        args: Arity::NONE,
        read: |args, seen| {
            seen.0 = args.context::<u32>().copied();
            Ok(())
        },
        ..Directive::DEFAULT
    }];
    let mut registry = Registry::new();
    let handle = registry.add("seen", TABLE).unwrap();
    let (tree, mut faults) = Parser::new(&SourceSet::of([("/c", "look;")])).parse("/c");
    let level = registry.walk(&tree.root, MAIN, &7u32, &mut faults);
    assert_eq!(level.written(handle).unwrap().0, Some(7));
}

#[test]
fn reads_conditions() {
    let condition = |text: &str| {
        let level = good(&format!("http {{ server {{ if {text} {{ }} }} }}"));
        let inner = &level.children()[0].children()[0].children()[0];
        format!(
            "{:?}",
            inner
                .written(house().rewrite)
                .unwrap()
                .condition
                .as_ref()
                .unwrap()
        )
    };
    let cases = [
        ("($a)", "True", "\"a\""),
        ("( $a )", "True", "\"a\""),
        ("($a = b)", "Equals", "negated: false"),
        ("( $a != \"b c\" )", "Equals", "negated: true"),
        ("($a = \"\")", "Equals", "source: \"\""),
        ("($a ~ ^/x$)", "Matches", "Pattern(~ ^/x$)"),
        ("($a ~ \"(a|b)\")", "Matches", "Pattern(~ (a|b))"),
        ("($a ~ (a|b))", "Matches", "Pattern(~ (a|b))"),
        ("($a ~* x)", "Matches", "Pattern(~* x)"),
        ("($a !~ x)", "Matches", "negated: true"),
        ("($a !~* x)", "Matches", "Pattern(~* x)"),
        ("(-f $a/b)", "Plain", "negated: false"),
        ("(!-f $a)", "Plain", "negated: true"),
        ("(-d $a)", "Directory", "negated: false"),
        ("(!-e $a)", "Exists", "negated: true"),
        ("( -x $a )", "Executable", "negated: false"),
    ];
    for (text, kind, detail) in cases {
        let read = condition(text);
        assert!(
            read.contains(kind) && read.contains(detail),
            "{text}: {read}"
        );
    }
}

#[test]
fn settles_from_the_block_outside_and_then_from_the_default() {
    let level = good("http { root /a; server { root /b; } server { } }");
    let core = house().core;
    let outside = level.children()[0].written(core).unwrap().root.clone();
    let roots: Vec<Setting<String>> = level.children()[0]
        .children()
        .iter()
        .map(|server| server.written(core).unwrap().root.or(&outside))
        .collect();
    let settled: Vec<String> = roots
        .iter()
        .map(|root| root.settle(None, || "html".to_owned()))
        .collect();
    assert_eq!(settled, ["/b", "/a"]);
    assert_eq!(Setting::<u8>::default().settle(None, || 5), 5);
    let span = roots[1].span().unwrap();
    assert_eq!((span.line, span.column), (1, 13));
    let mut list = List::default();
    assert_eq!(list.settle(&[1, 2]), [1, 2]);
    list.push(Spanned { value: 3, span }).unwrap();
    assert_eq!(list.settle(&[1, 2]), [3]);
}

#[test]
fn the_examples_of_the_reference_are_read() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/configuration-language.md");
    let page = std::fs::read_to_string(page).unwrap();
    let examples: Vec<&str> = page
        .split("```nginx\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(examples.len() >= 3);
    for example in examples
        .iter()
        .filter(|example| !example.starts_with("include"))
    {
        good(example);
    }
    let shown = page
        .split("```text\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let site = "\nserver {\n        listen 80\n    }\n";
    let main = format!(
        "http {{{}include sites/*.conf;{}server {{\n        rooot /srv;\n}} }}\n",
        "\n".repeat(11),
        "\n".repeat(7)
    );
    let files = SourceSet::of([
        ("/etc/nginx/nginx.conf", main.as_str()),
        ("/etc/nginx/sites/shop.conf", site),
    ]);
    let (tree, _, faults) = check(&files, "/etc/nginx/nginx.conf");
    assert!(shown.starts_with("edge: [emerg]"));
    assert_eq!(
        shown,
        faults.render("edge", &tree.sources, Style::Terminal { colour: false })
    );
}
