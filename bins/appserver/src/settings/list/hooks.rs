//! Functions of the configuration file.

use super::{Kind, Preset, Section, Setting, in_file};

const fn hook(name: &'static str, doc: &'static str) -> Setting {
    in_file(name, Kind::Hook, Preset::Nothing, doc)
}

pub(super) const HOOKS: Section = Section {
    title: "Hooks",
    settings: &[
        hook(
            "on_starting",
            "on_starting(server): in the template, before the sockets are opened.",
        ),
        hook(
            "on_reload",
            "on_reload(server): in the new template, after the configuration was read afresh.",
        ),
        hook("when_ready", "when_ready(server): the sockets are open."),
        hook(
            "pre_fork",
            "pre_fork(server, worker): in the template, before a worker is forked.",
        ),
        hook(
            "post_fork",
            "post_fork(server, worker): in the worker, before the application is imported.",
        ),
        hook(
            "post_worker_init",
            "post_worker_init(worker): in the worker, when the application is imported.",
        ),
        hook(
            "worker_int",
            "worker_int(worker): the worker got SIGINT or SIGQUIT.",
        ),
        hook(
            "worker_abort",
            "worker_abort(worker): the worker got SIGABRT, for a request ran longer than timeout.",
        ),
        hook(
            "pre_exec",
            "pre_exec(server): before a new binary is started (USR2).",
        ),
        hook(
            "pre_request",
            "pre_request(worker, req): before a request is handled. Not for WebSockets.",
        ),
        hook(
            "post_request",
            "post_request(worker, req, environ, resp): after a request; two to four arguments. Not for WebSockets.",
        ),
        hook(
            "child_exit",
            "child_exit(server, worker): in the template, after a worker ended.",
        ),
        hook(
            "worker_exit",
            "worker_exit(server, worker): in the worker, before it ends.",
        ),
        hook(
            "nworkers_changed",
            "nworkers_changed(server, new, old): at the start (old is None), and on TTIN and TTOU.",
        ),
        hook(
            "on_exit",
            "on_exit(server): in the template, before the master ends.",
        ),
        in_file(
            "ssl_context",
            Kind::Hook,
            Preset::Nothing,
            "ssl_context(config, default_factory): gives Python's SSLContext.",
        )
        .refused("connections are not made by Python's ssl module; certfile, keyfile, ca_certs, cert_reqs and ciphers say what TLS needs, and only 1.2 and 1.3 are spoken"),
    ],
};
