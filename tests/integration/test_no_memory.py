"""No memory: each allocation of a request fails once, one after the other, in the worker of the real binary.

The caller gets an answer that is right, 503, an in-band error, or a connection that is closed: never one that looks
right and is not.  The process goes on, holds on to nothing, and settles what it admitted.  The sanitizers watch."""
import json
import mmap
import ssl
import struct
import time

import pytest
from conftest import slack
from lib.dialects import CALLERS, Seen
from lib.http import Closed, request_bytes, wait
from lib.lyss import Lyss, chat_body
from lib.pki import make
from lib.upstream import PIECES, Upstream

TEXT = "".join(PIECES)
CHAT = "/v1/chat/completions"
UPSTREAMS = {"compatible": ("openai-compatible", "gpt-4o-mini"), "openai": ("openai", "gpt-4o-mini"), "anthropic": ("anthropic", "claude-sonnet-4-5"),
             "gemini": ("google", "gemini-2.5-flash")}


class Memory:
    """The file by which a debug build is told which allocation fails."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(16))
        self._file = open(path, "r+b")
        self._map = mmap.mmap(self._file.fileno(), 16)

    def fail_at(self, n):
        self._map[8:16] = bytes(8)
        self._map[:8] = struct.pack("<Q", n)

    def off(self):
        """No allocation fails any more; how many were made since fail_at."""
        self._map[:8] = bytes(8)
        return struct.unpack("<Q", self._map[8:16])[0]


def started(tmp, **kw):
    memory = Memory(tmp / "alloc")
    l = Lyss(env={"LYSS_WORKERS": "1", "LYSS_TEST_ALLOC": str(memory.path), "LYSS_RETRY_BACKOFF_MS": "0", **kw.pop("env", {})}, **kw)
    l.memory = memory
    return l


@pytest.fixture(scope="module")
def own(fake, upstream_a, upstream_b, tmp_path_factory):
    with started(tmp_path_factory.mktemp("memory")) as l:
        a, b = upstream_a.url, upstream_b.url
        l.channel("main", a, "m-*", args=("--op", "chat", "--op", "completions", "--op", "embeddings", "--op", "responses"))
        l.channel("first", a, "fo-*", args=("--priority", "9"))
        l.channel("second", b, "fo-*")
        l.channel("drained", a, "d-*", args=("--on-disconnect", "drain"))
        for wire, (provider, model) in UPSTREAMS.items():
            l.channel(wire, fake.base(wire), f"{wire}={model}", provider=provider)
        l.caught_up()
        # so that only debug builds run these
        l.memory.fail_at(1 << 60)
        l.get("/health/live", key=None)
        if not l.memory.off():
            pytest.skip("a build whose allocations cannot be made to fail")
        yield l


def told(r):
    """An error in words, or, where there was no room for them, none."""
    return r.end == "length" and (r.body == b"" or "error" in (r.json[0] if isinstance(r.json, list) else r.json))


def check(r, good, stream, status=(503,)):
    """r: None, when the connection ended before a head. True: it was served as if nothing had been."""
    if r is None:
        return False
    if good(r):
        return True
    if r.status in status:
        assert told(r), r
        return False
    assert r.status == 200, r
    if stream:
        assert r.end in ("cut", "reset"), f"it looks whole and is not: {r}"
        body = r.body.replace(b"\r\n", b"\n")
        s = Seen(stream, body[:body.rfind(b"\n\n") + 2] if b"\n\n" in body else b"")
        assert s.ends == 0 and s.errors <= 1 and s.after_error == 0, r
    else:
        assert r.end in ("cut", "reset"), r
    return False


def walk(l, ask, good, stream=None, status=(503,)):
    """Makes the n-th allocation fail until there is none left; how many there were."""
    n = 1
    while True:
        l.clock.advance(61)                      # what was learned of channels passes
        l.memory.fail_at(n)
        try:
            r = ask()
        except (Closed, OSError):
            r = None
        seen = l.memory.off()
        served = check(r, good, stream, status)
        assert l.process.poll() is None, f"allocation {n}:\n{l.log_text()[-3000:]}"
        if seen < n:
            assert served, f"nothing failed, and yet: {r}"
            break
        n += 1
    wait(lambda: all(x.endswith(" 0") for x in l.get("/metrics", key=None).body.decode().splitlines() if x.startswith("lyss_channel_in_flight")),
         slack(1), "every slot to be free")
    assert good(ask()), "it does not go on"
    return seen


def post(l, path, body, headers=()):
    with l.connect(timeout=10) as c:
        return c.request("POST", path, body, (*l.auth(), *headers))


def whole_chat(r):
    return r.status == 200 and r.end == "length" and r.json["choices"][0]["message"]["content"] == TEXT


def whole_stream(r):
    if r.status != 200 or r.end != "chunked":
        return False
    s = Seen("chat", r.body)
    return s.ends == 1 and s.text == TEXT and not s.errors


def is_status(status):
    return lambda r: r.status == status and r.end in ("length", "chunked")


# OpenAI's own wire -----------------------------------------------------------

def test_whole(own, up, name):
    m = name()
    assert walk(own, lambda: post(own, CHAT, chat_body(m)), whole_chat) > 5


def test_stream(own, up, name):
    m = name()
    assert walk(own, lambda: post(own, CHAT, chat_body(m, stream=True)), whole_stream, "chat") > 5


def test_over_connections_that_are_used_again(own, up, name):
    """The caller's and the upstream's."""
    m = name()

    def ask():
        n, = struct.unpack("<Q", own.memory._map[:8])
        own.memory.off()
        with own.connect() as c:
            data = (CHAT, chat_body(m), own.auth())
            assert whole_chat(c.request("POST", *data))
            own.memory.fail_at(n)
            return c.request("POST", *data)
    walk(own, ask, whole_chat)


@pytest.mark.parametrize("script", [dict(status=500), dict(status=429), dict(status=401), dict(fault="rst", after=1), dict(fault="end", after=0)])
@pytest.mark.parametrize("stream", [False, True])
def test_retry(own, up, up2, name, script, stream):
    m = up.on(name("fo"), **script)
    up2.on(m)
    last = script.get("status", 502)             # where there is no memory for a further attempt
    walk(own, lambda: post(own, CHAT, chat_body(m, stream=stream)), whole_stream if stream else whole_chat, "chat" if stream else None,
         (503, 502, last))


@pytest.mark.parametrize("op, body", [("completions", {"prompt": "x"}), ("embeddings", {"input": ["x", "y"]}), ("responses", {"input": "x"})])
def test_other_operations(own, up, name, op, body):
    m = name()
    walk(own, lambda: post(own, f"/v1/{op}", {"model": m, **body}), is_status(200))


def test_headers_of_callers(own, up, name):
    """A session, an origin, names for the log."""
    m = name()
    more = (("x-lyss-session", "s-1"), ("Origin", "http://localhost:3000"), ("x-request-id", "mine"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    walk(own, lambda: post(own, CHAT, chat_body(m), more), whole_chat)


def test_idempotency(own, up, name):
    m, keys = name(), iter(range(10 ** 6))
    walk(own, lambda: post(own, CHAT, chat_body(m), (("Idempotency-Key", f"k{next(keys)}"),)), whole_chat)
    key = (("Idempotency-Key", "same"),)
    assert whole_chat(post(own, CHAT, chat_body(m), key))
    walk(own, lambda: post(own, CHAT, chat_body(m), key), whole_chat)


def test_gzip(own, up, name):
    m = up.on(name(), gzip=True)
    walk(own, lambda: post(own, CHAT, chat_body(m)), whole_chat, status=(502, 503))


def test_a_torn_event(own, up, name):
    big = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"' + b"z" * 150_000 + b'"},"finish_reason":null}]}\n\n'
    m = up.on(name(), events=(big, b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"))

    def good(r):
        return r.status == 200 and r.end == "chunked" and r.body.count(b"z" * 150_000) == 1
    walk(own, lambda: post(own, CHAT, chat_body(m, stream=True)), good, "chat")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body(own, up, name, chunked):
    m = name()
    data = json.dumps(chat_body(m, "word " * 40_000)).encode()

    def ask():
        if not chunked:
            return post(own, CHAT, data)
        framed = b"".join(b"%x\r\n%s\r\n" % (len(data[i:i + 9000]), data[i:i + 9000]) for i in range(0, len(data), 9000)) + b"0\r\n\r\n"
        return post(own, CHAT, framed, (("Transfer-Encoding", "chunked"),))
    walk(own, ask, whole_chat)


@pytest.mark.parametrize("wire", ["anthropic", "gemini"])
def test_a_long_body_that_is_translated(own, wire):
    """It is parsed in steps, and what is long of it is lent."""
    data = json.dumps({"model": wire, "max_tokens": 99, "messages": [{"role": "user", "content": [
        {"type": "text", "text": "Say \"hello\".\n" * 4000},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo" + "AAAA" * 300_000 + "="}}]}]}).encode()
    walk(own, lambda: post(own, CHAT, data), is_status(200))


@pytest.mark.parametrize("body, path, status", [(b'{"model":', CHAT, 400), (b'{"model":"no-such","messages":[]}', CHAT, 404), (b"{}", "/v1/nowhere", 404)])
def test_errors_of_the_callers_own(own, body, path, status):
    walk(own, lambda: post(own, path, body), is_status(status))


def test_an_error_of_the_upstream(own, up, name):
    m = up.on(name(), status=400)
    walk(own, lambda: post(own, CHAT, chat_body(m)), is_status(400))


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/anthropic", "/health", "/metrics", "/v1beta/models"])
def test_pages(own, path):
    def ask():
        with own.connect() as c:
            return c.request("GET", path, None, own.auth())
    walk(own, ask, is_status(200))


@pytest.mark.parametrize("model", ["m", "d"])
@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_caller_who_leaves(own, up, name, model, how):
    m = up.on(name(model), fault="stall" if model == "m" else None, after=5, chunk_delay=0.001)
    n = 1
    while True:
        own.clock.advance(61)
        own.memory.fail_at(n)
        c = own.connect(timeout=5)
        try:
            c.send(request_bytes("POST", CHAT, chat_body(m, stream=True), own.auth()))
            if c.head().status == 200:
                c.until(PIECES[2].encode())
        except (Closed, OSError):
            pass
        getattr(c, how)()
        wait(lambda: all(r.outcome != "open" for r in up.of(m)), slack(1), "the upstream to be let go")
        time.sleep(0.01)
        if own.memory.off() < n:
            break
        n += 1
    assert n > 5
    rows = own.rows("model = ?", (m,))
    assert {r["state"] for r in rows} <= {"client_gone", "upstream_error", "incomplete", "completed"}, rows


def test_raw_passthrough(own, up, name):
    m = name()
    walk(own, lambda: post(own, "/passthrough/main/chat/completions", chat_body(m)), lambda r: r.end == "chunked" and r.json["choices"][0]["message"]["content"] == TEXT)
    walk(own, lambda: post(own, "/passthrough/main/chat/completions", chat_body(m, stream=True)), whole_stream, "chat")


# every dialect before every wire --------------------------------------------------

@pytest.mark.parametrize("prompt", ["Say hello.", "scenario:tool Weather?"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("wire", UPSTREAMS)
def test_dialects(own, fake, wire, caller, stream, prompt):
    path, body = CALLERS[caller](wire, prompt, stream)
    more = (("anthropic-version", "2023-06-01"),) if caller == "messages" else ()

    def good(r):
        if r.status != 200 or not r.complete:
            return False
        if not stream:
            return r.end in ("length", "chunked") and (b"Paris" in r.body or b"gateway" in r.body)
        s = Seen(caller, r.body)
        return r.end == "chunked" and s.ends == 1 and not s.errors and ("Paris" in s.args or "gateway" in s.text)
    walk(own, lambda: post(own, path, body, more), good, caller if stream else None)


@pytest.mark.parametrize("wire", UPSTREAMS)
@pytest.mark.parametrize("caller", ["messages", "gemini"])
def test_count_tokens(own, fake, wire, caller):
    path, body = {"messages": ("/v1/messages/count_tokens", {"model": wire, "messages": [{"role": "user", "content": "one two"}]}),
                  "gemini": (f"/v1beta/models/{wire}:countTokens", {"contents": [{"role": "user", "parts": [{"text": "one two"}]}]})}[caller]
    more = (("anthropic-version", "2023-06-01"),) if caller == "messages" else ()
    walk(own, lambda: post(own, path, body, more), is_status(200))


def test_gemini_array(own, fake):
    body = {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}

    def good(r):
        return r.status == 200 and r.end == "chunked" and isinstance(r.json, list) and len(r.json) > 2

    def ask():
        r = post(own, "/v1beta/models/anthropic:streamGenerateContent", body)
        assert r.status != 200 or r.end != "chunked" or good(r), r
        return r if good(r) or r.status != 200 else None
    walk(own, ask, good, status=(503,))


# TLS -----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    pki = make(tmp_path_factory.mktemp("pki"))
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    with Upstream(certfile=str(pki / "good.pem"), keyfile=str(pki / "good.key")) as u, \
            started(tmp_path_factory.mktemp("memory"), tls=context,
                    env={"LYSS_TLS_CERT_FILE": str(pki / "good.pem"), "LYSS_TLS_KEY_FILE": str(pki / "good.key"),
                         "LYSS_UPSTREAM_CA_FILE": str(pki / "ca.pem")}) as l:
        l.channel("tls", u.url, "m-*")
        l.caught_up()
        yield l


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.timeout(1800)
def test_tls(secure, name, stream):
    """Handshakes on both sides, and records. An upstream's handshake that fails is a fault of the upstream: 502."""
    m = name()
    n = walk(secure, lambda: post(secure, CHAT, chat_body(m, stream=stream)), whole_stream if stream else whole_chat, "chat" if stream else None,
             (503, 502))
    assert n > 100
