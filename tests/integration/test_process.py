"""The process: how it starts, how it ends, and what a crash leaves behind."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import slack
from lib.http import Closed, Events, request_bytes, wait
from lib.lyss import BIN, Lyss, chat_body
from lib.upstream import PIECES

PATH = "/v1/chat/completions"


def test_ready_line(fresh):
    l = fresh()
    assert set(l.ready) == {"url", "api_key", "setup_token", "pid"}
    assert l.stdout == (json.dumps(l.ready, separators=(",", ":")) + "\n").encode()
    assert l.key.startswith("lyss_") and l.ready["setup_token"]
    assert os.stat(l.data).st_mode & 0o777 == 0o700
    assert l.get("/health/ready", key=None).status == 200


def test_a_second_start_makes_a_new_demo_key(fresh):
    l = fresh()
    old = l.key
    assert l.chat("demo").status == 200
    l.process.terminate()
    assert l.process.wait(slack(2)) == 0
    l.process.stdout.close()
    l.start()
    assert l.key != old
    assert l.get("/v1/models", key=old).status == 401 and l.chat("demo").status == 200
    assert len(l.rows()) >= 1


def test_serve_has_no_demo(fresh, up, name):
    l = fresh(command="serve")
    assert l.key is None
    assert l.get("/health/live", key=None).status == 200


def test_sigterm_when_idle(fresh):
    l = fresh()
    c = l.connect()
    assert c.request("GET", "/health/live").status == 200
    d = l.connect()
    d.send(b"GET /health/li")
    l.process.send_signal(signal.SIGTERM)
    assert c.closed(slack(0.5)), "an idle connection stays open"
    with pytest.raises(Closed):
        d.response()
    assert l.process.wait(slack(2)) == 0


def test_sigterm_ends_streams_in_band(fresh, up, name):
    l = fresh()
    l.channel("main", up.url, "m-*")
    l.caught_up()
    m, quiet, whole = up.on(name(), chunk_delay=0.05, text=tuple(PIECES) * 200), up.on(name(), fault="stall", after=5), up.on(name(), head_delay=60)
    cs = []
    for x, stream in ((m, True), (quiet, True), (whole, False)):
        c = l.connect()
        c.send(request_bytes("POST", PATH, chat_body(x, stream=stream), l.auth()))
        up.wait_request(x)
        cs.append(c)
    for c in cs[:2]:
        r = c.head()
        c.response0 = r
        assert c.until(PIECES[2].encode())
    t = time.monotonic()
    l.process.send_signal(signal.SIGTERM)
    for c in cs[:2]:
        rest = b""
        try:
            while True:
                c.more()
        except Closed:
            rest = c.buf
        assert b'"error"' in rest and b"[DONE]" not in rest and not rest.endswith(b"0\r\n\r\n"), rest[-300:]
    r = cs[2].response()
    assert r.status == 503 and r.error
    assert l.process.wait(slack(2)) == 0
    assert time.monotonic() - t < slack(2)
    rows = {x["model"]: x["state"] for x in l.rows("model <> 'demo'") if x["model"] in (m, quiet, whole)}
    assert rows == {m: "shutdown", quiet: "shutdown", whole: "shutdown"}
    up.wait(lambda: all(up.of(x)[0].gone_at for x in (m, quiet, whole)), 2, "upstreams to be let go")


def test_sigint_ends_it_too(fresh):
    l = fresh()
    l.process.send_signal(signal.SIGINT)
    assert l.process.wait(slack(2)) == 0


def test_a_second_process_on_the_same_data_is_refused(fresh):
    l = fresh()
    p = subprocess.run([BIN, "dev", "--data", l.data, "--listen", "127.0.0.1:0", "--json"], capture_output=True, text=True, timeout=20, env=l.env)
    assert p.returncode != 0 and p.stdout == "" and p.stderr.strip()
    assert l.get("/health/live", key=None).status == 200 and l.chat("demo").status == 200


def test_a_second_process_on_the_same_port_is_refused(fresh, tmp_path):
    l = fresh()
    p = subprocess.run([BIN, "dev", "--data", str(tmp_path / "other"), "--listen", f"127.0.0.1:{l.port}", "--json"],
                       capture_output=True, text=True, timeout=20, env=l.env)
    assert p.returncode != 0 and str(l.port) in p.stderr


def test_a_taken_port_and_bad_arguments(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        p = subprocess.run([BIN, "dev", "--data", str(tmp_path / "d"), "--listen", f"127.0.0.1:{port}", "--json"], capture_output=True, text=True, timeout=20)
        assert p.returncode != 0 and str(port) in p.stderr and p.stdout == ""
    for argv in (["nonsense"], ["dev", "--no-such-flag"], ["channel", "add"], ["dev", "--listen", "nowhere"]):
        p = subprocess.run([BIN, *argv, "--data", str(tmp_path / "e")], capture_output=True, text=True, timeout=20)
        assert p.returncode != 0 and p.stderr.strip(), argv


def test_cli(lyss, up, name):
    """Add, list, set and remove, as text and as JSON; errors name what is wrong."""
    n = "cli-" + name()
    d = ("--data", lyss.data)
    lyss.channel(n, up.url, "cli-*", "a=b", args=("--priority", "7", "--weight", "11", "--json"))
    rows = json.loads(lyss.cli("channel", "list", *d, "--json").stdout)
    rows = rows if isinstance(rows, list) else rows.get("items") or rows["channels"]
    row = [x for x in rows if x["name"] == n][0]
    assert row["priority"] == 7 and row["weight"] == 11
    assert n in lyss.cli("channel", "list", *d).stdout
    lyss.cli("channel", "set", n, "--weight", "12", *d)
    assert lyss.channel(n, up.url, "x", check=False).returncode != 0
    for bad in (["channel", "set", n, "--weight", "0"], ["channel", "set", n, "--priority", "101"], ["channel", "rm", "no-such-channel"],
                ["channel", "add", "c2", "--provider", "no-such", "--base-url", up.url, "--model", "x"]):
        p = lyss.cli(*bad, *d, check=False)
        assert p.returncode != 0 and p.stderr.strip(), bad
    lyss.cli("channel", "rm", n, *d)
    assert n not in lyss.cli("channel", "list", *d).stdout
    for what in ("version", "--help"):
        assert lyss.cli(what).stdout.strip()
    assert "example" in lyss.cli("channel", "--help").stdout.lower()
    lyss.cli("check", *d)


def test_usage_command(lyss, up, name):
    m = name()
    r = lyss.chat(m)
    lyss.row(r.request_id)
    assert json.loads(lyss.cli("usage", "--json", "--data", lyss.data).stdout)


@pytest.mark.timeout(300)
def test_kill_9_under_load(fresh, up, name):
    """Each request that ended 50 ms before has exactly one row, none has two, the rest are `aborted`."""
    rounds = 20 if os.environ.get("LYSS_TORTURE") else 5
    l = fresh()
    l.channel("main", up.url, "m-*")
    l.caught_up()
    ended, admitted = {}, set()
    for i in range(rounds):
        m = up.on(name(), chunk_delay=0.005)
        stop = threading.Event()

        def load(m=m):
            while not stop.is_set():
                try:
                    with l.connect(timeout=5) as c:
                        while not stop.is_set():
                            c.send(request_bytes("POST", PATH, chat_body(m, stream=True), l.auth()))
                            r = c.head()
                            admitted.add(r.request_id)
                            c.body(r)
                            if r.end == "chunked":
                                ended[r.request_id] = time.monotonic()
                            else:
                                return
                except (OSError, Closed):
                    return
        threads = [threading.Thread(target=load) for _ in range(6)]
        for t in threads:
            t.start()
        time.sleep(0.4 + 0.13 * i)
        killed = time.monotonic()
        l.kill()
        stop.set()
        for t in threads:
            t.join()
        must = {k for k, t in ended.items() if t < killed - 0.05}
        l.start()
        wait(lambda: must <= {r["request_id"] for r in l.rows()}, 10, "the rows of finished requests")
        wait(lambda: len(l.rows("model = ?", (m,))) >= len(up.of(m)) - 1, 10, "rows of the rest")
        time.sleep(0.3)
        rows = l.rows()
        ids = [r["request_id"] for r in rows]
        assert len(ids) == len(set(ids)), "a request has two rows"
        for r in rows:
            if r["model"] == "demo":
                continue
            if r["request_id"] in must:
                assert r["state"] == "completed", r
            elif r["request_id"] not in ended:
                assert r["state"] in ("aborted", "client_gone", "completed"), r
    got = {r["request_id"] for r in l.rows()}
    assert admitted <= got, f"{len(admitted - got)} admitted requests have no row"
    completed = [r for r in l.rows() if r["state"] == "completed"]
    assert all(r["out_text"] + r["out_reasoning"] == len(PIECES) for r in completed)


def test_the_ledger_agrees_with_the_oracle(fresh, up, name):
    """Tokens of all rows are those that the upstream reported."""
    l = fresh()
    l.channel("main", up.url, "m-*", args=("--op", "chat", "--op", "completions", "--op", "embeddings", "--op", "responses"))
    l.caught_up()
    m = name()

    def work(k):
        for i in range(8):
            op, body = [("chat/completions", {"messages": [{"role": "user", "content": "a b c " * k}]}), ("completions", {"prompt": "d e " * i}),
                        ("embeddings", {"input": ["f g"] * (k + 1)}), ("responses", {"input": "h " * (i + k)})][(i + k) % 4]
            r = l.post("/v1/" + op, {"model": m, "stream": i % 2 == 0 and op != "embeddings", **body})
            assert r.status == 200, r
    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    rows = wait(lambda: (lambda x: x if len(x) == 64 else None)(l.rows("model = ?", (m,))), 5, "64 rows")
    reported = [r.usage for r in up.of(m)]
    assert len(reported) == 64
    assert sum(r["in_uncached"] + r["cache_read"] for r in rows) == sum(u.get("prompt_tokens", u.get("input_tokens", 0)) for u in reported)
    assert sum(r["out_text"] + r["out_reasoning"] for r in rows) == sum(u.get("completion_tokens", u.get("output_tokens", 0)) for u in reported)
    assert {r["state"] for r in rows} == {"completed"} and not any(r["estimated"] for r in rows)


def test_no_upstream_tokens_no_charge(lyss, up, name):
    """Zero if no upstream byte came back."""
    m = up.on(name("gone"))
    r = lyss.chat(m)
    row = lyss.row(r.request_id)
    assert row["in_uncached"] + row["out_text"] + row["out_reasoning"] == 0


def test_what_happens_when_the_ledger_is_away(fresh, up, name):
    """The database is locked by somebody else: requests go on, rows follow."""
    import sqlite3
    l = fresh()
    l.channel("main", up.url, "m-*")
    l.caught_up()
    m = name()
    l.row(l.chat(m).request_id)
    db = sqlite3.connect(f"{l.data}/ledger.db", timeout=10, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        ids = [l.chat(m).request_id for _ in range(20)]
        assert all(ids)
    finally:
        db.execute("ROLLBACK")
        db.close()
    for i in ids:
        assert l.row(i, timeout=slack(3))["state"] == "completed"
