//! Splitting `GUNICORN_CMD_ARGS` into words as Python's `shlex.split` does.

/// The words of a line: white space separates, quotes and backslashes keep it.
///
/// # Errors
/// A quote that does not end, a backslash at the end.
pub(crate) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => quoted(&mut chars, '\'', word.get_or_insert_default())?,
            '"' => quoted(&mut chars, '"', word.get_or_insert_default())?,
            '\\' => {
                let next = chars.next().ok_or("No escaped character")?;
                word.get_or_insert_default().push(next);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(
    chars: &mut std::str::Chars<'_>,
    quote: char,
    word: &mut String,
) -> Result<(), &'static str> {
    const OPEN: &str = "No closing quotation";
    loop {
        match chars.next().ok_or(OPEN)? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => {
                let next = chars.next().ok_or(OPEN)?;
                if next != '"' && next != '\\' {
                    word.push('\\');
                }
                word.push(next);
            }
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_and_backslashes() {
        for (line, words) in [
            ("", vec![]),
            ("  -b  :80 ", vec!["-b", ":80"]),
            ("--x='a b'c ''", vec!["--x=a bc", ""]),
            (r#""a \"b\" \n" c\ d"#, vec![r#"a "b" \n"#, "c d"]),
            ("'it''s'", vec!["its"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        assert_eq!(split("'a"), Err("No closing quotation"));
        assert_eq!(split("\"a"), Err("No closing quotation"));
        assert_eq!(split("a\\"), Err("No escaped character"));
    }
}
