//! A folder as a [`tower_service::Service`]: everything in this crate, put together for programs that are no web server of
//! their own.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_wire::path::{Normalise, normalise};
use http_wire::{Fields, Known, reason};
use tower_service::Service;

use crate::body::FileBody;
use crate::error::OpenError;
use crate::listing::{ListingOptions, Page};
use crate::open::Lookup;
use crate::representation::{Representation, Rules};
use crate::root::{Root, in_pool};
use crate::types::Types;
use crate::variants::{Chosen, Variants};

/// Serves the files beneath a [`Root`]: GET and HEAD, conditional and range requests, index files, and, if wanted,
/// pre-compressed variants and listings.
///
/// What is in memory is answered at once; what isn't is fetched in tokio's blocking pool, so it must be called in a tokio
/// runtime. Cheap to clone.
///
/// - A path that ends with a slash is a directory: its index file, else its listing, else 403.
/// - A directory asked for without the slash is redirected (301), by a relative reference, so it may be mounted anywhere.
/// - Other methods get 405. Errors are a line of plain text; why it was refused is the business of [`Root::explain`].
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use static_files::{ServeDir, Variants};
/// use tower_service::Service;
/// let mut assets = ServeDir::new("/srv/shop/static").with_variants(Variants::default());
/// let request = http::Request::get("/app.css").body(())?;
/// let response = assets.call(request).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ServeDir {
    folder: Arc<Folder>,
}

#[derive(Clone, Debug)]
struct Folder {
    root: Root,
    types: Types,
    variants: Option<Variants>,
    rules: Rules,
    index: Vec<String>,
    listing: Option<ListingOptions>,
}

impl ServeDir {
    /// The folder at `path` with the default [`Root`], [`Types::common`], `index.html`, and neither variants nor listings.
    pub fn new(path: impl AsRef<std::path::Path>) -> Self {
        Self::of(Root::new(path))
    }

    /// [`new`](Self::new) with a root of one's own.
    pub fn of(root: Root) -> Self {
        ServeDir {
            folder: Arc::new(Folder {
                root,
                types: Types::common(),
                variants: None,
                rules: Rules::default(),
                index: vec!["index.html".to_owned()],
                listing: None,
            }),
        }
    }

    /// Other content types. Default [`Types::common`].
    #[must_use]
    pub fn with_types(self, types: Types) -> Self {
        self.with(|folder| folder.types = types)
    }

    /// Pre-compressed variants. Default none.
    #[must_use]
    pub fn with_variants(self, variants: Variants) -> Self {
        self.with(|folder| folder.variants = Some(variants))
    }

    /// How conditional and range requests are read. Default [`Rules::default`].
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        self.with(|folder| folder.rules = rules)
    }

    /// Names of index files, the first that exists is served. Default `index.html`.
    #[must_use]
    pub fn with_index(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.with(|folder| folder.index = names)
    }

    /// Lists directories that have no index file. Default they are forbidden.
    #[must_use]
    pub fn with_listing(self, options: ListingOptions) -> Self {
        self.with(|folder| folder.listing = Some(options))
    }

    fn with(mut self, change: impl FnOnce(&mut Folder)) -> Self {
        change(Arc::make_mut(&mut self.folder));
        self
    }
}

impl<B> Service<Request<B>> for ServeDir {
    type Response = Response<FileBody>;
    type Error = Infallible;
    type Future = ServeFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ServeFuture {
        let asked = match Asked::of(&request) {
            Ok(asked) => asked,
            Err(refusal) => return ServeFuture::ready(*refusal),
        };
        if let Ok(response) = self.folder.answer(&asked, Lookup::Cached) {
            return ServeFuture::ready(response);
        }
        let folder = Arc::clone(&self.folder);
        let answer = in_pool(move || {
            folder
                .answer(&asked, Lookup::Patient)
                .unwrap_or_else(|MustWait| {
                    // Patience never fails for the lack of it.
                    plain(StatusCode::INTERNAL_SERVER_ERROR, &asked.method)
                })
        });
        ServeFuture {
            state: State::Waiting(Box::pin(answer)),
        }
    }
}

/// The response of a [`ServeDir`] to come.
#[must_use = "futures do nothing unless polled"]
pub struct ServeFuture {
    state: State,
}

enum State {
    Ready(Box<Response<FileBody>>),
    Waiting(Pin<Box<dyn Future<Output = Response<FileBody>> + Send>>),
    Over,
}

impl ServeFuture {
    fn ready(response: Response<FileBody>) -> Self {
        ServeFuture {
            state: State::Ready(Box::new(response)),
        }
    }
}

impl Future for ServeFuture {
    type Output = Result<Response<FileBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Ready(response) => Poll::Ready(Ok(*response)),
            State::Waiting(mut answer) => match answer.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Ok(response)),
                Poll::Pending => {
                    self.state = State::Waiting(answer);
                    Poll::Pending
                }
            },
            State::Over => Poll::Pending,
        }
    }
}

/// What of a request matters here.
struct Asked {
    method: Method,
    uri: Uri,
    path: Vec<u8>,
    fields: Fields,
}

/// The answer is not in memory.
#[derive(Debug)]
struct MustWait;

impl Asked {
    fn of<B>(request: &Request<B>) -> Result<Self, Box<Response<FileBody>>> {
        let method = request.method().clone();
        if method != Method::GET && method != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, &method);
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Err(Box::new(response));
        }
        let uri = request.uri().clone();
        let Ok(path) = normalise(uri.path().as_bytes(), Normalise::default()) else {
            return Err(Box::new(plain(StatusCode::BAD_REQUEST, &method)));
        };
        let path = path.into_owned();
        Ok(Asked {
            method,
            uri,
            path,
            fields: deciding_fields(request.headers()),
        })
    }
}

