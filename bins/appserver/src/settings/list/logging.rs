//! Logs.

use super::{Kind, Preset, Section, in_file, setting, switch};

const NO_SYSLOG: &str = "syslog is not there yet; write to standard error (\"-\") and let systemd or the container collect it";
const NO_STATSD: &str = "statsd is not there yet; leave it out, or count in post_request";
const OWN_LOGGING: &str = "it is not there yet; the loggers gunicorn.error and gunicorn.access are Python's own, so set them up in \
                           the post_worker_init hook, or in the application";

pub(super) const LOGGING: Section = Section {
    title: "Logs",
    settings: &[
        setting(
            "accesslog",
            &["--access-logfile"],
            "FILE",
            Kind::Text,
            Preset::Nothing,
            "The file for a line per request; - is standard output. Without it there are no such lines.",
        ),
        setting(
            "access_log_format",
            &["--access-logformat"],
            "STRING",
            Kind::Text,
            Preset::Text(r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#),
            "The form of these lines. %(h)s peer, %(l)s -, %(u)s user, %(t)s time, %(r)s request line, %(m)s method, %(U)s path, \
             %(q)s query, %(H)s version, %(s)s status, %(B)s and %(b)s bytes of content (b: - for none), %(f)s Referer, %(a)s \
             User-Agent, %(T)s seconds, %(M)s milliseconds, %(D)s microseconds, %(L)s decimal seconds, %(p)s process, \
             %({name}i)s request field, %({name}o)s response field, %({name}e)s environ.",
        ),
        setting(
            "errorlog",
            &["--error-logfile", "--log-file"],
            "FILE",
            Kind::Text,
            Preset::Text("-"),
            "The file for everything else; - is standard error.",
        ),
        setting(
            "loglevel",
            &["--log-level"],
            "LEVEL",
            Kind::Choice(&["debug", "info", "warning", "error", "critical"]),
            Preset::Text("info"),
            "How much goes there: debug, info, warning, error or critical.",
        ),
        switch(
            "capture_output",
            &["--capture-output"],
            "What the application prints goes to the error log.",
        ),
        setting(
            "logger_class",
            &["--logger-class"],
            "STRING",
            Kind::Any,
            Preset::Text("gunicorn.glogging.Logger"),
            "A logger class of one's own.",
        )
        .refused(OWN_LOGGING),
        setting(
            "logconfig",
            &["--log-config"],
            "FILE",
            Kind::Text,
            Preset::Nothing,
            "A file for logging.config.fileConfig.",
        )
        .refused(OWN_LOGGING),
        in_file(
            "logconfig_dict",
            Kind::Any,
            Preset::Map(&[]),
            "A dict for logging.config.dictConfig.",
        )
        .refused(OWN_LOGGING),
        setting(
            "logconfig_json",
            &["--log-config-json"],
            "FILE",
            Kind::Text,
            Preset::Nothing,
            "A JSON file for logging.config.dictConfig.",
        )
        .refused(OWN_LOGGING),
        switch("syslog", &["--log-syslog"], "Send the logs to syslog.").refused(NO_SYSLOG),
        setting(
            "syslog_addr",
            &["--log-syslog-to"],
            "SYSLOG_ADDR",
            Kind::Text,
            Preset::Text("udp://localhost:514"),
            "Where syslog is.",
        )
        .refused(NO_SYSLOG),
        setting(
            "syslog_prefix",
            &["--log-syslog-prefix"],
            "SYSLOG_PREFIX",
            Kind::Text,
            Preset::Nothing,
            "The name for syslog.",
        )
        .refused(NO_SYSLOG),
        setting(
            "syslog_facility",
            &["--log-syslog-facility"],
            "SYSLOG_FACILITY",
            Kind::Text,
            Preset::Text("user"),
            "The facility for syslog.",
        )
        .refused(NO_SYSLOG),
        switch(
            "disable_redirect_access_to_syslog",
            &["--disable-redirect-access-to-syslog"],
            "Keep access lines out of syslog.",
        )
        .accepted("nothing goes to syslog"),
        switch(
            "enable_stdio_inheritance",
            &["-R", "--enable-stdio-inheritance"],
            "Keep standard output and error in a daemon.",
        )
        .refused("a daemon has no standard streams here; use --error-logfile and --capture-output"),
        setting(
            "statsd_host",
            &["--statsd-host"],
            "STATSD_ADDR",
            Kind::Text,
            Preset::Nothing,
            "Where statsd is.",
        )
        .refused(NO_STATSD),
        setting(
            "dogstatsd_tags",
            &["--dogstatsd-tags"],
            "DOGSTATSD_TAGS",
            Kind::Text,
            Preset::Text(""),
            "Tags for statsd.",
        )
        .accepted("nothing goes to statsd: statsd_host is not there yet"),
        setting(
            "statsd_prefix",
            &["--statsd-prefix"],
            "STATSD_PREFIX",
            Kind::Text,
            Preset::Text(""),
            "What the names for statsd begin with.",
        )
        .accepted("nothing goes to statsd: statsd_host is not there yet"),
        switch(
            "enable_backlog_metric",
            &["--enable-backlog-metric"],
            "Tell statsd how many connections wait.",
        )
        .refused(NO_STATSD),
    ],
};
