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
stamp=build-profile/taken

build() {
    ninja -C "$1" -j "$jobs" --quiet ${2:+"$2"}
}

# Counts into build-profile. Fails where that cannot be had.
take_profile() {
    # shellcheck disable=SC2086
    if ! ${CC:-cc} --version | grep -q 'Free Software Foundation'; then
        echo "No profile: the compiler is not GCC"
        return 1
    fi
    echo "Building a binary that counts, in ./build-profile, so that the release can be laid out by it (PROFILE=no: not)"
    [ -f build-profile/build.ninja ] ||
        meson setup build-profile --buildtype=release -Dtests=false -Db_pgo=generate >/dev/null || return 1
    build build-profile src/cli/lyss || return 1
    find build-profile -name '*.gcda' -delete
    echo "Sending it requests and streams for a quarter of a minute"
    if ! "$python" tests/bench/train.py build-profile/src/cli/lyss build-profile/bench; then
        echo "No profile: the release is built without one; make profile tries again"
        return 1
    fi
    touch "$stamp"
}

# What has been counted is found beside the object files.
set_up_profiled() {
    mkdir -p build
    (cd build-profile && find . -name '*.gcda' -exec cp --parents -t ../build {} +)
    if [ -f build/build.ninja ]; then
        meson configure build -Db_pgo=use -Dwerror=false >/dev/null
        ninja -C build build.ninja >/dev/null
        ninja -C build -t clean >/dev/null
    else
        meson setup build --buildtype=release -Db_lto=true -Dtests=false -Db_pgo=use -Dwerror=false >/dev/null
    fi
}

changed() {
    find src meson.build -newer "$stamp" -type f | wc -l
}

cd "$(dirname "$0")/.."
if [ "${PROFILE:-yes}" != no ]; then
    if [ ! -f build/build.ninja ] || { [ "${1:-}" = fresh ] && { [ ! -f "$stamp" ] || [ "$(changed)" != 0 ]; }; }; then
        if take_profile; then
            set_up_profiled
        fi
    fi
fi
if [ ! -f build/build.ninja ]; then
    echo "Setting up the release build in ./build"
    meson setup build --buildtype=release -Db_lto=true -Dtests=false >/dev/null
fi
echo "Building build/lyss"
build build
[ -e build/lyss ] || ln -sfn src/cli/lyss build/lyss
if [ -f "$stamp" ] && [ "$(changed)" -gt 20 ]; then
    echo "$(changed) sources have changed since the profile was taken: make profile takes it again"
fi
