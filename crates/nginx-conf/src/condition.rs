//! The condition of an `if` block: `($var)`, `($var = text)`, `($var ~* pattern)`, `(-f path)` and their negations.

use crate::arg::Arg;
use crate::args::Args;
use crate::fault::Fault;
use crate::pattern::{Case, Pattern};
use crate::setting::Spanned;
use crate::template::Template;

/// What an `if` asks.
#[derive(Debug, Clone)]
pub enum Condition {
    /// `($var)`: neither empty nor `0`.
    True(Spanned<String>),
    /// `($var = text)`, `($var != text)`.
    Equals {
        /// Without `$`.
        variable: Spanned<String>,
        /// What it is compared with.
        text: Spanned<Template>,
        /// `!=`.
        negated: bool,
    },
    /// `($var ~ pattern)`, `~*`, `!~`, `!~*`.
    Matches {
        /// Without `$`.
        variable: Spanned<String>,
        /// What it is matched against; its captures become `$1` and so on.
        pattern: Spanned<Pattern>,
        /// `!~`, `!~*`.
        negated: bool,
    },
    /// `(-f path)`, `-d`, `-e`, `-x`, each with `!`.
    File {
        /// What is asked of the file.
        test: FileTest,
        /// The path.
        path: Spanned<Template>,
        /// `!-f` and so on.
        negated: bool,
    },
}

/// What is asked of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileTest {
    /// `-f`: it exists and is a regular file.
    Plain,
    /// `-d`: it exists and is a directory.
    Directory,
    /// `-e`: it exists.
    Exists,
    /// `-x`: it exists and is executable.
    Executable,
}

impl Condition {
    /// Reads all arguments of an `if` (declare its arity as [`Arity::at_least(1)`](crate::Arity::at_least)).
    ///
    /// # Errors
    /// `invalid condition "…"` and `unexpected "…" in condition` as nginx has them, and the faults of templates and patterns.
    pub fn read(args: &mut Args<'_>) -> Result<Condition, Fault> {
        let whole = args.rest();
        let words = inside_parentheses(&whole)?;
        match words.as_slice() {
            [test, path] if is_file_test(test.text()) => Condition::file(*test, *path),
            [test, ..] if is_file_test(test.text()) => Err(invalid(*test)),
            [variable, ..] if variable.text().len() > 1 && variable.text().starts_with('$') => {
                Condition::of_variable(&words)
            }
            [other, ..] => Err(invalid(*other).help(PARENTHESES)),
            [] => Err(args.wrong_count()),
        }
    }

    fn file(test: Arg<'_>, path: Arg<'_>) -> Result<Condition, Fault> {
        let letter = test.text().trim_start_matches('!');
        let known = match letter {
            "-f" => FileTest::Plain,
            "-d" => FileTest::Directory,
            "-e" => FileTest::Exists,
            "-x" => FileTest::Executable,
            _ => {
                return Err(invalid(test)
                    .help("files are tested with -f, -d, -e and -x, or with \"!\" before them"));
            }
        };
        Ok(Condition::File {
            test: known,
            path: path.template()?,
            negated: test.text().starts_with('!'),
        })
    }

    fn of_variable(words: &[Arg<'_>]) -> Result<Condition, Fault> {
        let variable = words[0]
            .strip_prefix("$")
            .map_or_else(|| words[0].string(), |name| name.string())?;
        let (operator, right) = match words {
            [_] => return Ok(Condition::True(variable)),
            [_, operator, right] => (*operator, *right),
            _ => return Err(invalid(words[0]).help("a condition is one variable, or a variable, an operator and one word; quote a text with blanks")),
        };
        let negated = operator.text().starts_with('!');
        match operator.text() {
            "=" | "!=" => Ok(Condition::Equals {
                variable,
                text: right.template()?,
                negated,
            }),
            "~" | "!~" => Ok(Condition::Matches {
                variable,
                pattern: right.pattern(Case::Sensitive)?,
                negated,
            }),
            "~*" | "!~*" => Ok(Condition::Matches {
                variable,
                pattern: right.pattern(Case::Insensitive)?,
                negated,
            }),
            other => {
                let fault = operator.fault(format!("unexpected \"{other}\" in condition"));
                let help = if other == "==" {
                    "write \"=\" to compare"
                } else {
                    "the operators are =, !=, ~, ~*, !~ and !~*"
                };
                Err(fault.help(help))
            }
        }
    }
}

/// The words between the parentheses, which may touch the first and last word or stand alone.
fn inside_parentheses<'a>(whole: &[Arg<'a>]) -> Result<Vec<Arg<'a>>, Fault> {
    let (Some(first), Some(last)) = (whole.first(), whole.last()) else {
        return Err(Fault::new("invalid condition \"\"").help(PARENTHESES));
    };
    let mut words = whole.to_vec();
    let opened = first
        .strip_prefix("(")
        .ok_or_else(|| invalid(*first).help(PARENTHESES))?;
    match opened.text() {
        "" => drop(words.remove(0)),
        _ => words[0] = opened,
    }
    let Some(end) = words.last_mut() else {
        return Err(invalid(*last).help(PARENTHESES));
    };
    let width = end.text().len();
    if !end.text().ends_with(')') {
        return Err(invalid(*end).help(PARENTHESES));
    }
    *end = end.part(0, width - 1);
    if width == 1 {
        words.pop();
    }
    if words.is_empty() {
        let parenthesis = last.part(last.text().len() - 1, last.text().len());
        return Err(invalid(parenthesis).help(PARENTHESES));
    }
    Ok(words)
}

const PARENTHESES: &str = "write the condition in parentheses: if ($request_method = POST) { ... }";

fn is_file_test(text: &str) -> bool {
    let plain = text.strip_prefix('!').unwrap_or(text);
    plain.len() == 2 && plain.starts_with('-')
}

fn invalid(arg: Arg<'_>) -> Fault {
    arg.fault(format!("invalid condition \"{}\"", arg.text()))
}
