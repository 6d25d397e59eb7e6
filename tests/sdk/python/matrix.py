"""What the drivers of the Python SDKs share: the prompts, what is expected, and how cells are run.

A driver is a class with one coroutine for each scenario of `SCENARIOS`; a
missing one is a cell that does not apply.  `main` runs every cell of its rows
for every wire, a few at a time, and prints one line of JSON for each.
"""
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import sys
import time
import traceback
import urllib.request

ENV = json.loads(os.environ["MATRIX"])
TEXT, THOUGHTS = ENV["text"], ENV["thoughts"]
PNG = base64.b64decode(ENV["png"])
SEEN = f"I see image/png {hashlib.sha256(PNG).hexdigest()[:8]}."
SCENARIOS = ["whole", "stream", "tools", "parallel", "structured", "image", "thinking", "embeddings", "400", "401", "404", "429", "500",
             "529", "abort"]
WEATHER = {"type": "object", "properties": {"city": {"type": "string", "description": "Where"}}, "required": ["city"],
           "additionalProperties": False}
CLOCK = {"type": "object", "properties": {"zone": {"type": "string", "enum": ["CET", "UTC"]}}, "required": ["zone"],
         "additionalProperties": False}
TOOLS = [("weather", "Weather of a city", WEATHER), ("clock", "Time in a zone", CLOCK)]
ANSWERS = {"weather": "21 degrees", "clock": "noon"}
CALLED = {"weather": {"city": "Paris"}, "clock": {"zone": "CET"}}
SYSTEM = "Be brief, answer in JSON if asked."


class NotApplicable(Exception):
    """This cell has no meaning; the words say why."""


class Cell:
    """One run of one scenario: its wire, its models, and what the upstream saw of it."""

    def __init__(self, row, wire, scenario):
        self.row, self.wire, self.scenario = row, wire, scenario
        w = ENV["wires"][wire]
        self.model, self.embedding = w["model"], w.get("embedding")
        self.failing = w["failing"].get(row, w["model"])     # a channel of this row's own, that may cool down
        self.tag = "".join(c if c.isalnum() or c in "-." else "_" for c in f"{row}.{wire}.{scenario}")

    def prompt(self, scenario="text", words="What do you say?"):
        return f"scenario:{scenario} tag:{self.tag} {words}"

    async def oracle(self, settled=True):
        """Every request of this cell as the upstream saw it."""
        end = time.monotonic() + 10
        while True:
            def get():
                with urllib.request.urlopen(f"{ENV['fake']}/oracle?tag={self.tag}", timeout=10) as r:
                    return json.load(r)
            seen = await asyncio.to_thread(get)
            if seen and (not settled or all(e["outcome"] != "open" for e in seen)):
                return seen
            assert time.monotonic() < end, f"the upstream saw {seen}"
            await asyncio.sleep(0.03)

    async def usage(self, prompt, out, cached=None, reasoning=None):
        """The client's figures are the upstream's."""
        seen = (await self.oracle())[-1]["usage"]
        assert (prompt, out) == (seen["prompt"], seen["out"]), f"usage {prompt}/{out}, upstream counted {seen}"
        assert cached in (None, seen["cached"]), f"cached {cached}, upstream counted {seen}"
        assert reasoning in (None, seen["reasoning"]), f"reasoning {reasoning}, upstream counted {seen}"

    async def let_go(self):
        """The upstream noticed that the client is gone."""
        assert (await self.oracle())[-1]["outcome"] == "gone", "the upstream wrote to the end"


def same(got, want, what="value"):
    assert got == want, f"{what}: {got!r}, not {want!r}"


@contextlib.contextmanager
def raises(kind, check=lambda e: True):
    try:
        yield
    except Exception as e:
        assert type(e) is kind or isinstance(e, kind), f"{type(e).__name__}: {e}"
        assert check(e), f"{type(e).__name__} without what it must hold: {e!r} {vars(e)}"
        return
    raise AssertionError(f"no {kind.__name__}")


async def run_cell(driver, row, wire, scenario, gate):
    out = {"row": row, "wire": wire, "scenario": scenario}
    f = getattr(driver, "s" + scenario if scenario.isdigit() else scenario, None)
    async with gate:
        try:
            if f is None:
                raise NotApplicable(driver.lacks.get(scenario, "this SDK has no such call"))
            await asyncio.wait_for(f(Cell(row, wire, scenario)), 60)
            out["result"] = "pass"
        except NotApplicable as e:
            out.update(result="n/a", why=str(e))
        except Exception as e:
            out.update(result="fail", why=f"{type(e).__name__}: {e}"[:700], trace=traceback.format_exc()[-2500:])
    print(json.dumps(out), flush=True)


async def run(drivers):
    gate = asyncio.Semaphore(6)
    only = ENV.get("only") or []
    cells = [(d, row, wire, s) for row, d in drivers.items() for wire in ENV["wires"] for s in SCENARIOS]
    cells = [c for c in cells if c[1] in ENV.get("rows", [c[1]]) and all(any(p in f"{c[1]}|{c[2]}|{c[3]}|" for p in o.split(",")) for o in only)]
    late = [c for c in cells if c[3] == "429"]              # a throttled channel rests: nothing may come after it
    for some in ([c for c in cells if c not in late], late):
        await asyncio.gather(*(run_cell(d, row, wire, s, gate) for d, row, wire, s in some))
    for d in drivers.values():
        await d.close()


def main(drivers):
    async def go():
        await run(drivers())
    asyncio.run(go())
    sys.exit(0)
