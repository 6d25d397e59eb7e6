"""The command line without a server: help, JSON, exit codes, messages, secrets, the choice of a tenant."""
import json
import os
import re
import sqlite3
import stat
import subprocess

import pytest
from lib.lyss import BAD_LINES, BIN

GROUPS = ("provider", "channel", "route", "tenant", "user", "key")
COMMANDS = ("serve", "dev", "check", "migrate", "model", "simulate", "usage", *GROUPS)
SECRET = "sk-canary-of-the-command-line-0042"
CHANNEL = ("--provider", "openai-compatible", "--base-url", "http://127.0.0.1:9/v1", "--model", "m")


class Cli:
    def __init__(self, tmp_path):
        self.dir, self.data = tmp_path, tmp_path / "data"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def raw(self, *argv, stdin="", env=None):
        p = subprocess.run([BIN, *argv], input=stdin, text=True, capture_output=True, timeout=60, cwd=self.dir, env={**self.env, **(env or {})})
        assert not BAD_LINES.search(p.stderr.encode()), p.stderr
        return p

    def __call__(self, *argv, code=0, **kw):
        p = self.raw(*argv, "--data", str(self.data), **kw)
        assert p.returncode == code, f"lyss {' '.join(argv)}: exit {p.returncode}\n{p.stdout}{p.stderr}"
        if code:
            assert p.stdout == "" and p.stderr.startswith("lyss: "), p
        return p

    def json(self, *argv, **kw):
        out = self(*argv, "--json", **kw).stdout
        assert out.endswith("\n") and out.count("\n") == 1, out
        got = json.loads(out)
        assert out == json.dumps(got, separators=(",", ":"), ensure_ascii=False) + "\n", "compact"
        return got


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path)


@pytest.fixture
def acme(cli):
    cli("tenant", "add", "acme")
    cli("user", "add", "ann@example.com")
    return cli


# help, version, what is not understood ------------------------------------------

def test_help_is_everywhere(cli):
    top = cli.raw("--help")
    assert top.returncode == 0 and top.stderr == ""
    for c in (*COMMANDS, "version"):
        assert re.search(rf"^  {c} ", top.stdout, re.M), c
    assert cli.raw("help").stdout == cli.raw("-h").stdout == top.stdout
    for c in COMMANDS:
        p = cli.raw(c, "--help")
        assert p.returncode == 0 and p.stderr == "" and "Examples:" in p.stdout and f"lyss {c}" in p.stdout, c
        assert "\033" not in p.stdout
    for g in GROUPS:
        for v in ("add", "set", "list", "rm"):
            p = cli.raw(g, v, "--help")
            assert p.returncode == 0 and f"lyss {g} {v}" in p.stdout, (g, v)
    assert not cli.data.exists() and not (cli.dir / "data").exists(), "help makes nothing"


def test_help_names_every_column_with_its_default(cli):
    text = cli.raw("channel", "add", "--help").stdout
    for flag in ("provider", "base-url", "api-version", "op", "priority", "weight", "rpm", "tpm", "concurrency", "connect-timeout", "ttft-timeout",
                 "chunk-timeout", "total-timeout", "on-disconnect", "tag", "param-overrides", "header-overrides", "status", "model", "credential-stdin"):
        assert re.search(rf"^  --{flag}\b", text, re.M), flag
    assert "(default 100)" in text and "(default cancel)" in text


def test_version(cli):
    told = json.loads(cli.raw("version", "--json").stdout)
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["version"]) and told["build"] in ("debug", "release", "release, profiled")
    assert cli.raw("version").stdout == "lyss {version} ({build})\n".format(**told)


@pytest.mark.parametrize("argv", [
    (), ("nonsense",), ("channel",), ("channel", "nonsense"), ("channel", "add"), ("channel", "add", ""), ("channel", "add", "a", "b"),
    ("channel", "list", "--nonsense"), ("channel", "list", "-x"), ("channel", "add", "a", "--weight"), ("channel", "add", "a", "--weight", "1", "--weight", "2"),
    ("channel", "list", "--json=yes"), ("channel", "set", "c"), ("tenant", "list", "--tenant", "a"), ("check", "word"), ("usage", "--limit", "0"), ("migrate", "--plan=no"),
    ("check", "--listen", "nowhere"), ("channel", "list", "--config")])
