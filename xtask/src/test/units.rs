//! The units of `packaging/systemd` as they are, under a real systemd: first start by socket, reload and restart under load with nothing
//! lost, a watchdog that bites, the confinement in force, and sockets that are told apart by their names.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use testkit::Address;
use testkit::http::{Client, Response};

use super::Context;
use crate::container::{self, Container, Unable};
use crate::load::{Content, Load, Want};
use crate::workspace::{Profile, Workspace};

/// How often each thing is done under load.
const ROUNDS: usize = 3;
const APP: &str = include_str!("units.py");
const NGINX_CONF: &str = "
user www-data;
worker_processes 1;
pid /run/edge.pid;
error_log /var/log/nginx/error.log;
events { worker_connections 1024; }
http {
    access_log /var/log/nginx/access.log;
    upstream app { server unix:/run/appserver/app.sock; keepalive 8; }
    server {
        listen 80;
        listen [::]:80;
        add_header X-Release RELEASE;
        location / { proxy_pass http://app; }
    }
}
";
/// systemd's own words are longer than a test wants to wait.
const IMPATIENT: &str = "[Service]\nWatchdogSec=2s\nTimeoutStopSec=10s\n";
const EDGE: [&str; 2] = ["edge.service", "edge.socket"];
const APPSERVER: [&str; 2] = ["appserver.service", "appserver.socket"];

/// What is done with a container and its root.
type Part = fn(&Container, &Path) -> Result<(), String>;

/// The step "debian": makes what [`run`] boots.
pub fn debian(context: &Context<'_>) -> Result<String, String> {
    match container::root(context.workspace, &context.log) {
        Ok(_) => Ok(String::new()),
        Err(Unable(reason)) => context.cannot(reason),
    }
}

/// The step.
pub fn run(context: &Context<'_>) -> Result<String, String> {
    let root = match container::root(context.workspace, &context.log) {
        Ok(root) => root,
        Err(Unable(reason)) => return context.cannot(reason),
    };
    install(context.workspace, &root)
        .map_err(|error| format!("\"{}\": {error}", root.display()))?;
    let container = match Container::boot(&root, &context.log) {
        Ok(container) => container,
        Err(Unable(reason)) => return context.cannot(reason),
    };
    let parts: [(&str, Part); 4] = [
        ("appserver", appserver),
        ("appserver@my_shop", instance),
        ("named sockets", named),
        ("edge", edge),
    ];
    for (name, part) in parts {
        part(&container, &root).map_err(|problem| {
            let journal = container
                .journal(&[&APPSERVER[..], &EDGE, &["appserver@my_shop.service"]].concat());
            format!("{name}: {problem}\n{journal}")
        })?;
    }
    let version = container.systemctl(&["--version"])?;
    Ok(version.lines().next().unwrap_or_default().to_owned())
}

/// Puts everything where packages and people put it.
fn install(workspace: &Workspace, root: &Path) -> std::io::Result<()> {
    let program = |name: &str| workspace.program(Profile::Release, name);
    let at = |path: &str| root.join(path);
    let copy = |from: &Path, to: &str| -> std::io::Result<()> {
        let to = at(to);
        fs::create_dir_all(to.parent().unwrap_or(root))?;
        let _ = fs::remove_file(&to);
        fs::copy(from, to).map(drop)
    };
    let _ = fs::remove_dir_all(at("srv"));
    for entry in fs::read_dir(workspace.join("packaging/systemd"))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".service") || name.ends_with(".socket") {
            copy(&path, &format!("usr/lib/systemd/system/{name}"))?;
        }
    }
    let accounts = workspace.join("packaging/systemd/viaduct.sysusers.conf");
    copy(&accounts, "usr/lib/sysusers.d/viaduct.conf")?;
    copy(&program("edge"), "usr/bin/edge")?;
    for venv in ["srv/venv", "srv/my_shop/venv"] {
        copy(&program("appserver"), &format!("{venv}/bin/appserver"))?;
        let module = appserver_module();
        copy(&program(module), &format!("{venv}/bin/{module}"))?;
        fs::write(at(venv).join("pyvenv.cfg"), "home = /usr/bin\n")?;
        symlink("/usr/bin/python3", at(venv).join("bin/python3"))?;
    }
    for folder in [
        "srv/my_shop/my_shop",
        "srv/my_shop/media",
        "var/log/nginx",
        "etc/nginx",
    ] {
        fs::create_dir_all(at(folder))?;
    }
    fs::set_permissions(at("srv/my_shop/media"), fs::Permissions::from_mode(0o777))?;
    release(root, "one")?;
    nginx_conf(root, "one")
}

