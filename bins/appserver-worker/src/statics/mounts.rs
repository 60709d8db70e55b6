//! Which path leads to which folder.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use appserver_protocol::WorkerSettings;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_wire::Known;
use http_wire::head::RequestHead;
use http_wire::path::{Escape, Normalise, escape, normalise};
use static_files::{FileBody, ServeDir, Variants};
use tower_service::Service;

static SETTLED: Mutex<Option<Arc<Mounts>>> = Mutex::new(None);

/// Files whose name has so many hexadecimal digits of a hash never change (Django's `ManifestStaticFilesStorage` writes 12).
const HASH_DIGITS: std::ops::RangeInclusive<usize> = 12..=64;
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_EACH_TIME: &str = "no-cache";

/// Folders by prefix, the longest prefix first.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    all: Vec<Mount>,
}

#[derive(Debug)]
struct Mount {
    /// With a slash at its end.
    prefix: Vec<u8>,
    folder: ServeDir,
}

/// A path that lies in one of the folders.
pub(crate) struct Found<'a> {
    mount: &'a Mount,
    /// Beneath the folder, with a slash at its beginning; decoded and normalised.
    path: Vec<u8>,
}

impl Mounts {
    /// Reads what the settings name, for [`Mounts::settled`].
    ///
    /// # Errors
    /// In words: which entry, and why.
    pub fn settle(settings: &WorkerSettings) -> Result<(), String> {
        let mounts = match &settings.statics[..] {
            [] => None,
            entries => Some(Arc::new(Self::read(entries)?)),
        };
        *SETTLED.lock().unwrap_or_else(PoisonError::into_inner) = mounts;
        Ok(())
    }

    /// What was settled last; `None` for nothing.
    pub fn settled() -> Option<Arc<Self>> {
        let settled = SETTLED.lock().unwrap_or_else(PoisonError::into_inner);
        settled.clone()
    }

    fn read(entries: &[String]) -> Result<Self, String> {
        let mut all: Vec<Mount> = Vec::new();
        for entry in entries {
            let fault = |why: String| format!("static (--static) \"{entry}\": {why}");
            let (prefix, folder) = taken_apart(entry).map_err(fault)?;
            if all.iter().any(|mount| mount.prefix == prefix) {
                return Err(fault("the prefix is there twice".to_owned()));
            }
            let folder = checked(folder).map_err(fault)?;
            all.push(Mount {
                prefix,
                folder: ServeDir::new(folder).with_variants(Variants::default()),
            });
        }
        all.sort_by_key(|mount| std::cmp::Reverse(mount.prefix.len()));
        Ok(Self { all })
    }

    /// The folder that a request's path leads to.
    pub fn find(&self, path: &[u8]) -> Option<Found<'_>> {
        let path: Cow<'_, [u8]> = normalise(path, Normalise::default()).ok()?;
        let mount = self
            .all
            .iter()
            .find(|mount| path.starts_with(&mount.prefix))?;
        Some(Found {
            mount,
            path: path[mount.prefix.len() - 1..].to_vec(),
        })
    }
}

/// `/static=./staticfiles`: a prefix with a slash at its end, and a folder.
fn taken_apart(entry: &str) -> Result<(Vec<u8>, &str), String> {
    let (prefix, folder) = entry
        .split_once('=')
        .filter(|(_, folder)| !folder.trim().is_empty())
        .ok_or("takes PREFIX=FOLDER, such as /static=./staticfiles")?;
    let prefix = prefix.trim();
    if !prefix.starts_with('/') {
        return Err(format!("the prefix \"{prefix}\" does not begin with \"/\""));
    }
    let bare = prefix.trim_end_matches('/');
    if bare.is_empty() {
        return Err("below \"/\" nothing would be left for the application".to_owned());
    }
    let plain = normalise(bare.as_bytes(), Normalise::default());
    if plain.map_or(true, |plain| *plain != *bare.as_bytes()) {
        return Err(format!(
            "the prefix \"{prefix}\" is no plain path: without escapes, \"//\", \".\" and \"..\""
        ));
    }
    Ok((format!("{bare}/").into_bytes(), folder.trim()))
}

