"""Every timer, by the fake clock: minutes pass in the real binary without being waited for."""
import time

import pytest
from conftest import slack
from lib.http import Closed, Events, request_bytes, wait
from lib.lyss import chat_body, sanitized
from lib.upstream import PIECES, Gate, Reply, Script, Upstream

PATH = "/v1/chat/completions"


@pytest.fixture
def own(fresh, up):
    """A process of the test's own: its clock jumps disturb nobody else."""
    l = fresh()
    l.channel("main", up.url, "m-*")
    l.caught_up()
    return l


def ask(l, c, m, **fields):
    c.send(request_bytes("POST", PATH, chat_body(m, **fields), l.auth()))


def test_ttft(own, up, name):
    m = up.on(name(), fault="stall", after=0)
    key = made_key(own, "quiet-ttft", "--ping", "off")
    with own.connect() as c:
        c.send(request_bytes("POST", PATH, chat_body(m, stream=True), own.auth(key)))
        up.wait_request(m)
        own.clock.advance(59)                    # a head came: only its silence counts from here
        assert c.silent(0.3)
        own.clock.advance(61.5)
        r = c.response()
    assert r.status == 504 and r.error["message"]
    row = own.row(r.request_id)
    assert row["state"] == "timeout" and row["status"] == 504
    up.wait(lambda: up.of(m)[0].gone_at, slack(0.5), "the upstream to be let go")


def test_ttft_before_the_head(own, up, name):
    m = up.on(name(), head_delay=1000)
    key = made_key(own, "quiet-head", "--ping", "off")
    with own.connect() as c:
        c.send(request_bytes("POST", PATH, chat_body(m, stream=True), own.auth(key)))
        up.wait_request(m)
        own.clock.advance(119)
        assert c.silent(0.3)
        own.clock.advance(1.5)
        assert c.response().status == 504
    up.wait(lambda: up.of(m)[0].gone_at, slack(0.5), "the upstream to be let go")


def test_ttft_of_a_stream_counts_to_the_first_content(own, up, name):
    """A role chunk is no token: the timer runs on."""
    m = up.on(name(), fault="stall", after=1)
    with own.connect() as c:
        ask(own, c, m, stream=True)
        up.wait_request(m)
        time.sleep(0.1)
        for _ in range(9):                       # pings may go out meanwhile
            own.clock.advance(14)
            time.sleep(0.06)
        r = c.response()
    if r.status == 504:
        assert r.error
    else:
        e = Events(r.body)
        assert r.status == 200 and r.end == "cut" and len(e.errors) == 1 and not e.done
    assert own.row(r.request_id)["state"] == "timeout"


def test_between_chunks(own, up, name):
    m = up.on(name(), fault="stall", after=5)
    with own.connect() as c:
        ask(own, c, m, stream=True)
        c.until(PIECES[3].encode())
        own.clock.advance(59)
        time.sleep(0.1)
        assert up.of(m)[0].gone_at is None
        own.clock.advance(1.5)
        up.wait(lambda: up.of(m)[0].gone_at, slack(0.5), "the upstream to be let go")
        row = own.row_of_model(m)
        assert row["state"] == "timeout" and row["out_text"] > 0
        with pytest.raises(Closed):
            c.until(b"[DONE]")
    tail = c.buf
    assert b'"error"' in tail and b"0\r\n\r\n" not in tail[-7:]


def test_chunks_that_keep_coming_keep_a_stream_alive(own, up, name):
    """No total limit for streams: an hour is fine as long as chunks come."""
    m = up.on(name(), text=tuple(PIECES) * 5, chunk_delay=0.03)
    with own.connect() as c:
        ask(own, c, m, stream=True)
        r = c.head()
        for _ in range(60):
            own.clock.advance(45)
            time.sleep(0.04)
        c.body(r)
    e = Events(r.body)
    assert r.end == "chunked" and e.done and e.text == "".join(PIECES) * 5
    assert own.row(r.request_id)["state"] == "completed"


def test_total_of_a_whole_answer(fresh, up, name):
    """Bytes trickle in: neither TTFT nor the gap between chunks ends it, the total does."""
    l = fresh()
    l.channel("main", up.url, "m-*")
    l.caught_up()
    m = name()

    async def script(r, conn):
        await conn.head(200, [("Content-Length", "1000000")])
        while True:
            await conn.write(b" ")
            await conn.sleep(0.02)
    up.on(m, script)
    with l.connect() as c:
        ask(l, c, m)
        up.wait_request(m)
        t = 0
        while t < 640 and up.of(m)[0].gone_at is None:
            l.clock.advance(20)
            t += 20
            time.sleep(0.08 if not sanitized() else 0.2)
            if t == 560:
                assert up.of(m)[0].gone_at is None
        r = c.response()
    assert r.status == 504 and l.row(r.request_id)["state"] == "timeout"


