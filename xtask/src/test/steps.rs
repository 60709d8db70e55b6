//! The steps of `cargo xtask test`, each lane's in the order of their running: what fails fast comes first.

use std::process::Command;

use testkit::TempPrefix;

use super::{Context, Lane, Step, oom, units};
use crate::install::Tool;
use crate::release::training;
use crate::shop::{Kind, Shop};
use crate::workspace::{Profile, Workspace};
use crate::{applications, docs, fuzz, soak, wheel};

/// All steps.
pub const STEPS: &[Step] = &[
    Step {
        name: "environments",
        about: "the Python environments that others use",
        lane: Lane::Beside,
        after: &[],
        tools: &[Tool::PythonVenv],
        run: environments,
    },
    Step {
        name: "debian",
        about: "a Debian with systemd for the units",
        lane: Lane::Beside,
        after: &[],
        tools: &[Tool::Nspawn],
        run: units::debian,
    },
    Step {
        name: "format",
        about: "cargo fmt --check",
        lane: Lane::Front,
        after: &[],
        tools: &[],
        run: format,
    },
    Step {
        name: "clippy",
        about: "clippy for all targets; a warning fails",
        lane: Lane::Front,
        after: &[],
        tools: &[],
        run: clippy,
    },
    Step {
        name: "build",
        about: "all programs, tests, benches and examples, unoptimised",
        lane: Lane::Front,
        after: &[],
        tools: &[Tool::PythonDev],
        run: build,
    },
    Step {
        name: "tests",
        about: "unit, property and integration tests, examples",
        lane: Lane::Front,
        after: &["build"],
        tools: &[Tool::PythonDev, Tool::Nginx, Tool::Systemd, Tool::Curl],
        run: tests,
    },
    Step {
        name: "doctests",
        about: "the examples in the documentation",
        lane: Lane::Front,
        after: &["build"],
        tools: &[Tool::PythonDev],
        run: doctests,
    },
    Step {
        name: "rustdoc",
        about: "cargo doc; a warning fails",
        lane: Lane::Front,
        after: &[],
        tools: &[],
        run: rustdoc,
    },
    Step {
        name: "pages",
        about: "docs/directives.md and docs/settings.md say what the programs say",
        lane: Lane::Front,
        after: &["build"],
        tools: &[],
        run: |context| docs::check(context.workspace, Profile::Debug),
    },
    Step {
        name: "scenarios-nginx",
        about: "scenarios/edge against Debian's nginx",
        lane: Lane::Front,
        after: &["build"],
        tools: &[Tool::Nginx],
        run: |context| scenarios(context, "nginx"),
    },
    Step {
        name: "scenarios-edge",
        about: "scenarios/edge against edge",
        lane: Lane::Front,
        after: &["build"],
        tools: &[],
        run: |context| scenarios(context, "edge"),
    },
    Step {
        name: "scenarios-gunicorn",
        about: "scenarios/appserver against gunicorn of PyPI",
        lane: Lane::Front,
        after: &["build", "environments"],
        tools: &[Tool::PythonVenv],
        run: |context| scenarios(context, "gunicorn"),
    },
    Step {
        name: "scenarios-appserver",
        about: "scenarios/appserver against appserver",
        lane: Lane::Front,
        after: &["build", "environments"],
        tools: &[Tool::PythonVenv],
        run: |context| scenarios(context, "appserver"),
    },
    Step {
        name: "oom",
        about: "a worker killed for lack of memory, in a cgroup of its own",
        lane: Lane::Front,
        after: &["build"],
        tools: &[Tool::PythonDev],
        run: oom::run,
    },
    Step {
        name: "systemd",
        about: "packaging/systemd/verify.sh",
        lane: Lane::Front,
        after: &[],
        tools: &[Tool::Systemd],
        run: systemd,
    },
    Step {
        name: "django",
        about: "the shop's own tests",
        lane: Lane::Front,
        after: &["environments"],
        tools: &[Tool::PythonVenv],
        run: django,
    },
    Step {
        name: "embedding",
        about: "the examples of the bridges: Django in an axum router",
        lane: Lane::Front,
        after: &["build", "environments"],
        tools: &[Tool::PythonVenv, Tool::PythonDev],
        run: embedding,
    },
    Step {
        name: "release",
        about: "edge and appserver as people run them",
        lane: Lane::Beside,
        after: &["build"],
        tools: &[],
        run: release,
    },
    Step {
        name: "training",
        about: "what cargo xtask release trains programs with, a little of it",
        lane: Lane::Front,
        after: &["release"],
        tools: &[Tool::Curl, Tool::Openssl, Tool::UtilLinux],
        run: training,
    },
    Step {
        name: "shop",
        about: "the shop behind edge and appserver, exercised by demo/check.py",
        lane: Lane::Front,
        after: &["release", "environments"],
        tools: &[Tool::PythonVenv],
        run: shop,
    },
    Step {
        name: "browser",
        about: "the same as a person would, in a headless Chromium",
        lane: Lane::Front,
        after: &["release", "environments"],
        tools: &[Tool::PythonVenv, Tool::Chromium],
        run: browser,
    },
    Step {
        name: "units",
        about: "the units of packaging/systemd under a real systemd, in a container",
        lane: Lane::Front,
        after: &["release", "debian"],
        tools: &[Tool::PythonDev, Tool::Nspawn],
        run: units::run,
    },
    Step {
        name: "soak",
        about: "cargo xtask soak --short",
        lane: Lane::Front,
        after: &["release", "environments"],
        tools: &[Tool::PythonVenv, Tool::Curl, Tool::Openssl],
        run: |context| soak::run(context.workspace, &soak::Plan::short(), &context.log),
    },
    Step {
        name: "wheel",
        about: "the wheel, and what is in it",
        lane: Lane::Front,
        after: &["release", "environments"],
        tools: &[Tool::PythonVenv],
        run: |context| wheel::check(context.workspace, &context.log),
    },
    Step {
        name: "install",
        about: "the wheel in a clean environment of every Python that is here",
        lane: Lane::Front,
        after: &["wheel"],
        tools: &[Tool::PythonVenv],
        run: |context| wheel::check_installed(context.workspace, &context.log),
    },
    Step {
        name: "applications",
        about: "applications of PyPI, the same under gunicorn and under appserver",
        lane: Lane::Front,
        after: &["wheel", "environments"],
        tools: &[Tool::PythonVenv],
        run: |context| applications::compare(context.workspace, &context.log),
    },
    Step {
        name: "fuzz",
        about: "every fuzz target for 20 s",
        lane: Lane::Beside,
        after: &["release"],
        tools: &[Tool::Cxx],
        run: |context| fuzz::smoke(context.workspace, 20, &context.log),
    },
];

