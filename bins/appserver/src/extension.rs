//! Finding our extension module: beside the program, in `../lib/viaduct`, or where a wheel was installed.

use std::env;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use appserver_protocol::{MODULE_FILE, WHEEL_MODULE_FILE, WHEEL_PACKAGE};

/// The variable that says where the extension module is.
const VARIABLE: &str = "VIADUCT_WORKER";

/// The module for the program at `own`.
///
/// # Errors
/// Where it was looked for, and what to do.
pub(crate) fn find(own: &Path) -> Result<PathBuf, String> {
    if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        let path = std::path::absolute(&named).unwrap_or_else(|_| PathBuf::from(&named));
        if path.is_file() {
            return Ok(path);
        }
        return Err(format!(
            "{VARIABLE} is {named:?}, but there is no such file; unset it, or name {MODULE_FILE}"
        ));
    }
    let places = Places::around(own);
    places.first().ok_or_else(|| places.told())
}

/// Where a program may have its module.
struct Places {
    /// As cargo builds it, and as one installs it by hand.
    files: [PathBuf; 2],
    /// Below them, Python's own folders: a wheel's.
    prefix: PathBuf,
}

impl Places {
    fn around(own: &Path) -> Self {
        let folder = own.parent().unwrap_or(Path::new("/"));
        let prefix = folder.parent().unwrap_or(folder).to_owned();
        Self {
            files: [
                folder.join(MODULE_FILE),
                prefix.join("lib/viaduct").join(MODULE_FILE),
            ],
            prefix,
        }
    }

    fn first(&self) -> Option<PathBuf> {
        let by_hand = self.files.iter().find(|file| file.is_file()).cloned();
        by_hand.or_else(|| self.of_a_wheel())
    }

    /// The newest one, when several versions of Python share the prefix: it came with the program, which they share too.
    fn of_a_wheel(&self) -> Option<PathBuf> {
        let mut folders = vec![self.prefix.clone()];
        for library in ["lib", "lib64"] {
            let library = self.prefix.join(library);
            for python in entries(&library, "python3") {
                folders.extend(["site-packages", "dist-packages"].map(|name| python.join(name)));
            }
        }
        let modules = folders
            .iter()
            .map(|folder| folder.join(WHEEL_PACKAGE).join(WHEEL_MODULE_FILE));
        modules
            .filter(|module| module.is_file())
            .max_by_key(|module| changed(module))
    }

    fn told(&self) -> String {
        let [beside, library] = &self.files;
        format!(
            "the extension module was not found: there is neither {}, nor {}, nor {}/{WHEEL_PACKAGE}/{WHEEL_MODULE_FILE}; install \
             the wheel (pip install viaduct-appserver), put {MODULE_FILE} into one of the first two places (cargo build --release \
             -p appserver-worker makes it), or name it in {VARIABLE}",
            beside.display(),
            library.display(),
            self.prefix.join("lib/python3.*/site-packages").display(),
        )
    }
}

/// The entries of a folder whose names begin so; none when it can't be read.
fn entries(folder: &Path, beginning: &str) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).into_iter().flatten().flatten();
    read.filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
        .map(|entry| entry.path())
        .collect()
}

fn changed(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|found| found.modified()).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    /// A prefix with these files, each a second newer than the one before; what a program in its `bin` finds.
    fn found(files: &[&str]) -> Option<String> {
        let prefix = tempfile::tempdir().unwrap();
        for (age, name) in files.iter().enumerate() {
            let path = prefix.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = File::create(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(age as u64))
                .unwrap();
        }
        let module = Places::around(&prefix.path().join("bin/appserver")).first()?;
        let relative = module.strip_prefix(prefix.path()).unwrap();
        Some(relative.to_str().unwrap().to_owned())
    }

    #[test]
    fn each_place_is_looked_at_and_the_nearest_wins() {
        let wheel = "lib/python3.11/site-packages/appserver/viaduct_worker.abi3.so";
        for place in [
            "bin/libviaduct_worker.so",
            "lib/viaduct/libviaduct_worker.so",
            wheel,
            "lib64/python3.9/site-packages/appserver/viaduct_worker.abi3.so",
            "lib/python3.12/dist-packages/appserver/viaduct_worker.abi3.so",
            // pip install --target
            "appserver/viaduct_worker.abi3.so",
        ] {
            assert_eq!(found(&[place]).as_deref(), Some(place));
        }
        let all = [
            wheel,
            "lib/viaduct/libviaduct_worker.so",
            "bin/libviaduct_worker.so",
        ];
        assert_eq!(found(&all).as_deref(), Some(all[2]));
        assert_eq!(found(&all[..2]).as_deref(), Some(all[1]));
        assert_eq!(
            found(&["lib/python3.11/site-packages/viaduct_worker.abi3.so"]),
            None
        );
    }

    #[test]
    fn of_several_wheels_the_one_installed_last_is_taken() {
        let old = "lib/python3.12/site-packages/appserver/viaduct_worker.abi3.so";
        let new = "lib/python3.9/site-packages/appserver/viaduct_worker.abi3.so";
        assert_eq!(found(&[old, new]).as_deref(), Some(new));
    }

    #[test]
    fn what_is_not_found_is_told_with_every_place_and_what_to_do() {
        let words = Places::around(Path::new("/opt/x/bin/appserver")).told();
        for part in [
            "neither /opt/x/bin/libviaduct_worker.so",
            "nor /opt/x/lib/viaduct/libviaduct_worker.so",
            "nor /opt/x/lib/python3.*/site-packages/appserver/viaduct_worker.abi3.so",
            "pip install viaduct-appserver",
            "VIADUCT_WORKER",
        ] {
            assert!(words.contains(part), "{words}");
        }
    }
}
