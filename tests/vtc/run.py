#!/usr/bin/env python3
"""Runs the varnishtest scripts of this folder against Lyss; prints `N passed, N failed`.

Each script gets three macros: `lyss`, the address of a running Lyss; `key`, an
API key; `up`, an address on which the script may start a server, to which Lyss
sends the model `vtc`.
"""
import os
import pathlib
import shutil
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lib.lyss import Lyss, sanitized  # noqa: E402


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def main():
    if not shutil.which("varnishtest"):
        print("skipped: there is no varnishtest")
        return 77
    scripts = sorted(HERE.glob("*.vtc"))
    if sys.argv[1:]:
        scripts = [s for s in scripts if s.stem in sys.argv[1:]]
    passed = failed = 0
    with Lyss() as l:
        up = f"127.0.0.1:{free_port()}"
        l.channel("vtc", f"http://{up}/v1", "vtc", credential="sk-vtc")
        l.caught_up()
        for s in scripts:
            p = subprocess.run(["varnishtest", "-l", "-t", "30" if sanitized() else "15", f"-Dlyss={l.host}:{l.port}", f"-Dkey={l.key}", f"-Dup={up}", str(s)],
                               text=True, capture_output=True, cwd=l.dir, env={**os.environ, "TMPDIR": l.dir})
            if p.returncode == 0:
                passed += 1
            else:
                failed += 1
                print(f"{s.name}: failed\n" + "\n".join((p.stdout + p.stderr).replace(l.key, "<key>").splitlines()[-40:]))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
