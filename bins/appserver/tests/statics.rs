//! Files in front of the application, and how files leave that are sent: these and the application's own.

mod support;

use std::os::unix::fs::symlink;

use support::{Server, Setup, saying};
use testkit::http::Response;

const ASGI: &str = "
async def application(scope, receive, send):
    if scope['type'] == 'lifespan':
        while True:
            event = (await receive())['type']
            await send({'type': event + '.complete'})
            if event == 'lifespan.shutdown':
                return
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'the application'})
";

/// A site with a few files.
fn site(app: &str) -> Setup {
    let setup = Setup::new(app).args(&["--access-logfile", "access.log"]);
    for folder in ["files/css", "files/empty", "media"] {
        std::fs::create_dir_all(setup.prefix.join(folder)).unwrap();
    }
    setup
        .file("files/app.css", "a { color: red }")
        .file("files/css/index.html", "<p>index</p>")
        .file("files/app.5f3c1b2d9e0a.js", "1")
        .file("files/a b.txt", "blank")
        .file("media/app.css", "media")
        .file("secret.txt", "secret")
        .args(&[
            "--static",
            "/static=./files",
            "--static",
            "/static/media/=media",
        ])
}

fn ask(server: &Server, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
    let mut client = server.client();
    client.ask(method, target, fields).unwrap();
    client.response().unwrap()
}

fn is_served(server: &Server) {
    for (target, status, text) in [
        ("/", 200, "the application"),
        ("/static", 200, "the application"),
        ("/staticfiles/app.css", 200, "the application"),
        ("/static/../app.css", 200, "the application"),
        ("/static/app.css", 200, "a { color: red }"),
        ("/static/a%20b.txt", 200, "blank"),
        ("/static/./css//index.html", 200, "<p>index</p>"),
        ("/static/css/", 200, "<p>index</p>"),
        ("/static/media/app.css", 200, "media"),
    ] {
        let answer = server.get(target);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (status, text),
            "{target}"
        );
    }
    for (target, status) in [
        ("/static/none.css", 404),
        ("/static/app.css/", 404),
        ("/static/css", 301),
        ("/static/empty/", 403),
    ] {
        assert_eq!(server.get(target).status, status, "{target}");
    }
    let redirected = server.get("/static/css?a=b");
    assert_eq!(redirected.field("Location").as_deref(), Some("./css/?a=b"));
    let refused = ask(
        server,
        "POST",
        "/static/app.css",
        &[("Content-Length", "0")],
    );
    assert_eq!(refused.status, 405);
    assert_eq!(refused.field("Allow").as_deref(), Some("GET, HEAD"));
    let head = ask(server, "HEAD", "/static/app.css", &[]);
    assert_eq!(
        (
            head.status,
            head.field("Content-Length").as_deref(),
            head.text().as_str()
        ),
        (200, Some("16"), "")
    );
}

#[test]
fn files_are_answered_in_front_of_applications_of_every_kind() {
    for arguments in [&[][..], &["--threads", "3"]] {
        is_served(&site(&saying("the application")).args(arguments).start());
    }
    is_served(&site(ASGI).args(&["-k", "asgi"]).start());
    let beside = ["--asgi", "beside:application", "--asgi-path", "/ws/"];
    let both = site(&saying("the application"))
        .file("beside.py", ASGI)
        .args(&beside);
    is_served(&both.start());
}

#[test]
fn conditions_ranges_and_what_caches_are_told() {
    let server = site(&saying("the application")).start();
    let plain = server.get("/static/app.css");
    assert_eq!(plain.field("Content-Type").as_deref(), Some("text/css"));
    assert_eq!(plain.field("Cache-Control").as_deref(), Some("no-cache"));
    assert_eq!(plain.field("Server").as_deref(), Some("appserver"));
    let tag = plain.field("ETag").unwrap();
    let modified = plain.field("Last-Modified").unwrap();
    for condition in [
        ("If-None-Match", tag.as_str()),
        ("If-Modified-Since", &modified),
    ] {
        let answer = ask(&server, "GET", "/static/app.css", &[condition]);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (304, ""),
            "{condition:?}"
        );
    }
    let part = ask(&server, "GET", "/static/app.css", &[("Range", "bytes=4-8")]);
    assert_eq!((part.status, part.text().as_str()), (206, "color"));
    assert_eq!(part.field("Content-Range").as_deref(), Some("bytes 4-8/16"));
    let beyond = ask(&server, "GET", "/static/app.css", &[("Range", "bytes=99-")]);
    assert_eq!(beyond.status, 416);
    let hashed = server.get("/static/app.5f3c1b2d9e0a.js");
    assert_eq!(
        hashed.field("Cache-Control").as_deref(),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(server.get("/static/none").field("Cache-Control"), None);
}

