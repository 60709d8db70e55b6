//! Finds the Python library that this crate's own tests, examples and benches are linked with.
//!
//! Together with appserver-worker the crate is compiled for use inside an extension module (pyo3's `extension-module`), and
//! pyo3 names no library then. Executables need it named; that is what this script does, for this package only. A program that
//! embeds the crate, and no extension module, gets the library from pyo3. Without a Python that
//! has its library (Debian: `python3-dev`) everything but the tests still builds.

use std::process::Command;

/// Set while the extension module of a wheel is built: no executable of ours is linked then, whatever Python is about.
const EXTENSION: &str = "PYO3_BUILD_EXTENSION_MODULE";

const QUESTION: &str = "
import sysconfig as s, sys
v = lambda n: s.get_config_var(n) or ''
shared = v('Py_ENABLE_SHARED') == 1
print('shared' if shared else 'static', v('LIBDIR'), v('LIBPL'), 'python' + (v('LDVERSION') or v('VERSION')), sep='\\n')
print(v('LIBS'), v('SYSLIBS'), '' if shared else v('LINKFORSHARED'))
";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={EXTENSION}");
    if std::env::var_os(EXTENSION).is_some() {
        return;
    }
    for variable in ["PYO3_PYTHON", "PATH", "VIRTUAL_ENV"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let python = std::env::var("PYO3_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let Ok(answer) = Command::new(python).args(["-c", QUESTION]).output() else {
        return;
    };
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    let mut lines = answer.lines();
    let (Some(kind), Some(dir), Some(static_dir), Some(name)) =
        (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return;
    };
    let argument = |text: &str| println!("cargo:rustc-link-arg={text}");
    if kind == "shared" {
        argument(&format!("-L{dir}"));
        argument(&format!("-l{name}"));
        argument(&format!("-Wl,-rpath,{dir}"));
        return;
    }
    argument(&format!("-L{static_dir}"));
    argument(&format!("-L{dir}"));
    argument(&format!("-l{name}"));
    for word in lines.next().unwrap_or_default().split_whitespace() {
        argument(
            &word
                .replace("-Xlinker", "")
                .replace("-export-dynamic", "-Wl,--export-dynamic"),
        );
    }
}
