"""Idempotency-Key: the first request makes the call, the others get its answer, whichever workers they meet."""
import json
import re
import threading
import time

import pytest
from conftest import slack
from lib.http import Events, request_bytes, wait
from lib.lyss import Lyss, chat_body
from lib.upstream import PIECES, Gate, Upstream

PATH = "/v1/chat/completions"
WORD = "x-lyss-idempotency"
AGAIN = ("replayed", "joined")      # the word of the answer's end may still be on its way to the owner


@pytest.fixture(scope="module")
def many(upstream_a, upstream_b):
    """Four workers, so that callers and keys rarely meet on the same one."""
    with Lyss(env={"LYSS_WORKERS": "4"}) as l:
        l.channel("main", upstream_a.url, "m-*")
        l.channel("first", upstream_a.url, "fo-*", args=("--priority", "9"))
        l.channel("second", upstream_b.url, "fo-*", args=("--priority", "5"))
        l.caught_up()
        yield l


def headers(l, key):
    return (*l.auth(), ("Idempotency-Key", key))


def send(l, m, key, **fields):
    c = l.connect()
    c.send(request_bytes("POST", PATH, chat_body(m, **fields), headers(l, key)))
    return c


def ask(l, m, key, **fields):
    with send(l, m, key, **fields) as c:
        return c.response()


def one_row(l, m):
    """The one usage row of a model name, with time for a second one to turn up."""
    row = l.row_of_model(m)
    time.sleep(0.1)
    assert len(l.rows("model = ?", (m,))) == 1
    return row


def metric(l, result):
    m = re.search(rf'lyss_idempotency_total{{result="{result}"}} (\d+)', l.get("/metrics", key=None).body.decode())
    return int(m[1])


@pytest.mark.parametrize("stream", [False, True])
def test_replayed(many, up, name, stream):
    m = name()
    before = metric(many, "replayed") + metric(many, "joined")
    first = ask(many, m, f"k-{m}", stream=stream)
    assert first.status == 200 and first.header(WORD) is None
    for _ in range(8):
        r = ask(many, m, f"k-{m}", stream=stream)
        assert r.status == 200 and r.body == first.body and r.header(WORD) in AGAIN
        assert r.header("content-type") == first.header("content-type")
        assert r.request_id != first.request_id and r.complete
    assert len(up.of(m)) == 1
    assert one_row(many, m)["request_id"] == first.request_id, "a replay costs nothing"
    assert metric(many, "replayed") + metric(many, "joined") == before + 8
    wait(lambda: r.request_id in many.log_text(), what="the replay's log line")


def test_another_body_is_a_conflict(many, up, name):
    m = name()
    assert ask(many, m, f"k-{m}").status == 200
    for other in (dict(prompt="Else."), dict(stream=True), dict(temperature=0.5)):
        r = ask(many, m, f"k-{m}", **other)
        assert r.status == 409 and r.error["code"] == "conflict" and "Idempotency-Key" in r.error["message"]
    assert len(up.of(m)) == 1
    assert ask(many, m, f"k-{m}-2", prompt="Else.").header(WORD) is None


