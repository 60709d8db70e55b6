//! `log_format` and `access_log`: a line for each request. Phase: log.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use nginx_conf::{Args, Arity, Fault, List, Repeat, Spanned};

use crate::engine::compile::Settling;
use crate::engine::exchange::Exchange;
use crate::engine::logs::LogFile;
use crate::engine::scopes::{HTTP, HTTP_ONLY, HTTP_SERVER_LOCATION_IF};
use crate::engine::variables::{Template, VariableRef};
use crate::feature::{Directive, Feature, Handler, Phase};

/// The feature.
pub struct AccessLog;

/// What the block says.
#[derive(Default)]
pub struct Written {
    formats: List<FormatLine>,
    logs: List<LogLine>,
}

#[derive(Clone)]
struct FormatLine {
    name: String,
    escape: Escape,
    text: Spanned<nginx_conf::Template>,
}

#[derive(Clone)]
enum LogLine {
    Off,
    To {
        path: PathBuf,
        format: Option<Spanned<String>>,
        condition: Option<Spanned<nginx_conf::Template>>,
    },
}

/// How values are made safe for the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    /// `\xHH` for quotes, backslashes, controls and what is above ASCII.
    Default,
    /// As in a JSON string.
    Json,
    /// Not at all.
    None,
}

/// What requests read.
pub struct Settled {
    formats: HashMap<String, Arc<Format>>,
    logs: Vec<Log>,
}

struct Format {
    escape: Escape,
    text: Template,
}

#[derive(Clone)]
struct Log {
    file: Arc<LogFile>,
    format: Arc<Format>,
    condition: Option<Template>,
}

const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

type D = Directive<Written>;

impl Feature for AccessLog {
    type Written = Written;
    type Settled = Settled;
    const NAME: &'static str = "access_log";
    const DIRECTIVES: &'static [D] = &[
        D {
            name: "log_format",
            scopes: HTTP_ONLY,
            args: Arity::at_least(2),
            repeat: Repeat::Many,
            syntax: "name [escape=default|json|none] string ...",
            default: "combined \"...\"",
            doc: "A form for lines of the access log.",
            read: read_format,
            ..D::DEFAULT
        },
        D {
            name: "access_log",
            scopes: HTTP_SERVER_LOCATION_IF,
            args: Arity::at_least(1),
            repeat: Repeat::Many,
            syntax: "path [format] [buffer=size] [flush=time] [if=condition] | off",
            default: "logs/access.log combined",
            doc: "Where a line is written for each request. Lines are gathered while there is work and written before edge rests.",
            read: read_log,
            ..D::DEFAULT
        },
    ];
    const PHASES: &'static [(Phase, Handler<Settled>)] = &[(Phase::Log, Handler::Log(log))];

    fn settle(
        &self,
        written: Written,
        outer: Option<&Arc<Settled>>,
        at: &mut Settling<'_>,
    ) -> Arc<Settled> {
        let mut formats = outer.map(|outer| outer.formats.clone()).unwrap_or_default();
        if at.scope == HTTP {
            let text = nginx_conf::Template::parse(COMBINED)
                .unwrap_or_else(|_| unreachable!("a well-formed constant"));
            if let Some(span) = at.span {
                let combined = Format {
                    escape: Escape::Default,
                    text: at.template(&Spanned { value: text, span }),
                };
                formats.insert("combined".to_owned(), Arc::new(combined));
            }
        }
        for line in &written.formats {
            let format = Format {
                escape: line.value.escape,
                text: at.template(&line.value.text),
            };
            if formats
                .insert(line.value.name.clone(), Arc::new(format))
                .is_some()
            {
                at.fault(
                    Fault::new(format!(
                        "duplicate \"log_format\" name \"{}\"",
                        line.value.name
                    ))
                    .at(line.span)
                    .help("choose another name"),
                );
            }
        }
        let logs = if written.logs.is_empty() {
            match outer.filter(|_| at.scope != HTTP) {
                Some(outer) => outer.logs.clone(),
                None => default_log(&formats, at),
            }
        } else {
            written
                .logs
                .iter()
                .filter_map(|line| settle_log(line, &formats, at))
                .collect()
        };
        Arc::new(Settled { formats, logs })
    }

    fn active(settled: &Settled, _: Phase) -> bool {
        !settled.logs.is_empty()
    }
}

fn read_format(args: &mut Args<'_>, written: &mut Written) -> Result<(), Fault> {
    let name = args.one()?;
    let mut escape = Escape::Default;
    if let Some(value) = args.peek().and_then(|arg| arg.keyed("escape")) {
        escape = value
            .one_of(&[
                ("default", Escape::Default),
                ("json", Escape::Json),
                ("none", Escape::None),
            ])?
            .value;
        args.next();
    }
    let span = args.span();
    let text: String = args.rest().iter().map(nginx_conf::Arg::text).collect();
    let text = nginx_conf::Template::parse(&text).map_err(|fault| fault.or_at(span))?;
    let line = FormatLine {
        name: name.text().to_owned(),
        escape,
        text: Spanned { value: text, span },
    };
    written.formats.push(name.spanned(line))
}

