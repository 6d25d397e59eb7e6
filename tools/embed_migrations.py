#!/usr/bin/env python3
"""Turns migrations/<database>/NNNN_name.sql into one C file of const tables.

usage: embed_migrations.py MIGRATIONS_DIR OUT.c DEPFILE
"""
import hashlib
import pathlib
import re
import sys

NAME = re.compile(r"^(\d{4})_[a-z0-9_]+$")


def c_string(text):
    lines = []
    for line in text.splitlines(keepends=True):
        body = line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append('     "%s"' % body)
    return "\n".join(lines) or '     ""'


def one_set(folder):
    files = sorted(folder.glob("*.sql"))
    steps = []
    for want, path in enumerate(files, start=1):
        match = NAME.match(path.stem)
        if not match or int(match.group(1)) != want:
            sys.exit(f"{path}: expected a name like {want:04d}_name.sql, without gaps")
        raw = path.read_bytes()
        steps.append('    {%d, "%s",\n%s,\n     "%s"},' % (
            want, path.stem, c_string(raw.decode("utf-8")), hashlib.sha256(raw).hexdigest()))
    name = folder.name
    if not steps:
        return files, f'const struct migration_set migrations_{name} = {{"{name}", NULL, 0}};\n'
    return files, (f"static const struct migration {name}_steps[] = {{\n" + "\n".join(steps) + "\n};\n"
                   f'const struct migration_set migrations_{name} = {{"{name}", {name}_steps, '
                   f"{len(steps)}}};\n")


def main():
    root, out, dep = (pathlib.Path(a) for a in sys.argv[1:4])
    parts = ['/* Made by tools/embed_migrations.py. */\n#include "store/migrate.h"\n']
    inputs = []
    for database in ("lyss", "ledger"):
        folder = root / database
        files, text = one_set(folder)
        # The folders too: a new file makes its folder newer.
        inputs += [folder if folder.is_dir() else root, *files]
        parts.append(text)
    out.write_text("\n".join(parts))
    dep.write_text(f"{out}: " + " ".join(str(p).replace(" ", "\\ ") for p in inputs) + "\n")


main()
