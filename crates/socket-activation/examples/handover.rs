//! Opens a listener and starts a program with it, as systemd does.
//!
//! ```text
//! cargo run --example handover -- 127.0.0.1:8000 target/debug/examples/greeter
//! ```

use std::error::Error;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use socket_activation::Successor;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(program)) = (arguments.next(), arguments.next()) else {
        return Err("usage: handover ADDRESS PROGRAM [ARGUMENT …]".into());
    };
    let listener = TcpListener::bind(&address)?;
    let mut child = Successor::new(program)
        .args(arguments)
        .socket("web", &listener)?
        .spawn()?;
    drop(listener);
    let status = child.wait()?;
    let code = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    Ok(ExitCode::from(code as u8))
}
