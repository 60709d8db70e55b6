//! The numbers that a server tells its clients: limits of streams, windows, frames and heads.

use super::*;

#[test]
fn its_numbers_are_told_to_clients_and_kept() {
    const GOAWAY: u8 = 7;
    const RST_STREAM: u8 = 3;
    let server = Setup::new(WSGI)
        .args(&["--http-protocols", "h2", "--threads", "4"])
        .args(&["--http2-cleartext", "prior-knowledge"])
        .args(&["--http2-max-concurrent-streams", "2"])
        .args(&["--http2-initial-window-size", "70000"])
        .args(&["--http2-max-frame-size", "20000"])
        .args(&["--http2-max-header-list-size", "3000"])
        .start();
    let is_goaway = |kind, _: &[u8]| kind == GOAWAY;
    let post = |stream| frame_of(1, 4, stream, &[0x83, 0x86, 0x84, 0x41, 1, b'a']);

    // A frame of 20,000 bytes is taken, one byte more is FRAME_SIZE_ERROR.
    let mut sent = post(1);
    sent.extend(frame_of(0, 0, 1, &[0; 20_000]));
    sent.extend(frame_of(0, 0, 1, &[0; 20_001]));
    let seen = frames(&server, &sent, is_goaway);
    let told: Vec<(u16, u32)> = (seen[0].1.chunks(6))
        .map(|one| {
            let number = u32::from_be_bytes(one[2..].try_into().unwrap());
            (u16::from_be_bytes([one[0], one[1]]), number)
        })
        .collect();
    assert_eq!(seen[0].0, 4, "SETTINGS");
    for setting in [(3, 2), (4, 70_000), (5, 20_000), (6, 3000)] {
        assert!(told.contains(&setting), "{setting:?} in {told:?}");
    }
    assert_eq!(seen.last().unwrap().1[4..8], 6_u32.to_be_bytes());

    // Two requests that wait for their content, and one that is REFUSED_STREAM.
    let sent = [post(1), post(3), post(5)].concat();
    let seen = frames(&server, &sent, |kind, _| kind == RST_STREAM);
    assert_eq!(seen.last().unwrap().1, 7_u32.to_be_bytes());

    run(async {
        let mut client = Client::in_the_clear(&server).await;
        let mut asked = request("GET", "/");
        for (length, status) in [(2000, 200), (3000, 431)] {
            let value = "x".repeat(length).parse().unwrap();
            asked.headers_mut().insert("x-long", value);
            let (answer, _) = client.ask(asked.clone(), true).await;
            assert_eq!(answer.await.unwrap().status().as_u16(), status);
        }
    });
    let server = Setup::new(WSGI)
        .args(&["--http-protocols", "h2", "--http2-cleartext"])
        .args(&["--http2-max-header-list-size", "0"])
        .args(&["--limit-request-field_size", "0"])
        .start();
    run(async {
        let mut client = Client::in_the_clear(&server).await;
        let mut asked = request("GET", "/");
        let value = "x".repeat(200_000).parse().unwrap();
        asked.headers_mut().insert("x-long", value);
        let (answer, _) = client.ask(asked, true).await;
        assert_eq!(answer.await.unwrap().status().as_u16(), 200);
    });
}

#[test]
fn numbers_out_of_range_are_told() {
    for (flag, value, words) in [
        (
            "--http2-max-concurrent-streams",
            "0",
            "a number from 1 to 2147483647",
        ),
        (
            "--http2-initial-window-size",
            "2147483648",
            "a number from 0 to 2147483647",
        ),
        (
            "--http2-max-frame-size",
            "1000",
            "a number from 16384 to 16777215",
        ),
        ("--http-protocols", "h1,h1", "'h1' is there twice"),
    ] {
        let (code, _, told) = Setup::new(WSGI).args(&[flag, value]).run();
        assert_eq!(code, 1, "{told}");
        let name = flag.trim_start_matches('-').replace('-', "_");
        assert!(told.contains(words) && told.contains(&name), "{told}");
    }
}
