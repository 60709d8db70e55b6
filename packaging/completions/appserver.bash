# bash completion for appserver; written by appserver --completion bash
_appserver() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    case $prev in
        -c|--config) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --python) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        -b|--bind) :; return ;;
        --backlog) :; return ;;
        -w|--workers) :; return ;;
        -k|--worker-class) COMPREPLY=($(compgen -W "sync gthread" -- "$cur")); return ;;
        --threads) :; return ;;
        --worker-connections) :; return ;;
        --max-requests) :; return ;;
        --max-requests-jitter) :; return ;;
        --worker-max-rss) :; return ;;
        --worker-max-lifetime) :; return ;;
        -t|--timeout) :; return ;;
        --graceful-timeout) :; return ;;
        --keep-alive) :; return ;;
        --limit-request-line) :; return ;;
        --limit-request-fields) :; return ;;
        --limit-request-field_size) :; return ;;
        --forwarded-allow-ips) :; return ;;
        --forwarder-headers) :; return ;;
        --header-map) COMPREPLY=($(compgen -W "drop refuse dangerous" -- "$cur")); return ;;
        --proxy-protocol) COMPREPLY=($(compgen -W "auto off v1 v2" -- "$cur")); return ;;
        --proxy-allow-from) :; return ;;
        --protocol) COMPREPLY=($(compgen -W "http uwsgi" -- "$cur")); return ;;
        --uwsgi-allow-from) :; return ;;
        --static) :; return ;;
        -p|--pid) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --chdir) COMPREPLY=($(compgen -d -- "$cur")); return ;;
        --pythonpath) :; return ;;
        -e|--env) :; return ;;
        -u|--user) :; return ;;
        -g|--group) :; return ;;
        -m|--umask) :; return ;;
        -n|--name) :; return ;;
        --access-logfile) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --access-logformat) :; return ;;
        --error-logfile|--log-file) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --log-level) COMPREPLY=($(compgen -W "debug info warning error critical" -- "$cur")); return ;;
        --logger-class) :; return ;;
        --log-config) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --log-config-json) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --log-syslog-to) :; return ;;
        --log-syslog-prefix) :; return ;;
        --log-syslog-facility) :; return ;;
        --statsd-host) :; return ;;
        --dogstatsd-tags) :; return ;;
        --statsd-prefix) :; return ;;
        --control-socket) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --control-socket-mode) :; return ;;
        --metrics-bind) :; return ;;
        --reload-extra-file) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --keyfile) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --certfile) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --cert-reqs) :; return ;;
        --ca-certs) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        --ciphers) :; return ;;
        --http-protocols) :; return ;;
        --http2-cleartext) COMPREPLY=($(compgen -W "prior-knowledge off upgrade both" -- "$cur")); return ;;
        --http2-max-concurrent-streams) :; return ;;
        --http2-initial-window-size) :; return ;;
        --http2-max-frame-size) :; return ;;
        --http2-max-header-list-size) :; return ;;
        --asgi) :; return ;;
        --asgi-path) :; return ;;
        --asgi-loop) COMPREPLY=($(compgen -W "auto asyncio uvloop" -- "$cur")); return ;;
        --asgi-lifespan) COMPREPLY=($(compgen -W "auto on off" -- "$cur")); return ;;
        --asgi-disconnect-grace-period) :; return ;;
        --websocket-max-message-size) :; return ;;
        --ws-ping-interval) :; return ;;
        --ws-ping-timeout) :; return ;;
        --root-path) :; return ;;
    esac
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "--help --version -c --config --python --check-config --print-config -b --bind --backlog --reuse-port -w --workers -k --worker-class --threads --worker-connections --max-requests --max-requests-jitter --worker-max-rss --worker-max-lifetime -t --timeout --graceful-timeout --keep-alive --limit-request-line --limit-request-fields --limit-request-field_size --permit-obsolete-folding --permit-unconventional-http-method --permit-unconventional-http-version --casefold-http-method --forwarded-allow-ips --forwarder-headers --header-map --proxy-protocol --proxy-allow-from --protocol --uwsgi-allow-from --static -D --daemon -p --pid --chdir --pythonpath -e --env -u --user -g --group --initgroups -m --umask --preload --no-sendfile -n --name --access-logfile --access-logformat --error-logfile --log-file --log-level --capture-output --logger-class --log-config --log-config-json --log-syslog --log-syslog-to --log-syslog-prefix --log-syslog-facility --disable-redirect-access-to-syslog -R --enable-stdio-inheritance --statsd-host --dogstatsd-tags --statsd-prefix --enable-backlog-metric --control-socket --control-socket-mode --no-control-socket --metrics-bind --reload --reload-extra-file --keyfile --certfile --cert-reqs --ca-certs --ciphers --http-protocols --http2-cleartext --http2-max-concurrent-streams --http2-initial-window-size --http2-max-frame-size --http2-max-header-list-size --asgi --asgi-path --asgi-loop --asgi-lifespan --asgi-disconnect-grace-period --websocket-max-message-size --ws-ping-interval --ws-ping-timeout --root-path" -- "$cur"))
    fi
}
complete -o default -F _appserver appserver