/// The extension as cargo names it.
fn appserver_module() -> &'static str {
    "libviaduct_worker.so"
}

/// Puts a release of the application in place.
fn release(root: &Path, name: &str) -> std::io::Result<()> {
    let folder = root.join("srv/my_shop/my_shop");
    fs::write(folder.join("__init__.py"), "")?;
    // Whole at once, and not with the time of the file before it.
    fs::write(folder.join("next.py"), APP.replace("RELEASE", name))?;
    let _ = fs::remove_dir_all(folder.join("__pycache__"));
    fs::rename(folder.join("next.py"), folder.join("wsgi.py"))
}

fn nginx_conf(root: &Path, name: &str) -> std::io::Result<()> {
    fs::write(
        root.join("etc/nginx/nginx.conf"),
        NGINX_CONF.replace("RELEASE", name),
    )
}

fn appserver(container: &Container, root: &Path) -> Result<(), String> {
    let place = Address::Unix(container.path("/run/appserver/app.sock"));
    let unit = APPSERVER[0];
    starts_by_its_socket(container, APPSERVER, || get(&place, "/"))?;
    expect(
        "STATUS",
        &container.property(unit, "StatusText")?,
        "4 workers serve",
    )?;
    confined(container, unit, "0000000000000000")?;
    let tried = get(&place, "/confined")?.text();
    expect("what the application may write", &tried, CONFINED)?;
    under_load(&place, "reload", |round| {
        let pid = container.main_pid(unit)?;
        let name = format!("r{round}");
        release(root, &name).map_err(|error| error.to_string())?;
        container.systemctl(&["reload", unit])?;
        container.until("the new release", || {
            let told = get(&place, "/release").ok()?.text();
            (told == name).then_some(())
        })?;
        expect("the main process", &container.main_pid(unit)?, &pid)
    })?;
    restarts(container, &place, unit)?;
    watchdog(container, unit, || get(&place, "/"))?;
    stops(container, APPSERVER)
}

/// The template of units, for one instance.
fn instance(container: &Container, _root: &Path) -> Result<(), String> {
    let units = ["appserver@my_shop.service", "appserver@my_shop.socket"];
    let place = Address::Unix(container.path("/run/appserver/my_shop.sock"));
    starts_by_its_socket(container, units, || get(&place, "/"))?;
    confined(container, units[0], "0000000000000000")?;
    expect(
        "what the application may write",
        &get(&place, "/confined")?.text(),
        CONFINED,
    )?;
    stops(container, units)
}

