"""Streams that never lie: whatever the upstream does, only a complete answer looks like one."""
import json

import pytest
from conftest import slack
from lib.http import Events
from lib.upstream import DONE, PIECES, Reply, Script, error_body, sse


def events_for(model, op="chat/completions", **kw):
    r = type("R", (), {"json": {"model": model}, "model": model, "op": op, "body": b""})()
    return Reply(r, Script(**kw)).events()


HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
ERROR = sse({"error": {"message": "boom in the upstream", "type": "server_error", "code": None}})
HALF = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hal'

# name -> (script fields, state of the row)
FAULTS = {
    "cut by FIN": (dict(fault="fin"), "incomplete upstream_error"),
    "cut by RST": (dict(fault="rst"), "upstream_error incomplete"),
    "clean end without [DONE]": (dict(fault="end"), "incomplete"),
    "half close": (dict(fault="half"), "incomplete upstream_error"),
    "stops in mid-JSON": (dict(fault="fin", tail=HALF), "incomplete upstream_error"),
    "ends cleanly in mid-JSON": (dict(fault="end", tail=HALF), "incomplete upstream_error"),
    "event without its empty line": (dict(fault="end", tail=HALF + b'f"},"finish_reason":"stop"}]}\n'), "incomplete upstream_error"),
    "bad chunk": (dict(fault="bad-chunk"), "upstream_error"),
    "error event": (dict(fault="end", tail=ERROR), "upstream_error"),
    "error event, then [DONE]": (dict(fault="end", tail=ERROR + DONE), "upstream_error"),
    "error event with a name": (dict(fault="end", tail=b"event: error\n" + ERROR), "upstream_error"),
    "HTML in mid-stream": (dict(fault="end", tail=b"data: " + HTML + b"\n\n"), "upstream_error incomplete"),
    "bare HTML in mid-stream": (dict(fault="end", tail=HTML), "upstream_error incomplete"),
    "not JSON": (dict(fault="end", tail=b"data: oops\n\n" + DONE), "upstream_error"),
    "finish reason but no [DONE]": (dict(fault="fin", after=len(PIECES) + 2), "incomplete upstream_error"),
    "cut, framed by length": (dict(fault="fin", framing="length"), "incomplete upstream_error"),
    "cut, framed by close": (dict(fault="fin", framing="close"), "incomplete upstream_error"),
    "reset, framed by close": (dict(fault="rst", framing="close"), "incomplete upstream_error"),
}


def no_lie(r):
    """Nothing in it may let a client believe that the answer is whole."""
    assert r.end in ("cut", "reset", "eof"), f"the framing says complete: {r}"
    assert b"[DONE]" not in r.body
    return Events(r.body)


@pytest.mark.parametrize("case", FAULTS)
def test_after_the_commit(lyss, up, name, case):
    fields, states = FAULTS[case]
    m = up.on(name(), **{"after": 5, **fields})
    r = lyss.stream(m)
    assert r.status == 200
    e = no_lie(r)
    assert e.text.startswith("".join(PIECES[:4])) or fields.get("after"), e.text
    if not fields.get("after"):
        assert e.finishes == []
    assert len(e.errors) == 1 and e.docs[-1] is not None and "error" in e.docs[-1], e.data[-3:]
    err = e.docs[-1]["error"]
    assert err["message"] and err["type"] and isinstance(err["retryable"], bool)
    row = lyss.row(r.request_id)
    assert row["state"] in states.split(), row["state"]
    assert row["attempts"] == 1 and len(up.of(m)) == 1
    assert row["out_text"] > 0 and row["estimated"]      # what was delivered is counted


@pytest.mark.parametrize("case", FAULTS)
def test_before_the_commit(lyss, up, name, case):
    """Only the role chunk is out: the caller gets a plain error."""
    fields, _ = FAULTS[case]
    if fields.get("after"):
        pytest.skip("has content by its nature")
    m = up.on(name(), **{"after": 1, **fields})
    r = lyss.stream(m)
    assert 500 <= r.status < 600 and r.end == "length", r
    assert r.status == 502 or b"error" in fields.get("tail", b"")
    assert r.error["message"]
    row = lyss.row(r.request_id)
    assert row["state"] in ("upstream_error", "incomplete") and row["status"] == r.status


@pytest.mark.parametrize("case", FAULTS)
def test_before_the_commit_another_channel_serves(lyss, up, up2, name, case):
    fields, _ = FAULTS[case]
    if fields.get("after"):
        pytest.skip("has content by its nature")
    m = up.on(name("fo"), **{"after": 1, **fields})
    r = lyss.stream(m)
    e = Events(r.body)
    assert r.status == 200 and e.done and e.text == "".join(PIECES) and not e.errors
    assert r.header("x-lyss-channel") == "second" and r.header("x-lyss-attempts") == "2"
    assert len(up.of(m)) == 1 and len(up2.of(m)) == 1
    row = lyss.row(r.request_id)
    assert row["state"] == "completed" and row["attempts"] == 2


