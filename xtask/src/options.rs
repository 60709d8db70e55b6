//! Command lines of the commands: `--name`, `--name VALUE`, `--name=VALUE` and words.

use std::collections::VecDeque;

/// Arguments that are taken one by one; what nobody takes is refused.
pub struct Options {
    left: VecDeque<String>,
}

impl Options {
    /// From the arguments behind the command's name.
    pub fn new(arguments: &[String]) -> Self {
        let mut left = VecDeque::new();
        for argument in arguments {
            match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    left.extend([name.to_owned(), value.to_owned()]);
                }
                _ => left.push_back(argument.clone()),
            }
        }
        Options { left }
    }

    /// Whether `--name` was given.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.left.len();
        self.left.retain(|argument| argument != name);
        self.left.len() != before
    }

    /// The value of `--name`, the last one when it was given more often.
    pub fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        Ok(self.values(name)?.pop())
    }

    /// The values of all `--name`, in order.
    pub fn values(&mut self, name: &str) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        while let Some(at) = self.left.iter().position(|argument| argument == name) {
            self.left.remove(at);
            let value = self
                .left
                .remove(at)
                .ok_or_else(|| format!("\"{name}\" takes a value"))?;
            found.push(value);
        }
        Ok(found)
    }

    /// The number behind `--name`.
    pub fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        let parse = |text: String| {
            text.parse()
                .map_err(|_| format!("\"{name}\" takes a number, got \"{text}\""))
        };
        self.value(name)?.map(parse).transpose()
    }

    /// What is left, which may hold no option any more.
    pub fn words(self) -> Result<Vec<String>, String> {
        match self.left.iter().find(|argument| argument.starts_with('-')) {
            Some(unknown) => Err(format!("unknown option \"{unknown}\"; see --help")),
            None => Ok(self.left.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Options::new(&arguments)
    }

    #[test]
    fn takes_flags_values_and_words() {
        let mut some = options("one --quick --rounds=7 two --front nginx");
        assert!(some.flag("--quick"));
        assert!(!some.flag("--quick"));
        assert_eq!(some.number("--rounds"), Ok(Some(7)));
        assert_eq!(some.value("--front"), Ok(Some("nginx".to_owned())));
        assert_eq!(some.value("--app"), Ok(None));
        let mut both = options("--skip a --skip=b");
        assert_eq!(
            both.values("--skip"),
            Ok(vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(some.words(), Ok(vec!["one".to_owned(), "two".to_owned()]));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(options("--quik").words().unwrap_err().contains("--quik"));
        assert!(options("--rounds").number("--rounds").is_err());
        assert!(options("--rounds many").number("--rounds").is_err());
    }
}