def test_a_channel_has_timers_of_its_own(fresh, up, name):
    l = fresh()
    l.channel("quick", up.url, "m-*", args=("--ttft-timeout", "300"))
    l.caught_up()
    m = up.on(name(), fault="stall", after=0)
    t = time.monotonic()
    r = l.stream(m)
    took = time.monotonic() - t
    assert r.status == 504 and 0.29 < took < 0.4 + slack(0.1)
    assert l.row(r.request_id)["state"] == "timeout"


def test_timeout_fails_over(fresh, up, up2, name):
    l = fresh()
    l.channel("slow", up.url, "m-*", args=("--ttft-timeout", "200", "--priority", "9"))
    l.channel("fast", up2.url, "m-*", args=("--priority", "1"))
    l.caught_up()
    m = up.on(name(), fault="stall", after=0)
    r = l.stream(m)
    assert r.status == 200 and r.header("x-lyss-channel") == "fast" and r.header("x-lyss-attempts") == "2"


def test_pings(own, up, name):
    """15 s of silence: a comment, between events, and the answer goes on after it."""
    gate = Gate()
    m = up.on(name(), gate=gate, after=5)
    with own.connect() as c:
        ask(own, c, m, stream=True)
        first = c.until(PIECES[3].encode())
        assert b": ping" not in first
        own.clock.advance(14)
        assert c.silent(0.2) or b": ping" not in c.buf
        own.clock.advance(1.5)
        first += c.until(b": ping\n\n")
        own.clock.advance(15.5)
        first += c.until(b": ping\n\n")
        gate.open()
        first += c.until(b"0\r\n\r\n")
    e = Events(dechunk(first[first.index(b"\r\n\r\n") + 4:]))
    assert e.comments == 2 and e.done and e.text == "".join(PIECES)


def dechunk(raw):
    out = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        n = int(size, 16)
        out, raw = out + raw[:n], raw[n + 2:]
        if not n:
            return out
    return out


def test_a_ping_before_the_first_token_fixes_the_head_but_not_the_channel(fresh, up, up2, name):
    """Head sent is not the commit point: failover is still allowed, errors are in-band."""
    l = fresh()
    l.channel("one", up.url, "m-*", "x-*", args=("--priority", "9"))
    l.channel("two", up2.url, "m-*", args=("--priority", "1"))
    l.caught_up()
    gate = Gate()
    m = up.on(name(), gate=gate, gate_head=True, status=500)
    with l.connect() as c:
        ask(l, c, m, stream=True)
        up.wait_request(m)
        l.clock.advance(15.5)
        r = c.head()
        assert r.status == 200
        assert c.until(b": ping\n\n")
        gate.open()
        c.until(b"[DONE]")
    assert len(up2.of(m)) == 1
    gate = Gate()
    x = up.on(name("x"), gate=gate, gate_head=True, status=400)
    with l.connect() as c:
        ask(l, c, x, stream=True)
        up.wait_request(x)
        l.clock.advance(15.5)
        r = c.head()
        assert r.status == 200
        gate.open()
        c.body(r)
    e = Events(r.body)
    assert r.end == "cut" and e.comments >= 1 and len(e.errors) == 1 and not e.done


def test_no_ping_inside_an_event(own, up, name):
    """The upstream stops in the middle of an event: no comment may go out there."""
    m = name()
    script = Script()

    async def play(r, conn):
        events = Reply(r, script).events()
        await conn.head(200, [("Transfer-Encoding", "chunked")], "text/event-stream")
        for x in events[:4]:
            await conn.chunk(x)
        big = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"' + b"z" * 150_000 + b'"},"finish_reason":null}]}\n\n'
        await conn.chunk(big[:120_000])
        await conn.sleep(0.8)
        await conn.chunk(big[120_000:])
        for x in events[4:]:
            await conn.chunk(x)
        await conn.end()
    up.on(m, play)
    with own.connect() as c:
        ask(own, c, m, stream=True)
        r = c.head()
        time.sleep(0.3)
        own.clock.advance(16)
        c.body(r)
    assert Events(r.body).done and b"zz: ping" not in r.body and r.body.count(b"z" * 150_000) == 1


def test_ping_off_by_key(own, up, name):
    key = made_key(own, "quiet", "--ping", "off")
    m = up.on(name(), fault="stall", after=5)
    with own.connect() as c:
        c.send(request_bytes("POST", PATH, chat_body(m, stream=True), own.auth(key)))
        c.until(PIECES[3].encode())
        c.buf = b""
        own.clock.advance(31)
        time.sleep(0.3)
        own.clock.advance(31)
        with pytest.raises(Closed):
            c.until(b"[DONE]")
        assert b": ping" not in c.buf and b'"error"' in c.buf


