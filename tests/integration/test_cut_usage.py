"""What a stream that is cut has cost: what the upstream reported, and what came behind that report."""
import json

import pytest
from lib.fake import Fake, Playback
from lib.lyss import Lyss
from lib.upstream import Upstream, sse

WORDS = 400


@pytest.fixture(scope="module")
def up():
    with Playback() as u:
        yield u
    assert u.violations == []


@pytest.fixture(scope="module")
def own(up):
    with Lyss(env={"LYSS_ATTEMPTS_MAX": "1"}) as l:
        l.channel("anthropic", up.url, "claude=claude-sonnet-4-5", provider="anthropic")
        l.channel("google", up.url, "gemini=gemini-2.5-flash", provider="google")
        l.channel("compatible", up.url, "other=any", provider="openai-compatible")
        l.caught_up()
        yield l


def message(usage=None, error=False):
    def of(kind, **members):
        return sse({"type": kind, **members}, kind)
    yield of("message_start", message={"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [],
                                       "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 20, "output_tokens": 1}})
    yield of("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for n in range(WORDS):
        yield of("content_block_delta", index=0, delta={"type": "text_delta", "text": f"word{n} "})
    if error:
        yield of("error", error={"type": "overloaded_error", "message": "Overloaded"})
    if usage:
        yield of("content_block_stop", index=0)
        yield of("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": usage})
        yield of("message_stop")


def gemini(last=True):
    for n in range(WORDS):
        doc = {"candidates": [{"content": {"parts": [{"text": f"word{n} "}], "role": "model"}, "index": 0}], "modelVersion": "m"}
        if n == WORDS // 2:
            doc["usageMetadata"] = {"promptTokenCount": 20, "candidatesTokenCount": 300, "totalTokenCount": 320}
        yield sse(doc)


def chat():
    """Usage in its own chunk, and then no end."""
    for n in range(WORDS):
        yield sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "any",
                   "choices": [{"index": 0, "delta": {"content": f"word{n} "}, "finish_reason": None}]})
    yield sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "any", "choices": [],
               "usage": {"prompt_tokens": 20, "completion_tokens": 1234, "total_tokens": 1254}})


TEXT = "".join(f"word{n} " for n in range(WORDS))
COUNTED = len(TEXT) / 3.3


