//! What a service may do differently. The defaults are gunicorn's.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_wire::head::{
    Handling, HeadLimits, HeadPolicy, HostRule, MethodCharacters, MethodRule, TargetRule,
};
use http_wire::{Known, KnownSet};
use proxy_core::server::{Address, Limits};

/// How long kept connections may wait for another request when a worker is told to end; a reload loses no request then.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// How a [`WsgiService`](crate::WsgiService) treats requests and responses. May grow: end a literal with `..Settings::default()`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `SERVER_SOFTWARE`. Default `viaduct/VERSION`.
    pub server_software: String,
    /// The `Server` field of responses. Default `appserver`; `None` sends none.
    pub server: Option<&'static str>,
    /// `wsgi.multiprocess`: other processes serve the same application. Default false.
    pub multiprocess: bool,
    /// `SCRIPT_NAME` where no trusted peer gives one. Default empty.
    pub script_name: String,
    /// The peers whose scheme and forwarder fields are believed; peers on unix sockets always are. Default loopback.
    pub forwarded_allow_ips: Trusted,
    /// Fields by which a trusted peer says `https`: upper-case name, and the exact value that means it.
    pub secure_scheme_headers: Vec<(String, String)>,
    /// Upper-case names with `_` that a trusted peer may send; `*` for any. Default `SCRIPT_NAME`, `PATH_INFO`.
    pub forwarder_headers: Vec<String>,
    /// What happens to other fields with `_` in their name, which could pass for fields with `-`. Default drop.
    pub header_map: HeaderMap,
    /// Methods are changed to upper case. Default false.
    pub casefold_http_method: bool,
    /// `wsgi.file_wrapper` hands files to the kernel. Default true.
    pub sendfile: bool,
    /// Request content up to this many bytes stays in memory, more goes to an unlinked file. Default 1 MiB.
    pub content_memory_bytes: usize,
    /// The largest request content; `None` (default) for any.
    pub content_bytes_max: Option<u64>,
    /// Where such files are made. Default the system's directory for temporary files.
    pub spool_dir: PathBuf,
    /// Response content that the client has not taken yet, up to so many bytes, stays in memory. Default 256 KiB.
    pub output_memory_bytes: usize,
    /// And so many bytes more go to an unlinked file when other requests wait for the application. Default 1 GiB.
    pub output_spool_bytes: u64,
    /// Names of environ values that [`Finished::environ`](crate::Finished) is to hold. Default none.
    pub log_environ: Vec<String>,
    /// Whether [`Finished::fields`](crate::Finished) is to hold the response's fields. Default false.
    pub log_fields: bool,
    /// Limits and timeouts of connections.
    pub limits: Arc<Limits>,
}

impl Default for Settings {
    fn default() -> Self {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let secure = [
            ("X-FORWARDED-PROTOCOL", "ssl"),
            ("X-FORWARDED-PROTO", "https"),
            ("X-FORWARDED-SSL", "on"),
        ];
        Self {
            server_software: concat!("viaduct/", env!("CARGO_PKG_VERSION")).to_owned(),
            server: Some("appserver"),
            multiprocess: false,
            script_name: String::new(),
            forwarded_allow_ips: Trusted::loopback(),
            secure_scheme_headers: secure
                .iter()
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            forwarder_headers: owned(&["SCRIPT_NAME", "PATH_INFO"]),
            header_map: HeaderMap::Drop,
            casefold_http_method: false,
            sendfile: true,
            content_memory_bytes: 1 << 20,
            content_bytes_max: None,
            spool_dir: std::env::temp_dir(),
            output_memory_bytes: 256 << 10,
            output_spool_bytes: 1 << 30,
            log_environ: Vec::new(),
            log_fields: false,
            limits: Arc::new(limits(HeadSizes::default(), Duration::from_secs(2))),
        }
    }
}

/// What happens to a field whose name has `_` in it (`header_map`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderMap {
    /// It is left out, as if it had not been sent.
    #[default]
    Drop,
    /// The request is refused with 400.
    Refuse,
    /// It is taken, and joined with one that is spelled with `-`.
    Dangerous,
}

/// The sizes that a request head may have.
#[derive(Clone, Copy, Debug)]
pub struct HeadSizes {
    /// Longest request line in bytes (`limit_request_line`). Default 4094.
    pub line_bytes: usize,
    /// Most fields (`limit_request_fields`). Default 100.
    pub fields: usize,
    /// Longest field line in bytes, with its line end (`limit_request_field_size`). Default 8190.
    pub field_bytes: usize,
    /// Methods with small letters or `#`, and of other lengths than 3 to 20, are taken. Default false.
    pub unconventional_methods: bool,
    /// `HTTP/1.2` to `HTTP/1.9` are taken for 1.1. Default false.
    pub unconventional_versions: bool,
    /// Fields may go on in the next line (`permit_obsolete_folding`). Default false.
    pub folding: bool,
}

impl Default for HeadSizes {
    fn default() -> Self {
        Self {
            line_bytes: 4094,
            fields: 100,
            field_bytes: 8190,
            unconventional_methods: false,
            unconventional_versions: false,
            folding: false,
        }
    }
}

/// CR LF, which `limit_request_field_size` counts and [`HeadLimits`] does not.
pub(crate) const LINE_END_BYTES: usize = 2;