/// Sockets of several `.socket` units, each for what names it, and one that nothing listens on.
fn named(container: &Container, _root: &Path) -> Result<(), String> {
    const UNITS: [&str; 2] = ["appserver@my_shop.service", "appserver@my_shop.socket"];
    const BESIDE: [&str; 2] = ["metrics", "spare"];
    let write = |path: &str, text: &str| -> Result<(), String> {
        let there = container.path(&format!("/run/systemd/system/{path}"));
        let folder = there.parent().unwrap_or(&there);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&there, text))
            .map_err(|error| format!("{path}: {error}"))
    };
    for (unit, section) in [
        (UNITS[1], "[Socket]\nFileDescriptorName=web\n"),
        (
            UNITS[0],
            "[Service]\nEnvironment=\"GUNICORN_CMD_ARGS=--bind systemd:web --metrics-bind systemd:metrics\"\n",
        ),
    ] {
        write(&format!("{unit}.d/named.conf"), section)?;
    }
    for name in BESIDE {
        let unit = format!(
            "[Socket]\nListenStream=/run/appserver/{name}.sock\nFileDescriptorName={name}\nService={}\n",
            UNITS[0]
        );
        write(&format!("{name}.socket"), &unit)?;
    }
    container.systemctl(&["daemon-reload"])?;
    let place = |name: &str| Address::Unix(container.path(&format!("/run/appserver/{name}.sock")));
    let beside = BESIDE.map(|name| format!("{name}.socket"));
    container.systemctl(&["start", &beside[0], &beside[1]])?;
    starts_by_its_socket(container, UNITS, || get(&place("my_shop"), "/"))?;
    let metrics = get(&place("metrics"), "/metrics")?.text();
    if !metrics.contains("\n# TYPE ") {
        return Err(format!("no metrics at the socket of that name: {metrics}"));
    }
    let unused = "nothing listens on what the service manager gave: \"spare\" (unix:/run/appserver/spare.sock)";
    container.until("a line about the socket that nothing names", || {
        container
            .journal(&[UNITS[0]])
            .contains(unused)
            .then_some(())
    })?;
    container.systemctl(&["stop", &beside[0], &beside[1]])?;
    stops(container, UNITS)
}

fn edge(container: &Container, root: &Path) -> Result<(), String> {
    let place = Address::parse("127.0.0.1:80").ok_or("an address")?;
    let unit = EDGE[0];
    container.systemctl(&["start", APPSERVER[1]])?;
    starts_by_its_socket(container, EDGE, || {
        container.in_network(|| get(&place, "/"))
    })?;
    // What the unit lists, and no more.
    confined(container, unit, "00000000000004eb")?;
    container.in_network(|| {
        under_load(&place, "reload", |round| {
            let pid = container.main_pid(unit)?;
            let name = format!("r{round}");
            nginx_conf(root, &name).map_err(|error| error.to_string())?;
            container.systemctl(&["reload", unit])?;
            container.until("the new configuration", || {
                let told = get(&place, "/").ok()?.field("X-Release");
                (told.as_ref() == Some(&name)).then_some(())
            })?;
            expect("the main process", &container.main_pid(unit)?, &pid)
        })?;
        let conf = root.join("etc/nginx/nginx.conf");
        fs::write(&conf, "no_such_directive;\n").map_err(|error| error.to_string())?;
        if container.systemctl(&["reload", unit]).is_ok() {
            return Err("a reload with a broken configuration succeeded".to_owned());
        }
        get(&place, "/")?;
        nginx_conf(root, "last").map_err(|error| error.to_string())?;
        restarts(container, &place, unit)?;
        watchdog(container, unit, || get(&place, "/"))
    })?;
    stops(container, EDGE)?;
    stops(container, APPSERVER)
}

/// systemd listens, and the first request starts the service.
fn starts_by_its_socket(
    container: &Container,
    [service, socket]: [&str; 2],
    get: impl Fn() -> Result<Response, String>,
) -> Result<(), String> {
    container.systemctl(&["start", socket])?;
    expect(
        "the service before",
        &container.property(service, "ActiveState")?,
        "inactive",
    )?;
    expect("the first answer", &get()?.text(), &whole())?;
    // The first worker answers before all of them do, and READY=1 is said then.
    container.until("the service as active", || {
        let state = container.property(service, "ActiveState").ok()?;
        (state == "active").then_some(())
    })
}

fn stops(container: &Container, units: [&str; 2]) -> Result<(), String> {
    let words: Vec<_> = std::iter::once("stop").chain(units).collect();
    container.systemctl(&words)?;
    expect(
        "the result",
        &container.property(units[0], "Result")?,
        "success",
    )?;
    expect(
        "the state",
        &container.property(units[0], "ActiveState")?,
        "inactive",
    )
}

/// What the kernel knows of the main process: no new privileges, a filter of system calls, no more capabilities than these.
fn confined(container: &Container, unit: &str, capabilities: &str) -> Result<(), String> {
    let status = container.read(&format!("/proc/{}/status", container.main_pid(unit)?))?;
    for (name, value) in [
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("CapBnd", capabilities),
        ("CapEff", capabilities),
    ] {
        let found = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        expect(name, found.unwrap_or_default().trim(), value)?;
    }
    Ok(())
}

