"""What callers see of a healthy gateway: operations, aliases, credentials, headers, models."""
import json
import re

import pytest
from lib.http import Events, wait
from lib.lyss import chat_body
from lib.upstream import COMPLETION_CANARY, PIECES, PROVIDER_KEY

TEXT = "".join(PIECES)
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def totals(row):
    return (row["in_uncached"] + row["cache_read"], row["out_text"] + row["out_reasoning"])


def test_chat_whole(lyss, up, name):
    m = name()
    r = lyss.chat(m)
    assert r.status == 200 and r.end == "length"
    assert r.header("content-type") == "application/json"
    assert r.json["choices"][0]["message"]["content"] == TEXT
    sent = up.of(m)[0]
    assert sent.path == "/v1/chat/completions"
    assert sent.header("authorization") == f"Bearer {PROVIDER_KEY}"
    assert sent.header("content-type") == "application/json"
    row = lyss.row(r.request_id)
    assert row["state"] == "completed" and row["status"] == 200
    u = sent.usage
    assert row["cache_read"] == u["prompt_tokens_details"]["cached_tokens"]
    assert row["out_reasoning"] == u["completion_tokens_details"]["reasoning_tokens"]
    assert totals(row) == (u["prompt_tokens"], u["completion_tokens"])
    assert not row["estimated"]


def test_chat_streamed(lyss, up, name):
    m = name()
    r = lyss.stream(m)
    assert r.status == 200 and r.end == "chunked"
    assert r.header("content-type").startswith("text/event-stream")
    e = Events(r.body)
    assert e.text == TEXT and e.done and e.finishes == ["stop"] and not e.errors
    row = lyss.row(r.request_id)
    u = up.of(m)[0].usage
    assert row["state"] == "completed"
    assert totals(row) == (u["prompt_tokens"], u["completion_tokens"])


@pytest.mark.parametrize("stream", [False, True])
def test_completions(lyss, up, name, stream):
    m = name()
    r = lyss.post("/v1/completions", {"model": m, "prompt": "Once upon a time", "stream": stream})
    assert r.status == 200
    got = Events(r.body).text if stream else r.json["choices"][0]["text"]
    assert got == TEXT
    u = up.of(m)[0].usage
    assert totals(lyss.row(r.request_id)) == (u["prompt_tokens"], u["completion_tokens"])


def test_embeddings(lyss, up, name):
    m = name()
    r = lyss.post("/v1/embeddings", {"model": m, "input": ["one two", "three"], "encoding_format": "base64"})
    assert r.status == 200 and len(r.json["data"]) == 2 and isinstance(r.json["data"][0]["embedding"], str)
    assert totals(lyss.row(r.request_id)) == (up.of(m)[0].usage["prompt_tokens"], 0)


@pytest.mark.parametrize("stream", [False, True])
def test_responses(lyss, up, name, stream):
    m = name("r")
    r = lyss.post("/v1/responses", {"model": m, "input": "Say hello to all", "stream": stream})
    assert r.status == 200, r
    if stream:
        e = Events(r.body)
        assert e.text == TEXT and e.finishes == ["response.completed"] and not e.done
        assert [d["sequence_number"] for d in e.docs] == list(range(len(e.docs)))
        assert all(x.startswith(b"event: response.") for x in e.raw)
    else:
        assert r.json["output"][0]["content"][0]["text"] == TEXT
    assert "stream_options" not in up.of(m)[0].json
    u = up.of(m)[0].usage
    assert totals(lyss.row(r.request_id)) == (u["input_tokens"], u["output_tokens"])


@pytest.mark.parametrize("stream", [False, True])
def test_responses_where_the_upstream_speaks_chat_only(lyss, up, name, stream):
    m = name()
    r = lyss.post("/v1/responses", {"model": m, "input": "hello", "stream": stream})
    assert r.status == 200, r
    if stream:
        e = Events(r.body)
        assert e.text == TEXT and e.finishes == ["response.completed"] and not e.done
    else:
        assert r.json["output"][0]["content"][0]["text"] == TEXT
    asked = up.of(m)[0]
    assert asked.path.endswith("/chat/completions")
    assert asked.json["messages"] == [{"role": "user", "content": "hello"}]
    u = asked.usage
    assert totals(lyss.row(r.request_id)) == (u["prompt_tokens"], u["completion_tokens"])


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls(lyss, up, name, n, stream):
    m = up.on(name(), tools=n)
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    r = lyss.chat(m, tools=tools, stream=stream)
    assert r.status == 200
    if stream:
        e = Events(r.body)
        assert e.finishes == ["tool_calls"] and e.done
        args = [""] * n
        for d in e.docs:
            for c in d["choices"]:
                for t in c["delta"].get("tool_calls", ()):
                    args[t["index"]] += t["function"]["arguments"]
    else:
        args = [t["function"]["arguments"] for t in r.json["choices"][0]["message"]["tool_calls"]]
    assert args == [f'{{"city": "City {i}", "unit": "C"}}' for i in range(n)]


