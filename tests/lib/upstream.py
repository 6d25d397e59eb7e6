"""A scriptable fake upstream: the other side of every integration test.

It speaks enough of the OpenAI wire (chat, completions, embeddings, responses,
models) to satisfy the official SDKs, counts what it did (requests,
connections, bytes, tokens: the oracle that usage rows are compared with), and
misbehaves on demand.  It is an HTTP/1.1 server of its own, written down to the
socket, because a polite server cannot send half a chunk header.

What a request gets is decided by its model name: `on(model, script)` binds a
`Script` (data: delays, faults, bodies) or an async callable `f(request, conn)`
that writes whatever it likes.  Without a binding the answer is a small
deterministic text.

The server runs an asyncio loop in a thread of its own; every public method may
be called from the test's thread.  What it receives is checked strictly:
anything that a gateway must not send (a bad framing, a hop-by-hop header, a
body that is not JSON) lands in `violations`, which the teardown of the tests
asserts to be empty.
"""
import asyncio
import base64
import gzip as gziplib
import json
import os
import re
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field, replace

PROVIDER_KEY = "sk-canary-provider-5f0c2b7e91d84a36"
PROMPT_CANARY = "canary-prompt-83bd20c1f6"
COMPLETION_CANARY = "canary-completion-4e7a19d05b"
ORG_CANARY = "org-canary8d31c7a2"

PIECES = ["The", " gateway", " carries", " " + COMPLETION_CANARY, " word", " by", " word", ",",
          " ünïcode", " 漢字", " and", " \"quotes\"", " too", "."]


class Gone(Exception):
    """The gateway closed the connection while a script was still writing."""


@dataclass
class Request:
    """One request as it arrived, and what became of it."""
    conn: "Conn"
    method: str
    target: str
    headers: list
    body: bytes = b""
    json: dict = None
    at: float = 0.0
    usage: dict = None          # what the reply reported
    outcome: str = "open"       # open, complete, gone, fault
    gone_at: float = None       # time.perf_counter() when the gateway went away
    ended_at: float = None

    @property
    def path(self):
        return self.target.split("?")[0]

    @property
    def query(self):
        return self.target.partition("?")[2]

    @property
    def model(self):
        if isinstance(self.json, dict) and isinstance(self.json.get("model"), str):
            return self.json["model"]
        m = re.search(r"/deployments/([^/]+)/", self.target)
        return m[1] if m else ""

    @property
    def op(self):
        for op in ("chat/completions", "completions", "embeddings", "responses"):
            if self.path.endswith("/" + op):
                return op
        return "models" if "/models" in self.path else ""

    def header(self, name):
        v = [v for k, v in self.headers if k.lower() == name.lower()]
        return v[0] if v else None


@dataclass
class Script:
    """What to answer.  Everything has a default that makes a good citizen."""
    status: int = 200
    headers: tuple = ()              # extra (name, value) pairs
    body: bytes = None               # the reply as is, instead of a made one
    content_type: str = None
    text: tuple = tuple(PIECES)      # pieces of the answer, one token each
    tools: int = 0                   # so many (parallel) tool calls instead of text
    events: tuple = None             # complete SSE events as bytes, instead of made ones
    usage: bool = True               # report usage (in streams: where asked for)
    done: bool = True                # end streams with [DONE]
    head_delay: float = 0            # before the status line
    ttft: float = 0                  # between head and first body byte
    chunk_delay: float = 0           # before each event but the first
    framing: str = "chunked"         # chunked, length, close
    split: int = 0                   # write the body in pieces of n bytes, each its own packet
    fault: str = None                # fin, rst, half, stall, end, bad-chunk: after `after` events
    after: int = 0                   # events (streams) or bytes (whole bodies) before the fault
    tail: bytes = b""                # raw body bytes before the fault: half an event, say
    gzip: bool = False
    gate: "Gate" = None              # wait here once `after` events are out (or before the head)
    gate_head: bool = False


class Gate:
    """A barrier that scripts wait at until the test opens it."""

    def __init__(self):
        self._open = threading.Event()
        self.waiting = 0

    def open(self):
        self._open.set()

    async def wait(self, conn):
        self.waiting += 1
        while not self._open.is_set():
            await conn.sleep(0.002)
        self.waiting -= 1


