"""SIGHUP: settings and certificates are read again while calls go on."""
import json
import os
import signal
import ssl
import subprocess
import time

import pytest
from conftest import slack
from lib.http import request_bytes, wait
from lib.lyss import chat_body
from lib.upstream import PIECES, Gate

PATH = "/v1/chat/completions"


@pytest.fixture
def own(fresh, up, tmp_path):
    """A process with a file of settings; own.write(text) changes it, own.hup() tells."""
    conf = tmp_path / "lyss.conf"
    conf.write_text("max_body_bytes = 1MiB\n")
    os.chmod(conf, 0o600)
    l = fresh(["--config", str(conf)])
    l.channel("main", up.url, "m-*")
    l.caught_up()
    l.conf = conf
    l.write = conf.write_text
    l.hup = lambda want="settings.reloaded": hup(l, want)
    return l


def hup(l, want):
    """Sends SIGHUP; the log's line about it."""
    before = len(l.log_text())
    l.process.send_signal(signal.SIGHUP)

    def line():
        return [x for x in l.log_text()[before:].splitlines() if '"settings.re' in x and "restart_needed" not in x]
    got = wait(line, slack(2), "the reload")[-1]
    assert want in got, got
    time.sleep(0.05)                             # each worker's turn
    return got


def test_settings_change_while_it_serves(own, up, name):
    m = name()
    big = chat_body(m, "x " * 5000)
    assert own.post(PATH, big).status == 200
    own.write("max_body_bytes = 4KiB\nattempts_max = 1\nttft_timeout_ms = 300\nlog_requests = off\n")
    own.hup()
    assert own.post(PATH, big).status == 413 and own.chat(m).status == 200
    quiet = up.on(name(), fault="stall", after=0)
    t = time.monotonic()
    assert own.stream(quiet).status == 504, "the channel's own timer comes from the settings, too"
    assert time.monotonic() - t < 0.3 + slack(0.3)
    own.write("")
    own.hup()
    assert own.post(PATH, big).status == 200


def test_what_is_under_way_goes_on(own, up, name):
    gate = Gate()
    m = up.on(name(), gate=gate, after=5)
    with own.connect() as c:
        c.send(request_bytes("POST", PATH, chat_body(m, stream=True), own.auth()))
        r = c.head()
        for i in range(3):
            own.write(f"max_body_bytes = {i + 1}KiB\n")
            own.hup()
        gate.open()
        c.body(r)
        assert r.end == "chunked" and PIECES[-1].encode() in r.body
        assert c.request("GET", "/health/live").status == 200, "its connection lives on"


@pytest.mark.parametrize("text, says", [
    ("max_body_bytes = lots\n", ["lyss.conf:1", "max_body_bytes"]),
    ("\nno_such_setting = 1\n", ["lyss.conf:2", "no_such_setting"]),
    ("max_body_bytes = 4KiB\nupstream_allow = 300.0.0.0/8\n", ["upstream_allow"]),
    ("tls_cert_file = /nowhere.pem\ntls_key_file = /nowhere.key\n", ["nowhere"]),
])
def test_a_bad_file_changes_nothing(own, name, text, says):
    m = name()
    own.write(text)
    line = own.hup("settings.refused")
    assert all(x in line for x in says), line
    assert own.post(PATH, chat_body(m, "x " * 5000)).status == 200, "the old limit holds"
    own.conf.unlink()
    assert "lyss.conf" in own.hup("settings.refused")


def test_networks_and_hosts(own, up, name):
    """Lists are replaced as a whole; the environment still wins over the file."""
    m = name()
    assert own.get("/metrics", key=None).status == 200
    own.write("metrics_allow = 10.0.0.0/8\ntrusted_hosts = other.example\n")
    own.hup()
    assert own.get("/health/live", key=None).status == 400
    own.write("metrics_allow = 10.0.0.0/8\nupstream_allow = 10.0.0.0/8\n")
    own.hup()
    assert own.get("/metrics", key=None).status == 403
    assert own.chat(m).status == 200, "LYSS_UPSTREAM_ALLOW is stronger than the file"
    own.write("")
    own.hup()
    assert own.get("/metrics", key=None).status == 200


def test_what_takes_a_restart_is_named(own, name):
    own.write("workers = 7\nmax_body_bytes = 4KiB\n")
    before = len(own.log_text())
    own.hup()
    log = own.log_text()[before:]
    line = [x for x in log.splitlines() if "settings.restart_needed" in x]
    assert len(line) == 1 and '"workers"' in line[0]
    assert own.chat(name()).status == 200


def certificate(where, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", where / "key.pem",
                    "-out", where / "cert.pem", "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True)


def test_a_new_certificate(fresh, tmp_path):
    certificate(tmp_path, "first")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    l = fresh(["--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file", str(tmp_path / "key.pem")], tls=context)

    def shown(c):
        text = subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-subject"], input=c.sock.getpeercert(True), capture_output=True, check=True)
        return text.stdout.decode()
    old = l.connect()
    assert "first" in shown(old)
    certificate(tmp_path, "second")
    hup(l, "settings.reloaded")
    with l.connect() as c:
        assert "second" in shown(c)
        assert c.request("GET", "/health/live").status == 200
    assert old.request("GET", "/health/live").status == 200, "a connection that is open keeps its own"
    old.close()
    (tmp_path / "cert.pem").write_text("no certificate\n")
    assert "cert.pem" in hup(l, "settings.refused")
    with l.connect() as c:
        assert "second" in shown(c)


def models_file(where, usd):
    where.write_text(json.dumps({"models": [{"provider": "openai-compatible", "models": ["m-*"], "prices": [
        {"from": "2020-01-01", "usd_per_million": {"in_uncached": usd, "cache_read": usd, "out_text": usd, "out_reasoning": usd}}]}]}))


def test_models_and_prices(fresh, up, name, tmp_path):
    """models_file is read again; rows are costed by what was in force when the request came."""
    path = tmp_path / "models.json"
    models_file(path, "1")
    l = fresh(env={"LYSS_MODELS_FILE": str(path)})
    l.channel("main", up.url, "m-*")
    l.caught_up()
    gate = Gate()
    m, slow = name(), up.on(name(), gate=gate, gate_head=True)

    def cost(r):
        row = l.row(r.request_id)
        return row["cost_nusd"] / (row["in_uncached"] + row["cache_read"] + row["out_text"] + row["out_reasoning"])
    assert cost(l.chat(m)) == 1000
    with l.connect() as c:
        c.send(request_bytes("POST", PATH, chat_body(slow), l.auth()))
        up.wait_request(slow)
        models_file(path, "7")
        hup(l, "settings.reloaded")
        assert cost(l.chat(m)) == 7000
        gate.open()
        assert cost(c.response()) == 1000
    path.write_text("{")
    assert "models.json" in hup(l, "settings.refused")
    assert cost(l.chat(m)) == 7000


def test_many_at_once(own, up, name):
    """Signals in a row, under load, and one while it stops."""
    m = up.on(name(), chunk_delay=0.002)
    for i in range(20):
        own.process.send_signal(signal.SIGHUP)
        if i % 4 == 0:
            assert own.stream(m).status == 200
    own.process.send_signal(signal.SIGHUP)
    own.process.send_signal(signal.SIGTERM)
    own.process.send_signal(signal.SIGHUP)
    assert own.process.wait(slack(2)) == 0
