//! How the server is looked into and controlled while it runs.

use super::{Kind, Preset, Section, setting, switch};

pub(super) const WATCHING: Section = Section {
    title: "Control and metrics",
    settings: &[
        setting(
            "control_socket",
            &["--control-socket"],
            "PATH",
            Kind::Text,
            Preset::Nothing,
            "The unix socket for `appserver ctl` (and gunicorn's gunicornc). The default is gunicorn.ctl in $XDG_RUNTIME_DIR, or in \
             ~/.gunicorn; where another server listens there already, this one does without. systemd:NAME is a socket that systemd \
             passes under that name.",
        ),
        setting(
            "control_socket_mode",
            &["--control-socket-mode"],
            "INT",
            Kind::Mode,
            Preset::Number(0o600),
            "The mode of that socket: who may control the server; octal with a leading 0.",
        ),
        switch(
            "control_socket_disable",
            &["--no-control-socket"],
            "Do without that socket.",
        ),
        setting(
            "metrics_bind",
            &["--metrics-bind"],
            "ADDRESS",
            Kind::Text,
            Preset::Nothing,
            "Where Prometheus reads metrics (any path): HOST:PORT, unix:PATH, or systemd:NAME for a socket that systemd passes under that \
             name. Connections that wait (TCP), how long requests wait and \
             take, busy workers, their memory, and why workers were replaced. Not a setting of gunicorn's.",
        ),
    ],
};