class Conn(asyncio.Protocol):
    """One connection from the gateway; `sent` counts bytes that the kernel took."""

    def __init__(self, server):
        self.server, self.buf = server, bytearray()
        self.eof = self.lost = False
        self.gone_at = self.request = self.task = None
        self.sent = 0
        self.served = 0
        self._wake, self._writable = asyncio.Event(), asyncio.Event()
        self._writable.set()

    # what asyncio calls
    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=1, low=0)      # not 0: TLS transports would never resume
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.id = self.server.connections
        self.server.connections += 1
        self.server.open.add(self)
        self.task = asyncio.ensure_future(self._serve())

    def data_received(self, data):
        self.server.bytes_in += len(data)
        self.buf += data
        self._wake.set()

    def _gone(self):
        if self.gone_at is None:
            self.gone_at = time.perf_counter()
            if self.request and self.request.gone_at is None and self.request.outcome == "open":
                self.request.gone_at = self.gone_at
        self._wake.set()
        self._writable.set()

    def eof_received(self):
        self.eof = True
        self._gone()
        return self.server.tls[0] is None       # stay open, so that scripts can go on writing

    def connection_lost(self, exc):
        self.lost = True
        self._gone()
        self.server.open.discard(self)

    def pause_writing(self):
        self._writable.clear()

    def resume_writing(self):
        self._writable.set()

    # what scripts call
    async def sleep(self, seconds):
        """Sleeps; raises Gone as soon as the gateway has gone."""
        end = time.monotonic() + seconds
        while True:
            if self.gone_at is not None:
                raise Gone
            left = end - time.monotonic()
            if left <= 0:
                return
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), left)
            except asyncio.TimeoutError:
                return

    async def stall(self):
        """Says nothing until the gateway has gone."""
        await self.sleep(3600)

    async def write(self, data):
        """Writes and waits until the kernel took it."""
        for i in range(0, len(data), 65536):
            if self.gone_at is not None and self.lost:
                raise Gone
            part = bytes(data[i:i + 65536])
            self.transport.write(part)
            if self.transport.is_closing():     # a write has failed: connection_lost comes on the next turn
                await asyncio.sleep(0)
            await self._writable.wait()
            if self.lost:
                raise Gone
            self.sent += len(part)
            self.server.bytes_out += len(part)

    async def head(self, status=200, headers=(), content_type="application/json"):
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
        if content_type:
            lines.append(f"Content-Type: {content_type}")
        lines += [f"{k}: {v}" for k, v in headers]
        await self.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def chunk(self, data):
        await self.write(b"%x\r\n%s\r\n" % (len(data), data))

    async def end(self):
        await self.write(b"0\r\n\r\n")

    def fin(self):
        self.transport.close()

    def half_close(self):
        self.transport.write_eof()

    def rst(self):
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    # reading
    async def _need(self, pred):
        while True:
            got = pred()
            if got is not None:
                return got
            if self.gone_at is not None:
                raise Gone
            self._wake.clear()
            await self._wake.wait()

    async def _read_request(self):
        def head():
            i = self.buf.find(b"\r\n\r\n")
            return None if i < 0 else i
        i = await self._need(head)
        raw = bytes(self.buf[:i]).decode("latin-1")
        del self.buf[:i + 4]
        first, *lines = raw.split("\r\n")
        bad = self.server.violations
        m = re.fullmatch(r"([A-Z]+) (/[\x21-\x7e]*) HTTP/1\.1", first)
        if not m:
            bad.append(f"request line {first!r}")
            raise Gone
        headers = []
        for line in lines:
            h = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*?)[ \t]*", line)
            if not h:
                bad.append(f"header line {line!r}")
                raise Gone
            headers.append((h[1], h[2]))
        r = Request(self, m[1], m[2], headers, at=time.perf_counter())
        names = [k.lower() for k, _ in headers]
        for name in ("host", "content-length", "authorization", "api-key", "content-type"):
            if names.count(name) > 1:
                bad.append(f"{name} {names.count(name)} times")
        if "host" not in names:
            bad.append("no host")
        for name in self.server.stray_headers:
            if name in names:
                bad.append(f"forwarded {name}")
        if r.header("accept-encoding") not in (None, "identity"):
            bad.append(f"accept-encoding {r.header('accept-encoding')}")
        n = r.header("content-length")
        if r.method == "POST" and (n is None or not n.isdigit()):
            bad.append(f"content-length {n!r}")
            raise Gone
        n = int(n or 0)
        r.body = await self._need(lambda: bytes(self.buf[:n]) if len(self.buf) >= n else None)
        del self.buf[:n]
        if r.method == "POST":
            try:
                r.json = json.loads(r.body.decode("utf-8"))
            except ValueError as e:
                bad.append(f"body is not JSON: {e}")
        return r

    async def _serve(self):
        r = None
        try:
            while True:
                r = None
                r = self.request = await self._read_request()
                self.served += 1
                self.server.requests.append(r)
                await self.server.answer(r, self)
                if r.outcome == "open":
                    r.outcome = "complete"
                r.ended_at = time.perf_counter()
                if self.transport.is_closing():
                    return
        except Gone:
            if r is not None:
                r.outcome = "gone"
                r.gone_at = r.gone_at or self.gone_at
        except (ConnectionError, OSError):
            if r is not None:
                r.outcome = "gone"
        except asyncio.CancelledError:
            pass
        except Exception as e:                      # a bug in a script must not pass for a fault
            self.server.violations.append(f"script failed: {e!r}")
        finally:
            if not self.transport.is_closing():
                self.transport.close()


