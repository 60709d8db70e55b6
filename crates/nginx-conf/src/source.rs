//! Where configuration text comes from. All of it passes through a [`Loader`], so that a master can read the files and
//! ship them as a [`SourceSet`] to a worker, which parses the same text without touching a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fault::Faults;
use crate::glob;
use crate::parse::Parser;
use crate::span::{FileId, Span};
use crate::tree::Tree;

/// Most bytes of one file.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// Gives out files and matches patterns.
pub trait Loader {
    /// The bytes of a file.
    ///
    /// # Errors
    /// As the operating system gives them; [`io::ErrorKind::NotFound`] for an unknown file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The files that match a pattern of `*`, `?` and `[…]`, in bytewise order. No match is no error.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>>;
}

/// Reads from the file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskLoader;

impl Loader for DiskLoader {
    /// Reads one byte more than allowed at most, so that a device without end is no danger.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        File::open(path)?
            .take(FILE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut text)?;
        Ok(text)
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        glob::expand(pattern)
    }
}

/// All text of one configuration, as it was read: what a worker needs to parse it again, and what `-T` prints.
///
/// Also the loader for tests and for configurations that never were files:
///
/// ```
/// use nginx_conf::{Parser, SourceSet};
/// let set = SourceSet::of([("/etc/app.conf", "include sites/*.conf;"), ("/etc/sites/a.conf", "listen 80;")]);
/// let (tree, faults) = Parser::new(&set).parse("/etc/app.conf");
/// assert!(faults.is_empty());
/// assert_eq!(tree.root.to_string(), "listen 80;\n");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSet {
    /// What the command line said (`-g`), if anything.
    pub globals: Option<String>,
    /// Path and bytes, in the order they were first opened. The first is the main file.
    files: Vec<(String, Text)>,
    /// What each pattern matched when it was expanded.
    globs: BTreeMap<String, Vec<String>>,
}

/// Text is nearly always UTF-8 and then stays readable in any format; comments may hold other bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Text {
    Utf8(Arc<str>),
    Bytes(Arc<[u8]>),
}

impl Text {
    fn new(bytes: Vec<u8>) -> Text {
        match String::from_utf8(bytes) {
            Ok(text) => Text::Utf8(text.into()),
            Err(error) => Text::Bytes(error.into_bytes().into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Text::Utf8(text) => text.as_bytes(),
            Text::Bytes(bytes) => bytes,
        }
    }
}

impl SourceSet {
    /// A set of the given files. Patterns are matched against their paths.
    pub fn of<P: Into<String>, T: Into<Vec<u8>>>(
        files: impl IntoIterator<Item = (P, T)>,
    ) -> SourceSet {
        let files = files
            .into_iter()
            .map(|(path, text)| (path.into(), Text::new(text.into())))
            .collect();
        SourceSet {
            files,
            ..SourceSet::default()
        }
    }

    /// Path and bytes of every file, in the order they were first opened.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.bytes()))
    }

    /// The main file: the one that was opened first.
    pub fn main_path(&self) -> Option<&str> {
        self.files.first().map(|(path, _)| path.as_str())
    }

    /// Parses the set again, as it was parsed when it was gathered: without touching a file.
    pub fn parse(&self) -> (Tree, Faults) {
        let parser = Parser::new(self);
        let parser = match &self.globals {
            Some(globals) => parser.globals(globals),
            None => parser,
        };
        parser.parse(self.main_path().unwrap_or_default())
    }

    /// What `-T` prints: each file once, under its name.
    pub fn dump(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (path, text) in self.files() {
            out.extend_from_slice(format!("# configuration file {path}:\n").as_bytes());
            out.extend_from_slice(text);
            out.push(b'\n');
        }
        out
    }

    fn position(&self, path: &str) -> Option<usize> {
        self.files.iter().position(|(name, _)| name == path)
    }
}

impl Loader for SourceSet {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let found = path.to_str().and_then(|path| self.position(path));
        found
            .map(|at| self.files[at].1.bytes().to_vec())
            .ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        if let Some(paths) = self.globs.get(pattern) {
            return Ok(paths.iter().map(PathBuf::from).collect());
        }
        let mut paths: Vec<PathBuf> = self
            .files
            .iter()
            .filter(|(path, _)| glob::matches(pattern, path))
            .map(|(path, _)| path.into())
            .collect();
        paths.sort();
        Ok(paths)
    }
}

