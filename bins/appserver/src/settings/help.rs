//! `--help`, made from the list.

use super::{SECTIONS, Setting, Support, print::repr};

/// Where the explanations begin.
const COLUMN: usize = 24;
/// Where lines end.
const WIDTH: usize = 100;

/// The line that stands before every usage error.
pub(crate) fn usage(program: &str) -> String {
    format!("usage: {program} [OPTIONS] [APP_MODULE]\n")
}

/// The whole text.
pub(crate) fn help(program: &str) -> String {
    let mut text = usage(program);
    text.push_str("\noptions:\n");
    entry(&mut text, "-h, --help", "Show this text and end.");
    entry(&mut text, "-v, --version", "Show the version and end.");
    entry(&mut text, "--man-page", "Print the manual page and end.");
    entry(
        &mut text,
        "--completion SHELL",
        "Print completion for bash, zsh or fish and end.",
    );
    entry(
        &mut text,
        "ctl COMMAND",
        "Ask a running server instead; appserver ctl -h.",
    );
    for section in SECTIONS {
        let settings: Vec<_> = section
            .settings
            .iter()
            .filter(|setting| is_shown(setting))
            .collect();
        if settings.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{}:\n", section.title.to_lowercase()));
        for setting in settings {
            entry(&mut text, &flags(setting), &explanation(setting));
        }
    }
    text.push_str(
        "\nSettings for the configuration file alone, and what is not there: docs/settings.md.\n",
    );
    text
}

/// What has a flag and an effect.
fn is_shown(setting: &Setting) -> bool {
    !setting.flags.is_empty() && setting.support == Support::Works
}

fn flags(setting: &Setting) -> String {
    let flags: Vec<_> = setting
        .flags
        .iter()
        .map(|flag| match setting.takes_value() {
            true => format!("{flag} {}", setting.metavar),
            false => (*flag).to_owned(),
        })
        .collect();
    flags.join(", ")
}

fn explanation(setting: &Setting) -> String {
    if !setting.takes_value() {
        return setting.doc.to_owned();
    }
    let default = match setting.default.value() {
        serde_json::Value::String(text) => text,
        value => repr(&value),
    };
    format!("{} [{default}]", setting.doc)
}

fn entry(text: &mut String, flags: &str, explanation: &str) {
    let mut line = format!("  {flags}");
    if line.len() + 2 > COLUMN {
        text.push_str(&line);
        text.push('\n');
        line = String::new();
    }
    let mut words = explanation.split_whitespace().peekable();
    while words.peek().is_some() {
        line = format!("{line:COLUMN$}");
        while let Some(word) =
            words.next_if(|word| line.len() <= COLUMN || line.len() + word.len() < WIDTH)
        {
            line.push_str(word);
            line.push(' ');
        }
        text.push_str(line.trim_end());
        text.push('\n');
        line = String::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_that_works_is_explained_within_the_width() {
        let text = help("appserver");
        for setting in super::super::all().filter(|setting| is_shown(setting)) {
            for flag in setting.flags {
                assert!(text.contains(&format!(" {flag}")), "{flag}");
            }
        }
        assert!(text.contains("  -w INT, --workers INT\n"), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH + 40), "{text}");
    }
}
