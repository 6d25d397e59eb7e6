#!/bin/sh
# Installs the Debian packages that a task needs, only those that are missing.
#
# Usage: tools/deps.sh build|test|bench
#
# Needs root or sudo for that; without either it names what is missing and fails.
set -eu

build="gcc libc6-dev make meson ninja-build pkg-config ca-certificates
    libuv1-dev libc-ares-dev libssl-dev libsqlite3-dev zlib1g-dev"
test="$build libcmocka-dev clang libclang-rt-14-dev clang-format python3-venv nodejs npm
    varnish openssl"
bench="$build nginx-light haproxy wrk g++ libsimdjson-dev python3"

case "${1:-}" in
build) wanted=$build ;;
test) wanted=$test ;;
bench) wanted=$bench ;;
*)
    echo "usage: tools/deps.sh build|test|bench" >&2
    exit 2
    ;;
esac

# A command that is there counts, wherever it came from.
have() {
    case "$1" in
    gcc | make | meson | clang | clang-format | npm | openssl | haproxy | wrk | g++ | python3)
        command -v "$1" >/dev/null && return ;;
    ninja-build) command -v ninja >/dev/null && return ;;
    nodejs) command -v node >/dev/null && return ;;
    pkg-config) command -v pkg-config >/dev/null && return ;;
    varnish) command -v varnishtest >/dev/null && return ;;
    nginx-light) command -v nginx >/dev/null && return ;;
    esac
    dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

missing=
for package in $wanted; do
    have "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "deps: this is not a Debian; install the equivalents of:$missing" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: missing packages, and neither root nor sudo to install them. As root:" >&2
        echo "  apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

echo "deps: installing$missing"
install() {
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends $missing </dev/null
}
# The lists of a fresh machine are empty or old: then bring them up to date and try once more.
if ! install >/dev/null 2>&1; then
    echo "deps: updating the package lists first"
    $as_root apt-get update -q
    install
fi
echo "deps: done"