def test_what_is_not_understood_exits_2(acme, argv):
    p = acme.raw(*argv, *(("--data", str(acme.data)) if argv and argv[-1] not in ("--weight", "--config") else ()))
    assert p.returncode == 2 and p.stdout == "", p
    assert p.stderr.startswith("lyss: ") and ("see: lyss" in p.stderr or "--help" in p.stderr), p.stderr


def test_nothing_is_made_by_looking(cli):
    for argv in (("tenant", "list"), ("channel", "list"), ("usage",), ("key", "rm", "x")):
        p = cli(*argv, code=1)
        assert "there is no database" in p.stderr and "--data" in p.stderr
    assert "not there yet" in cli("check").stdout
    assert not cli.data.exists()


def test_the_data_directory_is_made_private(acme):
    assert stat.S_IMODE(acme.data.stat().st_mode) == 0o700
    for f in acme.data.iterdir():
        assert stat.S_IMODE(f.stat().st_mode) == 0o600, f
    other = Cli(acme.dir)
    other.data = acme.dir / "a" / "b"
    other("tenant", "add", "x")
    assert stat.S_IMODE(other.data.stat().st_mode) == 0o700


def test_settings_from_file_and_environment(cli):
    (cli.dir / "lyss.conf").write_text(f"data_dir = {cli.dir}/elsewhere\nworkers = 3\n")
    assert cli.raw("tenant", "add", "x").returncode == 0 and (cli.dir / "elsewhere" / "lyss.db").exists()
    rows = {r["name"]: r for r in json.loads(cli.raw("check", "--json", env={"LYSS_LOG_LEVEL": "warn"}).stdout)["settings"]}
    assert rows["workers"] == {"name": "workers", "value": "3", "source": "file"}
    assert rows["log_level"]["source"] == "environment" and rows["listen"]["source"] == "default"
    cli.raw("tenant", "add", "y", "--config", "/dev/null", env={"LYSS_DATA_DIR": str(cli.dir / "third")})
    assert (cli.dir / "third" / "lyss.db").exists()
    p = cli.raw("check", env={"LYSS_WORKERS": "many"})
    assert p.returncode == 2 and "LYSS_WORKERS" in p.stderr


# rows -------------------------------------------------------------------------

def test_a_channel_from_add_to_rm(acme):
    row = acme.json("channel", "add", "c", *CHANNEL, "--model", "gpt-4o=up", "--priority", "7", "--tag", "a", "--tag", "b", "--op", "chat",
                    "--ttft-timeout-ms", "300", "--chunk-timeout=400", "--param-overrides", '{"temperature":0}')
    assert row["models"] == [{"name": "m", "upstream": "m"}, {"name": "gpt-4o", "upstream": "up"}]
    assert (row["priority"], row["weight"], row["tags"], row["ops"], row["ttft_timeout_ms"], row["chunk_timeout_ms"], row["rpm"]) == \
        (7, 100, ["a", "b"], ["chat"], 300, 400, None)
    assert row["param_overrides"] == {"temperature": 0} and row["on_disconnect"] == "cancel" and row["credentials"] == []
    assert acme.json("channel", "list") == [row] and acme.json("channel", "show", "c") == row
    row = acme.json("channel", "set", "c", "--weight", "9", "--rpm", "60", "--tag", "", "--name", "d", "--model", "*")
    assert (row["name"], row["weight"], row["rpm"], row["tags"], row["priority"], row["models"]) == ("d", 9, 60, [], 7, [{"name": "*", "upstream": "*"}])
    assert acme.json("channel", "set", "d", "--rpm", "none")["rpm"] is None
    assert acme("channel", "rm", "d").stdout == 'channel "d" removed\n'
    assert acme.json("channel", "list") == []


def test_tables_are_aligned(acme):
    acme("channel", "add", "a", *CHANNEL)
    acme("channel", "add", "a-longer-name", *CHANNEL, "--weight", "5")
    head, *rows = acme("channel", "list").stdout.splitlines()
    assert len(rows) == 2 and "\033" not in head
    at = head.index("provider")
    assert all(r[at:].startswith("openai-compatible") and r[at - 1] == " " for r in rows)
    end = head.index("weight") + len("weight")
    assert [r[:end].split()[-1] for r in rows] == ["100", "5"]


