//! One environ after another, from the same templates.

use super::*;

struct Silent;

impl Hooks for Silent {
    fn log(&self, _level: crate::Level, _message: &str) {}
}

/// The values of some keys in the environ of each request, a dash for those that are absent.
fn told(requests: &[(&Arc<Connection>, &str, Option<&str>, bool)]) -> Vec<String> {
    let settings = Settings::default();
    let policy = Policy::new(&settings);
    crate::tests::with_python(|py| {
        let mut environs = Environs::new(py, &settings, false, Arc::new(Silent)).expect("is made");
        let hints = crate::starter::Starter::new(py).expect("is made");
        let mut one = |&(connection, method, host, secure): &(&Arc<Connection>, &str, _, _)| {
            let mut head = http_wire::head::RequestHead {
                method: Method::from_bytes(method.as_bytes()).expect("is a method"),
                ..Default::default()
            };
            if let Some(host) = host {
                head.fields.append(Known::Host, host).expect("is a field");
            }
            let facts = Facts {
                head,
                connection: connection.clone(),
                ordinal: 1,
                received: std::time::Instant::now(),
                secure,
                trusted: false,
                script_told: false,
                trailers: None,
                queued_us: std::sync::atomic::AtomicU64::new(0),
                ends_connection: Default::default(),
            };
            let environ = environs
                .build(py, &facts, &policy, None, hints.state().hints())
                .expect("is built");
            let keys = [
                "REQUEST_METHOD",
                "HTTP_HOST",
                "SERVER_NAME",
                "SERVER_PORT",
                "REMOTE_ADDR",
                "REMOTE_PORT",
            ];
            let value = |key: &str| {
                let value = environ.get_item(key).expect("looks");
                value.map_or("-".to_owned(), |value| value.to_string())
            };
            keys.map(value).join(" ")
        };
        requests.iter().map(&mut one).collect()
    })
}

#[test]
fn a_request_is_told_nothing_of_the_one_before() {
    let inet = |text: &str| Address::Inet(text.parse().expect("is an address"));
    let unix = || Address::Unix(Some(Path::new("/run/app.sock").into()));
    let connection = |peer, local| Arc::new(Connection::new(peer, local, false));
    let one = connection(inet("192.0.2.1:1001"), inet("192.0.2.9:80"));
    let two = connection(inet("192.0.2.2:1002"), inet("192.0.2.9:80"));
    let local = connection(Address::Unix(None), unix());
    let requests = [
        (&one, "GET", Some("a.example"), false),
        (&two, "POST", Some("b.example:81"), false),
        (&one, "GET", None, false),
        (&two, "GET", Some("b.example:81"), true),
        (&local, "GET", Some("c.example"), false),
        (&local, "GET", Some("c.example"), true),
        (&local, "PUT", None, true),
        (&local, "GET", Some("c.example:82"), true),
        (&one, "GET", Some("b.example:81"), false),
    ];
    assert_eq!(
        told(&requests),
        [
            "GET a.example 192.0.2.9 80 192.0.2.1 1001",
            "POST b.example:81 192.0.2.9 80 192.0.2.2 1002",
            "GET - 192.0.2.9 80 192.0.2.1 1001",
            "GET b.example:81 192.0.2.9 80 192.0.2.2 1002",
            "GET c.example c.example 80  -",
            "GET c.example c.example 443  -",
            "PUT - /run/app.sock   -",
            "GET c.example:82 c.example 82  -",
            "GET b.example:81 192.0.2.9 80 192.0.2.1 1001",
        ]
    );
}

#[test]
fn escapes_are_decoded_and_broken_ones_stay() {
    for (raw, decoded) in [
        (&b"/a%20b"[..], &b"/a b"[..]),
        (b"/%2F%2f", b"///"),
        (b"/%C3%A9", b"/\xc3\xa9"),
        (b"/%", b"/%"),
        (b"/%4", b"/%4"),
        (b"/%zz%41", b"/%zzA"),
        (b"/%%41", b"/%A"),
        (b"/%00", b"/\0"),
    ] {
        assert_eq!(percent_decoded(raw), decoded);
    }
}

#[test]
fn hosts_are_taken_apart() {
    for (host, name, port) in [
        (&b"shop"[..], &b"shop"[..], None),
        (b"shop:81", b"shop", Some(&b"81"[..])),
        (b"[::1]", b"[::1]", None),
        (b"[::1]:8000", b"[::1]", Some(b"8000")),
        (b"shop:", b"shop", Some(b"")),
    ] {
        assert_eq!(split_host(host), (name, port));
    }
}
