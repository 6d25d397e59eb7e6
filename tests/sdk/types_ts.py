"""Answers of Lyss as literals of the types that the JavaScript SDK ships: tsc refuses what does not fit, and any key too many."""
import json
import os
import subprocess

from lib import replies
from lib.fake import Fake
from lib.lyss import Lyss
from packages import CACHE

HEAD = """// Written by tests/sdk/types_ts.py: answers as they came.
import type OpenAI from "openai";
type R = OpenAI.Responses.Response;
// Fields that providers add to chat completions, and what OpenAI says itself beside the SDK's types.
type Vendor = { reasoning_content?: string | null; reasoning_details?: unknown };
type Recorded = { store?: boolean | null; user?: string | null; usage?: OpenAI.Responses.ResponseUsage | null };
type Whole = Omit<OpenAI.ChatCompletion, "choices"> & { choices: Array<Omit<OpenAI.ChatCompletion.Choice, "message"> &
  { message: OpenAI.ChatCompletionMessage & Vendor }> };
type Chunk = Omit<OpenAI.ChatCompletionChunk, "choices"> & { choices: Array<Omit<OpenAI.ChatCompletionChunk.Choice, "delta"> &
  { delta: OpenAI.ChatCompletionChunk.Choice.Delta & Vendor }> };
// output_text is the SDK's own, not the wire's
type Bare = Omit<R, "output_text" | "user" | "usage"> & Recorded;
type Event<E> = E extends { response: R } ? Omit<E, "response"> & { response: Bare } : E & { obfuscation?: string };
type ResponseEvent = Event<OpenAI.Responses.ResponseStreamEvent>;
type Embeddings = OpenAI.CreateEmbeddingResponse;
type Completion = OpenAI.Completion;
"""
NAMES = {("chat", False): "Whole", ("chat", True): "Chunk", ("responses", False): "Bare", ("responses", True): "ResponseEvent",
         ("embeddings", False): "Embeddings", ("completions", False): "Completion"}
WRONG = [("Whole", '{ id: "x", object: "chat.completion", created: 1, model: "m", choices: [], extra: 1 }'),
         ("Whole", '{ id: "x", object: "chat.completion", created: "1", model: "m", choices: [] }'),
         ("Chunk", '{ id: "x", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, finish_reason: null, '
          'delta: { content: "x", thoughts: "y" } }] }'),
         ("ResponseEvent", '{ type: "response.output_text.delta", delta: "x", sequence_number: 1 }')]


def gather():
    """(type, document) of every answer; what DeepSeek's own form holds besides is passed through, and is not Lyss's."""
    with Fake() as fake, Lyss() as lyss:
        replies.channels(lyss, fake)
        for dialect in replies.BODIES:
            for wire in replies.MODELS:
                for scenario in replies.SCENARIOS:
                    for stream in (False, True):
                        if (dialect, wire) != ("chat", "deepseek"):
                            for d in replies.answer(lyss, dialect, wire, scenario, stream):
                                yield NAMES[dialect, stream], d
        for kind, d, event in replies.others(lyss):
            yield NAMES[kind, event], d


def run(exe):
    """(passed, failed): one for each answer, and for each wrong literal that tsc must refuse."""
    docs = sorted({(t, json.dumps(d, ensure_ascii=False)) for t, d in gather()})
    lines = HEAD.splitlines()
    at = {}
    for t, text in docs:
        at[len(lines) + 1] = f"{t}: {text[:200]}"
        lines.append(f"{{ const x: {t} = {text}; void x; }}")
    wrong = {}
    for t, text in WRONG:
        wrong[len(lines) + 1] = text
        lines.append(f"{{ const x: {t} = {text}; void x; }}")
    (CACHE / "replies.ts").write_text("\n".join(lines) + "\n")
    p = subprocess.run([exe, CACHE / "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022",
                        "--module", "nodenext", "--pretty", "false", "replies.ts"], cwd=CACHE, text=True, capture_output=True, timeout=240,
                       env={"PATH": os.environ["PATH"], "HOME": str(CACHE)})
    refused = {}
    for line in p.stdout.splitlines():
        if line.startswith("replies.ts("):
            refused.setdefault(int(line.split("(")[1].split(",")[0]), line)
    bad = [why for n, why in refused.items() if n not in wrong]
    for n, why in refused.items():
        if n not in wrong:
            print(f"{why[:400]}\n    {at.get(n)}")
    missed = [text for n, text in wrong.items() if n not in refused]
    for text in missed:
        print(f"tsc let this pass: {text}")
    if not refused:
        print(p.stdout[-2000:], p.stderr[-2000:])
    return len(docs) + len(wrong) - len(bad) - len(missed), len(bad) + len(missed)
