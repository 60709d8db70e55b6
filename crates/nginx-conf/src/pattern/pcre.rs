//! PCRE's spelling to that of the engine. Where both agree nothing changes; classes are written anew, because the engine
//! reads `[`, `&&`, `--` and `~~` inside of them as operators and PCRE doesn't.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

pub(super) struct Translated {
    pub(super) text: String,
    pub(super) utf8: bool,
}

#[derive(Debug)]
pub(super) struct Unsupported {
    pub(super) reason: String,
    pub(super) remedy: &'static str,
}

pub(super) fn translate(source: &str) -> Result<Translated, Unsupported> {
    let (rest, utf8) = start_options(source)?;
    let mut writer = Writer {
        rest: rest.chars().peekable(),
        out: String::with_capacity(rest.len() + 8),
        utf8,
    };
    writer.expression()?;
    Ok(Translated {
        text: writer.out,
        utf8,
    })
}

/// `(*UTF8)` and its like, which PCRE takes at the very start.
fn start_options(mut source: &str) -> Result<(&str, bool), Unsupported> {
    let mut utf8 = false;
    while let Some(inner) = source.strip_prefix("(*") {
        let (verb, rest) = inner.split_once(')').ok_or_else(|| no_verb(inner))?;
        match verb {
            "UTF8" | "UTF" | "UCP" => utf8 = true,
            "NO_JIT" | "NO_START_OPT" | "NO_AUTO_POSSESS" | "LF" => {}
            other => return Err(no_verb(other)),
        }
        source = rest;
    }
    Ok((source, utf8))
}

fn no_verb(verb: &str) -> Unsupported {
    Unsupported {
        reason: format!("(*{verb}) is not supported here"),
        remedy: "of PCRE's verbs only (*UTF8) and (*UCP) can be used",
    }
}

struct Writer<'s> {
    rest: Peekable<Chars<'s>>,
    out: String,
    utf8: bool,
}

