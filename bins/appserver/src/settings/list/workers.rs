//! Workers: how many, of which kind, for how long.

use super::{Kind, Preset, Section, setting};

pub(super) const WORKERS: Section = Section {
    title: "Workers",
    settings: &[
        setting(
            "workers",
            &["-w", "--workers"],
            "INT",
            Kind::Count,
            Preset::Number(1),
            "The number of worker processes.",
        )
        .or_variable("WEB_CONCURRENCY"),
        setting(
            "worker_class",
            &["-k", "--worker-class"],
            "STRING",
            Kind::Class,
            Preset::Text("sync"),
            "The kind of worker: sync, gthread or asgi. All read requests and write responses without blocking. A WSGI application \
             (sync) is called on the connection's thread, or, with --threads (gthread), in one of several; an ASGI application \
             (asgi, and uvicorn.workers.UvicornWorker or uvicorn_worker.UvicornWorker, which are taken for it) on an event loop. Or a class \
             that derives from one of gunicorn's or uvicorn's, by its dotted name: CONFIG_KWARGS of uvicorn's are taken for settings, \
             methods of one's own are refused, for nothing calls them.",
        ),
        setting(
            "threads",
            &["--threads"],
            "INT",
            Kind::Count,
            Preset::Number(1),
            "The number of threads in each worker that run the application. More than 1 makes the workers gthread.",
        ),
        setting(
            "worker_connections",
            &["--worker-connections"],
            "INT",
            Kind::Count,
            Preset::Number(1000),
            "The most connections that are open in a worker with several threads; more wait until another ends. As many as there are \
             threads are left for new ones: those beyond are closed after their response instead of being kept. An ASGI worker has \
             such a limit only where this is written. 0 for none.",
        ),
        setting(
            "max_requests",
            &["--max-requests"],
            "INT",
            Kind::Count,
            Preset::Number(0),
            "The requests after which a worker is replaced; 0 for never. The next one is ready before it goes.",
        ),
        setting(
            "max_requests_jitter",
            &["--max-requests-jitter"],
            "INT",
            Kind::Count,
            Preset::Number(0),
            "Up to so many requests are added to max_requests, by chance, so that not all workers are replaced together.",
        ),
        setting(
            "worker_max_rss",
            &["--worker-max-rss"],
            "SIZE",
            Kind::Size,
            Preset::Number(0),
            "The resident memory with which a worker is replaced, in bytes or with k, m or g (512m); 0 for any. Up to a tenth is taken \
             away, by chance, so that not all workers are replaced together. The next one is ready before it goes; requests that run are \
             finished. Memory that workers share counts too. Not a setting of gunicorn's.",
        ),
        setting(
            "worker_max_lifetime",
            &["--worker-max-lifetime"],
            "TIME",
            Kind::Span,
            Preset::Number(0),
            "The time after which a worker is replaced, in seconds or with s, m, h or d (12h); 0 for never. Up to a tenth is taken away, \
             by chance, so that not all workers are replaced together. The next one is ready before it goes; requests that run are \
             finished. Not a setting of gunicorn's.",
        ),
        setting(
            "timeout",
            &["-t", "--timeout"],
            "INT",
            Kind::Count,
            Preset::Number(30),
            "The seconds that one request may run, in any kind of worker, before its worker is ended (SIGABRT, then SIGKILL) \
             and replaced; the log tells which request it was and where it was stuck. 0 for ever. Importing the application \
             may take twice as long, and a minute at least.",
        ),
        setting(
            "graceful_timeout",
            &["--graceful-timeout"],
            "INT",
            Kind::Count,
            Preset::Number(30),
            "The seconds that requests have to finish when workers are told to end.",
        ),
        setting(
            "keepalive",
            &["--keep-alive"],
            "INT",
            Kind::Count,
            Preset::Number(2),
            "The seconds that a connection may be idle between requests; 0 closes it after each response.",
        ),
    ],
};
