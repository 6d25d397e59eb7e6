"""The measures of the bench. Each is a function of (run, plan) that yields rows for the table.

Costs are CPU time (user and system, from /proc) divided by the requests or chunks that the mock
counted. Proxies take turns in short rounds, and a ratio is taken within a round, so that a machine
that speeds up or slows down does so for all; the table shows the median of the rounds.
"""
import json
import os
import statistics
import subprocess
import sys
import time

from peers import HERE, LOAD_CORE, PROXY_CORE, BenchError, cpu_seconds, descriptors, move, pss_kib

ERRORS = ("errors", "connect_errors", "bad_status", "bad_streams", "unfinished")


class Plan:
    """How long and how often: rounds, seconds of a measurement, and which proxies take part."""

    def __init__(self, quick, rounds, names):
        self.quick, self.names = quick, names
        self.rounds = rounds or (2 if quick else 12)
        self.seconds = 1
        self.held = 1000 if quick else 9500
        self.held_tls = 500 if quick else 4000
        self.slow = 1000 if quick else 10000
        self.garbage = 10000 if quick else 100000
        self.cancels = 40 if quick else 200
        self.faults = {}                # streams that were not whole, and other errors, by proxy

    def note_errors(self, name, result):
        bad = {k: result[k] for k in ERRORS if result.get(k)}
        if result.get("bad_status"):
            bad["last_status"] = result["last_status"]
        for k, n in bad.items():
            mine = self.faults.setdefault(name, {})
            mine[k] = n if k == "last_status" else mine.get(k, 0) + n

    def peers(self, *wanted):
        return [n for n in wanted if n in self.names]


def row(measure, unit, values, against=None, bar=None, stretch=None, ratio=None, note="", limit=None):
    """A line of the table. bar: the most that ratio may be; limit: the most that Lyss's own value may be."""
    judged, most = (ratio, bar) if limit is None else (values.get("lyss"), limit)
    passed = None if judged is None or most is None else judged <= most
    return dict(measure=measure, unit=unit, values=values, against=against, ratio=ratio, bar=bar, limit=limit,
                stretch=stretch, passed=passed, note=note)


def cost(run, plan, name, counter, mode, secure=False, **options):
    """One timed run: microseconds of CPU per counted unit, of the workers and of the whole process."""
    proxy = run.proxy("lyss-tls" if secure and name == "lyss" else name)
    with run.start_load(proxy, mode, secure, **{"seconds": plan.seconds, "warm": 0.5, **options}) as load:
        load.line()                     # MEASURE: connections are open and warm
        before, whole, workers = run.mock.stats(), cpu_seconds(proxy.pid), cpu_seconds(proxy.pid, proxy.workers)
        result = load.result()
    workers = cpu_seconds(proxy.pid, proxy.workers) - workers
    proxy.settle()
    whole = cpu_seconds(proxy.pid) - whole
    units = run.mock.stats()[counter] - before[counter]
    plan.note_errors(name, result)
    if not units:
        raise BenchError(f"{name}: nothing reached the mock: { {k: result[k] for k in ERRORS + ('last_status',)} }")
    return workers / units * 1e6, whole / units * 1e6


def rounds(run, plan, names, counter, mode, **options):
    """Interleaved rounds: [{name: (workers, whole)}, …]."""
    found = []
    for i in range(plan.rounds):
        turn = names[i % len(names):] + names[:i % len(names)]
        found.append({name: cost(run, plan, name, counter, mode, **options) for name in turn})
    return found


def medians(found, which=0):
    return {name: statistics.median(f[name][which] for f in found) for name in found[0]}


def ratio_of(found, against, which=0):
    """Median over the rounds of Lyss by a peer: by that of the named which comes out cheapest; None without both.

    Not by the cheapest of each round, which would be whoever had the luck of that second."""
    peers = [a for a in against if a in found[0]]
    if "lyss" not in found[0] or not peers:
        return None
    return max(statistics.median(f["lyss"][which] / f[a][0] for f in found) for a in peers)


def cost_rows(title, found, against, bar, stretch=None, whole_bar=None):
    label = "cheaper peer" if len(against) > 1 else against[0]
    yield row(f"CPU per {title}", "µs", medians(found), label, bar, stretch, ratio_of(found, against))
    if whole_bar and "lyss" in found[0]:
        yield row(f"CPU per {title}, whole process", "µs", medians(found, 1), label, whole_bar, None, ratio_of(found, against, 1))


