"""Callers and upstreams who mean harm: what they send costs in proportion, teaches nothing it should
not, and is never taken for more than it is."""
import json

import pytest
from lib.lyss import chat_body

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
    assert one.row(r.request_id)["attempts"] == 1
    assert "breaker.state" not in one.log_text()
    r = one.chat("c-parts", "and then the next")
    assert r.status == 200, r
