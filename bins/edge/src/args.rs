//! The command line: nginx's options, read as nginx reads them, refused in nginx's words with what to do.
//!
//! Options without a value may stand together (`-tq`); a value stands behind its option or is the next argument
//! (`-s reload`, `-sreload`, `-tc FILE`). A later one wins. Beyond nginx's there are `--directives`, which prints the
//! reference of all directives, `--help` and `--version`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::process::Signal;

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// `-?`, `-h`.
    pub help: bool,
    /// `-v`, and whatever implies it.
    pub version: bool,
    /// `-V`.
    pub build: bool,
    /// `-t`, `-T`.
    pub test: bool,
    /// `-T`.
    pub dump: bool,
    /// `-q`.
    pub quiet: bool,
    /// `-s`.
    pub signal: Option<Command>,
    /// `-p`.
    pub prefix: Option<PathBuf>,
    /// `-e`.
    pub error_log: Option<PathBuf>,
    /// `-c`.
    pub conf: Option<PathBuf>,
    /// `-g`.
    pub globals: Option<String>,
    /// `--directives`.
    pub directives: bool,
}

/// What `-s` sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End now.
    Stop,
    /// Finish what runs, then end.
    Quit,
    /// Open the logs anew.
    Reopen,
    /// Read the configuration anew.
    Reload,
}

impl Command {
    const ALL: [(&'static str, Self); 4] = [
        ("stop", Self::Stop),
        ("quit", Self::Quit),
        ("reopen", Self::Reopen),
        ("reload", Self::Reload),
    ];

    /// The signal that means it.
    pub fn signal(self) -> Signal {
        match self {
            Self::Stop => Signal::TERM,
            Self::Quit => Signal::QUIT,
            Self::Reopen => Signal::USR1,
            Self::Reload => Signal::HUP,
        }
    }
}

/// Why a command line can't be followed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// No such option.
    #[error("invalid option: \"{0}\"\n  help: \"edge -h\" lists the options")]
    Unknown(String),
    /// An argument that is no option.
    #[error(
        "invalid option: \"{0}\"\n  help: options begin with \"-\"; a configuration file is given with -c FILE"
    )]
    NoOption(String),
    /// An option lacks what belongs to it.
    #[error("option \"-{option}\" requires {what}\n  help: {help}")]
    Missing {
        /// The option.
        option: char,
        /// What it lacks.
        what: &'static str,
        /// An example.
        help: &'static str,
    },
    /// No such signal.
    #[error("invalid option: \"-s {0}\"\n  help: the signals are stop, quit, reopen and reload")]
    Signal(String),
    /// Directives that are no text.
    #[error("the directives of \"-g\" are not UTF-8: \"{0}\"\n  help: write them in UTF-8")]
    NoText(String),
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// [`ArgsError`].
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, ArgsError> {
    let mut parsed = Args::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--directives") => parsed.directives = true,
            Some("--help") => parsed.help = true,
            Some("--version") => parsed.version = true,
            _ => parsed.letters(&arg, &mut args)?,
        }
    }
    parsed.version |= parsed.help || parsed.build;
    Ok(parsed)
}

impl Args {
    fn letters(
        &mut self,
        arg: &OsStr,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), ArgsError> {
        let text = arg.as_bytes();
        let Some(letters) = text.strip_prefix(b"-") else {
            return Err(ArgsError::NoOption(arg.to_string_lossy().into_owned()));
        };
        for (at, letter) in letters.iter().enumerate() {
            match letter {
                b'?' | b'h' => self.help = true,
                b'v' => self.version = true,
                b'V' => self.build = true,
                b't' => self.test = true,
                b'T' => (self.test, self.dump) = (true, true),
                b'q' => self.quiet = true,
                b'p' | b'e' | b'c' | b'g' | b's' => {
                    let attached = &letters[at + 1..];
                    let value = if attached.is_empty() {
                        rest.next().filter(|value| !value.is_empty())
                    } else {
                        Some(OsString::from_vec(attached.to_vec()))
                    };
                    return self.valued(*letter, value);
                }
                _ => {
                    let rest = String::from_utf8_lossy(&letters[at..]).into_owned();
                    let letter = rest.chars().next().unwrap_or_default();
                    return Err(ArgsError::Unknown(letter.to_string()));
                }
            }
        }
        Ok(())
    }

