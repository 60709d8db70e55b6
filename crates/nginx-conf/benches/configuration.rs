//! What a reload costs (parsing, walking) and what a request pays for a template and a pattern.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nginx_conf::{
    Arity, BlockKind, Case, Directive, Faults, Parser, Pattern, Reference, Registry, Repeat, Scope,
    Scopes, Setting, SourceSet, Template,
};

const MAIN: Scope = Scope::new("main");
const HTTP: Scope = Scope::new("http");
const SERVER: Scope = Scope::new("server");
const LOCATION: Scope = Scope::new("location");
const ANY: Scopes = Scopes::of(&[MAIN, HTTP, SERVER, LOCATION]);

#[derive(Default)]
struct Written {
    root: Setting<String>,
    templates: Vec<Template>,
}

const fn block(name: &'static str, scope: Scope) -> Directive<Written> {
    Directive {
        name,
        scopes: ANY,
        args: Arity::ANY,
        block: BlockKind::Opens(scope),
        repeat: Repeat::Many,
        read: |args, _| {
            args.rest();
            Ok(())
        },
        ..Directive::DEFAULT
    }
}

const fn words(name: &'static str) -> Directive<Written> {
    Directive {
        name,
        scopes: ANY,
        args: Arity::at_least(1),
        repeat: Repeat::Many,
        read: |args, written| {
            for arg in args {
                written.templates.push(arg.template()?.value);
            }
            Ok(())
        },
        ..Directive::DEFAULT
    }
}

const TABLE: &[Directive<Written>] = &[
    block("http", HTTP),
    block("server", SERVER),
    block("location", LOCATION),
    words("listen"),
    words("server_name"),
    words("proxy_pass"),
    words("proxy_set_header"),
    Directive {
        name: "root",
        scopes: ANY,
        read: |args, written| written.root.set(args.string()?),
        ..Directive::DEFAULT
    },
];

/// A thousand servers of the usual kind.
fn configuration() -> String {
    let server = |at: usize| {
        format!(
            "    server {{\n        listen 80;\n        server_name shop{at}.example.com www.shop{at}.example.com;\n        \
             location /static/ {{ root /srv/shop{at}; }}\n        location / {{ # the application\n            \
             proxy_pass http://unix:/run/shop{at}.sock;\n            proxy_set_header Host $host;\n            \
             proxy_set_header X-Forwarded-For \"$proxy_add_x_forwarded_for\";\n        }}\n    }}\n"
        )
    };
    format!("http {{\n{}}}\n", (0..1000).map(server).collect::<String>())
}

fn reload(c: &mut Criterion) {
    let text = configuration();
    let set = SourceSet::of([("/etc/n.conf", text.clone())]);
    let mut group = c.benchmark_group("configuration");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.sample_size(20);
    group.bench_function("parse", |b| {
        b.iter(|| Parser::new(black_box(&set)).parse("/etc/n.conf"));
    });
    let (tree, faults) = Parser::new(&set).parse("/etc/n.conf");
    assert!(faults.is_empty());
    let mut registry = Registry::new();
    registry.add("all", TABLE).expect("one table");
    group.bench_function("walk", |b| {
        b.iter(|| {
            let mut faults = Faults::new();
            let level = registry.walk(black_box(&tree.root), MAIN, &(), &mut faults);
            assert!(faults.is_empty());
            level
        });
    });
    group.finish();
}

fn request(c: &mut Criterion) {
    let values = [
        "GET",
        "/a/path?with=arguments",
        "203.0.113.7",
        "example.com",
    ];
    let template =
        Template::parse("$remote - [$method $uri] \"$host\" $remote").expect("a template");
    let compiled = template
        .compile(&mut |reference: Reference<'_>| match reference {
            Reference::Variable("method") => Some(0),
            Reference::Variable("uri") => Some(1),
            Reference::Variable("remote") => Some(2),
            Reference::Variable("host") => Some(3),
            _ => None,
        })
        .expect("known variables");
    let mut out = Vec::with_capacity(256);
    c.bench_function("template/expand", |b| {
        b.iter(|| {
            out.clear();
            compiled.expand(&mut out, |&id, out| {
                out.extend_from_slice(values[id].as_bytes());
            });
            black_box(out.len())
        });
    });
    for (name, pattern) in [
        ("plain", r"\.(?:jpe?g|png|css|js)$"),
        ("lookahead", r"^/(?!static/)[^/]+/edit$"),
    ] {
        let pattern = Pattern::new(pattern, Case::Sensitive).expect("a pattern");
        c.bench_function(&format!("pattern/{name}"), |b| {
            b.iter(|| pattern.is_match(black_box(b"/products/1234/edit")));
        });
    }
}

criterion_group!(benches, reload, request);
criterion_main!(benches);