def test_conflict_with_a_call_under_way_in_each_dialect(many, up, name):
    gate = Gate()
    m = up.on(name(), gate=gate, gate_head=True)
    with send(many, m, f"k-{m}") as c:
        up.wait_request(m)
        assert ask(many, m, f"k-{m}", stream=True).status == 409
        r = many.post("/v1/messages", {"model": m, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
                      (("Idempotency-Key", f"k-{m}"),))
        assert r.status == 409 and r.json["type"] == "error" and r.json["error"]["type"] == "invalid_request_error"
        gate.open()
        assert c.response().status == 200


def test_keys_belong_to_an_api_key(many, up, name):
    m = name()
    other = json.loads(many.cli("key", "add", f"other-{m}", "--data", many.data, "--json").stdout)["api_key"]
    many.secrets.append(other)
    many.caught_up()
    assert ask(many, m, "shared").status == 200
    r = many.chat(m, headers=(("Idempotency-Key", "shared"),), key=other)
    assert r.status == 200 and r.header(WORD) is None and len(up.of(m)) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_joined(many, up, name, stream):
    """Twenty at once: one call, one answer, one row."""
    gate = Gate()
    m = up.on(name(), gate=gate, gate_head=not stream, after=3)
    conns = [send(many, m, f"k-{m}", stream=stream) for _ in range(20)]
    up.wait_request(m)
    time.sleep(0.2)
    gate.open()
    got = [c.response() for c in conns]
    [c.close() for c in conns]
    assert len({r.body for r in got}) == 1 and all(r.status == 200 and r.complete for r in got)
    words = [r.header(WORD) for r in got]
    assert words.count(None) == 1 and words.count("joined") == 19
    if stream:
        assert Events(got[0].body).done and Events(got[0].body).text == "".join(PIECES)
    assert len(up.of(m)) == 1 and one_row(many, m)["state"] == "completed"


def test_a_joiner_of_a_stream_gets_pings(many, up, name):
    gate = Gate()
    m = up.on(name(), gate=gate, after=3)
    with send(many, m, f"k-{m}", stream=True) as first:
        first.until(PIECES[0].encode())
        with send(many, m, f"k-{m}", stream=True) as second:
            time.sleep(0.1)
            many.clock.advance(16)
            head = second.head()
            assert head.status == 200 and head.header(WORD) == "joined"
            time.sleep(0.1)
            gate.open()
            e = Events(second.body(head).body)
            assert head.end == "chunked" and e.comments == 1 and e.done and e.text == "".join(PIECES)
    assert len(up.of(m)) == 1


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_joiner_that_leaves_changes_nothing(many, up, name, how):
    gate = Gate()
    m = up.on(name(), gate=gate, gate_head=True)
    with send(many, m, f"k-{m}") as first:
        up.wait_request(m)
        others = [send(many, m, f"k-{m}") for _ in range(8)]
        time.sleep(0.1)
        for c in others[:6]:
            c.reset() if how == "rst" else c.close()
        time.sleep(0.1)
        assert up.of(m)[0].gone_at is None
        gate.open()
        want = first.response()
        assert want.status == 200
        for c in others[6:]:
            assert c.response().body == want.body
            c.close()
    assert len(up.of(m)) == 1 and one_row(many, m)["state"] == "completed"


@pytest.mark.parametrize("phase", ["before the head", "streaming", "whole"])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_the_first_leaves_and_others_wait(many, up, name, phase, how):
    """The call goes on for them; its row says that its caller left."""
    gate, stream = Gate(), phase != "whole"
    m = up.on(name(), gate=gate, gate_head=phase != "streaming", after=4)
    first = send(many, m, f"k-{m}", stream=stream)
    up.wait_request(m)
    if phase == "streaming":
        first.until(PIECES[1].encode())
    others = [send(many, m, f"k-{m}", stream=stream) for _ in range(4)]
    time.sleep(0.2)
    first.reset() if how == "rst" else first.close()
    time.sleep(0.1)
    assert up.of(m)[0].gone_at is None
    gate.open()
    for c in others:
        r = c.response()
        c.close()
        assert r.status == 200 and r.complete and r.header(WORD) == "joined"
        if stream:
            assert Events(r.body).text == "".join(PIECES)
    assert ask(many, m, f"k-{m}", stream=stream).header(WORD) in AGAIN
    row = many.row_of_model(m)
    assert row["state"] == "client_gone" and not row["estimated"] and len(up.of(m)) == 1


def test_all_leave_and_the_call_is_let_go(many, up, name):
    gate = Gate()
    m = up.on(name(), gate=gate, after=4)
    first = send(many, m, f"k-{m}", stream=True)
    first.until(PIECES[1].encode())
    others = [send(many, m, f"k-{m}", stream=True) for _ in range(4)]
    time.sleep(0.2)
    first.close()
    time.sleep(0.05)
    assert up.of(m)[0].gone_at is None
    for c in others:
        c.close()
    up.wait(lambda: up.of(m)[0].gone_at, slack(1), "the upstream to be let go")
    assert many.row_of_model(m)["state"] == "client_gone"
    gate.open()
    assert ask(many, m, f"k-{m}", stream=True).header(WORD) is None, "nothing was kept"


def test_the_first_leaves_alone(many, up, name):
    """Nobody waits: the call ends as any other, and the next request makes its own."""
    gate = Gate()
    m = up.on(name(), gate=gate, gate_head=True)
    first = send(many, m, f"k-{m}")
    up.wait_request(m)
    first.close()
    up.wait(lambda: up.of(m)[0].gone_at, slack(1), "the upstream to be let go")
    gate.open()
    assert ask(many, m, f"k-{m}").status == 200 and len(up.of(m)) == 2


def test_retries_go_on_for_those_who_wait(many, up, up2, name):
    gate = Gate()
    m = up.on(name("fo"), gate=gate, gate_head=True, status=500)
    first = send(many, m, f"k-{m}")
    up.wait_request(m)
    second = send(many, m, f"k-{m}")
    time.sleep(0.15)
    first.close()
    time.sleep(0.05)
    gate.open()
    r = second.response()
    second.close()
    assert r.status == 200 and r.header(WORD) == "joined" and len(up2.of(m)) == 1
    row = many.row_of_model(m)
    assert row["attempts"] == 2 and row["state"] == "client_gone"


@pytest.mark.parametrize("status", [500, 429])
def test_a_failure_is_shared_but_not_stored(many, up, name, status):
    gate = Gate()
    m = up.on(name(), gate=gate, gate_head=True, status=status)
    conns = [send(many, m, f"k-{m}") for _ in range(3)]
    up.wait_request(m)
    time.sleep(0.2)
    gate.open()
    got = [c.response() for c in conns]
    [c.close() for c in conns]
    assert len({r.body for r in got}) == 1 and all(r.status == status for r in got), got
    assert sorted(str(r.header(WORD)) for r in got) == ["None", "joined", "joined"]
    up.on(m)
    many.clock.advance(301)
    r = ask(many, m, f"k-{m}")
    assert r.status == 200 and r.header(WORD) is None


def test_a_refusal_is_stored(many, up, name):
    """The same body would be refused again."""
    m = up.on(name(), status=422)
    first = ask(many, m, f"k-{m}")
    up.on(m)
    r = ask(many, m, f"k-{m}")
    assert first.status == r.status == 422 and r.body == first.body and r.header(WORD) in AGAIN
    assert len(up.of(m)) == 1


def test_a_broken_stream_is_shared_but_not_stored(many, up, name):
    gate = Gate()
    m = up.on(name(), gate=gate, after=5, fault="fin")
    conns = [send(many, m, f"k-{m}", stream=True) for _ in range(3)]
    up.wait_request(m)
    time.sleep(0.2)
    gate.open()
    for c in conns:
        r = c.response()
        c.close()
        e = Events(r.body)
        assert r.status == 200 and r.end == "cut" and len(e.errors) == 1 and not e.done
    up.on(m)
    assert Events(ask(many, m, f"k-{m}", stream=True).body).done


def test_an_error_after_pings_is_told_in_band(many, up, name):
    gate = Gate()
    m = up.on(name(), gate=gate, gate_head=True, status=500)
    first = send(many, m, f"k-{m}", stream=True)
    up.wait_request(m)
    second = send(many, m, f"k-{m}", stream=True)
    time.sleep(0.1)
    many.clock.advance(16)
    time.sleep(0.1)
    gate.open()
    for c in (first, second):
        r = c.response()
        c.close()
        e = Events(r.body)
        assert r.status == 200 and r.end == "cut" and e.comments == 1 and len(e.errors) == 1 and not e.done


def test_promoted_after_pings(many, up, name):
    """The first leaves just as the second joins: whoever is left makes the call."""
    gate = Gate()
    m = up.on(name(), gate=gate, gate_head=True)
    first = send(many, m, f"k-{m}", stream=True)
    up.wait_request(m)
    first.close()
    second = send(many, m, f"k-{m}", stream=True)
    time.sleep(0.1)
    gate.open()
    e = Events(second.response().body)
    second.close()
    assert e.done and e.text == "".join(PIECES)


def test_kept_for_ten_minutes(fresh, up, name):
    l = fresh(env={"LYSS_WORKERS": "2"})
    l.channel("main", up.url, "m-*")
    l.caught_up()
    m = name()
    assert ask(l, m, "k").status == 200
    time.sleep(0.1)
    l.clock.advance(599)
    assert ask(l, m, "k").header(WORD) in AGAIN
    l.clock.advance(2)
    assert ask(l, m, "k").header(WORD) is None and len(up.of(m)) == 2
    time.sleep(0.1)
    l.clock.advance(610)

    def empty():
        return re.search(r"lyss_idempotency_bytes (\d+)", l.get("/metrics", key=None).body.decode())[1] == "0"
    wait(empty, slack(1), "memory to come back")


def test_over_the_cap_nothing_is_stored(fresh, up, name):
    l = fresh(env={"LYSS_WORKERS": "2", "LYSS_IDEMPOTENCY_BYTES": "512KiB"})
    l.channel("main", up.url, "m-*")
    l.caught_up()
    m, long = up.on(name(), text=("x" * 1000,) * 60), up.on(name(), text=("x" * 1000,) * 200)
    words = []
    for i in range(12):
        words.append(ask(l, m, f"k{i}").header(WORD))
    assert words[0] is None and "not-stored" in words
    n = words.index("not-stored")
    assert all(w == "not-stored" for w in words[n:]), words
    assert all(ask(l, m, f"k{i}").header(WORD) in AGAIN for i in range(n))
    used = int(re.search(r"lyss_idempotency_bytes (\d+)", l.get("/metrics", key=None).body.decode())[1])
    assert 0 < used <= 512 * 1024
    time.sleep(0.1)
    l.clock.advance(601)
    assert ask(l, m, "k0").header(WORD) is None and ask(l, m, "k0").header(WORD) in AGAIN
    time.sleep(0.1)
    l.clock.advance(601)
    assert ask(l, long, "long").header(WORD) == "not-stored"      # more than its share
    r = ask(l, long, "long")
    assert r.status == 200 and r.header(WORD) == "not-stored" and len(up.of(long)) == 2


def test_a_stream_that_outgrows_its_share(fresh, up, name):
    """Its caller gets it whole; those who wait are told, and nothing is kept."""
    l = fresh(env={"LYSS_WORKERS": "2", "LYSS_IDEMPOTENCY_BYTES": "512KiB"})
    l.channel("main", up.url, "m-*")
    l.caught_up()
    gate = Gate()
    m = up.on(name(), text=("x" * 1000,) * 200, gate=gate, after=3)
    with send(l, m, "k", stream=True) as first:
        first.until(b"xxx")
        with send(l, m, "k", stream=True) as second:
            time.sleep(0.1)
            gate.open()
            r = second.response()
            assert r.status == 503 and r.error["message"]
        first.until(b"[DONE]")
    assert ask(l, m, "k", stream=True).header(WORD) is None


def test_long_stream_to_a_slow_reader(many, up, name):
    m = up.on(name(), text=("x" * 4000,) * 500)
    first = ask(many, m, f"k-{m}", stream=True)
    with many.connect(rcvbuf=4096, timeout=60) as c:
        c.send(request_bytes("POST", PATH, chat_body(m, stream=True), headers(many, f"k-{m}")))
        time.sleep(0.3)
        r = c.response()
        assert r.end == "chunked" and r.body == first.body and r.header(WORD) in AGAIN
        assert c.request("GET", "/health/live").status == 200, "the connection lives on"


def test_long_bodies_are_digested_in_steps(many, up, name):
    m = name()
    long = "word " * 600_000
    assert ask(many, m, f"k-{m}", prompt=long).status == 200
    assert ask(many, m, f"k-{m}", prompt=long).header(WORD) in AGAIN
    assert ask(many, m, f"k-{m}", prompt=long + "!").status == 409


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_bad_key(many, name, key):
    r = ask(many, name(), key)
    assert r.status == 400 and "Idempotency-Key" in r.error["message"]


def test_other_operations_have_no_use_for_it(many):
    assert many.get("/v1/models", headers=(("Idempotency-Key", "k"),)).status == 200
    assert many.get("/v1/models", headers=(("Idempotency-Key", "k"),)).header(WORD) is None


def test_embeddings(many, up, name):
    m = name()
    body = {"model": m, "input": "hello"}
    a, b = [many.post("/v1/embeddings", body, (("Idempotency-Key", f"k-{m}"),)) for _ in range(2)]
    assert a.status == 200 and a.body == b.body and b.header(WORD) in AGAIN


def test_stop_with_everything_under_way(fresh, up, name):
    """First ones, joiners and stored answers on four workers: a clean end, nobody left hanging."""
    l = fresh(env={"LYSS_WORKERS": "4"})
    l.channel("main", up.url, "m-*")
    l.caught_up()
    gate = Gate()
    ms = [up.on(name(), gate=gate, after=3) for _ in range(6)]
    conns = [send(l, m, f"k-{m}", stream=True) for m in ms for _ in range(6)]
    done = name()
    ask(l, done, "done")
    [up.wait_request(m) for m in ms]
    time.sleep(0.2)
    threads = [threading.Thread(target=c.response) for c in conns]
    [t.start() for t in threads]
    assert l.stop() < slack(2)
    gate.open()
    [t.join(5) for t in threads]
    assert not any(t.is_alive() for t in threads)


def test_storm(many, up, name):
    """Callers of all kinds on a handful of keys: never two calls for a key that was answered."""
    m = up.on(name(), ttft=0.02)
    stop, wrong = time.monotonic() + 2, []

    def caller(n):
        i = n
        while time.monotonic() < stop:
            i += 1
            c = send(many, m, f"s-{m}-{i % 7}", stream=bool(i % 7 & 1))
            if i % 3 == 0:
                time.sleep(0.005)
                c.reset() if i & 1 else c.close()
                continue
            r = c.response()
            c.close()
            if r.status != 200 or not r.complete:
                wrong.append((r.status, r.end, r.body[:300]))
    threads = [threading.Thread(target=caller, args=(n,)) for n in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong, wrong[:3]
