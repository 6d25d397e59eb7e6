"""`lyss route explain` asks the serving process over its control socket; and the socket itself."""
import contextlib
import json
import os
import signal
import socket
import stat
import threading

import pytest
from lib.http import wait
from lib.lyss import slack
from lib.upstream import Gate, PROVIDER_KEY

EXPLAIN = {"tenant_id": 1, "model": "m-x", "key_digest": "", "op": "chat", "tools": False, "vision": False, "json_schema": False,
           "thinking": False, "estimate_in": 0}


@pytest.fixture
def own(fresh):
    """A process of the test's own: it learns, and its clock jumps."""
    return fresh(env={"LYSS_RETRY_BACKOFF_MS": "0"})


def events(l, name):
    return [e for e in map(json.loads, l.log_text().splitlines()) if e.get("event") == name]


def sock(l):
    return os.path.join(l.data, "control.sock")


def explain(l, model, *args):
    """Its JSON, and its candidates by channel."""
    doc = json.loads(l.cli("route", "explain", model, "--json", "--data", l.data, *args).stdout)
    return doc, {c["channel"]: c for c in doc["candidates"]}


def explain_text(l, model, *args):
    return l.cli("route", "explain", model, "--data", l.data, *args).stdout


# what it shows

def test_an_open_breaker_is_named_with_its_seconds(own, up, name):
    own.channel("one", up.url, "m-*", args=("--priority", "9"))
    own.channel("two", up.url, "m-*")
    m = name()
    doc, got = explain(own, m)
    assert doc["live"] is True and doc["rev"] >= 2 and "not_live_because" not in doc
    assert got["one"]["reason"] == "eligible" and got["one"]["first"] and not got["two"]["first"]
    up.on(m, status=500)
    wait(lambda: (own.chat(m), explain(own, m)[1]["one"]["reason"] == "breaker_open")[1], slack(10), "the breaker to open")
    doc, got = explain(own, m)
    one = got["one"]
    assert not one["eligible"] and not one["first"] and 0 < one["wait_ms"] <= 5000
    assert one["credentials"][0]["reason"] == "breaker_open"
    text = explain_text(own, m)
    assert "breaker open, again in about" in text and "Live:" in text and "Not live" not in text
    assert explain(own, name())[1]["one"]["reason"] == "eligible"     # another model is none of it
    own.clock.advance(6)
    assert explain(own, m)[1]["one"]["reason"] == "eligible"          # its next call is the probe


def test_a_reached_cap_is_named(own, up, name):
    own.channel("rpm", up.url, "m-*", args=("--rpm", "2"))
    own.channel("tpm", up.url, "t-*", args=("--tpm", "50"))
    own.caught_up()
    m, t = name(), name("t")
    assert [own.chat(m).status for _ in range(3)] == [200, 200, 429]
    got = explain(own, m)[1]["rpm"]
    assert got["reason"] == "rpm" and 0 < got["wait_ms"] <= 60000 and "over rpm, again in about" in got["text"]
    assert explain(own, t, "--tokens", "40")[1]["tpm"]["reason"] == "eligible"
    assert own.chat(t).status == 200
    assert explain(own, t, "--tokens", "40")[1]["tpm"]["reason"] == "tpm"
    own.clock.advance(61)
    assert explain(own, m)[1]["rpm"]["reason"] == "eligible"


def test_concurrency_is_that_of_the_moment(own, up, name):
    own.channel("one", up.url, "m-*", args=("--concurrency", "1"))
    own.caught_up()
    gate = Gate()
    m = up.on(name(), gate=gate, gate_head=True)
    t = threading.Thread(target=lambda: own.chat(m))
    t.start()
    wait(lambda: gate.waiting, slack(5), "the call to be under way")
    assert explain(own, m)[1]["one"]["reason"] == "concurrency"
    gate.open()
    t.join(slack(10))
    wait(lambda: explain(own, m)[1]["one"]["reason"] == "eligible", slack(5), "its place to be free")


def test_a_credential_that_was_refused(own, up, name):
    m = name()
    own.channel("one", up.url, "m-*", credential="sk-wrong-credential-0001")
    own.caught_up()
    assert own.chat(m).status == 502
    got = explain(own, m)[1]["one"]
    assert got["reason"] == "credential_aside" and 0 < got["wait_ms"] <= 10000
    assert "credential put aside, again in about" in explain_text(own, m)
    own.cli("channel", "set", "one", "--add-credential", "--credential-stdin", "--data", own.data, stdin=PROVIDER_KEY + "\n")
    doc, got = explain(own, m)
    one = got["one"]
    assert one["eligible"] and one["first"] and sorted(c["reason"] for c in one["credentials"]) == ["credential_aside", "eligible"]
    assert "1 of 2 credentials not: credential put aside, again in about" in one["text"]
    assert PROVIDER_KEY not in json.dumps(doc)


