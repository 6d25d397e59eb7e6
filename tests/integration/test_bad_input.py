"""What comes from outside is hostile: each row of the table, and what RFC 9112 calls malformed."""
import json
import time

import pytest
from conftest import slack
from lib.http import Closed, request_bytes
from lib.lyss import chat_body
from lib.upstream import DONE

PATH = "/v1/chat/completions"


def raw(lyss, data, then=None):
    """Sends bytes on a connection of their own; the answer, and whether the connection then closed."""
    with lyss.connect(timeout=8) as c:
        c.send(data)
        r = c.response()
        return r, c.closed(4) if r.end != "eof" else True


def head(lyss, *lines, first=f"POST {PATH} HTTP/1.1", host="Host: localhost", body=b""):
    all_ = [first] + ([host] if host else []) + [f"Authorization: Bearer {lyss.key}", *lines]
    return "\r\n".join(all_).encode("latin-1") + b"\r\n\r\n" + body


# JSON ------------------------------------------------------------------------

@pytest.mark.parametrize("body, at", [
    (b'{"model":"m-x",', 15), (b'{"model":"m-x"}}', 15), (b"{'model':1}", 1), (b'{"model":"m-x","a":01}', 20),
    (b'{"model":"m-x","a":"\xff"}', 20), (b'{"model":"m-x","a":"\xed\xa0\x80"}', 20), (b'{"model":"m-x","a":"\n"}', 20),
    (b'{"model":"m-x","a":nul}', None), (b"", 0), (b"   ", None), (b'{"model":"m-x","a":"\\x"}', None),
    (b"\xef\xbb\xbf{}", 0), (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", None)])
def test_not_json_is_400_with_the_offset(lyss, up, body, at):
    n = len(up.requests)
    r = lyss.post(PATH, body)
    assert r.status == 400 and r.error["type"] == "invalid_request_error", r
    assert "offset" in r.body.decode()
    if at is not None:
        assert str(at) in r.body.decode(), (at, r.error)
    assert len(up.requests) == n


def test_depth_64_is_still_fine(lyss, name):
    body = b'{"model":"%s","messages":[{"role":"user","content":"x"}],"a":%s}' % (name().encode(), b"[" * 63 + b"]" * 63)
    assert lyss.post(PATH, body).status == 200
    body = b'{"model":"%s","messages":[{"role":"user","content":"x"}],"a":%s}' % (name().encode(), b"[" * 64 + b"]" * 64)
    assert lyss.post(PATH, body).status == 400


@pytest.mark.parametrize("extra", ['"model":"m-second"', '"stream":true,"stream":false', '"\\u006dodel":"m-second"'])
def test_a_routing_field_twice(lyss, up, name, extra):
    m = name()
    r = lyss.post(PATH, ('{"model":"%s","messages":[],%s}' % (m, extra)).encode())
    assert r.status == 400 and "offset" in r.body.decode()
    assert up.of(m) == [] and up.of("m-second") == []


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"{}", b'{"model":7}', b'{"model":""}', b'{"model":null}',
                                  b'{"model":"m-x","stream":"yes"}', b'{"model":"m-x","stream":true,"stream_options":7}',
                                  json.dumps({"model": "m" * 300}).encode()])
def test_fields_of_the_wrong_kind(lyss, body):
    r = lyss.post(PATH, body)
    assert r.status in (400, 404) and r.error, r
    assert r.status == 400 or b"mmmm" in body


def test_nul_and_controls_in_a_model_name(lyss):
    for text in ("a\\u0000b", "a\\nb", "..", "../x"):
        r = lyss.post(PATH, b'{"model":"%s","messages":[]}' % text.encode())
        assert r.status in (400, 404), text


# sizes -----------------------------------------------------------------------

def test_body_too_large(lyss):
    r, closed = raw(lyss, head(lyss, "Content-Length: 33554433", body=b"{"))
    assert r.status == 413 and closed
    r, closed = raw(lyss, head(lyss, "Content-Length: 99999999999999999999", body=b"{"))
    assert r.status in (400, 413) and closed


def test_chunked_body_too_large(fresh):
    l = fresh(env={"LYSS_MAX_BODY_BYTES": "65536"})
    with l.connect() as c:
        c.send(head(l, "Transfer-Encoding: chunked"))
        try:
            for _ in range(40):
                c.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        except OSError:
            pass
        assert c.response().status == 413


@pytest.mark.parametrize("lines", [["X-Long: " + "a" * 9000], [f"X-{i}: {'b' * 700}" for i in range(98)], [f"X-{i}: b" for i in range(110)]],
                         ids=["long line", "64 KiB", "100 fields"])
def test_header_too_large(lyss, lines):
    r, closed = raw(lyss, head(lyss, *lines))
    assert r.status == 431 and closed


def test_url_too_long(lyss):
    r, closed = raw(lyss, head(lyss, first=f"GET /{'a' * 9000} HTTP/1.1"))
    assert r.status == 414 and closed


# framing ---------------------------------------------------------------------

OK = b'{"model":"m-frame","messages":[]}'
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(OK), OK)
BODIES = {
    "CL and TE": (["Content-Length: 3", "Transfer-Encoding: chunked"], CHUNKED),
    "TE and CL": (["Transfer-Encoding: chunked", "Content-Length: 3"], CHUNKED),
    "CL twice, different": (["Content-Length: 33", "Content-Length: 34"], OK),
    "CL twice, the same": (["Content-Length: 33", "Content-Length: 33"], OK),
    "CL list": (["Content-Length: 33, 33"], OK),
    "CL plus": (["Content-Length: +33"], OK),
    "CL minus": (["Content-Length: -1"], OK),
    "CL hex": (["Content-Length: 0x21"], OK),
    "CL empty": (["Content-Length: "], OK),
    "CL word": (["Content-Length: abc"], OK),
    "CL inner space": (["Content-Length: 3 3"], OK),
    "TE gzip": (["Transfer-Encoding: gzip"], CHUNKED),
    "TE gzip, chunked": (["Transfer-Encoding: gzip, chunked"], CHUNKED),
    "TE chunked, identity": (["Transfer-Encoding: chunked, identity"], CHUNKED),
    "TE twice": (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], CHUNKED),
    "TE xchunked": (["Transfer-Encoding: xchunked"], CHUNKED),
    "TE empty": (["Transfer-Encoding: "], CHUNKED),
    "bad chunk size": (["Transfer-Encoding: chunked"], b"zz\r\n"),
    "chunk size 0x": (["Transfer-Encoding: chunked"], b"0x21\r\n" + OK + b"\r\n0\r\n\r\n"),
    "chunk size minus": (["Transfer-Encoding: chunked"], b"-1\r\n"),
    "chunk size too long": (["Transfer-Encoding: chunked"], b"1" * 20 + b"\r\n"),
    "chunk size leading space": (["Transfer-Encoding: chunked"], b" 21\r\n" + OK + b"\r\n0\r\n\r\n"),
    "chunk without CRLF": (["Transfer-Encoding: chunked"], b"21\r\n" + OK + b"XX0\r\n\r\n"),
    "chunk line ends in LF": (["Transfer-Encoding: chunked"], b"21\n" + OK + b"\r\n0\r\n\r\n"),
    "chunk data ends in LF": (["Transfer-Encoding: chunked"], b"21\r\n" + OK + b"\n0\r\n\r\n"),
    "bare LF in chunk extension": (["Transfer-Encoding: chunked"], b"21;a=\nb\r\n" + OK + b"\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("case", BODIES)
def test_bad_framing(lyss, case):
    lines, body = BODIES[case]
    r, closed = raw(lyss, head(lyss, *lines, body=body + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert r.status == 400 and closed, r


HEADS = {
    "bare LF line": b"GET /health/live HTTP/1.1\nHost: x\r\n\r\n",
    "bare LF all": b"GET /health/live HTTP/1.1\nHost: x\n\n",
    "bare CR in value": b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: b\rc\r\n\r\n",
    "obs-fold": b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
    "obs-fold first": b"GET /health/live HTTP/1.1\r\n Host: x\r\n\r\n",
    "empty name": b"GET /health/live HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
    "space before colon": b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n",
    "no colon": b"GET /health/live HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "NUL in value": b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n",
    "control in value": b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: a\x01b\r\n\r\n",
    "DEL in value": b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: a\x7fb\r\n\r\n",
    "control in name": b"GET /health/live HTTP/1.1\r\nHost: x\r\nX\x02A: b\r\n\r\n",
    "bracket in name": b"GET /health/live HTTP/1.1\r\nHost: x\r\nX[A: b\r\n\r\n",
    "two spaces": b"GET  /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "tab for space": b"GET\t/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /health/live\r\nHost: x\r\n\r\n",
    "space after version": b"GET /health/live HTTP/1.1 \r\nHost: x\r\n\r\n",
    "lower case version": b"GET /health/live http/1.1\r\nHost: x\r\n\r\n",
    "bad method": b"G@T /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "control in target": b"GET /health\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
    "high byte in target": b"GET /health\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in target": b"GET /health live HTTP/1.1\r\nHost: x\r\n\r\n",
    "target without slash": b"GET health HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "host twice": b"GET /health/live HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "host with slash": b"GET /health/live HTTP/1.1\r\nHost: x/y\r\n\r\n",
    "host with user": b"GET /health/live HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "host with space": b"GET /health/live HTTP/1.1\r\nHost: a b\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40 + b"\r\n\r\n",
}


@pytest.mark.parametrize("case", HEADS)
def test_malformed_head(lyss, case):
    r, closed = raw(lyss, HEADS[case])
    assert r.status == 400 and closed, r


@pytest.mark.parametrize("case", ["bare LF line", "obs-fold", "space before colon", "no host"])
def test_malformed_head_byte_by_byte(lyss, case):
    with lyss.connect(timeout=5) as c:
        try:
            for b in HEADS[case]:
                c.send(bytes([b]))
        except OSError:
            pass
        assert c.response().status == 400


def test_versions(lyss):
    for v in ("2.0", "0.9", "3.0"):
        r, closed = raw(lyss, f"GET /health/live HTTP/{v}\r\nHost: x\r\n\r\n".encode())
        assert r.status == 505 and closed, v
    r, _ = raw(lyss, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert r.status in (400, 505)


def test_content_encoding(lyss, name):
    for enc in ("gzip", "br", "deflate", "zstd"):
        r = lyss.post(PATH, chat_body(name()), [("Content-Encoding", enc)])
        assert r.status == 415, enc
    assert lyss.post(PATH, chat_body(name()), [("Content-Encoding", "identity")]).status == 200


# paths and methods -----------------------------------------------------------

def test_unknown_path_and_wrong_method(lyss):
    for p in ("/nope", "/v1/nope", "/v2/chat/completions", "/v1/chat/completions/", "/v1//chat/completions", "/V1/models"):
        r = lyss.get(p)
        assert r.status in (400, 404), (p, r)
    for method, p, allow in (("GET", PATH, "POST"), ("DELETE", "/v1/models", "GET"), ("PUT", "/v1/embeddings", "POST"),
                             ("POST", "/health", "GET"), ("BREW", PATH, "POST")):
        r = lyss.get(p, method=method)
        assert r.status == 405 and allow in r.header("allow"), (method, p, r)


@pytest.mark.parametrize("target", ["/v1/../health", "/v1/./models", "/v1/models/..%2f..", "/v1/models/%2e%2e", "/v1/models/a%00b", "/%2e%2e/x",
                                    "/v1/models;x=1", "/health%2flive", "/v1/models/%zz", "/v1/models/%", "/v1\\models", "//v1/models"])
def test_odd_targets(lyss, target):
    """400, or no such path: never another path's answer."""
    r = lyss.get(target)
    assert r.status in (400, 404), r


def test_absolute_form_and_odd_hosts(lyss):
    r, _ = raw(lyss, b"GET http://localhost/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert r.status == 200
    r, _ = raw(lyss, b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
    assert r.status in (400, 405, 404)
    r, _ = raw(lyss, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert r.status in (200, 204, 400, 404, 405)


# good things that look odd ---------------------------------------------------

def test_chunked_request(lyss, up, name):
    m = name()
    body = json.dumps(chat_body(m)).encode()
    for size in (1, 7, 100000):
        with lyss.connect() as c:
            c.send(head(lyss, "Transfer-Encoding: Chunked", "Content-Type: application/json"))
            for i in range(0, len(body), size):
                part = body[i:i + size]
                c.send(b"%X;ext=1\r\n%s\r\n" % (len(part), part))
            c.send(b"0\r\nX-Trailer: 1\r\n\r\n")
            assert c.response().status == 200
            assert c.request("GET", "/health/live").status == 200
        assert up.of(m)[-1].body == body and up.of(m)[-1].header("content-length") == str(len(body))


def test_a_request_byte_by_byte(lyss, up, name):
    m = name()
    data = request_bytes("POST", PATH, chat_body(m), lyss.auth())
    with lyss.connect() as c:
        for b in data:
            c.send(bytes([b]))
        assert c.response().status == 200


def test_leading_empty_line_and_keep_alive(lyss):
    with lyss.connect() as c:
        c.send(b"\r\n")
        for _ in range(5):
            assert c.request("GET", "/health/live").status == 200
        assert c.request("GET", "/health/live", None, [("Connection", "close")]).status == 200
        assert c.closed()


def test_keep_alive_after_errors_that_leave_the_framing_whole(lyss, name):
    with lyss.connect() as c:
        assert c.request("POST", PATH, b"{bad", lyss.auth()).status == 400
        assert c.request("POST", PATH, chat_body("no-such"), lyss.auth()).status == 404
        assert c.request("POST", PATH, chat_body(name()), lyss.auth()).status == 200
        assert c.request("GET", "/nope").status == 404
        assert c.request("GET", "/health/live").status == 200


def test_pipelining(lyss, up, name):
    """Answers come in the order of the requests, the slow one first."""
    m, n = up.on(name(), head_delay=0.1), name()
    with lyss.connect() as c:
        c.send(request_bytes("POST", PATH, chat_body(m), lyss.auth()) + request_bytes("GET", "/v1/models", None, lyss.auth())
               + request_bytes("POST", PATH, chat_body(n, stream=True), lyss.auth()) + request_bytes("GET", "/nope"))
        a, b, s, d = (c.response() for _ in range(4))
    assert (a.status, b.status, s.status, d.status) == (200, 200, 200, 404)
    assert a.json["model"] == m and b.json["object"] == "list" and s.body.endswith(DONE)


def test_expect_100(lyss, up, name):
    m = name()
    body = json.dumps(chat_body(m)).encode()
    with lyss.connect() as c:
        c.send(head(lyss, "Expect: 100-continue", f"Content-Length: {len(body)}"))
        assert c.head().status == 100
        c.send(body)
        assert c.response().status == 200
    with lyss.connect() as c:                        # 100 only after authentication
        c.send(b"POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n" % PATH.encode())
        r = c.response()
        assert r.status == 401 and r.interim == []
    with lyss.connect() as c:                        # the body came without waiting
        c.send(head(lyss, "Expect: 100-continue", f"Content-Length: {len(body)}", body=body))
        assert c.response().status == 200
    with lyss.connect() as c:
        c.send(head(lyss, "Expect: something", "Content-Length: 2", body=b"{}"))
        assert c.response().status == 417


def test_http_10(lyss, up, name):
    with lyss.connect() as c:
        c.send(request_bytes("POST", PATH, chat_body(name()), lyss.auth(), version="1.0"))
        r = c.response()
        assert r.status == 200 and r.header("transfer-encoding") is None and r.json
        assert r.end == "eof" or c.closed()
    with lyss.connect() as c:
        c.send(request_bytes("POST", PATH, chat_body(name(), stream=True), lyss.auth(), version="1.0"))
        r = c.response()
        assert r.status == 200 and r.header("transfer-encoding") is None and r.end == "eof"
        assert r.body.endswith(DONE)
    with lyss.connect() as c:                        # no Host is fine in 1.0
        c.send(b"GET /health/live HTTP/1.0\r\n\r\n")
        assert c.response().status == 200


def test_half_closed_client_still_gets_no_lie(lyss, up, name):
    """FIN means that the caller has gone: the upstream is let go."""
    m = up.on(name(), head_delay=30)
    with lyss.connect() as c:
        c.send(request_bytes("POST", PATH, chat_body(m), lyss.auth()))
        up.wait_request(m)
        c.half_close()
        up.wait(lambda: up.of(m)[0].gone_at, slack(1), "the upstream to be let go")
    assert lyss.row_of_model(m)["state"] == "client_gone"


def test_garbage_connections_leave_nothing_behind(lyss):
    import os
    fds = f"/proc/{lyss.process.pid}/fd"
    time.sleep(0.1)
    before = len(os.listdir(fds))
    for i in range(300):
        try:
            with lyss.connect() as c:
                c.send(bytes((i * 7 + k * 13) & 255 for k in range(200)))
                if i % 3 == 0:
                    c.reset()
        except OSError:
            pass
    end = time.monotonic() + 5
    while len(os.listdir(fds)) > before + 2 and time.monotonic() < end:
        time.sleep(0.02)
    assert len(os.listdir(fds)) <= before + 2
    assert lyss.get("/health/live", key=None).status == 200


def test_answer_to_a_bad_body_reaches_a_client_that_is_still_sending(lyss):
    """Lingering close: the error is not destroyed by a reset."""
    with lyss.connect() as c:
        c.send(head(lyss, "Content-Length: 40000000"))
        try:
            for _ in range(20):
                c.send(b"x" * 65536)
        except OSError:
            pass
        try:
            assert c.response().status == 413
        except Closed as e:
            raise AssertionError(f"the answer was lost: {e}")
