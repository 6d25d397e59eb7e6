"""Hedging: a second attempt beside one that is slower than usual; one of them goes on, the other is let go."""
import sqlite3
import time

import pytest
from conftest import slack
from lib.http import Events, request_bytes, wait
from lib.lyss import Lyss, chat_body
from lib.upstream import PIECES, Gate, Script, Upstream, play

PATH = "/v1/chat/completions"
TEXT = "".join(PIECES)


@pytest.fixture(scope="module")
def ups():
    with Upstream() as a, Upstream() as b, Upstream() as c:
        yield a, b, c
        assert a.violations == b.violations == c.violations == []


@pytest.fixture(scope="module")
def world(ups):
    """One worker: its count of a route is the whole one."""
    with Lyss(env={"LYSS_WORKERS": "1"}) as l:
        for name, u in zip(("a", "b", "c"), ups):
            l.channel(name, u.url, "h-*", "n-*", "f-*")
        for glob, args in (("h-*", ("--hedge", "1", "--hedge-percent", "100", "--hedge-cost-percent", "100")), ("n-*", ()),
                           ("f-*", ("--hedge", "1"))):
            l.cli("route", "add", glob, "--channel", "a,priority=9", "--channel", "b,priority=5", "--channel", "c,priority=1", *args,
                  "--data", l.data)
        l.caught_up()
        yield l


@pytest.fixture
def own(world, ups):
    """Channel a is known to be quick."""
    warm(world, "h-warm", 12)
    yield world
    world.clock.advance(301)


def warm(l, m, n):
    for _ in range(n):
        assert l.stream(m).status == 200


def send(l, m, **fields):
    c = l.connect()
    c.send(request_bytes("POST", PATH, chat_body(m, **fields), l.auth()))
    return c


def attempts(l, r):
    """(number, channel, error, input tokens) of a request's attempts."""
    def get():
        db = sqlite3.connect(f"file:{l.data}/ledger.db?mode=ro", uri=True, timeout=10)
        try:
            return db.execute("SELECT number, channel_id, error, in_uncached FROM attempt WHERE request_id = ? ORDER BY number",
                              (bytes.fromhex(r.request_id.replace("-", "")),)).fetchall()
        finally:
            db.close()
    l.row(r.request_id)
    return wait(get, what="attempt rows")


@pytest.mark.parametrize("stream", [False, True])
def test_the_second_is_first(own, ups, name, stream):
    a, b, c = ups
    gate = Gate()
    m = name("h")
    a.on(m, gate=gate, gate_head=True)
    b.on(m), c.on(m)
    t = time.monotonic()
    r = own.chat(m, stream=stream)
    assert 0.19 < time.monotonic() - t < slack(1)
    assert r.status == 200 and r.complete and r.header("x-lyss-channel") == "b" and r.header("x-lyss-attempts") == "2"
    if stream:
        assert Events(r.body).done and Events(r.body).text == TEXT
    a.wait(lambda: a.of(m)[0].gone_at, slack(0.5), "the slow one to be let go")
    row = own.row(r.request_id)
    assert row["state"] == "completed" and row["attempts"] == 2 and len(own.rows("model = ?", (m,))) == 1
    rows = attempts(own, r)
    assert [x[0] for x in rows] == [1, 2] and [x[2] for x in rows] == ["HEDGED", None] and rows[0][1] != rows[1][1]
    assert c.of(m) == []


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_is_first_all_the_same(own, ups, name, stream):
    a, b, c = ups
    gate, never = Gate(), Gate()
    m = name("h")
    a.on(m, gate=gate, gate_head=True)
    b.on(m, gate=never, gate_head=True)
    with send(own, m, stream=stream) as conn:
        b.wait_request(m)
        gate.open()
        r = conn.response()
    assert r.status == 200 and r.complete and r.header("x-lyss-channel") == "a" and r.header("x-lyss-attempts") == "2"
    b.wait(lambda: b.of(m)[0].gone_at, slack(0.5), "the second to be let go")
    never.open()
    rows = attempts(own, r)
    assert [x[0] for x in rows] == [1, 2] and [x[2] for x in rows] == ["HEDGED", None]
    assert own.row(r.request_id)["attempts"] == 2