/// Does something several times while clients ask, who must not notice.
fn under_load(
    place: &Address,
    what: &str,
    mut act: impl FnMut(usize) -> Result<(), String>,
) -> Result<(), String> {
    let wants = [1, 1, 7, 100].map(|requests_per_connection| Want {
        target: "/".to_owned(),
        content: Content::Same(Arc::new(whole().into_bytes())),
        requests_per_connection,
    });
    let load = Load::start(place.clone(), wants.into());
    for round in 0..ROUNDS {
        load.settle()?;
        act(round).map_err(|problem| format!("{what} {round}: {problem}"))?;
        load.settle()?;
        let failures = load.take_failures();
        if let Some(first) = failures.first() {
            let count = failures.len();
            return Err(format!(
                "{what} {round}: {count} requests failed, the first: {first}"
            ));
        }
    }
    Ok(())
}

fn restarts(container: &Container, place: &Address, unit: &str) -> Result<(), String> {
    under_load(place, "restart", |_| {
        let before = container.main_pid(unit)?;
        container.systemctl(&["restart", unit])?;
        if container.main_pid(unit)? == before {
            return Err("the process is the same".to_owned());
        }
        Ok(())
    })
}

/// A main process that stands still is ended by systemd's watchdog, and started anew.
fn watchdog(
    container: &Container,
    unit: &str,
    get: impl Fn() -> Result<Response, String>,
) -> Result<(), String> {
    let folder = format!("/run/systemd/system/{unit}.d");
    let there = container.path(&folder);
    fs::create_dir_all(&there)
        .and_then(|()| fs::write(there.join("impatient.conf"), IMPATIENT))
        .map_err(|error| format!("{folder}: {error}"))?;
    container.systemctl(&["daemon-reload"])?;
    container.systemctl(&["restart", unit])?;
    expect(
        "restarts before",
        &container.property(unit, "NRestarts")?,
        "0",
    )?;
    let before = container.main_pid(unit)?;
    // It is fed: longer than the limit, nothing happens. The time is what is tested.
    std::thread::sleep(std::time::Duration::from_secs(5));
    expect(
        "the process that lives",
        &container.main_pid(unit)?,
        &before,
    )?;
    crate::process::output(container.command("kill").args(["-STOP", &before]))?;
    container.until("the restart by the watchdog", || {
        let restarts = container.property(unit, "NRestarts").ok()?;
        let active = container.property(unit, "ActiveState").ok()?;
        (restarts == "1" && active == "active").then_some(())
    })?;
    expect("the answer after it", &get()?.text(), &whole())?;
    if !container.journal(&[unit]).contains("Watchdog timeout") {
        return Err("the journal does not name the watchdog".to_owned());
    }
    Ok(())
}

const CONFINED: &str = "/etc/x: Read-only file system
/srv/my_shop/x: Read-only file system
/home/x: Read-only file system
/srv/my_shop/media/x: written
/var/lib/my_shop/x: written
/tmp/x: written
";

/// What the application answers.
fn whole() -> String {
    "whole\n".repeat(2000)
}

fn get(place: &Address, target: &str) -> Result<Response, String> {
    let told = |error: &dyn std::fmt::Display| format!("GET {target} at {place}: {error}");
    let mut client = Client::connect(place.clone()).map_err(|error| told(&error))?;
    client
        .wire()
        .set_patience(std::time::Duration::from_secs(60));
    client
        .ask("GET", target, &[("Connection", "close")])
        .and_then(|()| client.response())
        .map_err(|error| told(&error))
        .and_then(|response| match response.status {
            200 => Ok(response),
            status => Err(told(&format!("status {status}"))),
        })
}

fn expect(what: &str, found: &str, wanted: &str) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    let short = |text: &str| text.chars().take(500).collect::<String>();
    Err(format!(
        "{what}: {:?}, not {:?}",
        short(found),
        short(wanted)
    ))
}