/// The text behind the spans of one tree: every file, and every opening of it with the place of its `include`.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    set: SourceSet,
    openings: Vec<Opening>,
    known: BTreeMap<String, usize>,
}

/// One opening of one file.
#[derive(Debug, Clone)]
pub struct Opening {
    text: Option<usize>,
    from: Option<Span>,
}

impl Opening {
    /// The `include` that opened it; `None` for the main file and the command line.
    pub fn from(&self) -> Option<Span> {
        self.from
    }
}

impl Sources {
    /// Every opening, in order; a [`FileId`] counts into it.
    pub fn openings(&self) -> &[Opening] {
        &self.openings
    }

    /// The text to ship to another process, or to dump.
    pub fn set(&self) -> &SourceSet {
        &self.set
    }

    /// The path of a file as it was opened; `None` for the command line.
    pub fn path(&self, file: FileId) -> Option<&str> {
        let text = self.openings.get(file.index())?.text?;
        Some(&self.set.files[text].0)
    }

    /// The bytes of a file.
    pub fn text(&self, file: FileId) -> &[u8] {
        match self.openings.get(file.index()).map(|opening| opening.text) {
            Some(Some(text)) => self.set.files[text].1.bytes(),
            Some(None) => self.set.globals.as_deref().unwrap_or_default().as_bytes(),
            None => &[],
        }
    }

    /// The bytes of a stretch.
    pub fn slice(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.text(span.file)
            .get(start..start + span.len as usize)
            .unwrap_or_default()
    }

    /// `PATH:LINE`, or `command line`.
    pub fn place(&self, span: Span) -> String {
        match self.path(span.file) {
            Some(path) => format!("{path}:{}", span.line),
            None => "command line".to_owned(),
        }
    }

    /// The places of the `include` directives that lead to a file, the nearest first.
    pub fn chain(&self, file: FileId) -> impl Iterator<Item = Span> + '_ {
        let from = |file: FileId| {
            self.openings
                .get(file.index())
                .and_then(|opening| opening.from)
        };
        std::iter::successors(from(file), move |span| from(span.file))
    }

    /// A key that sorts places in the order in which the text is read, included files where their `include` stands.
    pub fn reading_order(&self, span: Span) -> Vec<(FileId, u32)> {
        let mut order = vec![(span.file, span.start)];
        order.extend(
            self.chain(span.file)
                .map(|include| (include.file, include.start)),
        );
        order.reverse();
        order
    }

    pub(crate) fn open_globals(&mut self, text: String) -> FileId {
        self.set.globals = Some(text);
        self.open(None, None)
    }

    /// Notes an opening and reads the file if it is new.
    pub(crate) fn open_file(
        &mut self,
        loader: &dyn Loader,
        path: &str,
        from: Option<Span>,
    ) -> io::Result<FileId> {
        let text = match self.known.get(path) {
            Some(&text) => text,
            None => {
                let bytes = loader.read(Path::new(path))?;
                if bytes.len() > FILE_BYTES_MAX {
                    let words = format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20);
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
                }
                let text = Text::new(bytes);
                self.set.files.push((path.to_owned(), text));
                self.known.insert(path.to_owned(), self.set.files.len() - 1);
                self.set.files.len() - 1
            }
        };
        Ok(self.open(Some(text), from))
    }

    pub(crate) fn expand(&mut self, loader: &dyn Loader, pattern: &str) -> io::Result<Vec<String>> {
        let found = loader.glob(pattern)?;
        let paths: Vec<String> = found
            .iter()
            .map(|path| {
                path.to_str()
                    .map(str::to_owned)
                    .ok_or_else(|| not_utf8(path))
            })
            .collect::<Result<_, _>>()?;
        self.set.globs.insert(pattern.to_owned(), paths.clone());
        Ok(paths)
    }

    /// The text of a file, shared, so that it can be read while further files are opened.
    pub(crate) fn shared(&self, file: FileId) -> SharedText {
        match self.openings[file.index()].text {
            Some(text) => SharedText(self.set.files[text].1.clone()),
            None => SharedText(Text::Utf8(
                self.set.globals.as_deref().unwrap_or_default().into(),
            )),
        }
    }

    fn open(&mut self, text: Option<usize>, from: Option<Span>) -> FileId {
        self.openings.push(Opening { text, from });
        FileId(self.openings.len() as u32 - 1)
    }
}

#[derive(Debug)]
pub(crate) struct SharedText(Text);

impl SharedText {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

fn not_utf8(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("file name {path:?} is not UTF-8"),
    )
}
