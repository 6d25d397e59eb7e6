"""Which channel is taken: priorities, weights, algorithms, retry and failover, credentials."""
import collections
import time

import pytest
from conftest import slack
from lib.http import Events
from lib.upstream import PIECES, Upstream

TEXT = "".join(PIECES)


def test_priority(lyss, up, up2, name):
    """The lower tier gets nothing while the higher one has an eligible channel."""
    m = name("fo")
    for _ in range(10):
        assert lyss.chat(m).header("x-lyss-channel") == "first"
    assert len(up.of(m)) == 10 and up2.of(m) == []


def test_weights(lyss, up, up2, name):
    m = name("w")
    n = 240
    with lyss.connect() as c:
        got = collections.Counter(c.request("POST", "/v1/chat/completions", {"model": m, "messages": []}, lyss.auth())
                                  .header("x-lyss-channel") for _ in range(n))
    assert got["heavy"] + got["light"] == n
    assert 0.62 < got["heavy"] / n < 0.87, got           # 3 : 1, ± 4.5 σ


def test_round_robin(lyss, up, up2, name):
    m = "rr-" + name()
    lyss.cli("route", "add", m, "--algorithm", "round_robin", "--channel", "heavy", "--channel", "light", "--data", lyss.data)
    lyss.caught_up()
    with lyss.connect() as c:
        got = [c.request("POST", "/v1/chat/completions", {"model": m, "messages": []}, lyss.auth()).header("x-lyss-channel")
               for _ in range(40)]
    for i in range(0, 40, 4):                            # one connection is one worker: exact
        assert collections.Counter(got[i:i + 4]) == {"heavy": 3, "light": 1}, got


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
@pytest.mark.parametrize("stream", [False, True])
def test_failover_on_status(lyss, up, up2, name, status, stream):
    m = up.on(name("fo"), status=status)
    r = lyss.chat(m, stream=stream)
    assert r.status == 200 and r.header("x-lyss-attempts") == "2" and r.header("x-lyss-channel") == "second"
    assert (Events(r.body).text if stream else r.json["choices"][0]["message"]["content"]) == TEXT
    assert len(up.of(m)) == 1 and len(up2.of(m)) == 1
    row = lyss.row(r.request_id)
    assert row["state"] == "completed" and row["attempts"] == 2
    assert row["out_text"] + row["out_reasoning"] == len(PIECES)


def test_failover_on_refused_connect(lyss, up2, name):
    m = name("dead")
    r = lyss.chat(m)
    assert r.status == 200 and r.header("x-lyss-attempts") == "2" and len(up2.of(m)) == 1


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_the_callers_own_mistakes_are_not_retried(lyss, up, up2, name, status):
    m = up.on(name("fo"), status=status)
    r = lyss.chat(m)
    assert r.status == status and r.error["message"] == f"upstream says {status}"
    assert len(up.of(m)) == 1 and up2.of(m) == []
    row = lyss.row(r.request_id)
    assert row["status"] == status and row["state"] == "upstream_error"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status, seen", [(429, 429), (500, 500), (502, 502), (503, 503), (529, 503), (401, 502), (402, 502), (403, 502)])
def test_final_answer_when_attempts_end(lyss, up, name, status, seen, stream):
    m = up.on(name(), status=status, headers=(("retry-after", "7"),) if status == 429 else ())
    r = lyss.chat(m, stream=stream)
    assert r.status == seen and r.error
    if seen == 502 and status != 502:
        assert r.error["code"] == "provider_credential_error"
    if status == 429:
        assert r.header("retry-after") == "7"
    row = lyss.row(r.request_id)
    assert row["state"] == "upstream_error" and row["status"] == seen and row["out_text"] == 0


def test_refused_connect_is_502(lyss, name):
    r = lyss.chat(name("gone"))
    assert r.status == 502 and r.error
    assert lyss.row(r.request_id)["state"] == "upstream_error"


def test_a_wrong_credential_is_never_401_to_the_caller(lyss, up, name):
    r = lyss.chat(name("k"))
    assert r.status == 502 and r.error["code"] == "provider_credential_error"
    assert b"sk-wrong" not in r.body


def test_next_credential_is_tried(fresh, up, name):
    l = fresh()
    l.channel("two-keys", up.url, "m-*", credential="sk-wrong-credential-0001")
    add_credential(l, "two-keys")
    l.caught_up()
    time.sleep(0.5)
    for _ in range(4):
        r = l.chat(name())
        assert r.status == 200, r


def add_credential(l, channel):
    from lib.upstream import PROVIDER_KEY
    l.cli("channel", "set", channel, "--add-credential", "--credential-stdin", "--data", l.data, stdin=PROVIDER_KEY + "\n")