def ask(own, caller, model):
    if caller == "messages":
        return "/v1/messages", {"model": model, "max_tokens": 4000, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    return "/v1/chat/completions", {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


def told(body):
    """The tokens that the error event speaks of."""
    docs = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
    errors = [d["error"] for d in docs if d.get("error")]
    assert len(errors) == 1, docs[-2:]
    return next(v for k, v in errors[0].items() if "tokens" in k)


@pytest.mark.parametrize("error", [False, True])
@pytest.mark.parametrize("caller", ["messages", "chat"])
def test_the_first_event_is_not_the_last_word(own, up, caller, error):
    up.events, up.silent = list(message(error=error)), False
    r = own.post(*ask(own, caller, "claude"))
    own.clock.advance(61)                        # the breaker forgets
    assert r.status == 200 and r.end == "cut", r
    row = own.row(r.request_id)
    assert row["state"] == ("upstream_error" if error else "incomplete")
    assert row["in_uncached"] == 20 and row["estimated"] == 1
    assert 0.6 * COUNTED < row["out_text"] < 1.7 * COUNTED
    assert told(r.body) == row["out_text"]


@pytest.mark.parametrize("caller", ["messages", "chat"])
def test_a_caller_who_goes(own, up, caller):
    up.events, up.silent = list(message()), True
    path, body = ask(own, caller, "claude")
    body = json.dumps(body)
    with own.connect() as c:
        c.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {own.key}\r\nContent-Length: {len(body)}\r\n\r\n{body}")
        id = c.head().header("x-request-id")
        c.until(f"word{WORDS - 1} ".encode())
        c.reset()
    row = own.row(id)
    assert row["state"] == "client_gone" and row["in_uncached"] == 20 and row["estimated"] == 1
    assert 0.6 * COUNTED < row["out_text"] < 1.7 * COUNTED


def test_the_last_word_stands(own, up):
    up.events, up.silent = list(message(usage=1234)), False
    for caller in ("messages", "chat"):
        r = own.post(*ask(own, caller, "claude"))
        assert r.status == 200 and r.end == "chunked", r
        row = own.row(r.request_id)
        assert (row["state"], row["in_uncached"], row["out_text"], row["estimated"]) == ("completed", 20, 1234, 0)


@pytest.mark.parametrize("caller", ["messages", "chat"])
def test_counts_on_the_way(own, up, caller):
    up.events, up.silent = list(gemini()), False
    r = own.post(*ask(own, caller, "gemini"))
    own.clock.advance(61)
    assert r.status == 200 and r.end == "cut", r
    row = own.row(r.request_id)
    assert row["state"] == "incomplete" and row["in_uncached"] == 20 and row["estimated"] == 1
    assert 300 + 0.3 * COUNTED < row["out_text"] < 300 + 0.85 * COUNTED


@pytest.mark.parametrize("caller", ["messages", "chat"])
def test_what_was_told_behind_all_of_it_is_no_estimate(own, up, caller):
    up.events, up.silent = list(chat()), False
    r = own.post(*ask(own, caller, "other"))
    own.clock.advance(61)
    assert r.status == 200 and r.end == "cut", r
    row = own.row(r.request_id)
    assert (row["state"], row["in_uncached"], row["out_text"], row["estimated"]) == ("incomplete", 20, 1234, 0)


SPEAKS_OF_PICTURES = '"inlineData": {"url":"data:image/png;base64,AAAA"} and "b64_json", partial_image_b64, ;base64, '


@pytest.mark.parametrize("text", ["", "word ", SPEAKS_OF_PICTURES, "data:image/png;base64,"])
def test_what_is_not_looked_at(own, up, text):
    """Behind the last report came an event too long to be read: text by its length, a picture as one."""
    part = {"text": text + "word " * 60000} if text else {"inlineData": {"mimeType": "image/png", "data": "A" * 300000}}
    first = {"candidates": [{"content": {"parts": [{"text": "Here: "}], "role": "model"}, "index": 0}],
             "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 5, "totalTokenCount": 25}}
    up.events, up.silent = [sse(first), sse({"candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}]})], False
    r = own.post("/v1beta/models/gemini:streamGenerateContent?alt=sse", {"contents": [{"role": "user", "parts": [{"text": "Draw"}]}]})
    assert r.status == 200 and r.end == "cut", r
    row = own.row(r.request_id)
    own.clock.advance(301)          # once the failure has counted: the breaker is to forget it
    assert row["state"] == "incomplete" and row["estimated"] == 1
    assert 60000 < row["out_text"] < 130000 if text else 5 < row["out_text"] < 3000


@pytest.mark.parametrize("delta", [
    {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 300000}}]},
    {"content": "the url\":\"data:image/png;base64," + "word " * 60000}])
def test_a_picture_by_its_url(own, up, delta):
    """As some put it into a delta; and a text about one."""
    first, long = [{"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "any",
                    "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in ({"content": "Here: "}, delta)]
    up.events, up.silent = [sse(first), sse(long)], False
    r = own.post(*ask(own, "chat", "other"))
    assert r.status == 200 and r.end == "cut", r
    row = own.row(r.request_id)
    own.clock.advance(301)          # once the failure has counted: the breaker is to forget it
    assert row["state"] == "incomplete" and row["estimated"] == 1
    assert 60000 < row["out_text"] < 130000 if "content" in delta else 5 < row["out_text"] < 3000


class Long(Upstream):
    """An answer too long to be held, with its counts at the end."""

    stray_headers = Fake.stray_headers
    body = b""

    async def answer(self, r, conn):
        await conn.head(200, (("Content-Length", str(len(self.body))),))
        await conn.write(self.body)


PICTURE = "A" * (2 << 20)
LONG = {
    "gemini": {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": PICTURE}}], "role": "model"},
                               "finishReason": "STOP", "index": 0}],
               "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 1290, "totalTokenCount": 1310,
                                 "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]},
               "modelVersion": "gemini-2.5-flash", "responseId": "r"},
    "claude": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "end_turn",
               "content": [{"type": "text", "text": PICTURE}], "usage": {"input_tokens": 20, "output_tokens": 1290}}}


@pytest.mark.parametrize("model", LONG)
def test_counts_at_the_end_of_what_is_not_held(own, model):
    with Long() as u:
        u.body = json.dumps(LONG[model]).encode()
        provider = "google" if model == "gemini" else "anthropic"
        own.channel(f"long-{model}", u.url, f"long-{model}=m", provider=provider)
        own.caught_up()
        if model == "gemini":
            r = own.post("/v1beta/models/long-gemini:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Draw"}]}]})
        else:
            r = own.post("/v1/messages", {"model": "long-claude", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})
        assert r.status == 200 and r.json == LONG[model]
        assert u.violations == []
    row = own.row(r.request_id)
    assert (row["state"], row["in_uncached"], row["out_text"], row["estimated"]) == ("completed", 20, 1290, 0)
