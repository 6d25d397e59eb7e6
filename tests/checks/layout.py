#!/usr/bin/env python3
"""Fails where clang-format would lay the C source out differently; `make format` mends it."""
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    tool = shutil.which("clang-format") or sys.exit("clang-format is missing: tools/deps.sh test")
    files = [p for d in ("src", "tools", "tests") for p in sorted((ROOT / d).rglob("*.[ch]"))]
    bad = set()
    for at in range(0, len(files), 50):
        done = subprocess.run([tool, "--dry-run", *files[at:at + 50]], capture_output=True, text=True)
        bad |= {line.split(":")[0] for line in done.stderr.splitlines()
                if "[-Wclang-format-violations]" in line}
        if done.returncode:
            bad.add(done.stderr.strip())
    for name in sorted(bad):
        print(f"not laid out: {name.removeprefix(str(ROOT) + '/')} (make format mends it)")
    print(f"layout: {len(files) - len(bad)} passed, {len(bad)} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
