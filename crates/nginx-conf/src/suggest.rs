//! "did you mean": the nearest known word, if one is near enough.

use crate::fault::Fault;

/// The candidate with the fewest edits, if a typing error explains it: at most a third of the letters, three at most.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let near = candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate));
    // ties go to the alphabet, so that messages don't depend on the order of tables
    near.filter(|(edits, _)| *edits <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Adds the guess to a fault.
pub(crate) fn did_you_mean<'a>(
    fault: Fault,
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Fault {
    match nearest(word, candidates) {
        Some(guess) => fault.guess(guess),
        None => fault,
    }
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
pub(crate) fn alternatives<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words
        .into_iter()
        .map(|word| format!("\"{word}\""))
        .collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Insertions, deletions, replacements and swaps of neighbours.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (last[j + 1] + 1)
                .min(row[j] + 1)
                .min(last[j] + usize::from(a != b));
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typing_errors_only() {
        let names = ["server", "server_name", "listen", "root", "proxy_pass"];
        let cases = [
            ("servr", Some("server")),
            ("lisetn", Some("listen")),
            ("proxypass", Some("proxy_pass")),
            ("rot", Some("root")),
            ("alias", None),
            ("x", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
    }

    #[test]
    fn lists_alternatives() {
        assert_eq!(alternatives(["a"]), "\"a\"");
        assert_eq!(alternatives(["a", "b"]), "\"a\" or \"b\"");
        assert_eq!(alternatives(["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }
}
