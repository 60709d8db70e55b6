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
        sorted
            .iter()
            .map(|fault| fault.render(program, sources, style))
            .collect()
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
        match self.span() {
            Some(span) => format!("{} in {}", self.message(), sources.place(span)),
            None => self.message().to_owned(),
        }
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
    let (line, start) = source_line(span, sources);
    let shown = Window::of(&line, start);
    let stop = (start + span.len as usize).min(line.len()).max(start);
    let pad = shown.columns(&line[..start]);
    let marks = shown.columns(&line[start..stop]).clamp(1, Window::COLUMNS);
    let mark = if main { "^" } else { "-" };
    let words = if main && span.len == 0 {
        "the text ends here"
    } else {
        words
    };
    let under = format!(
        "{}{}",
        mark.repeat(marks),
        if words.is_empty() {
            String::new()
        } else {
            format!(" {words}")
        }
    );
    let _ = writeln!(
        out,
        " {:>width$} {} {}",
        span.line,
        paint.frame("|"),
        shown.text(&line)
    );
    let _ = writeln!(
        out,
        " {:>width$} {} {}{}",
        "",
        paint.frame("|"),
        " ".repeat(pad),
        if main {
            paint.mark(&under)
        } else {
            paint.frame(&under)
        }
    );
}

/// The line a stretch begins on, tabs as one blank and unprintable characters replaced, and where the stretch begins in it.
fn source_line(span: Span, sources: &Sources) -> (String, usize) {
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
    let clean = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .replace('\t', " ")
            .replace(|c: char| c.is_control() && c != '\r', "\u{FFFD}")
            .replace('\r', "")
    };
    let before = clean(&text[from..start]);
    let offset = before.len();
    (before + &clean(&text[start..to]), offset)
}

/// The part of a long line that is shown.
struct Window {
    skip: usize,
}

impl Window {
    const COLUMNS: usize = 120;

    fn of(line: &str, start: usize) -> Window {
        let column = line[..start].chars().count();
        Window {
            skip: if column > Window::COLUMNS - 40 {
                column - 40
            } else {
                0
            },
        }
    }

    fn text<'l>(&self, line: &'l str) -> std::borrow::Cow<'l, str> {
        let total = line.chars().count();
        if self.skip == 0 && total <= Window::COLUMNS {
            return line.into();
        }
        let dots = |on: bool| if on { "..." } else { "" };
        let part: String = line.chars().skip(self.skip).take(Window::COLUMNS).collect();
        format!(
            "{}{part}{}",
            dots(self.skip > 0),
            dots(total > self.skip + Window::COLUMNS)
        )
        .into()
    }

    fn columns(&self, part: &str) -> usize {
        let count = part.chars().count();
        if count < self.skip || self.skip == 0 {
            count
        } else {
            count - self.skip + 3
        }
    }
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
