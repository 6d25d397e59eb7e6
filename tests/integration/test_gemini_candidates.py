"""Streams of several answers: complete when each has said why it ended, and not before."""
import json

import pytest
from lib.fake import Fake, Playback
from lib.lyss import Lyss
from lib.upstream import Upstream, sse


@pytest.fixture(scope="module")
def up():
    with Playback() as u:
        yield u
    assert u.violations == []


@pytest.fixture(scope="module")
def own(up):
    with Lyss(env={"LYSS_ATTEMPTS_MAX": "1"}) as l:
        l.channel("google", up.url, "two=gemini-2.5-flash", provider="google")
        l.channel("compatible", up.url, "pair=any", provider="openai-compatible")
        l.caught_up()
        yield l


def part(text, index, finish=None, out=0):
    c = {"content": {"parts": [{"text": text}] if text else [], "role": "model"}, "index": index}
    if finish:
        c["finishReason"] = finish
    usage = {"promptTokenCount": 3, "candidatesTokenCount": out, "totalTokenCount": 3 + out}
    return {"candidates": [c]} | ({"usageMetadata": usage} if out else {})


def ask(own, caller):
    if caller == "gemini":
        return own.post("/v1beta/models/two:streamGenerateContent?alt=sse", {
            "contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"candidateCount": 2}})
    return own.post("/v1/chat/completions", {"model": "two", "messages": [{"role": "user", "content": "Hi"}], "n": 2, "stream": True})


def texts(caller, body):
    got = {}
    for line in body.split(b"\n"):
        doc = json.loads(line[6:]) if line.startswith(b"data: {") else {}
        for c in doc.get("candidates", []):
            got[c["index"]] = got.get(c["index"], "") + "".join(p.get("text", "") for p in c["content"].get("parts", []))
        for c in doc.get("choices", []):
            got[c["index"]] = got.get(c["index"], "") + (c["delta"].get("content") or "")
    return got


@pytest.mark.parametrize("caller", ["gemini", "chat"])
@pytest.mark.parametrize("events", [
    [part("a", 0), part("A", 0, "STOP", 1), part("b", 1), part("B", 1, "STOP", 4)],
    [part("a", 0), part("b", 1), part("A", 0, "STOP", 1), part("B", 1, "STOP", 4)],
    [part("b", 1), part("a", 0), part("A", 0, "STOP", 2), part("B", 1), part("", 1, "MAX_TOKENS", 4)]])
def test_nothing_of_the_second_is_lost(own, up, caller, events):
    up.events = events
    r = ask(own, caller)
    assert r.status == 200 and r.end == "chunked", r
    assert texts(caller, r.body) == {0: "aA", 1: "bB"}
    row = own.row(r.request_id)
    assert (row["state"], row["in_uncached"], row["out_text"], row["estimated"]) == ("completed", 3, 4, 0)


@pytest.mark.parametrize("caller", ["gemini", "chat"])
def test_a_cut_behind_the_first_finish(own, up, caller):
    up.events = [part("a", 0), part("b", 1), part("A", 0, "STOP", 1), part("B", 1)]
    r = ask(own, caller)
    own.clock.advance(61)                        # the breaker forgets
    assert r.status == 200 and r.end == "cut", r
    assert b"[DONE]" not in r.body and b'"error"' in r.body
    assert own.row(r.request_id)["state"] == "incomplete"


@pytest.mark.parametrize("caller", ["gemini", "chat"])
@pytest.mark.parametrize("last", [part("A", 0, "STOP", 1), part("A", 0, "STOP")])
def test_an_answer_that_never_began(own, up, caller, last):
    """Fewer may come than were asked for; and counts may never come: the body's end is the stream's."""
    up.events = [part("a", 0), last]
    r = ask(own, caller)
    assert r.status == 200 and r.end == "chunked", r
    assert texts(caller, r.body) == {0: "aA"} and b'"error"' not in r.body
    assert own.row(r.request_id)["state"] == "completed"


def chunk(text, index, finish=None):
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "any",
            "choices": [{"index": index, "delta": {"content": text} if text else {}, "finish_reason": finish}]}


def test_no_finish_is_made_up(own, up):
    """[DONE] while the second answer never said why it ended: a caller whose form wants a reason is told so."""
    def gemini():
        return own.post("/v1beta/models/pair:streamGenerateContent?alt=sse", {
            "contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"candidateCount": 2}})
    up.events = [chunk("a", 0), chunk("b", 1), chunk("", 0, "stop"), "[DONE]"]
    r = gemini()
    own.clock.advance(61)
    assert r.status == 200 and r.end == "cut" and b"finishReason" not in r.body, r
    assert own.row(r.request_id)["state"] == "incomplete"
    up.events = [chunk("a", 0), chunk("b", 1), chunk("", 0, "stop"), chunk("", 1, "length"), "[DONE]"]
    r = gemini()
    assert r.status == 200 and r.end == "chunked" and r.body.count(b"finishReason") == 2, r


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("array", [False, True])
def test_the_last_event_is_too_long_to_be_read(own, up, array, counts):
    """A picture, the finish and the counts in one event: its last bytes tell."""
    picture = part("", 0, "STOP", 1290 if counts else 0)
    picture["candidates"][0]["content"]["parts"] = [{"inlineData": {"mimeType": "image/png", "data": "A" * 300000}},
                                                     {"text": 'not a "finishReason": "MAX_TOKENS"'}]
    up.events = [part("Here: ", 0), picture]
    ask = {"contents": [{"role": "user", "parts": [{"text": "Draw"}]}]}
    r = own.post("/v1beta/models/two:streamGenerateContent" + ("" if array else "?alt=sse"), ask)
    assert r.status == 200 and r.end == "chunked", (r.end, r.body[-300:])
    docs = r.json if array else [json.loads(line[6:]) for line in r.body.split(b"\n") if line.startswith(b"data: {")]
    assert docs == list(up.events)
    row = own.row(r.request_id)
    assert row["state"] == "completed" and row["estimated"] == (not counts)
    assert not counts or (row["in_uncached"], row["out_text"]) == (3, 1290)


def test_a_long_event_without_a_finish(own, up):
    long = part("x" * 100000, 0)
    up.events = [part("a", 0), long]
    r = own.post("/v1beta/models/two:streamGenerateContent?alt=sse", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
    own.clock.advance(61)
    assert r.status == 200 and r.end == "cut" and own.row(r.request_id)["state"] == "incomplete", r.body[-300:]
    up.events = [part("a", 0), long, part("b", 0, "STOP", 7)]
    r = own.post("/v1beta/models/two:streamGenerateContent?alt=sse", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
    assert r.end == "chunked" and own.row(r.request_id)["out_text"] == 7, r.body[-300:]


def call(args, index, finish=None, index_first=False, out=0):
    """A call too long to be held, whose arguments are the model's own text."""
    c = {"content": {"parts": [{"functionCall": {"name": "save", "args": {"text": "x" * 300000} | args}}], "role": "model"}}
    if finish:
        c["finishReason"] = finish
    c = {"index": index} | c if index_first else c | {"index": index}
    usage = {"promptTokenCount": 3, "candidatesTokenCount": out, "totalTokenCount": 3 + out}
    return {"candidates": [c], "usageMetadata": usage, "modelVersion": "m"}


@pytest.mark.parametrize("piece", [1 << 20, 1000])
@pytest.mark.parametrize("args", [
    {"finishReason": "STOP"}, {"finishReason": "STOP", "index": 0}, {"a": [{"finishReason": "STOP"}]},
    {"candidates": [{"finishReason": "STOP"}]}, {'}]}"finishReason': "STOP"}, {"a": '"}]}\\', "finishReason": "STOP"},
    {"a": '"finishReason":"STOP"}]}'}])
def test_an_end_that_the_model_has_made_up(own, up, args, piece):
    up.events, up.piece = [call(args, 0, out=5), part("b", 0, "STOP", 77)], piece
    r = own.post("/v1beta/models/two:streamGenerateContent?alt=sse", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
    up.piece = Playback.piece
    assert r.status == 200 and r.end == "chunked", r.body[-300:]
    assert [json.loads(line[6:]) for line in r.body.split(b"\n") if line.startswith(b"data: {")] == up.events
    row = own.row(r.request_id)
    assert (row["state"], row["out_text"], row["estimated"]) == ("completed", 77, 0)


@pytest.mark.parametrize("first", [False, True])
def test_the_end_of_another_candidate(own, up, first):
    """The index stands on either side of the reason, and on either side of what is long."""
    up.events = [part("a", 0), call({}, 1, "STOP", first, out=5), part("A", 0, "STOP", 77)]
    r = ask(own, "gemini")
    assert r.status == 200 and r.end == "chunked", r.body[-300:]
    row = own.row(r.request_id)
    assert (row["state"], row["out_text"], row["estimated"]) == ("completed", 77, 0)
    up.events = [part("a", 0), call({}, 1, "STOP", first, out=5), part("A", 0)]
    r = ask(own, "gemini")
    own.clock.advance(61)
    assert r.end == "cut" and own.row(r.request_id)["state"] == "incomplete", r.body[-300:]


def test_two_candidates_in_one_long_event(own, up):
    """Of both the end is told, if not the first one's text."""
    long = call({}, 0, out=5)
    long["candidates"].append(part("b", 1, "STOP")["candidates"][0])
    up.events = [long, part("A", 0, "STOP", 77)]
    r = ask(own, "gemini")
    assert r.status == 200 and r.end == "chunked" and own.row(r.request_id)["out_text"] == 77, r.body[-300:]
    long["candidates"][0]["finishReason"] = "STOP"
    up.events = [long]
    r = ask(own, "gemini")
    assert r.status == 200 and r.end == "chunked" and own.row(r.request_id)["out_text"] == 5, r.body[-300:]


def test_an_error_at_the_end_of_a_long_event(own, up):
    """It is told as what it is, behind the whole event."""
    long = call({}, 0, "MALFORMED_FUNCTION_CALL", out=5)
    up.events = [long, part("lost", 0)]
    r = own.post("/v1beta/models/two:streamGenerateContent?alt=sse", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
    own.clock.advance(61)
    docs = [json.loads(line[6:]) for line in r.body.split(b"\n") if line.startswith(b"data: {")]
    assert r.end == "cut" and docs[0] == long and "malformed" in docs[1]["error"]["message"] and len(docs) == 2, r.body[-300:]
    assert own.row(r.request_id)["state"] == "upstream_error"


class Whole(Upstream):
    stray_headers = Fake.stray_headers

    async def answer(self, r, conn):
        body = json.dumps(part("Hal", 0)).encode()
        await conn.head(200, (("Content-Length", str(len(body))),))
        await conn.write(body)


def test_a_whole_answer_without_a_reason(own):
    """Of the caller's own form it passes as it came; another form wants a reason, and none is made up."""
    with Whole() as u:
        own.channel("whole", u.url, "whole=gemini-2.5-flash", provider="google")
        own.caught_up()
        r = own.chat("whole")
        assert r.status == 502 and own.row(r.request_id)["state"] == "incomplete", r
        own.clock.advance(61)
        r = own.post("/v1beta/models/whole:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
        assert r.status == 200 and r.json == part("Hal", 0) and own.row(r.request_id)["state"] == "completed", r
        assert u.violations == []
