#!/usr/bin/env python3
"""Fails where a source file reaches above its floor or past a seam.

The rules are those of docs/principles.md that a text can be checked for. Each
rule is first shown to find a planted offence, so that a rule that has gone
blind does not pass as a clean house.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLOORS = ["core", "net", "llm", "store", "ops", "gateway", "manage", "cli"]
LINES_MAX = 700

QUOTED = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_of(text):
    """The text without comments and strings, its lines kept."""
    return COMMENT_OR_STRING.sub(lambda m: " " + "\n" * m[0].count("\n"), text)


def upward_includes(path, text, code):
    floor = path.split("/")[1]
    for m in QUOTED.finditer(text):
        other = m[1].split("/")[0]
        if other not in FLOORS:
            yield m.start(), f'include "{m[1]}" by its floor, as in "core/str.h"'
        elif FLOORS.index(other) > FLOORS.index(floor):
            yield m.start(), f"{floor} includes {m[1]}, which is above it"


def pattern(regex, message, *allowed):
    compiled = re.compile(regex, re.M)

    def rule(path, text, code):
        if not re.match("|".join(allowed) or r"(?!)", path):
            for m in compiled.finditer(code):
                yield m.start(), message
    return rule


def length(path, text, code):
    n = text.count("\n")
    if n > LINES_MAX:
        yield len(code), f"{n} lines; split it (at most {LINES_MAX})"


RULES = {
    "floors include downwards": (
        upward_includes, "src/core/x.c", '#include "net/tcp.h"\n'),
    "uv.h only in net/tcp and net/loop": (
        pattern(r"^\s*#\s*include\s*<uv\.h>", "only net/tcp and net/loop include uv.h",
                r"src/net/(tcp|loop)[\w]*\.[ch]$"),
        "src/net/x.c", "#include <uv.h>\n"),
    "memory only through core/alloc": (
        pattern(r"(?<![\w.>])(malloc|calloc|realloc|free|strdup|strndup|asprintf)\s*\(",
                "use core/alloc.h", r"src/core/alloc\.c$"),
        "src/net/x.c", "void f(void *p)\n{\n    free(p);\n}\n"),
    "no call into libuv's thread pool": (
        pattern(r"\b(uv_getaddrinfo|uv_getnameinfo|uv_fs_\w+|uv_queue_work|uv_random)\s*\(",
                "it runs on a hidden thread pool"),
        "src/net/loop.c", "int x = uv_fs_open(a, b);\n"),
    "time only through core/clock": (
        pattern(r"\b(clock_gettime|gettimeofday|time)\s*\((?!void\))", "use core/clock.h",
                r"src/core/clock\.c$"),
        "src/net/x.c", "int x = clock_gettime(a, b);\n"),
    "structs are not typedefed": (
        pattern(r"^\s*typedef\s+(struct|union|enum)\b", "say struct"),
        "src/net/x.h", "typedef struct x x;\n"),
    "files are read in one sitting": (length, "src/net/x.c", "\n" * (LINES_MAX + 1)),
}


def finds(rule, path, text):
    return [(text.count("\n", 0, at) + 1, why) for at, why in rule(path, text, code_of(text))]


def main():
    files = {str(p.relative_to(ROOT)): p.read_text(errors="replace")
             for p in sorted((ROOT / "src").rglob("*")) if p.suffix in (".c", ".h")}
    passed = failed = 0
    for name, (rule, planted_path, planted) in RULES.items():
        bad = []
        if not finds(rule, planted_path, planted):
            bad.append("the rule does not find the offence planted for it")
        for path, text in files.items():
            bad += [f"{path}:{line}: {why}" for line, why in finds(rule, path, text)]
        for line in bad:
            print(f"{name}: {line}")
        passed, failed = passed + (not bad), failed + bool(bad)
    print(f"floors: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