# aliases ---------------------------------------------------------------------

CHAT_ALIASES = ["/v1/chat/completions", "/api/v1/chat/completions", "/api/v1/proxy/chat/completions",
                "/openai/v1/chat/completions", "/openai/chat/completions?api-version=2024-10-21"]


@pytest.mark.parametrize("path", CHAT_ALIASES)
def test_chat_aliases(lyss, up, name, path):
    m = name()
    r = lyss.chat(m, path=path)
    assert r.status == 200 and r.json["choices"][0]["message"]["content"] == TEXT, r
    assert up.of(m)[0].target == "/v1/chat/completions"


@pytest.mark.parametrize("op, body", [("completions", {"prompt": "x"}), ("embeddings", {"input": "x"})])
@pytest.mark.parametrize("prefix", ["/api/v1/", "/openai/v1/"])
def test_other_operations_under_aliases(lyss, up, name, prefix, op, body):
    m = name()
    assert lyss.post(prefix + op, {"model": m, **body}).status == 200
    assert up.of(m)[0].path == "/v1/" + op


def test_responses_aliases(lyss, up, name):
    for path in ("/api/v1/responses", "/openai/v1/responses", "/openai/responses?api-version=2025-03-01-preview"):
        m = name("r")
        assert lyss.post(path, {"model": m, "input": "x"}).status == 200, path
        assert up.of(m)[0].target == "/v1/responses"


def test_azure_deployment_in_the_path(lyss, up, name):
    m = name()
    body = {"messages": [{"role": "user", "content": "hi"}]}
    r = lyss.post(f"/openai/deployments/{m}/chat/completions?api-version=2024-10-21", body, [("api-key", lyss.key)], key=None)
    assert r.status == 200, r
    assert up.of(m)[0].json["model"] == m
    body["model"] = name("nonsense")        # the path wins
    r = lyss.post(f"/openai/deployments/{m}/chat/completions?api-version=2024-10-21", body)
    assert r.status == 200 and up.of(m)[1].json["model"] == m


def test_model_ids_with_slash_colon_at(lyss, up):
    """Percent-encoded into one segment, decoded once."""
    r = lyss.post("/openai/deployments/org%2Fname%3Atag%401/chat/completions?api-version=2024-10-21",
                  {"messages": [{"role": "user", "content": "hi"}]})
    assert r.status == 200, r
    assert up.of("org/name:tag@1")[-1].json["model"] == "org/name:tag@1"
    r = lyss.get("/v1/models/org%2Fname%3Atag%401")
    assert r.status == 200 and r.json["id"] == "org/name:tag@1"


def test_stream_alias_always_streams(lyss, up, name):
    for body in (chat_body(name()), chat_body(name(), stream=False)):
        r = lyss.post("/api/v1/chat/completions/stream", body)
        assert r.status == 200 and Events(r.body).text == TEXT
        assert up.of(body["model"])[0].json["stream"] is True


# credentials of the caller ---------------------------------------------------

@pytest.mark.parametrize("carrier", [lambda k: ("Authorization", f"Bearer {k}"), lambda k: ("authorization", f"bearer {k}"),
                                     lambda k: ("x-api-key", k), lambda k: ("api-key", k), lambda k: ("x-goog-api-key", k)])
def test_carriers(lyss, up, name, carrier):
    m = name()
    r = lyss.chat(m, key=None, headers=[carrier(lyss.key)])
    assert r.status == 200, r
    sent = up.of(m)[0]
    assert all(lyss.key not in v for _, v in sent.headers) and lyss.key.encode() not in sent.body


def flip(key):
    return key[:-1] + ("a" if key[-1] != "a" else "b")


@pytest.mark.parametrize("header", [lambda k: [], lambda k: [("Authorization", "Bearer ")], lambda k: [("Authorization", "Bearer lyss_short")],
                                    lambda k: [("Authorization", f"Bearer {flip(k)}")], lambda k: [("x-api-key", k[:-1])],
                                    lambda k: [("Authorization", f"Basic {k}")], lambda k: [("api-key", k + "0")],
                                    lambda k: [("Authorization", "Bearer " + "x" * 5000)]])
