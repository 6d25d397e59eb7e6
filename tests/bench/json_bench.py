#!/usr/bin/env python3
"""The JSON reader's speed as a ratio to simdjson's DOM parse of the same texts.

Usage: tests/bench/json_bench.py [BUILD]   BUILD: a release build folder; made in a temporary one if
not given.  Needs g++ and Debian's libsimdjson-dev.  Fails where a ratio is above the bar.
"""
import json
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BAR = 1.4  # times simdjson's DOM
WORDS = ("the gateway keeps each stream in order and tells its caller what happened when an upstream "
         "ends early so that nobody takes half an answer for a whole one").split()


def prose(rng, size, other=()):
    """Text of about `size` bytes: sentences, line breaks, quotes, now and then other scripts."""
    out, n = [], 0
    while n < size:
        word = rng.choice(WORDS)
        dice = rng.random()
        if dice < 0.02:
            word += ".\n"
        elif dice < 0.03:
            word = f'"{word}"'
        elif other and dice < 0.05:
            word = rng.choice(other)
        out.append(word)
        n += len(word.encode()) + 1
    return " ".join(out)


def chat(rng, size, message_bytes, other=()):
    body = {"model": "gpt-4o-mini", "stream": True, "temperature": 0.7, "max_tokens": 512,
            "stream_options": {"include_usage": True}, "user": "bench", "messages": []}
    while len(json.dumps(body, ensure_ascii=False).encode()) < size - 40:
        left = size - len(json.dumps(body, ensure_ascii=False).encode()) - 40
        role = ("user", "assistant")[len(body["messages"]) % 2] if body["messages"] else "system"
        body["messages"].append({"role": role, "content": prose(rng, min(left, message_bytes), other)})
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def texts():
    rng = random.Random(5)
    chunk = {"id": "chatcmpl-9ZkXqW7b2Yc0T4uLr8sPdNfGh1a", "object": "chat.completion.chunk",
             "created": 1790000000, "model": "gpt-4o-mini-2024-07-18", "system_fingerprint": "fp_0ba0d124f1",
             "choices": [{"index": 0, "delta": {"content": " gateway"}, "logprobs": None, "finish_reason": None}]}
    return {"chunk-250": json.dumps(chunk, separators=(",", ":")).encode(),
            "chat-1k": chat(rng, 1024, 300),
            "chat-100k": chat(rng, 102400, 1500),
            "mixed-100k": chat(rng, 102400, 1500, ("für", "naïve", "你好世界", "приве́т", "🙂")),
            "chinese-100k": chinese(rng)}


def chinese(rng):
    text = "".join(rng.choice("的一是不了在人有我他这个们中来上大为和国") for _ in range(33000))
    return json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]},
                      ensure_ascii=False, separators=(",", ":")).encode()


def main():
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        build = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else tmp / "build"
        if not (build / "build.ninja").exists():
            subprocess.run(["meson", "setup", build, ROOT, "--buildtype=release", "-Dtests=false"],
                           check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["ninja", "-C", build, "src/core/libcore.a"], check=True, stdout=subprocess.DEVNULL)
        tool = tmp / "json_vs_simdjson"
        subprocess.run(["g++", "-std=c++17", "-O2", "-D_GNU_SOURCE", f"-I{ROOT / 'src'}",
                        ROOT / "tests/bench/json_vs_simdjson.cc", build / "src/core/libcore.a",
                        "-lsimdjson", "-pthread", "-o", tool], check=True)
        files = []
        for name, text in texts().items():
            (tmp / name).write_bytes(text)
            files.append(tmp / name)
        out = subprocess.run([tool, *files], check=True, capture_output=True, text=True).stdout
    print("text           bytes   lyss µs  simdjson  ratio")
    print(out, end="")
    missed = [line for line in out.splitlines() if float(line.split()[-1]) > BAR]
    print(f"bar {BAR}: " + (f"missed by {len(missed)}" if missed else "held"))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
