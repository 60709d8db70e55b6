//! A small server's directive tables, enough of nginx's to try the language on.
#![allow(dead_code, reason = "each test file uses a part")]

use std::time::Duration;

use nginx_conf::*;

pub const MAIN: Scope = Scope::new("main");
pub const EVENTS: Scope = Scope::new("events");
pub const HTTP: Scope = Scope::new("http");
pub const SERVER: Scope = Scope::new("server");
pub const LOCATION: Scope = Scope::new("location");
pub const IF: Scope = Scope::new("if in location");
pub const UPSTREAM: Scope = Scope::new("upstream");

const HTTP_SERVER_LOCATION: Scopes = Scopes::of(&[HTTP, SERVER, LOCATION]);

/// What reading gave, in the order it was read, to compare with what was expected.
#[derive(Default, Debug, PartialEq)]
pub struct Core {
    pub head: Vec<String>,
    pub daemon: Setting<bool>,
    pub workers: Setting<u32>,
    pub root: Setting<String>,
    pub sendfile: Setting<bool>,
    pub body_max: Setting<u64>,
    pub keepalive: Setting<Duration>,
    pub expires: Setting<Duration>,
    pub satisfy: Setting<bool>,
    pub listen: List<ListenAddress>,
    pub names: List<String>,
    pub types: Vec<(String, String)>,
    pub peers: List<PeerAddress>,
}

pub const CORE: &[Directive<Core>] = &[
    Directive {
        name: "daemon",
        scopes: Scopes::of(&[MAIN]),
        syntax: "on | off",
        read: |args, w| w.daemon.set(args.flag()?),
        ..Directive::DEFAULT
    },
    Directive {
        name: "worker_processes",
        scopes: Scopes::of(&[MAIN]),
        syntax: "number",
        read: |args, w| w.workers.set(args.number(1..=512)?),
        ..Directive::DEFAULT
    },
    opens("events", &[MAIN], EVENTS, Repeat::Once),
    opens("http", &[MAIN], HTTP, Repeat::Once),
    opens("server", &[HTTP], SERVER, Repeat::Many),
    Directive {
        name: "upstream",
        args: Arity::exactly(1),
        read: |args, w| {
            w.head.push(args.string()?.value);
            Ok(())
        },
        ..opens("upstream", &[HTTP], UPSTREAM, Repeat::Many)
    },
    Directive {
        name: "server",
        scopes: Scopes::of(&[UPSTREAM]),
        args: Arity::at_least(1),
        repeat: Repeat::Many,
        syntax: "address [parameters]",
        read: |args, w| {
            w.peers.push(args.peer_address()?)?;
            for arg in args {
                match arg.keyed("weight") {
                    Some(weight) => drop(weight.number(1..=100u32)?),
                    None if arg.text() == "backup" => {}
                    None => return Err(arg.unknown_parameter(&["weight", "backup"])),
                }
            }
            Ok(())
        },
        ..Directive::DEFAULT
    },
    Directive {
        args: Arity::between(1, 2),
        syntax: "[ = | ~ | ~* | ^~ ] uri",
        read: |args, w| {
            if args.left() == 2 && args.take_if("~").is_some() {
                w.head
                    .push(args.pattern(Case::Sensitive)?.source().to_owned());
                return Ok(());
            }
            w.head.extend(args.map(|arg| arg.text().to_owned()));
            Ok(())
        },
        ..opens("location", &[SERVER, LOCATION], LOCATION, Repeat::Many)
    },
    Directive {
        name: "root",
        scopes: HTTP_SERVER_LOCATION,
        read: |args, w| w.root.set(args.string()?),
        ..Directive::DEFAULT
    },
    Directive {
        name: "sendfile",
        scopes: HTTP_SERVER_LOCATION,
        read: |args, w| w.sendfile.set(args.flag()?),
        ..Directive::DEFAULT
    },
    Directive {
        name: "client_max_body_size",
        scopes: HTTP_SERVER_LOCATION,
        read: |args, w| w.body_max.set(args.size()?),
        ..Directive::DEFAULT
    },
    Directive {
        name: "keepalive_timeout",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::between(1, 2),
        read: |args, w| {
            w.keepalive.set(args.duration()?)?;
            if args.left() > 0 {
                args.seconds()?;
            }
            Ok(())
        },
        ..Directive::DEFAULT
    },
    Directive {
        name: "satisfy",
        scopes: HTTP_SERVER_LOCATION,
        read: |args, w| {
            w.satisfy
                .set(args.one_of(&[("all", true), ("any", false)])?)
        },
        ..Directive::DEFAULT
    },
    Directive {
        name: "listen",
        scopes: Scopes::of(&[SERVER]),
        args: Arity::at_least(1),
        repeat: Repeat::Many,
        read: |args, w| {
            w.listen.push(args.listen_address()?)?;
            if args.take_if("default_server").is_some() {
                w.head.push("default".to_owned());
            }
            Ok(())
        },
        ..Directive::DEFAULT
    },
    Directive {
        name: "server_name",
        scopes: Scopes::of(&[SERVER]),
        args: Arity::at_least(1),
        repeat: Repeat::Many,
        read: |args, w| {
            for arg in args {
                w.names.push(arg.string()?)?;
            }
            Ok(())
        },
        ..Directive::DEFAULT
    },
    Directive {
        name: "types",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::NONE,
        block: BlockKind::FreeForm,
        repeat: Repeat::Many,
        read: |args, w| {
            args.lines(|line| {
                if line.left() == 0 {
                    return Err(line.wrong_count());
                }
                let kind = line.key().text().to_owned();
                w.types
                    .extend(line.map(|arg| (kind.clone(), arg.text().to_owned())));
                Ok(())
            });
            Ok(())
        },
        ..Directive::DEFAULT
    },
];

