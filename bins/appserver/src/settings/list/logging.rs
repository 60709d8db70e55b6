//! Logs.

use super::{Kind, Preset, Section, in_file, setting, switch};

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
             %({name}i)s request field, %({name}o)s response field, %({name}e)s environ; and, not in gunicorn: %(queue_time)s \
             seconds before the application took over, %(worker_id)s the worker's number, %(request_id)s X-Request-ID or one \
             of our own. The word json stands for a JSON object with all that is usual; what begins with { is taken for JSON, \
             and its values are escaped so.",
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
            Kind::Class,
            Preset::Text("gunicorn.glogging.Logger"),
            "The class of server.log and worker.log: a class, or its dotted name; usually one derived from gunicorn.glogging.Logger, which \
             is there also where gunicorn is not installed. With a class of one's own, Python writes every line of the logs.",
        ),
        setting(
            "logconfig",
            &["--log-config"],
            "FILE",
            Kind::Text,
            Preset::Nothing,
            "A file for Python's logging.config.fileConfig. With it Python writes every line of the logs, through the loggers \
             gunicorn.error and gunicorn.access.",
        ),
        in_file(
            "logconfig_dict",
            Kind::Dict,
            Preset::Map(&[]),
            "A dict for Python's logging.config.dictConfig, over gunicorn's defaults; otherwise as logconfig, which it goes before.",
        ),
        setting(
            "logconfig_json",
            &["--log-config-json"],
            "FILE",
            Kind::Text,
            Preset::Nothing,
            "A JSON file with such a dict; it goes before logconfig.",
        ),
        switch(
            "syslog",
            &["--log-syslog"],
            "Send the logs to syslog, besides to their files.",
        ),
        setting(
            "syslog_addr",
            &["--log-syslog-to"],
            "SYSLOG_ADDR",
            Kind::Text,
            Preset::Text("udp://localhost:514"),
            "Where syslog is: udp://HOST:PORT, tcp://HOST:PORT or unix://PATH, which may end in #dgram or #stream.",
        ),
        setting(
            "syslog_prefix",
            &["--log-syslog-prefix"],
            "SYSLOG_PREFIX",
            Kind::Text,
            Preset::Nothing,
            "What lines for syslog begin with, after gunicorn.; the default is the name of the process.",
        ),
        setting(
            "syslog_facility",
            &["--log-syslog-facility"],
            "SYSLOG_FACILITY",
            Kind::Text,
            Preset::Text("user"),
            "Their facility.",
        ),
        switch(
            "disable_redirect_access_to_syslog",
            &["--disable-redirect-access-to-syslog"],
            "Keep access lines out of syslog.",
        ),
        switch(
            "enable_stdio_inheritance",
            &["-R", "--enable-stdio-inheritance"],
            "A daemon keeps standard output and error where the shell has redirected them.",
        ),
        setting(
            "statsd_host",
            &["--statsd-host"],
            "STATSD_ADDR",
            Kind::Text,
            Preset::Nothing,
            "A StatsD server, HOST:PORT or unix://PATH, that gets gunicorn.requests, gunicorn.request.duration, \
             gunicorn.request.status.N, gunicorn.workers and gunicorn.log.LEVEL. Several metrics share a packet.",
        ),
        setting(
            "dogstatsd_tags",
            &["--dogstatsd-tags"],
            "DOGSTATSD_TAGS",
            Kind::Text,
            Preset::Text(""),
            "Tags for DataDog behind each metric: name:value,name:value.",
        ),
        setting(
            "statsd_prefix",
            &["--statsd-prefix"],
            "STATSD_PREFIX",
            Kind::Text,
            Preset::Text(""),
            "What the names of the metrics begin with; a dot follows it.",
        ),
        switch(
            "enable_backlog_metric",
            &["--enable-backlog-metric"],
            "Tell StatsD every second how many connections wait to be accepted on TCP addresses (gunicorn.backlog).",
        ),
    ],
};
