//! Requests that are none: refused by the front and by the application server, and the application never hears of them.

use testkit::http::Client;
use testkit::{Address, WireError};

use super::witness::{self, Witness};
use crate::install::Venv;
use crate::shop::Kind;
use crate::workspace::Workspace;

/// Sends every case to the front and directly to the application server.
pub fn run(workspace: &Workspace, venv: &Venv, kind: &Kind) -> Result<String, String> {
    let witness = Witness::start(workspace, venv, kind)?;
    let cases = cases();
    let mut faults = Vec::new();
    for (side, address) in [
        ("front", Address::from(witness.address)),
        ("application server", witness.app_address()),
    ] {
        for (what, request) in &cases {
            if let Some(fault) = answered_well(&address, request) {
                faults.push(format!("{side}: {what}: {fault}"));
            }
            let reached: Vec<String> = witness
                .seen()
                .into_iter()
                .filter(|seen| seen.contains("case"))
                .collect();
            if !reached.is_empty() && !faults.iter().any(|fault| fault.contains("reached")) {
                faults.push(format!(
                    "{side}: {what}: it reached the application: {}",
                    reached.join(", ")
                ));
            }
        }
        // What is a request reaches it: the witness is awake.
        witness::ask(&address, "/valid")
            .map_err(|problem| format!("{side}: {problem}\n{}", witness.logs()))?;
    }
    witness.await_seen("/valid", 2)?;
    if faults.is_empty() {
        Ok(format!("{} requests on each side refused", cases.len()))
    } else {
        Err(faults.join("\n"))
    }
}

/// A fault, unless it is refused with an error's status or the connection ends.
fn answered_well(address: &Address, request: &[u8]) -> Option<String> {
    let mut client = match Client::connect(address.clone()) {
        Ok(client) => client,
        Err(error) => return Some(format!("can't connect: {error}")),
    };
    // A server may refuse, and close, before it has read everything.
    let _ = client.send(request);
    match client.response() {
        Ok(response) if response.status >= 400 => None,
        Ok(response) => Some(format!("status {}", response.status)),
        Err(WireError::Ended(..) | WireError::Io(_)) => None,
        Err(error) => Some(error.to_string()),
    }
}

fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let post = |fields: &str, content: &str| {
        format!("POST /case HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{content}").into_bytes()
    };
    let get =
        |fields: &str| format!("GET /case HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").into_bytes();
    let raw = |text: &str| text.as_bytes().to_vec();
    let smuggled = "0\r\n\r\nGET /case-smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    vec![
        ("no Host", raw("GET /case HTTP/1.1\r\n\r\n")),
        ("two Hosts", get("Host: b")),
        (
            "a Host that is none",
            raw("GET /case HTTP/1.1\r\nHost: user@a\r\n\r\n"),
        ),
        (
            "length and chunked",
            post("Content-Length: 6\r\nTransfer-Encoding: chunked", smuggled),
        ),
        (
            "chunked and length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 6", smuggled),
        ),
        (
            "two lengths",
            post("Content-Length: 1\r\nContent-Length: 2", "ab"),
        ),
        ("a list of lengths", post("Content-Length: 1, 2", "ab")),
        ("a length with a sign", post("Content-Length: +1", "a")),
        ("a negative length", post("Content-Length: -1", "a")),
        (
            "a length that is no number",
            post("Content-Length: 1x", "a"),
        ),
        (
            "a length beyond all numbers",
            post("Content-Length: 99999999999999999999", "a"),
        ),
        (
            "chunked not last",
            post("Transfer-Encoding: chunked, gzip", smuggled),
        ),
        (
            "chunked twice",
            post("Transfer-Encoding: chunked, chunked", smuggled),
        ),
        (
            "an unknown coding",
            post("Transfer-Encoding: xchunked", smuggled),
        ),
        (
            "chunked in HTTP/1.0",
            raw("POST /case HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "a chunk size that is no number",
            post("Transfer-Encoding: chunked", "zz\r\nabc\r\n0\r\n\r\n"),
        ),
        (
            "a chunk size beyond all numbers",
            post(
                "Transfer-Encoding: chunked",
                "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
            ),
        ),
        (
            "a chunk longer than its size",
            post("Transfer-Encoding: chunked", "1\r\nabc\r\n0\r\n\r\n"),
        ),
        ("white space before the colon", get("Content-Length : 1")),
        ("a field without a name", get(": nameless")),
        ("a field without a colon", get("nonsense")),
        ("a folded field", get("X-A: 1\r\n folded")),
        ("a NUL in a value", get("X-A: a\0b")),
        ("a bare CR in a value", get("X-A: a\rb")),
        (
            "white space before the first field",
            raw("GET /case HTTP/1.1\r\n Host: a\r\n\r\n"),
        ),
        (
            "a method that is no token",
            raw("G@T /case HTTP/1.1\r\nHost: a\r\n\r\n"),
        ),
        ("no target", raw("GET HTTP/1.1\r\nHost: a\r\n\r\n")),
        (
            "a target without a slash",
            raw("GET case HTTP/1.1\r\nHost: a\r\n\r\n"),
        ),
        (
            "a NUL in the target",
            raw("GET /case\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ),
        (
            "another protocol",
            raw("GET /case HTP/1.1\r\nHost: a\r\n\r\n"),
        ),
        (
            "a version too many",
            raw("GET /case HTTP/1.1.1\r\nHost: a\r\n\r\n"),
        ),
        (
            "a major version of the future",
            raw("GET /case HTTP/7.0\r\nHost: a\r\n\r\n"),
        ),
        (
            "a line without end",
            format!(
                "GET /case?{} HTTP/1.1\r\nHost: a\r\n\r\n",
                "x".repeat(100_000)
            )
            .into_bytes(),
        ),
        (
            "a field without end",
            get(&format!("X-A: {}", "x".repeat(100_000))),
        ),
        (
            "fields without number",
            get(&"X-Field-Of-Many: and a value of some length\r\n".repeat(4000)),
        ),
        (
            "the beginning of TLS",
            vec![
                0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, b'\r', b'\n', b'\r', b'\n',
            ],
        ),
        (
            "HTTP/2 without asking",
            raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ),
    ]
}
