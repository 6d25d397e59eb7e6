"""API keys: what they may do, and when they were last used."""
import json
import signal
import time

import pytest
from conftest import slack


def key_row(l, name):
    rows = json.loads(l.cli("key", "list", "--json", "--data", l.data).stdout)
    return next(k for k in (rows["items"] if isinstance(rows, dict) else rows) if k["name"] == name)


def mint(l, name, *args):
    out = json.loads(l.cli("key", "add", name, "--user", "demo@localhost", *args, "--json", "--data", l.data).stdout)
    l.caught_up()
    return out["key"] if "key" in out else out["api_key"]


@pytest.mark.parametrize("scopes,status", [((), 200), (("inference",), 200), (("usage", "inference"), 200), (("usage",), 403)])
def test_scopes(lyss, up, name, scopes, status):
    m = name()
    key = mint(lyss, "scope-" + m.lower()[-20:], *[x for s in scopes for x in ("--scope", s)])
    r = lyss.chat(m, key=key)
    assert r.status == status, r
    assert lyss.get("/v1/models", key=key).status == status
    if status == 403:
        assert "inference" in r.error["message"] and r.error["code"] == "permission_denied" and up.of(m) == []


def test_last_use_is_written_each_minute_and_at_the_end(fresh):
    l = fresh()
    a, b = mint(l, "used"), mint(l, "unused")
    assert key_row(l, "used")["last_used_ms"] is None
    rev = l.rev()
    assert l.chat("demo", key=a).status == 200
    l.clock.advance(61)
    deadline = time.monotonic() + 10
    while key_row(l, "used")["last_used_ms"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first = key_row(l, "used")["last_used_ms"]
    assert key_row(l, "unused")["last_used_ms"] is None and l.rev() == rev
    assert l.chat("demo", key=a).status == 200
    l.process.send_signal(signal.SIGTERM)
    l.process.wait(slack(5))
    assert key_row(l, "used")["last_used_ms"] > first and key_row(l, "unused")["last_used_ms"] is None
