#!/usr/bin/env python3
"""Runs the test suites and ends with one line `N passed, N failed`.

Usage: tests/run.py [--torture] [SUITE...]

Without names every suite but `real` runs. The binary under test is built with
AddressSanitizer and UndefinedBehaviorSanitizer in build-asan. A suite whose
files are not there is left out; one that is there and runs nothing has failed.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
ASAN = ROOT / "build-asan"
TSAN = ROOT / "build-tsan"
FUZZ = ROOT / "build-fuzz"
VENV = ROOT / ".cache" / "venv"
TALLY = re.compile(r"\b(\d+) passed, (\d+) failed\b")
UNIT_PASSED = re.compile(r"\[  PASSED  \] (\d+) test")
UNIT_FAILED = re.compile(r"\[  FAILED  \] (\d+) test")
# Unit tests that run more than one thread: these run under ThreadSanitizer, too.
THREADED = ["gateway_breaker", "gateway_gate", "gateway_limit", "core_log", "core_histogram", "store_journal_ring", "store_journal",
            "gateway_vitals"]


# Exit code of a suite whose prerequisites cannot be had here; it has said which.
LEAVE_OUT = 77


class Broken(Exception):
    """A suite could not be run at all."""


class LeftOut(Exception):
    """A suite cannot be had on this machine, and has said why."""


def say(text=""):
    print(text, flush=True)


def run(args, seconds, env=None, quiet=False):
    """Runs a command in a process group of its own, shows and returns its output and exit code."""
    p = subprocess.Popen([str(a) for a in args], cwd=ROOT, env={**os.environ, **(env or {})},
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, errors="replace", start_new_session=True)
    late = threading.Event()

    def stop():
        late.set()
        os.killpg(p.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, stop)
    timer.start()
    lines = []
    for line in p.stdout:
        lines.append(line)
        if not quiet:
            sys.stdout.write(line)
            sys.stdout.flush()
    code = p.wait()
    timer.cancel()
    if late.is_set():
        lines.append(f"stopped after {seconds} s\n")
        say(lines[-1].rstrip())
        code = code or 1
    return "".join(lines), code


def must(args, seconds=900, env=None):
    text, code = run(args, seconds, env, quiet=True)
    if code:
        raise Broken(f"{' '.join(map(str, args))}\n{text[-8000:]}")


def build(folder, sanitize, *targets):
    jobs = str(os.cpu_count() or 1)
    if not (folder / "build.ninja").exists():
        must(["meson", "setup", folder, ROOT, f"-Db_sanitize={sanitize}", "-Db_lundef=false"])
    must(["ninja", "-C", folder, "-j", jobs, *targets])


def binary():
    for path in (ASAN / "lyss", ASAN / "src/cli/lyss"):
        if path.exists():
            return str(path)
    raise Broken("the build has no binary lyss")


def sanitizers():
    return {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
            "TSAN_OPTIONS": "halt_on_error=1"}


def tally(text, code, what):
    """The last `N passed, N failed` of a script; an exit code that disagrees counts as a failure."""
    if code == LEAVE_OUT:
        raise LeftOut
    found = TALLY.findall(text)
    passed, failed = map(int, found[-1]) if found else (0, 0)
    if code and not failed:
        say(f"{what}: exit code {code}")
        failed = 1
    return passed, failed


def script(path, *args, seconds=600, env=None):
    text, code = run([python(), path, *args], seconds, env)
    return tally(text, code, path.relative_to(ROOT))


def python():
    """The Python of a virtual environment with tests/requirements.txt, made when it changed."""
    wanted = TESTS / "requirements.txt"
    if not wanted.exists():
        return sys.executable
    mark = VENV / "requirements.txt"
    if not mark.exists() or mark.read_text() != wanted.read_text():
        say(f"Making a virtual environment in {VENV.relative_to(ROOT)}")
        shutil.rmtree(VENV, ignore_errors=True)
        must([sys.executable, "-m", "venv", VENV])
        must([VENV / "bin/pip", "install", "-q", "--disable-pip-version-check", "-r", wanted])
        shutil.copy(wanted, mark)
    return VENV / "bin/python"


def meson_results(folder, *names):
    """Runs meson's tests; counts the cases inside a cmocka program, else the program."""
    _, code = run(["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs", *names], 900,
                  sanitizers())
    passed = failed = 0
    for line in (folder / "meson-logs/testlog.json").read_text().splitlines():
        one = json.loads(line)
        text = (one.get("stdout") or "") + (one.get("stderr") or "")
        good = sum(map(int, UNIT_PASSED.findall(text)))
        bad = sum(map(int, UNIT_FAILED.findall(text)))
        if one["result"] == "OK":
            passed += good or 1
        else:
            passed, failed = passed + good, failed + (bad or 1)
    return passed, failed or int(code != 0)


