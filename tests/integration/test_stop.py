"""A gentle stop: what is under way ends by itself, what comes late is served, and nothing waits for ever."""
import signal
import sqlite3
import threading
import time

import pytest
from conftest import slack
from lib.http import Closed, Events, request_bytes
from lib.lyss import chat_body
from lib.upstream import PIECES, Gate

PATH = "/v1/chat/completions"


@pytest.fixture
def own(fresh, up):
    """A process that takes its time to stop."""
    l = fresh(["--drain-timeout-ms", "30000"])
    l.channel("main", up.url, "m-*")
    l.caught_up()
    return l


def ask(l, m, **fields):
    c = l.connect()
    c.send(request_bytes("POST", PATH, chat_body(m, **fields), l.auth()))
    return c


def ready(l):
    return l.get("/health/ready", key=None).status


def terminate(l):
    """SIGTERM; returns once it is known to be heard: new connections are still served."""
    l.process.send_signal(signal.SIGTERM)
    end = time.monotonic() + slack(1)
    while ready(l) != 503:
        assert time.monotonic() < end, "SIGTERM does not change /health/ready"


def refused(l):
    try:
        l.connect().close()
        return False
    except OSError:
        return True


def until(pred, seconds, what):
    end = time.monotonic() + seconds
    while not pred():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_what_is_under_way_ends_by_itself(own, up, name):
    gate = Gate()
    streamed, whole = up.on(name(), gate=gate, after=5), up.on(name(), gate=gate, gate_head=True)
    s, w = ask(own, streamed, stream=True), ask(own, whole)
    up.wait_request(streamed)
    up.wait_request(whole)
    r = s.head()
    terminate(own)
    assert own.get("/health/live", key=None).status == 200
    until(lambda: refused(own), slack(1), "the listeners stay open")
    assert own.process.poll() is None, "it left a stream behind"
    gate.open()
    s.body(r)
    assert r.end == "chunked" and Events(r.body).done and Events(r.body).text == "".join(PIECES)
    answer = w.response()
    assert answer.status == 200 and answer.complete and answer.header("connection") == "close"
    assert own.process.wait(slack(2)) == 0
    states = {x["model"]: x["state"] for x in own.rows("model <> 'demo'")}
    assert states == {streamed: "completed", whole: "completed"}


def test_who_comes_late_is_served(own, up, name):
    """Until whoever sends the calls has seen that it is no longer ready."""
    m, held = name(), up.on(name(), gate=(gate := Gate()), gate_head=True)
    idle = own.connect()
    assert idle.request("GET", "/health/live").status == 200
    w = ask(own, held)
    up.wait_request(held)
    terminate(own)
    for _ in range(20):
        r = own.chat(m)
        assert r.status == 200 and r.header("connection") == "close"
    r = own.stream(m)
    assert r.header("connection") == "close" and Events(r.body).done
    r = idle.request("GET", "/health/live")
    assert r.status == 200 and r.header("connection") == "close" and idle.closed(slack(1))
    gate.open()
    assert w.response().status == 200
    assert own.process.wait(slack(3)) == 0


def test_nothing_under_way(own):
    idle, begun = own.connect(), own.connect()
    assert idle.request("GET", "/health/live").status == 200
    t = time.monotonic()
    own.process.send_signal(signal.SIGTERM)
    assert idle.closed(slack(1))
    assert own.process.wait(slack(2)) == 0
    assert time.monotonic() - t < slack(2)
    begun.close()


def test_a_request_that_is_coming_in_is_under_way(own, up, name):
    m = name()
    data = request_bytes("POST", PATH, chat_body(m), own.auth())
    half, most = own.connect(), own.connect()
    half.send(data[:30])
    most.send(data[:-10])
    time.sleep(0.1)
    terminate(own)
    until(lambda: refused(own), slack(1), "the listeners stay open")
    time.sleep(0.3)
    half.send(data[30:])
    most.send(data[-10:])
    for c in (half, most):
        r = c.response()
        assert r.status == 200 and r.header("connection") == "close"
    assert own.process.wait(slack(2)) == 0


def test_the_time_is_up(own, up, name):
    """By the fake clock: then streams end in-band and the rest is told 503."""
    quiet, whole = up.on(name(), fault="stall", after=5), up.on(name(), head_delay=600)
    s, w = ask(own, quiet, stream=True), ask(own, whole)
    up.wait_request(whole)
    s.head()
    assert s.until(PIECES[2].encode())
    terminate(own)
    own.clock.advance(20)
    time.sleep(0.3)
    assert own.process.poll() is None and up.of(quiet)[0].gone_at is None
    own.clock.advance(11)
    with pytest.raises(Closed):
        while True:
            s.more()
    assert b'"error"' in s.buf and b"[DONE]" not in s.buf and not s.buf.endswith(b"0\r\n\r\n")
    r = w.response()
    assert r.status == 503 and r.error
    assert own.process.wait(slack(2)) == 0
    states = {x["model"]: x["state"] for x in own.rows("model <> 'demo'")}
    assert states == {quiet: "shutdown", whole: "shutdown"}


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait(own, up, name, second):
    m = up.on(name(), fault="stall", after=5)
    s = ask(own, m, stream=True)
    s.head()
    assert s.until(PIECES[2].encode())
    terminate(own)
    t = time.monotonic()
    own.process.send_signal(second)
    assert own.process.wait(slack(2)) == 0
    assert time.monotonic() - t < slack(2)
    with pytest.raises(Closed):
        while True:
            s.more()
    assert b'"error"' in s.buf and b"[DONE]" not in s.buf
    assert {x["state"] for x in own.rows("model = ?", (m,))} == {"shutdown"}


def test_callers_that_keep_coming_do_not_keep_it(own, up, name):
    """A poller that never stops asking is refused after a while."""
    stop = threading.Event()

    def poll():
        while not stop.is_set():
            try:
                own.get("/health/live", key=None)
            except (OSError, Closed, AssertionError):
                return
    t = threading.Thread(target=poll)
    t.start()
    own.process.send_signal(signal.SIGTERM)
    try:
        own.process.wait(5 + slack(2))
        assert own.process.returncode == 0
    finally:
        stop.set()
        t.join()


def test_a_database_that_is_stuck_does_not_hold_it(fresh, up, name):
    """Somebody else has the lock for good: what was not written waits in the journal."""
    l = fresh()
    l.channel("main", up.url, "m-*")
    l.caught_up()
    m = name()
    l.row(l.chat(m).request_id)
    db = sqlite3.connect(f"{l.data}/ledger.db", timeout=10, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        late = [l.chat(m).request_id for _ in range(3)]
        time.sleep(0.3)                          # it waits for the lock by now
        t = time.monotonic()
        l.process.send_signal(signal.SIGTERM)
        assert l.process.wait(slack(2)) == 0
        took = time.monotonic() - t
        assert took < 2, f"{took:.2f} s"         # the wait for a lock is 5 s
    finally:
        db.execute("ROLLBACK")
        db.close()
    l.process.stdout.close()
    l.start()
    for i in late:
        assert l.row(i)["state"] == "completed"
