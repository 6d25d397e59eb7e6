"""/passthrough/{channel}/…: a provider's own API by way of a channel, bytes untouched."""
import json
import re

import pytest
from lib.lyss import chat_body
from lib.upstream import PROVIDER_KEY


def call(lyss, method, path, body=None, headers=(), key=True):
    with lyss.connect() as c:
        return c.request(method, path, body, (*lyss.auth(key), *headers))


@pytest.fixture()
def files(up):
    """An upstream that also has a path of its own; what it saw."""
    seen = []
    plain = up.answer

    async def answer(r, conn):
        if "/files" not in r.target:
            return await plain(r, conn)
        seen.append(r)
        r.outcome = "complete"
        if r.method == "DELETE":
            return await conn.write(b"HTTP/1.1 204 No Content\r\nX-Upstream: yes\r\n\r\n")
        body = b"%PDF-1.4 \x00\xff" + r.body
        status = 418 if "teapot" in r.target else 201
        await conn.head(status, [("Content-Length", str(len(body))), ("X-Upstream", "yes"), ("Set-Cookie", "a=b"),
                                 ("Connection", "x-hop"), ("X-Hop", "1")], "application/pdf")
        await conn.write(body)
    up.answer = answer
    yield seen
    up.answer = plain
    up.violations[:] = [v for v in up.violations if "not JSON" not in v]  # it was not meant to be


def test_any_method_and_bytes_pass(lyss, files):
    body = b"\x00\x01 not JSON \xff" * 1000
    for method in ("POST", "PUT", "PATCH"):
        r = call(lyss, method, "/passthrough/main/files?a=1&key=x&b=2", body,
                         headers=[("Content-Type", "application/x-thing"), ("X-Mine", "1"), ("Cookie", "c=1"),
                                  ("Connection", "keep-alive, x-drop"), ("X-Drop", "1")])
        assert r.status == 201 and r.body == b"%PDF-1.4 \x00\xff" + body
        assert r.header("content-type") == "application/pdf" and r.header("x-upstream") == "yes"
        assert r.header("set-cookie") is None and r.header("x-hop") is None
        sent = files[-1]
        assert sent.method == method and sent.body == body and sent.target.endswith("/files?a=1&b=2")
        assert sent.header("content-type") == "application/x-thing" and sent.header("x-mine") == "1"
        assert sent.header("cookie") is None and sent.header("x-drop") is None
        assert sent.header("authorization") == f"Bearer {PROVIDER_KEY}"
        row = lyss.row(r.request_id)
        assert row["state"] == "completed" and row["status"] == 201


def test_get_and_delete_need_no_body(lyss, files):
    r = call(lyss, "GET", "/passthrough/main/files/f-1")
    assert r.status == 201 and r.body == b"%PDF-1.4 \x00\xff" and files[-1].header("content-length") is None
    r = call(lyss, "DELETE", "/passthrough/main/files/f-1")
    assert r.status == 204 and r.body == b"" and r.header("x-upstream") == "yes"


def test_an_error_passes_as_it_is_and_is_told_as_one(lyss, files):
    r = call(lyss, "POST", "/passthrough/main/files/teapot", b"{}")
    assert r.status == 418 and r.body.startswith(b"%PDF")
    assert lyss.row(r.request_id)["state"] == "upstream_error"
    assert len(files) == 1


def test_usage_is_read_where_it_is_to_be_seen(lyss, up, name):
    m = name()
    r = call(lyss, "POST", "/passthrough/main/chat/completions", json.dumps(chat_body(m)).encode(),
                     headers=[("Content-Type", "application/json")])
    assert r.status == 200 and r.json["choices"]
    row = lyss.row(r.request_id)
    used = r.json["usage"]
    assert row["in_uncached"] + row["cache_read"] == used["prompt_tokens"]
    assert row["out_text"] + row["out_reasoning"] == used["completion_tokens"] and not row["estimated"]


def test_a_stream_passes_and_a_cut_is_a_cut(lyss, up, name):
    m = name()
    up.on(m, fault="fin", after=3)
    r = call(lyss, "POST", "/passthrough/main/chat/completions", json.dumps(chat_body(m, stream=True)).encode())
    assert r.status == 200 and r.end in ("cut", "reset", "eof") and b"error" not in r.body
    assert lyss.row(r.request_id)["state"] in ("incomplete", "upstream_error")


@pytest.mark.parametrize("path,status", [
    ("/passthrough/no-such/files", 404), ("/passthrough/main", 404), ("/passthrough//files", 404),
    ("/passthrough/main/../../files", 400), ("/passthrough/main/a/%2e%2E/files", 400),
    ("/passthrough/main/a%2f..%2ffiles", 400), ("/passthrough/main/a\\files", 400)])
