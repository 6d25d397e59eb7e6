"""Recorded traffic of three providers through every dialect: what was said arrives, in the SDK's own types."""
import json
import re

import pytest
from lib import sdk_types, seen
from lib.lyss import Lyss
from lib.upstream import Script, Upstream, play, recording_events, recordings, sse

ALL = {d: recordings(d) for d in ("openai", "anthropic", "google")}
NAMES = [(d, name) for d, some in ALL.items() for name, _ in some]
DIALECTS = list(seen.WHOLE)
if not NAMES:
    print("test_recordings: LYSS_FIXTURES names no recordings, nothing is replayed")
pytestmark = pytest.mark.skipif(not NAMES, reason="LYSS_FIXTURES names no recordings")

FORMS = {"anthropic": "messages", "google": "gemini"}
PROVIDERS = {"chat": ("openai", "/v1", "chat"), "responses": ("openai", "/v1", "responses"), "messages": ("anthropic", "", None),
             "gemini": ("google", "", None)}


class Recording:
    """One file: its form, its status, its bytes as they are sent, and what it says."""

    def __init__(self, folder, name, path):
        self.folder, self.name, self.path = folder, name, path
        self.stream = name.endswith(".chunks.txt")
        self.form, self.status, self.foreign = FORMS.get(folder), 200, False
        self.quota = self.anew = False
        with open(path, "rb") as f:
            raw = f.read()
        if self.stream:
            self.lines = [x for x in raw.split(b"\n") if x.strip()]
            ends = [i for i, x in enumerate(self.lines) if re.match(rb'\{"type":"(message_stop|response\.completed)"', x)]
            self.lines = self.lines[:ends[0] + 1] if ends else self.lines       # some hold the turns after it, too
            self.docs = [d for d in map(self.parse, self.lines) if d is not None]
            self.torn = len(self.docs) < len(self.lines)
            if folder == "openai":
                self.events, op = recording_events(path)
                if op == "responses":
                    self.events = self.events[:len(self.lines)]
                self.form = {"chat/completions": "chat", "responses": "responses"}.get(op)
            else:
                self.events = [sse(x, d.get("type") if folder == "anthropic" else None) for x, d in zip(self.lines, self.docs)]
            self.foreign = folder == "google" and "event_type" in self.docs[0]
            self.anew = name.startswith("spliced")       # it begins anew within a call
        else:
            self.body, doc = raw, json.loads(raw)
            self.docs, self.torn = [doc], False
            if "error" in doc and not doc.get("object") and isinstance(doc["error"], dict):
                self.status = 429 if "429" in name else 400
                self.quota = doc["error"].get("code") == "insufficient_quota"
                self.form = self.form or "chat"
            elif folder == "openai":
                self.form = {"chat.completion": "chat", "response": "responses"}.get(doc.get("object"))
            self.foreign = folder == "google" and doc.get("object") == "interaction"
        if self.form and self.status == 200 and not self.foreign:
            self.said = (seen.STREAM[self.form](self.docs) if self.stream else seen.WHOLE[self.form](self.docs[0]))

    @staticmethod
    def parse(line):
        try:
            return json.loads(line)
        except ValueError:
            return None

    @property
    def fails(self):
        return self.status != 200 or self.foreign or self.torn or bool(self.said.errors)


class Replay(Upstream):
    """Answers with the recording that the model's name (rec-N-…) points to, on any wire."""

    stray_headers = tuple(h for h in Upstream.stray_headers if h != "x-goog-api-key")

    def __init__(self, items):
        super().__init__()
        self.items = items

    async def answer(self, r, conn):
        m = re.search(r"rec-(\d+)", r.target + r.model)
        x = self.items[int(m[1])]
        script = Script(events=tuple(x.events), done=False) if x.stream else Script(status=x.status, body=x.body)
        await play(script, r, conn)


@pytest.fixture(scope="module")
def replay():
    items = [Recording(d, name, path) for d, some in ALL.items() for name, path in some]
    with Replay(items) as up, Lyss() as l:
        for form, (provider, path, op) in PROVIDERS.items():
            args = ("--op", op) if op else ()
            base = up.url.removesuffix("/v1") + path
            l.channel(form, base, f"{form}-rec-*", provider=provider, args=args)
            for i, x in enumerate(items):
                if x.form == form and x.fails:       # what fails is rested: each has a channel of its own
                    for d in DIALECTS:
                        l.channel(f"{form}-{i}-{d}", base, f"f-rec-{i}-{form}-{d}", provider=provider, args=args)
        l.caught_up()
        yield l, items
    assert up.violations == []


def index_of(items, folder, name):
    return next(i for i, x in enumerate(items) if (x.folder, x.name) == (folder, name))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("folder, name", NAMES)
def test_recording(replay, folder, name, dialect):
    lyss, items = replay
    i = index_of(items, folder, name)
    x = items[i]
    if not x.form:
        pytest.skip("not an answer of a form that chats")
    model = f"f-rec-{i}-{x.form}-{dialect}" if x.fails else f"{x.form}-rec-{i}"
    r, docs, got = seen.ask(lyss, dialect, model, x.stream)
    if x.fails and dialect != x.form or x.status != 200:
        return failed(x, dialect, r, docs, got)
    if x.fails:                                          # passed through as it is: the caller is to judge
        assert r.status in (200, 502)
        return None
    assert r.status == 200 and r.complete, r
    assert (got.ends, got.errors) == (1, 0)
    assert got.text == x.said.text
    assert got.calls == x.said.calls or (x.anew and got.calls[-1:] == x.said.calls[-1:])
    assert (got.prompt, got.out) == (x.said.prompt, x.said.out)
    if dialect != x.form:
        bad = [(p, json.dumps(d)[:300]) for d in docs for p in sdk_types.problems(dialect, d, x.stream)]
        assert not bad, bad[:3]


def failed(x, dialect, r, docs, got):
    """An error of the caller's own form: by status, or in the stream."""
    if r.status == 200:
        assert got.errors == 1 and got.ends == 0, docs[-1]
        return
    assert r.status in ((502,) if x.quota else (x.status,) if x.status != 200 else (500, 502, 503)), r
    e = docs[0]["error"]
    assert isinstance(e["message"], str) and e["message"]
    if dialect == "messages":
        assert docs[0]["type"] == "error" and e["type"].endswith("_error") or e["type"] == "api_error"
    elif dialect == "gemini":
        assert e["code"] == r.status and re.fullmatch("[A-Z_]+", e["status"])
    else:
        assert {"type", "param", "code"} <= set(e)
    if x.status != 200 and not x.quota:              # a credential without money is no caller's business
        said = x.docs[0]["error"]["message"]
        assert e["message"][:40] == said[:40]


def test_nothing_is_left_out(replay):
    """Every file is replayed, but for pictures, embeddings and completions, which have no dialect of their own."""
    _, items = replay
    out = [x.name for x in items if not x.form]
    assert all(re.search(r"image|embedding|completion", n) for n in out), out
    assert len(items) == len(NAMES)