def test_every_thing_lists_and_shows(acme):
    acme("channel", "add", "c", *CHANNEL)
    acme("route", "add", "gpt", "--channel", "c=up,priority=3", "--channel", "c", "--alias", "g")
    acme("key", "add", "k")
    for thing, name in (("tenant", "acme"), ("user", "ann@example.com"), ("provider", "openai"), ("channel", "c"), ("route", "gpt"), ("key", "k")):
        rows = acme.json(thing, "list")
        assert isinstance(rows, list) and rows, thing
        assert acme.json(thing, "show", name) in rows
        assert name in acme(thing, "list").stdout and name in acme(thing, "show", name).stdout
    route = acme.json("route", "show", "gpt")
    assert route["channels"] == [{"channel": "c", "upstream": "up", "priority": 3, "weight": None},
                                 {"channel": "c", "upstream": "", "priority": None, "weight": None}]
    assert route["aliases"] == ["g"] and route["algorithm"] == "weighted_random"
    acme("channel", "rm", "c")
    assert acme.json("route", "show", "gpt")["channels"] == []


@pytest.mark.parametrize("argv, code, words", [
    (("channel", "set", "c", "--weight", "0"), 2, ("--weight", "1 to 1000", "lyss channel set --help")),
    (("channel", "set", "c", "--rpm", "many"), 2, ("--rpm",)),
    (("channel", "set", "c", "--status", "off"), 2, ("--status", "maintenance")),
    (("channel", "set", "c", "--base-url", "ftp://x"), 2, ("--base-url", "http://")),
    (("channel", "set", "c", "--base-url", "http://u:p@x/"), 2, ("--base-url",)),
    (("channel", "set", "c", "--param-overrides", "{"), 2, ("--param-overrides", "JSON")),
    (("channel", "set", "c", "--model", "a b"), 2, ("--model",)),
    (("channel", "set", "c", "--provider", "nobody"), 1, ("--provider", "nobody", "lyss provider list")),
    (("channel", "add", "c", *CHANNEL), 1, ("already", '"c"', "lyss channel list")),
    (("channel", "add", "d", "--provider", "openai"), 2, ("--model",)),
    (("channel", "add", "d", "--model", "m"), 2, ("--provider",)),
    (("channel", "add", "d", "--provider", "openai-compatible", "--model", "m"), 2, ("--base-url",)),
    (("channel", "add", "d", "--provider", "demo", "--model", "m"), 2, ("--provider", "demo")),
    (("channel", "rm", "nobody"), 1, ("nobody", "lyss channel list")),
    (("route", "add", "r"), 2, ("--channel",)),
    (("route", "add", "r", "--channel", "nobody"), 1, ("--channel", "nobody", "lyss channel list")),
    (("key", "add", "k", "--user", "nobody@example.com"), 1, ("--user", "lyss user list")),
    (("key", "add", "k", "--expires", "soon"), 2, ("--expires", "30d")),
    (("key", "add", "k", "--channels", "nobody"), 1, ("--channels", "nobody")),
    (("tenant", "add", "Big One"), 2, ("Big One",)),
    (("tenant", "rm", "acme"), 1, ("acme", "users")),
    (("user", "add", "nobody"), 2, ("nobody", "ann@example.com")),
    (("provider", "rm", "openai"), 1, ("built in",)),
    (("provider", "set", "openai", "--base-url", "http://127.0.0.1:9"), 1, ("built in",)),
    (("provider", "add", "p", "--kind", "teapot"), 2, ("--kind", "openai-compatible")),
    (("usage", "--state", "lost"), 2, ("--state",)),
    (("usage", "--since", "lately"), 2, ("--since",)),
    (("channel", "list", "--tenant", "nobody"), 1, ("--tenant", "nobody", "lyss tenant list")),
])
def test_errors_say_what_where_and_what_next(acme, argv, code, words):
    acme("channel", "add", "c", *CHANNEL)
    before = acme.json("channel", "list")
    p = acme(*argv, code=code)
    for w in words:
        assert w in p.stderr, p.stderr
    assert acme.json("channel", "list") == before


