//! TLS and HTTP/2.

use super::{Kind, Preset, Section, Setting, setting, switch};

const fn file(name: &'static str, flags: &'static [&'static str], doc: &'static str) -> Setting {
    setting(name, flags, "FILE", Kind::Text, Preset::Nothing, doc)
}

const fn number(
    name: &'static str,
    flags: &'static [&'static str],
    default: i64,
    doc: &'static str,
) -> Setting {
    setting(
        name,
        flags,
        "INT",
        Kind::Count,
        Preset::Number(default),
        doc,
    )
}

pub(super) const TLS: Section = Section {
    title: "TLS",
    settings: &[
        file(
            "keyfile",
            &["--keyfile"],
            "The private key of certfile, in PEM, without a pass phrase. Without it the key is looked for in certfile. Read at the start \
             and on HUP, before workers give up the rights of root.",
        ),
        file(
            "certfile",
            &["--certfile"],
            "The certificate, in PEM, and those between it and the authority. With it every address speaks TLS (1.2 and 1.3). A new \
             certificate is taken on HUP; one that cannot be used leaves the old one serving.",
        ),
        setting(
            "ssl_version",
            &["--ssl-version"],
            "SSL_VERSION",
            Kind::Any,
            Preset::Number(2),
            "The version of TLS; without effect in gunicorn since version 21.",
        )
        .warned("option `ssl_version` is deprecated and it is ignored, as gunicorn does; TLS 1.2 and 1.3 are spoken: leave it out"),
        number(
            "cert_reqs",
            &["--cert-reqs"],
            0,
            "Whether clients need a certificate that ca_certs has signed: 0 asks for none, 1 checks one that is shown, 2 demands one.",
        ),
        file(
            "ca_certs",
            &["--ca-certs"],
            "The certificates, in PEM, of the authorities that sign those of clients. Without effect while cert_reqs is 0.",
        ),
        setting(
            "suppress_ragged_eofs",
            &["--suppress-ragged-eofs"],
            "",
            Kind::Switch,
            Preset::Bool(true),
            "Take no notice of TLS connections that end without saying so.",
        )
        .accepted("it is always so: what is cut short is told by HTTP"),
        switch(
            "do_handshake_on_connect",
            &["--do-handshake-on-connect"],
            "When TLS begins.",
        )
        .accepted("handshakes begin at once, and a slow one holds up nobody"),
        setting(
            "ciphers",
            &["--ciphers"],
            "CIPHERS",
            Kind::Text,
            Preset::Nothing,
            "The cipher suites of TLS 1.2, the best first, as OpenSSL's list: names, groups, +, -, ! and @STRENGTH. ECDHE with AES-GCM or \
             ChaCha20 is what there is; without this, and where it names none of these, all of them are spoken, and the client's order \
             counts. TLS 1.3 is spoken besides.",
        ),
    ],
};

pub(super) const HTTP2: Section = Section {
    title: "HTTP/2",
    settings: &[
        setting(
            "http_protocols",
            &["--http-protocols"],
            "STRING",
            Kind::Words,
            Preset::List(&["h1"]),
            "The versions of HTTP, the best first: h1, h2. HTTP/2 is agreed on by ALPN, so it needs certfile (or http2_cleartext); clients \
             that do not know it are served HTTP/1.1. Every kind of worker speaks it.",
        ),
        setting(
            "http2_cleartext",
            &["--http2-cleartext"],
            "MODE",
            Kind::OptionalChoice(&["prior-knowledge", "off", "upgrade", "both"]),
            Preset::Text("off"),
            "HTTP/2 without TLS, for peers in forwarded_allow_ips and on unix sockets; others are served HTTP/1. prior-knowledge takes \
             connections that begin with the preface of HTTP/2 and refuses others with 400; upgrade takes requests of HTTP/1.1 that ask \
             for it (Upgrade: h2c, RFC 7540), with content of up to 64 KiB; both takes either. A proxy that passes its \
             clients' Upgrade fields on would let them past its own rules with upgrade and both: nginx's usual lines for WebSockets do.",
        ),
        number(
            "http2_max_concurrent_streams",
            &["--http2-max-concurrent-streams"],
            100,
            "The requests of a connection that may be under way at a time. From 1.",
        ),
        number(
            "http2_initial_window_size",
            &["--http2-initial-window-size"],
            65535,
            "The bytes of a request's content that may be under way before they are read. Up to 2147483647.",
        ),
        number(
            "http2_max_frame_size",
            &["--http2-max-frame-size"],
            16384,
            "The largest frame that clients may send, in bytes. From 16384 to 16777215.",
        ),
        number(
            "http2_max_header_list_size",
            &["--http2-max-header-list-size"],
            65536,
            "The largest head of a request after decompression, in bytes; 0 for 1 MiB. The limits of limit_request_line, \
             limit_request_fields and limit_request_field_size hold besides.",
        ),
    ],
};
