"""The fake upstream itself: an oracle must be right, and its faults must be faults."""
import pytest
from lib.http import Client, Events, request_bytes
from lib.lyss import chat_body
from lib.upstream import PIECES, PROVIDER_KEY, Upstream, count, recording_events, recordings

AUTH = (("Authorization", f"Bearer {PROVIDER_KEY}"), ("Accept-Encoding", "identity"))


@pytest.fixture
def own():
    with Upstream() as u:
        yield u


def ask(u, headers=AUTH, path="/v1/chat/completions", **fields):
    with Client("127.0.0.1", u.port, timeout=2) as c:
        return c.request("POST", path, chat_body("x", **fields), headers)


def test_good_answers(own):
    r = ask(own, stream=True, stream_options={"include_usage": True})
    e = Events(r.body)
    assert r.end == "chunked" and e.done and e.text == "".join(PIECES)
    assert e.docs[-1]["usage"] == own.requests[0].usage and e.docs[-1]["choices"] == []
    assert e.docs[-1]["usage"]["completion_tokens"] == len(PIECES)
    assert ask(own).json["usage"]["prompt_tokens"] == count(chat_body("x")["messages"]) == 5
    assert own.violations == [] and own.connections == 2


@pytest.mark.parametrize("fault, end", [("fin", "cut"), ("rst", "reset"), ("end", "chunked"), ("half", "cut")])
def test_faults(own, fault, end):
    own.on("x", fault=fault, after=3)
    r = ask(own, stream=True)
    assert r.end == end and not Events(r.body).done and len(Events(r.body).data) == 3


def test_a_whole_body_can_be_cut(own):
    own.on("x", fault="fin", after=20)
    assert ask(own).end == "cut"


def test_it_sees_what_must_not_be_sent(own):
    ask(own, (*AUTH, ("Keep-Alive", "1")))
    ask(own, (AUTH[0], ("Accept-Encoding", "gzip")))
    with Client("127.0.0.1", own.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", b"{", AUTH))
        c.response()
    assert ask(own, (("Authorization", "Bearer wrong"),)).status == 401
    assert len(own.violations) == 3, own.violations


def test_it_knows_when_the_other_side_left(own):
    own.on("x", fault="stall", after=3)
    c = Client("127.0.0.1", own.port)
    c.send(request_bytes("POST", "/v1/chat/completions", chat_body("x", stream=True), AUTH))
    c.until(PIECES[0].encode())
    assert own.requests[0].gone_at is None
    c.close()
    own.wait(lambda: own.requests[0].gone_at)


def test_recordings_are_framed(own):
    for file, path in recordings():
        if file.endswith(".chunks.txt"):
            events, op = recording_events(path)
            assert events and op and all(e.endswith(b"\n\n") for e in events)
