"""A fake upstream that speaks every wire strictly: the other side of the SDK matrix.

`Fake` is the HTTP server of lib.upstream with providers behind it, each below a
path of its own: /openai, /compatible, /azure, /deepseek, /anthropic, /gemini.
It refuses what the provider itself would refuse, in that provider's words, and
answers by the scenario that the prompt names (scenario.py), so that a test
expects the same thing behind each wire.

A prompt may hold `tag:NAME`.  `GET /oracle?tag=NAME` (or `oracle(NAME)`) then
tells what became of each such request: the wire, what was counted, whether the
gateway stayed to the end.  That is what a client's figures are compared with.
"""
import json
import re

from ..upstream import PROVIDER_KEY, Script, Upstream, play, sse
from .anthropic import Anthropic
from .deepseek import DeepSeek
from .gemini import Gemini
from .openai import Azure, Chat, Compatible
from .shape import Refused

WIRES = {"openai": Chat(), "compatible": Compatible(), "azure": Azure(), "deepseek": DeepSeek(), "anthropic": Anthropic(),
         "gemini": Gemini()}


class Fake(Upstream):
    """The server.  Use as a context manager."""

    stray_headers = tuple(h for h in Upstream.stray_headers if h != "x-goog-api-key")

    def __init__(self, keys=(PROVIDER_KEY,), **kw):
        super().__init__(keys, **kw)
        self.log = []
        self.says = {}              # wire: a function of the request, giving a Script in place of the wire's answer, or None

    @property
    def root(self):
        return f"http://127.0.0.1:{self.port}"

    def base(self, wire):
        """The base URL to give a channel of that wire."""
        return self.root + {"openai": "/openai/v1", "compatible": "/compatible/v1", "azure": "/azure", "deepseek": "/deepseek",
                            "anthropic": "/anthropic", "gemini": "/gemini"}[wire]

    def oracle(self, tag=None):
        """What is known of the requests with that tag, in order of arrival."""
        return [{**e, "outcome": r.outcome} for r, e in list(self.log) if tag is None or e["tag"] == tag]

    async def answer(self, r, conn):
        m = re.fullmatch(r"/(\w+)(/[^?]*)?", r.path)
        if m and m[1] == "oracle":
            t = re.search(r"tag=([^&]+)", r.query)
            body = json.dumps(self.oracle(t and t[1])).encode()
            self.requests.remove(r)
            return await play(Script(body=body), r, conn)
        wire = WIRES.get(m and m[1])
        if not wire:
            self.violations.append(f"{r.method} {r.target}")
            return await play(Script(status=404), r, conn)
        r.rest, r.deployment = m[2] or "", None
        said = self.says[m[1]](r) if m[1] in self.says else None
        if said:
            return await play(said, r, conn)
        refused = None
        try:
            a = wire.credential(r, self.keys) or (wire.error("404") if "-nobody" in r.target + r.model else wire.answer(r))
        except Refused as e:
            a, refused = wire.refusal(e), str(e)
        entry = {"wire": m[1], "path": r.rest, "status": a.status, "tag": a.talk.tag if a.talk else None, "model": r.deployment or r.model,
                 "usage": a.plan.usage if a.plan and not a.plan.error else None, "stream": a.events is not None,
                 "refused": refused or a.refused or (json.dumps(a.body)[:400] if a.status >= 400 else None)}
        if entry["refused"] and entry["tag"] is None:
            t = re.search(r"tag:([A-Za-z0-9_.-]+)", r.body.decode("utf-8", "replace"))
            entry["tag"] = t and t[1]
        self.log.append((r, entry))
        await self.write(a, r, conn)

    async def write(self, a, r, conn):
        if a.events is None:
            body = json.dumps(a.body, ensure_ascii=False).encode()
            return await play(Script(status=a.status, body=body, headers=a.headers), r, conn)
        script = Script(events=tuple(a.events), chunk_delay=a.pause, done=False)
        if a.cut:
            script.fault, script.after = "end", len(a.events)
        await play(script, r, conn)


class Playback(Upstream):
    """Answers every request with these events (bytes as they are, else as sse() writes them), in pieces of so many
    bytes; then ends the body, or says nothing more."""

    stray_headers = Fake.stray_headers
    events, silent, piece = (), False, 1 << 20

    async def answer(self, r, conn):
        await conn.head(200, (("Transfer-Encoding", "chunked"),), "text/event-stream")
        for event in self.events:
            data = event if isinstance(event, bytes) else sse(event)
            for i in range(0, len(data), self.piece):
                await conn.chunk(data[i:i + self.piece])
        if self.silent:
            await conn.stall()
        await conn.end()
