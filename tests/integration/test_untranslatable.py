"""What a caller asks for that cannot be put into the upstream's form is the caller's fault: it is told before the
request is admitted, and no channel has a part in it."""
import re

import pytest
from lib.http import wait
from lib.lyss import Lyss, chat_body

HELLO = [{"role": "user", "content": "Say hello."}]
SOUND = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]


@pytest.fixture(scope="module")
def own(fake):
    with Lyss() as l:
        l.channel("anthropic", fake.base("anthropic"), "claude=claude-sonnet-4-5", provider="anthropic")
        l.channel("gemini", fake.base("gemini"), "gemini=gemini-2.5-flash", provider="google")
        l.channel("dead", "http://127.0.0.1:1/v1", "over=any", args=("--priority", "9"))
        l.channel("behind", fake.base("anthropic"), "over=claude-sonnet-4-5", provider="anthropic", args=("--priority", "5"))
        l.channel("gone", "http://127.0.0.1:1/v1", "past=any", args=("--priority", "9"))
        l.channel("unfit", fake.base("anthropic"), "past=claude-sonnet-4-5", provider="anthropic", args=("--priority", "5"))
        l.channel("fit", fake.base("compatible"), "past=gpt-4o-mini", args=("--priority", "1"))
        l.caught_up()
        yield l


def metrics(own):
    text = own.get("/metrics", key=None).body.decode()
    found = dict(re.findall(r"^(lyss_[a-z_]+(?:\{[^}]*\})?) ([\d.]+)$", text, re.M))

    def of(name):
        return float(found.get(name, 0))
    return of


def per_channel(of):
    names = ("anthropic", "gemini")
    return [of(f'lyss_channel_{what}_total{{channel="{n}"}}') for n in names for what in ("requests", "errors")]


@pytest.mark.parametrize("path, body, headers, says", [
    ("/v1/chat/completions", {"model": "claude", "messages": [{"role": "wizard", "content": "x"}]}, (), b"messages[0].role"),
    ("/v1/chat/completions", {"model": "claude", "messages": HELLO, "temperature": "hot"}, (), b"temperature"),
    ("/v1/chat/completions", {"model": "claude", "messages": SOUND}, (), b"audio"),
    ("/v1/chat/completions", {"model": "claude", "messages": HELLO, "seed": 7}, (("x-lyss-strict", "1"),), b"seed"),
    ("/v1/messages", {"model": "gemini", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "?"}]}]}, (), b"content"),
    ("/v1/responses", {"model": "gemini", "input": [{"type": "message", "role": "user", "content": 7}]}, (), b"input"),
    ("/v1/chat/completions", {"model": "claude", "messages": [{"role": "wizard", "content": "x"}]}, (("Idempotency-Key", "wizard"),),
     b"messages[0].role")])
@pytest.mark.parametrize("stream", [False, True])
def test_refused_before_it_is_admitted(own, fake, path, body, headers, says, stream):
    asked, rows, before = len(fake.log), len(own.rows()), metrics(own)
    r = own.post(path, body | {"stream": stream}, headers)
    assert r.status == 400 and r.end == "length" and says in r.body, r
    assert r.json["error"]["type"] == "invalid_request_error" and "x-lyss-channel" not in dict(r.headers)
    after = metrics(own)
    assert after("lyss_refused_total") == before("lyss_refused_total") + 1
    assert per_channel(after) == per_channel(before) and len(fake.log) == asked
    done = own.chat("claude")                       # what is admitted afterwards has its row after it
    assert done.status == 200
    own.row(done.request_id)
    assert len(own.rows()) == rows + 1
    assert not own.rows("request_id = ?", (bytes.fromhex(r.request_id.replace("-", "")),))


def test_nobody_is_blamed_behind_a_failure(own, fake):
    """It was sent to the first channel, which is down, and cannot be written for the next one."""
    asked = len(fake.log)
    r = own.post("/v1/chat/completions", chat_body("over", seed=7), (("x-lyss-strict", "1"),))
    assert r.status == 400 and b"seed" in r.body and len(fake.log) == asked, r
    row = own.row(r.request_id)
    assert row["state"] == "upstream_error" and row["attempts"] == 2 and not row["channel_id"], row
    of = metrics(own)
    assert of('lyss_channel_errors_total{channel="dead"}') == 1
    assert of('lyss_channel_errors_total{channel="behind"}') == of('lyss_channel_requests_total{channel="behind"}') == 0
    assert own.chat("over").status == 200           # and its place there is free
    wait(lambda: metrics(own)('lyss_channel_in_flight{channel="behind"}') == 0, what="the place")


def test_one_that_can_carry_it_is_asked(own):
    r = own.post("/v1/chat/completions", chat_body("past", seed=7), (("x-lyss-strict", "1"),))
    assert r.status == 200 and r.header("x-lyss-channel") == "fit" and r.header("x-lyss-attempts") == "2", r
    row = own.row(r.request_id)
    assert row["state"] == "completed" and row["attempts"] == 2
    of = metrics(own)
    assert of('lyss_channel_errors_total{channel="unfit"}') == of('lyss_channel_in_flight{channel="unfit"}') == 0
