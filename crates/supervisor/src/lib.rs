//! A master that holds sockets and watches workers: spawn, readiness, heartbeat, respawn, reload, upgrade, drain.
