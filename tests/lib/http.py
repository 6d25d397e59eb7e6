"""A raw HTTP/1.1 client: sends any bytes, and reads answers strictly.

The parser accepts only what RFC 9112 allows, so that a framing fault of Lyss
fails the test that meets it.  `Response.end` tells how the body ended:
`length`, `chunked`, `eof` (a body that the close ends), or `cut`, `reset`,
which no complete answer does.
"""
import json
import re
import socket
import ssl
import struct
import time


class Closed(Exception):
    """The connection ended; `reset` tells how."""

    def __init__(self, reset=False):
        super().__init__("reset" if reset else "closed")
        self.reset = reset


class Response:
    def __init__(self, status, reason, version, headers):
        self.status, self.reason, self.version, self.headers = status, reason, version, headers
        self.body, self.end = b"", None
        self.interim = []

    def header(self, name):
        v = [v for k, v in self.headers if k.lower() == name.lower()]
        assert len(v) <= 1 or name.lower() == "set-cookie", f"{name} sent {len(v)} times"
        return v[0] if v else None

    @property
    def complete(self):
        return self.end in ("length", "chunked", "eof")

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The OpenAI error object, with its form checked."""
        e = self.json["error"]
        assert isinstance(e["message"], str) and e["message"] and isinstance(e["type"], str), e
        return e

    @property
    def request_id(self):
        return self.header("x-request-id")

    def __repr__(self):
        return f"<{self.status} {self.end} {self.body[:300]!r}>"


class Client:
    """One connection."""

    def __init__(self, host, port, timeout=10, tls=None, rcvbuf=0, source=None):
        s = socket.socket()
        s.settimeout(timeout)
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        s.connect((host, port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = tls.wrap_socket(s, server_hostname="localhost") if tls else s
        self.buf = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def more(self):
        """Reads once into the buffer."""
        try:
            got = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            raise Closed(True)
        except ssl.SSLError:
            raise Closed(True)
        if not got:
            raise Closed(False)
        self.buf += got

    def until(self, pattern):
        """Everything up to and with the pattern."""
        while pattern not in self.buf:
            self.more()
        i = self.buf.index(pattern) + len(pattern)
        out, self.buf = self.buf[:i], self.buf[i:]
        return out

    def exactly(self, n):
        while len(self.buf) < n:
            self.more()
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def closed(self, timeout=3):
        """True once the peer has closed, with nothing more sent."""
        self.sock.settimeout(timeout)
        try:
            self.more()
        except Closed:
            return True
        except (socket.timeout, TimeoutError):
            return False
        raise AssertionError(f"more bytes came: {self.buf[:200]!r}")

    def silent(self, seconds):
        """True if nothing comes, and the connection stays, for so long."""
        old = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self.more()
            return False
        except (socket.timeout, TimeoutError):
            return True
        finally:
            self.sock.settimeout(old)

    # answers
    def head(self):
        """Status line and headers."""
        raw = self.until(b"\r\n\r\n")[:-4].decode("latin-1")
        first, *lines = raw.split("\r\n")
        m = re.fullmatch(r"HTTP/1\.([01]) ([1-5]\d\d) ([\x20-\x7e]*)", first)
        assert m, f"bad status line {first!r}"
        headers = []
        for line in lines:
            h = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*?)[ \t]*", line)
            assert h, f"bad header line {line!r}"
            headers.append((h[1], h[2]))
        r = Response(int(m[2]), m[3], m[1], headers)
        if r.status >= 200:
            names = [k.lower() for k, _ in headers]
            assert not ("content-length" in names and "transfer-encoding" in names), headers
            for k in ("content-length", "transfer-encoding", "content-type", "connection", "date", "x-request-id"):
                assert names.count(k) <= 1, f"{k} twice: {headers}"
        return r

    def body(self, r, on_data=None, head_request=False):
        """Reads the body of r to its end, however it ends; on_data(bytes) sees each piece."""
        def got(data):
            r.body += data
            if on_data and data:
                on_data(data)
        te, n = r.header("transfer-encoding"), r.header("content-length")
        if head_request or r.status in (204, 304):
            r.end = "length"
            return r
        try:
            if te:
                assert te.lower() == "chunked", te
                while True:
                    size = self.until(b"\r\n")[:-2]
                    assert re.fullmatch(rb"[0-9A-Fa-f]+", size), f"bad chunk size {size!r}"
                    size = int(size, 16)
                    if not size:
                        assert self.exactly(2) == b"\r\n"
                        r.end = "chunked"
                        return r
                    while size:
                        if not self.buf:
                            self.more()
                        part = self.exactly(min(size, len(self.buf)))
                        size -= len(part)
                        got(part)
                    assert self.exactly(2) == b"\r\n", "chunk not followed by CRLF"
            elif n is not None:
                left = int(n)
                while left:
                    if not self.buf:
                        self.more()
                    part = self.exactly(min(left, len(self.buf)))
                    left -= len(part)
                    got(part)
                r.end = "length"
            else:
                while True:
                    if not self.buf:
                        self.more()
                    got(self.exactly(len(self.buf)))
        except Closed as e:
            framed = te or n is not None
            r.end = "reset" if e.reset else "cut" if framed else "eof"
        return r

    def response(self, on_data=None, head_request=False):
        r = self.head()
        interim = []
        while r.status < 200:
            interim.append(r.status)
            r = self.head()
        r.interim = interim
        return self.body(r, on_data, head_request)

    def request(self, method, target, body=None, headers=(), host="localhost", **kw):
        self.send(request_bytes(method, target, body, headers, host))
        return self.response(**kw)


def request_bytes(method, target, body=None, headers=(), host="localhost", version="1.1"):
    """A well-formed request; a body that is not bytes is sent as JSON."""
    out = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        out.append(f"Host: {host}")
    if body is not None:
        if not isinstance(body, (bytes, bytearray)):
            body = json.dumps(body, ensure_ascii=False).encode()
        if not any(k.lower() == "content-type" for k, _ in headers):
            out.append("Content-Type: application/json")
        if not any(k.lower() in ("content-length", "transfer-encoding") for k, _ in headers):
            out.append(f"Content-Length: {len(body)}")
    out += [f"{k}: {v}" for k, v in headers]
    return ("\r\n".join(out) + "\r\n\r\n").encode("latin-1") + bytes(body or b"")


class Events:
    """The SSE events of a body, and where its comments stood."""

    def __init__(self, body):
        assert body == b"" or body.endswith(b"\n\n") or body.endswith(b"\r\n\r\n"), f"torn tail {body[-80:]!r}"
        self.comments, self.data, self.raw = 0, [], []
        for block in re.split(rb"(?<=\n)\r?\n", body):
            if not block:
                continue
            lines = block.rstrip(b"\r\n").split(b"\n")
            comment = [x.startswith(b":") for x in lines]
            assert all(comment) or not any(comment), f"a comment inside an event: {block!r}"
            if all(comment):
                self.comments += len(lines)
                continue
            self.raw.append(block + b"\n")
            self.data.append(b"\n".join(x.rstrip(b"\r")[5:].removeprefix(b" ") for x in lines if x.startswith(b"data:")))

    @property
    def done(self):
        return b"[DONE]" in self.data

    @property
    def docs(self):
        return [json.loads(d) for d in self.data if d != b"[DONE]"]

    @property
    def errors(self):
        """In-band errors: chat's {"error":…}, Responses' type error or response.failed."""
        return [d for d in self.docs if d.get("error") or d.get("type") in ("error", "response.failed")]

    @property
    def finishes(self):
        out = [c["finish_reason"] for d in self.docs for c in d.get("choices") or [] if c.get("finish_reason")]
        return out + [d["type"] for d in self.docs if d.get("type") in ("response.completed", "response.incomplete")]

    @property
    def text(self):
        out = ""
        for d in self.docs:
            for c in d.get("choices") or []:
                out += (c.get("delta") or {}).get("content") or c.get("text") or ""
            if d.get("type") == "response.output_text.delta":
                out += d["delta"]
        return out


def wait(pred, timeout=10, what="a condition", step=0.005):
    """Polls pred() until it is true; its value."""
    end = time.monotonic() + timeout
    while True:
        got = pred()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s for {what}")
        time.sleep(step)
