//! Accepting connections.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use proxy_core::server::{Address, Drain, Listener, Request};
use support::{Scripted, limits, text};

fn loopback() -> TcpListener {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Says where the connection came from and where it was accepted.
fn ends() -> Arc<Scripted> {
    Scripted::new(limits(), |request: Request| async move {
        let connection = &request.connection;
        text(
            StatusCode::OK,
            format!("{} {}", connection.peer, connection.local),
        )
    })
}

fn ask(mut stream: impl Read + Write) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    all.rsplit("\r\n\r\n").next().unwrap().to_owned()
}

#[test]
fn connections_know_both_their_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.sock");
    let (tcp, unix) = (loopback(), UnixListener::bind(&path).unwrap());
    let any = TcpListener::bind("0.0.0.0:0").unwrap();
    let (tcp_address, any_port) = (tcp.local_addr().unwrap(), any.local_addr().unwrap().port());
    runtime().block_on(async {
        let drain = Drain::new();
        let mut serving = Vec::new();
        for socket in [tcp.into(), any.into(), std::os::fd::OwnedFd::from(unix)] {
            let drain = drain.clone();
            serving.push(tokio::spawn(async move {
                Listener::new(socket).unwrap().serve(ends(), &drain).await
            }));
        }
        let asking = tokio::task::spawn_blocking(move || {
            let stream = TcpStream::connect(tcp_address).unwrap();
            let own = stream.local_addr().unwrap();
            assert_eq!(ask(stream), format!("{own} {tcp_address}"));
            // Listening on any address: the connection knows the one that was asked for.
            let stream = TcpStream::connect(("127.0.0.1", any_port)).unwrap();
            let own = stream.local_addr().unwrap();
            assert_eq!(ask(stream), format!("{own} 127.0.0.1:{any_port}"));
            assert_eq!(
                ask(UnixStream::connect(&path).unwrap()),
                format!("unix: unix:{}", path.display())
            );
        });
        asking.await.unwrap();
        drain.start();
        for serving in serving {
            serving.await.unwrap().unwrap();
        }
        drain.ended().await;
    });
}

#[test]
fn threads_share_a_listening_socket() {
    const THREADS: usize = 4;
    let socket = loopback();
    let address = socket.local_addr().unwrap();
    let drain = Drain::new();
    let served: Arc<Vec<AtomicUsize>> =
        Arc::new((0..THREADS).map(|_| AtomicUsize::new(0)).collect());
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (socket, drain, served) =
                (socket.try_clone().unwrap(), drain.clone(), served.clone());
            std::thread::spawn(move || {
                runtime().block_on(async {
                    let service = Scripted::new(limits(), move |_| {
                        served[thread].fetch_add(1, Ordering::Relaxed);
                        async { text(StatusCode::OK, "hello") }
                    });
                    Listener::new(socket)
                        .unwrap()
                        .serve(service, &drain)
                        .await
                        .unwrap();
                    drain.ended().await;
                });
            })
        })
        .collect();
    for _ in 0..100 {
        assert_eq!(ask(TcpStream::connect(address).unwrap()), "hello");
    }
    drain.start();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(
        served
            .iter()
            .map(|served| served.load(Ordering::Relaxed))
            .sum::<usize>(),
        100
    );
}

#[test]
fn what_is_no_stream_socket_of_ours_is_refused() {
    runtime().block_on(async {
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::NETLINK,
            rustix::net::SocketType::DGRAM,
            None,
        )
        .unwrap();
        let error = Listener::new(socket).err().expect("no listener");
        assert_eq!(
            error.to_string(),
            "the socket is neither TCP nor a unix socket"
        );
    });
}

#[test]
fn the_address_is_known() {
    runtime().block_on(async {
        let socket = loopback();
        let address = socket.local_addr().unwrap();
        assert_eq!(
            *Listener::new(socket).unwrap().local(),
            Address::Inet(address)
        );
    });
}

#[test]
fn a_connection_that_is_left_to_others_may_be_taken_by_them() {
    let socket = loopback();
    let address = socket.local_addr().unwrap();
    let other = socket.try_clone().unwrap();
    runtime().block_on(async {
        let listener = Listener::new(socket).unwrap();
        let first = TcpStream::connect(address).unwrap();
        let asked = AtomicUsize::new(0);
        // The other one takes the first connection while it is left; the second is not left to anybody.
        let accepted = listener.accept_after(|waited| {
            (asked.fetch_add(1, Ordering::Relaxed) == 0).then(|| {
                assert_eq!(waited, Duration::ZERO);
                other.accept().unwrap();
                Duration::from_millis(1)
            })
        });
        let second = async {
            while asked.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            TcpStream::connect(address).unwrap()
        };
        let (accepted, second) = tokio::join!(accepted, second);
        let peer = second.local_addr().unwrap().to_string();
        assert_eq!(accepted.unwrap().peer.to_string(), peer);
        drop(first);
    });
}

#[test]
fn a_connection_that_nobody_else_takes_is_taken_in_the_end() {
    let socket = loopback();
    let address = socket.local_addr().unwrap();
    runtime().block_on(async {
        let listener = Listener::new(socket).unwrap();
        let client = TcpStream::connect(address).unwrap();
        let asked = AtomicUsize::new(0);
        let accepted = listener.accept_after(|waited| {
            let before = asked.fetch_add(1, Ordering::Relaxed);
            assert_eq!(before == 0, waited.is_zero());
            (before < 3).then_some(Duration::from_millis(1))
        });
        let peer = client.local_addr().unwrap().to_string();
        assert_eq!(accepted.await.unwrap().peer.to_string(), peer);
        assert_eq!(asked.into_inner(), 4);
    });
}
