#!/usr/bin/env python3
"""Official SDKs against Lyss; prints the matrix and `N passed, N failed`.

Usage: tests/sdk/run.py [--only WORDS]... [--driver NAME]... [--direct]

--only  run cells whose `row|wire|scenario` holds one of the comma-separated words; may be repeated
--driver  run only drivers whose path holds NAME, such as python/openai
--direct  each SDK on the fake itself, without Lyss: does the fake speak as the SDK expects?
"""
import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import matrix  # noqa: E402
import openai_js  # noqa: E402
import table  # noqa: E402
import types_ts  # noqa: E402
from packages import prepare  # noqa: E402


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--only", action="append", default=[])
    ap.add_argument("--driver", action="append", default=[])
    ap.add_argument("--direct", action="store_true")
    args = ap.parse_args()
    exe = prepare()
    cells, trouble = matrix.run(exe, args.only, args.driver, args.direct)
    for c in cells.values():
        if c["result"] == "fail":
            print(f"{c['row']} | {c['wire']} | {c['scenario']}: {c['why']}")
            for why in c["refused"][:2]:
                print(f"    the upstream refused: {why}")
    for t in trouble:
        print(t)
    print(table.text(cells, matrix.SCENARIOS))
    passed = sum(c["result"] == "pass" for c in cells.values())
    failed = sum(c["result"] == "fail" for c in cells.values()) + len(trouble)
    if not (args.only or args.driver or args.direct):
        bad = table.publish(cells, matrix.ROWS, list(matrix.WIRES), matrix.SCENARIOS)
        for b in bad:
            print(b)
        failed += len(bad)
        more = openai_js.run(exe)
        print(f"openai for JavaScript, passed through: {more[0]} passed, {more[1]} failed")
        typed = types_ts.run(exe)
        print(f"answers in the types of openai for JavaScript: {typed[0]} passed, {typed[1]} failed")
        passed, failed = passed + more[0] + typed[0], failed + more[1] + typed[1]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
