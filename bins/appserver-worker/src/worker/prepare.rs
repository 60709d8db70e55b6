//! What happens between the fork and the first connection: settings are read, logs opened, the application is loaded.

use std::sync::Arc;
use std::time::Instant;

use appserver_protocol::{Settings, Settled, WorkerSettings, exit};
use pyo3::prelude::*;
use supervisor::Link;
use wsgi_bridge::{Hooks, WsgiService};

use super::{App, Failure, Worker};
use crate::access::{AccessLog, Format};
use crate::asgi::{self, Asgi};
use crate::both::Both;
use crate::gateway::Gateway;
use crate::hooks::WorkerHooks;
use crate::peers::Peers;
use crate::reports::{reports, set_access};
use crate::retire::Limits;
use crate::room::Room;
use crate::settings;
use crate::statics::{Files, Mounts};

/// Makes a worker and its application ready.
///
/// # Errors
/// [`Failure`]: with what status the worker ends instead.
pub(super) fn prepare(
    py: Python<'_>,
    python: &Bound<'_, PyModule>,
    settled: &Settled,
    link: &Link,
) -> Result<(Worker, App), Failure> {
    let boot_failure = |message: String| Failure {
        exit: exit::WORKER_BOOT,
        message,
    };
    let settings = in_force(python, settled)?;
    let age = python.getattr("State")?.getattr("worker")?.getattr("age")?;
    let access = open_access_log(&settings, age.extract()?).map_err(boot_failure)?;
    if let Some(reports) = reports() {
        reports.forked();
    }
    set_access(access.clone());
    raise_open_files();
    let event_loop = match settings.is_asgi() {
        true => Some(asgi::EventLoop::new(py, &settings)?),
        false => None,
    };
    let application = python
        .call_method0("boot")
        .map_err(|error| boot_error(py, &error))?
        .unbind();
    // Its hooks have run.
    let settings = in_force(python, settled)?;
    // As many calls as there are connections can be under way on an event loop.
    let at_a_time = match settings.worker_connections {
        _ if !settings.is_asgi() => settings.threads,
        0 => u32::MAX,
        limit => limit,
    };
    let room = Room::of(&settings);
    let peers = Arc::new(Peers::join(at_a_time.max(1)));
    let hooks = WorkerHooks::new(
        link.board().clone(),
        peers.clone(),
        room.clone(),
        access.clone(),
        python,
        settings.metrics_bind.is_some(),
    )?;
    let hooks = Arc::new(hooks);
    let variable = |name: &str| -> PyResult<Option<String>> {
        py.import("os")?
            .getattr("environ")?
            .call_method1("get", (name,))?
            .extract()
    };
    let format = access.as_ref().map(|access| access.format());
    let script_name = variable("SCRIPT_NAME")?.unwrap_or_default();
    let mut bridge = settings::translate(
        &settings,
        format,
        script_name,
        variable("SENDFILE")?.as_deref(),
    )
    .map_err(boot_failure)?;
    bridge.log_fields |= hooks.surrounds();
    if hooks.python_requests() {
        // Something that is always there when the application was called.
        bridge.log_environ = vec!["REQUEST_METHOD".to_owned()];
    }
    let names = python.call_method0("server_names")?;
    let (field, software): (Option<String>, String) = names.extract()?;
    if let Some(field) = field {
        // Once in the life of a process.
        let field: &'static str = Box::leak(field.into_boxed_str());
        bridge.server = Some(field).filter(|field| !field.is_empty());
    }
    bridge.server_software = software;
    let files = Mounts::settled().map(|mounts| Files {
        mounts,
        hooks: hooks.clone(),
        server: bridge.server,
        log_fields: bridge.log_fields || hooks.python_requests(),
    });
    Gateway::settle(&settings).map_err(boot_failure)?;
    let threads = settings.threads.max(1) as usize;
    let app = match event_loop {
        Some(event_loop) => {
            let flush = flusher(access.clone());
            let app = Asgi::start(
                py,
                application,
                bridge,
                &settings,
                &hooks,
                event_loop,
                flush,
            )?;
            App::Asgi(Box::new(app))
        }
        None => {
            let service =
                WsgiService::new(py, application, bridge.clone(), hooks.clone(), threads)?;
            if settings.has_both() {
                let beside = python.call_method0("application_beside")?.unbind();
                let board = link.board().clone();
                let both = Both::start(py, service, beside, bridge, &settings, &hooks, board)?;
                App::Both(Box::new(both))
            } else {
                App::Wsgi(Box::new(service))
            }
        }
    };
    // Hooks may have changed it; chance has added its part already.
    let most: u64 = python
        .getattr("State")?
        .getattr("worker")?
        .getattr("max_requests")?
        .extract()
        .unwrap_or_default();
    let settings = WorkerSettings {
        max_requests: most % i64::MAX.cast_unsigned(),
        max_requests_jitter: 0,
        ..settings
    };
    let random = py.import("random")?;
    let chance = || random.call_method0("random")?.extract();
    let (limits, warning) =
        Limits::draw([chance()?, chance()?, chance()?], &settings, Instant::now());
    if let Some(warning) = warning {
        hooks.log(wsgi_bridge::Level::Warning, &warning);
    }
    if let Some(most) = limits.requests() {
        hooks.wake_after(most);
    }
    Ok((
        Worker {
            python: python.clone().unbind(),
            settings,
            hooks,
            peers,
            room,
            board: link.board().clone(),
            access,
            limits,
            files,
        },
        app,
    ))
}

/// The settings, with what hooks have changed.
fn in_force(python: &Bound<'_, PyModule>, settled: &Settled) -> Result<WorkerSettings, Failure> {
    let told: String = python.call_method0("changed_settings")?.extract()?;
    let changed = serde_json::from_str::<Settings>(&told).map_err(|error| error.to_string());
    let settings = changed.and_then(|changed| {
        let mut settings = settled.settings.clone();
        settings.0.extend(changed.0);
        settings.worker().map_err(|error| error.to_string())
    });
    settings.map_err(|message| Failure {
        exit: exit::WORKER_BOOT,
        message,
    })
}

/// Writes out what the access log and the reports have gathered.
pub(super) fn flusher(access: Option<Arc<AccessLog>>) -> impl Fn() + Send + Sync + 'static {
    move || {
        access.iter().for_each(|access| access.flush());
        if let Some(reports) = reports() {
            reports.flush();
        }
    }
}

/// The exit status and the line of a `BootFailure`.
fn boot_error(py: Python<'_>, error: &PyErr) -> Failure {
    let told = error
        .value(py)
        .getattr("args")
        .and_then(|args| args.extract::<(i32, String)>());
    told.map_or_else(
        |_| Failure {
            exit: exit::WORKER_BOOT,
            message: error.to_string(),
        },
        |(exit, message)| Failure { exit, message },
    )
}

fn open_access_log(settings: &WorkerSettings, age: u64) -> Result<Option<Arc<AccessLog>>, String> {
    let (path, to_syslog) = (settings.accesslog.as_deref(), settings.access_to_syslog());
    if path.is_none() && !to_syslog {
        return Ok(None);
    }
    let format = Format::read(&settings.access_log_format)?;
    AccessLog::open(path, to_syslog, format, age)
        .map(|log| Some(Arc::new(log)))
        .map_err(|error| error.to_string())
}

/// As many open files as the system lets us have: a thousand idle connections are nothing unusual.
fn raise_open_files() {
    const ENOUGH: u64 = 65_536;
    let _ = supervisor::process::raise_open_files(Some(ENOUGH));
}
