//! A small service that lives under systemd: takes a listener, says it is ready, answers with one line.
//!
//! ```text
//! systemd-socket-activate -l 127.0.0.1:8000 --fdname=greeter target/debug/examples/greeter
//! curl 127.0.0.1:8000
//! ```

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpListener;

use socket_activation::{Message, Notifier, Sockets};

fn main() -> Result<(), Box<dyn Error>> {
    let mut sockets = Sockets::take()?;
    let notifier = Notifier::from_env()?;
    let listener = match sockets
        .take_named("greeter")
        .or_else(|| sockets.take_index(0))
    {
        Some(socket) => socket.into_tcp_listener()?,
        None => TcpListener::bind("127.0.0.1:0")?,
    };
    eprintln!("greeting at http://{}", listener.local_addr()?);
    notifier.send(&Message::new().ready().status("greeting"))?;
    for connection in listener.incoming() {
        let mut connection = connection?;
        let mut request = [0; 1024];
        if connection.read(&mut request)? > 0 {
            connection.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")?;
        }
    }
    Ok(())
}