@pytest.mark.parametrize("case", ["cut by FIN", "cut by RST", "error event", "clean end without [DONE]"])
def test_after_the_commit_nothing_is_retried(lyss, up, up2, name, case):
    m = up.on(name("fo"), **{"after": 5, **FAULTS[case][0]})
    r = lyss.stream(m)
    no_lie(r)
    assert len(up.of(m)) == 1 and up2.of(m) == []
    assert r.header("x-lyss-attempts") == "1"


@pytest.mark.parametrize("case", ["cut by FIN", "error event", "clean end without [DONE]"])
def test_completions_and_responses_too(lyss, up, name, case):
    fields, states = FAULTS[case]
    m = up.on(name(), **{"after": 5, **fields})
    r = lyss.post("/v1/completions", {"model": m, "prompt": "x", "stream": True})
    assert r.status == 200 and len(no_lie(r).errors) == 1
    m = up.on(name("r"), **{"after": 7, **fields})
    r = lyss.post("/v1/responses", {"model": m, "input": "x", "stream": True})
    assert r.status == 200
    e = no_lie(r)
    assert e.docs[-1]["type"] in ("error", "response.failed") and not e.finishes
    assert e.docs[-1]["sequence_number"] == e.docs[-2]["sequence_number"] + 1
    assert lyss.row(r.request_id)["state"] in states.split()


@pytest.mark.parametrize("reply", ["html", "html 200 stream type", "empty", "json list", "json for a stream", "error in 200"])
def test_not_a_stream_at_all(lyss, up, name, reply):
    m = name()
    up.on(m, **{"html": dict(body=HTML, content_type="text/html"),
                "html 200 stream type": dict(body=HTML, content_type="text/event-stream"),
                "empty": dict(body=b""), "json list": dict(body=b"[]"),
                "json for a stream": dict(body=b'{"id":"c","choices":[]}', content_type="text/event-stream"),
                "error in 200": dict(body=error_body(500))}[reply])
    r = lyss.stream(m)
    assert 500 <= r.status < 600 and r.end == "length" and r.error, r
    assert b"<html" not in r.body
    assert lyss.row(r.request_id)["state"] in ("upstream_error", "incomplete")


@pytest.mark.parametrize("reply", ["html", "empty", "cut by FIN", "cut by RST", "not json", "error in 200", "bad gzip", "ends early, chunked"])
def test_whole_answers_are_checked(lyss, up, up2, name, reply):
    """A reply that is cut or is not JSON is a server failure: 502, or another channel."""
    fields = {"html": dict(body=HTML, content_type="text/html"), "empty": dict(body=b""),
              "cut by FIN": dict(fault="fin", after=40), "cut by RST": dict(fault="rst", after=40),
              "not json": dict(body=b'{"id":"c","choices":['), "error in 200": dict(body=error_body(500)),
              "bad gzip": dict(body=b"not gzip at all", headers=(("Content-Encoding", "gzip"),)),
              "ends early, chunked": dict(body=b'{"id":"c","choi', framing="close")}[reply]
    m = up.on(name(), **fields)
    r = lyss.chat(m)
    assert 500 <= r.status < 600 and r.end == "length" and r.error, r
    row = lyss.row(r.request_id)
    assert row["state"] in ("upstream_error", "incomplete") and row["status"] == r.status
    m = up.on(name("fo"), **fields)
    r = lyss.chat(m)
    assert r.status == 200 and r.header("x-lyss-channel") == "second"
    assert lyss.row(r.request_id)["attempts"] == 2


def test_a_long_whole_answer_commits_and_is_then_closed_short(lyss, up, name):
    m = name()
    body = json.dumps({"id": "c", "choices": [{"message": {"content": "x" * 3_000_000}, "finish_reason": "stop"}]}).encode()
    up.on(m, body=body, fault="fin", after=2_500_000)
    r = lyss.chat(m)
    assert r.status == 200 and r.end in ("cut", "reset") and body.startswith(r.body)
    assert lyss.row(r.request_id)["state"] in ("incomplete", "upstream_error")


def test_a_failure_inside_a_torn_event_adds_nothing(lyss, up, name):
    """Half of a giant event is out already: an in-band event would be taken for a part of it."""
    m = name()
    first = events_for(m)[:3]
    giant = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"' + b"y" * 200_000
    up.on(m, events=tuple(first), after=len(first), fault="fin", tail=giant)

    async def script(r, conn):
        await conn.head(200, [("Transfer-Encoding", "chunked")], "text/event-stream")
        for x in first:
            await conn.chunk(x)
        await conn.chunk(giant)
        r.outcome = "fault"
        conn.fin()
    up.on(m, script)
    r = lyss.stream(m)
    assert r.status == 200 and r.end in ("cut", "reset", "eof")
    assert (b"".join(first) + giant).startswith(r.body) and b"error" not in r.body


