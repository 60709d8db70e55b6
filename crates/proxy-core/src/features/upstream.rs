//! `upstream`: named groups of origin servers. Other features find them by name.

use std::sync::Arc;
use std::time::Duration;

use nginx_conf::{Args, Arity, BlockKind, Fault, List, PeerAddress, Repeat, Setting, Spanned};

use crate::client::PoolSettings;
use crate::engine::compile::Settling;
use crate::engine::scopes::{HTTP_ONLY, UPSTREAM, UPSTREAM_ONLY};
use crate::feature::{Directive, Feature};
use crate::upstream::{Group, Line, Source, Terms};

/// The feature.
pub struct Upstream;

/// What the block says.
#[derive(Default)]
pub struct Written {
    name: Setting<String>,
    servers: List<ServerLine>,
    keepalive: Setting<usize>,
    keepalive_timeout: Setting<Duration>,
    keepalive_requests: Setting<u64>,
    keepalive_time: Setting<Duration>,
}

#[derive(Clone)]
struct ServerLine {
    address: Spanned<PeerAddress>,
    terms: Terms,
}

type D = Directive<Written>;

const PARAMETERS: &[&str] = &[
    "weight=",
    "max_conns=",
    "max_fails=",
    "fail_timeout=",
    "backup",
    "down",
    "resolve",
];

impl Feature for Upstream {
    type Written = Written;
    type Settled = ();
    const NAME: &'static str = "upstream";
    const DIRECTIVES: &'static [D] = &[
        D {
            name: "upstream",
            scopes: HTTP_ONLY,
            block: BlockKind::Opens(UPSTREAM),
            repeat: Repeat::Many,
            syntax: "name",
            doc: "A group of origin servers that `proxy_pass` can name.",
            read: |args, written| written.name.set(args.string()?),
            ..D::DEFAULT
        },
        D {
            name: "server",
            scopes: UPSTREAM_ONLY,
            args: Arity::at_least(1),
            repeat: Repeat::Many,
            syntax: "address [weight=n] [max_conns=n] [max_fails=n] [fail_timeout=time] [backup] [down]",
            doc: "An origin server of the group: a name (all of its addresses, looked up again when they expire), an address or a unix socket.",
            read: read_server,
            ..D::DEFAULT
        },
        D {
            name: "keepalive",
            scopes: UPSTREAM_ONLY,
            args: Arity::between(1, 2),
            syntax: "connections [local]",
            default: "32 local",
            doc: "The most idle connections to the group that a thread keeps; 0 keeps none.",
            read: |args, written| {
                let connections = args.number(0..=65_535_usize)?;
                if let Some(word) = args.next()
                    && word.text() != "local"
                {
                    return Err(word.unknown_parameter(&["local"]));
                }
                written.keepalive.set(connections)
            },
            ..D::DEFAULT
        },
        D {
            name: "keepalive_timeout",
            scopes: UPSTREAM_ONLY,
            syntax: "timeout",
            default: "60s",
            doc: "How long a connection to the group may be idle.",
            read: |args, written| written.keepalive_timeout.set(args.duration()?),
            ..D::DEFAULT
        },
        D {
            name: "keepalive_requests",
            scopes: UPSTREAM_ONLY,
            syntax: "number",
            default: "1000",
            doc: "How many requests a connection to the group may carry.",
            read: |args, written| written.keepalive_requests.set(args.number(1..=u64::MAX)?),
            ..D::DEFAULT
        },
        D {
            name: "keepalive_time",
            scopes: UPSTREAM_ONLY,
            syntax: "time",
            default: "1h",
            doc: "How old a connection to the group may become and still be used again.",
            read: |args, written| written.keepalive_time.set(args.duration()?),
            ..D::DEFAULT
        },
        D {
            name: "zone",
            scopes: UPSTREAM_ONLY,
            args: Arity::between(1, 2),
            syntax: "name [size]",
            doc: "Accepted: the state of a group is shared by all threads in any case.",
            read: |args, _| {
                args.string()?;
                if let Some(size) = args.next() {
                    size.size()?;
                }
                Ok(())
            },
            ..D::DEFAULT
        },
    ];

    fn settle(&self, written: Written, _: Option<&Arc<()>>, at: &mut Settling<'_>) -> Arc<()> {
        if at.scope == UPSTREAM
            && let Some(name) = written.name.spanned()
        {
            settle_group(name, &written, at);
        }
        Arc::new(())
    }
}

fn settle_group(name: &Spanned<String>, written: &Written, at: &mut Settling<'_>) {
    if written.servers.is_empty() {
        let fault =
            Fault::new(format!("no servers are inside upstream \"{}\"", name.value)).at(name.span);
        at.fault(fault.help("add a line such as server 127.0.0.1:8000;"));
        return;
    }
    if written
        .servers
        .iter()
        .all(|server| server.value.terms.backup)
    {
        let fault = Fault::new(format!(
            "no servers are inside upstream \"{}\" but backups",
            name.value
        ))
        .at(name.span);
        at.fault(fault.help("take \"backup\" out of one of the lines"));
    }
    let defaults = PoolSettings::default();
    let pool = PoolSettings {
        idle_max: written.keepalive.settle(None, || defaults.idle_max),
        idle_timeout: written
            .keepalive_timeout
            .settle(None, || defaults.idle_timeout),
        requests_max: written
            .keepalive_requests
            .settle(None, || defaults.requests_max),
        time_max: written.keepalive_time.settle(None, || defaults.time_max),
    };
    let lines = written.servers.iter().map(|server| Line {
        source: Source::of(&server.value.address.value, 80),
        terms: server.value.terms.clone(),
    });
    let group = Group::new(&name.value, lines.collect(), pool, at.zones());
    if !at.add_upstream(&name.value, Arc::new(group)) {
        at.fault(
            Fault::new(format!("duplicate upstream \"{}\"", name.value))
                .at(name.span)
                .help("choose another name"),
        );
    }
}

fn read_server(args: &mut Args<'_>, written: &mut Written) -> Result<(), Fault> {
    let address = args.peer_address()?;
    let mut terms = Terms::default();
    for arg in args.by_ref() {
        if let Some(value) = arg.keyed("weight") {
            terms.weight = value.number(1..=1_000_000_u32)?.value;
        } else if let Some(value) = arg.keyed("max_conns") {
            terms.max_conns = value.number(0..=u32::MAX)?.value;
        } else if let Some(value) = arg.keyed("max_fails") {
            terms.max_fails = value.number(0..=u32::MAX)?.value;
        } else if let Some(value) = arg.keyed("fail_timeout") {
            terms.fail_timeout = value.seconds()?.value;
        } else {
            match arg.text() {
                "backup" => terms.backup = true,
                "down" => terms.down = true,
                // Names are looked up again in any case.
                "resolve" => {}
                text if ["slow_start=", "service=", "route=", "drain"]
                    .iter()
                    .any(|known| text.starts_with(known)) =>
                {
                    return Err(arg
                        .fault(format!("\"{text}\" of \"server\" is not supported yet"))
                        .help("take the parameter out"));
                }
                _ => return Err(arg.unknown_parameter(PARAMETERS)),
            }
        }
    }
    let span = address.span;
    written.servers.push(Spanned {
        value: ServerLine { address, terms },
        span,
    })
}