/// The folder's whole path, if it is one that can be read.
fn checked(folder: &str) -> Result<PathBuf, String> {
    let whole = std::path::absolute(Path::new(folder)).map_err(|error| error.to_string())?;
    let shown = whole.display();
    match std::fs::read_dir(&whole) {
        Ok(_) => Ok(whole),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(format!(
            "there is no folder {shown}; make it (for Django: manage.py collectstatic), or leave the setting out"
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            Err(format!("{shown} is no folder"))
        }
        Err(error) => Err(format!("the folder {shown} cannot be read: {error}")),
    }
}

impl Found<'_> {
    /// Asks the folder.
    pub async fn ask(&self, head: &RequestHead) -> Response<FileBody> {
        let mut wire = escape(&self.path, Escape::Path).into_owned();
        if let Some(query) = head.target.query() {
            wire.push(b'?');
            wire.extend_from_slice(query);
        }
        let Ok(uri) = Uri::try_from(wire) else {
            return refused();
        };
        let mut request = Request::new(());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = deciding(head);
        let mut folder = self.mount.folder.clone();
        match folder.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The fields that decide about the answer.
fn deciding(head: &RequestHead) -> HeaderMap {
    const NAMES: [Known; 7] = [
        Known::AcceptEncoding,
        Known::IfMatch,
        Known::IfModifiedSince,
        Known::IfNoneMatch,
        Known::IfRange,
        Known::IfUnmodifiedSince,
        Known::Range,
    ];
    let mut headers = HeaderMap::new();
    for name in NAMES {
        for value in head.fields.get_all(name) {
            if let (Ok(name), Ok(value)) = (
                http::HeaderName::try_from(name.as_str()),
                HeaderValue::from_bytes(value),
            ) {
                headers.append(name, value);
            }
        }
    }
    headers
}

fn refused() -> Response<FileBody> {
    let mut response = Response::new(FileBody::empty());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// What caches may do with a file: one with a hash in its name stays what it is, any other is asked about each time.
pub(super) fn cache_control(path: &[u8]) -> &'static str {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let parts: Vec<&[u8]> = name.split(|&byte| byte == b'.').collect();
    let inner = parts.get(1..parts.len().saturating_sub(1));
    let hashed = inner.unwrap_or_default().iter().any(|part| {
        let hex = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        // A date is no hash.
        let letters = part.iter().any(u8::is_ascii_lowercase);
        HASH_DIGITS.contains(&part.len()) && part.iter().all(hex) && letters
    });
    if hashed { FOR_EVER } else { ASK_EACH_TIME }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_a_prefix_and_a_folder() {
        for (entry, prefix, folder) in [
            ("/static=./files", "/static/", "./files"),
            ("/static/=files/", "/static/", "files/"),
            ("/a/b = /srv/x=y", "/a/b/", "/srv/x=y"),
        ] {
            assert_eq!(
                taken_apart(entry),
                Ok((prefix.as_bytes().to_vec(), folder)),
                "{entry}"
            );
        }
        for (entry, words) in [
            ("/static", "PREFIX=FOLDER"),
            ("/static=", "PREFIX=FOLDER"),
            ("static=files", "does not begin with"),
            ("/=files", "nothing would be left"),
            ("//=files", "nothing would be left"),
            ("/a/../b=files", "no plain path"),
            ("/a%20b=files", "no plain path"),
        ] {
            let fault = taken_apart(entry).expect_err(entry);
            assert!(fault.contains(words), "{fault}");
        }
    }

    #[test]
    fn folders_that_cannot_be_read_and_prefixes_that_repeat_are_told() {
        let here = tempfile::tempdir().expect("is made");
        let folder = here.path().display().to_string();
        let file = here.path().join("file");
        std::fs::write(&file, "").expect("is written");
        let read = |entries: &[String]| Mounts::read(entries).map(|_| ());
        assert_eq!(
            read(&[format!("/a={folder}"), format!("/b={folder}")]),
            Ok(())
        );
        for (entries, words) in [
            (vec![format!("/a={folder}/none")], "there is no folder"),
            (vec![format!("/a={}", file.display())], "is no folder"),
            (
                vec![format!("/a={folder}"), format!("/a/={folder}")],
                "twice",
            ),
        ] {
            let fault = read(&entries).expect_err(words);
            assert!(fault.starts_with("static (--static) \"/a"), "{fault}");
            assert!(fault.contains(words), "{fault}");
        }
    }

    #[test]
    fn the_longest_prefix_counts_and_nothing_leads_out() {
        let here = tempfile::tempdir().expect("is made");
        let folder = here.path().display();
        let entries = [format!("/s={folder}"), format!("/s/deep={folder}")];
        let mounts = Mounts::read(&entries).expect("is read");
        let found = |path: &str| {
            let found = mounts.find(path.as_bytes())?;
            let path = String::from_utf8_lossy(&found.path).into_owned();
            Some((found.mount.prefix.len(), path))
        };
        for (path, expected) in [
            ("/s/a", Some((3, "/a"))),
            ("/s/", Some((3, "/"))),
            ("/s//a/./b", Some((3, "/a/b"))),
            ("/s/deep/a", Some((8, "/a"))),
            ("/s/deeper", Some((3, "/deeper"))),
            ("/x/../s/a%20b", Some((3, "/a b"))),
            ("/s", None),
            ("/sx/a", None),
            ("/s/../secret", None),
            ("/s/%2e%2e/secret", None),
            ("/s/..%2fsecret", None),
            ("/../s/a", None),
            ("*", None),
        ] {
            let expected = expected.map(|(length, path)| (length, path.to_owned()));
            assert_eq!(found(path), expected, "{path}");
        }
    }

    #[test]
    fn only_names_with_a_hash_stay_for_ever() {
        for (path, kept) in [
            ("/static/app.5f3c1b2d9e0a.css", true),
            ("/app.5f3c1b2d9e0a.min.js", true),
            ("/app.css", false),
            ("/5f3c1b2d9e0a.css", false),
            ("/app.5f3c1b2d9e0a", false),
            ("/report.202611211530.pdf", false),
            ("/a.5f3c1b2d9e0a.d/app.css", false),
            ("/app.5F3C1B2D9E0A.css", false),
            ("/", false),
        ] {
            let told = cache_control(path.as_bytes());
            assert_eq!(told == FOR_EVER, kept, "{path}");
        }
    }
}