REASONS = {200: "OK", 301: "Moved Permanently", 302: "Found", 307: "Temporary Redirect", 400: "Bad Request",
           401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
           409: "Conflict", 422: "Unprocessable Entity", 429: "Too Many Requests",
           500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 529: "Overloaded"}

ERRORS = {400: ("invalid_request_error", "bad_thing"), 401: ("invalid_request_error", "invalid_api_key"),
          402: ("billing_error", "no_balance"), 403: ("permission_error", "forbidden"),
          404: ("invalid_request_error", "model_not_found"), 422: ("invalid_request_error", "unprocessable"),
          429: ("requests", "rate_limit_exceeded"), 500: ("server_error", None), 503: ("server_error", None)}


def error_body(status, message=None):
    kind, code = ERRORS.get(status, ("server_error", None))
    message = message or f"upstream says {status}"
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def sse(payload, event=None):
    """One SSE event."""
    if not isinstance(payload, (str, bytes)):
        payload = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    if isinstance(payload, str):
        payload = payload.encode()
    return (b"event: " + event.encode() + b"\n" if event else b"") + b"data: " + payload + b"\n\n"


DONE = sse("[DONE]")


def count(obj):
    """Tokens of a prompt: words of every string in messages, prompt or input."""
    if isinstance(obj, str):
        return len(obj.split())
    if isinstance(obj, list):
        return sum(count(x) for x in obj)
    if isinstance(obj, dict):
        return sum(count(v) for k, v in obj.items() if k in ("content", "text", "input"))
    return 1 if isinstance(obj, int) and not isinstance(obj, bool) else 0


def tool_calls(n):
    names = ["get_weather", "get_time", "get_news"]
    return [{"index": i, "id": f"call_{i}", "type": "function",
             "function": {"name": names[i % 3], "arguments": json.dumps({"city": f"City {i}", "unit": "C"})}}
            for i in range(n)]