/// The same flags for every use of the compiler, so that nothing is compiled twice.
const EVERYTHING: [&str; 3] = ["--workspace", "--all-features", "--locked"];

fn cargo(workspace: &Workspace, command: &str, more: &[&str]) -> Command {
    let mut cargo = workspace.cargo(&[command]);
    cargo.args(EVERYTHING).args(more);
    cargo
}

fn format(context: &Context<'_>) -> Result<String, String> {
    let mut cargo = context
        .workspace
        .cargo(&["fmt", "--all", "--check", "--", "--color=never"]);
    context.run(&mut cargo, 5)?;
    Ok(String::new())
}

fn clippy(context: &Context<'_>) -> Result<String, String> {
    let more = ["--all-targets", "--", "-D", "warnings"];
    context.run(&mut cargo(context.workspace, "clippy", &more), 20)?;
    Ok(String::new())
}

fn build(context: &Context<'_>) -> Result<String, String> {
    // All targets in one go: features of dev-dependencies count then, as they do in `cargo test`, and it compiles nothing again.
    context.run(
        &mut cargo(context.workspace, "build", &["--all-targets"]),
        20,
    )?;
    Ok(String::new())
}

fn tests(context: &Context<'_>) -> Result<String, String> {
    let more = ["--lib", "--bins", "--tests", "--examples", "--no-fail-fast"];
    let result = context.run(&mut cargo(context.workspace, "test", &more), 20);
    tested(context, result)
}

fn doctests(context: &Context<'_>) -> Result<String, String> {
    let result = context.run(&mut cargo(context.workspace, "test", &["--doc"]), 20);
    tested(context, result)
}

/// How many tests passed, or what the failing ones said.
fn tested(context: &Context<'_>, result: Result<(), String>) -> Result<String, String> {
    let Err(problem) = result else {
        return counted(context);
    };
    let said = context.said();
    let failures = failures(&said);
    if failures.is_empty() {
        Err(problem)
    } else {
        Err(format!("{problem}\n{failures}"))
    }
}

/// What stands between `failures:` and the list of their names, in every part of the output.
fn failures(said: &str) -> String {
    let mut shown = String::new();
    let mut inside = false;
    for line in said.lines() {
        if line.starts_with("---- ") {
            inside = true;
        } else if line == "failures:" {
            inside = false;
        }
        if inside {
            shown.push_str(line);
            shown.push('\n');
        }
    }
    shown
}

/// How many tests cargo has run. None is a failure.
fn counted(context: &Context<'_>) -> Result<String, String> {
    let said = context.said();
    let sum = |word: &str| -> u64 {
        said.lines()
            .filter_map(|line| line.strip_prefix("test result: "))
            .flat_map(|line| line.split([';', '.']))
            .filter_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok())
            .sum()
    };
    match (sum("passed"), sum("ignored")) {
        (0, _) => Err("no test was run".to_owned()),
        (passed, 0) => Ok(format!("{passed} tests")),
        (passed, ignored) => Ok(format!("{passed} tests, {ignored} IGNORED")),
    }
}