/// The fields that decide about the answer.
fn deciding_fields(headers: &HeaderMap) -> Fields {
    const NAMES: [Known; 7] = [
        Known::AcceptEncoding,
        Known::IfMatch,
        Known::IfModifiedSince,
        Known::IfNoneMatch,
        Known::IfRange,
        Known::IfUnmodifiedSince,
        Known::Range,
    ];
    let mut fields = Fields::new();
    for name in NAMES {
        for value in headers.get_all(name.as_str()) {
            // Header maps are stricter than fields about values.
            let _ = fields.append(name, value.as_bytes());
        }
    }
    fields
}

impl Folder {
    fn answer(&self, asked: &Asked, lookup: Lookup) -> Result<Response<FileBody>, MustWait> {
        if asked.path.ends_with(b"/") {
            return self.directory(asked, lookup);
        }
        let response = match self.choose(&asked.path, asked, lookup) {
            Ok(chosen) if chosen.opened.metadata().is_dir() => redirect(asked),
            Ok(chosen) => self.file(&asked.path, asked, chosen),
            Err(error) => refused(error, asked)?,
        };
        Ok(response)
    }

    fn choose(&self, path: &[u8], asked: &Asked, lookup: Lookup) -> Result<Chosen, OpenError> {
        match &self.variants {
            Some(variants) => {
                let accepted = asked.fields.joined(Known::AcceptEncoding, ",");
                variants.open_with(&self.root, path, accepted.as_deref(), lookup)
            }
            None => self.root.open_with(path, lookup).map(|opened| Chosen {
                opened,
                coding: None,
            }),
        }
    }

    /// A path with a slash at its end.
    fn directory(&self, asked: &Asked, lookup: Lookup) -> Result<Response<FileBody>, MustWait> {
        for name in &self.index {
            let path = [&asked.path[..], name.as_bytes()].concat();
            match self.choose(&path, asked, lookup) {
                Ok(chosen) if chosen.opened.metadata().is_file() => {
                    return Ok(self.file(&path, asked, chosen));
                }
                Err(error) if error.status() != StatusCode::NOT_FOUND => {
                    return refused(error, asked);
                }
                Ok(_) | Err(_) => {}
            }
        }
        match (self.root.open_with(&asked.path, lookup), &self.listing) {
            (Err(error), _) => refused(error, asked),
            (Ok(_), None) => Ok(plain(StatusCode::FORBIDDEN, &asked.method)),
            (Ok(_), Some(options)) => self.listing(asked, options, lookup),
        }
    }

    fn listing(
        &self,
        asked: &Asked,
        options: &ListingOptions,
        lookup: Lookup,
    ) -> Result<Response<FileBody>, MustWait> {
        if lookup == Lookup::Cached {
            return Err(MustWait);
        }
        match self.root.list_with_patience(&asked.path, options) {
            Ok(listing) => {
                let page = Page::new(&asked.path).to_html(&listing);
                Ok(text(
                    StatusCode::OK,
                    "text/html; charset=utf-8",
                    page.into(),
                    &asked.method,
                ))
            }
            Err(error) => refused(error, asked),
        }
    }

    fn file(&self, path: &[u8], asked: &Asked, chosen: Chosen) -> Response<FileBody> {
        let Chosen { opened, coding } = chosen;
        let metadata = *opened.metadata();
        let representation = Representation::of(&metadata)
            .with_type(self.types.of(path))
            .with_coding(coding)
            .with_vary(self.variants.is_some());
        let plan = representation.plan(&asked.method, &asked.fields, &self.rules);
        let mut fields = Fields::with_capacity(8, 512);
        representation.write_fields(&plan, &mut fields);
        let mut response = match (plan.status(), plan.content_length()) {
            (status, Some(len)) => {
                let mut response = Response::new(plan.into_body(opened));
                *response.status_mut() = status;
                response
                    .headers_mut()
                    .insert(CONTENT_LENGTH, HeaderValue::from(len));
                response
            }
            (StatusCode::NOT_MODIFIED, None) => {
                let mut response = Response::new(FileBody::empty());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                response
            }
            (status, None) => plain(status, &asked.method),
        };
        // What a representation writes, a header map takes.
        if let Ok(made) = HeaderMap::try_from(&fields) {
            response.headers_mut().extend(made);
        }
        response
    }
}

/// To the same path with a slash. Relative to the last segment as it was asked for, so it is right wherever this is
/// mounted and can't lead to another host.
fn redirect(asked: &Asked) -> Response<FileBody> {
    let last = asked.uri.path().rsplit('/').next().unwrap_or_default();
    let query = asked
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let mut response = plain(StatusCode::MOVED_PERMANENTLY, &asked.method);
    if let Ok(location) = HeaderValue::try_from(format!("./{last}/{query}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn refused(error: OpenError, asked: &Asked) -> Result<Response<FileBody>, MustWait> {
    if error.would_block() {
        Err(MustWait)
    } else {
        Ok(plain(error.status(), &asked.method))
    }
}

/// A status that speaks for itself, for people.
fn plain(status: StatusCode, method: &Method) -> Response<FileBody> {
    let words = format!("{} {}\n", status.as_str(), reason(status));
    text(status, "text/plain; charset=utf-8", words.into(), method)
}

fn text(
    status: StatusCode,
    content_type: &'static str,
    content: Bytes,
    method: &Method,
) -> Response<FileBody> {
    let len = HeaderValue::from(content.len());
    let content = if method == Method::HEAD {
        Bytes::new()
    } else {
        content
    };
    let mut response = Response::new(FileBody::from(content));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CONTENT_LENGTH, len);
    response
}
