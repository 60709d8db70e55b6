//! Responses that are read ahead of slow clients, over real sockets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Origin, Running, World, within};

/// More than all the sockets on the way hold.
const LENGTH: usize = 48 << 20;

/// Answers `/large…` with a lot, everything else with little; counts what it wrote.
async fn origin(fields: &'static str) -> (Origin, Arc<AtomicU64>) {
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let origin = Origin::new(move |head, mut stream| {
        let count = count.clone();
        async move {
            if !head.contains("/large") {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall")
                    .await
                    .ok()?;
                return Some(stream);
            }
            let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {LENGTH}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            for piece in CONTENT.chunks(1 << 16) {
                stream.write_all(piece).await.ok()?;
                count.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
            Some(stream)
        }
    })
    .await;
    (origin, written)
}

/// Content of which each block tells its place.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut content = vec![0; LENGTH];
    for (number, block) in content.chunks_mut(512).enumerate() {
        block[..8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    content
});

async fn serve(world: &World, origin: &Origin, directives: &str) -> Running {
    let temp = world.path().join("temp");
    std::fs::create_dir(&temp).unwrap();
    let site = format!(
        "location / {{ proxy_pass http://127.0.0.1:{}; proxy_temp_path {}; {directives} }}",
        origin.port,
        temp.display()
    );
    world.serve_one(&site).await
}

async fn ask(site: &Running) -> TcpStream {
    let mut client = site.connect().await;
    client
        .write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    client
}

async fn read_all(mut client: TcpStream) {
    let mut all = Vec::new();
    within("the whole response", client.read_to_end(&mut all))
        .await
        .unwrap();
    let head = all
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap()
        + 4;
    assert_eq!(all.len() - head, LENGTH);
    assert!(
        all[head..] == CONTENT[..],
        "the content is not what was sent"
    );
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn files_open_below(directory: &std::path::Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|path| path.starts_with(directory) && path != directory)
        .count()
}

#[tokio::test]
async fn the_origin_is_free_while_its_client_still_reads() {
    let world = World::new();
    let (origin, written) = origin("").await;
    let site = serve(&world, &origin, "").await;
    let slow = ask(&site).await;
    until("all of it written", || {
        written.load(Ordering::Relaxed) == LENGTH as u64
    })
    .await;
    // Its connection serves somebody else meanwhile.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    within("the pooled connection", async {
        while site.get("/small").await.text() != "small" || origin.requests() < 3 {}
    })
    .await;
    assert!(origin.connections() <= 2);
    let open = files_open_below(&world.path().join("temp"));
    assert!(open > 0, "what was read ahead lies in a file");
    assert_eq!(
        std::fs::read_dir(world.path().join("temp"))
            .unwrap()
            .count(),
        0
    );
    read_all(slow).await;
    until("the file closed", || {
        files_open_below(&world.path().join("temp")) == 0
    })
    .await;
}

#[tokio::test]
async fn what_is_held_is_limited() {
    let world = World::new();
    let (origin, written) = origin("").await;
    let site = serve(&world, &origin, "proxy_max_temp_file_size 1m;").await;
    let slow = ask(&site).await;
    // The origin has to wait: another request needs a connection of its own.
    until("something written", || {
        written.load(Ordering::Relaxed) > 2 << 20
    })
    .await;
    assert_eq!(site.get("/small").await.text(), "small");
    assert_eq!(origin.connections(), 2);
    assert!(written.load(Ordering::Relaxed) < LENGTH as u64);
    read_all(slow).await;
}

#[tokio::test]
async fn the_origin_may_ask_for_its_content_to_go_straight_through() {
    for (fields, directives) in [
        ("X-Accel-Buffering: no\r\n", ""),
        ("", "proxy_buffering off;"),
        (
            "X-Accel-Buffering: yes\r\n",
            "proxy_buffering off; proxy_ignore_headers X-Accel-Buffering;",
        ),
    ] {
        let world = World::new();
        let (origin, written) = origin(fields).await;
        let site = serve(&world, &origin, directives).await;
        let slow = ask(&site).await;
        until("something written", || {
            written.load(Ordering::Relaxed) > 1 << 20
        })
        .await;
        assert_eq!(site.get("/small").await.text(), "small");
        assert_eq!(origin.connections(), 2, "{fields}{directives}");
        assert_eq!(files_open_below(&world.path().join("temp")), 0);
        read_all(slow).await;
    }
    for (fields, directives) in [
        ("X-Accel-Buffering: yes\r\n", "proxy_buffering off;"),
        (
            "X-Accel-Buffering: no\r\n",
            "proxy_ignore_headers X-Accel-Buffering;",
        ),
    ] {
        let world = World::new();
        let (origin, written) = origin(fields).await;
        let site = serve(&world, &origin, directives).await;
        let slow = ask(&site).await;
        until("all of it written", || {
            written.load(Ordering::Relaxed) == LENGTH as u64
        })
        .await;
        read_all(slow).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_everything_with_it() {
    let world = World::new();
    let (origin, written) = origin("").await;
    let site = serve(&world, &origin, "proxy_max_temp_file_size 8m;").await;
    let slow = ask(&site).await;
    let temp = world.path().join("temp");
    until("a file", || files_open_below(&temp) > 0).await;
    assert!(written.load(Ordering::Relaxed) < LENGTH as u64);
    drop(slow);
    until("the file closed", || files_open_below(&temp) == 0).await;
}