def request(run, plan):
    found = rounds(run, plan, plan.peers("nginx", "haproxy", "lyss"), "requests", "closed", conns=64)
    yield from cost_rows("1 KB JSON request, 64 connections", found, ["nginx", "haproxy"], 1.00, 0.85, 1.6)


def chunk(run, plan):
    found = rounds(run, plan, plan.peers("nginx", "haproxy", "lyss"), "chunks", "stream", conns=500, model="mock.chunks=50.delay=20.size=250")
    yield from cost_rows("SSE chunk, 500 streams, one each 20 ms", found, ["haproxy"], 1.00, 0.88, 1.6)


def burst(run, plan):
    found = rounds(run, plan, plan.peers("nginx", "haproxy", "lyss"), "chunks", "stream", conns=64, model="mock.chunks=50.size=250.burst=50")
    yield from cost_rows("SSE chunk in bursts of 50", found, ["haproxy"], 1.5)


def large(run, plan):
    found = rounds(run, plan, plan.peers("nginx", "haproxy", "lyss"), "requests", "closed", conns=64, bytes=102400)
    yield from cost_rows("100 KB request", found, ["nginx"], 1.00)


def latency(run, plan):
    """Added p50 at 5 000 requests a second with proxy, mock and load on one core."""
    names, found = plan.peers("nginx", "haproxy", "lyss"), []
    move(run.mock.pid, PROXY_CORE)
    try:
        for _ in range(plan.rounds):
            p50 = {}
            for name in ["direct"] + names:
                result = run.load(run.proxy(name), "rate", core=PROXY_CORE, conns=64, rate=5000, seconds=plan.seconds)
                plan.note_errors(name, result)
                run.proxy(name).settle()
                p50[name] = result["p50"]
            found.append({name: (p50[name] - p50["direct"],) for name in names})
    finally:
        move(run.mock.pid, LOAD_CORE)
    yield row("added p50 at 5 000 req/s, one core", "µs", medians(found), "haproxy", 1.00, None, ratio_of(found, ["haproxy"]))


def pick(run, plan):
    """Choosing among 50 channels, by pick_bench, beside a whole request at HAProxy."""
    build = os.path.dirname(run.lyss)
    if "lyss" not in plan.names or "haproxy" not in plan.names:
        return
    subprocess.run(["ninja", "-C", build, "tests/pick_bench"], check=True, stdout=subprocess.DEVNULL)
    found = []
    for _ in range(plan.rounds):
        haproxy = cost(run, plan, "haproxy", "requests", "closed", conns=64)[0]
        done = subprocess.run([f"{build}/tests/pick_bench", "50", "0.3"], check=True, capture_output=True, text=True, timeout=60,
                              preexec_fn=lambda: os.sched_setaffinity(0, {PROXY_CORE}))
        took = {name: (float(alone) / 1000, float(whole) / 1000) for name, alone, whole in map(str.split, done.stdout.splitlines())}
        found.append((haproxy, took))
    for name in found[0][1]:
        alone, choice = (statistics.median(f[1][name][i] for f in found) for i in (0, 1))
        ratio = statistics.median(f[1][name][0] / f[0] for f in found)
        yield row(f"CPU to pick among 50 channels, {name}", "µs", {"haproxy": found[0][0], "lyss": alone}, "a request at haproxy", 0.05, None,
                  ratio, note=f"{choice:.2f} µs with the filter")


def translated(run, plan):
    """What it costs to be another wire's caller: OpenAI's dialect on Anthropic's wire, by the same on its own."""
    shape = ".chunks=50.size=250"
    kinds = (("SSE chunk, 500 streams, one each 20 ms", "chunks", "stream", dict(conns=500), shape + ".delay=20"),
             ("SSE chunk in bursts of 50", "chunks", "stream", dict(conns=64), shape + ".burst=50"),
             ("100 KB request", "requests", "closed", dict(conns=64, bytes=102400), ""))
    if "lyss" not in plan.names:
        return
    for title, counter, mode, options, words in kinds:
        found = [{name: cost(run, plan, "lyss", counter, mode, model=model + words, **options) for name, model in (("own", "mock"), ("lyss", "claude"))}
                 for _ in range(plan.rounds)]
        yield row(f"CPU per translated {title}", "µs", {"lyss": medians(found)["lyss"]}, "own wire", 2, None, ratio_of(found, ["own"]))


