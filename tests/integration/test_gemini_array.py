"""streamGenerateContent without alt=sse: one JSON array, sent element by element, closed only when it is whole."""
import json

import pytest
from lib.fake import Playback
from lib.fake.scenario import TEXT
from lib.lyss import Lyss
from lib.upstream import sse

# the caller's model name: what the channel calls it
WIRES = {"gemini": "gemini-2.5-flash", "openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-5"}


@pytest.fixture(scope="module")
def own(fake):
    with Lyss() as l:
        l.channel("gemini", fake.base("gemini"), "gemini=gemini-2.5-flash", provider="google")
        l.channel("openai", fake.base("openai"), "openai=gpt-4o-mini", provider="openai")
        l.channel("anthropic", fake.base("anthropic"), "anthropic=claude-sonnet-4-5", provider="anthropic")
        l.caught_up()
        yield l


def ask(own, model, prompt="Say hello.", query="", body=None, **kw):
    body = body or {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    return own.post(f"/v1beta/models/{model}:streamGenerateContent{query}", body, **kw)


def text(docs):
    return "".join(p.get("text", "") for d in docs for p in d["candidates"][0]["content"].get("parts", []) if not p.get("thought"))


@pytest.mark.parametrize("model", WIRES)
def test_an_array_for_who_does_not_ask_for_events(own, model):
    r = ask(own, model)
    assert r.status == 200 and r.end == "chunked", r
    assert r.header("content-type") == "application/json"
    assert isinstance(r.json, list) and len(r.json) > 2 and text(r.json) == TEXT
    assert [d["candidates"][0]["finishReason"] for d in r.json if d["candidates"][0].get("finishReason")] == ["STOP"]
    events = ask(own, model, query="?alt=sse")
    assert events.header("content-type") == "text/event-stream"
    docs = [json.loads(e[6:]) for e in events.body.decode().split("\r\n\r\n") if e]
    assert text(docs) == TEXT and docs[-1]["usageMetadata"] == r.json[-1]["usageMetadata"]
    row = own.row(r.request_id)
    assert row["state"] == "completed" and row["stream"] == 1


def test_the_upstream_is_asked_for_events(own, fake):
    ask(own, "gemini", "tag:events hello")
    sent = [r for r, e in fake.log if e["tag"] == "events"]
    assert len(sent) == 1 and "alt=sse" in sent[0].query.split("&")


@pytest.mark.parametrize("model", WIRES)
def test_elements_come_as_they_are_made(own, model):
    with own.connect() as c:
        body = json.dumps({"contents": [{"role": "user", "parts": [{"text": "scenario:slow"}]}]})
        c.send(f"POST /v1beta/models/{model}:streamGenerateContent HTTP/1.1\r\nHost: x\r\nx-goog-api-key: {own.key}\r\n"
               f"Content-Length: {len(body)}\r\n\r\n{body}")
        assert c.head().header("content-type") == "application/json"
        first = c.until(b"word0 ") + c.until(b"word1 ")
        assert b"[{" in first and b"word2 " not in first
        c.reset()


@pytest.mark.parametrize("model", WIRES)
def test_a_cut_stream_leaves_the_array_open(own, model):
    r = ask(own, model, "scenario:error-mid")
    assert r.status == 200 and r.end == "cut", r
    with pytest.raises(ValueError):
        json.loads(r.body)
    docs = json.loads(r.body + b"]")
    error = docs[-1]["error"]
    assert error["code"] >= 500 and error["status"] and error["message"]
    assert text(docs[:-1])
    assert own.row(r.request_id)["state"] in ("incomplete", "upstream_error")


@pytest.mark.parametrize("model", WIRES)
def test_an_error_before_the_head_is_an_element_too(own, model):
    r = ask(own, model, "scenario:error-400")
    assert r.status == 400 and r.end == "length"
    assert len(r.json) == 1 and r.json[0]["error"]["status"] == "INVALID_ARGUMENT"
    r = ask(own, model, "scenario:error-400", query="?alt=sse")
    assert r.status == 400 and r.json["error"]["status"] == "INVALID_ARGUMENT"


def test_errors_of_the_gateway(own):
    r = ask(own, "gemini", key=False)
    assert r.status == 401 and r.json[0]["error"]["status"] == "UNAUTHENTICATED"
    r = ask(own, "nothing-of-the-kind")
    assert r.status == 404 and r.json[0]["error"]["status"] == "NOT_FOUND"
    r = ask(own, "gemini", body={"contents": 7})
    assert r.status == 400 and r.json[0]["error"]["code"] == 400
    r = own.post("/v1beta/models/gemini:generateContent", {"contents": 7})
    assert r.status == 400 and r.json["error"]["code"] == 400


def test_events_of_any_size(own):
    """Long events pass in pieces; comments, blank lines and line ends leave no trace."""
    big = "x" * 300_000
    docs = [{"candidates": [{"content": {"parts": [{"text": t}], "role": "model"}, "index": 0}]} for t in ("a", big, "b")]
    last = {"candidates": [{"content": {"parts": [{"text": "c"}], "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 4, "totalTokenCount": 6}}
    with Playback() as up:
        up.piece = 997
        up.events = [sse(docs[0]), b": comment\n\n", b"data: " + json.dumps(docs[1]).encode() + b"\r\n\r\n", b"\n\n",
                     b"data: " + json.dumps(docs[2], indent=1).encode().replace(b"\n", b"\ndata: ") + b"\n\n", sse(last)]
        own.channel("raw", up.url, "raw=gemini-raw", provider="google")
        own.caught_up()
        r = ask(own, "raw", "one two")
        assert up.violations == []
    assert r.status == 200 and r.json == [*docs, last]
    row = own.row(r.request_id)
    assert row["in_uncached"] == 2 and row["state"] == "completed"


def test_no_pings_in_an_array(fake):
    with Lyss(env={"LYSS_PING_MS": "40"}, clock=False) as l:
        l.channel("anthropic", fake.base("anthropic"), "anthropic=claude-sonnet-4-5", provider="anthropic")
        l.caught_up()
        r = ask(l, "anthropic", "scenario:slow")
        assert text(r.json).startswith("word0 word1 ")


def test_a_stored_array_is_replayed_as_it_was(own):
    key = (("Idempotency-Key", "array-1"),)
    first, again = ask(own, "openai", headers=key), ask(own, "openai", headers=key)
    assert first.status == again.status == 200 and first.body == again.body
    assert again.header("x-lyss-idempotency") in ("replayed", "joined") and again.header("content-type") == "application/json"
    assert ask(own, "openai", query="?alt=sse", headers=key).status == 409
