//! A process without descriptors. Alone in its binary: the limit holds for the whole process.

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use proxy_core::server::Listener;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::test]
async fn a_process_without_descriptors_accepts_again_when_it_has_some() {
    let socket = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let _client = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let listener = Listener::new(socket).unwrap().on_exhausted({
        let told = told.clone();
        move |error| {
            assert!(error.to_string().contains("Too many open files"), "{error}");
            told.fetch_add(1, Ordering::Relaxed);
        }
    });
    let usual = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(0),
            ..usual
        },
    )
    .unwrap();
    let accept = listener.accept();
    tokio::pin!(accept);
    poll_fn(|cx| {
        assert!(accept.as_mut().poll(cx).is_pending());
        if told.load(Ordering::Relaxed) > 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    setrlimit(Resource::Nofile, usual).unwrap();
    assert!(accept.await.is_ok());
}