impl Writer<'_> {
    fn expression(&mut self) -> Result<(), Unsupported> {
        while let Some(character) = self.rest.next() {
            match character {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '{' if !self.quantifier_follows() => self.out.push_str("\\{"),
                '{' => self.quantifier(),
                '}' | ']' => {
                    self.out.push('\\');
                    self.out.push(character);
                }
                other => self.out.push(other),
            }
        }
        Ok(())
    }

    /// `{2}`, `{2,}`, `{2,3}`; anything else after `{` makes it a plain character.
    fn quantifier_follows(&self) -> bool {
        let inside: String = self
            .rest
            .clone()
            .take_while(|&character| character != '}')
            .collect();
        let closed = self.rest.clone().any(|character| character == '}');
        let (low, high) = inside.split_once(',').unwrap_or((&inside, "0"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        closed && !low.is_empty() && digits(low) && digits(high)
    }

    fn quantifier(&mut self) {
        self.out.push('{');
        for character in self.rest.by_ref() {
            self.out.push(character);
            if character == '}' {
                return;
            }
        }
    }

    fn group(&mut self) -> Result<(), Unsupported> {
        let ahead: String = self.rest.clone().take(3).collect();
        if ahead.starts_with('*') {
            let verb: String = self
                .rest
                .clone()
                .skip(1)
                .take_while(|&character| character != ')')
                .collect();
            return Err(no_verb(&verb));
        }
        if ahead.starts_with("?#") {
            self.rest.by_ref().find(|&character| character == ')');
            return Ok(());
        }
        if ahead.starts_with("?'") {
            self.skip(2);
            let name = self.until('\'');
            let _ = write!(self.out, "(?<{name}>");
            return Ok(());
        }
        if ahead == "?P>" || ahead.starts_with("?&") {
            self.skip(if ahead == "?P>" { 3 } else { 2 });
            let name = self.until(')');
            let _ = write!(self.out, "\\g<{name}>");
            return Ok(());
        }
        if ahead == "?P=" {
            self.skip(3);
            let name = self.until(')');
            let _ = write!(self.out, "\\k<{name}>");
            return Ok(());
        }
        if ahead.starts_with("?R") || ahead.starts_with("?0") {
            return Err(Unsupported {
                reason: "recursion into the whole expression is not supported".to_owned(),
                remedy: "match nested text in the application",
            });
        }
        if ahead.starts_with("?|") {
            return Err(Unsupported {
                reason: "(?| is not supported".to_owned(),
                remedy: "give each alternative groups of its own",
            });
        }
        self.out.push('(');
        Ok(())
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.rest.next();
        }
    }

    fn until(&mut self, end: char) -> String {
        self.rest
            .by_ref()
            .take_while(|&character| character != end)
            .collect()
    }

    fn escape(&mut self) -> Result<(), Unsupported> {
        let Some(character) = self.rest.next() else {
            self.out.push('\\');
            return Ok(());
        };
        match character {
            'Q' => {
                for character in self.quotation() {
                    self.literal(character);
                }
            }
            'E' => {}
            'h' => self.out.push_str("[\\t ]"),
            'H' => self.out.push_str("[^\\t ]"),
            'v' => self.out.push_str("[\\n\\x0b\\f\\r]"),
            'V' => self.out.push_str("[^\\n\\x0b\\f\\r]"),
            'Z' => self.out.push_str("(?=\\n?\\z)"),
            'C' => self.out.push_str("(?s:.)"),
            'g' | 'k' => self.back_reference(character),
            '0' => {
                let value = self.octal(2, 0);
                self.code(value);
            }
            'c' | 'x' | 'o' => {
                let value = self.coded(character)?;
                self.code(value);
            }
            other if other.is_ascii_alphanumeric() => {
                self.out.push('\\');
                self.out.push(other);
            }
            other => self.literal(other),
        }
        Ok(())
    }

    /// `\g1`, `\g{1}`, `\g{-1}`, `\g{name}`, `\k{name}`, `\k<name>`, `\k'name'`; `\g<name>` is a call.
    fn back_reference(&mut self, letter: char) {
        let ends = match self.rest.peek() {
            Some('{') => '}',
            Some('<') if letter == 'k' => '>',
            Some('\'') if letter == 'k' => '\'',
            Some(digit) if digit.is_ascii_digit() => {
                self.out.push('\\');
                return;
            }
            _ => {
                self.out.push('\\');
                return self.out.push(letter);
            }
        };
        self.rest.next();
        let name = self.until(ends);
        let _ = write!(self.out, "\\k<{name}>");
    }

    /// The characters up to `\E` or the end.
    fn quotation(&mut self) -> Vec<char> {
        let mut inside = Vec::new();
        while let Some(character) = self.rest.next() {
            if character == '\\' && self.rest.next_if_eq(&'E').is_some() {
                break;
            }
            inside.push(character);
        }
        inside
    }

    /// A character that means itself.
    fn literal(&mut self, character: char) {
        if character.is_ascii() && !character.is_ascii_alphanumeric() {
            let _ = write!(self.out, "\\x{:02X}", character as u32);
        } else {
            self.out.push(character);
        }
    }

    /// A character given by its number.
    fn code(&mut self, value: u32) {
        let _ = if value > 0xFF {
            write!(self.out, "\\x{{{value:X}}}")
        } else {
            write!(self.out, "\\x{value:02X}")
        };
    }

    fn octal(&mut self, digits: usize, start: u32) -> u32 {
        let mut value = start;
        for _ in 0..digits {
            let Some(digit) = self.rest.next_if(|character| character.is_digit(8)) else {
                break;
            };
            value = value * 8 + digit.to_digit(8).unwrap_or(0);
        }
        value
    }

    /// `\cX`, `\xHH`, `\x{…}`, `\o{…}`.
    fn coded(&mut self, letter: char) -> Result<u32, Unsupported> {
        if letter == 'c' {
            return Ok(self.rest.next().map_or(0, |character| {
                (character.to_ascii_uppercase() as u32) ^ 0x40
            }));
        }
        let radix = if letter == 'o' { 8 } else { 16 };
        if self.rest.next_if_eq(&'{').is_some() {
            let digits = self.until('}');
            let value = u32::from_str_radix(&digits, radix)
                .ok()
                .filter(|&value| self.utf8 || value <= 0xFF);
            return value.ok_or_else(|| Unsupported {
                reason: format!(
                    "character code point value in \\{letter}{{{digits}}} is too large or malformed"
                ),
                remedy: "without (*UTF8) at the start a character is one byte, up to \\x{FF}",
            });
        }
        let mut value = 0;
        for _ in 0..2 {
            let Some(digit) = self.rest.next_if(|character| character.is_ascii_hexdigit()) else {
                break;
            };
            value = value * 16 + digit.to_digit(16).unwrap_or(0);
        }
        Ok(value)
    }

    /// A class, written anew with every plain character that could be an operator as its number.
    fn class(&mut self) -> Result<(), Unsupported> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        // whether the last thing written can start a range
        let mut can_start = false;
        while let Some(character) = self.rest.next() {
            match character {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' if self.posix_class() => can_start = false,
                '-' if can_start && self.rest.peek().is_some_and(|&next| next != ']') => {
                    self.out.push('-');
                    can_start = false;
                }
                '\\' => can_start = self.class_escape()?,
                other => {
                    self.member(other);
                    can_start = true;
                }
            }
            first = false;
        }
        Err(Unsupported {
            reason: "missing terminating ] for character class".to_owned(),
            remedy: "write \\[ for a plain bracket",
        })
    }

    /// `[:alpha:]`, when the opening bracket has been taken.
    fn posix_class(&mut self) -> bool {
        let ahead: String = self
            .rest
            .clone()
            .take_while(|&character| character != ']')
            .collect();
        let Some(name) = ahead
            .strip_prefix(':')
            .and_then(|inner| inner.strip_suffix(':'))
        else {
            return false;
        };
        if !name
            .trim_start_matches('^')
            .bytes()
            .all(|byte| byte.is_ascii_lowercase())
        {
            return false;
        }
        let _ = write!(self.out, "[:{name}:]");
        self.skip(ahead.chars().count() + 1);
        true
    }

    /// Says whether a range can start with it.
    fn class_escape(&mut self) -> Result<bool, Unsupported> {
        let Some(character) = self.rest.next() else {
            return Ok(false);
        };
        match character {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P' => {
                self.out.push('\\');
                self.out.push(character);
                if matches!(character, 'p' | 'P') && self.rest.next_if_eq(&'{').is_some() {
                    let name = self.until('}');
                    let _ = write!(self.out, "{{{name}}}");
                }
                return Ok(false);
            }
            'h' => self.out.push_str("\\t\\x20"),
            'v' => self.out.push_str("\\n\\x0b\\f\\r"),
            'Q' => {
                for character in self.quotation() {
                    self.member(character);
                }
            }
            'E' => return Ok(false),
            'b' => self.code(0x08),
            'n' => self.code(0x0A),
            'r' => self.code(0x0D),
            't' => self.code(0x09),
            'f' => self.code(0x0C),
            'a' => self.code(0x07),
            'e' => self.code(0x1B),
            'c' | 'x' | 'o' => {
                let value = self.coded(character)?;
                self.code(value);
            }
            digit @ '0'..='7' => {
                let value = self.octal(2, digit as u32 - '0' as u32);
                self.code(value & 0xFF);
            }
            other => self.member(other),
        }
        Ok(true)
    }

    /// A plain member of a class; without UTF-8 each of its bytes is one, as in PCRE.
    fn member(&mut self, character: char) {
        if character.is_ascii() || self.utf8 {
            return self.literal(character);
        }
        let mut bytes = [0; 4];
        for byte in character.encode_utf8(&mut bytes).bytes() {
            self.code(u32::from(byte));
        }
    }
}
