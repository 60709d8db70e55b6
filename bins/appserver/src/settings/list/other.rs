//! What belongs elsewhere, or means nothing here.

use super::{Kind, Preset, Section, Setting, in_file, setting};

const NO_DIRTY: &str =
    "there is no second pool of processes; give slow jobs to a queue such as Celery or RQ";
const NO_PASTE: &str = "PasteDeploy files are not read; make a module with \
     `application = paste.deploy.loadapp('config:/srv/site/production.ini')`, and name it as module:application";

const fn number(
    name: &'static str,
    flags: &'static [&'static str],
    default: i64,
    doc: &'static str,
) -> Setting {
    setting(
        name,
        flags,
        "INT",
        Kind::Count,
        Preset::Number(default),
        doc,
    )
}

const fn text(
    name: &'static str,
    flags: &'static [&'static str],
    metavar: &'static str,
    doc: &'static str,
) -> Setting {
    setting(name, flags, metavar, Kind::Text, Preset::Nothing, doc)
}

pub(super) const ASGI: Section = Section {
    title: "ASGI",
    settings: &[
        text(
            "asgi_app",
            &["--asgi"],
            "APP_MODULE",
            "An ASGI application beside the WSGI one, on the same addresses: module, module:name or module:factory('literal'). Each \
             worker runs it on an event loop in a thread of its own. It gets every WebSocket, and what asgi_paths names; the WSGI \
             application gets the rest. Not for -k asgi, whose application is the only one.",
        ),
        setting(
            "asgi_paths",
            &["--asgi-path"],
            "PREFIX",
            Kind::List,
            Preset::List(&[]),
            "Requests whose path begins with PREFIX go to the application of asgi_app: /ws/ takes /ws/chat, not /ws and not /wsx; /ws \
             takes /ws and /ws/chat. May be repeated.",
        ),
        setting(
            "asgi_loop",
            &["--asgi-loop"],
            "STRING",
            Kind::Choice(&["auto", "asyncio", "uvloop"]),
            Preset::Text("auto"),
            "The event loop of ASGI workers; auto is uvloop where it is installed, but asyncio's with uvicorn's class UvicornH11Worker.",
        ),
        setting(
            "asgi_lifespan",
            &["--asgi-lifespan"],
            "STRING",
            Kind::Choice(&["auto", "on", "off"]),
            Preset::Text("auto"),
            "Whether ASGI applications are told of start and end: auto tells those that listen, on demands it, off tells nobody. An \
             application that says it cannot start ends the server.",
        ),
        number(
            "asgi_disconnect_grace_period",
            &["--asgi-disconnect-grace-period"],
            3,
            "The seconds that an ASGI application may go on after its client has left (http.disconnect) before it is cancelled. With \
             uvicorn's worker class nothing is cancelled.",
        ),
        number(
            "websocket_max_message_size",
            &["--websocket-max-message-size"],
            16_777_216,
            "The largest message of a WebSocket in bytes; a larger one closes it (1009). 0 for any.",
        ),
        number(
            "ws_ping_interval",
            &["--ws-ping-interval"],
            20,
            "The seconds between pings of a WebSocket; 0 for none.",
        ),
        number(
            "ws_ping_timeout",
            &["--ws-ping-timeout"],
            20,
            "The seconds that the answer to a ping may take before a WebSocket is closed; 0 for ever.",
        ),
        setting(
            "root_path",
            &["--root-path"],
            "STRING",
            Kind::Text,
            Preset::Text(""),
            "The root_path of ASGI applications.",
        ),
    ],
};

pub(super) const ELSEWHERE: Section = Section {
    title: "Without a meaning here",
    settings: &[
        setting(
            "http_parser",
            &["--http-parser"],
            "STRING",
            Kind::Choice(&["auto", "fast", "python"]),
            Preset::Text("auto"),
            "Which code parses requests.",
        )
        .accepted("there is one parser, and it is fast"),
        text(
            "paste",
            &["--paste", "--paster"],
            "STRING",
            "A PasteDeploy file.",
        )
        .refused(NO_PASTE),
        setting(
            "raw_paste_global_conf",
            &["--paste-global"],
            "CONF",
            Kind::List,
            Preset::List(&[]),
            "A value for PasteDeploy.",
        )
        .refused(NO_PASTE),
        setting(
            "dirty_apps",
            &["--dirty-app"],
            "STRING",
            Kind::List,
            Preset::List(&[]),
            "Applications of the second pool.",
        )
        .refused(NO_DIRTY),
        number(
            "dirty_workers",
            &["--dirty-workers"],
            0,
            "Size of the second pool.",
        )
        .refused(NO_DIRTY),
        number(
            "dirty_timeout",
            &["--dirty-timeout"],
            300,
            "Timeout of the second pool.",
        )
        .refused(NO_DIRTY),
        number(
            "dirty_threads",
            &["--dirty-threads"],
            1,
            "Threads of the second pool.",
        )
        .refused(NO_DIRTY),
        number(
            "dirty_graceful_timeout",
            &["--dirty-graceful-timeout"],
            30,
            "Patience of the second pool.",
        )
        .refused(NO_DIRTY),
        in_file(
            "on_dirty_starting",
            Kind::Hook,
            Preset::Nothing,
            "A hook of the second pool.",
        )
        .refused(NO_DIRTY),
        in_file(
            "dirty_post_fork",
            Kind::Hook,
            Preset::Nothing,
            "A hook of the second pool.",
        )
        .refused(NO_DIRTY),
        in_file(
            "dirty_worker_init",
            Kind::Hook,
            Preset::Nothing,
            "A hook of the second pool.",
        )
        .refused(NO_DIRTY),
        in_file(
            "dirty_worker_exit",
            Kind::Hook,
            Preset::Nothing,
            "A hook of the second pool.",
        )
        .refused(NO_DIRTY),
    ],
};
