"""Streams below a channel's min_output_tps: they end in-band, and count against the channel."""
import re
import time

import pytest
from conftest import slack
from lib.http import Closed, Events, request_bytes
from lib.lyss import chat_body
from lib.upstream import PIECES, Gate, Reply, Script, Upstream

PATH = "/v1/chat/completions"


@pytest.fixture
def own(fresh, up):
    l = fresh()
    l.channel("strict", up.url, "m-*", args=("--min-output-tps", "2"))
    l.channel("any", up.url, "a-*")
    l.caught_up()
    return l


def stream(l, m):
    c = l.connect()
    c.send(request_bytes("POST", PATH, chat_body(m, stream=True), l.auth()))
    c.until(PIECES[2].encode())
    return c


def trickle(l, up, m, step, pieces):
    """A gate a piece: the test moves the clock, then lets the next one come."""
    gates = [Gate() for _ in range(pieces)]

    async def script(r, conn):
        events = Reply(r, Script(text=tuple(PIECES) * 5)).events()
        await conn.head(200, [("Transfer-Encoding", "chunked")], "text/event-stream")
        for e in events[:6]:
            await conn.chunk(e)
        for g, e in zip(gates, events[6:]):
            await g.wait(conn)
            await conn.chunk(e)
        for e in events[6 + pieces:]:
            await conn.chunk(e)
        await conn.end()
    up.on(m, script)
    c = stream(l, m)
    for g in gates:
        if up.of(m)[0].gone_at:
            break
        l.clock.advance(step)
        time.sleep(0.06)
        g.open()
        time.sleep(0.03)
    return c


def test_a_stream_that_trickles_ends_in_band(own, up, name):
    """A token every four seconds feeds the timer between chunks, and is too slow all the same."""
    m = name()
    with trickle(own, up, m, 4, 12) as c:
        up.wait(lambda: up.of(m)[0].gone_at, slack(0.5), "the upstream to be let go")
        with pytest.raises(Closed):
            c.until(b"0\r\n\r\n")
        assert b'"upstream_timeout"' in c.buf and b"too slow" in c.buf and b"[DONE]" not in c.buf
    row = own.row_of_model(m)
    assert row["state"] == "timeout" and row["out_text"] > 0 and row["estimated"]
    metrics = own.get("/metrics", key=None).body.decode()
    ratio = float(re.search(r'lyss_channel_success_ratio{channel="strict"} ([\d.]+)', metrics)[1])
    assert ratio < 1, "it counts against the channel"


def test_thirty_seconds_of_silence(own, up, name):
    """Half of what the timer between chunks would take."""
    gate = Gate()
    m = up.on(name(), gate=gate, after=6)
    with stream(own, m):
        own.clock.advance(29)
        time.sleep(0.1)
        assert up.of(m)[0].gone_at is None
        own.clock.advance(1.5)
        up.wait(lambda: up.of(m)[0].gone_at, slack(0.5), "the upstream to be let go")
    assert own.row_of_model(m)["state"] == "timeout"


def test_fast_enough(own, up, name):
    """Ten tokens at once every second or so: two minutes pass."""
    m = up.on(name(), text=tuple(PIECES) * 40, chunk_delay=0.004)
    with stream(own, m) as c:
        for _ in range(60):
            own.clock.advance(2)
            time.sleep(0.03)
        c.until(b"[DONE]")
    assert own.row_of_model(m)["state"] == "completed"


def test_off_by_default(own, up, name):
    m = name("a")
    with trickle(own, up, m, 8, 10) as c:
        c.until(b"[DONE]")
    assert own.row_of_model(m)["state"] == "completed"


def test_a_slow_caller_is_not_a_slow_upstream(fresh, name):
    """While its caller takes nothing the upstream is not read, and not judged."""
    with Upstream(sndbuf=16384) as u:
        l = fresh(env={"LYSS_WRITE_STALL_MS": "600000"})
        l.channel("strict", u.url, "m-*", args=("--min-output-tps", "2"))
        l.caught_up()
        m = u.on(name(), text=("x" * 8000,) * 600)
        with l.connect(rcvbuf=4096, timeout=30) as c:
            c.send(request_bytes("POST", PATH, chat_body(m, stream=True), l.auth()))
            u.wait_request(m)
            time.sleep(0.5)
            l.clock.advance(45)
            time.sleep(0.1)
            assert u.of(m)[0].gone_at is None
            r = c.response()
        assert r.end == "chunked" and Events(r.body).done
        assert l.row_of_model(m)["state"] == "completed"


def test_whole_answers_have_no_pace(own, up, name):
    gate = Gate()
    m = up.on(name(), gate=gate, gate_head=True)
    with own.connect() as c:
        c.send(request_bytes("POST", PATH, chat_body(m), own.auth()))
        up.wait_request(m)
        own.clock.advance(50)
        time.sleep(0.1)
        gate.open()
        assert c.response().status == 200
