"""What answers cost: to the nano-USD in rows, attempts and sums, and unknown where it is unknown."""
import json
import sqlite3

import pytest
from conftest import slack
from lib import http
from lib.lyss import Lyss, chat_body
from lib.upstream import Gate, Upstream

COUNTERS = ("in_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "out_text", "out_reasoning",
            "audio_in", "audio_out", "images")
OWN = {"models": [
    {"provider": "openai-compatible", "models": ["own-*"], "note": "by pattern",
     "prices": [{"from": "2020-01-01", "usd_per_million": {
         "in_uncached": "1.234567", "cache_read": "0.100001", "out_text": "3.333333", "out_reasoning": "7"}}]},
    {"provider": "openai-compatible", "models": ["own-half"],
     "prices": [{"from": "2020-01-01", "usd_per_million": {"in_uncached": "1.5", "out_text": "2"}}]},
    {"provider": "openai-compatible", "models": ["own-tiers"],
     "prices": [{"from": "2020-01-01", "usd_per_million": {
                    "in_uncached": "1", "cache_read": "1", "out_text": "1", "out_reasoning": "1"}},
                {"from": "2020-01-01", "above_input_tokens": 40, "usd_per_million": {
                    "in_uncached": "2", "cache_read": "2", "out_text": "3", "out_reasoning": "3"}}]},
    {"provider": "openai-compatible", "models": ["own-later"],
     "prices": [{"from": "2020-01-01", "usd_per_million": {}},
                {"from": "2120-01-01", "usd_per_million": {"in_uncached": "1", "out_text": "1"}}]},
    {"provider": "openai", "models": ["gpt-4o-mini"], "output_tokens": 42},
]}


@pytest.fixture(scope="module")
def up():
    with Upstream() as u:
        yield u
    assert u.violations == []


@pytest.fixture(scope="module")
def lyss(up, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "models.json"
    path.write_text(json.dumps(OWN))
    with Lyss(env={"LYSS_MODELS_FILE": str(path)}) as l:
        l.channel("real", up.url, "gpt-*", "cheap=gpt-4o-mini", "text-*", provider="openai")
        l.channel("own", up.url, "own-*", "nobody-*")
        l.channel("first", "http://127.0.0.1:1/v1", "both", args=("--priority", "9"))
        l.channel("second", up.url, "both=own-a", args=("--priority", "5"))
        l.caught_up()
        yield l


def query(l, sql, args=()):
    db = sqlite3.connect(f"file:{l.data}/ledger.db?mode=ro", uri=True, timeout=10)
    try:
        db.row_factory = sqlite3.Row
        return [dict(r) for r in db.execute(sql, args)]
    finally:
        db.close()


def price_of(l, row):
    return query(l, "SELECT * FROM price WHERE id = ?", (row["price_id"],))[0]


def cost(row, price):
    """Half up, once, in integers."""
    return (sum(row[c] * (price[c] or 0) for c in COUNTERS) + 500) // 1000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model,provider,price", [
    ("gpt-4o", "openai", "gpt-4o"), ("gpt-4o-2024-11-20", "openai", "gpt-4o-????-??-??"),
    ("cheap", "openai", "gpt-4o-mini"), ("own-a", "openai-compatible", "own-*")])
def test_a_row_bears_its_exact_cost_and_its_price(lyss, model, provider, price, stream):
    r = lyss.chat(model, stream=stream)
    assert r.status == 200
    row = lyss.row(r.request_id)
    used = price_of(lyss, row)
    assert (used["provider"], used["model"]) == (provider, price)
    assert row["in_uncached"] and row["cache_read"] and row["out_text"] and row["out_reasoning"]
    assert row["cost_nusd"] == cost(row, used) > 0


def test_other_operations_are_costed_too(lyss):
    r = lyss.post("/v1/embeddings", {"model": "text-embedding-3-small", "input": "one two three"})
    row = lyss.row(r.request_id)
    assert row["cost_nusd"] == (row["in_uncached"] * 20_000 + 500) // 1000 > 0
    r = lyss.post("/v1/responses", {"model": "gpt-5-nano", "input": "one two three"})
    row = lyss.row(r.request_id)
    assert row["out_reasoning"] and row["cost_nusd"] == cost(row, price_of(lyss, row))


