"""Lyss as a process: started as an operator starts it, and searched when it ends.

`Lyss` runs `lyss dev` with a data directory of its own, adds channels by the
command line, and on stop() demands what every test demands: exit status 0
within two seconds of SIGTERM, no sanitizer line, no failed assertion, and no
canary (provider key, tenant key, prompt, completion) in its log, its data
directory or its metrics.
"""
import base64
import json
import mmap
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import tempfile
import time
import urllib.parse

from . import http
from .upstream import COMPLETION_CANARY, ORG_CANARY, PROMPT_CANARY, PROVIDER_KEY

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.abspath(os.environ.get("LYSS_BIN") or os.path.join(ROOT, "build", "lyss"))
STATES = ["completed", "upstream_error", "incomplete", "timeout", "client_gone", "shutdown", "limit", "aborted"]
BAD_LINES = re.compile(rb"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehavior|runtime error:|"
                       rb"Assertion .* failed|assert(ion)? failed|SUMMARY: |stack smashing|free\(\): |malloc\(\): ")


def sanitized(binary=BIN):
    """Was it built with a sanitizer?  (Deadlines then have more slack.)"""
    global _sanitized
    if _sanitized is None:
        with open(binary, "rb") as f:
            _sanitized = b"__asan_init" in f.read()
    return _sanitized


_sanitized = None


def slack(seconds):
    """A deadline with ten times slack on a sanitizer build."""
    return seconds * (10 if sanitized() else 3)


