"""What is remembered from one request to the next: thoughts by tool call, and where a stored response was made."""
import copy
import json
import re
import time

import pytest
from lib.fake.scenario import THOUGHTS
from lib.http import Events
from lib.lyss import Lyss
from lib.upstream import Gate, Upstream

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
DROPPED = "x-lyss-dropped-params"


def make(fake, **env):
    l = Lyss(env={"LYSS_WORKERS": "4", **env}).start()
    l.channel("deepseek", fake.base("deepseek"), "deepseek-v4-pro", "chat-model=deepseek-chat", provider="deepseek")
    l.channel("claude", fake.base("anthropic"), "claude-sonnet-4-5", provider="anthropic")
    l.caught_up()
    return l


@pytest.fixture(scope="module")
def world(fake):
    l = make(fake)
    yield l
    l.stop()


def ask(l, path, body):
    """An answer, and the same put together where it was streamed."""
    r = l.post(path, body)
    assert r.status == 200, r
    if not body.get("stream"):
        return r, r.json
    e = Events(r.body)
    assert e.errors == []
    return r, e.docs


def chat(model, prompt, stream=False, **kw):
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": stream,
            "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}], **kw}


def message(answer, stream):
    """The assistant's message as a client that knows no thoughts keeps it."""
    if not stream:
        m = answer["choices"][0]["message"]
        return {"role": "assistant", "content": m["content"], "tool_calls": [
            {k: c[k] for k in ("id", "type", "function")} for c in m["tool_calls"]]}
    calls = {}
    for d in answer:
        for c in d["choices"]:
            for t in c["delta"].get("tool_calls") or []:
                call = calls.setdefault(t["index"], {"id": t.get("id"), "type": "function", "function": {"name": "", "arguments": ""}})
                call["function"]["name"] += t["function"].get("name") or ""
                call["function"]["arguments"] += t["function"].get("arguments") or ""
    return {"role": "assistant", "content": None, "tool_calls": [calls[i] for i in sorted(calls)]}


def follow(body, m, **kw):
    """The next turn: the calls' results."""
    b = copy.deepcopy(body)
    b["messages"] += [m] + [{"role": "tool", "tool_call_id": c["id"], "content": "21 degrees"} for c in m["tool_calls"]]
    return {**b, **kw}


