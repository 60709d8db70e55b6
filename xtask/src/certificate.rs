//! Certificates for servers on this machine.

use std::process::Command;

use testkit::TempPrefix;

use crate::process;

/// Where [`make`] puts the certificate.
pub const CERTIFICATE: &str = "own.pem";
/// Where [`make`] puts its key.
pub const KEY: &str = "own.key";

/// Makes a certificate for `localhost` that nobody has signed, and its key. Needs [`Tool::Openssl`](crate::install::Tool).
pub fn make(prefix: &TempPrefix) -> Result<(), String> {
    process::output(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", "/CN=localhost"])
            .arg("-keyout")
            .arg(prefix.join(KEY))
            .arg("-out")
            .arg(prefix.join(CERTIFICATE)),
    )
    .map(drop)
}
