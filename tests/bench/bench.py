#!/usr/bin/env python3
"""make bench: what Lyss costs, beside nginx and HAProxy, as ratios within one run.

bench.py [--lyss build/lyss] [--quick] [--json] [--rounds N] [--peers nginx,haproxy,lyss] [MEASURE …]

Without a measure, all of them, in about ten minutes. Needs nginx, haproxy, openssl, a C compiler and
OpenSSL's headers; everything stays on 127.0.0.1. The exit code is 1 when a bar is missed.
"""
import argparse
import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile

import peers
from measures import MEASURES, Plan, whole


def number(v):
    if v is None:
        return "–"
    if v == float("inf"):
        return "never"
    return f"{v:.2f}" if abs(v) < 10 else f"{v:.1f}" if abs(v) < 1000 else f"{v:.0f}"


def with_unit(v, unit):
    return number(v) if v == float("inf") else f"{number(v)} {unit}".strip()


def verdict(r):
    if r["passed"] is None:
        return "–"
    judged = r["values"].get("lyss") if r["limit"] is not None else r["ratio"]
    if r["passed"] and r["stretch"] is not None and judged <= r["stretch"]:
        return "pass (stretch)"
    return "pass" if r["passed"] else "MISS"


def table(rows):
    """A Markdown table, as it goes into docs/performance.md."""
    lines = ["| Measure | nginx | HAProxy | Lyss | ratio | bar | |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        cells = [with_unit(r["values"][n], r["unit"]) if n in r["values"] else "" for n in ("nginx", "haproxy", "lyss")]
        ratio = f"{number(r['ratio'])} × {r['against']}" if r["ratio"] is not None else ""
        bar = f"≤ {with_unit(r['limit'], r['unit'])}" if r["limit"] is not None else f"≤ {number(r['bar'])} ×" if r["bar"] else ""
        if r["stretch"] is not None:
            bar += f", stretch {number(r['stretch'])}"
        lines.append("| " + " | ".join([r["measure"], *cells, ratio, bar, verdict(r)]) + " |")
    return "\n".join(lines)


def machine(lyss):
    model = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    versions = {"nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"], "lyss": [lyss, "version"]}
    said = {n: subprocess.run(a, capture_output=True, text=True) for n, a in versions.items()}
    return dict(cpu=model, cores=os.cpu_count(), kernel=os.uname().release,
                **{n: (p.stdout + p.stderr).splitlines()[0] for n, p in said.items()})


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--lyss", default="build/lyss", help="the release binary")
    ap.add_argument("--build", help="where the mock and the load generator are built (default: beside the binary)")
    ap.add_argument("--quick", action="store_true", help="one short round and small counts: a look, no figures")
    ap.add_argument("--json", action="store_true", help="rows as JSON on stdout instead of the table")
    ap.add_argument("--rounds", type=int, default=0, help="interleaved rounds (default 12)")
    ap.add_argument("--peers", default="nginx,haproxy,lyss", help="who takes part")
    ap.add_argument("--keep", action="store_true", help="keep the run's folder with configurations and logs")
    ap.add_argument("measures", nargs="*", metavar="MEASURE", help=" ".join(MEASURES))
    a = ap.parse_args()
    unknown = [m for m in a.measures if m not in MEASURES]
    if unknown:
        ap.error(f"unknown measure {unknown[0]}; there are: {' '.join(MEASURES)}")
    return a


def check_ready(a, names):
    missing = [p for p in ("nginx", "haproxy", "openssl") if not shutil.which(p)]
    if missing:
        sys.exit(f"bench: install {', '.join(missing)} first (Debian: nginx-light haproxy openssl)")
    if "lyss" in names and not os.access(a.lyss, os.X_OK):
        sys.exit(f"bench: no {a.lyss}: run make first")
    if not {peers.PROXY_CORE, peers.LOAD_CORE} <= os.sched_getaffinity(0):
        sys.exit("bench: cores 0 and 1 are needed")


def measure_all(a, run, plan):
    rows, failed = [], []
    for name in a.measures or MEASURES:
        print(f"bench: {name} …", file=sys.stderr, flush=True)
        try:
            for r in MEASURES[name](run, plan):
                rows.append(r)
                print(f"bench:   {r['measure']}: {json.dumps({n: number(v) for n, v in r['values'].items()})} "
                      f"{'ratio ' + number(r['ratio']) if r['ratio'] is not None else ''} {verdict(r)} {r['note']}", file=sys.stderr, flush=True)
        except (peers.BenchError, OSError, ValueError, subprocess.TimeoutExpired) as e:
            failed.append(f"{name}: {e}")
            print(f"bench:   {name} could not be measured: {e}", file=sys.stderr, flush=True)
    return rows + list(whole(run, plan)), failed


def main():
    a = arguments()
    names = a.peers.split(",")
    check_ready(a, names)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lock = open(os.path.join(tempfile.gettempdir(), "lyss-bench.lock"), "w")
    fcntl.flock(lock, fcntl.LOCK_EX)    # one run at a time: two would measure each other
    built = a.build or os.path.join(os.path.dirname(os.path.abspath(a.lyss)), "bench")
    peers.build(built)
    folder = tempfile.mkdtemp(prefix="lyss-bench-")
    os.chmod(folder, 0o755)
    plan = Plan(a.quick, a.rounds, names)
    run = None
    try:
        run = peers.Run(folder, built, os.path.abspath(a.lyss))
        rows, failed = measure_all(a, run, plan)
    finally:
        if run:
            run.close()
        if not a.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if a.json:
        for r in rows:                  # JSON has no infinity
            r["values"] = {n: None if v == float("inf") else v for n, v in r["values"].items()}
        print(json.dumps(dict(machine=machine(a.lyss), rounds=plan.rounds, quick=a.quick, rows=rows, faults=plan.faults, failed=failed)))
    else:
        m = machine(a.lyss)
        print(f"\n{m['cpu']}, {m['cores']} cores, Linux {m['kernel']}; {m['nginx']}; {m['haproxy']}; {m['lyss']}; median of {plan.rounds} rounds\n")
        print(table(rows))
        for line in failed + [f"faults at {n}: {f}" for n, f in plan.faults.items()]:
            print(line)
    return int(bool(failed) or any(r["passed"] is False for r in rows))


if __name__ == "__main__":
    sys.exit(main())