def test_a_throttled_credential_cools_down(own, up, name):
    m = up.on(name(), status=429, headers=(("retry-after", "30"),))
    own.channel("one", up.url, "m-*")
    own.caught_up()
    own.chat(m)
    got = explain(own, m)[1]["one"]
    assert got["reason"] == "cooling" and 20000 < got["wait_ms"] <= 30000


def test_what_was_just_written_is_served_before_it_is_explained(own, up, name):
    for i in range(5):
        m = f"new-{i}"
        own.channel(m, up.url, m)
        doc, got = explain(own, m)
        assert doc["live"] and list(got) == [m]
        own.cli("channel", "set", m, "--status", "inactive", "--data", own.data)
        doc, got = explain(own, m)
        assert doc["live"] and got[m]["reason"] == "inactive"
    own.cli("key", "add", "narrow", "--channels", "new-0", "--data", own.data)
    assert explain(own, "demo", "--key", "narrow")[1]["demo"]["reason"] == "not_allowed"
    assert explain(own, "demo")[1]["demo"]["reason"] == "eligible"       # only the process has it


def test_a_server_that_does_not_take_the_configuration_up(fresh, up, tmp_path):
    """It says at which revision it is; the command waits a moment for the newest, not for ever."""
    ca = tmp_path / "ca.pem"
    ca.write_text("no certificate")
    l = fresh(env={"LYSS_UPSTREAM_CA_FILE": str(ca)})
    l.channel("one", up.url, "m-*")
    doc, _ = explain(l, "m-x")
    assert doc["live"] and doc["rev"] == doc["config_rev"]
    l.channel("two", "https://127.0.0.1:1/v1", "m-*")
    wait(lambda: events(l, "config.refused"), slack(5), "it to be refused")
    doc, got = explain(l, "m-x")
    assert doc["live"] and doc["rev"] < doc["config_rev"] and got["one"]["eligible"]
    assert "has not taken up revision" in explain_text(l, "m-x")


def test_errors_are_the_servers(own, up):
    d = ("--data", own.data)
    p = own.cli("route", "explain", "nobody", *d, check=False)
    assert p.returncode == 1 and "serves 'nobody'" in p.stderr
    assert own.cli("route", "explain", "x", "--op", "dance", *d, check=False).returncode == 2
    assert own.cli("route", "explain", "x", "--key", "nobody", *d, check=False).returncode != 0


# with and without a server

def test_without_a_server_it_says_so(fresh, up, name):
    l = fresh()
    l.channel("one", up.url, "m-*")
    l.caught_up()
    assert explain(l, "m-x")[0]["live"]
    l.process.send_signal(signal.SIGTERM)
    l.process.wait(slack(5))
    assert not os.path.exists(sock(l))                  # removed at a clean stop
    doc, got = explain(l, "m-x")
    assert doc["live"] is False and doc["not_live_because"] == "no server runs on this data directory"
    assert got["one"]["reason"] == "eligible"
    text = explain_text(l, "m-x")
    assert "Not live: no server runs on this data directory" in text and "not known here" in text
    p = l.cli("route", "explain", "nobody", "--data", l.data, check=False)
    assert p.returncode == 1 and "serves 'nobody'" in p.stderr


def test_a_stale_socket(fresh, up, name):
    l = fresh()
    l.channel("one", up.url, "m-*")
    l.caught_up()
    l.kill()
    assert stat.S_ISSOCK(os.stat(sock(l)).st_mode)
    doc, _ = explain(l, "m-x")
    assert not doc["live"] and "no server runs" in doc["not_live_because"]
    l.start()
    assert explain(l, "m-x")[0]["live"]


def test_a_second_server_leaves_the_socket_alone(own, up, name):
    own.channel("one", up.url, "m-*")
    before = os.stat(sock(own)).st_ino
    p = own.cli("serve", "--data", own.data, "--listen", "127.0.0.1:0", check=False)
    assert p.returncode == 1 and "another lyss" in p.stderr
    assert os.stat(sock(own)).st_ino == before and explain(own, "m-x")[0]["live"]


def answer_one(s, said):
    c, _ = s.accept()
    with contextlib.closing(c):
        c.recv(65536)
        c.sendall(said)


