"""Streams cut anywhere: at each chunk, inside of one, inside a character, inside JSON; behind every wire, before
callers of every dialect.  A caller sees its dialect's end once and only when the upstream's came, else one error
event, and a connection that closes without the last chunk."""
import json
import os
import random

import pytest
from lib.fake import Fake
from lib.lyss import Lyss

SEEDED = 1000 if os.environ.get("LYSS_TORTURE") else 30
NEAR = (-2, -1, 0, 1, 2)

UPSTREAMS = {"chat": ("compatible", "openai-compatible", "gpt-4o-mini"), "openai": ("openai", "openai", "gpt-4o-mini"),
             "anthropic": ("anthropic", "anthropic", "claude-sonnet-4-5"), "gemini": ("gemini", "google", "gemini-2.5-flash")}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}, "required": ["city", "unit"],
          "additionalProperties": False}


class CutFake(Fake):
    """Plays the next stream up to a byte: of its framing (then FIN), or of its text (then a clean end)."""

    how, at = None, 0

    async def write(self, a, r, conn):
        if a.events is None:
            return await super().write(a, r, conn)
        self.events = list(a.events)
        if self.how == "framed":
            body = b"".join(b"%x\r\n%s\r\n" % (len(e), e) for e in a.events) + b"0\r\n\r\n"
        else:
            body = b"".join(a.events)
        await conn.head(200, (("Transfer-Encoding", "chunked"),), "text/event-stream")
        if self.how == "framed":
            await conn.write(body[:self.at])
            conn.fin()
        elif self.how == "text":
            if self.at:
                await conn.chunk(body[:self.at])
            await conn.end()
        else:
            await conn.chunk(body)
            await conn.end()


# What a caller of each dialect sends, and how it reads what it gets: text, tool arguments, ends, errors.

def events(body):
    """(event name, data) of each event; comments aside. The last one must be whole."""
    out = []
    body = body.replace(b"\r\n", b"\n")
    assert not body or body.endswith(b"\n\n"), f"a torn event: {body[-200:]!r}"
    for block in body.split(b"\n\n"):
        fields = [x.split(b": ", 1) for x in block.split(b"\n") if x and not x.startswith(b":")]
        if fields:
            named = dict(fields)
            out.append((named.get(b"event", b"").decode(), named[b"data"] if named[b"data"] == b"[DONE]" else json.loads(named[b"data"])))
    return out


class Seen:
    """A stream as a caller understands it."""

    def __init__(self, dialect, body):
        self.text, self.args, self.ends, self.errors, self.after_error = "", "", 0, 0, 0
        for name, doc in events(body):
            self.after_error += self.errors > 0
            getattr(self, dialect)(name, doc)

    def chat(self, name, doc):
        if doc == b"[DONE]":
            self.ends += 1
            return
        self.errors += "error" in doc
        for c in doc.get("choices") or []:
            self.text += c["delta"].get("content") or ""
            for t in c["delta"].get("tool_calls") or []:
                self.args += t["function"].get("arguments") or ""

    def responses(self, name, doc):
        kind = doc["type"]
        assert name in ("", kind)
        self.ends += kind in ("response.completed", "response.incomplete")
        self.errors += kind in ("error", "response.failed")
        self.text += doc["delta"] if kind == "response.output_text.delta" else ""
        self.args += doc["delta"] if kind == "response.function_call_arguments.delta" else ""

    def messages(self, name, doc):
        assert name == doc["type"]
        self.ends += name == "message_stop"
        self.errors += name == "error"
        if name == "content_block_delta":
            self.text += doc["delta"].get("text") or ""
            self.args += doc["delta"].get("partial_json") or ""

    def gemini(self, name, doc):
        self.errors += "error" in doc
        for c in doc.get("candidates") or []:
            self.ends += bool(c.get("finishReason"))
            for p in (c.get("content") or {}).get("parts") or []:
                if not p.get("thought"):
                    self.text += p.get("text") or ""
                self.args += json.dumps(p["functionCall"]["args"]) if "functionCall" in p else ""


