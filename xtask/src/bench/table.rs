//! Markdown.

use std::fmt::Write;

use super::measure::{Series, Spread};

/// Everything that was measured.
pub struct Report {
    head: Vec<String>,
    pairs: Vec<Pair>,
    details: Vec<String>,
    appendix: Vec<String>,
}

/// A comparison: theirs divided by ours.
struct Pair {
    what: String,
    ratio: f64,
    goal: Option<f64>,
}

/// What of a series is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// CPU time for each request.
    Cpu,
    /// Requests in a second, ours divided by theirs.
    Speed,
    /// Memory.
    Memory,
}

impl Report {
    /// With the lines above the tables.
    pub fn new(head: Vec<String>) -> Self {
        Report {
            head,
            pairs: Vec::new(),
            details: Vec::new(),
            appendix: Vec::new(),
        }
    }

    /// A table of one bench; the first series is ours, `goals` name a part of a peer's name and what the ratio should reach.
    pub fn add(
        &mut self,
        title: &str,
        compared: Compared,
        series: &[Series],
        goals: &[(&str, f64)],
    ) {
        let Some((ours, theirs)) = series.split_first() else {
            return;
        };
        let mut text = format!(
            "### {title}\n\n| program | CPU µs/request | requests/s | p99 ms | memory MiB | errors |\n|---|---|---|---|---|---|\n"
        );
        for one in series {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                one.name,
                spread(&one.cpu_us),
                spread(&one.requests_per_second),
                spread(&one.p99_ms),
                spread(&one.memory_mib),
                one.errors
            );
        }
        for peer in theirs {
            let (mine, other) = match compared {
                Compared::Cpu => (&ours.cpu_us, &peer.cpu_us),
                Compared::Speed => (&peer.requests_per_second, &ours.requests_per_second),
                Compared::Memory => (&ours.memory_mib, &peer.memory_mib),
            };
            let goal = goals.iter().find(|(name, _)| peer.name.contains(name));
            let by = match compared {
                Compared::Cpu => "CPU",
                Compared::Speed => "requests/s",
                Compared::Memory => "memory",
            };
            self.pairs.push(Pair {
                what: format!("{title}: {} against {} ({by})", ours.name, peer.name),
                ratio: other.median() / mine.median(),
                goal: goal.map(|(_, goal)| *goal),
            });
        }
        self.details.push(text);
        let mut commands = format!("{title}:\n");
        for one in series {
            let _ = writeln!(commands, "  {}", one.commands.join("\n  "));
        }
        self.appendix.push(commands);
    }

    /// Text of its own.
    pub fn add_text(&mut self, text: String) {
        self.details.push(text);
    }

    /// A configuration or a program that was used; once is enough.
    pub fn add_source(&mut self, name: &str, text: &str) {
        let source = format!("{name}:\n{text}");
        if !self.appendix.contains(&source) {
            self.appendix.push(source);
        }
    }

    /// The whole.
    pub fn markdown(&self) -> String {
        let mut text = String::from("## Measurements\n\n");
        for line in &self.head {
            let _ = writeln!(text, "- {line}");
        }
        if !self.pairs.is_empty() {
            text.push_str(
                "\n| pair | their cost divided by ours | wanted | |\n|---|---|---|---|\n",
            );
        }
        for pair in &self.pairs {
            let (goal, word) = match pair.goal {
                Some(goal) if pair.ratio >= goal => (format!("{goal:.2}"), "reached"),
                Some(goal) => (format!("{goal:.2}"), "missed"),
                None => (String::new(), ""),
            };
            let _ = writeln!(
                text,
                "| {} | {:.2} | {goal} | {word} |",
                pair.what, pair.ratio
            );
        }
        for detail in &self.details {
            let _ = write!(text, "\n{detail}");
        }
        if !self.appendix.is_empty() {
            text.push_str("\n<details><summary>Commands, configurations, applications</summary>\n");
            for source in &self.appendix {
                let _ = write!(text, "\n```text\n{}\n```\n", source.trim_end());
            }
            text.push_str("\n</details>\n");
        }
        text
    }
}

fn spread(figures: &Spread) -> String {
    let (least, most) = figures.ends();
    if figures.median().is_nan() {
        return "–".to_owned();
    }
    if least == most {
        return number(least);
    }
    format!(
        "{} ({}–{})",
        number(figures.median()),
        number(least),
        number(most)
    )
}

fn number(figure: f64) -> String {
    match figure {
        figure if figure >= 1000.0 => format!("{figure:.0}"),
        figure if figure >= 100.0 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, cpu_us: &[f64]) -> Series {
        let mut series = Series {
            name: name.to_owned(),
            ..Series::default()
        };
        cpu_us.iter().for_each(|&figure| series.cpu_us.add(figure));
        series
    }

    #[test]
    fn a_pair_is_theirs_divided_by_ours() {
        let mut report = Report::new(vec!["Machine: one".to_owned()]);
        let both = [series("edge", &[4.0, 5.0, 6.0]), series("nginx", &[10.0])];
        report.add("static 1 KiB", Compared::Cpu, &both, &[("nginx", 1.35)]);
        let text = report.markdown();
        assert!(text.contains("- Machine: one\n"), "{text}");
        assert!(
            text.contains("edge against nginx (CPU) | 2.00 | 1.35 | reached |"),
            "{text}"
        );
        assert!(text.contains("| edge | 5.00 (4.00–6.00) | – |"), "{text}");
    }
}
