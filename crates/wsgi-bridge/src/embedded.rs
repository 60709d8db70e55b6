//! Python in a program that is not Python: its packages, its modules, its application.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use proxy_core::{server::Address, tower::Handler};
//! use pyo3::prelude::*;
//! use wsgi_bridge::{Hooks, Level, Settings, WsgiService, embedded};
//!
//! struct Log;
//!
//! impl Hooks for Log {
//!     fn log(&self, level: Level, message: &str) {
//!         eprintln!("{} {message}", level.as_str());
//!     }
//! }
//!
//! Python::initialize();
//! let service = Python::attach(|py| -> PyResult<WsgiService> {
//!     embedded::use_environment(py, Some("/srv/venv".into()))?;
//!     embedded::import_from(py, "/srv/my_shop".as_ref())?;
//!     let application = embedded::load(py, "my_shop.wsgi:application")?;
//!     // Four Python threads: no thread of the program's own runtime ever waits for a view.
//!     WsgiService::new(py, application, Settings::default(), Arc::new(Log), 4)
//! })?;
//! // A tower::Service: axum's `fallback_service`, hyper-util's `TowerToHyperService`, …
//! let django = Handler::new(Arc::new(service), Address::Unix(None), Address::Unix(None));
//! # Ok::<(), PyErr>(())
//! ```

use std::path::{Path, PathBuf};

use pyo3::exceptions::PyFileNotFoundError;
use pyo3::prelude::*;

/// Makes the packages of a virtual environment importable; `None` leaves the packages of the Python that the program is linked with.
///
/// # Errors
/// The folder has no packages for this version of Python: the message names the folder that was looked for. Python's own.
pub fn use_environment(py: Python<'_>, environment: Option<PathBuf>) -> PyResult<()> {
    let Some(environment) = environment else {
        return Ok(());
    };
    let version = py.version_info();
    let packages = environment.join(format!(
        "lib/python{}.{}/site-packages",
        version.major, version.minor
    ));
    if !packages.is_dir() {
        return Err(PyFileNotFoundError::new_err(format!(
            "{} is no environment of Python {}.{}, which this program is linked with: there is no {}",
            environment.display(),
            version.major,
            version.minor,
            packages.display()
        )));
    }
    let sys = py.import("sys")?;
    // What looks for its own files asks this: site, sysconfig, and applications.
    sys.setattr("prefix", environment.as_os_str())?;
    sys.setattr("exec_prefix", environment.as_os_str())?;
    py.import("site")?
        .call_method1("addsitedir", (packages.as_os_str(),))
        .map(drop)
}

/// Makes the modules in a folder importable, before all others: the working directory of `gunicorn`.
///
/// # Errors
/// Python's.
pub fn import_from(py: Python<'_>, folder: &Path) -> PyResult<()> {
    let folder = std::path::absolute(folder)?;
    let path = py.import("sys")?.getattr("path")?;
    path.call_method1("insert", (0, folder.as_os_str()))
        .map(drop)
}

/// Imports an application: `module:name`, `module:some.name`, or `module`, whose application is called `application`.
///
/// # Errors
/// Python's: whatever the module raises, `AttributeError` when it has no such name.
pub fn load(py: Python<'_>, application: &str) -> PyResult<Py<PyAny>> {
    let (module, names) = application
        .split_once(':')
        .unwrap_or((application, "application"));
    let mut found = py.import(module)?.into_any();
    for name in names.split('.') {
        found = found.getattr(name)?;
    }
    Ok(found.unbind())
}

#[cfg(test)]
mod tests {
    use pyo3::exceptions::{PyAttributeError, PyModuleNotFoundError};

    use super::*;
    use crate::tests::with_python;

    #[test]
    fn an_application_is_found_by_its_name_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let source = "class site:\n    inner = 'inner'\napplication = 'outer'\n";
        std::fs::write(folder.path().join("embedded_site.py"), source).unwrap();
        with_python(|py| {
            import_from(py, folder.path()).unwrap();
            let named = |name: &str| load(py, name)?.extract::<String>(py);
            assert_eq!(named("embedded_site").unwrap(), "outer");
            assert_eq!(named("embedded_site:application").unwrap(), "outer");
            assert_eq!(named("embedded_site:site.inner").unwrap(), "inner");
            let missing = named("embedded_site:none").unwrap_err();
            assert!(missing.is_instance_of::<PyAttributeError>(py));
            let missing = named("no_such_module_here").unwrap_err();
            assert!(missing.is_instance_of::<PyModuleNotFoundError>(py));
        });
    }

    #[test]
    fn a_folder_that_is_no_environment_of_this_python_is_named() {
        let folder = tempfile::tempdir().unwrap();
        with_python(|py| {
            let error = use_environment(py, Some(folder.path().to_owned())).unwrap_err();
            let words = error.to_string();
            assert!(
                words.contains(&folder.path().display().to_string()),
                "{words}"
            );
            assert!(
                words.contains("site-packages") && words.contains("linked with"),
                "{words}"
            );
            use_environment(py, None).unwrap();
        });
    }
}
