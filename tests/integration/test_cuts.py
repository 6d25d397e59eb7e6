"""Streams cut anywhere: at each chunk, inside of one, inside a character, inside JSON; behind every wire, before
callers of every dialect.  A caller sees its dialect's end once and only when the upstream's came, else one error
event, and a connection that closes without the last chunk."""
import os
import random

import pytest
from lib.dialects import CALLERS, Seen
from lib.fake import Fake
from lib.lyss import Lyss

SEEDED = 1000 if os.environ.get("LYSS_TORTURE") else 30
NEAR = (-2, -1, 0, 1, 2)

UPSTREAMS = {"chat": ("compatible", "openai-compatible", "gpt-4o-mini"), "openai": ("openai", "openai", "gpt-4o-mini"),
             "anthropic": ("anthropic", "anthropic", "claude-sonnet-4-5"), "gemini": ("gemini", "google", "gemini-2.5-flash")}


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
