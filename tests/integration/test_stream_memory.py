"""What a stream makes Lyss keep counts against memory_budget: an event that is not whole yet, and an answer that the last
event of Responses repeats."""
import json
import re

import pytest
from lib.http import Events, request_bytes, wait
from lib.lyss import Lyss, chat_body
from lib.upstream import Gate, Upstream

MIB = 1 << 20
PIECE = "x" * 16000


def chunk(delta, finish=None):
    doc = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + json.dumps(doc).encode() + b"\n\n"


END = (chunk({}, "stop"), b"data: [DONE]\n\n")


def counted(l):
    return float(re.search(r"^lyss_large_body_bytes ([\d.]+)$", l.get("/metrics", key=None).body.decode(), re.M)[1])


@pytest.fixture(scope="module")
def up():
    with Upstream() as u:
        yield u
    assert u.violations == []


@pytest.fixture(scope="module", params=[3, 64])
def own(request, up):
    with Lyss(env={"LYSS_MEMORY_BUDGET": f"{request.param}MiB", "LYSS_RETRY_BACKOFF_MS": "0"}) as l:
        l.channel("main", up.url, "m-*", args=("--op", "chat"))
        l.caught_up()
        l.roomy = request.param == 64
        yield l


def ask(l, path, body):
    c = l.connect(timeout=60)
    c.send(request_bytes("POST", path, body, l.auth()))
    return c


def test_the_answer_that_the_last_event_repeats(own, up, name):
    gate = Gate()
    m = up.on(name(), events=(*[chunk({"content": PIECE})] * 240, *END), gate=gate, after=150)
    c = ask(own, "/v1/responses", {"model": m, "input": "Hi", "stream": True})
    wait(lambda: counted(own) > 2.2 * MIB, what="150 of 240 pieces to count")
    assert counted(own) < 3 * MIB
    gate.open()
    r = c.response()
    c.close()
    e = Events(r.body)
    if own.roomy:
        assert r.end == "chunked" and e.docs[-1]["type"] == "response.completed"
        assert e.docs[-1]["response"]["output"][0]["content"][0]["text"] == PIECE * 240
    else:
        assert r.end != "chunked" and e.docs[-1]["type"] == "error", e.docs[-1]
    assert own.row(r.request_id)["state"] == ("completed" if own.roomy else "upstream_error")
    wait(lambda: counted(own) == 0, what="all to be given back")


def test_an_event_that_is_not_whole(own, up, name):
    gate = Gate()
    event = chunk({"content": "y" * (3 * MIB)})
    m = up.on(name(), events=(chunk({"content": "a"}), event[:2 * MIB], event[2 * MIB:], *END), gate=gate, after=2)
    c = ask(own, "/v1/messages", {"model": m, "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi"}]})
    wait(lambda: counted(own) >= 2 * MIB, what="the half to count")
    gate.open()
    r = c.response()
    c.close()
    row = own.row(r.request_id)
    if own.roomy:
        assert r.end == "chunked" and "y" * (3 * MIB) in r.body.decode() and row["state"] == "completed"
    else:                                   # its room doubles
        assert r.end != "chunked" and b"message_stop" not in r.body and row["state"] == "upstream_error"
    wait(lambda: counted(own) == 0, what="all to be given back")


def test_small_streams_do_not_count(own, up, name):
    gate = Gate()
    m = up.on(name(), events=(*[chunk({"content": "word "})] * 20, *END), gate=gate, after=10)
    conns = [ask(own, "/v1/responses", {"model": m, "input": "Hi", "stream": True}), ask(own, "/v1/chat/completions", chat_body(m, stream=True))]
    up.wait_request(m)
    assert counted(own) == 0
    gate.open()
    for c in conns:
        assert c.response().end == "chunked"
        c.close()
