"""A storm: the load of many callers, and an upstream that does harm, both in C.

    with StormUpstream() as u:
        l.channel("behind", u.behind, "m-*")
        l.channel("straight", u.straight, "m-*")
        before = u.storm("reset", seed=1)
        calls, load = rage(l, folder, ["m-1", "m-2"], seconds=2, streams=20, rate=40, seed=1)
        after = u.calm()

tests/storm/upstream.c and load.c tell what they do.  A load of Python threads
between proxies in Python is slower than what it is to judge; so callers only
keep what came, and it is read here once the storm is over, by the same strict
parser as everywhere.
"""
import functools
import json
import os
import subprocess
from dataclasses import dataclass

from . import http
from .lyss import BIN, chat_body
from .upstream import PIECES, PROVIDER_KEY


@functools.cache
def program(name):
    """Made in the build that the binary under test comes from; not all builds make it by themselves."""
    build, target = os.path.realpath(BIN).removesuffix("/src/cli/lyss"), f"tests/storm/storm_{name}"
    subprocess.run(["ninja", "-C", build, target], stdout=subprocess.DEVNULL, check=True)
    return os.path.join(build, target)


class StormUpstream:
    """The upstream's process. Its two base URLs are `behind` (the faults) and `straight`."""

    def __enter__(self):
        argv = [program("upstream"), "--key", PROVIDER_KEY, "--gap", "30", *(json.dumps(p) for p in PIECES)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ports = self._line()
        self.behind, self.straight = (f"http://127.0.0.1:{ports[k]}/v1" for k in ("behind", "straight"))
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        last = self.process.stdout.read()
        self.process.stdout.close()
        assert self.process.wait(10) == 0 and json.loads(last)

    def _line(self):
        line = self.process.stdout.readline()
        assert line, f"the upstream is gone: {self.process.wait(10)}"
        return json.loads(line)

    def _command(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()
        return self._line()

    def storm(self, kind, seed):
        """From now on there are faults; the counters up to here."""
        return self._command(f"storm {kind} {seed}")

    def calm(self):
        """No more of them; the counters."""
        return self._command("calm")


class _Recorded(http.Client):
    """What came over a connection, for the parser to read again."""

    def __init__(self, raw, reset):
        self.buf, self.reset_came = raw, reset

    def more(self):
        raise http.Closed(self.reset_came)


@dataclass
class Call:
    """One call and all that came of it."""
    stream: bool
    took: float                 # seconds from the send to the end
    late: float                 # sent so many seconds after it was due
    r: http.Response = None     # None: no head came
    wrong: str = None           # what is no HTTP in it


def _read(raw, how):
    c = _Recorded(raw, how == "rst")
    try:
        r = c.response()
    except http.Closed:
        return None, f"no answer ({how})"
    except (AssertionError, ValueError) as e:
        return None, f"no HTTP: {e}"
    if r.complete != (how == "whole") or (r.complete and c.buf):
        return r, f"{r.end} and yet {how}, with {len(c.buf)} bytes left over: {r}"
    return r, None


def _calls(path):
    with open(path, "rb") as f:
        while line := f.readline().decode():
            kind, took, late, how, n = line.split()
            raw = f.read(int(n))
            assert len(raw) == int(n), "the record is cut short"
            yield Call(kind == "stream", int(took) / 1e6, int(late) / 1e6, *_read(raw, how))


def rage(l, folder, models, seconds, streams, rate, seed):
    """Streams without pause and requests at a rate; all calls, and what the load says of itself."""
    path = os.path.join(str(folder), "calls")
    argv = [program("load"), "--port", str(l.port), "--key", l.key, "--seed", str(seed), "--models", ",".join(models),
            "--streams", str(streams), "--rate", str(rate), "--seconds", str(seconds), "--out", path,
            "--body", json.dumps(chat_body("@MODEL@", stream="@STREAM@"))]
    load = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=seconds + 60).stdout)
    calls = list(_calls(path))
    os.unlink(path)
    assert len(calls) == load["calls"] and load["stray"] == 0, load
    return calls, load
