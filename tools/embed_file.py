#!/usr/bin/env python3
"""Turns a file into a C file with its bytes and their number.

usage: embed_file.py IN NAME HEADER OUT.c
"""
import pathlib
import sys


def main():
    source, name, header, out = sys.argv[1:5]
    data = pathlib.Path(source).read_bytes()
    lines = ["    " + ",".join(str(b) for b in data[i:i + 24]) + ","
             for i in range(0, len(data), 24)]
    pathlib.Path(out).write_text(
        f'/* Made by tools/embed_file.py from {pathlib.Path(source).name}. */\n'
        f'#include "{header}"\n\nconst char {name}[] = {{\n' + "\n".join(lines) +
        f"\n    0}};\nconst size_t {name}_bytes = {len(data)};\n")


main()
