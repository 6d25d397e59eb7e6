"""Where an upstream reports no usage, a translated answer carries the same estimate as its row."""
import json

import pytest
from lib.http import Events

ASK = {"messages": lambda m: ("/v1/messages", {"model": m, "max_tokens": 50, "messages": [{"role": "user", "content": "one two three"}]}),
       "responses": lambda m: ("/v1/responses", {"model": m, "input": "one two three"}),
       "gemini": lambda m: (f"/v1beta/models/{m}:generateContent", {"contents": [{"role": "user", "parts": [{"text": "one two three"}]}]})}


def said(docs):
    """(tokens in, tokens out) of the last usage in any dialect; of Anthropic's the parts come apart."""
    u = {}
    for d in docs:
        for x in (d, d.get("message"), d.get("response")):
            if isinstance(x, dict):
                u |= x.get("usage") or x.get("usageMetadata") or {}
    if "promptTokenCount" in u:
        return (u["promptTokenCount"], u["candidatesTokenCount"] + u.get("thoughtsTokenCount", 0))
    return (u["input_tokens"], u["output_tokens"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ASK)
def test_the_estimate_is_told(lyss, up, name, dialect, stream):
    m = name()
    up.on(m, usage=False)
    path, body = ASK[dialect](m)
    if dialect != "gemini":
        body["stream"] = stream
    elif stream:
        path = path.replace("generateContent", "streamGenerateContent?alt=sse")
    r = lyss.post(path, body)
    assert r.status == 200 and r.complete, r
    docs = [d for d in Events(r.body.replace(b"\r\n", b"\n")).docs if isinstance(d, dict)] if stream else [json.loads(r.body)]
    row = lyss.row(r.request_id)
    assert row["estimated"] and row["in_uncached"] > 0 and row["out_text"] > 0
    assert said(docs) == (row["in_uncached"], row["out_text"])