def test_attempts_end_after_three(fresh, name):
    ups = [Upstream().start() for _ in range(5)]
    try:
        l = fresh()
        m = name()
        for i, u in enumerate(ups):
            u.on(m, status=500)
            l.channel(f"c{i}", u.url, "m-*")
        l.caught_up()
        r = l.chat(m)
        assert r.status == 500 and r.header("x-lyss-attempts") == "3"
        assert sum(len(u.of(m)) for u in ups) == 3
        row = l.row(r.request_id)
        assert row["attempts"] == 3 and row["state"] == "upstream_error"
    finally:
        for u in ups:
            u.stop()


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_reused_connection_that_was_dead_is_replaced(lyss, up, name, how):
    """The upstream closes just as the request arrives: no attempt, no error."""
    m = name()
    lyss.chat(m)
    n = name()
    seen = []

    async def script(r, conn):
        seen.append(conn.served)
        if conn.served > 1:                              # a reused one
            r.outcome = "fault"
            return conn.rst() if how == "rst" else conn.fin()
        from lib.upstream import Reply, Script, play
        await play(Script(), r, conn)
    up.on(n, script)
    for _ in range(5):
        r = lyss.chat(n)
        assert r.status == 200 and r.header("x-lyss-attempts") == "1", r
        lyss.chat(m)
    assert any(s > 1 for s in seen), "no connection was ever reused"


def test_a_fresh_connection_that_dies_is_a_failure(lyss, up, name):
    m = name()

    async def script(r, conn):
        r.outcome = "fault"
        conn.fin()
    up.on(m, script)
    r = lyss.chat(m)
    assert r.status == 502 and 1 <= len(up.of(m)) <= 2


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_idle_connections_that_the_upstream_closes_are_noticed(lyss, up, name, how):
    m = name()
    for _ in range(3):
        assert lyss.chat(m).status == 200
    up.abort_idle(how)
    time.sleep(0.1)
    assert lyss.chat(m).header("x-lyss-attempts") == "1"


def test_connections_are_reused(lyss, up, name):
    m = name()
    with lyss.connect() as c:
        for _ in range(3):
            c.request("POST", "/v1/chat/completions", {"model": m, "messages": []}, lyss.auth())
        before = up.connections
        for i in range(30):
            body = {"model": m, "messages": [], "stream": i % 2 == 0}
            assert c.request("POST", "/v1/chat/completions", body, lyss.auth()).status == 200
        assert up.connections - before <= 1


def test_changes_are_served_within_a_second(lyss, up, name):
    m = "live-" + name()
    assert lyss.chat(m).status == 404
    t = time.monotonic()
    lyss.channel(m, up.url, m)
    added = time.monotonic()
    lyss.caught_up()
    assert time.monotonic() - added < slack(1)
    assert lyss.chat(m).status == 200
    lyss.cli("channel", "set", m, "--status", "inactive", "--data", lyss.data)
    Upstream.wait(up, lambda: lyss.chat(m).status in (404, 503), slack(1), "the channel to be out")
    lyss.cli("channel", "set", m, "--status", "active", "--data", lyss.data)
    Upstream.wait(up, lambda: lyss.chat(m).status == 200, slack(1), "the channel to be back")
    lyss.cli("channel", "rm", m, "--data", lyss.data)
    Upstream.wait(up, lambda: lyss.chat(m).status == 404, slack(1), "the channel to be gone")
    assert time.monotonic() - t < 30


def test_a_route_without_an_active_channel_gives_503_with_the_reason(lyss, up, name):
    m = "idle-" + name()
    lyss.channel(m, up.url, m)
    lyss.cli("route", "add", m, "--channel", m, "--data", lyss.data)
    lyss.caught_up()
    assert lyss.chat(m).status == 200
    lyss.cli("channel", "set", m, "--status", "inactive", "--data", lyss.data)
    lyss.caught_up()
    r = lyss.chat(m)
    assert r.status == 503 and "1 inactive" in r.error["message"], r


@pytest.mark.parametrize("pattern", ["{}", "{}*"])
def test_a_model_of_inactive_channels_only_gives_503_with_the_reason(lyss, up, name, pattern):
    m = "off-" + name()
    for channel in (m, m + "-too"):
        lyss.channel(channel, up.url, pattern.format(m), args=("--status", "inactive"))
    lyss.caught_up()
    r = lyss.chat(m)
    assert r.status == 503 and "2 inactive" in r.error["message"], r
    assert lyss.chat("not-" + m).status == 404
    assert m not in lyss.get("/v1/models", key=lyss.key).body.decode()
    lyss.cli("channel", "set", m, "--status", "active", "--data", lyss.data)
    lyss.caught_up()
    assert lyss.chat(m).status == 200


def test_running_requests_survive_a_change(lyss, up, name):
    """A request keeps what it was admitted with; a stream is not cut by a new snapshot."""
    m = "keep-" + name()
    lyss.channel(m, up.url, m)
    lyss.caught_up()
    up.on(m, chunk_delay=0.1)
    import threading
    got = []
    t = threading.Thread(target=lambda: got.append(lyss.stream(m)))
    t.start()
    up.wait_request(m)
    lyss.cli("channel", "rm", m, "--data", lyss.data)
    lyss.caught_up()
    t.join(30)
    assert Events(got[0].body).done
