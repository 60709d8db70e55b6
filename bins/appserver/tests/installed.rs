//! The program where people put it: which extension module and which interpreter it takes then, and what it says when there is none.

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use appserver_protocol::{BOOTSTRAP, MODULE_FILE, TEMPLATE};
use support::{PROGRAM, Setup, module};

/// Which interpreter runs it, and with what prefix.
const WHERE: &str = "
import sys

def application(environ, start_response):
    text = (sys.prefix + ' ' + sys.executable).encode()
    start_response('200 OK', [('Content-Length', str(len(text)))])
    return [text]
";

/// Puts a file there as an installer does: not as a symbolic link, which the program would see through.
fn install(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).unwrap();
    }
}

/// A server of the program at `bin/appserver` below its folder, asked once.
fn answer(setup: Setup) -> String {
    let mut command = setup.command(setup.prefix.join("bin/appserver").to_str().unwrap());
    command
        .env_remove("VIADUCT_WORKER")
        .args(["app:application", "--bind", "unix:app.sock"]);
    let mut server = setup.spawn_as(&mut command);
    server.until_it_answers();
    server.text("/")
}

#[test]
fn the_module_is_found_beside_the_program_or_in_the_library_folder_or_in_a_wheels_package() {
    for place in [
        format!("bin/{MODULE_FILE}"),
        format!("lib/viaduct/{MODULE_FILE}"),
        "lib/python3.9/site-packages/appserver/viaduct_worker.abi3.so".to_owned(),
    ] {
        let setup = Setup::new(&support::saying("found"));
        install(Path::new(PROGRAM), &setup.prefix.join("bin/appserver"));
        install(&module(), &setup.prefix.join(&place));
        assert_eq!(answer(setup), "found", "{place}");
    }
}

#[test]
fn without_a_module_every_place_is_told_and_what_to_do() {
    let setup = Setup::new(&support::saying("never"));
    let program = setup.prefix.join("bin/appserver");
    install(Path::new(PROGRAM), &program);
    let mut command = setup.command(program.to_str().unwrap());
    command.env_remove("VIADUCT_WORKER").arg("app:application");
    let mut server = setup.spawn_as(&mut command);
    assert_eq!(server.wait(), 1);
    let told = server.log();
    let folder = server.prefix.path().canonicalize().unwrap();
    for words in [
        format!("{}/bin/{MODULE_FILE}", folder.display()),
        format!("{}/lib/viaduct/{MODULE_FILE}", folder.display()),
        "pip install viaduct-appserver".to_owned(),
    ] {
        assert!(told.contains(&words), "{words:?} in {told}");
    }
}

#[test]
fn in_a_virtual_environment_its_own_interpreter_runs_whatever_is_activated() {
    let setup = Setup::new(WHERE);
    let folder = setup.prefix.path().canonicalize().unwrap();
    let python = python3("import sys; print(sys.executable)");
    for name in ["own", "active"] {
        let bin = folder.join(name).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        symlink(&python, bin.join("python3")).unwrap();
        let home = Path::new(&python).parent().unwrap().display();
        std::fs::write(
            folder.join(name).join("pyvenv.cfg"),
            format!("home = {home}\n"),
        )
        .unwrap();
    }
    install(Path::new(PROGRAM), &folder.join("own/bin/appserver"));
    let mut command = setup.command(folder.join("own/bin/appserver").to_str().unwrap());
    command.env("VIRTUAL_ENV", folder.join("active")).args([
        "app:application",
        "--bind",
        "unix:app.sock",
    ]);
    let mut server = setup.spawn_as(&mut command);
    server.until_it_answers();
    let prefix = folder.join("own").display().to_string();
    assert!(
        server.text("/").starts_with(&prefix),
        "{}",
        server.text("/")
    );
}

#[test]
fn an_interpreter_named_by_the_environment_that_is_not_there_is_told() {
    let (code, _, told) = Setup::new(WHERE)
        .env("VIADUCT_PYTHON", "/no/such/python3")
        .run();
    assert_eq!(code, 1);
    assert!(
        told.contains("VIADUCT_PYTHON is \"/no/such/python3\", but there is no such file"),
        "{told}"
    );
}

#[test]
fn a_module_of_another_version_is_refused_with_both_versions() {
    // A module written in Python stands in for one that an older wheel left behind.
    let setup = Setup::new("").file(
        "old.so",
        "__version__ = '0.0.1'\ndef main(words): print('ran')\n",
    );
    let start = "import sys, importlib.machinery as m; m.ExtensionFileLoader = m.SourceFileLoader; exec(sys.argv.pop(1))";
    let output = Command::new("python3")
        .args(["-B", "-c", start, BOOTSTRAP])
        .arg(setup.prefix.join("old.so"))
        .args([TEMPLATE, "3"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let versions = concat!(
        "is of version 0.0.1, appserver of version ",
        env!("CARGO_PKG_VERSION")
    );
    assert!(told.contains(versions), "{told}");
    assert!(output.stdout.is_empty(), "it must not be run");
}

/// What a program of Python's prints.
fn python3(program: &str) -> String {
    let output = Command::new("python3")
        .args(["-c", program])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