@pytest.mark.parametrize("winner", ["first", "second"])
@pytest.mark.parametrize("stream", [False, True])
def test_translated_calls(own, ups, name, stream, winner):
    """Each leg has a body of its own in the upstream's form."""
    a, b, c = ups
    g1, g2 = Gate(), Gate()
    m = name("h")
    a.on(m, gate=g1, gate_head=True)
    b.on(m, gate=g2, gate_head=True)
    body = {"model": m, "max_tokens": 50, "messages": [{"role": "user", "content": "long " * 30_000}], "stream": stream}
    with own.connect() as conn:
        conn.send(request_bytes("POST", "/v1/messages", body, own.auth()))
        b.wait_request(m)
        (g1 if winner == "first" else g2).open()
        r = conn.response()
    assert r.status == 200 and r.complete and PIECES[3].strip() in r.body.decode()
    assert r.header("x-lyss-channel") == ("a" if winner == "first" else "b")
    assert a.of(m)[0].json["messages"] == b.of(m)[0].json["messages"]
    assert own.row(r.request_id)["attempts"] == 2
    loser = b if winner == "first" else a
    loser.wait(lambda: loser.of(m)[0].gone_at, slack(0.5), "the loser to be let go")


def test_what_the_loser_used_is_counted(own, ups, name):
    """It had begun to answer: its prompt was paid for."""
    a, b, c = ups
    m = name("h")
    a.on(m, fault="stall", after=1)             # a role chunk: no content
    b.on(m)
    r = own.stream(m)
    assert r.header("x-lyss-channel") == "b" and Events(r.body).text == TEXT
    rows = attempts(own, r)
    assert rows[0][3] > 0 and own.row(r.request_id)["in_uncached"] == sum(x[3] for x in rows)


@pytest.mark.parametrize("stream", [False, True])
def test_quick_ones_are_left_alone(own, ups, name, stream):
    a, b, c = ups
    m = name("h")
    for u in ups:
        u.on(m)
    for _ in range(10):
        assert own.chat(m, stream=stream).header("x-lyss-attempts") == "1"
    assert b.of(m) == []


@pytest.mark.parametrize("loser", ["first", "second"])
@pytest.mark.parametrize("how", ["status", "reset"])
def test_one_fails_and_the_other_goes_on(own, ups, name, loser, how):
    a, b, c = ups
    fail = dict(status=500) if how == "status" else dict(fault="rst", after=0)
    g1, g2 = Gate(), Gate()
    m = name("h")
    bad, good = (g1, g2) if loser == "first" else (g2, g1)

    def script(u, gate, failing):
        async def play_(r, conn):
            await gate.wait(conn)
            await play(Script(**fail) if failing else Script(), r, conn)
        u.on(m, play_)
    script(a, g1, loser == "first")
    script(b, g2, loser == "second")
    with send(own, m, stream=True) as conn:
        b.wait_request(m)
        bad.open()
        time.sleep(0.15)
        good.open()
        r = conn.response()
    assert r.status == 200 and Events(r.body).text == TEXT and r.header("x-lyss-channel") == ("b" if loser == "first" else "a")
    assert own.row(r.request_id)["attempts"] == 2 and c.of(m) == []


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_both_fail_and_a_third_is_asked(own, ups, name, order):
    """The body is there still, whichever leg is left."""
    a, b, c = ups
    gates = {"a": Gate(), "b": Gate()}
    m = name("h")
    a.on(m, gate=gates["a"], gate_head=True, status=500)
    b.on(m, gate=gates["b"], gate_head=True, status=503)
    c.on(m)
    with send(own, m, prompt="long " * 50_000) as conn:
        b.wait_request(m)
        for x in order:
            gates[x].open()
            time.sleep(0.15)
        r = conn.response()
    assert r.status == 200 and r.header("x-lyss-channel") == "c" and r.header("x-lyss-attempts") == "3"
    assert [x[0] for x in attempts(own, r)] == [1, 2, 3]
    assert c.of(m)[0].json["messages"][1]["content"].startswith("long long")


def test_all_fail(own, ups, name):
    m = name("h")
    gates = [Gate(), Gate()]
    for u, g in zip(ups, gates + [Gate()]):
        u.on(m, gate=g, gate_head=True, status=500)
    ups[2].on(m, status=500)
    with send(own, m) as conn:
        ups[1].wait_request(m)
        [g.open() for g in gates]
        r = conn.response()
    assert r.status == 500 and own.row(r.request_id)["attempts"] == 3


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_the_caller_leaves(own, ups, name, how):
    a, b, c = ups
    m = name("h")
    gates = Gate(), Gate()
    for u, g in zip(ups, gates):
        u.on(m, gate=g, gate_head=True)
    conn = send(own, m, stream=True)
    b.wait_request(m)
    conn.reset() if how == "rst" else conn.close()
    for u in (a, b):
        u.wait(lambda: u.of(m)[0].gone_at, slack(0.5), "both to be let go")
    row = own.row_of_model(m)
    assert row["state"] == "client_gone" and row["attempts"] == 2
    [g.open() for g in gates]
    time.sleep(0.1)
    assert len(own.rows("model = ?", (m,))) == 1


