"""Same dialect on both sides: bytes are edited, never re-serialised; unknown fields survive."""
import json
import re

import pytest
from lib.fake import Fake
from lib.http import Events
from lib.upstream import DONE, Reply, Script, recording_events, recordings, sse

ODD = ('{ "zeta" : [1.0, 1e2, -0, 1E+2, 12345678901234567890],\t"model":"%s",\r\n "messages":[{"role":"user","content":'
       '"\\u00e9\\/ \\ud83d\\ude00 é😀"}] , "unknown_field":{"deep":[null,true,{"x":"y"}]},"temperature":0.70000000000000001 }')


def ask(lyss, model, text, path="/v1/chat/completions"):
    return lyss.post(path, text.encode())


def test_a_whole_request_is_untouched(lyss, up, name):
    m = name()
    text = ODD % m
    assert ask(lyss, m, text).status == 200
    assert up.of(m)[0].body == text.encode()


def test_only_the_model_is_edited(lyss, up):
    before = len(up.of("up-mapped"))
    text = ODD % "mapped"
    assert ask(lyss, "mapped", text).status == 200
    assert up.of("up-mapped")[before].body == text.replace('"mapped"', '"up-mapped"').encode()


def test_a_model_name_with_escapes_is_the_same_name(lyss, up, name):
    m = name()
    escaped = "\\u006d" + m[1:]
    assert ask(lyss, m, ODD % escaped).status == 200
    assert up.of(m)[0].json["model"] == m


def test_stream_usage_is_asked_for_and_swallowed(lyss, up, name):
    m = name()
    text = (ODD % m)[:-1] + ',"stream":true}'
    r = ask(lyss, m, text)
    sent = up.of(m)[0]
    assert sent.json["stream_options"] == {"include_usage": True}
    without = {k: v for k, v in sent.json.items() if k != "stream_options"}
    assert without == json.loads(text)
    assert re.sub(rb'"stream_options":\{"include_usage":true\},?', b"", sent.body, count=1) == text.encode()
    e = Events(r.body)
    assert e.done and not [d for d in e.docs if d["choices"] == []]
    expected = [x for x in Reply(sent, Script()).events() if b'"choices":[]' not in x]
    assert r.body == b"".join(expected)
    assert lyss.row(r.request_id)["out_text"] > 0


@pytest.mark.parametrize("options, asked", [('{"include_usage":true}', True), ('{ "include_usage" : false }', False), ("{}", False),
                                            ('{"include_obfuscation":false}', False), ("null", False)])
def test_stream_options_of_the_caller(lyss, up, name, options, asked):
    m = name()
    text = '{"model":"%s","stream":true,"stream_options":%s,"messages":[{"role":"user","content":"x"}]}' % (m, options)
    r = ask(lyss, m, text)
    assert r.status == 200, r
    sent = up.of(m)[0]
    assert sent.json["stream_options"] == (json.loads(options) or {}) | {"include_usage": True}
    e = Events(r.body)
    assert bool([d for d in e.docs if d["choices"] == []]) == asked
    if asked:
        assert sent.body == text.encode()
        assert r.body == b"".join(Reply(sent, Script()).events())


def test_the_usage_chunk_before_the_finish_counts_too(lyss, up, name):
    m = name()
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": m}
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    role = sse(base | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "hi"}, "finish_reason": None}]})
    last = sse(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage})
    up.on(m, events=(role, sse(base | {"choices": [], "usage": usage}), last, DONE))
    r = lyss.stream(m)
    assert r.body == role + last + DONE
    row = lyss.row(r.request_id)
    assert (row["in_uncached"], row["out_text"], row["state"]) == (11, 7, "completed")


@pytest.mark.parametrize("how", ["crlf", "comments", "no-space", "two-data-lines", "retry-and-id", "cr-split"])
def test_unusual_but_legal_streams(lyss, up, name, how):
    m = name()
    made = Reply(type("R", (), {"json": {"model": m}, "model": m, "op": "chat/completions", "body": b""})(), Script()).events()
    edit = {"crlf": lambda x: x.replace(b"\n", b"\r\n"), "comments": lambda x: b": keep-alive\n\n" + x,
            "no-space": lambda x: x.replace(b"data: ", b"data:"),
            "two-data-lines": lambda x: x.replace(b',"choices"', b',\ndata: "choices"'),
            "retry-and-id": lambda x: b"id: 7\nretry: 10\n" + x, "cr-split": lambda x: x.replace(b"\n", b"\r\n")}[how]
    up.on(m, events=tuple(edit(x) for x in made), split=1 if how == "cr-split" else 0)
    r = lyss.stream(m)
    assert r.status == 200 and r.end == "chunked"
    assert lyss.row(r.request_id)["state"] == "completed"
    e = Events(r.body)
    assert e.done and e.text == "".join(Script().text)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("split", [0, 1, 7])
