//! Load by wrk, and what it says.

use super::machine::Cores;
use crate::process::output;

/// Told by wrk at its end, for us to read.
const SCRIPT: &str = "\
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('XTASK %d %d %d %d\\n', summary.requests, summary.duration,
    latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
";

/// What one run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub requests: u64,
    pub duration_us: u64,
    pub p99_us: u64,
    pub errors: u64,
}

/// Asks for `url` for so many seconds; with `POST` and so many bytes, where they are given.
pub fn run(
    core: usize,
    url: &str,
    post_bytes: Option<usize>,
    seconds: u64,
    connections: u64,
    folder: &std::path::Path,
) -> Result<Counted, String> {
    let script = folder.join("report.lua");
    let question = post_bytes.map_or_else(String::new, |bytes| {
        format!("wrk.method = 'POST'\nwrk.body = string.rep('x', {bytes})\n")
    });
    std::fs::write(&script, question + SCRIPT)
        .map_err(|error| format!("can't write \"{}\": {error}", script.display()))?;
    let mut wrk = Cores::bound(core, "wrk");
    wrk.args([
        "-t1",
        &format!("-c{connections}"),
        &format!("-d{seconds}s"),
        "--timeout",
        "10s",
    ])
    .arg("-s")
    .arg(&script)
    .arg(url);
    let said = output(&mut wrk)?;
    parse(&said).ok_or_else(|| format!("wrk said something else:\n{said}"))
}

fn parse(said: &str) -> Option<Counted> {
    let line = said.lines().find_map(|line| line.strip_prefix("XTASK "))?;
    let numbers: Vec<u64> = line
        .split(' ')
        .map_while(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [requests, duration_us, p99_us, errors] if requests > 0 => Some(Counted {
            requests,
            duration_us,
            p99_us,
            errors,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_script_writes() {
        let said = "Running 1s test\n  Requests/sec: 1\nXTASK 1000 2000000 350 0\n";
        let counted = parse(said).expect("counts");
        assert_eq!((counted.requests, counted.p99_us), (1000, 350));
        assert_eq!(parse("XTASK 0 2000000 350 0\n"), None);
        assert_eq!(parse("wrk: unable to connect\n"), None);
    }
}
