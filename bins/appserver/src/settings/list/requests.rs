//! What requests may be, and what is believed of them.

use super::{Kind, Preset, Section, in_file, setting, switch};

const LOCAL: Preset = Preset::List(&["127.0.0.1", "::1"]);

pub(super) const SECURITY: Section = Section {
    title: "Limits of requests",
    settings: &[
        setting(
            "limit_request_line",
            &["--limit-request-line"],
            "INT",
            Kind::Count,
            Preset::Number(4094),
            "The longest request line in bytes; 0 for no limit (1 MiB then). Longer ones are answered with 414.",
        ),
        setting(
            "limit_request_fields",
            &["--limit-request-fields"],
            "INT",
            Kind::Count,
            Preset::Number(100),
            "The most fields that a request may have, up to 32768. More are answered with 431.",
        ),
        setting(
            "limit_request_field_size",
            &["--limit-request-field_size"],
            "INT",
            Kind::Count,
            Preset::Number(8190),
            "The longest field line in bytes; 0 for no limit (1 MiB then). Longer ones are answered with 431. The flag has an \
             underscore, as gunicorn's.",
        ),
        switch(
            "permit_obsolete_folding",
            &["--permit-obsolete-folding"],
            "Accept fields that go on in the next line: those lines are joined with one space. RFC 9112 tells servers to refuse them, for \
             a proxy in front may read them otherwise; for old clients that cannot be changed. Never in trailers.",
        ),
        switch(
            "strip_header_spaces",
            &["--strip-header-spaces"],
            "Accept white space before the colon of a field.",
        )
        .warned("strip_header_spaces is not obeyed, for it lets requests be smuggled: such fields are answered with 400; leave it out, and have the client fixed"),
        switch(
            "permit_unconventional_http_method",
            &["--permit-unconventional-http-method"],
            "Accept methods with lower case letters, with #, or of a length outside 3 to 20.",
        ),
        switch(
            "permit_unconventional_http_version",
            &["--permit-unconventional-http-version"],
            "Take HTTP/1.2 to HTTP/1.9 for HTTP/1.1. Other versions do not have the form of HTTP/1, and are refused all the same.",
        ),
        switch(
            "casefold_http_method",
            &["--casefold-http-method"],
            "Change methods to upper case.",
        ),
    ],
};

pub(super) const FORWARDING: Section = Section {
    title: "Behind a proxy",
    settings: &[
        setting(
            "forwarded_allow_ips",
            &["--forwarded-allow-ips"],
            "STRING",
            Kind::Peers,
            LOCAL,
            "The proxies whose word is taken for the scheme and for forwarder_headers: addresses and networks, with commas \
             between them, or * for all. Those that come by a unix socket are always believed.",
        )
        .or_variable("FORWARDED_ALLOW_IPS"),
        in_file(
            "secure_scheme_headers",
            Kind::Map,
            Preset::Map(&[
                ("X-FORWARDED-PROTOCOL", "ssl"),
                ("X-FORWARDED-PROTO", "https"),
                ("X-FORWARDED-SSL", "on"),
            ]),
            "The fields, with their values, by which a proxy says that the client came by https. Contradictory ones are \
             answered with 400.",
        ),
        setting(
            "forwarder_headers",
            &["--forwarder-headers"],
            "STRING",
            Kind::Words,
            Preset::List(&["SCRIPT_NAME", "PATH_INFO"]),
            "Fields with an underscore in their name that are taken from those proxies.",
        ),
        setting(
            "header_map",
            &["--header-map"],
            "STRING",
            Kind::Choice(&["drop", "refuse", "dangerous"]),
            Preset::Text("drop"),
            "What becomes of other fields with an underscore in their name: drop leaves them out, refuse answers 400, \
             dangerous passes them on, so that clients can forge fields.",
        ),
        setting(
            "proxy_protocol",
            &["--proxy-protocol"],
            "MODE",
            Kind::OptionalChoice(&["auto", "off", "v1", "v2"]),
            Preset::Text("off"),
            "Read the PROXY protocol at the start of connections: v1 the line of text, v2 the binary header, auto (or the flag alone) \
             whichever comes. The client that it names is REMOTE_ADDR, the client of ASGI scopes and %(h)s; the environ has \
             PROXY_PROTOCOL, PROXY_ADDR and PROXY_PORT. A connection without a header is served all the same. In front of TLS: the header \
             comes first, not encrypted.",
        ),
        setting(
            "proxy_allow_ips",
            &["--proxy-allow-from"],
            "STRING",
            Kind::Peers,
            LOCAL,
            "Who may send a PROXY protocol header: addresses and networks, with commas between them, or * for all. From others it is \
             answered with 403. Those that come by a unix socket always may.",
        ),
        setting(
            "protocol",
            &["--protocol"],
            "STRING",
            Kind::Choice(&["http", "uwsgi"]),
            Preset::Text("http"),
            "What the proxy in front speaks: http, or uwsgi for nginx's uwsgi_pass. Each connection then carries one request, whose \
             environ is made of the variables HTTP_*, CONTENT_TYPE, CONTENT_LENGTH, REQUEST_METHOD, PATH_INFO, QUERY_STRING, REQUEST_URI \
             and HTTPS, as gunicorn does; REMOTE_ADDR is the proxy. WebSockets cannot come that way. Not with TLS, HTTP/2 or \
             proxy_protocol.",
        ),
        setting(
            "uwsgi_allow_ips",
            &["--uwsgi-allow-from"],
            "STRING",
            Kind::Peers,
            LOCAL,
            "Who may speak the uwsgi protocol: addresses and networks, with commas between them, or * for all. Others are answered with \
             403. Those that come by a unix socket always may.",
        ),
    ],
};

pub(super) const FILES: Section = Section {
    title: "Files",
    settings: &[setting(
        "static",
        &["--static"],
        "PREFIX=FOLDER",
        Kind::List,
        Preset::List(&[]),
        "Answer requests below PREFIX with the files of FOLDER, so that a small site needs no second server: /static=./staticfiles. \
             Ours; gunicorn has none. May be repeated; the longest prefix counts. The application never sees such requests: what is not \
             there is 404, methods other than GET and HEAD are 405. Conditional and range requests, file.br, file.zst and file.gz beside \
             file, index.html. Links that lead out of FOLDER are not followed. Names with a hash, such as app.5f3c1b2d9e0a.css, may be \
             cached for ever, others are asked about each time. FOLDER, from chdir, has to be there at the start. SCRIPT_NAME does not \
             matter.",
    )],
};