fn rustdoc(context: &Context<'_>) -> Result<String, String> {
    let mut cargo = cargo(context.workspace, "doc", &["--no-deps"]);
    context.run(
        cargo.env(
            "RUSTDOCFLAGS",
            "-D warnings -A rustdoc::private_intra_doc_links",
        ),
        20,
    )?;
    Ok(String::new())
}

fn scenarios(context: &Context<'_>, subject: &str) -> Result<String, String> {
    let workspace = context.workspace;
    let mut runner = Command::new(workspace.program(Profile::Debug, "scenarios"));
    runner
        .current_dir(&workspace.root)
        .args(["--subject", subject]);
    match subject {
        "edge" => {
            runner
                .arg("--program")
                .arg(workspace.program(Profile::Debug, subject));
        }
        "gunicorn" => {
            runner.arg("--venv").arg(context.venv()?.path);
        }
        "appserver" => {
            runner.arg("--venv").arg(context.venv()?.path);
            runner
                .arg("--program")
                .arg(workspace.program(Profile::Debug, subject));
        }
        _ => {}
    }
    let result = context.run(&mut runner, 15);
    let said = context.said();
    let sum = said
        .lines()
        .rev()
        .find(|line| line.starts_with(&format!("{subject}: ")))
        .unwrap_or_default()
        .to_owned();
    match result {
        Ok(()) if sum.contains(": 0 passed") => Err("no scenario was run".to_owned()),
        Ok(()) => Ok(sum),
        Err(problem) if sum.is_empty() => Err(problem),
        Err(_) => Err(sum),
    }
}

fn systemd(context: &Context<'_>) -> Result<String, String> {
    let script = context.workspace.join("packaging/systemd/verify.sh");
    context.run(Command::new("bash").arg(script), 5)?;
    Ok(String::new())
}

fn django(context: &Context<'_>) -> Result<String, String> {
    let state = TempPrefix::new().map_err(|error| error.to_string())?;
    let mut manage = Command::new(context.venv()?.program("python"));
    manage
        .arg(context.workspace.join("demo/my_shop/manage.py"))
        .args(["test", "--noinput"])
        .current_dir(context.workspace.join("demo/my_shop"))
        .env("SHOP_STATE", state.path())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    context.run(&mut manage, 5)?;
    let said = context.said();
    let sum = said.lines().find(|line| line.starts_with("Ran "));
    match sum {
        Some(sum) if !sum.starts_with("Ran 0 ") => Ok(sum.to_owned()),
        _ => Err("no test was run".to_owned()),
    }
}

fn embedding(context: &Context<'_>) -> Result<String, String> {
    let workspace = context.workspace;
    let venv = context.venv()?;
    let check = workspace.join("crates/wsgi-bridge/examples/axum_django/check.py");
    for (example, application) in [
        ("axum_django", "django_site:application"),
        ("axum_django_asgi", "django_site:asgi"),
    ] {
        let mut python = Command::new(venv.program("python"));
        python
            .arg("-B")
            .arg(&check)
            .arg(workspace.program(Profile::Debug, &format!("examples/{example}")))
            .arg(application)
            .env("VIRTUAL_ENV", &venv.path)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        context.run(&mut python, 5)?;
    }
    Ok(String::new())
}

fn environments(context: &Context<'_>) -> Result<String, String> {
    context.venv()?;
    wheel::tools(context.workspace)?;
    applications::venv(context.workspace)?;
    Ok(String::new())
}

fn release(context: &Context<'_>) -> Result<String, String> {
    for mut command in context.workspace.build_programs(Profile::Release) {
        context.run(&mut command, 25)?;
    }
    Ok(String::new())
}

fn training(context: &Context<'_>) -> Result<String, String> {
    let programs = context.workspace.folder(Profile::Release);
    training::run(&programs, training::Effort::QUICK)?;
    Ok(String::new())
}

fn open_shop(context: &Context<'_>) -> Result<Shop, String> {
    let venv = context.venv()?;
    Shop::open(
        context.workspace,
        &venv,
        &Kind::ours(context.workspace),
        &[],
    )
}

fn shop(context: &Context<'_>) -> Result<String, String> {
    let mut shop = open_shop(context)?;
    let checked = shop.check(&context.log, &["--upload-mb=20", "--download-mb=50"]);
    finish(context, &mut shop, checked)?;
    let said = context.said();
    let sum = said
        .lines()
        .rev()
        .find(|line| line.contains(" checks passed on "));
    Ok(sum.unwrap_or_default().to_owned())
}

fn browser(context: &Context<'_>) -> Result<String, String> {
    let mut shop = open_shop(context)?;
    let checked = shop.browse(&context.log);
    finish(context, &mut shop, checked)?;
    Ok(String::new())
}

/// Closes the shop. Its logs become part of the step's when something was wrong.
fn finish(
    context: &Context<'_>,
    shop: &mut Shop,
    checked: Result<(), String>,
) -> Result<(), String> {
    let result = checked.and(shop.close());
    if result.is_err() {
        shop.add_logs(&context.log);
    }
    result
}
