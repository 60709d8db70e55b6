//! Finds the end of a line, within its limits, in a buffer that may end before it.

/// The rules for one line.
pub(super) struct Find {
    /// Most bytes of the line without its end.
    pub limit: usize,
    /// Most bytes that may still come, line end included.
    pub room: usize,
    /// Whether LF alone ends a line.
    pub bare_lf: bool,
}

/// A complete line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// The line without its end.
    pub text: &'a [u8],
    /// Its length with the end.
    pub len: usize,
}

/// Why there is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineError {
    TooLong,
    TooLarge,
    BareLf,
}

impl Find {
    /// Looks for the end of the line that begins with `rest`, of which `scanned` bytes are known to have none. `None` while it is incomplete.
    ///
    /// The outcome is the same however the bytes arrive: a limit is passed as soon as it is certain that it will be.
    #[inline]
    pub fn line<'a>(&self, rest: &'a [u8], scanned: usize) -> Result<Option<Line<'a>>, LineError> {
        let Some(end) = memchr::memchr(b'\n', &rest[scanned..]) else {
            self.check(
                rest,
                rest.strip_suffix(b"\r").unwrap_or(rest),
                rest.len() >= self.room,
            )?;
            return Ok(None);
        };
        let whole = &rest[..scanned + end + 1];
        let without_lf = &rest[..scanned + end];
        let text = without_lf.strip_suffix(b"\r").unwrap_or(without_lf);
        self.check(whole, text, whole.len() > self.room)?;
        if text.len() == without_lf.len() && !self.bare_lf {
            return Err(LineError::BareLf);
        }
        Ok(Some(Line {
            text,
            len: whole.len(),
        }))
    }

    /// The same for a line that goes on where the next one begins with white space (RFC 9112 §5.2); its text has line ends in it then.
    /// While it is incomplete, the number of bytes that are known to have no end of it.
    pub fn folded_line<'a>(
        &self,
        rest: &'a [u8],
        mut scanned: usize,
    ) -> Result<Result<Line<'a>, usize>, LineError> {
        loop {
            let Some(line) = self.line(rest, scanned)? else {
                return Ok(Err(rest.len()));
            };
            match rest.get(line.len) {
                _ if line.text.is_empty() => return Ok(Ok(line)),
                Some(b' ' | b'\t') => scanned = line.len,
                Some(_) => return Ok(Ok(line)),
                // The line end is looked at again when it is known what follows.
                None => return Ok(Err(line.len - 1)),
            }
        }
    }

    /// If both limits are passed, the one that a peer sending byte by byte would have met first counts.
    #[inline]
    fn check(&self, seen: &[u8], text: &[u8], too_large: bool) -> Result<(), LineError> {
        if text.len() > self.limit {
            // A CR just behind the limit might still have been the line's end.
            let certain_at = self.limit + if seen[self.limit] == b'\r' { 2 } else { 1 };
            return Err(if too_large && self.room < certain_at {
                LineError::TooLarge
            } else {
                LineError::TooLong
            });
        }
        if too_large {
            Err(LineError::TooLarge)
        } else {
            Ok(())
        }
    }
}