const fn opens(
    name: &'static str,
    scopes: &'static [Scope],
    scope: Scope,
    repeat: Repeat,
) -> Directive<Core> {
    Directive {
        name,
        scopes: Scopes::of(scopes),
        args: Arity::NONE,
        block: BlockKind::Opens(scope),
        repeat,
        ..Directive::DEFAULT
    }
}

/// A second feature with a type of its own.
#[derive(Default, Debug)]
pub struct Rewrite {
    pub condition: Option<Condition>,
    pub steps: Vec<(usize, String)>,
    pub status: Setting<u16>,
    pub text: Setting<Template>,
}

pub const REWRITE: &[Directive<Rewrite>] = &[
    Directive {
        name: "if",
        scopes: Scopes::of(&[SERVER, LOCATION]),
        args: Arity::at_least(1),
        block: BlockKind::Opens(IF),
        repeat: Repeat::Many,
        read: |args, w| {
            w.condition = Some(Condition::read(args)?);
            Ok(())
        },
        ..Directive::DEFAULT
    },
    Directive {
        name: "set",
        scopes: Scopes::of(&[SERVER, LOCATION, IF]),
        args: Arity::exactly(2),
        repeat: Repeat::Many,
        read: |args, w| {
            let position = args.order();
            let name = args.string()?;
            args.template()?;
            w.steps.push((position, name.value));
            Ok(())
        },
        ..Directive::DEFAULT
    },
    Directive {
        name: "return",
        scopes: Scopes::of(&[SERVER, LOCATION, IF]),
        args: Arity::between(1, 2),
        syntax: "code [text]",
        repeat: Repeat::Many,
        read: |args, w| {
            w.status.set(args.status(0..=999)?)?;
            if args.left() > 0 {
                w.text.set(args.template()?)?;
            }
            Ok(())
        },
        ..Directive::DEFAULT
    },
    Directive {
        name: "limit_req_status",
        scopes: HTTP_SERVER_LOCATION,
        syntax: "code",
        read: |args, w| w.status.set(args.status(400..=599)?),
        ..Directive::DEFAULT
    },
    Directive {
        name: "expires",
        scopes: HTTP_SERVER_LOCATION,
        read: |args, _| args.seconds().map(drop),
        ..Directive::DEFAULT
    },
    Directive {
        name: "worker_cpu_affinity",
        scopes: Scopes::of(&[MAIN]),
        args: Arity::at_least(1),
        read: |args, _| {
            args.rest();
            args.warn("\"worker_cpu_affinity\" has no meaning here and is ignored");
            Ok(())
        },
        ..Directive::DEFAULT
    },
];

pub struct House {
    pub registry: Registry,
    pub core: Handle<Core>,
    pub rewrite: Handle<Rewrite>,
}

pub fn house() -> House {
    let mut registry = Registry::new();
    let core = registry.add("core", CORE).unwrap();
    let rewrite = registry.add("rewrite", REWRITE).unwrap();
    House {
        registry,
        core,
        rewrite,
    }
}

/// Parses and walks; templates are left uncompiled.
pub fn check(files: &SourceSet, path: &str) -> (Tree, Level, Faults) {
    let (tree, mut faults) = Parser::new(files).parse(path);
    let level = house().registry.walk(&tree.root, MAIN, &(), &mut faults);
    (tree, level, faults)
}

/// The configuration in `text`, which must be good.
pub fn good(text: &str) -> Level {
    let files = SourceSet::of([("/n.conf", text)]);
    let (tree, level, faults) = check(&files, "/n.conf");
    assert!(
        faults.is_empty(),
        "{}",
        faults.render("test", &tree.sources, Style::Line)
    );
    level
}

/// The messages for the configuration in `text`, in the order of the text.
pub fn faults_of(text: &str) -> Vec<String> {
    let files = SourceSet::of([("/n.conf", text)]);
    let (tree, _, faults) = check(&files, "/n.conf");
    let rendered = faults.render("t", &tree.sources, Style::Line);
    rendered
        .lines()
        .filter(|line| line.starts_with("t: "))
        .map(str::to_owned)
        .collect()
}
