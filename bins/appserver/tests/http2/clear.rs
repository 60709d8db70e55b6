//! HTTP/2 without TLS: by prior knowledge, and by an upgrade.

use super::*;

#[test]
fn prior_knowledge_is_for_trusted_peers_and_then_demanded() {
    let server = Setup::new(WSGI)
        .args(&[
            "--http-protocols",
            "h2",
            "--http2-cleartext",
            "prior-knowledge",
        ])
        .start();
    assert_eq!(server.get("/").status, 400);
    run(async {
        let mut client = Client::in_the_clear(&server).await;
        let (status, told) = client.get("/").await;
        assert_eq!(status, 200);
        // A trusted proxy tells the scheme.
        assert!(told.contains(r#""wsgi.url_scheme": "https""#), "{told}");
    });
    let port = testkit::FreePort::find().unwrap();
    let server = Setup::new(WSGI)
        .args(&[
            "--http-protocols",
            "h1,h2",
            "--http2-cleartext",
            "prior-knowledge",
        ])
        .args(&[
            "--forwarded-allow-ips",
            "192.0.2.1",
            "-b",
            &port.address().to_string(),
        ])
        .start();
    let answer = support::get_from(&testkit::Address::Tcp(port.address()), "/").unwrap();
    assert!(answer.text().contains("HTTP/1.1"), "{}", answer.text());
    assert!(!server.log().contains("will never be spoken"));
    let server = Setup::new(WSGI)
        .args(&["--http-protocols", "h2,h1"])
        .start();
    assert!(
        server.log().contains("HTTP/2 will never be spoken"),
        "{}",
        server.log()
    );
}

/// What curl says of a request in the clear, and the version that it got the answer by.
fn curl(address: &str, arguments: &[&str]) -> String {
    let curl = Command::new("curl")
        .args(["-s", "-w", " %{http_version} %{response_code}"])
        .args(arguments)
        .arg(format!("http://{address}/echo"))
        .output()
        .expect("curl is installed");
    String::from_utf8_lossy(&curl.stdout).into_owned()
}

#[test]
fn an_upgrade_in_the_clear_is_for_trusted_peers_and_where_it_is_allowed() {
    let (upgrade, known) = ("--http2", "--http2-prior-knowledge");
    let refused = "";
    for (mode, peers, asked) in [
        (
            "upgrade",
            "127.0.0.1",
            &[(upgrade, "content 2 200"), (known, refused)][..],
        ),
        (
            "both",
            "127.0.0.1",
            &[
                (upgrade, "content 2 200"),
                (known, "content 2 200"),
                ("--http1.1", "content 1.1 200"),
            ],
        ),
        (
            "both",
            "192.0.2.1",
            &[(upgrade, "content 1.1 200"), (known, refused)],
        ),
    ] {
        let port = testkit::FreePort::find().unwrap();
        let address = port.address().to_string();
        let mut server = Setup::new(WSGI)
            .args(&["--http-protocols", "h1,h2", "--http2-cleartext", mode])
            .args(&["--forwarded-allow-ips", peers, "-b", &address])
            .start();
        for (how, told) in asked {
            let answer = curl(&address, &[how, "-d", "content"]);
            let matches = match *told {
                "" => !answer.contains("200"),
                told => answer.ends_with(told),
            };
            assert!(matches, "{mode} {peers} {how}: {answer}");
        }
        assert_eq!(server.stop(), 0, "{}", server.log());
    }
}