# tenants ----------------------------------------------------------------------

def test_choice_of_the_tenant(cli):
    p = cli("channel", "add", "c", *CHANNEL, code=1)
    assert "no tenant yet" in p.stderr and "lyss tenant add" in p.stderr
    cli("tenant", "add", "one")
    cli("channel", "add", "of-one", *CHANNEL)                       # the only one
    cli("tenant", "add", "two")
    p = cli("channel", "list", code=2)
    assert "one, two" in p.stderr and "--tenant" in p.stderr
    cli("channel", "add", "of-two", *CHANNEL, "--tenant", "two")
    cli("tenant", "add", "demo", "--unlimited")
    cli("channel", "add", "of-demo", *CHANNEL)                      # the one named demo
    for t in ("one", "two", "demo"):
        assert [r["name"] for r in cli.json("channel", "list", "--tenant", t)] == ["of-" + t]
    cli("channel", "rm", "of-one", "--tenant", "two", code=1)
    assert {t["slug"]: t["unlimited"] for t in cli.json("tenant", "list")} == {"one": False, "two": False, "demo": True}


# keys and credentials -----------------------------------------------------------

def test_a_key_is_printed_once(acme):
    p = acme("key", "add", "k", "--ping", "off", "--models", "gpt-*", "--expires", "2030-01-31")
    text = p.stdout.strip()
    assert re.fullmatch(r"lyss_[A-Za-z0-9_-]{49}", text) and text not in p.stderr and "once" in p.stderr
    row = acme.json("key", "show", "k")
    assert (row["ping"], row["allowed_models"], row["expires_ms"], row["user"], row["last4"]) == \
        (False, ["gpt-*"], "2030-01-31T00:00:00.000Z", "ann@example.com", text[-4:])
    second = acme.json("key", "rotate", "k")
    assert second["api_key"] != text and second["ping"] is False and second["allowed_models"] == ["gpt-*"]
    assert len(acme.json("key", "list")) == 1 and len(acme.json("key", "list", "--all")) == 2
    third = acme.json("key", "add", "other")["api_key"]
    acme("key", "rm", "k")
    acme("key", "rm", "k", code=1)
    assert acme("key", "add", "k").stdout
    shown = "".join(acme(*a).stdout for a in (("key", "list"), ("key", "list", "--all", "--json"), ("key", "show", "other")))
    held = b"".join(f.read_bytes() for f in acme.data.iterdir())
    for secret in (text, second["api_key"], third):
        assert secret not in shown and secret.encode() not in held


def test_credentials_come_from_stdin_or_file_only(acme):
    for flag in ("--credential", f"--credential={SECRET}", "--api-key", "--secret"):
        p = acme("channel", "add", "c", *CHANNEL, flag, *([] if "=" in flag else [SECRET]), code=2)
        assert SECRET not in p.stderr and "--credential-stdin" in p.stderr
    f = acme.dir / "secret"
    f.write_text(f"  {SECRET}-file\n")
    row = acme.json("channel", "add", "c", *CHANNEL, "--credential-stdin", "--credential-file", str(f), stdin=SECRET + "\r\n")
    assert [c["last4"] for c in row["credentials"]] == [SECRET[-4:], "file"]
    assert len({c["fingerprint"] for c in row["credentials"]}) == 2
    for argv, stdin, word in ((("--credential-stdin",), "\n", "no credential"), (("--credential-stdin",), "two words\n", "blanks"),
                              (("--credential-file", "/nowhere"), "", "/nowhere"), (("--add-credential",), "", "--credential-stdin"),
                              (("--credential-stdin",), "x" * 9000, "8192")):
        p = acme.raw("channel", "set", "c", *argv, "--data", str(acme.data), stdin=stdin)
        assert p.returncode in (1, 2) and word in p.stderr and "two words" not in p.stderr, p.stderr
    assert acme.json("channel", "show", "c")["credentials"] == row["credentials"], "nothing has changed"
    third = acme.json("channel", "set", "c", "--add-credential", "--credential-stdin", stdin=SECRET + "-3\n")["credentials"]
    assert third[:2] == row["credentials"] and len(third) == 3
    for bad in (("--rm-credential", "99"), ("--rm-credential", str(third[0]["id"]), "--provider", "nobody")):
        acme("channel", "set", "c", *bad, code=1)
        assert acme.json("channel", "show", "c")["credentials"] == third
    left = acme.json("channel", "set", "c", "--rm-credential", str(third[0]["id"]))["credentials"]
    assert left == third[1:]
    assert len(acme.json("channel", "set", "c", "--credential-stdin", stdin=SECRET)["credentials"]) == 1
    for at in acme.data.iterdir():
        assert SECRET.encode() not in at.read_bytes(), at


