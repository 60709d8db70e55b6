//! The template and the workers of `appserver`: an extension module that the user's own Python interpreter loads.
//!
//! The master starts `python -c BOOTSTRAP libviaduct_worker.so template FD` (see `appserver-protocol`), which calls
//! `viaduct_worker.main(["template", "FD"])`. The process is a `template` until it forks; the fork is a `worker`. What
//! has to do with Python's ways (the configuration file, hooks, importing) is Python, in `python/`; what has to do with
//! sockets, HTTP and logs is Rust.

mod access;
mod access_format;
mod asgi;
mod below;
mod both;
mod clock;
mod gateway;
mod hooks;
mod immortal;
mod logs;
mod native;
mod peers;
mod protocols;
mod reports;
mod retire;
mod room;
mod settings;
mod signals;
mod statics;
mod template;
mod voice;
mod worker;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The extension module.
#[pymodule]
fn viaduct_worker(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(main, module)?)
}

/// Runs a process of the server; the result is its exit status.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<String>) -> PyResult<i32> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [appserver_protocol::TEMPLATE, descriptor] => {
            let descriptor = descriptor.parse().map_err(|_| {
                PyValueError::new_err(format!(
                    "\"{descriptor}\" is not the number of a descriptor"
                ))
            })?;
            template::run(py, descriptor)
        }
        _ => Err(PyValueError::new_err(format!(
            "this module is started by appserver, with {:?} and the number of a descriptor, not with {arguments:?}",
            appserver_protocol::TEMPLATE
        ))),
    }
}
