#!/usr/bin/env python3
"""Fails where data/models.json has a shape that docs/models.md does not tell.

The program reads the file just as strictly; this says what is wrong without a
build, and holds it to more: sources on the provider's own pages, prices that
say everything a model of their kind can count, names in use only once.
"""
import datetime
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOSTS = {
    "openai": ("developers.openai.com", "platform.openai.com"),
    "anthropic": ("platform.claude.com", "docs.anthropic.com"),
    "google": ("ai.google.dev",),
    "deepseek": ("api-docs.deepseek.com",),
    "azure-openai": ("learn.microsoft.com", "azure.microsoft.com"),
}
COUNTERS = ["in_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "out_text",
            "out_reasoning", "audio_in", "audio_out", "images"]
ENTRY = {"provider": str, "models": list, "note": str, "context_tokens": int, "output_tokens": int,
         "can": list, "cannot": list, "thinking": dict, "rules": list, "estimate_percent": int,
         "prices": list, "source": str}
PRICE = {"from": str, "above_input_tokens": int, "usd_per_million": dict, "source": str}
AMOUNT = re.compile(r"^\d{1,7}\.\d{2,6}$")


def members(what, table, must, where):
    for name, value in what.items():
        if name not in table:
            yield f"{where}: there is no member {name}"
        elif type(value) is not table[name]:
            yield f"{where}.{name}: expected {table[name].__name__}"
    for name in must:
        if name not in what:
            yield f"{where}: {name} is missing"
    if list(what) != [name for name in table if name in what]:
        yield f"{where}: members in this order: {', '.join(n for n in table if n in what)}"


def own_page(url, provider, where):
    host = re.match(r"https://([^/]+)/", url + "/")
    if not host or host[1] not in HOSTS.get(provider, ()):
        yield f"{where}: {url} is no page of {provider}"


def price(p, entry, where):
    yield from members(p, PRICE, ["from", "usd_per_million", "source"], where)
    yield from own_page(p.get("source", ""), entry.get("provider"), where)
    try:
        datetime.date.fromisoformat(p.get("from", ""))
    except ValueError:
        yield f"{where}: from is no date"
    rates = p.get("usd_per_million", {})
    if list(rates) != [c for c in COUNTERS if c in rates]:
        yield f"{where}: counters are these, in this order: {' '.join(COUNTERS)}"
    for counter, amount in rates.items():
        if not isinstance(amount, str) or not AMOUNT.match(amount) or amount.startswith("00"):
            yield f"{where}.{counter}: expected an amount like \"2.50\""
    if rates and "in_uncached" not in rates:
        yield f"{where}: a price says what input costs, or nothing at all"
    if rates and "prompt_cache" in entry.get("can", []) and "cache_read" not in rates:
        yield f"{where}: the model caches prompts, but a read has no price"
    if rates and "prompt_cache" in entry.get("cannot", []) and "cache_read" in rates:
        yield f"{where}: a cache read has a price, but the model does not cache prompts"


def problems(data):
    seen = set()
    yield from members(data, {"about": list, "providers": dict, "models": list}, ["models"], "file")
    for n, entry in enumerate(data["models"]):
        where = f"models[{n}] {entry.get('models', ['?'])[0]}"
        yield from members(entry, ENTRY, ["provider", "models", "source"], where)
        yield from own_page(entry.get("source", ""), entry.get("provider"), where)
        for name in entry.get("models", []):
            if (entry["provider"], name) in seen:
                yield f"{where}: {name} is there twice"
            seen.add((entry["provider"], name))
        both = set(entry.get("can", [])) & set(entry.get("cannot", []))
        if both:
            yield f"{where}: can and cannot {', '.join(sorted(both))}"
        last = ("", -1)
        for k, p in enumerate(entry.get("prices", [])):
            yield from price(p, entry, f"{where}.prices[{k}]")
            at = (p.get("from", ""), p.get("above_input_tokens", 0))
            if at <= last:
                yield f"{where}.prices[{k}]: in order of date, then of above_input_tokens"
            last = at


def words_of(header, table):
    """The names in an X-macro of model_caps.h."""
    body = re.search(rf"#define {table}\(X\)(.*?)\n\n", header, re.S)
    return re.findall(r'X\([^"]*"(\w+)"', body[1]) if body else []


def undocumented(doc):
    header = (ROOT / "src/llm/model_caps.h").read_text()
    words = [w for t in ("THINK_STYLES", "MODEL_ABILITIES", "MODEL_RULES") for w in words_of(header, t)]
    for word in [*ENTRY, *PRICE, *COUNTERS, *words]:
        if f"`{word}`" not in doc:
            yield f"docs/models.md does not tell of `{word}`"
    if len(words) < 30:
        yield "src/llm/model_caps.h: its tables are no longer found"


def main():
    planted = {"models": [{"provider": "openai", "models": ["m", "m"], "source": "https://a.example/",
                           "prices": [{"from": "x", "usd_per_million": {"out_text": 1}}]}]}
    blind = [w for w in ("no page of", "twice", "no date", "amount like", "source is missing",
                         "what input costs")
             if not any(w in p for p in problems(planted))]
    data = json.loads((ROOT / "data/models.json").read_text())
    bad = [*problems(data), *undocumented((ROOT / "docs/models.md").read_text())]
    bad += [f"this check no longer finds: {w}" for w in blind]
    for problem in bad:
        print(problem)
    print(f"models: {len(data['models'])} passed, {len(bad)} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