def made_key(l, name_, *args):
    """Makes a key with the command line; waits until it is served."""
    import json
    out = json.loads(l.cli("key", "add", name_, *args, "--data", l.data, "--json").stdout)
    key = out.get("api_key") or out.get("key") or out.get("secret")
    l.secrets.append(key)
    wait(lambda: l.get("/v1/models", key=key).status == 200, 5, "the new key")
    return key


# the caller's side -----------------------------------------------------------

@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_head_not_complete_in_10_s(own, sent):
    with own.connect() as c:
        c.send(sent or b"\r\n")
        time.sleep(0.1)
        own.clock.advance(9)
        assert c.silent(0.2)
        own.clock.advance(1.2)
        try:
            r = c.response()
            assert r.status == 408 and r.header("connection") == "close"
        except Closed:
            assert sent == b""                   # nothing was asked: closing in silence is fine


def test_a_trickled_head_gets_no_more_time(own):
    with own.connect() as c:
        c.send(b"GET /health/live HTTP/1.1\r\n")
        for i in range(11):
            try:
                c.send(b"X-%d: a\r\n" % i)
            except OSError:
                break
            own.clock.advance(1.0)
            time.sleep(0.05)
        assert c.response().status == 408


def test_slow_body(own, up, name):
    m = name()
    with own.connect() as c:
        c.send(request_bytes("POST", PATH, b"", (*own.auth(), ("Content-Length", "100000"))))
        c.send(b'{"model":"' + m.encode())
        time.sleep(0.1)
        for i in range(29):
            own.clock.advance(1)
            time.sleep(0.03)
            c.send(b"x" * 50)                    # half of what is asked for
        own.clock.advance(2.5)
        r = c.response()
    assert r.status == 408 and up.of(m) == []


def test_a_fast_enough_body_is_served(own, up, name):
    m = name()
    body = chat_body(m, "long " * 1500)
    data = request_bytes("POST", PATH, body, own.auth())
    with own.connect() as c:
        at = data.index(b"\r\n\r\n") + 4
        c.send(data[:at])
        for i in range(at, len(data), 200):
            c.send(data[i:i + 200])
            own.clock.advance(1)
            time.sleep(0.03)
        assert c.response().status == 200


def test_idle_keep_alive_connections_close_in_the_end(own):
    with own.connect() as c:
        assert c.request("GET", "/health/live").status == 200
        time.sleep(0.1)                          # its timer is set after the answer
        own.clock.advance(3600)
        assert c.closed()


def test_write_stall(fresh, name):
    """A caller that takes nothing for 60 s is gone."""
    with Upstream(sndbuf=16384) as u:
        l = fresh()
        l.channel("main", u.url, "m-*")
        l.caught_up()
        m = u.on(name(), text=("x" * 8000,) * 3000)
        with l.connect(rcvbuf=4096) as c:
            ask(l, c, m, stream=True)
            u.wait_request(m)
            time.sleep(0.5)
            l.clock.advance(59)
            time.sleep(0.1)
            assert u.of(m)[0].gone_at is None
            l.clock.advance(2)
            u.wait(lambda: u.of(m)[0].gone_at, slack(0.5), "the upstream to be let go")
            assert l.row_of_model(m)["state"] == "client_gone"


def test_backpressure(fresh, name):
    """A caller that reads slowly slows the upstream: what lies between is bounded."""
    with Upstream(sndbuf=16384) as u:
        l = fresh()
        l.channel("main", u.url, "m-*")
        l.caught_up()
        m = u.on(name(), text=("x" * 8000,) * 1000)
        with l.connect(rcvbuf=8192, timeout=30) as c:
            ask(l, c, m, stream=True)
            u.wait_request(m)
            last = -1
            while last != u.bytes_out:
                last = u.bytes_out
                time.sleep(0.4)
            assert last < 6_000_000, f"{last} bytes are somewhere"   # kernel buffers and 64 KiB
            rss = resident(l.process.pid)
            l.clock.advance(50)                  # the timer between chunks stands still
            time.sleep(0.1)
            r = c.response()
            if not sanitized():                  # whose allocator keeps what is freed
                assert resident(l.process.pid) - rss < 20_000
        e = Events(r.body)
        assert r.end == "chunked" and e.done and len(e.text) == 8000 * 1000
        assert l.row(r.request_id)["state"] == "completed"


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return int([x for x in f if x.startswith("VmRSS")][0].split()[1])


def test_idle_upstream_connections_are_closed_after_50_s(own, up, name):
    m = name()
    own.chat(m)
    conn = up.of(m)[0].conn
    time.sleep(0.1)
    assert conn.gone_at is None
    own.clock.advance(49)
    time.sleep(0.2)
    assert conn.gone_at is None
    own.clock.advance(2)
    up.wait(lambda: conn.gone_at, slack(0.5), "the idle connection to close")