def suite_checks(args):
    passed = failed = 0
    for path in sorted((TESTS / "checks").glob("*.py")):
        p, f = script(path)
        passed, failed = passed + p, failed + f
    return passed, failed


def suite_unit(args):
    return meson_results(ASAN)


def suite_threads(args):
    source = (TESTS / "unit/meson.build").read_text()
    names = [n for n in THREADED if "['{1}', '{0}',".format(*n.split("_", 1)) in source]
    build(TSAN, "thread", *(f"tests/unit/test_{n}" for n in names))
    return meson_results(TSAN, *("unit/" + n.replace("_", "/", 1) for n in names))


def suite_conformance(args):
    passed = failed = 0
    for path in sorted((TESTS / "conformance").glob("*.py")):
        p, f = script(path, ASAN, env=sanitizers())
        passed, failed = passed + p, failed + f
    return passed, failed


def suite_integration(args):
    report = ASAN / "integration.xml"
    report.unlink(missing_ok=True)
    env = {"LYSS_BIN": binary(), **sanitizers()}
    _, code = run([python(), "-m", "pytest", f"--junitxml={report}",
                   TESTS / "integration"],
                  7200 if args.torture else 900, env)
    if not report.exists():
        return 0, 1
    count = {k: sum(map(int, re.findall(rf'<testsuite [^>]*\b{k}="(\d+)"', report.read_text())))
             for k in ("tests", "errors", "failures", "skipped")}
    failed = count["errors"] + count["failures"]
    return max(count["tests"] - failed - count["skipped"], 0), failed or int(code != 0)


def suite_sdk(args):
    return script(TESTS / "sdk/run.py", env={"LYSS_BIN": binary(), **sanitizers()})


def suite_vtc(args):
    return script(TESTS / "vtc/run.py", env={"LYSS_BIN": binary(), **sanitizers()})


def suite_fuzz(args):
    seconds = "300" if args.torture else "5"
    return script(TESTS / "fuzz/run.py", "--seconds", seconds, FUZZ, seconds=14400)


def suite_real(args):
    return script(TESTS / "real/run.py", env={"LYSS_BIN": str(ROOT / "build/lyss")}, seconds=1800)


# name, what must be there, the suite, and whether it needs the sanitizer build
SUITES = [
    ("checks", "checks", suite_checks, False),
    ("unit", "unit", suite_unit, True),
    ("threads", "unit", suite_threads, False),
    ("conformance", "conformance", suite_conformance, True),
    ("integration", "integration", suite_integration, True),
    ("sdk", "sdk/run.py", suite_sdk, True),
    ("vtc", "vtc/run.py", suite_vtc, True),
    ("fuzz", "fuzz/run.py", suite_fuzz, False),
    ("real", "real/run.py", suite_real, False),
]


def run_suite(name, suite, needs_build, args):
    began = time.monotonic()
    say(f"\n== {name}")
    try:
        if needs_build:
            build(ASAN, "address,undefined")
        passed, failed = suite(args)
    except LeftOut:
        say(f"{name}: left out")
        return 0, 0
    except Broken as why:
        say(f"{name}: could not be run: {why}")
        passed, failed = 0, 1
    if not passed and not failed:
        say(f"{name}: ran nothing")
        failed = 1
    say(f"-- {name}: {passed} passed, {failed} failed ({time.monotonic() - began:.0f} s)")
    return passed, failed


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--torture", action="store_true", help="full counts, long runs")
    ap.add_argument("suites", nargs="*", metavar="SUITE", help=" ".join(s[0] for s in SUITES))
    args = ap.parse_args()
    unknown = set(args.suites) - {s[0] for s in SUITES}
    if unknown:
        ap.error(f"no such suite: {' '.join(sorted(unknown))}")
    if args.torture:
        os.environ["LYSS_TORTURE"] = "1"  # tests look at it for their counts
    results = []
    for name, there, suite, needs_build in SUITES:
        wanted = name in args.suites if args.suites else name != "real"
        if not wanted:
            continue
        if not (TESTS / there).exists():
            say(f"\n== {name}: left out, there is no tests/{there}")
            continue
        results.append((name, *run_suite(name, suite, needs_build, args)))
    say()
    for name, passed, failed in results:
        if failed:
            say(f"failed: {name}")
    passed, failed = sum(r[1] for r in results), sum(r[2] for r in results)
    say(f"{passed} passed, {failed} failed")
    return 1 if failed or (results and not passed and not args.suites) else 0


if __name__ == "__main__":
    sys.exit(main())
