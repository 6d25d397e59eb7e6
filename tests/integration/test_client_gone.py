"""The caller goes away, by FIN or RST, in every phase: the upstream is let go at once and a row is written."""
import os
import time

import pytest
from conftest import slack
from lib.fake_dns import SILENCE, FakeDns
from lib.fault_proxy import Fault, FaultProxy, Unanswered
from lib.http import request_bytes
from lib.lyss import chat_body
from lib.upstream import PIECES, Gate, Upstream

PATH = "/v1/chat/completions"


def leave(c, how):
    t = time.perf_counter()
    c.reset() if how == "rst" else c.close()
    return t


def let_go(up, m):
    """The caller has gone, and the upstream sees it soon, not by a timer."""
    up.wait(lambda: up.of(m) and up.of(m)[-1].gone_at, slack(0.1), "the upstream to be let go")


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
    leave(c, how)
    let_go(up, m)
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
    leave(c, "rst")
    time.sleep(0.1)
    if up.of(m):
        let_go(up, m)
        assert lyss.row_of_model(m)["state"] == "client_gone"


def test_gone_while_a_retry_would_be_due(lyss, up, up2, name):
    gate = Gate()
    m = up.on(name("fo"), gate=gate, gate_head=True, status=500)
    c = lyss.connect()
    c.send(request_bytes("POST", PATH, chat_body(m), lyss.auth()))
    up.wait_request(m)
    leave(c, "rst")
    let_go(up, m)
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
    leave(c, "fin")
    let_go(up, m)
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
    leave(c, "fin")
    let_go(up, m)


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


# every phase, with what it held given back --------------------------------------

def metric(l, name_):
    return [float(x.rsplit(" ", 1)[1]) for x in l.get("/metrics", key=None).body.decode().splitlines() if x.startswith(name_)]


def given_back(l):
    """No call under way in any channel, no connection to an upstream that is not idle in the pool."""
    return sum(metric(l, "lyss_channel_in_flight")) == 0


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("phase", ["name", "connect", "handshake", "half an event", "half a chunk", "backpressure"])
def test_gone_in_every_phase(fresh, name, how, phase):
    with FakeDns() as d, Unanswered() as nobody, Upstream(sndbuf=16384) as u, FaultProxy(u.port) as p:
        d.names["quiet.test"] = SILENCE
        l = fresh(env={"LYSS_DNS_SERVERS": d.address})
        url = {"name": "http://quiet.test/v1", "connect": nobody.url, "handshake": p.url.replace("http:", "https:")}.get(phase, u.url)
        l.channel("one", url, "m-*")
        l.caught_up()
        m = name()
        piece = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hal'
        if phase == "half an event":
            u.on(m, fault="stall", after=3, tail=piece)
        elif phase == "half a chunk":
            async def half(r, conn):
                await conn.head(200, (("Transfer-Encoding", "chunked"),), "text/event-stream")
                await conn.write(b"400\r\n" + piece)
                await conn.stall()
            u.on(m, half)
        elif phase == "backpressure":
            u.on(m, text=("x" * 8000,) * 3000)
        p.fault = Fault("hole")
        c = l.connect(rcvbuf=4096 if phase == "backpressure" else 0)
        c.send(request_bytes("POST", PATH, chat_body(m, stream=True), l.auth()))
        if phase == "name":
            u.wait(lambda: d.asked.get("quiet.test"), 5, "the question")
        elif phase == "handshake":
            u.wait(lambda: p.connections, 5, "the connection")
        elif phase == "connect":
            u.wait(lambda: sum(metric(l, "lyss_channel_in_flight")), 5, "the call")
        else:
            u.wait_request(m)
        if phase == "backpressure":
            before = -1
            while before != u.bytes_out:
                before = u.bytes_out
                time.sleep(0.2)
        time.sleep(0.05)
        if how == "fin":
            c.half_close()                       # close() with bytes unread would be a reset
        else:
            c.reset()
        if phase == "handshake":
            u.wait(lambda: not p.open, slack(0.1), "the connection to be let go")
        elif phase not in ("name", "connect"):
            let_go(u, m)
        u.wait(lambda: given_back(l), slack(0.1), "the slot")
        row = l.row_of_model(m)
        assert row["state"] == "client_gone" and row["attempts"] == 1
        time.sleep(0.1)
        assert len(u.of(m)) <= 1, "nothing is tried again"
        assert sum(metric(l, "lyss_upstream_connections")) == 0
        c.close()


def test_let_go_within_10_ms(lyss, up, name):
    """At the 99th percentile, over phases and both ends."""
    n = 100 if os.environ.get("LYSS_TORTURE") else 25
    times = []
    for fields in (dict(head_delay=30), dict(fault="stall", after=1), dict(fault="stall", after=5), dict(chunk_delay=0.005, text=tuple(PIECES) * 100)):
        m = up.on(name(), **fields)
        for i in range(n):
            c = lyss.connect()
            c.send(request_bytes("POST", PATH, chat_body(m, stream=True), lyss.auth()))
            up.wait_request(m, i + 1)
            time.sleep(0.005)
            t = leave(c, "rst" if i % 2 else "fin")
            r = up.wait(lambda: up.of(m)[i].gone_at and up.of(m)[i], slack(1), "the upstream to be let go")
            times.append((r.gone_at - t) * 1000)
    p99 = sorted(times)[len(times) * 99 // 100 - 1]
    assert p99 <= slack(0.01) * 1000, f"{p99:.1f} ms"
    up.wait(lambda: given_back(lyss), slack(0.1), "the slots")