def chat(model, prompt):
    return "/v1/chat/completions", {"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}],
                                    "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]}


def responses(model, prompt):
    return "/v1/responses", {"model": model, "stream": True, "input": prompt, "store": False,
                             "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}]}


def messages(model, prompt):
    return "/v1/messages", {"model": model, "stream": True, "max_tokens": 500, "messages": [{"role": "user", "content": prompt}],
                            "tools": [{"name": "weather", "input_schema": SCHEMA}]}


def gemini(model, prompt):
    declared = {k: v for k, v in SCHEMA.items() if k != "additionalProperties"}
    return f"/v1beta/models/{model}:streamGenerateContent?alt=sse", {
        "contents": [{"role": "user", "parts": [{"text": prompt}]}], "tools": [{"functionDeclarations": [{"name": "weather", "parameters": declared}]}]}


CALLERS = {f.__name__: f for f in (chat, responses, messages, gemini)}


@pytest.fixture(scope="module")
def fake():
    with CutFake() as f:
        yield f
    assert f.violations == []


@pytest.fixture(scope="module")
def own(fake):
    with Lyss(env={"LYSS_ATTEMPTS_MAX": "1"}) as l:
        for name, (wire, provider, model) in UPSTREAMS.items():
            l.channel(name, fake.base(wire), f"{name}={model}", provider=provider)
        l.caught_up()
        yield l


def places(fake, how, dice):
    """Where to cut: about the edges of events, and anywhere."""
    sizes = [len(b"%x\r\n%s\r\n" % (len(e), e)) if how == "framed" else len(e) for e in fake.events]
    edges, at = {0}, 0
    for n in sizes:
        at += n
        edges.add(at)
    whole = at + (5 if how == "framed" else 0)
    near = {e + d for e in edges for d in NEAR}
    odd = {dice.randrange(whole) for _ in range(SEEDED)}
    return sorted(x for x in near | odd if 0 <= x < whole), at


@pytest.mark.parametrize("prompt", ["Say hello.", "scenario:parallel Weather?"])
@pytest.mark.parametrize("how", ["framed", "text"])
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.timeout(1200)
def test_cut(own, fake, upstream, caller, how, prompt):
    path, body = CALLERS[caller](upstream, prompt)
    key = (("anthropic-version", "2023-06-01"),) if caller == "messages" else ()

    def ask():
        while True:
            own.clock.advance(61)                # the breaker's time passes
            with own.connect() as c:
                r = c.request("POST", path, body, (*own.auth(), *key))
            if b"breaker open" not in r.body:    # the last failure was noted a moment after the clock had jumped
                return r
    fake.how = None
    r = ask()
    whole = Seen(caller, r.body)
    assert r.status == 200 and r.end == "chunked" and whole.errors == 0, r
    assert whole.ends == 1 and (whole.text or whole.args), r.body
    dice = random.Random(f"{upstream} {caller} {how} {prompt}")
    fake.how = how
    early = late = 0
    for at, end in [(x, e) for places_, e in [places(fake, how, dice)] for x in places_]:
        fake.at = at
        r = ask()
        where = f"cut at {at} of {end}: {r.status} {r.end} {r.body[-600:]!r}"
        if r.status != 200:
            early += 1
            assert 500 <= r.status < 600 and r.end == "length" and r.json["error"], where
            continue
        s = Seen(caller, r.body)
        assert s.ends <= 1 and s.errors <= 1 and s.after_error == 0, where
        assert whole.text.startswith(s.text) and whole.args.startswith(s.args), where
        if r.end == "chunked":
            assert s.ends == 1 and not s.errors and (s.text, s.args) == (whole.text, whole.args), where
            assert at >= end - len(fake.events[-1]) - 12 or upstream == "gemini", where
        else:
            late += 1
            assert r.end in ("cut", "reset") and s.errors == 1 and s.ends == 0, where
    assert early and late, "the places are badly chosen"
