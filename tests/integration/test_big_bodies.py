"""Long bodies in another form: what arrives is the same to the last byte, and a worker's other streams do not wait for it."""
import json
import re

import pytest
from lib.fake import Fake
from lib.http import request_bytes, wait
from lib.lyss import Lyss, sanitized, slack
from lib.upstream import Script, Upstream, play

DATA = "iVBORw0KGgo" + "Ab3+/" * (4 << 20) + "="       # 20 MiB
TEXT = "She said \"no\" – twice –\n\tand left C:\\home, 漢字.\n" * 20000
VECTOR = [round(((n * 7919) % 2000 - 1000) / 9973, 9) for n in range(3072)]
VECTORS = 250                                           # 9 MiB
ANSWER_STALL_S = 0.15 if sanitized() else 0.06
STALL_S = 0.1 if sanitized() else 0.05         # written anew it was several times as much

ANSWERS = {
    "claude": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Seen."}],
               "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}},
    "gemini": {"candidates": [{"content": {"role": "model", "parts": [{"text": "Seen."}]}, "finishReason": "STOP", "index": 0}],
               "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}},
    "responder": {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m",
                  "output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                              "content": [{"type": "output_text", "text": "Seen.", "annotations": []}]}],
                  "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}},
}


class Answers(Upstream):
    """Answers each wire by its path."""

    stray_headers = Fake.stray_headers

    async def answer(self, r, conn):
        if r.path.endswith(":batchEmbedContents"):
            vector = b'{"values":' + json.dumps(VECTOR).encode() + b"}"
            await play(Script(body=b'{"embeddings":[' + b",".join([vector] * len(r.json["requests"])) + b"]}"), r, conn)
            return
        model = "claude" if r.path.endswith("/messages") else "gemini" if ":" in r.path else "responder"
        await play(Script(body=json.dumps(ANSWERS[model]).encode()), r, conn)


@pytest.fixture(scope="module")
def upstream():
    with Answers() as u:
        yield u
    assert u.violations == []


@pytest.fixture(scope="module")
def own(upstream):
    with Lyss(env={"LYSS_WORKERS": "1"}) as l:
        l.channel("anthropic", upstream.url, "claude", provider="anthropic")
        l.channel("google", upstream.url, "gemini", "gemini-embedding-001", provider="google")
        l.channel("responses", upstream.url, "responder", provider="openai", args=("--op", "responses"))
        l.caught_up()
        yield l


def stall(l):
    """The longest turn of the worker's loop since this was last asked for."""
    return float(re.search(rb"lyss_loop_stall_seconds\{[^}]*\} (\S+)", l.get("/metrics", key=None).body)[1])


def content(model):
    """The parts of the user's turn in the form of that upstream."""
    url = "data:image/png;base64," + DATA
    return {
        "claude": [{"type": "text", "text": TEXT},
                   {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}],
        "gemini": [{"text": TEXT}, {"inlineData": {"mimeType": "image/png", "data": DATA}}],
        "responder": [{"type": "input_text", "text": TEXT}, {"type": "input_image", "detail": "auto", "image_url": url}],
    }[model]


@pytest.mark.parametrize("model", ANSWERS)
def test_a_big_body_is_translated_while_others_go_on(own, upstream, model):
    body = json.dumps({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": [
        {"type": "text", "text": TEXT}, {"type": "image_url", "image_url": {"url": "data:image/png;base64," + DATA}}]}]}, ensure_ascii=False).encode()
    stalls = []
    for _ in range(5):
        stall(own)
        r = own.post("/v1/chat/completions", body)
        assert r.status == 200 and r.json["choices"][0]["message"]["content"] == "Seen.", r
        stalls.append(stall(own))
        sent = upstream.requests.pop()
        assert json.dumps(content(model), ensure_ascii=False, separators=(",", ":")).encode() in sent.body
        if stalls[-1] < STALL_S:
            break
    assert min(stalls) < STALL_S, stalls


EMBEDDINGS = {"model": "gemini-embedding-001", "input": ["x"] * VECTORS, "encoding_format": "float"}


def test_a_big_answer_is_translated_while_others_go_on(own):
    stalls = []
    for _ in range(5):
        stall(own)
        r = own.post("/v1/embeddings", EMBEDDINGS)
        stalls.append(stall(own))
        assert r.status == 200 and [d["embedding"] for d in r.json["data"]] == [VECTOR] * VECTORS, r
        if stalls[-1] < ANSWER_STALL_S:
            break
    assert min(stalls) < ANSWER_STALL_S, stalls


@pytest.mark.parametrize("how", ["reset", "close"])
def test_callers_leave_while_a_big_answer_is_read(own, upstream, how):
    for _ in range(8):
        with own.connect() as c:
            c.send(request_bytes("POST", "/v1/embeddings", EMBEDDINGS, own.auth()))
            wait(lambda: upstream.requests and upstream.requests[-1].outcome == "complete", slack(5), "the answer to be sent")
            upstream.requests.clear()
            getattr(c, how)()
    wait(lambda: all(x.endswith(" 0") for x in own.get("/metrics", key=None).body.decode().splitlines() if x.startswith("lyss_channel_in_flight")),
         slack(5), "every slot to be free")
    assert own.post("/v1/embeddings", EMBEDDINGS).status == 200
    upstream.requests.clear()
