"""How channels are, and what is done about it: breakers, cooling, budgets, caps, upstream limits,
fallbacks, health checks, the connection test, and why a candidate is not taken."""
import contextlib
import json
import socket
import threading
import time

import pytest
from lib.fault_proxy import FaultProxy
from lib.http import request_bytes, wait
from lib.lyss import chat_body, slack
from lib.upstream import PROVIDER_KEY, Upstream


def metric(l, line):
    for got in l.get("/metrics", key=None).body.decode().splitlines():
        if got.startswith(line + " "):
            return float(got.rsplit(" ", 1)[1])
    return None


def events(l, name):
    return [e for e in map(json.loads, l.log_text().splitlines()) if e.get("event") == name]


@pytest.fixture
def own(fresh):
    """A process of the test's own: it learns, and its clock jumps."""
    return fresh(env={"LYSS_RETRY_BACKOFF_MS": "0"})


# breakers

def test_breaker_opens_probes_and_closes(own, up, name):
    own.channel("one", up.url, "m-*")
    own.caught_up()
    m = up.on(name(), status=500)
    for _ in range(5):
        assert own.chat(m).status == 500
    r = own.chat(m)
    assert r.status == 503 and "1 breaker open" in r.error["message"] and r.header("retry-after") == "5"
    assert len(up.of(m)) == 5
    assert own.chat(up.on(name())).status == 200            # another model is none of it
    assert metric(own, 'lyss_channel_breakers_open{channel="one"}') == 1
    own.clock.advance(4.5)
    assert own.chat(m).status == 503
    own.clock.advance(1)
    assert own.chat(m).status == 500                         # the probe: it opens again, twice as long
    own.clock.advance(6)
    assert own.chat(m).status == 503 and len(up.of(m)) == 6
    own.clock.advance(5)
    up.on(m)
    r = own.chat(m)
    assert r.status == 200
    own.row(r.request_id)                                    # what it says of the channel is known
    assert own.chat(m).status == 200
    wait(lambda: [(e["from"], e["to"]) for e in events(own, "breaker.state")] == [
        ("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("open", "half_open"), ("half_open", "closed")], what="it to close")
    assert metric(own, 'lyss_channel_breakers_open{channel="one"}') == 0
    assert metric(own, 'lyss_breaker_changes_total{channel="one",state="open"}') == 2


def test_one_probe_at_a_time(own, up, name):
    own.channel("one", up.url, "m-*")
    own.caught_up()
    m = up.on(name(), status=500)
    for _ in range(5):
        own.chat(m)
    own.clock.advance(5.5)
    up.on(m, head_delay=0.5)
    got, threads = [], []
    for _ in range(8):
        threads.append(threading.Thread(target=lambda: got.append(own.chat(m).status)))
        threads[-1].start()
    for t in threads:
        t.join()
    assert sorted(got) == [200] + [503] * 7 and len(up.of(m)) == 6


def test_requests_of_callers_never_open_it(own, up, name):
    own.channel("one", up.url, "m-*")
    own.caught_up()
    m = up.on(name(), status=400)
    for _ in range(30):
        assert own.chat(m).status == 400
    up.on(m)
    assert own.chat(m).status == 200


def test_a_caller_who_leaves_between_two_attempts(fresh, up, up2, name):
    """The wait before the next attempt holds a place there, which is given back."""
    l = fresh(env={"LYSS_RETRY_BACKOFF_MS": "10000"})
    l.channel("a", up.url, "m-*", args=("--priority", "9"))
    l.channel("b", up2.url, "m-*", args=("--concurrency", "1"))
    l.caught_up()
    left = 0
    for _ in range(4):
        m = up.on(name(), status=500)
        with l.connect() as c:
            c.send(request_bytes("POST", "/v1/chat/completions", chat_body(m), l.auth()))
            up.wait_request(m)
        row = l.row_of_model(m)
        left += row["state"] == "client_gone" and not up2.of(m)
    assert left >= 1                                        # the wait is random, at most 2 s
    m = up.on(name(), status=500)
    r = l.chat(m)
    assert r.status == 200 and r.header("x-lyss-attempts") == "2" and r.header("x-lyss-channel") == "b"
    wait(lambda: metric(l, 'lyss_channel_in_flight{channel="a"}') == metric(l, 'lyss_channel_in_flight{channel="b"}') == 0, what="the places")


def test_a_stream_that_breaks_counts(own, up, name):
    own.channel("one", up.url, "m-*")
    own.caught_up()
    m = up.on(name(), fault="fin", after=5)
    for _ in range(5):
        r = own.stream(m)
        assert r.status == 200                              # committed, then an error in-band
        assert own.row(r.request_id)["state"] == "incomplete"       # by now it has counted
    assert own.chat(m).status == 503


# throttling

def test_429_cools_the_credential_for_as_long_as_it_says(own, up, name):
    own.channel("one", up.url, "m-*")
    own.caught_up()
    m = up.on(name(), status=429, headers=(("Retry-After", "7"),))
    assert own.chat(m).status == 429
    r = own.chat(up.on(name()))
    assert r.status == 429 and 1 <= int(r.header("retry-after")) <= 7 and "1 cooling down" in r.error["message"]
    assert len(up.of(m)) == 1
    own.clock.advance(7)
    up.on(m)
    assert own.chat(m).status == 200


def test_a_wave_of_429(own, up, name):
    """Retries stay within the budget of where they go; the end of the wave is found within a second."""
    with Upstream() as b:
        own.channel("a", up.url, "m-*", args=("--priority", "9"))
        own.channel("b", b.url, "m-*")
        own.caught_up()
        models = []
        for _ in range(60):                                 # a new name each: no breaker is in the way
            m = up.on(name(), status=500)
            models.append(b.on(m, status=429))
            assert own.chat(m).status in (429, 500, 503)
            own.clock.advance(0.05)                         # 3 s in all
        assert 1 <= sum(len(b.of(m)) for m in models) <= 10


def test_what_finds_a_channel_down_is_no_retry(own, up, name):
    """Nothing was asked of it, so that its share is none too much for the other; no caller is told."""
    with FaultProxy(up.port) as gone:
        own.channel("down", gone.url, "m-*", args=("--priority", "9"))
        own.channel("spare", up.url, "m-*")
        own.caught_up()
        gone.refuse()
        gone.end_all()
        for _ in range(60):                                 # a new name each: no breaker is in the way
            r = own.chat(name())
            assert r.status == 200 and r.header("x-lyss-channel") == "spare" and r.header("x-lyss-attempts") == "2"


def test_recovery_within_a_second_of_the_end(own, up, name):
    own.channel("one", up.url, "m-*")
    own.caught_up()
    m = up.on(name(), status=429)
    for _ in range(100):
        assert own.chat(m).status == 429
        own.clock.advance(0.3)
    up.on(m)
    own.clock.advance(0.9)
    assert own.chat(m).status == 200
    assert len(up.of(m)) < 60                               # and few of them were met


def test_upstream_limits_are_avoided_rather_than_met(own, up, name):
    own.channel("one", up.url, "m-*")
    own.caught_up()
    left = (("x-ratelimit-limit-requests", "100"), ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "20s"))
    m = up.on(name(), headers=left)
    assert own.chat(m).status == 200
    r = own.chat(m)
    assert r.status == 429 and "1 out of upstream quota" in r.error["message"] and len(up.of(m)) == 1
    assert 15 <= int(r.header("retry-after")) <= 20
    own.clock.advance(20)
    assert own.chat(m).status == 200


# caps

def test_caps_hold(own, up, name):
    own.channel("rpm", up.url, "m-rpm*", args=("--rpm", "3"))
    own.channel("tpm", up.url, "m-tpm*", args=("--tpm", "200"))
    own.channel("con", up.url, "m-con*", args=("--concurrency", "2"))
    own.caught_up()
    up.on("m-rpm")
    assert [own.chat("m-rpm").status for _ in range(5)] == [200] * 3 + [429] * 2
    r = own.chat("m-rpm")
    assert "1 over rpm" in r.error["message"] and 50 <= int(r.header("retry-after")) <= 60
    own.clock.advance(61)
    assert own.chat("m-rpm").status == 200
    assert own.chat("m-tpm", max_tokens=100).status == 200
    assert own.chat("m-tpm", max_tokens=190).status == 429
    up.on("m-con", head_delay=0.6)
    got, threads = [], []
    for _ in range(6):
        threads.append(threading.Thread(target=lambda: got.append(own.chat("m-con").status)))
        threads[-1].start()
    for t in threads:
        t.join()
    assert sorted(got) == [200] * 2 + [429] * 4
    assert own.chat("m-con").status == 200


# credentials

def test_credentials_have_their_own_state(own, up, name):
    """A refused credential is put aside; the other serves on; a while later it is tried again."""
    own.channel("one", up.url, "m-*")
    own.cli("channel", "set", "one", "--add-credential", "--credential-stdin", "--data", own.data,
            stdin="sk-wrong-credential-0001\n")
    own.caught_up()
    for _ in range(12):
        assert own.chat(up.on(name())).status == 200
    assert len(events(own, "credential.aside")) == 1
    own.clock.advance(11)
    for _ in range(12):
        assert own.chat(up.on(name())).status == 200
    assert [e["ms"] for e in events(own, "credential.aside")] == [10000, 20000]


def test_the_only_credential_put_aside(own, up, name):
    own.channel("one", up.url, "m-*", credential="sk-wrong-credential-0001")
    own.caught_up()
    m = name()
    assert own.chat(m).status == 502
    r = own.chat(m)
    assert r.status == 503 and "1 credential put aside" in r.error["message"] and r.header("retry-after") == "10"


# fallbacks

def error(code, message):
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}).encode()


