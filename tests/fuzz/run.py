#!/usr/bin/env python3
"""Builds the fuzz targets, replays their corpora and lets each run for a while.

Usage: tests/fuzz/run.py [--seconds N] BUILD [TARGET...]

BUILD is a folder of its own, set up with clang and its sanitizers.  Finds of a run go into
BUILD/corpus/<target>, so that a later run starts from them; the seeds in tests/fuzz/corpus stay
as they are.  An input that breaks something is left as BUILD/crash-<target>-*.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def build(folder):
    if not (folder / "build.ninja").exists():
        subprocess.run(["meson", "setup", folder, ROOT, "-Dfuzz=true", "-Dtests=false",
                        "-Db_sanitize=address,undefined", "-Db_lundef=false"],
                       check=True, env={**os.environ, "CC": "clang"}, stdout=subprocess.DEVNULL)
    names = re.findall(r"^\s*\['(\w+)', \w+\],", (HERE / "meson.build").read_text(), re.M)
    done = subprocess.run(["ninja", "-C", folder, "-j2", *(f"tests/fuzz/fuzz_{n}" for n in names)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"the fuzz targets cannot be built:\n{done.stdout[-8000:]}")
    return names


def run(folder, args):
    env = {**os.environ, "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
           "ASAN_OPTIONS": "detect_leaks=1"}
    done = subprocess.run(args, cwd=folder, env=env, capture_output=True, text=True, errors="replace")
    return done.returncode == 0, done.stderr


def fuzz(folder, name, seconds):
    """Yields (what, ok, output) for the replay and for the run."""
    target = str(folder / "tests/fuzz" / f"fuzz_{name}")
    crash = f"-artifact_prefix={folder}/crash-{name}-"
    seeds = sorted(p for p in (HERE / "corpus" / name).glob("*") if p.is_file())
    ok, text = run(folder, [target, crash, *map(str, seeds)]) if seeds else (False, "no seeds")
    yield f"replay of {len(seeds)} seeds", ok, text
    found = folder / "corpus" / name
    found.mkdir(parents=True, exist_ok=True)
    ok, text = run(folder, [target, crash, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
                            "-max_len=65536", str(found), str(HERE / "corpus" / name)])
    runs = re.search(r"Done (\d+) runs", text)
    yield f"{runs[1] if runs else 'unknown'} runs in {seconds} s", ok and bool(runs), text


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seconds", type=int, default=5, help="for each target (default 5)")
    ap.add_argument("build", type=pathlib.Path)
    ap.add_argument("targets", nargs="*")
    args = ap.parse_args()
    folder = args.build.resolve()
    names = build(folder)
    unknown = set(args.targets) - set(names)
    if unknown:
        ap.error(f"no such target: {', '.join(sorted(unknown))} (there are: {', '.join(names)})")
    passed = failed = 0
    targets = args.targets or names
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = pool.map(lambda name: list(fuzz(folder, name, args.seconds)), targets)     # one on each core
        for name, results in zip(targets, found):
            for what, ok, text in results:
                print(f"{'ok  ' if ok else 'FAIL'} fuzz/{name}: {what}", flush=True)
                if not ok:
                    print(text[-4000:])
                passed, failed = passed + ok, failed + (not ok)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