fn read_log(args: &mut Args<'_>, written: &mut Written) -> Result<(), Fault> {
    let file = args.one()?;
    if file.text() == "off" {
        return written.logs.push(file.spanned(LogLine::Off));
    }
    if file.text().starts_with("syslog:") {
        return Err(file
            .fault("\"access_log\" can't write to \"syslog:\" yet")
            .help("name a file, or /dev/stdout and let the service manager collect it"));
    }
    if file.text().contains('$') {
        return Err(file
            .fault(format!(
                "\"access_log\" with variables in its path is not supported yet, got \"{}\"",
                file.text()
            ))
            .help("name one file, and put the variable into the log_format"));
    }
    let mut format = None;
    let mut condition = None;
    for arg in args.by_ref() {
        if let Some(value) = arg.keyed("if") {
            condition = Some(value.template()?);
        } else if let Some(value) = arg.keyed("buffer") {
            value.size()?;
        } else if let Some(value) = arg.keyed("flush") {
            value.duration()?;
        } else if arg.text() == "gzip" || arg.keyed("gzip").is_some() {
            return Err(arg
                .fault("\"access_log\" with \"gzip\" is not supported yet")
                .help("leave the parameter out and compress when rotating"));
        } else if format.is_none() && !arg.text().contains('=') {
            format = Some(arg.string()?);
        } else {
            return Err(arg.unknown_parameter(&["buffer=", "flush=", "if="]));
        }
    }
    written.logs.push(file.spanned(LogLine::To {
        path: PathBuf::from(file.text()),
        format,
        condition,
    }))
}

fn default_log(formats: &HashMap<String, Arc<Format>>, at: &mut Settling<'_>) -> Vec<Log> {
    let (true, Some(span), Some(combined)) = (at.scope == HTTP, at.span, formats.get("combined"))
    else {
        return Vec::new();
    };
    let format = Arc::clone(combined);
    at.default_access_log(span)
        .into_iter()
        .map(|file| Log {
            file,
            format: Arc::clone(&format),
            condition: None,
        })
        .collect()
}

fn settle_log(
    line: &Spanned<LogLine>,
    formats: &HashMap<String, Arc<Format>>,
    at: &mut Settling<'_>,
) -> Option<Log> {
    let LogLine::To {
        path,
        format,
        condition,
    } = &line.value
    else {
        return None;
    };
    let name = format
        .as_ref()
        .map_or("combined", |format| format.value.as_str());
    let Some(found) = formats.get(name) else {
        let span = format.as_ref().map_or(line.span, |format| format.span);
        at.fault(
            Fault::new(format!("unknown log format \"{name}\""))
                .at(span)
                .help("define it with \"log_format\" above, in \"http\""),
        );
        return None;
    };
    let condition = condition.as_ref().map(|condition| at.template(condition));
    Some(Log {
        file: at.log_file(path, line.span)?,
        format: Arc::clone(found),
        condition,
    })
}

fn log(settled: &Settled, exchange: &Exchange) {
    for log in &settled.logs {
        if let Some(condition) = &log.condition {
            let value = exchange.expand(condition);
            if value.is_empty() || value == b"0" {
                continue;
            }
        }
        log.file.gather(|out| {
            log.format.write(exchange, out);
            out.push(b'\n');
        });
    }
}

impl Format {
    fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        self.text
            .expand(out, |variable, out| self.value(variable, exchange, out));
    }

    fn value(&self, variable: &VariableRef, exchange: &Exchange, out: &mut Vec<u8>) {
        let start = out.len();
        if !variable.append(exchange, out) {
            out.truncate(start);
            if self.escape == Escape::Default {
                out.push(b'-');
            }
            return;
        }
        let unsafe_byte = |byte: u8| match self.escape {
            Escape::Default => !(0x20..0x7f).contains(&byte) || byte == b'"' || byte == b'\\',
            Escape::Json => byte < 0x20 || byte == b'"' || byte == b'\\',
            Escape::None => false,
        };
        if out.len() == start && self.escape == Escape::Default {
            return;
        }
        let Some(first) = out[start..].iter().position(|byte| unsafe_byte(*byte)) else {
            return;
        };
        let tail = out.split_off(start + first);
        for byte in tail {
            match self.escape {
                Escape::Default if unsafe_byte(byte) => {
                    out.extend_from_slice(format!("\\x{byte:02X}").as_bytes());
                }
                Escape::Json if unsafe_byte(byte) => json_escape(byte, out),
                _ => out.push(byte),
            }
        }
    }
}

fn json_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(format!("\\u{byte:04X}").as_bytes());
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