def test_fallbacks_for_context_and_policy(own, up, name):
    short, strict, other = name(), name(), name("o")
    up.on(short, status=400, body=error("context_length_exceeded", "too long"), content_type="application/json")
    up.on(strict, status=400, body=error("content_policy_violation", "no"), content_type="application/json")
    own.channel("one", up.url, "m-*")
    own.channel("two", up.url, "o-*")
    d = ("--data", own.data)
    own.cli("route", "add", short, "--channel", "one", "--context-fallback", strict, *d)
    own.cli("route", "add", strict, "--channel", "one", "--policy-fallback", other, *d)
    own.caught_up()
    for stream in (False, True):
        r = own.chat(short, stream=stream)                  # too long, then refused, then answered
        assert r.status == 200 and r.header("x-lyss-channel") == "two" and r.header("x-lyss-attempts") == "3"
        row = own.row(r.request_id)
        assert row["model"] == short and row["upstream_model"] == other and row["state"] == "completed"
    up.on(other, status=400, body=error("context_length_exceeded", "too long"), content_type="application/json")
    r = own.chat(short)                                     # once each
    assert r.status == 400 and r.error["code"] == "context_length_exceeded" and len(up.of(other)) == 3
    assert own.chat(strict).status == 400
    plain = up.on(name(), status=400, body=error("context_length_exceeded", "too long"), content_type="application/json")
    assert own.chat(plain).status == 400 and len(up.of(plain)) == 1