def test_a_new_address_clears_credentials(acme):
    acme("channel", "add", "c", *CHANNEL, "--credential-stdin", stdin=SECRET)
    p = acme("channel", "set", "c", "--base-url", "http://127.0.0.1:9/v1/", stdin="")
    assert p.stderr == "" and len(acme.json("channel", "show", "c")["credentials"]) == 1
    p = acme("channel", "set", "c", "--base-url", "http://127.0.0.1:10/v1")
    assert "removed" in p.stderr and "lyss channel set c --credential-stdin" in p.stderr
    assert acme.json("channel", "show", "c")["credentials"] == []
    row = acme.json("channel", "set", "c", "--base-url", "http://127.0.0.1:11/v1", "--credential-stdin", stdin=SECRET)
    assert len(row["credentials"]) == 1


def test_a_missing_credential_is_told(acme):
    p = acme("channel", "add", "o", "--provider", "openai", "--model", "*")
    assert "no credential yet" in p.stderr and "lyss channel set o --credential-stdin" in p.stderr
    assert acme("channel", "add", "c", *CHANNEL).stderr == ""


def test_changes_are_audited(acme):
    acme("channel", "add", "c", *CHANNEL, "--credential-stdin", stdin=SECRET)
    acme("channel", "set", "c", "--weight", "5")
    acme("channel", "rm", "c")
    db = sqlite3.connect(acme.data / "lyss.db")
    rows = db.execute("SELECT action, actor, before, after FROM audit WHERE thing = 'channel' ORDER BY id").fetchall()
    rev = db.execute("SELECT value FROM meta WHERE name = 'config_rev'").fetchone()[0]
    db.close()
    assert [r[0] for r in rows] == ["add", "set", "rm"] and all(r[1].startswith("cli") for r in rows)
    assert json.loads(rows[1][2])["weight"] == 100 and json.loads(rows[1][3])["weight"] == 5 and rows[2][3] == ""
    assert json.loads(rows[0][3])["models"] == {"m": ""} and len(json.loads(rows[0][3])["credentials"]) == 1, "fingerprints"
    assert int(rev) == 6, "tenant, user and three changes of the channel"


# check, migrate ------------------------------------------------------------------

def test_check_finds_a_key_that_does_not_fit(acme):
    assert acme.json("check")["encryption_key"] == "fits the database"
    key = acme.data / "encryption.key"
    was = key.read_bytes()
    key.unlink()
    for argv in (("check",), ("channel", "list")):
        assert "encryption key" in acme(*argv, code=1).stderr
    assert not key.exists(), "no new key is made beside sealed credentials"
    p = acme("check", code=1, env={"LYSS_ENCRYPTION_KEY": "00" * 32})
    assert "00000000" not in p.stderr
    key.write_bytes(was)
    os.chmod(key, 0o600)
    acme("check")


def test_migrate(cli):
    plan = cli.json("migrate", "--plan")
    assert {s["database"] for s in plan} == {"lyss.db", "ledger.db"} and not cli.data.exists()
    assert cli.json("migrate") == plan
    assert cli.json("migrate", "--plan") == [] == cli.json("migrate")
    assert "nothing to do" in cli("migrate").stdout
    db = sqlite3.connect(cli.data / "lyss.db")
    db.execute("UPDATE schema_migrations SET sha256 = 'x'")
    db.commit()
    db.close()
    for argv in (("migrate",), ("migrate", "--plan"), ("tenant", "list"), ("check",)):
        assert cli(*argv, code=1).stderr.strip()


def test_usage_of_nothing(acme):
    assert acme.json("usage") == []
    assert acme.json("usage", "--totals")["requests"] == 0
    assert acme("usage").stdout.startswith("id ")