def test_the_price_above_so_many_tokens_counts_for_all_of_them(lyss):
    short = lyss.row(lyss.chat("own-tiers", "a").request_id)
    long = lyss.row(lyss.chat("own-tiers", "a b c d " * 20).request_id)
    tokens = lambda row: row["in_uncached"] + row["cache_read"]  # noqa: E731
    assert tokens(short) <= 40 < tokens(long)
    out = short["out_text"] + short["out_reasoning"]
    assert short["cost_nusd"] == (tokens(short) + out) * 1000
    assert long["cost_nusd"] == (tokens(long) * 2 + out * 3) * 1000
    assert short["price_id"] != long["price_id"]


def test_what_has_no_price_costs_null_and_never_zero(lyss):
    half = lyss.row(lyss.chat("own-half").request_id)       # cached and reasoning tokens have none
    assert half["cost_nusd"] is None and half["price_id"]
    nobody = lyss.row(lyss.chat("nobody-1").request_id)
    assert nobody["cost_nusd"] is None and nobody["price_id"] is None
    later = lyss.row(lyss.chat("own-later").request_id)
    assert later["cost_nusd"] is None
    assert price_of(lyss, later)["in_uncached"] is None


def test_nothing_costs_nothing(lyss, up):
    up.on("nobody-bad", status=400)
    row = lyss.row(lyss.chat("nobody-bad").request_id)
    assert row["cost_nusd"] == 0 and row["attempts"] == 1


def test_a_request_costs_the_sum_of_its_attempts(lyss):
    r = lyss.chat("both")
    assert r.status == 200 and r.header("x-lyss-attempts") == "2"
    row = lyss.row(r.request_id)
    tries = query(lyss, "SELECT * FROM attempt WHERE request_id = ? ORDER BY number",
                  (bytes.fromhex(r.request_id.replace("-", "")),))
    assert [t["cost_nusd"] for t in tries] == [0, cost(tries[1], price_of(lyss, tries[1]))]
    assert row["cost_nusd"] == tries[1]["cost_nusd"] > 0 and row["price_id"] is None
    both = query(lyss, "SELECT count(*) n FROM usage_attempts WHERE request_id = ?", (tries[0]["request_id"],))
    assert both[0]["n"] == 2


def test_what_is_counted_by_lyss_itself_is_costed(lyss, up):
    up.on("own-silent", usage=False)
    row = lyss.row(lyss.stream("own-silent").request_id)
    assert row["estimated"] == 1 and row["in_uncached"] and row["out_text"]
    assert row["cost_nusd"] == cost(row, price_of(lyss, row)) > 0


def test_sums_and_rollups(lyss):
    def settled():
        t = lyss.cli("usage", "--totals", "--json", "--data", lyss.data, "--tenant", "demo")
        return json.loads(t.stdout)
    lyss.row(lyss.chat("nobody-2").request_id)
    lyss.row(lyss.chat("gpt-4o").request_id)
    rows, t = lyss.rows(), settled()
    assert t["cost_nusd"] == sum(r["cost_nusd"] or 0 for r in rows) > 0
    assert t["unpriced"] == sum(r["cost_nusd"] is None for r in rows) > 0
    for table in ("rollup_minute", "rollup_hour", "rollup_day"):
        sums = query(lyss, f"SELECT sum(cost_nusd) cost, sum(unpriced) unpriced FROM {table}")[0]
        assert sums == {"cost": t["cost_nusd"], "unpriced": t["unpriced"]}
    told = json.loads(lyss.cli("usage", "--json", "--limit", "2", "--data", lyss.data, "--tenant", "demo").stdout)
    assert told[0]["cost_nusd"] == rows[-1]["cost_nusd"] and told[0]["price_id"] == str(rows[-1]["price_id"])
    assert told[1]["cost_nusd"] is None and told[1]["cost_usd"] is None and told[1]["price_id"] is None
    text = lyss.cli("usage", "--data", lyss.data, "--tenant", "demo").stdout
    assert f"{rows[-1]['cost_nusd'] / 1e9:.9f}" in text
    assert text.endswith(f" {t['cost_nusd'] / 1e9:.9f} USD, {t['unpriced']} requests unpriced\n")