# health

def test_health_checks(fresh, up, name):
    with Upstream() as b:
        l = fresh(env={"LYSS_HEALTH_INTERVAL_MS": "60000"})
        l.channel("good", up.url, "m-*")
        l.channel("bad", b.url, "b-*", credential="sk-wrong-credential-0001")
        l.channel("gone", "http://127.0.0.1:1/v1", "g-*")
        l.caught_up()
        before = len(l.rows())

        def health(channel):
            return metric(l, 'lyss_channel_health{channel="%s"}' % channel)
        wait(lambda: health("bad") == 0 and health("gone") == 0, slack(5), "both to be found out")
        wait(lambda: health("good") == 1, slack(5), "the good one")
        doc = l.get("/health", key=None).json
        assert doc["channels"]["unhealthy"] == 2 and doc["channels"]["total"] == 4
        assert len(l.rows()) == before                      # no usage row
        assert {e["result"] for e in events(l, "health.check")} == {"credential", "refused"}
        n = len([r for r in up.requests if r.op == "models"])
        assert n >= 1
        l.clock.advance(30)
        assert l.chat("m-live").status == 200               # live traffic proves it: no check at 60 s
        l.clock.advance(31)
        time.sleep(0.3)
        assert len([r for r in up.requests if r.op == "models"]) == n
        l.clock.advance(31)
        wait(lambda: len([r for r in up.requests if r.op == "models"]) == n + 1, slack(5), "the next check")


def test_a_health_check_that_times_out(fresh, name):
    with socket.create_server(("127.0.0.1", 0)) as s:
        l = fresh(env={"LYSS_HEALTH_INTERVAL_MS": "60000", "LYSS_HEALTH_TIMEOUT_MS": "300"})
        l.channel("mute", f"http://127.0.0.1:{s.getsockname()[1]}/v1", "m-*")
        l.caught_up()
        wait(lambda: events(l, "health.check"), slack(5), "the check")
        assert events(l, "health.check")[0]["result"] == "timeout"


# the connection test

@contextlib.contextmanager
def answering(answer):
    """A server that says the same to everybody and hangs up."""
    def serve(s):
        while True:
            try:
                c, _ = s.accept()
            except OSError:
                return
            c.recv(65536)
            c.sendall(answer)
            c.close()
    with socket.create_server(("127.0.0.1", 0)) as s:
        threading.Thread(target=serve, args=(s,), daemon=True).start()
        yield f"127.0.0.1:{s.getsockname()[1]}"
        s.shutdown(socket.SHUT_RDWR)


def probe(l, channel, *args):
    p = l.cli("channel", "test", channel, "--json", "--data", l.data, *args, check=False)
    doc = json.loads(p.stdout)
    assert p.returncode == (0 if doc["ok"] else 1), p.stdout + p.stderr
    return doc["results"][0]


