"""What `cfg.set()` means in a hook, when the server has read its settings."""

import json

from viaduct_worker import native
from viaduct_worker.config import plain

# Workers read these when they boot: what is set in `on_starting`, `when_ready`, `on_reload`, `pre_fork`, `post_fork` or
# `post_worker_init` counts for the workers that come.
FOLLOWED = frozenset(
    """
    access_log_format asgi_disconnect_grace_period asgi_lifespan casefold_http_method forwarded_allow_ips forwarder_headers group
    header_map initgroups keepalive limit_request_field_size limit_request_fields limit_request_line max_requests
    max_requests_jitter permit_obsolete_folding permit_unconventional_http_method permit_unconventional_http_version proc_name
    protocol proxy_allow_ips proxy_protocol raw_env reload reload_extra_files root_path secure_scheme_headers sendfile umask user
    uwsgi_allow_ips websocket_max_message_size worker_connections worker_max_lifetime worker_max_rss ws_ping_interval
    ws_ping_timeout
    """.split()
)
# Nobody reads these again, gunicorn neither: they change what `cfg` tells.
ONLY_TOLD = frozenset(
    """
    accesslog capture_output chdir check_config config daemon default_proc_name disable_redirect_access_to_syslog
    dogstatsd_tags errorlog logconfig logconfig_dict logconfig_json logger_class loglevel pidfile preload_app print_config
    pythonpath statsd_host statsd_prefix syslog syslog_addr syslog_facility syslog_prefix timeout worker_class workers wsgi_app
    """.split()
)


def value_for(cfg, name, value):
    """What the setting is from now on.

    Refuses, by name, what would have an effect in gunicorn and cannot have one here.
    """
    if name in ONLY_TOLD:
        return value
    if name not in FOLLOWED:
        raise ValueError(
            "cfg.set(%r): the server has read this setting when hooks run; write it in the configuration file or on the command line" % name
        )
    if cfg.is_in_force:
        raise ValueError(
            "cfg.set(%r): the worker has read this setting when it serves; set it in post_worker_init or before" % name
        )
    value = alike(value, cfg.settings[name].value)
    native.check_setting(name, json.dumps(plain(value)))
    return value


def alike(value, present):
    """Text becomes what the present value is, as on the command line."""
    if not isinstance(value, str):
        return value
    if isinstance(present, list):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(present, int) and not isinstance(present, bool) and value.strip().isdigit():
        return int(value)
    return value