def sent(fake, model):
    """What the provider got last."""
    return [r.json for r in fake.requests if r.json and r.json.get("model") == model][-1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scenario", ["thinking-tool", "parallel"])
def test_deepseek_gets_its_thoughts_back(world, fake, stream, scenario):
    body = chat("deepseek-v4-pro", f"scenario:{scenario} Weather in Paris?", stream)
    _, first = ask(world, "/v1/chat/completions", body)
    r, _ = ask(world, "/v1/chat/completions", follow(body, message(first, stream)))
    got = sent(fake, "deepseek-v4-pro")
    assert got["messages"][1]["reasoning_content"] == "".join(THOUGHTS)
    assert (got.get("thinking") or {}).get("type") != "disabled" and r.header(DROPPED) is None
    if stream:
        e = Events(r.body)
        assert e.done and not any(d.get("usage") or not d["choices"] for d in e.docs), "usage nobody asked for"


def test_turn_after_turn(world, fake):
    """Each turn's own thoughts, on whichever worker it is met."""
    body = chat("deepseek-v4-pro", "scenario:thinking-tool Weather in Paris?")
    for turn in range(5):
        _, answer = ask(world, "/v1/chat/completions", body)
        body = follow(body, message(answer, False))
        body["messages"].append({"role": "user", "content": "scenario:thinking-tool And in Rome?"})
    got = [m for m in sent(fake, "deepseek-v4-pro")["messages"] if m["role"] == "assistant"]
    assert len(got) == 4 and all(m["reasoning_content"] == "".join(THOUGHTS) for m in got)


@pytest.mark.parametrize("stream", [False, True])
def test_a_miss_turns_thinking_off(world, fake, stream):
    body = chat("deepseek-v4-pro", "scenario:tool Weather in Paris?")
    m = {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_nobody_knows", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}]}
    r, _ = ask(world, "/v1/chat/completions", follow(body, m, stream=stream))
    assert sent(fake, "deepseek-v4-pro")["thinking"] == {"type": "disabled"} and r.header(DROPPED) == "thinking"


def test_a_client_that_keeps_thoughts_is_left_alone(world, fake):
    body = chat("deepseek-v4-pro", "scenario:thinking-tool Weather in Paris?")
    _, first = ask(world, "/v1/chat/completions", body)
    m = message(first, False) | {"reasoning_content": first["choices"][0]["message"]["reasoning_content"]}
    r, _ = ask(world, "/v1/chat/completions", follow(body, m))
    assert sent(fake, "deepseek-v4-pro")["messages"] == follow(body, m)["messages"] and r.header(DROPPED) is None


def test_a_model_that_does_not_think_is_left_alone(world, fake):
    body = chat("chat-model", "scenario:tool Weather in Paris?")
    _, first = ask(world, "/v1/chat/completions", body)
    b = follow(body, message(first, False))
    r, _ = ask(world, "/v1/chat/completions", b)
    assert sent(fake, "deepseek-chat")["messages"] == b["messages"] and r.header(DROPPED) is None


def test_thoughts_belong_to_a_tenant(world, fake):
    body = chat("deepseek-v4-pro", "scenario:thinking-tool Weather in Paris?")
    _, first = ask(world, "/v1/chat/completions", body)
    world.cli("tenant", "add", "other", "--title", "Other", "--data", world.data)
    world.cli("user", "add", "o@example.com", "--tenant", "other", "--role", "tenant_admin", "--data", world.data)
    key = json.loads(world.cli("key", "add", "k", "--tenant", "other", "--user", "o@example.com", "--data", world.data, "--json").stdout)["api_key"]
    world.secrets.append(key)
    world.channel("theirs", fake.base("deepseek"), "deepseek-v4-pro", provider="deepseek", args=("--tenant", "other"))
    world.caught_up()
    r = world.post("/v1/chat/completions", follow(body, message(first, False)), key=key)
    assert r.status == 200 and sent(fake, "deepseek-v4-pro")["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize("stream", [False, True])
def test_claude_gets_its_signed_thoughts_back(world, fake, stream):
    body = chat("claude-sonnet-4-5", "scenario:thinking-tool Weather in Paris?", stream, reasoning_effort="low", max_tokens=8000)
    _, first = ask(world, "/v1/chat/completions", body)
    r, _ = ask(world, "/v1/chat/completions", follow(body, message(first, stream)))
    got = sent(fake, "claude-sonnet-4-5")
    block = got["messages"][1]["content"][0]
    assert block["type"] == "thinking" and block["thinking"] == "".join(THOUGHTS) and block["signature"]
    assert got["thinking"]["type"] == "enabled" and r.header(DROPPED) is None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "deepseek-v4-pro"])
def test_callers_of_responses(world, fake, model, stream):
    """Reasoning items that a client drops come back, too."""
    body = {"model": model, "input": [{"role": "user", "content": "scenario:thinking-tool Weather in Paris?"}], "store": False,
            "max_output_tokens": 8000, "reasoning": {"effort": "low"}, "stream": stream,
            "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]}
    _, first = ask(world, "/v1/responses", body)
    if stream:
        first = first[-1]["response"]
    calls = [i for i in first["output"] if i["type"] == "function_call"]
    assert calls
    body["input"] += calls + [{"type": "function_call_output", "call_id": c["call_id"], "output": "21 degrees"} for c in calls]
    r, _ = ask(world, "/v1/responses", body)
    got = sent(fake, model)
    if model.startswith("claude"):
        assert got["messages"][1]["content"][0]["type"] == "thinking" and got["thinking"]["type"] == "enabled"
    else:
        assert got["messages"][1]["reasoning_content"] == "".join(THOUGHTS) and got["thinking"]["type"] == "enabled"


def test_remembered_for_a_day(fake):
    l = make(fake)
    try:
        body = chat("deepseek-v4-pro", "scenario:thinking-tool Weather in Paris?")
        _, first = ask(l, "/v1/chat/completions", body)
        time.sleep(0.1)
        l.clock.advance(86000)
        ask(l, "/v1/chat/completions", follow(body, message(first, False)))
        assert sent(fake, "deepseek-v4-pro")["messages"][1]["reasoning_content"]
        l.clock.advance(500)
        r, _ = ask(l, "/v1/chat/completions", follow(body, message(first, False)))
        assert sent(fake, "deepseek-v4-pro")["thinking"] == {"type": "disabled"} and r.header(DROPPED) == "thinking"
    finally:
        l.stop()


def test_turned_off(fake):
    l = make(fake, LYSS_RECALL_BYTES="0")
    try:
        body = chat("deepseek-v4-pro", "scenario:thinking-tool Weather in Paris?")
        _, answer = ask(l, "/v1/chat/completions", body)
        ask(l, "/v1/chat/completions", follow(body, message(answer, False)))
        assert sent(fake, "deepseek-v4-pro")["thinking"] == {"type": "disabled"}
    finally:
        l.stop()


# ---- responses that are gone on from

KEYS = ["sk-canary-responses-key-000001", "sk-canary-responses-key-000002", "sk-canary-responses-key-000003"]


@pytest.fixture(scope="module")
def pinned():
    """One model, two channels, three credentials."""
    with Upstream(keys=KEYS) as a, Upstream(keys=KEYS) as b, Lyss(env={"LYSS_WORKERS": "4"}) as l:
        l.extra_canaries = tuple(KEYS)
        for name, u in (("one", a), ("two", b)):
            l.channel(name, u.url, "r-*", credential=KEYS[0], provider="openai", args=("--op", "responses"))
            for key in KEYS[1:]:
                l.cli("channel", "set", name, "--add-credential", "--credential-stdin", "--data", l.data, stdin=key + "\n")
        l.caught_up()
        yield l, (a, b)
        assert a.violations == b.violations == []


def numbered(stream):
    """Answers with a response id of their own."""
    n = iter(range(10 ** 6))

    async def script(r, conn):
        rid = f"resp_{r.model}_{conn.server.port}_{next(n)}"
        doc = {"id": rid, "object": "response", "created_at": 1, "status": "completed", "model": r.model, "output": [], "error": None,
               "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}
        if not stream:
            body = json.dumps(doc).encode()
            await conn.head(200, [("Content-Length", str(len(body)))])
            return await conn.write(body)
        await conn.head(200, [("Transfer-Encoding", "chunked")], "text/event-stream")
        for i, kind in enumerate(("created", "completed")):
            d = {"type": f"response.{kind}", "sequence_number": i, "response": doc}
            await conn.chunk(f"event: response.{kind}\ndata: {json.dumps(d)}\n\n".encode())
        await conn.end()
    return script


def place(ups, m, n):
    """Where the n-th request of a model went: upstream and key."""
    all_ = sorted(((r.at, u.port, r.header("authorization")) for u in ups for r in u.of(m)))
    return all_[n][1:]


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_is_gone_on_from_where_it_was_made(pinned, name, stream):
    l, ups = pinned
    m = name("r")
    [u.on(m, numbered(stream)) for u in ups]
    seen = set()
    for n in range(12):
        r = l.post("/v1/responses", {"model": m, "input": "hi", "stream": stream})
        rid = Events(r.body).docs[0]["response"]["id"] if stream else r.json["id"]
        r = l.post("/v1/responses", {"model": m, "input": "on", "previous_response_id": rid, "stream": stream})
        assert r.status == 200 and place(ups, m, 2 * n + 1) == place(ups, m, 2 * n)
        seen.add(place(ups, m, 2 * n))
    assert len(seen) > 1, "all were made in one place: nothing was shown"


def test_memory_is_bounded(fresh):
    """The latest stays; what is oldest goes."""
    with Upstream() as u:
        l = fresh(env={"LYSS_RECALL_BYTES": "16KiB", "LYSS_WORKERS": "2"})
        l.channel("one", u.url, "r-*", provider="openai", args=("--op", "responses"))
        l.caught_up()
        u.on("r-x", numbered(False))
        for _ in range(200):
            r = l.post("/v1/responses", {"model": "r-x", "input": "hi"})
        text = l.get("/metrics", key=None).body.decode()
        assert 8192 < int(re.search(r"lyss_recall_bytes (\d+)", text)[1]) <= 16384
        assert l.post("/v1/responses", {"model": "r-x", "input": "on", "previous_response_id": r.json["id"]}).status == 200
        text = l.get("/metrics", key=None).body.decode()
        assert int(re.search(r'lyss_recall_total{result="hit"} (\d+)', text)[1]) == 1


def test_no_retry_elsewhere(pinned, name):
    l, ups = pinned
    m = name("r")
    [u.on(m, numbered(False)) for u in ups]
    rid = l.post("/v1/responses", {"model": m, "input": "hi"}).json["id"]
    [u.on(m, status=500) for u in ups]
    r = l.post("/v1/responses", {"model": m, "input": "on", "previous_response_id": rid})
    assert r.status == 500 and sum(len(u.of(m)) for u in ups) == 2
    assert place(ups, m, 0) == place(ups, m, 1)
    l.clock.advance(301)


def test_an_id_that_nobody_knows_is_tried_once(pinned, name):
    l, ups = pinned
    m = name("r")
    [u.on(m, status=500) for u in ups]
    r = l.post("/v1/responses", {"model": m, "input": "on", "previous_response_id": "resp_nobody"})
    assert r.status == 500 and sum(len(u.of(m)) for u in ups) == 1
    [u.on(m) for u in ups]
    l.clock.advance(301)
    assert l.post("/v1/responses", {"model": m, "input": "on", "previous_response_id": "resp_nobody"}).status == 200
    long = l.post("/v1/responses", {"model": m, "input": "on", "previous_response_id": "r" * 5000})
    assert long.status == 200, "not ours to judge"


def test_its_channel_is_gone(pinned, name):
    l, ups = pinned
    m = name("r")
    [u.on(m, numbered(False)) for u in ups]
    r = l.post("/v1/responses", {"model": m, "input": "hi"})
    channel, rid = r.header("x-lyss-channel"), r.json["id"]
    l.cli("channel", "set", channel, "--status", "inactive", "--data", l.data)
    l.caught_up()
    r = l.post("/v1/responses", {"model": m, "input": "on", "previous_response_id": rid})
    assert r.status == 503 and "did not make the response" in r.error["message"]
    l.cli("channel", "set", channel, "--status", "active", "--data", l.data)
    l.caught_up()
    assert l.post("/v1/responses", {"model": m, "input": "on", "previous_response_id": rid}).status == 200


def test_callers_that_leave_while_others_are_asked(world, fake):
    """The question to another worker outlives its request."""
    from lib.http import request_bytes
    body = chat("deepseek-v4-pro", "scenario:tool Weather in Paris?")
    calls = [{"id": f"call_{i}", "type": "function", "function": {"name": "weather", "arguments": "{}"}} for i in range(300)]
    for c in calls:
        body["messages"] += [{"role": "assistant", "content": None, "tool_calls": [c]},
                             {"role": "tool", "tool_call_id": c["id"], "content": "x"}]
    data = request_bytes("POST", "/v1/chat/completions", body, world.auth())
    for i in range(40):
        c = world.connect()
        c.send(data)
        c.reset()
    assert world.post("/v1/chat/completions", body).status == 200
