"""Callers and upstreams who mean harm: what they send costs in proportion, teaches nothing it should
not, and is never taken for more than it is."""
import json

import pytest
from lib.http import Events, request_bytes, wait
from lib.lyss import chat_body
from lib.upstream import DONE, sse

MIB = 1 << 20


@pytest.fixture(scope="module")
def one():
    """A gateway of one worker: what holds it up holds everybody up."""
    from lib.lyss import Lyss
    from lib.upstream import Upstream
    with Upstream() as up, Lyss(env={"LYSS_WORKERS": "1"}) as l:
        l.up = up
        l.channel("chat", up.url, "c-*", args=("--op", "chat"))
        l.channel("responses", up.url, "r-*", args=("--op", "responses"))
        l.caught_up()
        yield l
        assert up.violations == []


def test_the_first_long_request_of_a_worker_is_translated(fresh, up, name):
    m = name()
    own = fresh(env={"LYSS_WORKERS": "1"})
    own.channel("chat", up.url, "m-*")
    own.caught_up()
    r = own.post("/v1/messages", {"model": m, "max_tokens": 5, "messages": [{"role": "user", "content": "x" * 2 * MIB}]})
    assert r.status == 200, r
    assert len(up.of(m)[0].json["messages"][0]["content"]) == 2 * MIB


def test_thoughts_without_an_outcome_cost_no_more_than_their_length(one):
    thought = {"type": "reasoning.encrypted", "data": "x", "format": "openai"}
    body = {"model": "r-thoughts", "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "reasoning_details": [thought] * 100000},
        {"role": "user", "content": "y"}]}
    r = one.post("/v1/chat/completions", body)      # in the square of their number it would take minutes
    assert r.status == 200, r
    assert len(one.up.of("r-thoughts")[0].json["input"]) == 2


def test_too_many_parts_are_refused_for_what_they_are(one):
    parts = [{"type": "text", "text": "a"}] * 400000     # 11 MB, and many times that as parts
    r = one.post("/v1/messages", {"model": "c-parts", "max_tokens": 5, "messages": [{"role": "user", "content": parts}]})
    assert r.status == 413 and r.header("retry-after") is None
    assert r.json["error"]["type"] == "request_too_large" and "parts" in r.json["error"]["message"]
    assert "breaker.state" not in one.log_text()
    after = one.chat("c-parts", "and then the next")
    assert after.status == 200 and one.row(after.request_id), after
    assert not one.rows("request_id = ?", (bytes.fromhex(r.request_id.replace("-", "")),))   # never admitted


@pytest.fixture(scope="module")
def gemini(one):
    """One that answers whatever the test sets, on Google's wire."""
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        body, kind = b"", "application/json"

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("Content-Type", self.kind)
            self.send_header("Content-Length", str(len(self.body)))
            self.end_headers()
            self.wfile.write(self.body)

        def log_message(self, *args):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    one.channel("gemini", f"http://127.0.0.1:{server.server_port}", "g-*", provider="google")
    one.caught_up()
    yield Handler
    server.shutdown()


def test_a_long_translated_answer_reaches_a_slow_caller(one, gemini):
    gemini.body = json.dumps({
        "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
            {"text": "look:"}, {"inlineData": {"mimeType": "image/png", "data": "A" * 6 * MIB}}]}}],
        "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 3}}).encode()
    with one.connect(rcvbuf=4096) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body("g-image"), one.auth()))
        wait(lambda: one.rows("model = 'g-image'"), what="the answer to be under way")
        r = c.response()
    assert r.status == 200 and r.complete, r
    assert len(r.json["choices"][0]["message"]["content"]) > 6 * MIB


def test_a_long_end_of_a_stream_reaches_a_slow_caller(one):
    """The last events of Responses hold the whole answer several times over."""
    one.up.on("c-long", text=("\\" * 50000,) * 20)
    with one.connect(rcvbuf=4096) as c:
        c.send(request_bytes("POST", "/v1/responses", {"model": "c-long", "input": "x", "stream": True}, one.auth()))
        r = c.response()
    assert r.status == 200 and r.complete, r
    assert Events(r.body).finishes == ["response.completed"]
    assert one.row(r.request_id)["state"] == "completed"


UNFINISHED = [
    ("c-no-reason", (sse({"choices": [{"index": 0, "delta": {"content": "half"}, "finish_reason": None}]}), DONE)),
    ("c-nothing", (DONE,)),
]


@pytest.mark.parametrize("model,events", UNFINISHED)
@pytest.mark.parametrize("path,body", [
    ("/v1/messages", {"max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}),
    ("/v1/responses", {"input": "x"}),
    ("/v1beta/models/%s:streamGenerateContent?alt=sse", {"contents": [{"parts": [{"text": "x"}]}]})])
def test_no_reason_is_made_up_for_an_answer_that_ends_without_one(one, model, events, path, body):
    one.up.on(model, events=events)
    if "%" in path:
        path %= model
    else:
        body = body | {"model": model, "stream": True}
    r = one.post(path, body)
    assert not r.complete or r.status == 502, r
    for made_up in (b"message_stop", b"response.completed", b"finishReason", b"end_turn"):
        assert made_up not in r.body
    assert one.row(r.request_id)["state"] == "incomplete"
    one.clock.advance(301)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
def test_nor_for_a_whole_one(one, path):
    choice = {"index": 0, "message": {"role": "assistant", "content": "half"}, "finish_reason": None}
    one.up.on("c-whole", body=json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode())
    r = one.post(path, {"model": "c-whole", "max_tokens": 5, "max_output_tokens": 16, "input": "x",
                        "messages": [{"role": "user", "content": "x"}]})
    assert r.status == 502 and "finish reason" in r.json["error"]["message"], r
    assert one.row(r.request_id)["state"] == "incomplete"
    one.clock.advance(301)


@pytest.mark.parametrize("split", [1, 700])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_long_event_in_small_pieces_arrives_whole(one, split, end):
    text = "x" * (5000 if split == 1 else MIB)
    long = sse({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
    last = sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    model = f"c-pieces-{split}-{len(end)}"
    one.up.on(model, events=tuple(e.replace(b"\n", end) for e in (long, last, DONE)), split=split)
    r = one.post("/v1/messages", {"model": model, "max_tokens": 5, "stream": True,
                                  "messages": [{"role": "user", "content": "x"}]})
    assert r.complete and r.body.count(b"message_stop") == 2, r
    assert "".join(d["delta"].get("text", "") for d in Events(r.body).docs if d["type"] == "content_block_delta") == text
