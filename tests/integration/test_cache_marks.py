"""`--cache-marks auto`: prompts of callers who mark nothing are marked for Anthropic's cache on their way."""
import json

import pytest
from lib.fake import Fake
from lib.lyss import Lyss

TURNS = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}


@pytest.fixture(scope="module")
def own():
    with Fake() as fake, Lyss() as l:
        l.channel("auto", fake.base("anthropic"), "auto=claude-sonnet-4-5", provider="anthropic", args=("--cache-marks", "auto"))
        l.channel("plain", fake.base("anthropic"), "plain=claude-sonnet-4-5", provider="anthropic")
        l.caught_up()
        l.fake = fake
        yield l
    assert fake.violations == []


def sent(own, path, body):
    assert own.post(path, body).status == 200
    return own.fake.requests[-1].json


def marks(body):
    return json.dumps(body).count('"cache_control": {"type": "ephemeral"}')


def test_marks_are_placed_where_the_channel_says_so(own):
    ask = {"messages": [{"role": "system", "content": "S"}, *TURNS], "tools": [TOOL]}
    j = sent(own, "/v1/chat/completions", {"model": "auto", **ask})
    assert marks(j) == marks(j["tools"][-1]) + marks(j["system"][-1]) + marks(j["messages"][0]) == 3
    assert marks(sent(own, "/v1/chat/completions", {"model": "plain", **ask})) == 0


def test_other_dialects_too_but_not_anthropics_own(own):
    contents = [{"role": "model" if t["role"] == "assistant" else "user", "parts": [{"text": t["content"]}]} for t in TURNS]
    assert marks(sent(own, "/v1beta/models/auto:generateContent", {"contents": contents})) == 1
    assert marks(sent(own, "/v1/messages", {"model": "auto", "max_tokens": 50, "messages": TURNS})) == 0


def test_only_the_two_words(own):
    p = own.channel("other", own.fake.base("anthropic"), "x", provider="anthropic", args=("--cache-marks", "always"), check=False)
    assert p.returncode != 0 and "cache-marks" in p.stderr
