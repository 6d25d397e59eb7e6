"""What a channel's operator sets over the caller's parameters and header fields."""
import json

import pytest
from lib.lyss import Lyss, chat_body
from lib.upstream import PROVIDER_KEY

PARAMS = {"temperature": 0.25, "top_p": None, "user": "gate\"way"}
HEADERS = {"X-Team": "blue", "User-Agent": "ours/1", "anthropic-beta": "b-1"}


@pytest.fixture(scope="module")
def own(fake, upstream_a):
    with Lyss() as l:
        l.channel("main", upstream_a.url, "m-*", "plain-*=p", args=("--param-overrides", json.dumps(PARAMS), "--header-overrides", json.dumps(HEADERS)))
        l.channel("anthropic", fake.base("anthropic"), "claude=claude-sonnet-4-5", provider="anthropic",
                  args=("--param-overrides", '{"max_tokens":77,"temperature":null,"metadata":{"user_id":"u"}}', "--header-overrides", json.dumps(HEADERS)))
        l.channel("bare", upstream_a.url, "bare-*")
        l.caught_up()
        yield l


def test_a_body_in_the_same_form(own, up, name):
    m = "m-" + name()
    body = json.dumps({"model": m, "top_p": 0.5, "messages": [{"role": "user", "content": "top_p"}], "temperature": 1.0, "x": [1.50, {"temperature": 3}]})
    for stream in (False, True):
        sent = json.loads(body) | ({"stream": True} if stream else {})
        r = own.post("/v1/chat/completions", json.dumps(sent).encode())
        assert r.status == 200, r
        got = up.of(m)[-1]
        assert got.header("content-length") == str(len(got.body))
        want = {k: v for k, v in sent.items() if k != "top_p"} | {"temperature": 0.25, "user": 'gate"way'}
        if stream:
            want["stream_options"] = {"include_usage": True}
        assert json.loads(got.body) == want
        assert b"1.5" in got.body


@pytest.mark.parametrize("size", [1000, 5000, 300_000, 3_000_000])
def test_what_is_long_is_sent_as_it_came(own, up, name, size):
    """Members that stay, that go and that Lyss does not know, before and behind what it edits."""
    n, long = len(up.of("p")), "\u00fc\\\"" * (size // 4)
    body = {"tools": [{"type": "function", "function": {"name": "f", "description": long}}], "user": long, "messages": [{"role": "user", "content": long}],
            "model": "plain-" + name(), "x": [long, {"user": long}], "temperature": 1, "metadata": {"k": long}, "stream": True}
    r = own.post("/v1/chat/completions", json.dumps(body, ensure_ascii=False).encode())
    assert r.status == 200, r
    got = up.of("p")[n]
    want = body | {"model": "p", "temperature": 0.25, "user": 'gate"way', "stream_options": {"include_usage": True}}
    assert json.loads(got.body) == want and got.header("content-length") == str(len(got.body))


def test_many_values_beside_what_is_long(own, up, name):
    """As many as the length of the whole body allows."""
    body = {"model": "m-" + name(), "messages": [{"role": "user", "content": "x" * 200_000}], "token_ids": [1] * 20_000}
    assert own.post("/v1/chat/completions", json.dumps(body, separators=(",", ":")).encode()).status == 200
    assert json.loads(up.of(body["model"])[0].body)["token_ids"] == body["token_ids"]


@pytest.mark.parametrize("size", [1000, 300_000, 3_000_000])
def test_what_is_long_after_a_translation(own, fake, size):
    data = "iVBORw0KGgo" + "A" * (size // 4 * 4 - 11) + "="
    parts = [{"type": "text", "text": f"tag:over-{size} " + "w\u00f6rd " * (size // 6)}, {"type": "image_url", "image_url": {"url": "data:image/png;base64," + data}}]
    r = own.post("/v1/chat/completions", {"model": "claude", "temperature": 0.5, "max_tokens": 5, "messages": [{"role": "user", "content": parts}]})
    assert r.status == 200, r
    sent = [q for q, e in fake.log if e["tag"] == f"over-{size}"][-1]
    body = json.loads(sent.body)
    assert body["max_tokens"] == 77 and "temperature" not in body and body["metadata"] == {"user_id": "u"}
    text, image = body["messages"][0]["content"]
    assert text["text"] == parts[0]["text"] and image["source"]["data"] == data


def test_with_the_model_renamed(own, up, name):
    m = "plain-" + name()
    n = len(up.of("p"))
    assert own.chat(m).status == 200
    sent = json.loads(up.of("p")[n].body)
    assert sent["model"] == "p" and sent["temperature"] == 0.25


def test_header_fields(own, up, name):
    m = "m-" + name()
    assert own.chat(m).status == 200
    got = up.of(m)[-1]
    fields = [(k.lower(), v) for k, v in got.headers]
    assert ("x-team", "blue") in fields and [v for k, v in fields if k == "user-agent"] == ["ours/1"]
    assert got.header("authorization") == f"Bearer {PROVIDER_KEY}" and len([1 for k, _ in fields if k == "content-length"]) == 1


def test_after_a_translation(own, fake):
    r = own.post("/v1/chat/completions", {"model": "claude", "temperature": 0.5, "max_tokens": 5, "messages": [{"role": "user", "content": "tag:over hi"}]})
    assert r.status == 200, r
    sent = [q for q, e in fake.log if e["tag"] == "over"]
    body = json.loads(sent[-1].body)
    assert body["max_tokens"] == 77 and "temperature" not in body and body["metadata"] == {"user_id": "u"}
    assert sent[-1].header("anthropic-beta") == "b-1" and sent[-1].header("anthropic-version") == "2023-06-01" and sent[-1].header("x-team") == "blue"


def test_embeddings_keep_their_parameters(own, up, name):
    m = "m-" + name()
    r = own.post("/v1/embeddings", {"model": m, "input": "x"})
    assert r.status == 200, r
    assert json.loads(up.of(m)[-1].body) == {"model": m, "input": "x"} and up.of(m)[-1].header("x-team") == "blue"


def test_another_channel_has_none(own, up, name):
    m = "bare-" + name()
    assert own.chat(m).status == 200
    assert up.of(m)[-1].header("x-team") is None and "temperature" not in json.loads(up.of(m)[-1].body)


def test_a_change_is_in_force_at_once(own, up, name):
    m = "bare-" + name()
    own.cli("channel", "set", "bare", "--param-overrides", '{"seed":7}', "--header-overrides", '{"X-New":"1"}', "--data", own.data)
    own.caught_up()
    assert own.chat(m).status == 200
    assert json.loads(up.of(m)[-1].body)["seed"] == 7 and up.of(m)[-1].header("x-new") == "1"
    own.cli("channel", "set", "bare", "--param-overrides", "", "--header-overrides", "", "--data", own.data)
    own.caught_up()
    assert own.chat(m).status == 200 and "seed" not in json.loads(up.of(m)[-1].body)


@pytest.mark.parametrize("flag,value,says", [("--param-overrides", '{"model":"x"}', "model is set by Lyss itself"),
                                             ("--header-overrides", '{"Host":"x"}', "host is set by Lyss itself"),
                                             ("--header-overrides", '{"X-A":"a\\nb"}', "printable ASCII"),
                                             ("--param-overrides", '{"a":1,"a":2}', "given twice")])
def test_bad_ones_are_refused(own, flag, value, says):
    p = own.cli("channel", "set", "bare", flag, value, "--data", own.data, check=False)
    assert p.returncode == 2 and says in p.stderr, p