def test_unknown_key_is_401(lyss, up, name, header):
    m = name()
    r = lyss.chat(m, key=None, headers=header(lyss.key))
    assert r.status == 401 and r.error["type"] == "authentication_error"
    assert r.error["code"] == "invalid_api_key"
    assert r.header("www-authenticate") == "Bearer"
    assert lyss.key[:-1].encode() not in r.body
    assert up.of(m) == []


def test_401_before_the_body_is_read(lyss):
    """A caller without a key cannot make Lyss hold its body."""
    with lyss.connect() as c:
        c.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        assert c.response().status == 401


# headers ---------------------------------------------------------------------

def test_headers_out(lyss, up, name):
    m = name()
    r = lyss.chat(m, headers=[("x-request-id", "callers-own-id")])
    assert UUID7.fullmatch(r.request_id)
    assert r.header("x-lyss-channel") == "main"
    assert r.header("x-lyss-provider") == "openai-compatible"
    assert r.header("x-lyss-attempts") == "1"
    assert int(r.header("x-lyss-overhead-us")) >= 0
    assert int(r.header("x-lyss-config-rev")) > 0
    assert r.header("cache-control") == "no-store"
    assert lyss.chat(m).request_id != r.request_id
    assert "callers-own-id" not in str(up.of(m)[0].headers)


def test_upstream_headers_that_pass(lyss, up, name):
    m = up.on(name(), headers=(("x-ratelimit-remaining-requests", "41"), ("x-ratelimit-limit-tokens", "9000"),
                               ("set-cookie", "a=b"), ("server", "secret-server/1"), ("x-internal-route", "zone-3"),
                               ("openai-organization", "org-canary8d31c7a2")))
    r = lyss.chat(m)
    assert r.header("x-ratelimit-remaining-requests") == "41"
    assert r.header("x-ratelimit-limit-tokens") == "9000"
    for h in ("set-cookie", "x-internal-route", "openai-organization"):
        assert r.header(h) is None
    assert (r.header("server") or "") != "secret-server/1"


def test_callers_headers_do_not_travel(lyss, up, name):
    m = name()
    lyss.chat(m, headers=[("Cookie", "session=1"), ("X-Forwarded-For", "1.2.3.4"), ("Accept-Encoding", "gzip, br"),
                          ("Connection", "x-thing, keep-alive"), ("X-Thing", "1"), ("Origin", "http://evil.example")])
    sent = up.of(m)[0]
    for h in ("cookie", "x-forwarded-for", "x-thing", "origin"):
        assert sent.header(h) is None, h
    assert sent.header("accept-encoding") in (None, "identity")
    assert sent.header("host") == f"127.0.0.1:{up.port}"


# models ----------------------------------------------------------------------

def test_models(lyss):
    r = lyss.get("/v1/models")
    ids = [m["id"] for m in r.json["data"]]
    assert r.json["object"] == "list" and all(m["object"] == "model" for m in r.json["data"])
    assert ids[0] == "demo" and {"mapped", "listed-one", "listed-two"} <= set(ids)
    assert not [i for i in ids if "*" in i] and len(ids) == len(set(ids))
    assert lyss.get("/api/v1/models").json == r.json
    one = lyss.get("/v1/models/listed-one")
    assert one.status == 200 and one.json["id"] == "listed-one" and one.json["object"] == "model"
    assert lyss.get("/v1/models", key=None).status == 401


def test_unknown_model_names_those_that_exist(lyss):
    r = lyss.chat("no-such-model")
    assert r.status == 404 and r.error["code"] == "model_not_found"
    assert "listed-one" in r.error["message"] and "no-such-model" in r.error["message"]
    r = lyss.get("/v1/models/no-such-model")
    assert r.status == 404 and r.error["code"] == "model_not_found"


def test_demo_streams_at_once(lyss):
    r = lyss.stream("demo")
    e = Events(r.body)
    assert r.status == 200 and e.done and e.text and e.finishes == ["stop"]
    row = lyss.row(r.request_id)
    assert row["state"] == "completed" and totals(row)[1] > 0
    whole = lyss.chat("demo-anything")
    assert whole.status == 200 and whole.json["usage"]["completion_tokens"] > 0
    assert r.header("x-lyss-channel") == "demo"


# system ----------------------------------------------------------------------

