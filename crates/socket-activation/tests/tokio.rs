//! Conversions into tokio's types.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use socket_activation::Socket;

fn socket(fd: impl Into<OwnedFd>) -> Socket {
    Socket::examine(0, "web", fd.into()).unwrap()
}

#[tokio::test]
async fn blocking_sockets_become_asynchronous_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let tcp = socket(tcp).into_tokio_tcp_listener().unwrap();
    let unix = socket(UnixListener::bind(&path).unwrap())
        .into_tokio_unix_listener()
        .unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = socket(udp).into_tokio_udp_socket().unwrap();

    let client = tokio::net::TcpStream::connect(address);
    let (accepted, connected) = tokio::join!(tcp.accept(), client);
    assert_eq!(
        accepted.unwrap().1,
        connected.unwrap().local_addr().unwrap()
    );
    let (accepted, connected) = tokio::join!(unix.accept(), tokio::net::UnixStream::connect(&path));
    accepted.unwrap();
    connected.unwrap();
    let mut bytes = [0; 4];
    udp.send_to(b"ping", udp.local_addr().unwrap())
        .await
        .unwrap();
    assert_eq!(udp.recv(&mut bytes).await.unwrap(), 4);
}

#[tokio::test]
async fn a_wrong_kind_keeps_its_words() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = socket(udp).into_tokio_tcp_listener().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is a UDP socket, expected a listening TCP socket"),
        "{error}"
    );
}