def hold_streams(run, plan, name, streams, secure=False):
    """Idle PSS of a fresh process in MiB and KiB a held stream."""
    full = "lyss-tls" if secure and name == "lyss" else name
    run.retire(full)
    proxy = run.proxy(full)
    run.load(proxy, "closed", secure, conns=8, seconds=0.3, warm=0)
    proxy.settle()
    time.sleep(0.5)
    idle = pss_kib(proxy.pid)
    options = dict(conns=streams, open_rate=1000 if secure else 2000, seconds=4, model="mock.chunks=100000.delay=1000.size=250")
    with run.start_load(proxy, "hold", secure, **options) as load:
        ready = load.line()
        time.sleep(2.5)
        held = pss_kib(proxy.pid)
        result = load.result()
    plan.note_errors(name, result)
    if result["alive"] != streams:
        plan.note_errors(name, {"errors": streams - result["alive"]})
    run.retire(full)
    return idle / 1024, (held - idle) / streams, f"{result['alive']} of {streams} alive; {ready}"


def hold(run, plan):
    names = plan.peers("nginx", "haproxy", "lyss")
    found = {name: hold_streams(run, plan, name, plan.held) for name in names}
    note = found["lyss"][2] if "lyss" in found else ""
    yield row(f"PSS per held stream, {plan.held} of them", "KiB", {n: f[1] for n, f in found.items()}, limit=2, stretch=1, note=note)
    yield row("PSS idle", "MiB", {n: f[0] for n, f in found.items()}, limit=16)


def tls(run, plan):
    """What TLS on both sides adds to a request and to a chunk, beside what it adds to HAProxy."""
    names = plan.peers("haproxy", "lyss")
    kinds = (("1 KB request", "requests", "closed", dict(conns=64)),
             ("SSE chunk, 500 streams", "chunks", "stream", dict(conns=500, model="mock.chunks=50.delay=20.size=250")))
    for title, counter, mode, options in kinds:
        found = []
        for _ in range(plan.rounds):
            plain = {n: cost(run, plan, n, counter, mode, **options)[0] for n in names}
            found.append({n: (cost(run, plan, n, counter, mode, secure=True, **options)[0] - plain[n],) for n in names})
        yield row(f"CPU that TLS adds to a {title}", "µs", medians(found), "haproxy", 1.00, None, ratio_of(found, ["haproxy"]))


def tls_hold(run, plan):
    found = {name: hold_streams(run, plan, name, plan.held_tls, secure=True) for name in plan.peers("haproxy", "lyss")}
    note = found["lyss"][2] if "lyss" in found else ""
    yield row(f"PSS per held TLS stream, {plan.held_tls} of them", "KiB", {n: f[1] for n, f in found.items()}, limit=64, note=note)


def handshakes(run, plan):
    """Upstream handshakes per 1 000 requests at 200 req/s, after a warm-up."""
    values = {}
    for name in plan.peers("haproxy", "lyss"):
        proxy = run.proxy("lyss-tls" if name == "lyss" else name)
        options = dict(conns=32, rate=200, warm=0)
        run.load(proxy, "rate", True, **options, seconds=2)
        before = run.mock.stats()
        plan.note_errors(name, run.load(proxy, "rate", True, **options, seconds=5 if plan.quick else 20))
        after = run.mock.stats()
        values[name] = (after["handshakes"] - before["handshakes"]) / max(after["requests"] - before["requests"], 1) * 1000
    yield row("upstream TLS handshakes per 1 000 requests", "", values, limit=1)


def slow(run, plan):
    """Clients that never finish their head: memory each, and a good client meanwhile."""
    values, good, note = {}, {}, ""
    for name in plan.peers("nginx", "haproxy", "lyss"):
        clients = min(plan.slow, 9800) if name == "haproxy" else plan.slow
        run.retire(name)
        proxy = run.proxy(name)
        before = run.load(proxy, "closed", conns=1, seconds=0.5, warm=0)
        proxy.settle()
        idle = pss_kib(proxy.pid)
        with run.start_load(proxy, "slow", conns=clients, seconds=4) as load:
            load.line()
            time.sleep(0.5)
            values[name] = (pss_kib(proxy.pid) - idle) / clients
            served = run.load(proxy, "closed", conns=1, seconds=1, warm=0)
            result = load.result()
        plan.note_errors(name, served)
        good[name] = served["p99"] / 1000 if served["ok"] else float("inf")
        if name == "lyss":
            note = f"{result['alive']} still open; p50 {served['p50']:.0f} µs, {before['p50']:.0f} before"
        run.retire(name)
    yield row(f"PSS per slow client, {plan.slow} of them", "KiB", values, limit=10, note=note)
    yield row("good client meanwhile, p99", "ms", good, limit=100)