    fn valued(&mut self, letter: u8, value: Option<OsString>) -> Result<(), ArgsError> {
        let option = char::from(letter);
        let (what, help) = match letter {
            b'p' => ("directory name", "edge -p /srv/site/"),
            b'e' => ("file name", "edge -e /var/log/edge.log, or -e stderr"),
            b'c' => ("file name", "edge -c /etc/nginx/nginx.conf"),
            b'g' => ("parameter", "edge -g 'daemon off;'"),
            _ => ("parameter", "edge -s reload; also stop, quit and reopen"),
        };
        let value = value.ok_or(ArgsError::Missing { option, what, help })?;
        match letter {
            b'p' => self.prefix = Some(value.into()),
            b'e' => self.error_log = Some(value.into()),
            b'c' => self.conf = Some(value.into()),
            b'g' => self.globals = Some(text(value)?),
            _ => self.signal = Some(command(&value)?),
        }
        Ok(())
    }
}

fn text(value: OsString) -> Result<String, ArgsError> {
    value
        .into_string()
        .map_err(|value| ArgsError::NoText(value.to_string_lossy().into_owned()))
}

fn command(value: &OsStr) -> Result<Command, ArgsError> {
    Command::ALL
        .into_iter()
        .find(|(name, _)| value == *name)
        .map(|(_, command)| command)
        .ok_or_else(|| ArgsError::Signal(value.to_string_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Args, ArgsError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_may_stand_together_and_values_be_attached() {
        let expected = Args {
            test: true,
            quiet: true,
            conf: Some("/c".into()),
            ..Args::default()
        };
        for line in [
            "-t -q -c /c",
            "-tq -c /c",
            "-tqc /c",
            "-tqc/c",
            "-c /x -qt -c /c",
        ] {
            assert_eq!(of(line).as_ref(), Ok(&expected), "{line}");
        }
        assert_eq!(of("-sreload").unwrap().signal, Some(Command::Reload));
        assert_eq!(of("-p a -e b").unwrap().prefix, Some("a".into()));
        assert_eq!(of("-").unwrap(), Args::default());
    }

    #[test]
    fn help_and_build_imply_the_version() {
        for line in ["-h", "-?", "-V", "-v", "--help", "--version"] {
            assert!(of(line).unwrap().version, "{line}");
        }
        assert!(of("-T").unwrap().test && of("-T").unwrap().dump);
        assert!(of("--directives").unwrap().directives);
    }

    #[test]
    fn every_signal_has_its_word() {
        for (word, signal) in [
            ("stop", Signal::TERM),
            ("quit", Signal::QUIT),
            ("reopen", Signal::USR1),
            ("reload", Signal::HUP),
        ] {
            let parsed = of(&format!("-s {word}")).unwrap();
            assert_eq!(parsed.signal.unwrap().signal(), signal);
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_nginx() {
        for (line, words) in [
            ("-y", "invalid option: \"y\""),
            ("-tä", "invalid option: \"ä\""),
            ("--nonsense", "invalid option: \"-\""),
            ("nginx.conf", "invalid option: \"nginx.conf\""),
            ("-s", "option \"-s\" requires parameter"),
            ("-s now", "invalid option: \"-s now\""),
            ("-p", "option \"-p\" requires directory name"),
            ("-e", "option \"-e\" requires file name"),
            ("-tc", "option \"-c\" requires file name"),
            ("-g", "option \"-g\" requires parameter"),
        ] {
            let error = of(line).unwrap_err().to_string();
            assert!(error.starts_with(words), "{line}: {error}");
            assert!(error.contains("\n  help: "), "{line}: {error}");
        }
    }
}
