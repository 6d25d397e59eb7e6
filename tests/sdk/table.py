"""The table of what was run: printed, and kept in docs/compatibility.md between two markers.

The document says exactly what a run has shown, so it is rewritten only by a
run that was complete and had no failure, and a run fails where the committed
table claims a cell that this run did not pass.
"""
import json
import os
import pathlib
import re

TESTS = pathlib.Path(__file__).resolve().parents[1]
DOC = TESTS.parent / "docs" / "compatibility.md"
BEGIN, END = "<!-- matrix: written by tests/sdk/run.py -->", "<!-- matrix ends -->"
SIGNS = {"pass": "✓", "fail": "✗", "n/a": "–"}


def text(cells, order):
    """A wide table for a terminal: a line for each row and wire."""
    scenarios = [s for s in order if any(k[2] == s for k in cells)]
    lines = [" " * 44 + " ".join(f"{s[:6]:>6}" for s in scenarios)]
    for row, wire in dict.fromkeys((r, w) for r, w, _ in cells):
        marks = [SIGNS[cells[row, wire, s]["result"]] if (row, wire, s) in cells else "·" for s in scenarios]
        lines.append(f"{row:26.26}{wire:18.18}" + " ".join(f"{m:>6}" for m in marks))
    return "\n".join(lines)


def versions():
    """What the tests install, as pinned."""
    wanted = re.findall(r"^(openai|anthropic|google-genai)==(\S+)", (TESTS / "requirements.txt").read_text(), re.M)
    packages = json.loads((TESTS / "sdk/js/package.json").read_text())["dependencies"]
    return ", ".join([f"{n} {v} (Python)" for n, v in sorted(wanted)] +
                     [f"{n} {v}" for n, v in sorted(packages.items()) if n not in ("typescript", "zod")])


def markdown(cells, rows, wires, scenarios):
    """The versions, one table for each client, one note for each reason why a cell does not apply."""
    notes, out = {}, [f"Versions: {versions()}.", ""]
    for row in rows:
        out += [f"### {row}", "", "| upstream wire | " + " | ".join(scenarios) + " |", "|---|" + "---|" * len(scenarios)]
        for wire in wires:
            marks = []
            for s in scenarios:
                c = cells.get((row, wire, s))
                mark = SIGNS[c["result"]] if c else "not run"
                if c and c["result"] == "n/a":
                    mark += f"<sup>{notes.setdefault(c['why'], len(notes) + 1)}</sup>"
                marks.append(mark)
            out.append(f"| {wire} | " + " | ".join(marks) + " |")
        out.append("")
    out += [f"{n}. {why[0].upper() + why[1:]}." for why, n in notes.items()]
    return "\n".join(out)


def claims(document):
    """Every ✓ of a document: {(row, wire, scenario)}."""
    m = re.search(re.escape(BEGIN) + "(.*)" + re.escape(END), document, re.S)
    found, row, heads = set(), None, []
    for line in (m[1] if m else "").splitlines():
        if line.startswith("### "):
            row = line[4:]
        elif line.startswith("| upstream wire"):
            heads = [h.strip() for h in line.strip("|").split("|")][1:]
        elif line.startswith("| "):
            wire, *marks = [x.strip() for x in line.strip("|").split("|")]
            found |= {(row, wire, h) for h, mark in zip(heads, marks) if mark == "✓"}
    return found


def publish(cells, rows, wires, scenarios, doc=DOC):
    """Writes the table; the lies that it found, if any."""
    old = doc.read_text()
    shown = {k for k, c in cells.items() if c["result"] == "pass"}
    bad = [f"docs/compatibility.md claims what this run did not show: {' | '.join(k)}" for k in sorted(claims(old) - shown)]
    missing = [(r, w, s) for r in rows for w in wires for s in scenarios if (r, w, s) not in cells]
    if missing:
        bad.append(f"{len(missing)} cells were not run, the first is {' | '.join(missing[0])}")
    if bad or any(c["result"] == "fail" for c in cells.values()):
        return bad
    new = re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: f"{BEGIN}\n\n{markdown(cells, rows, wires, scenarios)}\n\n{END}", old,
                 flags=re.S)
    if new != old:
        if os.environ.get("CI"):
            return ["docs/compatibility.md says less than this run has shown: run tests/run.py sdk and commit it"]
        doc.write_text(new)
        print("wrote docs/compatibility.md")
    return []