def cancel(run, plan):
    """From a client's close, by FIN and by RST, to the close of its upstream connection."""
    values, note = {}, ""
    for name in plan.peers("nginx", "haproxy", "lyss"):
        result = run.load(run.proxy(name), "cancel", conns=plan.cancels)
        plan.note_errors(name, result)
        time.sleep(0.5)
        closed = dict(map(int, line.split()) for line in run.mock.get("closed").splitlines())
        gone = [tuple(map(int, line.split())) for line in result["lines"]]
        took = sorted((closed[i] - at) / 1e6 for i, at in gone if closed.get(i, 0) > at)
        missing = plan.cancels - len(took)
        values[name] = float("inf") if missing or not took else took[int(len(took) * 0.99) - 1]
        if name == "lyss":
            note = f"{missing} of {plan.cancels} never seen" if missing else f"p50 {statistics.median(took):.2f} ms"
    yield row("client closed → upstream closed, p99", "ms", values, limit=10, note=note)


def garbage(run, plan):
    """Memory and descriptors before and after many connections that send no request."""
    memory, files, note = {}, {}, ""
    for name in plan.peers("nginx", "haproxy", "lyss"):
        run.retire(name)
        proxy = run.proxy(name)
        run.load(proxy, "garbage", conns=plan.garbage // 5, seconds=20)
        run.load(proxy, "closed", conns=8, seconds=0.3, warm=0)
        proxy.settle()
        time.sleep(1)
        before = pss_kib(proxy.pid), descriptors(proxy.pid)
        result = run.load(proxy, "garbage", conns=plan.garbage, seconds=60)
        if name == "lyss":
            note = f"{result['ok']} of {plan.garbage} connections made"
        plan.note_errors(name, {"errors": plan.garbage - result["ok"]})
        plan.note_errors(name, run.load(proxy, "closed", conns=8, seconds=0.3, warm=0))
        proxy.settle()
        time.sleep(2)
        memory[name], files[name] = pss_kib(proxy.pid) - before[0], descriptors(proxy.pid) - before[1]
        run.retire(name)
    yield row(f"PSS after {plan.garbage} garbage connections, more by", "KiB", memory, limit=512, note=note)
    yield row("descriptors after them, more by", "", files, limit=0)


def json_reader(run, plan):
    """The JSON reader beside simdjson, by json_bench.py, which prints a line a text: name, bytes, µs of both, ratio."""
    build = os.path.dirname(run.lyss)
    argv = [sys.executable, f"{HERE}/json_bench.py"] + ([build] if os.path.exists(f"{build}/build.ninja") else [])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    lines = [line.split() for line in done.stdout.splitlines()]
    found = {w[0]: w for w in lines if len(w) == 5 and w[1].isdigit()}
    if not found:
        raise BenchError(f"json_bench.py: {(done.stderr or done.stdout).strip()[-300:]}")
    for name, (_, _, ours, theirs, ratio) in found.items():
        bar = 1.4 if name in ("chat-1k", "chat-100k") else None
        yield row(f"JSON reader, {name}", "µs", {"lyss": float(ours)}, "simdjson", bar, None, float(ratio), note=f"simdjson {theirs} µs")


def whole(run, plan):
    """Faults over all that ran: asked last."""
    if "lyss" in plan.names:
        lost = plan.faults.get("lyss", {}).get("bad_streams", 0)
        rest = {k: v for k, v in plan.faults.get("lyss", {}).items() if k != "bad_streams"}
        yield row("streams with a chunk lost, merged or reordered", "", {n: plan.faults.get(n, {}).get("bad_streams", 0) for n in plan.names},
                  limit=0, note=f"other errors {rest}" if rest else f"{lost} faults")


MEASURES = dict(request=request, chunk=chunk, burst=burst, large=large, pick=pick, translated=translated, latency=latency, hold=hold, tls=tls,
                tls_hold=tls_hold, handshakes=handshakes, slow=slow, cancel=cancel, garbage=garbage, json=json_reader)