class Clock:
    """The fake clock: an offset that a debug build adds to its clocks."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(bytes(8))
        self._file = open(path, "r+b")
        self._map = mmap.mmap(self._file.fileno(), 8)
        self.seconds = 0.0

    def advance(self, seconds):
        self.seconds += seconds
        self._map[:] = struct.pack("<q", int(self.seconds * 1e9))


def canaries(*more):
    """Byte strings that must appear nowhere, in the clear or encoded."""
    out = {}
    for text in (PROVIDER_KEY, PROMPT_CANARY, COMPLETION_CANARY, *more):
        raw = text.encode()
        out[raw] = text
        out[raw.hex().encode()] = text + " (hex)"
        out[base64.b64encode(raw).rstrip(b"=")[:-1]] = text + " (base64)"
        quoted = urllib.parse.quote(text, safe="").encode()
        out[quoted] = text
    return out


class Lyss:
    def __init__(self, args=(), env=None, command="dev", data=None, allow="127.0.0.0/8", clock=True, tls=None, listen="127.0.0.1:0"):
        self.dir = tempfile.mkdtemp(prefix="lyss-test-")
        self.data = data or os.path.join(self.dir, "data")
        self.log_path = os.path.join(self.dir, "log")
        self.argv = [BIN, command, "--data", self.data, "--listen", listen, "--json", *args]
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "TMPDIR": self.dir,
                    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1:detect_leaks=1",
                    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
                    "LYSS_LOG_LEVEL": "debug", "LYSS_LOG_REQUESTS": "all"}
        if allow:
            self.env["LYSS_UPSTREAM_ALLOW"] = allow
        self.clock = Clock(os.path.join(self.dir, "clock")) if clock else None
        self.env["LYSS_HEALTH_INTERVAL_MS"] = "0"   # upstreams see what tests ask them, and no more
        if clock:
            self.env["LYSS_TEST_CLOCK"] = self.clock.path
        self.env.update(env or {})
        self.tls = tls                      # an ssl.SSLContext to talk to it with
        self.secrets, self.process, self.extra_canaries = [], None, ()

    # life
    def start(self, timeout=20):
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
                                        env=self.env, cwd=self.dir)
        line = self._read_line(timeout)
        self.ready = json.loads(line)
        self.url, self.key = self.ready["url"], self.ready["api_key"]
        assert self.ready["pid"] == self.process.pid, self.ready
        u = urllib.parse.urlsplit(self.url)
        self.host, self.port = u.hostname, u.port
        if self.key:
            self.secrets.append(self.key)
        return self

    def _read_line(self, timeout):
        fd, got, end = self.process.stdout.fileno(), b"", time.monotonic() + timeout
        os.set_blocking(fd, False)
        while b"\n" not in got:
            part = os.read(fd, 65536) if self._readable(fd) else None
            if part == b"" or time.monotonic() > end:
                raise AssertionError(f"no ready line ({got!r}), exit {self.process.poll()}:\n{self.log_text()[-3000:]}")
            got += part or b""
        self.stdout = got
        assert got.count(b"\n") == 1 and got.endswith(b"\n"), f"stdout carries more than the ready line: {got!r}"
        return got

    @staticmethod
    def _readable(fd):
        import select
        return select.select([fd], [], [], 0.1)[0]

    def stop(self, sig=signal.SIGTERM):
        """Ends the process and asserts all that must hold; returns the seconds it took."""
        if self.process is None:
            return 0
        p, took = self.process, 0
        try:
            metrics = b"" if p.poll() is not None else self._metrics()
            if p.poll() is None:
                t = time.monotonic()
                p.send_signal(sig)
                try:
                    p.wait(slack(2))
                except subprocess.TimeoutExpired:
                    p.kill()
                    p.wait()
                    raise AssertionError(f"still running {slack(2)} s after SIGTERM:\n{self.log_text()[-2000:]}")
                took = time.monotonic() - t
            rest = p.stdout.read() or b""
            assert rest == b"", f"stdout carries more than the ready line: {rest[:200]!r}"
            self.check_log()
            assert p.returncode == 0, f"exit status {p.returncode}:\n{self.log_text()[-3000:]}"
            self.check_canaries(metrics)
        finally:
            self.cleanup()
        return took

    def kill(self):
        """kill -9; the data directory stays for the next start()."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def cleanup(self):
        p, self.process = self.process, None
        if p and p.poll() is None:
            p.kill()
            p.wait()
        if p:
            p.stdout.close()
            self.log.close()
        if not os.environ.get("LYSS_TEST_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, kind, *rest):
        if kind:
            self.cleanup()
        else:
            self.stop()

    # what is demanded at the end
    def log_text(self):
        with open(self.log_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def check_log(self):
        with open(self.log_path, "rb") as f:
            log = f.read()
        m = BAD_LINES.search(log)
        assert not m, f"in the log:\n{log[max(0, m.start() - 500):m.start() + 5000].decode('utf-8', 'replace')}"

    def check_canaries(self, metrics=b""):
        places = {"metrics": metrics}
        for base, _, files in os.walk(self.data):
            for name in files:
                p = os.path.join(base, name)
                try:
                    with open(p, "rb") as f:
                        places[p] = f.read()
                except OSError:
                    pass
        with open(self.log_path, "rb") as f:
            places["log"] = f.read()
        for needle, name in canaries(ORG_CANARY, *self.secrets, *self.extra_canaries).items():
            for place, text in places.items():
                at = text.find(needle)
                assert at < 0, f"canary {name} in {place}: …{text[max(0, at - 120):at + 120]!r}"

    def _metrics(self):
        try:
            return self.get("/metrics", key=None).body
        except (OSError, http.Closed, AssertionError):
            return b""

    # talking to it
    def connect(self, **kw):
        kw.setdefault("timeout", 15)
        return http.Client(self.host, self.port, tls=self.tls, **kw)

    def auth(self, key=True):
        key = self.key if key is True else key
        return (("Authorization", f"Bearer {key}"),) if key else ()

    def post(self, path, body, headers=(), key=True, **kw):
        with self.connect() as c:
            return c.request("POST", path, body, (*self.auth(key), *headers), **kw)

    def get(self, path, headers=(), key=True, method="GET"):
        with self.connect() as c:
            return c.request(method, path, None, (*self.auth(key), *headers), head_request=method == "HEAD")

    def chat(self, model, prompt="Say hello.", headers=(), key=True, path="/v1/chat/completions", **fields):
        return self.post(path, chat_body(model, prompt, **fields), headers, key)

    def stream(self, model, prompt="Say hello.", **fields):
        return self.chat(model, prompt, stream=True, **fields)

    # the command line
    def cli(self, *argv, stdin="", check=True, env=None):
        p = subprocess.run([BIN, *argv], input=stdin, text=True, capture_output=True, timeout=30,
                           env={**self.env, **(env or {})}, cwd=self.dir)
        assert not BAD_LINES.search(p.stderr.encode()), p.stderr
        if check:
            assert p.returncode == 0, f"lyss {' '.join(argv)}: exit {p.returncode}\n{p.stdout}{p.stderr}"
        return p

    def channel(self, name, base_url, *models, credential=PROVIDER_KEY, provider="openai-compatible", args=(), check=True):
        argv = ["channel", "add", name, "--provider", provider, "--base-url", base_url, "--data", self.data]
        for m in models:
            argv += ["--model", m]
        if credential is not None:
            argv.append("--credential-stdin")
        return self.cli(*argv, *args, stdin=(credential or "") + "\n", check=check)

    def rev(self):
        """The configuration that is served."""
        return int(self.get("/v1/models").header("x-lyss-config-rev"))

    def caught_up(self, timeout=5):
        """Waits until what the command line has written is served."""
        db = sqlite3.connect(f"file:{self.data}/lyss.db?mode=ro", uri=True, timeout=10)
        try:
            want = int(db.execute("SELECT value FROM meta WHERE name = 'config_rev'").fetchone()[0])
        finally:
            db.close()
        http.wait(lambda: self.rev() >= want, timeout, f"configuration {want} to be served", step=0.02)

    # the ledger
    def rows(self, where="1", args=()):
        """Usage rows as dicts, straight from the ledger."""
        db = sqlite3.connect(f"file:{self.data}/ledger.db?mode=ro", uri=True, timeout=10)
        try:
            db.row_factory = sqlite3.Row
            rows = db.execute(f"SELECT * FROM usage WHERE {where} ORDER BY id", args)
            return [dict(r) | {"state": STATES[r["state"]], "request_id": spelled(r["request_id"])} for r in rows]
        finally:
            db.close()

    def row(self, request_id, timeout=5):
        """The one usage row of a request."""
        def get():
            return self.rows("request_id = ?", (bytes.fromhex(request_id.replace("-", "")),))
        rows = http.wait(get, timeout, f"the usage row of {request_id}")
        assert len(rows) == 1, rows
        return rows[0]

    def row_of_model(self, model, n=1, timeout=5):
        """The n-th usage row of a model name (for requests whose head never came)."""
        rows = http.wait(lambda: (lambda x: x if len(x) >= n else None)([r for r in self.rows() if r["model"] == model]),
                         timeout, f"usage row {n} of {model}")
        return rows[n - 1]


def spelled(raw):
    """A request id as the header spells it."""
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def chat_body(model, prompt="Say hello.", **fields):
    return {"model": model, "messages": [{"role": "system", "content": "Be brief."},
                                         {"role": "user", "content": f"{prompt} {PROMPT_CANARY}"}], **fields}