def test_connection_test(own, up, name):
    def add(n, url, **kw):
        own.channel(n, url, "x-*", **kw)
        return probe(own, n)
    got = add("ok", up.url)
    assert got["result"] == "ok" and got["by"] == "models" and got["status"] == 200
    assert add("key", up.url, credential="sk-wrong-credential-0001")["result"] == "credential"
    assert add("refused", "http://127.0.0.1:1/v1")["result"] == "refused"
    assert add("dns", "http://no-such-host.invalid/v1")["result"] in ("dns", "dns_timeout")
    assert add("address", "http://10.255.255.1/v1")["result"] == "address"
    with answering(b"no TLS here\r\n") as at:
        assert add("tls", f"https://{at}/v1")["result"] == "tls"
    with socket.create_server(("127.0.0.1", 0)) as s:
        own.channel("mute", f"http://127.0.0.1:{s.getsockname()[1]}/v1", "x-*")
        p = own.cli("channel", "test", "mute", "--json", "--health-timeout-ms", "200", "--data", own.data, check=False)
        assert json.loads(p.stdout)["results"][0]["result"] == "timeout"
    text = own.cli("channel", "test", "key", "--data", own.data, check=False)
    assert text.returncode == 1 and "refused the credential" in text.stdout and "--credential-stdin" in text.stdout
    assert PROVIDER_KEY not in text.stdout + text.stderr


def test_connection_test_by_model(own, up, name):
    good, bad, slow = up.on(name()), up.on(name(), status=404), up.on(name(), status=429)
    own.channel("one", up.url, "m-*")
    got = probe(own, "one", "--model", good)
    assert got["result"] == "ok" and got["by"] == "token" and len(up.of(good)) == 1
    assert probe(own, "one", "--model", bad)["result"] == "model"
    assert probe(own, "one", "--model", slow)["result"] == "rate_limited"
    p = own.cli("channel", "test", "one", "--model", "other", "--data", own.data, check=False)
    assert p.returncode == 2 and "does not serve" in p.stderr


def test_connection_test_of_something_else(own):
    """A web server that answers 200 with a page is no API."""
    with answering(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>") as at:
        own.channel("web", f"http://{at}/", "x-*")
        assert probe(own, "web")["result"] == "not_an_api"


# what a model can do

def test_a_model_that_cannot_is_not_asked(own, up, up2, name):
    own.channel("blind", up.url, "deepseek-chat", provider="deepseek", args=("--priority", "9"))
    own.caught_up()
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
    r = own.post("/v1/chat/completions", {"model": "deepseek-chat", "messages": image})
    assert r.status == 503 and "1 without vision" in r.error["message"] and up.of("deepseek-chat") == []
    out = own.cli("route", "explain", "deepseek-chat", "--vision", "--json", "--data", own.data).stdout
    assert json.loads(out)["candidates"][0]["reason"] == "vision"
    own.channel("sees", up2.url, "deepseek-chat")           # of an unknown kind: it is assumed
    own.caught_up()
    r = own.post("/v1/chat/completions", {"model": "deepseek-chat", "messages": image})
    assert r.status == 200 and r.header("x-lyss-channel") == "sees"
    assert own.chat("deepseek-chat").header("x-lyss-channel") == "blind"


# route explain

def test_route_explain(own, up, name):
    d = ("--data", own.data)
    own.channel("a", up.url, "m-*", args=("--priority", "5", "--weight", "300"))
    own.channel("b", up.url, "m-*", args=("--priority", "5", "--weight", "100"))
    own.channel("c", up.url, "m-*", "gpt-3.5=gpt-3.5-turbo")
    own.channel("off", up.url, "m-*", args=("--status", "inactive"))
    own.channel("embeds", up.url, "m-*", args=("--op", "embeddings"))
    own.channel("bare", up.url, "m-*", credential=None, provider="openai")
    own.cli("key", "add", "narrow", "--channels", "a", *d)

    def ask(model, *args):
        return {c["channel"]: c for c in json.loads(own.cli("route", "explain", model, "--json", *d, *args).stdout)["candidates"]}
    got = ask("m-x")
    assert {n: c["reason"] for n, c in got.items()} == {
        "a": "eligible", "b": "eligible", "c": "eligible", "off": "inactive", "embeds": "operation", "bare": "no_credential"}
    assert got["a"]["first"] and got["b"]["first"] and not got["c"]["first"] and "75 %" in got["a"]["text"]
    assert ask("m-x", "--op", "embeddings")["embeds"]["reason"] == "eligible"
    got = ask("m-x", "--key", "narrow")
    assert got["a"]["first"] and got["b"]["reason"] == got["c"]["reason"] == "not_allowed"
    text = own.cli("route", "explain", "m-x", "--tools", *d).stdout
    assert "without this operation" in text and "Live:" in text
    p = own.cli("route", "explain", "nobody", *d, check=False)
    assert p.returncode == 1 and "serves 'nobody'" in p.stderr
    assert own.cli("route", "explain", "m-x", "--op", "dance", *d, check=False).returncode == 2
    assert own.cli("route", "explain", "m-x", "--tokens", "many", *d, check=False).returncode == 2
