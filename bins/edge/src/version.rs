//! What `-v`, `-V` and `-h` print, to standard error as nginx does.
//!
//! Tools read these lines. The first one is `nginx version: nginx/1.30.0 (edge 0.1.0)`: certbot, Puppet's facts and
//! installers look for `nginx version: nginx/` and compare the number with the oldest nginx that they support, so it is that
//! of the nginx whose documentation edge follows; what runs stands in the parentheses, where distributions put their name.
//! The configure arguments name the paths that hold without options (tools look for `--conf-path=` and `--pid-path=`) and
//! only modules that are there: as long as there is no `--with-http_ssl_module`, certbot says that TLS is missing, which is
//! true. The `Server` field says `edge`.

use std::io::{self, Write};

use crate::paths::{ACCESS_LOG, CONF, ERROR_LOG, PID, PREFIX};

/// The version of nginx whose documentation edge follows.
pub const NGINX: &str = "1.30.0";
/// The version of edge.
pub const EDGE: &str = env!("CARGO_PKG_VERSION");

/// Prints the version, the options with `help`, the build with `build`.
pub fn print(help: bool, build: bool) {
    let mut text = format!("nginx version: nginx/{NGINX} (edge {EDGE})\n");
    if help {
        text.push_str(&usage());
    }
    if build {
        text.push_str(&format!(
            "edge version: edge/{EDGE}\n\
             configure arguments: --prefix={PREFIX} --conf-path={CONF} --error-log-path={ERROR_LOG} \
             --http-log-path={ACCESS_LOG} --pid-path={PID} --user=nobody --group=nogroup --with-threads \
             --with-file-aio --with-pcre\n"
        ));
    }
    let _ = io::stderr().write_all(text.as_bytes());
}

fn usage() -> String {
    format!(
        "Usage: edge [-?hvVtTq] [-s signal] [-p prefix]
            [-e filename] [-c filename] [-g directives]

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: {PREFIX}/);
                  the default files are then looked for below it
  -e filename   : set error log file (default: {ERROR_LOG}), or stderr
  -c filename   : set configuration file (default: {CONF})
  -g directives : set global directives out of configuration file
  --directives  : print the reference of all directives and variables and exit
"
    )
}