#[test]
fn compressed_neighbours_are_sent_to_those_who_take_them() {
    let server = site(&saying("the application"))
        .file("files/app.css.gz", "gzipped")
        .file("files/app.css.br", "brotlied")
        .start();
    for (accepted, coding, text) in [
        ("gzip", Some("gzip"), "gzipped"),
        ("gzip, br", Some("br"), "brotlied"),
        ("identity", None, "a { color: red }"),
    ] {
        let answer = ask(
            &server,
            "GET",
            "/static/app.css",
            &[("Accept-Encoding", accepted)],
        );
        assert_eq!(answer.field("Content-Encoding").as_deref(), coding);
        assert_eq!(answer.field("Vary").as_deref(), Some("Accept-Encoding"));
        assert_eq!(answer.field("Content-Type").as_deref(), Some("text/css"));
        assert_eq!(answer.text(), text);
    }
}

#[test]
fn nothing_leads_out_of_the_folder() {
    let setup = site(&saying("the application"));
    symlink("../secret.txt", setup.prefix.join("files/link.txt")).unwrap();
    symlink("app.css", setup.prefix.join("files/inside.css")).unwrap();
    let server = setup.start();
    assert_eq!(server.text("/static/inside.css"), "a { color: red }");
    for target in [
        "/static/link.txt",
        "/static/..%2fsecret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/css/..%2f..%2fsecret.txt",
        "/static//../secret.txt",
        "/static/%00secret.txt",
    ] {
        let answer = server.get(target);
        assert!(
            !answer.text().contains("secret"),
            "{target}: {}",
            answer.status
        );
    }
}

#[test]
fn files_are_logged_and_counted_and_keep_the_connection() {
    let server = site(&saying("the application"))
        .args(&["--metrics-bind", "unix:metrics.sock"])
        .args(&[
            "--access-logformat",
            "%(h)s \"%(r)s\" %(s)s %(B)s %({content-type}o)s",
        ])
        .start();
    let mut client = server.client();
    assert_eq!(client.get("/static/app.css").unwrap().status, 200);
    assert_eq!(client.get("/static/none").unwrap().status, 404);
    assert_eq!(client.get("/").unwrap().text(), "the application");
    server.until("the lines", || {
        let log = server.read("access.log");
        let has = |line: &str| log.lines().any(|it| it == line);
        (has(" \"GET /static/app.css HTTP/1.1\" 200 16 text/css")
            && has(" \"GET /static/none HTTP/1.1\" 404 14 text/plain; charset=utf-8"))
        .then_some(())
    });
    let metrics = testkit::Address::Unix(server.prefix.join("metrics.sock"));
    server.until("the count", || {
        let text = support::get_from(&metrics, "/metrics").ok()?.text();
        text.lines()
            .any(|line| {
                line.contains("responses_total") && line.contains("4xx") && line.ends_with(" 1")
            })
            .then_some(())
    });
}

#[test]
fn a_large_file_is_sent_whole() {
    let setup = site(&saying("the application"));
    let content: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(setup.prefix.join("files/large.bin"), &content).unwrap();
    let server = setup.start();
    assert!(server.get("/static/large.bin").body == content);
}

#[test]
fn the_setting_may_stand_in_the_file_and_folders_begin_at_chdir() {
    let setup = Setup::new(&saying("the application"));
    std::fs::create_dir_all(setup.prefix.join("site/files")).unwrap();
    let server = setup
        .file("site/files/a.txt", "from the file")
        .file("site/app.py", &saying("the application"))
        .file(
            "gunicorn.conf.py",
            "chdir = 'site'\nstatic = ['/s=files', '/t=./files']\nbind = 'unix:../app.sock'\n",
        )
        .only_args(&["app:application"])
        .start();
    assert_eq!(server.text("/s/a.txt"), "from the file");
    assert_eq!(server.text("/t/a.txt"), "from the file");
}

#[test]
fn entries_that_cannot_be_served_are_told_at_the_start() {
    for (entry, words) in [
        ("/static=./none", "there is no folder"),
        ("/static=app.py", "is no folder"),
        (
            "/static",
            "takes PREFIX=FOLDER, such as /static=./staticfiles",
        ),
        ("static=.", "does not begin with \"/\""),
        ("/=.", "nothing would be left for the application"),
    ] {
        for check in [&[][..], &["--check-config"]] {
            let (code, _, log) = Setup::new(&saying("the application"))
                .args(&["--static", entry])
                .args(check)
                .run();
            assert_eq!(code, 1, "{log}");
            let fault = format!("static (--static) \"{entry}\": ");
            assert!(log.contains(&fault) && log.contains(words), "{log}");
        }
    }
}