def test_health(lyss):
    r = lyss.get("/health", key=None)
    assert r.status == 200
    doc = r.json
    assert doc["status"] and doc["version"] and doc["timestamp"] and doc["database"] and doc["journal"]
    assert {"total", "healthy", "status"} <= set(doc["channels"]) and doc["channels"]["total"] >= 8
    for p in ("/health/live", "/health/ready"):
        assert lyss.get(p, key=None).status == 200
        assert lyss.get(p, key=None, method="HEAD").status == 200


def metric(text, name, *labels):
    total = 0.0
    for line in text.splitlines():
        if line.split("{")[0].split(" ")[0] == name and all(x in line for x in labels):
            total += float(line.split()[-1])
    return total


def test_metrics(lyss, up, name):
    m = name()
    before = lyss.get("/metrics", key=None)
    assert before.status == 200 and before.header("content-type").startswith("text/plain")
    lyss.chat(m)
    lyss.stream(m)
    text = before.body.decode()

    def grown(family, *labels):
        def check():
            now = lyss.get("/metrics", key=None).body.decode()
            return metric(now, family, *labels) - metric(text, family, *labels)
        return check
    wait(lambda: grown("lyss_requests_total", 'op="chat"', 'state="completed"')() == 2, what="lyss_requests_total")
    wait(lambda: grown("lyss_channel_requests_total", 'channel="main"')() == 2, what="lyss_channel_requests_total")
    wait(lambda: grown("lyss_channel_output_tokens_total", 'channel="main"')() > 0, what="tokens of the channel")
    wait(lambda: grown("lyss_tokens_total")() > 0, what="lyss_tokens_total")
    wait(lambda: grown("lyss_ttft_seconds_count")() >= 1, what="lyss_ttft_seconds")
    wait(lambda: grown("lyss_request_seconds_count")() >= 2, what="lyss_request_seconds")
    text = lyss.get("/metrics", key=None).body.decode()
    assert metric(text, "lyss_upstream_connections") > 0 and 'lyss_channel_health{channel="main"}' in text
    now = lyss.get("/metrics", key=None).body.decode()
    for line in now.splitlines():
        assert line.startswith("#") or re.fullmatch(r'[a-z_:][a-z0-9_:]*(\{[^{}]*\})? [0-9.eE+-]+|.* \+Inf', line), line
    assert m not in now and COMPLETION_CANARY not in now


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_goes_on_upstream_and_into_the_log(lyss, up, name):
    m = name()
    r = lyss.chat(m, headers=[("traceparent", TRACE), ("x-request-id", "mine-1")])
    sent = up.of(m)[0].header("traceparent")
    assert re.fullmatch(r"00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01", sent) and sent != TRACE
    line = wait(lambda: next((x for x in lyss.log_text().splitlines() if r.request_id in x and "request.end" in x), None),
                what="the log line")
    assert '"mine-1"' in line and "4bf92f3577b34da6a3ce929d0e0e4736" in line


@pytest.mark.parametrize("what, status, error", [("key", 401, "unauthorized"), ("path", 404, "not_found"), ("json", 400, "bad_json"),
                                                 ("model", 404, "model_not_found")])
def test_what_is_refused_has_a_line_in_the_log(lyss, name, what, status, error):
    """It has no row, so that only the log can say whose it was."""
    known = what in ("json", "model")
    with lyss.connect() as c:
        r = c.request("POST", "/v1/nothing" if what == "path" else "/v1/chat/completions",
                      b'{"model":' if what == "json" else chat_body(name("nobody-has")),
                      [("Authorization", "Bearer lyss_wrong")] if what == "key" else lyss.auth())
    assert r.status == status
    line = json.loads(wait(lambda: next((x for x in lyss.log_text().splitlines() if r.request_id in x), None), what="the log line"))
    assert line["event"] == "request.refused" and line["level"] == "warn" and line["from"] == "127.0.0.1"
    assert line["status"] == status and line["error"] == error.upper() and (line["key_id"] > 0) == known == (line["tenant_id"] > 0)


@pytest.mark.parametrize("bad", ["", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", TRACE.upper(), TRACE + "-x", TRACE[:-1] + "\xe9"])
def test_a_malformed_trace_goes_nowhere(lyss, up, name, bad):
    m = name()
    assert lyss.chat(m, headers=[("traceparent", bad)]).status == 200
    assert up.of(m)[0].header("traceparent") is None


def test_root_says_who_it_is(lyss):
    r = lyss.get("/", key=None)
    assert r.status == 200 and "lyss" in r.body.decode().lower() and r.json["version"]
