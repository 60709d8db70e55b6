//! `appserver ctl`: asks a running server by its control socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::connection::framed;

const USAGE: &str = "usage: appserver ctl [-s SOCKET] [-j] COMMAND

Asks a running server. COMMAND is one of
  workers | stats | config | listeners | all | metrics
  worker add [N] | worker remove [N] | worker kill PID
  reload | reopen | shutdown [quick] | help

  -s, --socket SOCKET  its control socket (--control-socket of the server) [$XDG_RUNTIME_DIR/gunicorn.ctl or ~/.gunicorn/gunicorn.ctl]
  -j, --json           the answer as JSON
";
/// An answer is not longer than this.
const ANSWER_MAX: u32 = 16 << 20;
/// A command line that is not understood.
const MISUSED: u8 = 2;

/// Runs the command; the result is the exit status.
pub(crate) fn main(words: &[String]) -> u8 {
    let mut socket = None;
    let mut as_json = false;
    let mut command = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-h" | "--help" => {
                print!("{USAGE}");
                return 0;
            }
            "-j" | "--json" => as_json = true,
            "-s" | "--socket" => socket = words.next().map(PathBuf::from),
            word => match word.strip_prefix("--socket=") {
                Some(path) => socket = Some(path.into()),
                None => command.push(word),
            },
        }
    }
    if command.is_empty() {
        eprint!("{USAGE}");
        return MISUSED;
    }
    let Some(socket) = socket.or_else(super::default_path) else {
        eprintln!("Error: name the control socket with -s");
        return MISUSED;
    };
    match ask(&socket, &command.join(" ")) {
        Ok(data) if as_json => println!("{data:#}"),
        Ok(data) => print!("{}", shown(&data)),
        Err(why) => {
            eprintln!("Error: {why}");
            return 1;
        }
    }
    0
}

fn ask(socket: &std::path::Path, command: &str) -> Result<Value, String> {
    let place = socket.display();
    let mut stream = UnixStream::connect(socket).map_err(|error| {
        format!("no server listens on \"{place}\": {error}; name its --control-socket with -s")
    })?;
    let fault = |error: std::io::Error| format!("\"{place}\": {error}");
    let question = json!({"id": 1, "command": command, "args": []}).to_string();
    stream
        .write_all(&framed(question.as_bytes()))
        .map_err(fault)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(fault)?;
    let length = u32::from_be_bytes(length);
    if length > ANSWER_MAX {
        return Err(format!(
            "\"{place}\": an answer of {length} bytes is too long"
        ));
    }
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text).map_err(fault)?;
    let mut answer: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    match answer["status"].as_str() {
        Some("ok") => Ok(answer["data"].take()),
        _ => Err(answer["error"].as_str().unwrap_or("no answer").to_owned()),
    }
}

/// An answer for people: lists as tables, the rest as `name: value`.
fn shown(data: &Value) -> String {
    if let Some(text) = data["text"].as_str() {
        return text.to_owned();
    }
    let Some(pairs) = data.as_object() else {
        return format!("{data}\n");
    };
    let mut text = String::new();
    for (name, value) in pairs {
        match value {
            Value::Array(rows) if rows.iter().any(Value::is_object) => text.push_str(&table(rows)),
            Value::Object(inner) => {
                text.push_str(&format!("{name}:\n"));
                for (name, value) in inner {
                    text.push_str(&format!("  {name}: {}\n", plain(value)));
                }
            }
            value => text.push_str(&format!("{name}: {}\n", plain(value))),
        }
    }
    text
}

fn table(rows: &[Value]) -> String {
    let first = rows.iter().find_map(Value::as_object);
    let names: Vec<&String> = first.into_iter().flat_map(|row| row.keys()).collect();
    let cells: Vec<Vec<String>> =
        std::iter::once(names.iter().map(|name| name.to_uppercase()).collect())
            .chain(rows.iter().map(|row| {
                names
                    .iter()
                    .map(|name| plain(&row[name.as_str()]))
                    .collect()
            }))
            .collect();
    let width = |column: usize| cells.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    cells.iter().map(line).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(value) => if *value { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_tables_and_the_rest_is_pairs() {
        let data =
            json!({"count": 2, "workers": [{"pid": 7, "busy": null}, {"pid": 1234, "busy": true}]});
        assert_eq!(shown(&data), "count: 2\nBUSY  PID\n-     7\nyes   1234\n");
    }
}
