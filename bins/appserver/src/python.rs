//! Finding the user's Python.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::extension;

/// The variable by which `python -m appserver` says which interpreter it is.
const VARIABLE: &str = "VIADUCT_PYTHON";
/// What the probe prints: implementation, version, bits.
const PROBE: &str = "import sys; sys.path[:] = filter(None, sys.path); import platform; print(platform.python_implementation(), '%d.%d' % sys.version_info[:2], \
                     64 if sys.maxsize > 2**32 else 32)";
/// The oldest version that the module loads in.
const OLDEST: (u32, u32) = (3, 9);

/// The interpreter and the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// `python3`, with its folder.
    pub python: PathBuf,
    /// The extension module, whatever its file is called.
    pub module: PathBuf,
}

impl Interpreter {
    /// Finds both.
    ///
    /// # Errors
    /// Where they were looked for, and what to do.
    pub fn find(named: Option<&str>) -> Result<Self, String> {
        let own = env::current_exe().unwrap_or_default();
        let python = match named {
            Some(named) => named_python(named)?,
            None => some_python(&own)?,
        };
        Ok(Self {
            python,
            module: extension::find(&own)?,
        })
    }

    /// Why the module does not run in this interpreter, as far as the interpreter itself can tell.
    pub fn objection(&self) -> Option<String> {
        let python = self.python.display();
        let asked = Command::new(&self.python)
            .args(["-c", PROBE])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let said = match asked {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => return Some(format!("{python} cannot be started: {error}")),
        };
        judge(&said).map(|why| format!("{python} {why}; name another interpreter with --python, or activate its virtual environment"))
    }
}

/// What is wrong with an interpreter that answers so.
fn judge(said: &str) -> Option<String> {
    let mut words = said.split_whitespace();
    let (Some(kind), Some(version), Some(bits)) = (words.next(), words.next(), words.next()) else {
        return Some("is no Python interpreter (it does not answer python -c)".to_owned());
    };
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
    let mut parts = version.split('.');
    let found = (number(parts.next()), number(parts.next()));
    if kind != "CPython" {
        return Some(format!("is {kind}; the extension module runs in CPython"));
    }
    if found < OLDEST {
        return Some(format!(
            "is Python {version}; {}.{} or newer is needed",
            OLDEST.0, OLDEST.1
        ));
    }
    let own = if cfg!(target_pointer_width = "64") {
        "64"
    } else {
        "32"
    };
    (bits != own).then(|| format!("has {bits} bits, and the extension module {own}"))
}

fn named_python(named: &str) -> Result<PathBuf, String> {
    if named.contains('/') {
        // Not canonicalised: a virtual environment is found by the name of its link.
        let path = std::path::absolute(named).unwrap_or_else(|_| named.into());
        if path.is_file() {
            return Ok(path);
        }
        return Err(format!(
            "--python {named}: there is no such file; give the path of a python3"
        ));
    }
    in_path(named).ok_or_else(|| {
        format!("--python {named}: there is no such program in PATH; give its full path")
    })
}

/// As a script of Python's would: where the program is installed in a virtual environment, that one counts.
fn some_python(own: &Path) -> Result<PathBuf, String> {
    if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        let path = PathBuf::from(&named);
        if path.is_file() {
            return Ok(path);
        }
        return Err(format!(
            "{VARIABLE} is {named:?}, but there is no such file; unset it, or use --python"
        ));
    }
    let beside = Some(own.with_file_name("python3")).filter(|path| path.is_file());
    if let Some(beside) = &beside
        && is_in_environment(own)
    {
        return Ok(beside.clone());
    }
    if let Some(venv) = env::var_os("VIRTUAL_ENV").filter(|venv| !venv.is_empty()) {
        let path = Path::new(&venv).join("bin/python3");
        if path.is_file() {
            return Ok(path);
        }
        return Err(format!(
            "VIRTUAL_ENV is {venv:?}, but there is no bin/python3 in it; create the environment again, unset the variable, or use --python"
        ));
    }
    beside.or_else(|| in_path("python3")).ok_or_else(|| {
        "no python3 was found: VIRTUAL_ENV is not set, and there is none beside this program nor in PATH; use --python PATH".to_owned()
    })
}

/// Whether a program is in the `bin` of a virtual environment.
fn is_in_environment(own: &Path) -> bool {
    let prefix = own.parent().and_then(Path::parent);
    prefix.is_some_and(|prefix| prefix.join("pyvenv.cfg").is_file())
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .and_then(|file| std::path::absolute(file).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_judged_by_what_they_say() {
        for (said, words) in [
            ("PyPy 3.10 64", Some("is PyPy")),
            (
                "CPython 3.8 64",
                Some("is Python 3.8; 3.9 or newer is needed"),
            ),
            ("CPython 2.7 64", Some("is Python 2.7")),
            ("CPython 3.11 32", Some("has 32 bits")),
            ("hello", Some("no Python interpreter")),
            ("CPython 3.9 64", None),
            ("CPython 4.0 64", None),
        ] {
            let judged = judge(said);
            match words {
                Some(words) => assert!(judged.clone().unwrap().contains(words), "{judged:?}"),
                None => assert_eq!(judged, None, "{said}"),
            }
        }
    }

    #[test]
    fn a_program_belongs_to_the_environment_it_is_installed_in() {
        let prefix = tempfile::tempdir().unwrap();
        let own = prefix.path().join("bin/appserver");
        std::fs::create_dir(prefix.path().join("bin")).unwrap();
        std::fs::write(own.with_file_name("python3"), "").unwrap();
        assert!(!is_in_environment(&own));
        std::fs::write(prefix.path().join("pyvenv.cfg"), "").unwrap();
        assert!(is_in_environment(&own));
        assert_eq!(some_python(&own), Ok(own.with_file_name("python3")));
    }

    #[test]
    fn a_python_that_is_not_there_is_named() {
        for named in ["/no/such/python3", "no-such-python3"] {
            assert!(Interpreter::find(Some(named)).unwrap_err().contains(named));
        }
    }
}
