//! Completion for shells, made from the list (`--completion bash`; kept in `packaging/completions`).

use super::{Kind, Setting, Support, all};

/// Flags that are no settings, with what they do.
const OTHERS: [(&str, &str); 2] = [
    ("--help", "Show all options"),
    ("--version", "Show the version"),
];

/// The script for `bash`, `zsh` or `fish`.
///
/// # Errors
/// For other shells, in words.
pub(crate) fn script(shell: &str) -> Result<String, String> {
    match shell {
        "bash" => Ok(bash()),
        "zsh" => Ok(zsh()),
        "fish" => Ok(fish()),
        other => Err(format!(
            "--completion takes bash, zsh or fish, got '{other}'"
        )),
    }
}

fn offered() -> impl Iterator<Item = &'static Setting> {
    all().filter(|setting| setting.support == Support::Works && !setting.flags.is_empty())
}

/// What may follow a flag.
enum Values {
    Nothing,
    Files,
    Folders,
    Words(&'static [&'static str]),
    Anything,
}

fn values(setting: &Setting) -> Values {
    match setting.kind {
        _ if !setting.takes_value() => Values::Nothing,
        Kind::Choice(words) | Kind::OptionalChoice(words) => Values::Words(words),
        Kind::Class if setting.name == "worker_class" => Values::Words(&["sync", "gthread"]),
        Kind::Folder => Values::Folders,
        _ if matches!(setting.metavar, "FILE" | "FILES" | "PATH" | "CONFIG") => Values::Files,
        _ => Values::Anything,
    }
}

/// The first sentence.
fn short(doc: &str) -> &str {
    doc.split_once(". ")
        .map_or(doc, |(first, _)| first)
        .trim_end_matches('.')
}

fn bash() -> String {
    let mut cases = String::new();
    let mut flags: Vec<&str> = OTHERS.iter().map(|(flag, _)| *flag).collect();
    for setting in offered() {
        flags.extend(setting.flags);
        let names = setting.flags.join("|");
        let reply = match values(setting) {
            Values::Nothing => continue,
            Values::Files => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
            Values::Folders => "COMPREPLY=($(compgen -d -- \"$cur\"))".to_owned(),
            Values::Words(words) => {
                format!(
                    "COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))",
                    words.join(" ")
                )
            }
            Values::Anything => ":".to_owned(),
        };
        cases.push_str(&format!("        {names}) {reply}; return ;;\n"));
    }
    format!(
        "# bash completion for appserver; written by appserver --completion bash\n\
         _appserver() {{\n\
         \x20   local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}\n\
         \x20   COMPREPLY=()\n\
         \x20   case $prev in\n{cases}    esac\n\
         \x20   if [[ $cur == -* ]]; then\n\
         \x20       COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))\n\
         \x20   fi\n\
         }}\n\
         complete -o default -F _appserver appserver\n",
        flags.join(" ")
    )
}

fn zsh() -> String {
    let quoted = |text: &str| {
        let text = text.replace('\'', "'\\''");
        text.replace('[', "\\[")
            .replace(']', "\\]")
            .replace(':', "\\:")
    };
    let mut lines: Vec<String> = OTHERS
        .iter()
        .map(|(flag, does)| format!("'{flag}[{does}]'"))
        .collect();
    for setting in offered() {
        let after = match values(setting) {
            Values::Nothing => String::new(),
            Values::Files => ":file:_files".to_owned(),
            Values::Folders => ":folder:_files -/".to_owned(),
            Values::Words(words) => format!(":value:({})", words.join(" ")),
            Values::Anything => format!(":{}: ", setting.metavar.to_lowercase()),
        };
        let does = quoted(short(setting.doc));
        for flag in setting.flags {
            lines.push(format!("'*{flag}[{does}]{after}'"));
        }
    }
    format!(
        "#compdef appserver\n# written by appserver --completion zsh\n_arguments -s \\\n  {} \\\n  '1:application: '\n",
        lines.join(" \\\n  ")
    )
}

fn fish() -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut text =
        String::from("# fish completion for appserver; written by appserver --completion fish\n");
    for (flag, does) in OTHERS {
        text.push_str(&format!(
            "complete -c appserver -l {} -d '{does}'\n",
            &flag[2..]
        ));
    }
    for setting in offered() {
        text.push_str("complete -c appserver");
        for flag in setting.flags {
            match flag.strip_prefix("--") {
                Some(long) => text.push_str(&format!(" -l {long}")),
                None => text.push_str(&format!(" -s {}", &flag[1..])),
            }
        }
        match values(setting) {
            Values::Nothing => {}
            Values::Files => text.push_str(" -r -F"),
            Values::Folders => text.push_str(" -x -a '(__fish_complete_directories)'"),
            Values::Words(words) => text.push_str(&format!(" -x -a '{}'", words.join(" "))),
            Values::Anything => text.push_str(" -x"),
        }
        text.push_str(&format!(" -d '{}'\n", quoted(short(setting.doc))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, &str); 3] = [
        ("bash", "appserver.bash"),
        ("zsh", "_appserver"),
        ("fish", "appserver.fish"),
    ];

    #[test]
    fn every_flag_that_works_is_offered_and_the_files_in_packaging_are_in_step() {
        for (shell, name) in FILES {
            let script = script(shell).unwrap();
            for setting in offered() {
                for flag in setting
                    .flags
                    .iter()
                    .filter_map(|flag| flag.strip_prefix("--"))
                {
                    assert!(script.contains(flag), "{shell}: {flag}");
                }
            }
            let path = format!(
                "{}/../../packaging/completions/{name}",
                env!("CARGO_MANIFEST_DIR")
            );
            let there = std::fs::read_to_string(path).unwrap_or_default();
            assert!(
                there == script,
                "packaging/completions/{name} is out of date: cargo xtask docs"
            );
        }
        assert!(script("tcsh").is_err());
    }

    #[test]
    fn bash_completes_flags_and_words() {
        let script = format!(
            "{}\nCOMP_WORDS=(appserver --log-level de) COMP_CWORD=2; _appserver; echo \"${{COMPREPLY[*]}}\"\n\
             COMP_WORDS=(appserver --max-requests-) COMP_CWORD=1; _appserver; echo \"${{COMPREPLY[*]}}\"\n",
            bash()
        );
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .output();
        let output = output.expect("bash is there");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "debug\n--max-requests-jitter\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