def test_a_server_that_says_nothing(fresh, up):
    """Another listener behind that name: a command waits for it a moment and goes on without."""
    l = fresh()
    l.channel("one", up.url, "m-*")
    l.caught_up()
    l.kill()
    os.unlink(sock(l))
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
        s.bind(sock(l))
        s.listen()
        s.settimeout(slack(10))
        doc, got = explain(l, "m-x")
        assert not doc["live"] and "no answer within" in doc["not_live_because"] and got["one"]["eligible"]
        s.accept()[0].close()                           # that one's, in vain
        for said in (b"", b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
                     b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}"):
            t = threading.Thread(target=answer_one, args=(s, said))
            t.start()
            doc, got = explain(l, "m-x")
            t.join(slack(5))
            why = doc["not_live_because"]
            assert not doc["live"] and "cannot be asked" in why and "no answer within" not in why and got["one"]["eligible"], (said, why)
    os.unlink(sock(l))
    l.start()


def test_only_its_owner_may_ask(fresh):
    was = os.umask(0)
    try:
        l = fresh()
    finally:
        os.umask(was)
    st = os.stat(sock(l))
    assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o600 and st.st_uid == os.getuid()


def test_a_data_directory_with_a_long_path(fresh, up, tmp_path):
    long = tmp_path / ("d" * 100) / "data"
    long.parent.mkdir()
    l = fresh(data=str(long))
    l.channel("one", up.url, "m-*")
    l.caught_up()
    assert l.chat("m-x").status == 200
    said = events(l, "control.no_socket")
    assert len(said) == 1 and "107" in said[0]["reason"] and not os.path.exists(sock(l))
    doc, got = explain(l, "m-x")
    assert not doc["live"] and "cannot be asked" in doc["not_live_because"] and got["one"]["eligible"]


# what comes in over the socket

def raw(l, data, shut=True):
    """All that is answered to these bytes."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
        s.settimeout(slack(5))
        s.connect(sock(l))
        with contextlib.suppress(OSError):
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionError):
            while part := s.recv(65536):
                got += part
        return got


def post(body, path="/explain", method="POST", extra=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_hostile_bytes(own, up):
    own.channel("m", up.url, "m-*")
    own.caught_up()

    def status(data, **kw):
        got = raw(own, data, **kw)
        return int(got.split()[1]) if got.startswith(b"HTTP/1.1 ") else got
    whole = {**EXPLAIN, "tenant_id": json.loads(own.cli("tenant", "list", "--json", "--data", own.data).stdout)[0]["id"]}
    assert status(post(whole)) == 200
    assert status(post({**whole, "model": "nobody"})) == 404
    assert status(post({**whole, "tenant_id": 99})) == 404
    assert status(post({**whole, "key_digest": "ab" * 32})) == 400
    assert status(post({**whole, "key_digest": "../x"})) == 400
    assert status(post({**whole, "more": 1})) == 400
    assert status(post({**whole, "model": "x" * 60000})) == 404
    assert status(post({**whole, "model": "\ud800"})) == 400
    for bad in (b"", b"{", b"[" * 5000, b"\xff\xfe", b"null", b'{"a":' * 60 + b"1" + b"}" * 60, json.dumps([whole]).encode()):
        assert status(post(bad)) == 400, bad
    assert status(post(whole, path="/")) == 404 and status(post(whole, path="/explain/../explain")) in (400, 404)
    assert status(post(whole, path="/v1/models")) == 404 and status(post(whole, path="/metrics", method="GET")) == 404
    assert status(post(whole, method="GET")) == 405 and status(post(whole, method="DELETE")) == 405
    assert status(post(b"x" * (1 << 20))) == 413
    assert status(post(whole, extra="Content-Length: 3\r\n")) == 400
    assert status(post(whole, extra="Transfer-Encoding: chunked\r\n")) == 400
    assert status(b"POST /explain HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 5000 + b"\r\n") == 431
    assert status(b"\x16\x03\x01\x02\x00\x01" + os.urandom(500)) in (400, b"")
    assert status(b"POST /explain HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc") in (400, 408, b"")    # cut short
    assert explain(own, "m-x")[0]["live"] and own.chat("m-x").status == 200


def test_those_who_hold_connections_do_not_keep_others_out_for_long(own, up):
    own.channel("m", up.url, "m-*")
    own.caught_up()
    with contextlib.ExitStack() as held:
        for i in range(40):                             # more than it takes
            s = held.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
            s.settimeout(slack(5))
            with contextlib.suppress(OSError):
                s.connect(sock(own))
                s.sendall(post(EXPLAIN)[:20 + i])
        assert own.chat("m-x").status == 200            # callers are none of it
        wait(lambda: explain(own, "m-x")[0]["live"], slack(10), "room for another")
    assert own.get("/health/live", key=None).status == 200


def test_a_stop_does_not_wait_for_them(own, up):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sock(own))
    s.sendall(post(EXPLAIN)[:30])
    assert own.stop() < slack(2)
    s.close()
