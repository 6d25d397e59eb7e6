"""Lists of models, and one of them, as each dialect says it."""
import re
import sqlite3
import time

import pytest
from lib.lyss import Lyss

ANTHROPIC = (("anthropic-version", "2023-06-01"),)
SLASHED = "org/name:tag@1"


@pytest.fixture(scope="module")
def own():
    with Lyss(clock=False) as l:
        nowhere = "http://127.0.0.1:1/v1"
        l.channel("claude", nowhere, "claude-sonnet-4-5", "clever=claude-sonnet-4-5", provider="anthropic")
        l.channel("gemini", nowhere, "gemini-2.5-flash", provider="google")
        l.channel("other", nowhere, SLASHED, "glob-*")
        l.channel("vectors", nowhere, "text-embedding-3-small", provider="openai", args=("--op", "embeddings"))
        l.channel("small", nowhere, "both=gpt-4", provider="openai")
        l.channel("large", nowhere, "both=gpt-4.1", provider="openai")
        l.caught_up()
        yield l


def names(l):
    return [m["id"] for m in l.get("/v1/models").json["data"]]


def test_openai(own):
    j = own.get("/v1/models").json
    assert set(j) == {"object", "data"} and j["object"] == "list"
    for m in j["data"]:
        assert set(m) == {"id", "object", "created", "owned_by"} and m["object"] == "model"
        assert abs(m["created"] - time.time()) < 600
    assert {m["id"]: m["owned_by"] for m in j["data"]} == {
        "demo": "demo", "claude-sonnet-4-5": "anthropic", "clever": "anthropic", "gemini-2.5-flash": "google", SLASHED: "openai-compatible",
        "text-embedding-3-small": "openai", "both": "openai"}
    assert own.get("/v1/models/clever").json == next(m for m in j["data"] if m["id"] == "clever")


def test_anthropic(own):
    j = own.get("/v1/models", headers=ANTHROPIC).json
    assert set(j) == {"data", "has_more", "first_id", "last_id"} and j["has_more"] is False
    assert [m["id"] for m in j["data"]] == names(own)
    assert (j["first_id"], j["last_id"]) == (j["data"][0]["id"], j["data"][-1]["id"])
    for m in j["data"]:
        assert m["type"] == "model" and m["display_name"] == m["id"]
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", m["created_at"])
    by = {m["id"]: m for m in j["data"]}
    assert by["clever"]["max_input_tokens"] >= 200_000 and by["clever"]["max_tokens"] == 64_000
    assert "max_tokens" not in by[SLASHED]
    assert own.get("/v1/models/clever", headers=ANTHROPIC).json == by["clever"]


def test_gemini(own):
    j = own.get("/v1beta/models").json
    assert set(j) == {"models"}
    by = {m["name"]: m for m in j["models"]}
    assert [n.removeprefix("models/") for n in by] == names(own) and all(n.startswith("models/") for n in by)
    g = by["models/gemini-2.5-flash"]
    assert g["inputTokenLimit"] == 1_048_576 and g["outputTokenLimit"] >= 65_535
    assert {"generateContent", "countTokens", "embedContent"} <= set(g["supportedGenerationMethods"])
    assert "embedContent" not in by["models/clever"]["supportedGenerationMethods"]
    assert "generateContent" not in by["models/text-embedding-3-small"]["supportedGenerationMethods"]
    assert own.get("/v1beta/models/gemini-2.5-flash").json == g
    assert own.get("/v1/models", headers=(("x-goog-api-key", own.key),), key=False).json == j


def test_of_several_channels_the_largest_limits(own):
    m = own.get("/v1/models/both", headers=ANTHROPIC).json
    assert (m["max_input_tokens"], m["max_tokens"]) == (1_047_576, 32_768)


@pytest.mark.parametrize("path", ["/v1/models/" + SLASHED, "/v1/models/org%2Fname%3Atag%401", "/api/v1/models/" + SLASHED])
def test_names_with_slashes(own, path):
    assert own.get(path).json["id"] == SLASHED
    assert own.get(path.replace("/api", ""), headers=ANTHROPIC).json["id"] == SLASHED
    assert own.get(path.replace("/api", "").replace("/v1/", "/v1beta/")).json["name"] == "models/" + SLASHED


def test_a_name_that_only_a_pattern_serves(own):
    assert own.get("/v1/models/glob-7").json["id"] == "glob-7" and "glob-7" not in names(own)


def test_an_unknown_model_in_each_dialect(own):
    r = own.get("/v1/models/nothing/of:that")
    assert r.status == 404 and r.error["code"] == "model_not_found"
    r = own.get("/v1/models/nothing/of:that", headers=ANTHROPIC)
    assert r.status == 404 and r.json["type"] == "error" and r.json["error"]["type"] == "not_found_error"
    r = own.get("/v1beta/models/nothing/of:that")
    assert r.status == 404 and r.json["error"]["status"] == "NOT_FOUND" and r.json["error"]["code"] == 404


def test_dates_are_those_of_the_configuration(own):
    db = sqlite3.connect(f"file:{own.data}/lyss.db?mode=ro", uri=True, timeout=10)
    try:
        made = {n: ms // 1000 for n, ms in db.execute("SELECT name, created_ms FROM channels")}
    finally:
        db.close()
    of = {m["id"]: m["created"] for m in own.get("/v1/models").json["data"]}
    assert (of["clever"], of[SLASHED], of["both"]) == (made["claude"], made["other"], made["small"])
