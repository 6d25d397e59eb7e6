"""The caller goes away, by FIN or RST, in every phase: the upstream is let go at once and a row is written."""
import time

import pytest
from conftest import slack
from lib.http import request_bytes
from lib.lyss import chat_body
from lib.upstream import PIECES, Gate

PATH = "/v1/chat/completions"


def leave(c, how):
    t = time.perf_counter()
    c.reset() if how == "rst" else c.close()
    return t


def let_go(up, m, t):
    """Milliseconds between the caller's end and the upstream's."""
    r = up.wait(lambda: up.of(m) and up.of(m)[-1].gone_at and up.of(m)[-1], slack(1), "the upstream to be let go")
    ms = (r.gone_at - t) * 1000
    assert ms < slack(0.01) * 1000 + 20, f"{ms:.1f} ms"
    return ms


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("phase", ["before the head", "after the head", "role chunk", "streaming", "quiet stream", "whole body"])
def test_gone(lyss, up, name, how, phase):
    stream = phase != "whole body"
    script = {"before the head": dict(head_delay=30), "after the head": dict(ttft=30), "role chunk": dict(fault="stall", after=1),
              "streaming": dict(chunk_delay=0.01, text=tuple(PIECES) * 200), "quiet stream": dict(fault="stall", after=5),
              "whole body": dict(fault="stall", after=30)}[phase]
    m = up.on(name(), **script)
    c = lyss.connect()
    c.send(request_bytes("POST", PATH, chat_body(m, stream=stream), lyss.auth()))
    up.wait_request(m)
    if phase in ("streaming", "quiet stream"):
        c.until(PIECES[2].encode())
    else:
        time.sleep(0.05)
    let_go(up, m, leave(c, how))
    row = lyss.row_of_model(m)
    assert row["state"] == "client_gone" and row["attempts"] == 1
    if phase in ("streaming", "quiet stream"):
        assert row["out_text"] > 0 and row["estimated"]
    time.sleep(0.05)
    assert len(up.of(m)) == 1, "no retry may start"


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("part", ["head", "body"])
def test_gone_before_it_was_admitted(lyss, up, name, how, part):
    """No row: nothing was asked yet."""
    m = name()
    data = request_bytes("POST", PATH, chat_body(m), lyss.auth())
    c = lyss.connect()
    c.send(data[:40] if part == "head" else data[:-5])
    time.sleep(0.03)
    leave(c, how)
    time.sleep(0.2)
    assert up.of(m) == [] and lyss.rows("model = ?", (m,)) == []


@pytest.mark.parametrize("try_", range(10))
def test_gone_together_with_the_request(lyss, up, name, try_):
    """Request and RST arrive in one turn: the RST must not be lost behind the bytes."""
    m = up.on(name(), head_delay=30)
    c = lyss.connect()
    c.send(request_bytes("POST", PATH, chat_body(m), lyss.auth()))
    t = leave(c, "rst")
    time.sleep(0.1)
    if up.of(m):
        let_go(up, m, t)
        assert lyss.row_of_model(m)["state"] == "client_gone"


def test_gone_while_a_retry_would_be_due(lyss, up, up2, name):
    gate = Gate()
    m = up.on(name("fo"), gate=gate, gate_head=True, status=500)
    c = lyss.connect()
    c.send(request_bytes("POST", PATH, chat_body(m), lyss.auth()))
    up.wait_request(m)
    let_go(up, m, leave(c, "rst"))
    gate.open()
    time.sleep(0.2)
    assert len(up.of(m)) == 1 and up2.of(m) == []
    assert lyss.row_of_model(m)["state"] == "client_gone"


def test_gone_with_more_pipelined(lyss, up, name):
    """What waits behind is never started."""
    m, n = up.on(name(), head_delay=30), name()
    c = lyss.connect()
    c.send(request_bytes("POST", PATH, chat_body(m), lyss.auth()) + request_bytes("POST", PATH, chat_body(n), lyss.auth()))
    up.wait_request(m)
    let_go(up, m, leave(c, "fin"))
    time.sleep(0.1)
    assert up.of(n) == []


def test_a_flood_behind_a_request_does_not_hide_the_end(lyss, up, name):
    """Beyond 16 KiB what comes is discarded, and FIN and RST are still seen."""
    m = up.on(name(), fault="stall", after=5)
    c = lyss.connect()
    c.send(request_bytes("POST", PATH, chat_body(m, stream=True), lyss.auth()))
    c.until(PIECES[2].encode())
    c.send(b"GET /health/live HTTP/1.1\r\nX: " + b"y" * 300_000)
    time.sleep(0.1)
    assert up.of(m)[0].gone_at is None
    let_go(up, m, leave(c, "fin"))


