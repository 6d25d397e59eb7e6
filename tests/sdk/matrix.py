"""Real SDKs against Lyss, with the strict fake behind it: every client on every upstream wire.

Each SDK runs in a process of its own (python/*.py, js/*.mjs), all its cells
side by side, and prints a line of JSON for each cell.
"""
import base64
import collections
import json
import os
import pathlib
import struct
import subprocess
import sys
import threading
import zlib

from lib.fake import Fake
from lib.fake.scenario import TEXT, THOUGHTS
from lib.lyss import Lyss
from lib.upstream import PROVIDER_KEY
from packages import CACHE

HERE = pathlib.Path(__file__).resolve().parent

# One upstream wire a column: its provider row, where the fake speaks it, its operations and models.
WIRES = {
    "openai-chat": dict(provider="openai", base="openai", ops=("chat", "completions", "embeddings"), model="gpt-4.1",
                        embedding="text-embedding-3-small"),
    "openai-responses": dict(provider="openai", base="openai", ops=("responses",), model="gpt-5.4"),
    "anthropic": dict(provider="anthropic", base="anthropic", model="claude-sonnet-4-5"),
    "gemini": dict(provider="google", base="gemini", model="gemini-3-pro-preview", embedding="gemini-embedding-001"),
    "deepseek": dict(provider="deepseek", base="deepseek", model="deepseek-v4-pro"),
}
# A process: its driver and the rows that it prints.  The second column is the wire it speaks itself.
PROCESSES = [
    ("python/openai_sdk.py", [("openai Python, chat", "openai-chat"), ("openai Python, Responses", "openai-responses")]),
    ("python/anthropic_sdk.py", [("anthropic Python", "anthropic")]),
    ("python/google_sdk.py", [("google-genai Python", "gemini")]),
    ("js/openai.mjs", [("openai JS, chat", "openai-chat"), ("openai JS, Responses", "openai-responses")]),
    ("js/anthropic.mjs", [("@anthropic-ai/sdk", "anthropic")]),
    ("js/google.mjs", [("@google/genai", "gemini")]),
    ("js/ai.mjs", [("ai + openai", "openai-responses"), ("ai + openai, chat", "openai-chat"), ("ai + anthropic", "anthropic"),
                   ("ai + google", "gemini"), ("ai + deepseek", "deepseek"), ("ai + azure", "openai-responses"),
                   ("ai + openai-compatible", "openai-chat")]),
    ("js/langchain.mjs", [("LangChain openai", "openai-chat"), ("LangChain anthropic", "anthropic")]),
]
ROWS = [row for _, rows in PROCESSES for row, _ in rows]
SCENARIOS = ["whole", "stream", "tools", "parallel", "structured", "image", "thinking", "embeddings", "400", "401", "404", "429", "500",
             "529", "abort"]


def png():
    """A picture of four pixels, with bytes that the two alphabets of base64 spell differently."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    pixels = b"".join(b"\0" + bytes([200, y * 90, 40] * 2) for y in range(2))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)) +
            chunk(b"tEXt", b"Comment\0" + b"\xfb\xef\xbe\xff\xff\xff" * 3) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b""))


def channels(lyss, fake):
    """A channel for each wire, and one for each row of each wire whose failures bother nobody else."""
    out, jobs = {}, []
    for wire, w in WIRES.items():
        ops = tuple(x for op in w.get("ops", ()) for x in ("--op", op))
        models = [w["model"]] + ([w["embedding"]] if "embedding" in w else [])
        failing = {row: f"{w['model']}-row{i}" for i, row in enumerate(ROWS)}
        jobs.append((wire, fake.base(w["base"]), models, w["provider"], ops))
        for row, name in failing.items():
            jobs.append((name, fake.base(w["base"]), [f"{name}={w['model']}"], w["provider"], ops))
        out[wire] = {"model": w["model"], "embedding": w.get("embedding"), "failing": failing}
    for name, base, models, provider, ops in jobs:
        lyss.channel(name.replace(".", "-"), base, *models, provider=provider, args=ops)
    lyss.caught_up()
    return out


class Runner:
    def __init__(self, env, exe):
        self.env, self.exe, self.cells, self.trouble = env, exe, {}, []

    def start(self, driver):
        path = HERE / driver
        argv = [sys.executable, str(path)] if driver.endswith(".py") else [self.exe, str(CACHE / path.name)]
        env = {"PATH": os.environ["PATH"], "HOME": str(CACHE), "MATRIX": json.dumps(self.env), "LANGSMITH_TRACING": "false"}
        return subprocess.Popen(argv, cwd=CACHE if driver.endswith(".mjs") else path.parent, env=env, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def follow(self, driver, rows):
        p = self.start(driver)
        killer = threading.Timer(200, p.kill)
        killer.start()
        errors = []
        reader = threading.Thread(target=lambda: errors.append(p.stderr.read()))
        reader.start()
        for line in p.stdout:
            try:
                c = json.loads(line)
                self.cells[c["row"], c["wire"], c["scenario"]] = c
            except (ValueError, KeyError, TypeError):
                self.trouble.append(f"{driver}: {line[:300]}")
        code = p.wait()
        reader.join()
        killer.cancel()
        if code:
            self.trouble.append(f"{driver}: exit code {code}: {''.join(errors)[-1500:]}")

    def run(self, processes, abreast=2):
        gate = threading.Semaphore(abreast)

        def go(driver, rows):
            with gate:
                self.follow(driver, rows)
        threads = [threading.Thread(target=go, args=p) for p in processes]
        for t in threads:
            t.start()
        for t in threads:
            t.join()


def run(exe, only=(), drivers=(), direct=False):
    """Runs the matrix; (cells by row, wire and scenario, troubles).  direct: each SDK on its own wire, without Lyss."""
    processes = [p for p in PROCESSES if not drivers or any(d in p[0] for d in drivers)]
    base = {"text": TEXT, "thoughts": "".join(THOUGHTS), "png": base64.b64encode(png()).decode(), "only": list(only)}
    with Fake() as fake:
        if direct:
            cells, trouble = {}, []
            for p in processes:
                for row, wire in p[1]:
                    env = {**base, "url": f"{fake.root}/{'azure' if 'azure' in row else WIRES[wire]['base']}", "key": PROVIDER_KEY, "fake": fake.root, "rows": [row],
                           "wires": {wire: {"model": WIRES[wire]["model"], "embedding": WIRES[wire].get("embedding"), "failing": {}}}}
                    r = Runner(env, exe)
                    r.run([p])
                    cells |= r.cells
                    trouble += r.trouble
        else:
            lyss, cells, trouble = Lyss().start(), {}, []
            try:
                env = {**base, "url": lyss.url, "key": lyss.key, "fake": fake.root, "wires": channels(lyss, fake)}
                r = Runner(env, exe)
                r.run(processes)
                cells, trouble = r.cells, r.trouble
                lyss.stop()
            except AssertionError as e:                  # what is demanded of every process, at its end
                trouble.append(f"Lyss: {e}")
            finally:
                lyss.cleanup()
        trouble += [f"the upstream got {n} times: {v}" for v, n in collections.Counter(fake.violations).items() if not direct]
        refused = [(e["tag"], e["refused"]) for e in fake.oracle() if e["refused"]]
    for c in cells.values():
        c["refused"] = [why for tag, why in refused if tag == tag_of(c) and not c["scenario"].isdigit()]
    return cells, trouble


def tag_of(c):
    return "".join(x if x.isalnum() or x in "-." else "_" for x in f"{c['row']}.{c['wire']}.{c['scenario']}")