def test_a_path_stays_below_the_channel(lyss, files, path, status):
    r = call(lyss, "POST", path, b"{}")
    assert r.status == status and not files


def test_it_wants_a_key_and_a_known_method(lyss, files):
    assert call(lyss, "POST", "/passthrough/main/files", b"{}", key=False).status == 401
    r = call(lyss, "OPTIONS", "/passthrough/main/files")
    assert r.status == 405 and "PATCH" in r.header("allow")
    assert not files


def test_what_is_not_there_teaches_nothing_of_the_channel(fresh, up, files):
    own = fresh()
    own.channel("one", up.url, "m-*")
    own.caught_up()
    for _ in range(30):
        assert call(own, "POST", "/passthrough/one/files/teapot", b"{}").status == 418
    assert call(own, "POST", "/passthrough/one/files", b"{}").status == 201
    log = own.log_text()
    assert "breaker.state" not in log and "credential.aside" not in log


def test_a_key_for_certain_models_passes_nothing_unread(fresh, up, files):
    own = fresh()
    own.channel("one", up.url, "m-*")
    p = own.cli("key", "add", "narrow", "--data", own.data, "--models", "m-*")
    key = re.search(r"lyss_\S+", p.stdout)[0]
    own.secrets.append(key)
    own.caught_up()
    r = call(own, "POST", "/passthrough/one/files", b"{}", key=key)
    assert r.status == 403 and "models" in r.error["message"] and not files
    assert call(own, "POST", "/passthrough/one/files", b"{}").status == 201


@pytest.mark.parametrize("query", ["%6bey=x", "k%65y=x&", "access_token=x", "api-key=x", "KEY=x"])
def test_no_credential_of_the_callers_goes_on(lyss, files, query):
    assert call(lyss, "POST", "/passthrough/main/files?a=1&" + query, b"{}").status == 201
    assert "x" not in files[-1].target.partition("?")[2]


@pytest.mark.parametrize("fields", [
    ("X-Goog-User-Project", "Via", "CF-Connecting-IP", "True-Client-IP", "Ocp-Apim-Subscription-Key"),
    ("X-Forwarded-For", "Forwarded", "X-Real-IP", "OpenAI-Organization", "Proxy-Authorization", "Origin")])
def test_nothing_says_who_the_caller_is(lyss, files, fields):
    assert call(lyss, "POST", "/passthrough/main/files", b"{}", headers=[(f, "who") for f in fields]).status == 201
    assert not [v for k, v in files[-1].headers if v == "who"]


USAGES = [
    (b'{"usage":{"input_tokens":7,"cache_read_input_tokens":5,"cache_creation_input_tokens":3,"output_tokens":2}}',
     dict(in_uncached=7, cache_read=5, cache_write_5m=3, out_text=2)),
    (b'{"usageMetadata":{"promptTokenCount":9,"cachedContentTokenCount":4,"candidatesTokenCount":2,"thoughtsTokenCount":6},"x":1}',
     dict(in_uncached=5, cache_read=4, out_text=2, out_reasoning=6)),
    (b'{"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":8}}',
     dict(in_uncached=5, cache_read=4, out_text=8)),
]


ANTHROPIC = (b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":25,"cache_creation_input_tokens":3,'
             b'"cache_read_input_tokens":4,"output_tokens":1}}}\n\n'
             b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\"usage\\": {"}}\n\n'
             b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}\n\n'
             b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


@pytest.mark.parametrize("split", [0, 60, 300])
@pytest.mark.parametrize("long", [0, 5000])
def test_what_an_anthropic_stream_began_with_counts(lyss, up, name, split, long):
    """Its last event need not repeat what went in."""
    m = name()
    body = ANTHROPIC.replace(b"event: message_delta", b": " + b"x" * long + b"\n\nevent: message_delta") if long else ANTHROPIC
    up.on(m, body=body, content_type="text/event-stream", split=split)
    r = call(lyss, "POST", "/passthrough/main/chat/completions", json.dumps(chat_body(m)).encode())
    assert r.status == 200 and r.body == body
    row = lyss.row(r.request_id)
    want = dict(in_uncached=25, cache_read=4, cache_write_5m=3, out_text=15)
    assert {k: row[k] for k in want} == want and not row["estimated"]


@pytest.mark.parametrize("body,want", USAGES)
def test_each_wire_counts_in_its_own_way(lyss, up, name, body, want):
    m = name()
    up.on(m, body=body)
    r = call(lyss, "POST", "/passthrough/main/chat/completions", json.dumps(chat_body(m)).encode())
    assert r.status == 200 and r.body == body
    row = lyss.row(r.request_id)
    assert {k: row[k] for k in want} == want and not row["estimated"]