/// In `gunicorn.conf.py`: a worker in which the kernel refuses `sendfile`, and so shows who uses it.
const WITHOUT_SENDFILE: &str = r#"
import ctypes, platform, struct

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050001
SENDFILE = {'x86_64': 40, 'aarch64': 71}[platform.machine()]

def post_fork(server, worker):
    steps = [(LOAD, 0, 0, 0), (EQUAL, 0, 1, SENDFILE), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
    program = struct.pack('HxxxxxxP', len(steps), ctypes.addressof(code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in ((38, 1, 0, 0, 0), (22, 2, program, 0, 0)):
        if prctl(*[one if isinstance(one, bytes) else ctypes.c_ulong(one) for one in arguments]):
            raise OSError(ctypes.get_errno(), 'prctl%s' % (arguments[:2],))
"#;

/// Sends `large.bin` in the ways that there are.
const SENDING_WSGI: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/wrapped':
        return environ['wsgi.file_wrapper'](open('files/large.bin', 'rb'))
    with open('files/large.bin', 'rb') as file:
        return [file.read() if environ['PATH_INFO'] == '/read' else b'ready']
";
const SENDING_ASGI: &str = "
import os

async def application(scope, receive, send):
    if scope['type'] == 'lifespan':
        raise RuntimeError('none')
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    path = os.path.abspath('files/large.bin')
    if scope['path'].endswith('/path'):
        await send({'type': 'http.response.pathsend', 'path': path})
    elif scope['path'].endswith('/zerocopy'):
        size = str(os.path.getsize(path)).encode()
        with open(path, 'rb') as file:
            await send({'type': 'http.response.zerocopysend', 'file': file.fileno()})
    else:
        with open(path, 'rb') as file:
            body = file.read() if scope['path'].endswith('/read') else b'ready'
        await send({'type': 'http.response.body', 'body': body})
";

/// Whether each target, and a file in front of the application, leaves by `sendfile`: is cut where the kernel refuses it.
fn leave_by_sendfile(setup: Setup, arguments: &[&str], targets: &[&str]) -> Vec<bool> {
    std::fs::create_dir(setup.prefix.join("files")).unwrap();
    let content: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(setup.prefix.join("files/large.bin"), &content).unwrap();
    let server = setup
        .args(arguments)
        .args(&["--static", "/static=files"])
        .file("gunicorn.conf.py", WITHOUT_SENDFILE)
        .start();
    let sent_whole = |target: &&str| match server.try_get(target) {
        Ok(response) => {
            assert_eq!(
                (response.status, response.body == content),
                (200, true),
                "{target}"
            );
            true
        }
        Err(_) => false,
    };
    assert!(sent_whole(&targets[0]), "{}", server.log());
    let others = targets[1..].iter().chain(&["/static/large.bin"]);
    others.map(|target| !sent_whole(target)).collect()
}

#[test]
fn files_leave_by_sendfile_unless_the_setting_says_no() {
    let wsgi = |arguments: &[&str]| {
        leave_by_sendfile(Setup::new(SENDING_WSGI), arguments, &["/read", "/wrapped"])
    };
    let asgi = |arguments: &[&str]| {
        let targets = ["/read", "/path", "/zerocopy"];
        let arguments = [&["-k", "asgi"], arguments].concat();
        leave_by_sendfile(Setup::new(SENDING_ASGI), &arguments, &targets)
    };
    let both = |arguments: &[&str]| {
        let beside = ["--asgi", "beside:application", "--asgi-path", "/b/"];
        let setup = Setup::new(SENDING_WSGI).file("beside.py", SENDING_ASGI);
        let targets = ["/b/read", "/b/path", "/b/zerocopy", "/wrapped"];
        leave_by_sendfile(setup, &[&beside, arguments].concat(), &targets)
    };
    assert_eq!(wsgi(&[]), [true, true]);
    assert_eq!(wsgi(&["--threads", "2"]), [true, true]);
    assert_eq!(asgi(&[]), [true; 3]);
    assert_eq!(both(&[]), [true; 4]);
    assert_eq!(wsgi(&["--no-sendfile"]), [false, false]);
    assert_eq!(asgi(&["--no-sendfile"]), [false; 3]);
    assert_eq!(both(&["--no-sendfile"]), [false; 4]);
}
