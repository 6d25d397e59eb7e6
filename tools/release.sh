#!/bin/sh
# Builds the release binary, build/lyss.
#
# Usage: tools/release.sh [fresh]
#
# A compiler that knows which ways requests take lays out their code so that a request costs a tenth
# less. GCC learns it from a build that counts (build-profile) under load (tests/bench/train.py).
# That is done once, before the first build; with `fresh` again if a source has changed since.
# PROFILE=no, or a compiler other than GCC: a plain release build.
set -eu

jobs=${JOBS:-$(nproc)}
python=${PYTHON:-python3}
stamp=build/profiled # as old as the sources that were counted; without it the build is a plain one

# On a terminal a line counts the steps.
build() {
    quiet=--quiet
    [ ! -t 1 ] || quiet=
    ninja -C "$1" -j "$jobs" $quiet ${2:+"$2"}
}

set_up() {
    folder=$1
    shift
    rm -rf "$folder"
    meson setup "$folder" --buildtype=release -Dtests=false "$@" >/dev/null
}

# Counts into build-profile. Fails where that cannot be had.
take_profile() {
    # shellcheck disable=SC2086
    if ! ${CC:-cc} --version | grep -q 'Free Software Foundation'; then
        echo "No profile: the compiler is not GCC"
        return 1
    fi
    echo "Building a binary that counts, in ./build-profile, so that the release can be laid out by it (PROFILE=no: not)"
    set_up build-profile -Db_pgo=generate || return 1
    touch build-profile/begun
    build build-profile src/cli/lyss || return 1
    echo "Sending it requests and streams for a quarter of a minute"
    # shellcheck disable=SC2086
    if ! $python tests/bench/train.py build-profile/src/cli/lyss build-profile/bench; then
        echo "No profile was taken; make profile tries again"
        return 1
    fi
}

set_up_plain() {
    echo "Setting up the release build in ./build"
    set_up build -Db_lto=true
}

# What has been counted is looked for beside the object files.
set_up_profiled() {
    set_up build -Db_lto=true -Db_pgo=use -Dwerror=false
    (cd build-profile && find . -name '*.gcda' -exec cp --parents -t ../build {} +)
    mv build-profile/begun "$stamp"
}

changed() {
    find src meson.build -newer "$stamp" -type f | wc -l
}

cd "$(dirname "$0")/.."
if [ "${PROFILE:-yes}" = no ]; then
    if [ ! -f build/build.ninja ] || [ -f "$stamp" ]; then
        set_up_plain
    fi
elif [ ! -f build/build.ninja ] ||
    { [ "${1:-}" = fresh ] && { [ ! -f "$stamp" ] || [ "$(changed)" != 0 ]; }; }; then
    if take_profile; then
        set_up_profiled
    elif [ ! -f build/build.ninja ]; then
        set_up_plain
    fi
fi
echo "Building build/lyss"
build build
[ -e build/lyss ] || ln -sfn src/cli/lyss build/lyss
if [ -f "$stamp" ] && [ "$(changed)" -gt 20 ]; then
    echo "$(changed) sources have changed since the profile was taken: make profile takes it again"
fi