@pytest.mark.parametrize("cut", [0, 20, 70_000, 130_000])
def test_a_long_last_event_of_responses_completes(lyss, up, name, cut):
    """It repeats the whole answer, so it is longer than what is held of one event; cut short it is no end."""
    m = name("r")
    delta = sse({"type": "response.output_text.delta", "sequence_number": 1, "delta": "x"}, "response.output_text.delta")
    last = sse({"type": "response.completed", "sequence_number": 2, "response": {
        "id": "r", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "x" * 200_000}]}],
        "usage": {"input_tokens": 7, "output_tokens": 50_000, "total_tokens": 50_007,
                  "input_tokens_details": {"cached_tokens": 3}, "output_tokens_details": {"reasoning_tokens": 1}}}}, "response.completed")

    async def script(r, conn):
        await conn.head(200, [("Transfer-Encoding", "chunked")], "text/event-stream")
        await conn.chunk(delta)
        await conn.chunk(last[:len(last) - cut])
        if cut:
            r.outcome = "fault"
            conn.fin()
        else:
            await conn.end()
    up.on(m, script)
    r = lyss.post("/v1/responses", {"model": m, "input": "hi", "stream": True})
    row = lyss.row(r.request_id)
    if cut:
        assert r.end in ("cut", "reset", "eof") and (delta + last).startswith(r.body) and b"error" not in r.body
        assert row["state"] in ("incomplete", "upstream_error")
    else:
        assert r.end == "chunked" and r.body == delta + last and row["state"] == "completed"
        assert (row["in_uncached"], row["cache_read"], row["out_text"], row["out_reasoning"]) == (4, 3, 49_999, 1)
        assert not row["estimated"]


def test_events_after_the_end_do_not_pass(lyss, up, name):
    m = name()
    good = events_for(m)
    up.on(m, events=(*good, sse({"id": "late", "choices": [{"index": 0, "delta": {"content": "late"}}]})))
    r = lyss.stream(m)
    assert r.status == 200 and r.body == b"".join(good) and r.end == "chunked"
    assert lyss.row(r.request_id)["state"] == "completed"


def test_done_is_not_held_back_by_an_upstream_that_stays_open(lyss, up, name):
    m = name()
    up.on(m, fault="stall", after=len(events_for(m)) + 1)
    with lyss.connect(timeout=slack(2)) as c:
        from lib.http import request_bytes
        from lib.lyss import chat_body
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(m, stream=True), lyss.auth()))
        c.until(b"data: [DONE]\n\n")


@pytest.mark.parametrize("status", [200, 400, 500])
def test_upstream_error_text_is_scrubbed(lyss, up, name, status):
    from lib.upstream import ORG_CANARY, PROVIDER_KEY
    body = error_body(status, f"Incorrect key {PROVIDER_KEY} of {ORG_CANARY}")
    m = up.on(name(), status=status, body=body)
    r = lyss.chat(m)
    assert r.status >= 400 and PROVIDER_KEY.encode() not in r.body and ORG_CANARY.encode() not in r.body


def test_an_in_band_error_is_scrubbed(lyss, up, name):
    from lib.upstream import ORG_CANARY, PROVIDER_KEY
    bad = sse({"error": {"message": f"key {PROVIDER_KEY} of {ORG_CANARY}", "type": "server_error"}})
    m = up.on(name(), after=5, fault="end", tail=bad)
    r = lyss.stream(m)
    assert PROVIDER_KEY.encode() not in r.body and ORG_CANARY.encode() not in r.body and len(no_lie(r).errors) == 1


@pytest.mark.parametrize("raw", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    b"HTTP/2 200\r\n\r\n", b"garbage\r\n\r\n", b"HTTP/1.1 99 X\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28",
])
def test_upstream_breaks_http(lyss, up, name, raw):
    m = name()

    async def script(r, conn):
        await conn.write(raw)
        r.outcome = "fault"
        conn.fin()
    up.on(m, script)
    for stream in (False, True):
        r = lyss.chat(m, stream=stream)
        assert r.status in (502, 503) and r.end == "length", r
    assert lyss.get("/health/live", key=None).status == 200


def test_interim_answers_of_the_upstream_are_skipped(lyss, up, name):
    m = name()

    async def script(r, conn):
        await conn.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n")
        body = Reply(r, Script()).whole()
        await conn.head(200, [("Content-Length", str(len(body)))])
        await conn.write(body)
    up.on(m, script)
    assert lyss.chat(m).status == 200


def test_bytes_behind_an_answer_close_the_upstream(lyss, up, name):
    """A second, unasked answer must never reach the next caller."""
    m, n = name(), name()

    async def script(r, conn):
        body = Reply(r, Script()).whole()
        await conn.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
                         + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    up.on(m, script)
    assert lyss.chat(m).status == 200
    for _ in range(3):
        r = lyss.chat(n)
        assert r.status == 200 and b"poison" not in r.body