def test_many_at_once(lyss, up, name):
    """Slots come back: after a hundred callers that left, the next one is served."""
    m, n = up.on(name(), fault="stall", after=4), name()
    cs = []
    for i in range(100):
        c = lyss.connect()
        c.send(request_bytes("POST", PATH, chat_body(m, stream=True), lyss.auth()))
        cs.append(c)
    up.wait(lambda: len(up.of(m)) == 100, 15, "100 streams")
    for i, c in enumerate(cs):
        leave(c, "rst" if i % 2 else "fin")
    up.wait(lambda: all(r.gone_at for r in up.of(m)), slack(1), "every upstream to be let go")
    assert lyss.chat(n).status == 200
    up.wait(lambda: len(lyss.rows("model = ?", (m,))) == 100, 5, "100 rows")
    assert all(r["state"] == "client_gone" for r in lyss.rows("model = ?", (m,)))


@pytest.fixture(scope="module")
def draining(upstream_a):
    """A process whose channels read on when the caller has gone."""
    from lib.lyss import Lyss
    with Lyss() as l:
        l.channel("main", upstream_a.url, "m-*", args=("--on-disconnect", "drain"))
        l.channel("brief", upstream_a.url, "b-*", args=("--on-disconnect", "drain", "--drain-max-s", "5", "--drain-max-tokens", "30"))
        l.caught_up()
        yield l


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("phase", ["role chunk", "streaming", "whole"])
def test_on_disconnect_drain(draining, up, name, how, phase):
    """The upstream is read to its end, and its real usage settles."""
    gate = Gate()
    m = up.on(name(), ttft=0.3) if phase == "whole" else up.on(name(), gate=gate, after=1 if phase == "role chunk" else 4)
    c = draining.connect()
    c.send(request_bytes("POST", PATH, chat_body(m, stream=phase != "whole"), draining.auth()))
    up.wait_request(m)
    c.until(PIECES[2].encode()) if phase == "streaming" else time.sleep(0.1)
    leave(c, how)
    time.sleep(0.05)
    gate.open()
    r = up.wait(lambda: up.of(m)[0].outcome != "open" and up.of(m)[0], 5, "the upstream to end")
    assert r.outcome == "complete"
    row = draining.row_of_model(m)
    assert row["state"] == "client_gone" and not row["estimated"] and row["attempts"] == 1
    assert row["out_text"] + row["out_reasoning"] == r.usage["completion_tokens"]


def test_a_drain_ends_in_time(draining, up, name):
    m = up.on(name("b"), fault="stall", after=4)
    c = draining.connect()
    c.send(request_bytes("POST", PATH, chat_body(m, stream=True), draining.auth()))
    c.until(PIECES[2].encode())
    leave(c, "fin")
    time.sleep(0.1)
    assert up.of(m)[0].gone_at is None
    draining.clock.advance(5.5)
    up.wait(lambda: up.of(m)[0].gone_at, slack(0.5), "the drain to end")
    assert draining.row_of_model(m)["state"] == "client_gone"


def test_a_drain_ends_at_its_tokens(draining, up, name):
    m = up.on(name("b"), text=tuple(PIECES) * 100, chunk_delay=0.005)
    c = draining.connect()
    c.send(request_bytes("POST", PATH, chat_body(m, stream=True), draining.auth()))
    c.until(PIECES[2].encode())
    leave(c, "fin")
    up.wait(lambda: up.of(m)[0].gone_at, slack(1), "the drain to end")
    row = draining.row_of_model(m)
    assert row["state"] == "client_gone" and row["estimated"] and 30 < row["out_text"] < 300


@pytest.mark.parametrize("fault", ["fin", "rst", "end"])
def test_a_drain_of_a_broken_answer(draining, up, name, fault):
    gate = Gate()
    m = up.on(name(), gate=gate, fault=fault, after=5)
    c = draining.connect()
    c.send(request_bytes("POST", PATH, chat_body(m, stream=True), draining.auth()))
    c.until(PIECES[2].encode())
    leave(c, "rst")
    time.sleep(0.05)
    gate.open()
    row = draining.row_of_model(m)
    assert row["state"] == "client_gone" and row["estimated"] and len(up.of(m)) == 1