def test_a_killed_process_keeps_the_cost_so_far(fresh, up, tmp_path):
    path = tmp_path / "models.json"
    path.write_text(json.dumps(OWN))
    l = fresh(env={"LYSS_MODELS_FILE": str(path)})
    l.channel("own", up.url, "own-*")
    l.caught_up()
    gate = Gate()
    up.on("own-cut", gate=gate, after=4)
    with l.connect() as c:
        c.send(http.request_bytes("POST", "/v1/chat/completions", chat_body("own-cut", stream=True), l.auth()))
        assert c.head().status == 200
        http.wait(lambda: gate.waiting, slack(5), "the stream to be under way")
        l.kill()
        gate.open()
    l.start()
    row = l.row_of_model("own-cut")
    assert row["state"] == "aborted" and row["estimated"] == 1
    assert row["in_uncached"] and row["cost_nusd"] == cost(row, price_of(l, row)) > 0


def test_prices_stay_when_the_file_goes(fresh, up, tmp_path):
    """Rows keep the price they were costed with; the next ones have another."""
    path = tmp_path / "models.json"
    path.write_text(json.dumps(OWN))
    l = fresh(env={"LYSS_MODELS_FILE": str(path)})
    l.channel("own", up.url, "own-*")
    l.caught_up()
    before = l.row(l.chat("own-a").request_id)
    l.kill()
    OWN_2 = json.loads(json.dumps(OWN))
    OWN_2["models"][0]["prices"][0]["usd_per_million"]["in_uncached"] = "9"
    path.write_text(json.dumps(OWN_2))
    l.start()
    l.caught_up()
    after = l.row(l.chat("own-a").request_id)
    assert after["price_id"] != before["price_id"]
    assert price_of(l, before)["in_uncached"] == 1_234_567
    assert price_of(l, after)["in_uncached"] == 9_000_000
    assert before == l.row(before["request_id"])


@pytest.mark.parametrize("text,words", [
    ('{"models": [', ("line 1",)),
    ('{"models": [\n {"provider": "openai", "models": ["x"],\n  "prices": [{"from": "soon"}]}]}',
     ("line 3", "models[0].prices[0].from", "2026-01-31")),
    ('{"models": [{"provider": "openai", "models": ["x"], "contxt": 5}]}', ("contxt",)),
    (None, ("No such file",))])
def test_a_bad_models_file_ends_the_start_with_its_place(tmp_path, text, words):
    path = tmp_path / "models.json"
    if text is not None:
        path.write_text(text)
    l = Lyss(env={"LYSS_MODELS_FILE": str(path)})
    try:
        for argv in (("serve", "--listen", "127.0.0.1:0"), ("check",), ("model", "list")):
            p = l.cli(*argv, "--data", l.data, check=False)
            assert p.returncode and all(w in p.stderr for w in (str(path), *words)), p.stderr
    finally:
        l.cleanup()


def test_the_catalogue_is_told(lyss):
    def model(*argv):
        return json.loads(lyss.cli("model", *argv, "--json").stdout)
    listed = {(m["provider"], m["model"]): m for m in model("list")}
    assert ("openai", "gpt-4o") in listed and ("openai-compatible", "own-*") in listed
    assert not any(p == "azure-openai" for p, _ in listed)       # the same models as OpenAI's
    azure = model("list", "--provider", "azure-openai")
    assert {m["provider"] for m in azure} == {"azure-openai"} and not any(m["prices"] for m in azure)
    mini = model("show", "gpt-4o-mini")
    assert mini["override"] and mini["output_tokens"] == 42 and mini["context_tokens"] == 128000
    assert mini["prices"][0]["usd_per_million"]["in_uncached"] == "0.15"
    assert mini["source"].startswith("https://developers.openai.com/")
    opus = model("show", "claude-opus-4-6")
    assert opus["thinking"]["style"] == "either" and "no_prefill" in opus["rules"]
    flash = model("show", "gemini-2.5-flash")
    assert [p["in_force"] for p in flash["prices"]] == [True]
    assert model("show", "own-whatever")["model"] == "own-*"
    text = lyss.cli("model", "show", "gpt-4o").stdout
    assert "cache_read      1.25" in text and "(in force)" in text
    p = lyss.cli("model", "show", "no-such-model", check=False)
    assert p.returncode and "no-such-model" in p.stderr
    p = lyss.cli("model", "sell", check=False)
    assert p.returncode == 2
    check = json.loads(lyss.cli("check", "--json", "--data", lyss.data).stdout)
    assert "models_file" in check["models"]
