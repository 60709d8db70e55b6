#!/usr/bin/env bash
# Checks the units of this folder; exits 0 or 1. Needs systemd 250 or newer, no root, and nothing installed or running.
#
# The programs that the units start are not on this machine, so a small root of its own is made in a temporary folder:
# the units where a package puts them, beside copies of this machine's standard units (their dependencies) and
# stand-ins for the programs. There, in turn:
#   1. `systemd-analyze verify`: every word it says counts as a fault (it exits 0 for an unknown setting)
#   2. `systemd-analyze security`: the exposure of each service stays under a limit
#   3. what appserver.service and appserver@.service share is the same in both
#   4. the accounts that the units name are made by viaduct.sysusers.conf
#   5. and, so that all this means something: broken units must be found
set -euo pipefail
cd "$(dirname "$0")"

SYSTEM_UNITS=/usr/lib/systemd/system
UNITS=(edge.service edge.socket appserver.service appserver.socket appserver@.service appserver@.socket)
# unit and highest exposure, in tenths (0 is least); edge's master is root, with seven capabilities
LIMITS=(edge.service=34 appserver.service=20 appserver@my_shop.service=20)

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
target="$root$SYSTEM_UNITS"
failed=0

main() {
    need systemd-analyze
    need systemd-sysusers
    make_root
    for unit in "${UNITS[@]}"; do
        check "verify $unit" verify "${unit/@./@my_shop.}"
    done
    for limit in "${LIMITS[@]}"; do
        check "exposure of ${limit%=*} at most ${limit#*=} of 100" exposure "${limit%=*}" "${limit#*=}"
    done
    drop_in
    check "verify edge.service with edge-unprivileged.conf" verify edge.service
    check "exposure of edge.service without root at most 20 of 100" exposure edge.service 20
    check "both appserver services say the same from 'running' on" alike
    check "accounts" accounts
    for fault in 's/^KillMode=.*/KillMod=mixed/' 's/^Type=.*/Type=notifying/' 's#/usr/bin/edge#/usr/bin/edgy#' \
                 's/^WatchdogSec=.*/WatchdogSec=often/' 's/@system-service/@no-such-group/'; do
        check "a broken unit is found: $fault" finds "$fault"
    done
    [ $failed = 0 ] && echo "all units are in order"
    return $failed
}

need() {
    command -v "$1" >/dev/null || { echo "FAIL  $1 is not installed (Debian: apt-get install systemd)" >&2; exit 1; }
}

check() { # what command…
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "ok    $what"
    else
        echo "FAIL  $what"
        sed 's/^/        /' <<<"$said"
        failed=1
    fi
}

make_root() {
    mkdir -p "$target" "$root"/{usr/bin,srv/venv/bin,srv/my_shop/venv/bin,etc,var,run,tmp,dev,proc,sys}
    ln -s usr/bin "$root/bin"
    cp -r "$SYSTEM_UNITS/." "$target/"
    for program in usr/bin/edge srv/venv/bin/appserver srv/my_shop/venv/bin/appserver usr/bin/kill; do
        printf '#!/bin/sh\n' >"$root/$program"
        chmod 755 "$root/$program"
    done
    cp "${UNITS[@]}" "$target/"
}

drop_in() {
    mkdir -p "$target/edge.service.d"
    cp edge-unprivileged.conf "$target/edge.service.d/"
}

# Only what is said about our units: the standard ones name programs that this root lacks.
verify() { # unit
    local said
    said=$(systemd-analyze verify --root="$root" --man=no "$1" 2>&1 | grep -E '(^|/)(edge|appserver)' || true)
    [ -z "$said" ] || { echo "$said"; return 1; }
}

exposure() { # unit, limit in tenths
    systemd-analyze security --root="$root" --offline=true --no-pager --threshold="$2" "$1" | tail -n 1
}

alike() {
    diff <(sed -n '/^# --- running/,$p' appserver.service) <(sed -n '/^# --- running/,$p' appserver@.service)
}

accounts() {
    local account
    systemd-sysusers --root="$root" --dry-run "$PWD/viaduct.sysusers.conf" || return 1
    for account in $(sed -n 's/^\(User\|Group\)=//p' "${UNITS[@]}" edge-unprivileged.conf | sort -u); do
        grep -q "^u $account " viaduct.sysusers.conf || { echo "no line for \"$account\""; return 1; }
    done
}

finds() { # a sed command that breaks edge.service
    rm -rf "$target/edge.service.d"
    sed "$1" edge.service >"$target/edge.service"
    cmp -s edge.service "$target/edge.service" && { echo "the command changes nothing"; return 1; }
    ! verify edge.service || { echo "it was not found"; return 1; }
}

main
