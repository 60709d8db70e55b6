//! Faults in words: one line to grep for, with the remedy below; on a terminal the source line, underlined, as well.

use std::fmt::Write as _;

use crate::fault::{Fault, Faults, Severity};
use crate::source::Sources;
use crate::span::Span;

/// How faults are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `edge: [emerg] … in FILE:LINE`, then indented lines with the includes and the remedy.
    Line,
    /// The same with the source line, underlined.
    Terminal {
        /// Whether to use colours.
        colour: bool,
    },
}

impl Faults {
    /// All faults in the order of the text, under the name of the program.
    ///
    /// ```
    /// use nginx_conf::{Parser, SourceSet, Style};
    /// let (tree, faults) = Parser::new(&SourceSet::of([("/etc/c", "root /x;\n}\n")])).parse("/etc/c");
    /// let text = faults.render("edge", &tree.sources, Style::Line);
    /// assert!(text.starts_with("edge: [emerg] unexpected \"}\" in /etc/c:2\n"));
    /// ```
    pub fn render(&self, program: &str, sources: &Sources, style: Style) -> String {
        let mut sorted: Vec<&Fault> = self.iter().collect();
        sorted.sort_by_cached_key(|fault| fault.span().map(|span| sources.reading_order(span)));
        let mut out: String = sorted
            .iter()
            .map(|fault| fault.render(program, sources, style))
            .collect();
        if self.beyond() > 0 {
            let _ = writeln!(
                out,
                "{program}: {} more faults are not shown",
                self.beyond()
            );
        }
        out
    }
}

impl Fault {
    /// The fault in words, each line ended.
    pub fn render(&self, program: &str, sources: &Sources, style: Style) -> String {
        let paint = Paint {
            on: style == Style::Terminal { colour: true },
        };
        let severity = paint.severity(self.level());
        let mut out = format!(
            "{program}: [{severity}] {}\n",
            printable(&self.sentence(sources))
        );
        match style {
            Style::Line => {}
            Style::Terminal { .. } => self.excerpts(sources, paint, &mut out),
        }
        if let Some(span) = self.span() {
            for include in sources.chain(span.file) {
                let _ = writeln!(
                    out,
                    "  included from {}",
                    printable(&sources.place(include))
                );
            }
        }
        for (span, words) in self.notes() {
            if style == Style::Line {
                let _ = writeln!(out, "  {words}: {}", printable(&sources.place(*span)));
            }
        }
        for words in self.remedies() {
            let _ = writeln!(out, "  {}: {}", paint.help("help"), printable(words));
        }
        out
    }

    /// What and where, without program, severity and remedy: for a log that has its own form of line.
    pub fn sentence(&self, sources: &Sources) -> String {
        let mut out = self.message().to_owned();
        if let Some(word) = self.guessed() {
            let _ = write!(out, ", did you mean \"{word}\"?");
        }
        if let Some(span) = self.span() {
            let _ = write!(out, " in {}", sources.place(span));
        }
        out
    }

    fn excerpts(&self, sources: &Sources, paint: Paint, out: &mut String) {
        let main = self.span().map(|span| (span, ""));
        let mut places: Vec<(Span, &str)> = main
            .into_iter()
            .chain(
                self.notes()
                    .iter()
                    .map(|(span, words)| (*span, words.as_str())),
            )
            .collect();
        places.sort_by_key(|(span, _)| sources.reading_order(*span));
        let width = places
            .iter()
            .map(|(span, _)| span.line.to_string().len())
            .max()
            .unwrap_or(1);
        let mut file = self.span().map(|span| span.file);
        for (span, words) in places {
            if Some(span.file) != file {
                let _ = writeln!(
                    out,
                    " {:>width$} {} {}",
                    "",
                    paint.frame("::"),
                    printable(&sources.place(span))
                );
                file = Some(span.file);
            }
            let main = Some(span) == self.span();
            excerpt(span, words, main, width, sources, paint, out);
        }
    }
}

/// One source line and what stands under it.
fn excerpt(
    span: Span,
    words: &str,
    main: bool,
    width: usize,
    sources: &Sources,
    paint: Paint,
    out: &mut String,
) {
    let line = Line::of(span, sources);
    let mut under = if main { "^" } else { "-" }.repeat(line.marked.clamp(1, Line::COLUMNS));
    if main && span.start as usize >= sources.text(span.file).len() {
        under.push_str(" the text ends here");
    }
    if !words.is_empty() {
        let _ = write!(under, " {words}");
    }
    let under = if main {
        paint.mark(&under)
    } else {
        paint.frame(&under)
    };
    let (frame, pad) = (paint.frame("|"), " ".repeat(line.before));
    let _ = writeln!(out, " {:>width$} {frame} {}", span.line, line.text);
    let _ = writeln!(out, " {:>width$} {frame} {pad}{under}", "");
}

/// A source line as it is shown: tabs as one blank, unprintable characters replaced, a very long line cut down.
struct Line {
    text: String,
    /// Columns before the stretch.
    before: usize,
    /// Columns of the stretch.
    marked: usize,
}

impl Line {
    /// Widest line that is shown whole.
    const COLUMNS: usize = 120;
    /// Columns kept before the stretch where a line is cut.
    const LEAD: usize = 40;

    fn of(span: Span, sources: &Sources) -> Line {
        let text = sources.text(span.file);
        let start = (span.start as usize).min(text.len());
        let from = text[..start]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let to = text[start..]
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(text.len(), |at| start + at);
        let stop = (start + span.len as usize).min(to);
        let before = clean(&text[from..start]);
        let marked = clean(&text[start..stop]);
        let after = clean(&text[stop..to]);
        let (columns, marks) = (before.chars().count(), marked.chars().count());
        let whole = before + &marked + &after;
        let total = whole.chars().count();
        if total <= Line::COLUMNS {
            return Line {
                text: whole,
                before: columns,
                marked: marks,
            };
        }
        let skip = if columns + marks > Line::COLUMNS {
            columns.saturating_sub(Line::LEAD)
        } else {
            0
        };
        let (head, tail) = (
            if skip > 0 { "..." } else { "" },
            if total > skip + Line::COLUMNS {
                "..."
            } else {
                ""
            },
        );
        let part: String = whole.chars().skip(skip).take(Line::COLUMNS).collect();
        let before = columns - skip + head.len();
        Line {
            text: format!("{head}{part}{tail}"),
            before,
            marked: marks.min(Line::COLUMNS - (columns - skip)),
        }
    }
}

fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let visible = text.chars().filter(|&character| character != '\r');
    visible
        .map(|character| {
            if character == '\t' {
                ' '
            } else if character.is_control() {
                '\u{FFFD}'
            } else {
                character
            }
        })
        .collect()
}

/// Text of a file may hold control characters, which must not reach a terminal or break a line.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

#[derive(Clone, Copy)]
struct Paint {
    on: bool,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn severity(self, severity: Severity) -> String {
        let code = match severity {
            Severity::Emerg => "1;31",
            Severity::Warn => "1;33",
            Severity::Notice => "1;36",
        };
        self.with(code, severity.word())
    }

    fn mark(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn frame(self, text: &str) -> String {
        self.with("34", text)
    }

    fn help(self, text: &str) -> String {
        self.with("1;32", text)
    }
}