def test_every_framing_of_the_upstream(lyss, up, name, framing, split):
    m = up.on(name(), framing=framing, split=split)
    for stream in (False, True):
        r = lyss.chat(m, stream=stream)
        assert r.status == 200 and r.complete, (stream, r)
        assert lyss.row(r.request_id)["state"] == "completed"


def test_a_gzip_reply_is_decoded(lyss, up, name):
    m = up.on(name(), gzip=True)
    r = lyss.chat(m)
    assert r.status == 200 and r.header("content-encoding") is None
    assert r.json["choices"][0]["message"]["content"] == "".join(Script().text)
    assert lyss.row(r.request_id)["out_text"] > 0


@pytest.mark.parametrize("size", [40_000, 70_000, 300_000])
def test_big_events(lyss, up, name, size):
    """Beyond 64 KiB an event is forwarded raw; nothing is lost or changed."""
    m = name()
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": m}
    events = tuple(sse(base | {"choices": [{"index": 0, "delta": {"content": c * n}, "finish_reason": f}]})
                   for c, n, f in (("a", 5, None), ("b", size, None), ("c", 5, None), ("", 1, "stop"))) + (DONE,)
    up.on(m, events=events)
    r = lyss.stream(m)
    assert r.status == 200 and r.body == b"".join(events) and r.end == "chunked"
    assert lyss.row(r.request_id)["state"] == "completed"