class Reply:
    """Makes bodies and events of the OpenAI wire for one request and script."""

    def __init__(self, request, script):
        j = request.json or {}
        self.r, self.s, self.j = request, script, j
        self.model, self.op = request.model, request.op
        self.id = f"{'chatcmpl' if self.op == 'chat/completions' else 'cmpl'}-fake{len(request.body)}"
        prompt = count(j.get("messages") or j.get("prompt") or j.get("input") or "")
        out = len(script.text) if not script.tools else 4 * script.tools
        if self.op == "embeddings":
            out = 0
        self.prompt, self.out = prompt, out

    def usage(self):
        if self.op == "responses":
            return {"input_tokens": self.prompt, "input_tokens_details": {"cached_tokens": self.prompt // 3},
                    "output_tokens": self.out, "output_tokens_details": {"reasoning_tokens": self.out // 4},
                    "total_tokens": self.prompt + self.out}
        u = {"prompt_tokens": self.prompt, "total_tokens": self.prompt + self.out}
        if self.op != "embeddings":
            u["completion_tokens"] = self.out
        if self.op == "chat/completions":
            u["prompt_tokens_details"] = {"cached_tokens": self.prompt // 3, "audio_tokens": 0}
            u["completion_tokens_details"] = {"reasoning_tokens": self.out // 4, "audio_tokens": 0}
        return u

    def whole(self):
        s, text = self.s, "".join(self.s.text)
        base = {"id": self.id, "created": 1770000000, "model": self.model}
        if self.op == "chat/completions":
            msg = {"role": "assistant", "content": None if s.tools else text, "refusal": None}
            if s.tools:
                msg["tool_calls"] = [{k: v for k, v in t.items() if k != "index"} for t in tool_calls(s.tools)]
            doc = base | {"object": "chat.completion", "choices": [
                {"index": 0, "message": msg, "logprobs": None, "finish_reason": "tool_calls" if s.tools else "stop"}]}
        elif self.op == "completions":
            doc = base | {"object": "text_completion", "choices": [
                {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}]}
        elif self.op == "embeddings":
            inputs = self.j.get("input")
            n = len(inputs) if isinstance(inputs, list) and inputs and not isinstance(inputs[0], int) else 1
            vec = [0.25, -0.5, 1.0]
            enc = base64.b64encode(struct.pack("<3f", *vec)).decode() if self.j.get("encoding_format") == "base64" else vec
            doc = {"object": "list", "model": self.model,
                   "data": [{"object": "embedding", "index": i, "embedding": enc} for i in range(n)]}
        else:
            doc = self._response("completed", s.usage)
            return json.dumps(doc, ensure_ascii=False).encode()
        if s.usage:
            doc["usage"] = self.usage()
        return json.dumps(doc, ensure_ascii=False).encode()

    def _response(self, status, usage):
        text = "".join(self.s.text)
        item = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": text, "annotations": []}]}
        return {"id": "resp_fake1", "object": "response", "created_at": 1770000000, "status": status, "error": None,
                "incomplete_details": None, "model": self.model, "output": [item] if status == "completed" else [],
                "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                "usage": self.usage() if status == "completed" and usage else None}

    def events(self):
        if self.op == "responses":
            return self._response_events()
        s, chat = self.s, self.op == "chat/completions"
        asked = (self.j.get("stream_options") or {}).get("include_usage") is True
        base = {"id": self.id, "object": "chat.completion.chunk" if chat else "text_completion",
                "created": 1770000000, "model": self.model}
        if asked and s.usage:
            base["usage"] = None

        def ev(delta, finish=None):
            c = {"index": 0, "delta": delta, "finish_reason": finish} if chat else \
                {"index": 0, "text": delta.get("content", ""), "logprobs": None, "finish_reason": finish}
            return sse(base | {"choices": [c]})
        out = [ev({"role": "assistant", "content": "", "refusal": None})] if chat else []
        if s.tools:
            for t in tool_calls(s.tools):
                args = t["function"]["arguments"]
                out.append(ev({"tool_calls": [t | {"function": {"name": t["function"]["name"], "arguments": ""}}]}))
                for i in range(0, len(args), 9):
                    out.append(ev({"tool_calls": [{"index": t["index"], "function": {"arguments": args[i:i + 9]}}]}))
        else:
            out += [ev({"content": p}) for p in s.text]
        out.append(ev({}, "tool_calls" if s.tools else "stop"))
        if asked and s.usage:
            out.append(sse(base | {"choices": [], "usage": self.usage()}))
        return out + ([DONE] if s.done else [])

    def _response_events(self):
        seq, out, s = iter(range(10 ** 6)), [], self.s

        def ev(kind, **kw):
            out.append(sse({"type": kind, "sequence_number": next(seq)} | kw, kind))
        ev("response.created", response=self._response("in_progress", False))
        ev("response.in_progress", response=self._response("in_progress", False))
        item = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        ev("response.output_item.added", output_index=0, item=item)
        part = {"type": "output_text", "text": "", "annotations": []}
        at = dict(item_id="msg_1", output_index=0, content_index=0)
        ev("response.content_part.added", part=part, **at)
        for p in s.text:
            ev("response.output_text.delta", delta=p, **at)
        text = "".join(s.text)
        ev("response.output_text.done", text=text, **at)
        ev("response.content_part.done", part=part | {"text": text}, **at)
        ev("response.output_item.done", output_index=0, item=item | {"status": "completed", "content": [part | {"text": text}]})
        if s.done:
            ev("response.completed", response=self._response("completed", s.usage))
        return out


async def play(script, r, conn):
    """Answers one request by the script."""
    s, reply = script, Reply(r, script)
    if s.gate and s.gate_head:
        await s.gate.wait(conn)
    if s.head_delay:
        await conn.sleep(s.head_delay)
    stream = bool((r.json or {}).get("stream")) and s.status == 200 and s.body is None
    if s.events is not None and s.status == 200:
        stream = True
    if stream:
        pieces = list(s.events) if s.events is not None else reply.events()
        ctype = s.content_type or "text/event-stream; charset=utf-8"
    else:
        body = s.body if s.body is not None else reply.whole() if s.status == 200 else error_body(s.status)
        if s.gzip:
            body = gziplib.compress(body)
        pieces, ctype = [body], s.content_type or "application/json"
    if s.usage and s.status == 200 and s.body is None:
        r.usage = reply.usage()
    extra = list(s.headers) + ([("Content-Encoding", "gzip")] if s.gzip else [])
    framing = s.framing if stream or s.framing == "close" else "length"
    if framing == "chunked":
        extra.append(("Transfer-Encoding", "chunked"))
    elif framing == "length":
        extra.append(("Content-Length", str(sum(map(len, pieces)))))
    else:
        extra.append(("Connection", "close"))
    await conn.head(s.status, extra, ctype)
    if s.ttft:
        await conn.sleep(s.ttft)

    async def out(data):
        step = s.split or len(data) or 1
        for i in range(0, len(data), step):
            part = data[i:i + step]
            await (conn.chunk(part) if framing == "chunked" else conn.write(part))
            if s.split:
                await asyncio.sleep(0)

    if stream:
        for n, piece in enumerate(pieces):
            if n == s.after and (s.fault or s.gate) and not s.gate_head:
                if s.gate:
                    await s.gate.wait(conn)
                if s.fault:
                    break
            if n and s.chunk_delay:
                await conn.sleep(s.chunk_delay)
            await out(piece)
    else:
        await out(pieces[0][:s.after] if s.fault else pieces[0])
    if s.tail:
        await out(s.tail)
    if s.fault:
        await fault(s.fault, r, conn, framing)
    elif framing == "chunked":
        await conn.end()
    elif framing == "close":
        conn.fin()


async def fault(kind, r, conn, framing):
    if kind == "stall":
        await conn.stall()
    if kind == "bad-chunk":
        await conn.write(b"zz\r\nnot a chunk\r\n")
        await conn.stall()
    r.outcome = "fault"
    if kind == "end":
        if framing == "chunked":
            await conn.end()
        else:
            conn.fin()
    elif kind == "fin":
        conn.fin()
    elif kind == "rst":
        await asyncio.sleep(0.02)           # let what was sent be read first: a reset discards it
        conn.rst()
    elif kind == "half":
        conn.half_close()
        try:
            await conn.stall()
        except Gone:
            pass
    else:
        raise ValueError(kind)


class Upstream:
    """The server.  Use as a context manager, or start() and stop()."""

    # what a gateway must not send on
    stray_headers = ("transfer-encoding", "te", "upgrade", "proxy-authorization", "proxy-connection", "keep-alive", "trailer", "expect",
                     "cookie", "x-goog-api-key", "forwarded")

    def __init__(self, keys=(PROVIDER_KEY,), certfile=None, keyfile=None, sndbuf=0, models=("up-one", "up-two")):
        self.keys, self.models = set(keys), list(models)
        self.tls, self.sndbuf = (certfile, keyfile), sndbuf
        self.scripts, self.default = {}, Script()
        self.requests, self.violations = [], []
        self.connections = self.bytes_in = self.bytes_out = 0
        self.open = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)

    def start(self):
        self._thread.start()
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.sndbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.sndbuf)
        sock.bind(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        ctx = None
        if self.tls[0]:
            ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ctx.load_cert_chain(*self.tls)

        async def listen():
            self._server = await asyncio.get_running_loop().create_server(lambda: Conn(self), sock=sock, ssl=ctx, backlog=512)
        asyncio.run_coroutine_threadsafe(listen(), self._loop).result(5)
        return self

    def stop(self):
        async def close():
            self._server.close()
            for c in list(self.open):
                if c.task:
                    c.task.cancel()
                c.transport.abort()
            await asyncio.sleep(0.01)
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(close(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)

    __enter__ = start

    def __exit__(self, *exc):
        self.stop()

    def drop_listener(self):
        """From now on connections are refused."""
        self._loop.call_soon_threadsafe(self._server.close)

    def abort_idle(self, how="fin"):
        """Closes every connection that has no request under way."""
        def go():
            for c in list(self.open):
                if c.request is None or c.request.outcome != "open":
                    c.rst() if how == "rst" else c.fin()
        self._loop.call_soon_threadsafe(go)

    @property
    def url(self):
        return f"http{'s' if self.tls[0] else ''}://127.0.0.1:{self.port}/v1"

    def on(self, model, script=None, **kw):
        """Binds a model name to a Script (or its fields, or an async callable)."""
        self.scripts[model] = script if callable(script) else replace(script or Script(), **kw)
        return model

    def of(self, model):
        """Requests for that model, in order of arrival."""
        return [r for r in list(self.requests) if r.model == model]

    def authorized(self, r):
        auth, key = r.header("authorization"), r.header("api-key")
        got = auth[7:] if auth and auth.startswith("Bearer ") else key
        return got in self.keys and not (auth and key)

    async def answer(self, r, conn):
        if not self.authorized(r):
            return await play(Script(status=401), r, conn)
        if r.method == "GET" and r.op == "models":
            doc = {"object": "list", "data": [{"id": m, "object": "model", "created": 1, "owned_by": "fake"} for m in self.models]}
            return await play(Script(body=json.dumps(doc).encode()), r, conn)
        if r.method != "POST" or not r.op:
            self.violations.append(f"{r.method} {r.target}")
            return await play(Script(status=404), r, conn)
        script = self.scripts.get(r.model) or builtin(r.model) or self.default
        if callable(script):
            return await script(r, conn)
        await play(script, r, conn)

    def wait(self, pred, timeout=5, what="the upstream"):
        """Polls pred() until it is true; its value."""
        end = time.monotonic() + timeout
        while True:
            got = pred()
            if got:
                return got
            if time.monotonic() > end:
                raise AssertionError(f"waited {timeout} s for {what}")
            time.sleep(0.002)

    def wait_request(self, model, n=1, timeout=5):
        return self.wait(lambda: len(self.of(model)) >= n and self.of(model)[n - 1], timeout, f"request {n} of {model}")


def builtin(model):
    """Scripts by name, for clients in other languages: err-429, tools, tools-2, slow."""
    m = re.fullmatch(r"(?:[a-z]+-)?err-(\d{3})(?:-after-(\d+))?", model)
    if m:
        return Script(status=int(m[1]), headers=(("retry-after", m[2]),) if m[2] else ())
    m = re.fullmatch(r"tools(?:-(\d))?", model)
    if m:
        return Script(tools=int(m[1] or 1))
    if model == "slow":
        return Script(chunk_delay=0.05, text=tuple(PIECES) * 20)
    if model == "cut":
        return Script(fault="fin", after=4)
    return None


# Recorded traffic ------------------------------------------------------------

def recordings(provider="openai"):
    """(name, path) of each recording under $LYSS_FIXTURES; empty where it is not set."""
    root = os.environ.get("LYSS_FIXTURES")
    if not root:
        return []
    for d in (os.path.join(root, "provider-recordings", provider), os.path.join(root, provider)):
        if os.path.isdir(d):
            return [(f, os.path.join(d, f)) for f in sorted(os.listdir(d))]
    return []


def recording_events(path):
    """The SSE events of one *.chunks.txt, and the operation they belong to."""
    with open(path, "rb") as f:
        lines = [x for x in f.read().split(b"\n") if x.strip()]
    kinds = [re.match(rb'\{"type":"(response\.[a-z_.]+|error)"', x) for x in lines]   # a line may be broken, as recorded
    if kinds[0]:
        return [sse(x, k[1].decode()) for x, k in zip(lines, kinds)], "responses"
    op = "completions" if b'"object":"text_completion"' in lines[0] else "chat/completions"
    return [sse(x) for x in lines] + [DONE], op