/// Limits of connections by gunicorn's rules: the strict reading of heads, and how long a connection may be idle.
pub fn limits(sizes: HeadSizes, keep_alive: Duration) -> Limits {
    let method = if sizes.unconventional_methods {
        MethodRule::default()
    } else {
        MethodRule {
            characters: MethodCharacters::NoSmallLetters,
            length_min: 3,
            length_max: 20,
        }
    };
    let policy = HeadPolicy {
        method,
        target: TargetRule {
            fragment: true,
            ..TargetRule::default()
        },
        minor_versions: sizes.unconventional_versions,
        folding: sizes.folding,
        underscores: Handling::Keep,
        // Stricter than gunicorn, which lets HTTP/1.1 without Host and any value of it through to the application.
        host: HostRule::default(),
        single: KnownSet::of(&[Known::Host, Known::ContentLength, Known::ContentType]),
        ..HeadPolicy::default()
    };
    let head_bytes = sizes.line_bytes + sizes.fields.saturating_mul(sizes.field_bytes) + 4;
    let head = HeadLimits {
        line_bytes: sizes.line_bytes,
        field_bytes: sizes.field_bytes.saturating_sub(LINE_END_BYTES),
        fields: sizes.fields,
        head_bytes: head_bytes.min(1 << 24),
        policy,
    };
    Limits {
        head,
        keep_alive_timeout: keep_alive,
        idle_grace: keep_alive.min(IDLE_GRACE),
        keep_alive_requests: u64::MAX,
        ..Limits::default()
    }
}

/// A set of peers: addresses and networks, or everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    everybody: bool,
    networks: Vec<(IpAddr, u8)>,
}

impl Trusted {
    /// 127.0.0.1 and ::1.
    pub fn loopback() -> Self {
        let both = [
            (IpAddr::from([127, 0, 0, 1]), 32),
            (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]), 128),
        ];
        Self {
            everybody: false,
            networks: both.to_vec(),
        }
    }

    /// Reads addresses (`10.0.0.1`), networks (`10.0.0.0/8`) and `*`; empty words are passed over.
    ///
    /// # Errors
    /// A word that is none of these; the message names it.
    pub fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, NotAPeer> {
        let mut trusted = Self::default();
        for word in words
            .into_iter()
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            match word {
                "*" => trusted.everybody = true,
                _ => trusted
                    .networks
                    .push(network(word).ok_or_else(|| NotAPeer(word.to_owned()))?),
            }
        }
        Ok(trusted)
    }

    /// Whether this end of a connection is believed. Unix sockets always are: the file system decides who connects there.
    pub fn includes(&self, peer: &Address) -> bool {
        match peer {
            Address::Unix(_) => true,
            Address::Inet(_) if self.everybody => true,
            Address::Inet(peer) => self
                .networks
                .iter()
                .any(|network| within(peer.ip(), *network)),
        }
    }
}

/// A word that is neither an address, nor a network, nor `*`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no IP address, network such as 10.0.0.0/8, or \"*\"")]
pub struct NotAPeer(String);

/// An address with the length of its prefix. A network must not have bits beyond its prefix, as for Python's `ipaddress`.
fn network(word: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = word
        .split_once('/')
        .map_or((word, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(digits) => digits.parse().ok().filter(|prefix| *prefix <= longest)?,
    };
    (mask(address, prefix) == bits(address)).then_some((address, prefix))
}

fn within(address: IpAddr, (network, prefix): (IpAddr, u8)) -> bool {
    let address = if network.is_ipv4() {
        address.to_canonical()
    } else {
        address
    };
    address.is_ipv4() == network.is_ipv4() && mask(address, prefix) == bits(network)
}

/// The bits of an address, the first one highest.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    }
}

fn mask(address: IpAddr, prefix: u8) -> u128 {
    bits(address) & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Address {
        Address::Inet(std::net::SocketAddr::new(
            text.parse().expect("is an address"),
            4711,
        ))
    }

    #[test]
    fn peers_are_believed_by_address_and_by_network() {
        let trusted = Trusted::read(["10.1.0.0/16", " 192.0.2.7", "fd00::/8", ""]).expect("reads");
        for inside in ["10.1.255.3", "192.0.2.7", "fd00::1", "::ffff:10.1.2.3"] {
            assert!(trusted.includes(&peer(inside)), "{inside}");
        }
        for outside in ["10.2.0.1", "192.0.2.8", "::1", "127.0.0.1", "fe80::1"] {
            assert!(!trusted.includes(&peer(outside)), "{outside}");
        }
        assert!(trusted.includes(&Address::Unix(None)));
    }

    #[test]
    fn a_star_believes_everybody_and_nothing_believes_nobody() {
        assert!(
            Trusted::read(["*"])
                .expect("reads")
                .includes(&peer("203.0.113.9"))
        );
        assert!(
            !Trusted::read([])
                .expect("reads")
                .includes(&peer("127.0.0.1"))
        );
        assert!(Trusted::loopback().includes(&peer("::1")));
        assert!(
            Trusted::read(["0.0.0.0/0"])
                .expect("reads")
                .includes(&peer("203.0.113.9"))
        );
    }

    #[test]
    fn words_that_are_no_peers_are_named() {
        for word in [
            "localhost",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "::1/129",
        ] {
            let fault = Trusted::read([word]).expect_err(word).to_string();
            assert!(fault.contains(word), "{fault}");
        }
    }
}