def test_a_ping_before_the_second_wins(own, ups, name):
    a, b, c = ups
    g1, g2 = Gate(), Gate()
    m = name("h")
    a.on(m, gate=g1, gate_head=True)
    b.on(m, gate=g2, gate_head=True)
    with send(own, m, stream=True) as conn:
        b.wait_request(m)
        own.clock.advance(16)
        conn.until(b": ping\n\n")
        g2.open()
        conn.until(b"[DONE]")
    assert own.row_of_model(m)["state"] == "completed"


def test_joiners_of_a_hedged_call(own, ups, name):
    a, b, c = ups
    g1, g2 = Gate(), Gate()
    m = name("h")
    a.on(m, gate=g1, gate_head=True)
    b.on(m, gate=g2, gate_head=True)
    key = (("Idempotency-Key", f"k-{m}"),)
    conns = []
    for _ in range(3):
        conn = own.connect()
        conn.send(request_bytes("POST", PATH, chat_body(m, stream=True), (*own.auth(), *key)))
        conns.append(conn)
    b.wait_request(m)
    g2.open()
    got = [x.response() for x in conns]
    [x.close() for x in conns]
    assert len({r.body for r in got}) == 1 and Events(got[0].body).text == TEXT
    assert own.chat(m, stream=True, headers=key).header("x-lyss-idempotency") in ("replayed", "joined")


def test_off_by_default(world, ups, name):
    a, b, c = ups
    warm(world, "n-warm", 12)
    gate = Gate()
    m = name("n")
    a.on(m, gate=gate, gate_head=True)
    with send(world, m) as conn:
        a.wait_request(m)
        time.sleep(0.6)
        assert b.of(m) == []
        gate.open()
        assert conn.response().header("x-lyss-attempts") == "1"


def test_a_tenth_of_the_requests(world, ups, name):
    """Forty at once, all slow: four of fifty get a second one, or five."""
    a, b, c = ups
    m = name("f")
    [u.on(m) for u in ups]
    warm(world, m, 10)
    gate = Gate()
    a.on(m, gate=gate, gate_head=True)
    before = len(b.of(m))
    conns = [send(world, m, stream=True) for _ in range(40)]
    a.wait(lambda: len(a.of(m)) >= 50, 10, "all of them")
    time.sleep(0.6)
    hedged = len(b.of(m)) - before
    gate.open()
    assert all(x.response().status == 200 for x in conns)
    [x.close() for x in conns]
    assert 3 <= hedged <= 5


def test_a_channel_that_is_not_known_is_not_hedged(fresh, ups, name):
    """No second call before the usual time is known."""
    a, b, c = ups
    l = fresh(env={"LYSS_WORKERS": "2"})
    for n, u in zip("ab", ups):
        l.channel(n, u.url, "h-*")
    l.cli("route", "add", "h-*", "--channel", "a,priority=9", "--channel", "b", "--hedge", "1", "--hedge-percent", "100", "--data", l.data)
    l.caught_up()
    gate = Gate()
    m = name("h")
    a.on(m, gate=gate, gate_head=True)
    with send(l, m) as conn:
        a.wait_request(m)
        time.sleep(0.5)
        gate.open()
        assert conn.response().header("x-lyss-attempts") == "1" and b.of(m) == []


def test_stop_while_both_are_under_way(fresh, ups, name):
    a, b, c = ups
    l = fresh(env={"LYSS_WORKERS": "2"})
    for n, u in zip("ab", ups):
        l.channel(n, u.url, "h-*")
    l.cli("route", "add", "h-*", "--channel", "a,priority=9", "--channel", "b", "--hedge", "1", "--hedge-percent", "100",
          "--hedge-cost-percent", "100", "--data", l.data)
    l.caught_up()
    m, g = name("h"), Gate()
    [u.on(m) for u in ups]
    warm(l, m, 12)
    n = len(b.of(m))
    for u in (a, b):
        u.on(m, gate=g, gate_head=True)
    conns = [send(l, m, stream=bool(i & 1)) for i in range(6)]
    b.wait(lambda: len(b.of(m)) > n, 5, "a hedge")
    l.stop()
    g.open()
    [x.close() for x in conns]