@pytest.mark.parametrize("size", [1_000_000, 3_000_000])
def test_big_whole_bodies(lyss, up, name, size):
    m = name()
    doc = {"id": "c", "object": "chat.completion", "model": m, "created": 1, "usage": {"prompt_tokens": 3, "completion_tokens": 5},
           "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * size}, "finish_reason": "stop"}]}
    body = json.dumps(doc).encode()
    up.on(m, body=body)
    prompt = "p" * size
    r = lyss.post("/v1/chat/completions", {"model": m, "messages": [{"role": "user", "content": prompt}]})
    assert r.status == 200 and r.body == body
    assert len(up.of(m)[0].json["messages"][0]["content"]) == size
    assert lyss.row(r.request_id)["state"] == "completed"


# recordings ------------------------------------------------------------------

STREAMS = [(n, p) for n, p in recordings() if n.endswith(".chunks.txt")]
BODIES = [(n, p) for n, p in recordings() if n.endswith(".json")]
needs_recordings = pytest.mark.skipif(not recordings(), reason="LYSS_FIXTURES names no recordings")
OPS = {"chat/completions": "chat", "completions": "completions", "responses": "responses"}


def request_for(op, model, stream, **kw):
    key = {"chat/completions": "messages", "completions": "prompt", "responses": "input", "embeddings": "input"}[op]
    value = [{"role": "user", "content": "x"}] if key == "messages" else "x"
    return {"model": model, key: value, **({"stream": True} if stream else {}), **kw}


def counters(u):
    """The disjoint counters of a recorded usage object."""
    if "prompt_tokens" in u:
        d, c = u.get("prompt_tokens_details") or {}, u.get("completion_tokens_details") or {}
        read, out = u["prompt_tokens"], u.get("completion_tokens", 0)
    else:
        d, c = u.get("input_tokens_details") or {}, u.get("output_tokens_details") or {}
        read, out = u["input_tokens"], u["output_tokens"]
    audio_in, audio_out = d.get("audio_tokens") or 0, c.get("audio_tokens") or 0
    cached, reasoning = d.get("cached_tokens") or 0, c.get("reasoning_tokens") or 0
    return {"in_uncached": read - cached - audio_in, "cache_read": cached, "audio_in": audio_in,
            "out_text": out - reasoning - audio_out, "out_reasoning": reasoning, "audio_out": audio_out}


def last_usage(docs):
    found = None
    for d in docs:
        u = d.get("usage") or (d.get("response") or {}).get("usage")
        found = u or found
    return found


def first_answer(events):
    """Some recordings hold two answers, one behind the other: in one stream the first is all."""
    for i, x in enumerate(events):
        if x.startswith((b"event: response.completed", b"event: response.failed", b"event: response.incomplete")):
            return events[:i + 1]
    return events


def play_recording(lyss, up, m, path, split=0):
    events, op = recording_events(path)
    events = first_answer(events)
    docs, broken = [], False
    for x in events:
        try:
            docs += [json.loads(x.split(b"data: ", 1)[1])] if b"[DONE]" not in x else []
        except ValueError:
            broken = True
    failed = broken or any(d.get("type") in ("error", "response.failed") for d in docs)
    if op == "responses":
        m = m.replace("m-", "r-")
    up.on(m, events=tuple(events), split=split)
    kw = {} if op == "responses" else {"stream_options": {"include_usage": True}}
    r = lyss.post("/v1/" + op, request_for(op, m, True, **kw))
    return r, events, docs, failed


@needs_recordings
@pytest.mark.parametrize("file, path", STREAMS, ids=[n for n, _ in STREAMS])
@pytest.mark.parametrize("split", [0, 1], ids=["", "bytewise"])
def test_recorded_stream(lyss, up, name, file, path, split):
    if split and len(open(path, "rb").read()) > 40_000:
        split = 13                                   # the long ones in small pieces
    r, events, docs, failed = play_recording(lyss, up, name(), path, split)
    if failed:
        row = lyss.row(r.request_id)
        assert row["state"] == "upstream_error"
        assert r.status != 200 or (r.end == "cut" and Events(r.body).errors)
        return
    assert r.status == 200 and r.end == "chunked"
    assert r.body == b"".join(events)
    row, u = lyss.row(r.request_id), last_usage(docs)
    assert row["state"] in ("completed", "incomplete")
    if u:
        assert {k: row[k] for k in counters(u)} == counters(u)


@needs_recordings
@pytest.mark.parametrize("file, path", BODIES, ids=[n for n, _ in BODIES])
def test_recorded_body(lyss, up, name, file, path):
    body = open(path, "rb").read()
    doc = json.loads(body)
    m, op = name(), "chat/completions"
    if doc.get("object") == "response":
        m, op = name("r"), "responses"
    elif doc.get("object") == "text_completion":
        op = "completions"
    elif doc.get("object") == "list":
        op = "embeddings"
    elif "data" in doc:
        pytest.skip("an operation that is not served yet")
    error = "error" in doc and doc["error"]
    up.on(m, body=body, status=400 if error else 200)
    r = lyss.post("/v1/" + op, request_for(op, m, False))
    if error and doc["error"].get("code") == "insufficient_quota":
        assert r.status == 502 and r.error["code"] == "provider_credential_error"
    elif error:
        assert r.status == 400 and r.error["message"] == doc["error"]["message"]
        assert r.error["code"] == doc["error"]["code"]
    else:
        assert r.status == 200 and r.body == body
        if doc.get("usage"):
            row = lyss.row(r.request_id)
            assert {k: row[k] for k in counters(doc["usage"])} == counters(doc["usage"])


def test_a_schema_goes_in_words_where_it_cannot_be_sent(world, name):
    """DeepSeek knows JSON output but no schema, and answers 400 unless the prompt speaks of JSON."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
    m = name("ds")
    with Fake() as fake:
        world.channel(m, fake.base("deepseek"), f"{m}=deepseek-chat", provider="deepseek")
        world.caught_up()
        r = world.post("/v1/chat/completions", {
            "model": m, "messages": [{"role": "user", "content": "Where? tag:ds-words"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}})
        world.cli("channel", "rm", m, "--yes", "--data", world.data, check=False)
        assert r.status == 200 and r.header("x-lyss-dropped-params") == "response_format.json_schema", r
        assert fake.oracle("ds-words")[0]["refused"] is None
        sent = fake.log[-1][0].json
        assert sent["response_format"] == {"type": "json_object"} and '"city"' in sent["messages"][0]["content"]
