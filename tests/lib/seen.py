"""What an answer says, whatever its form: text, calls, tokens, how it ended.

Readers of the four forms, whole and streamed, written without a look at how
Lyss reads them: what a recording says is compared with what a caller of
another form was told.
"""
import json
import re
from dataclasses import dataclass, field

from . import http


@dataclass
class Seen:
    text: str = ""
    calls: list = field(default_factory=list)     # (name, arguments)
    prompt: int = None                            # tokens, cached ones included
    out: int = None                               # tokens, thoughts included
    ends: int = 0                                 # terminal events (streams), or 1
    errors: int = 0                               # errors in the answer
    broken: bool = False                          # not an answer of this form


def arguments(text):
    """The arguments; the text itself where it was cut off."""
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return text


def total(*counts):
    known = [c for c in counts if c is not None]
    return sum(known) if known else None


# chat completions

def chat(doc):
    s = Seen(ends=1)
    m = doc["choices"][0]["message"]
    s.text = (m.get("content") or "") + (m.get("refusal") or "")
    s.calls = [(c["function"]["name"], arguments(c["function"]["arguments"])) for c in m.get("tool_calls") or []]
    u = doc.get("usage") or {}
    s.prompt, s.out = u.get("prompt_tokens"), u.get("completion_tokens")
    return s


def chat_stream(docs):
    s, calls = Seen(), {}
    for d in docs:
        if d.get("error"):
            s.errors += 1
            continue
        for c in d.get("choices") or []:
            delta = c.get("delta") or {}
            s.text += (delta.get("content") or "") + (delta.get("refusal") or "")
            s.ends += bool(c.get("finish_reason"))
            for t in delta.get("tool_calls") or []:
                f, call = t.get("function") or {}, calls.setdefault(t["index"], ["", ""])
                call[0] += f.get("name") or ""
                call[1] += f.get("arguments") or ""
        if d.get("usage"):
            s.prompt, s.out = d["usage"]["prompt_tokens"], d["usage"]["completion_tokens"]
    s.calls = [(n, arguments(a)) for _, (n, a) in sorted(calls.items())]
    return s


# Responses

def response(doc):
    s = Seen(ends=1)
    for o in doc["output"]:
        if o["type"] == "message":
            s.text += "".join(p.get("text") or p.get("refusal") or "" for p in o["content"])
        elif o["type"] == "function_call":
            s.calls.append((o["name"], arguments(o["arguments"])))
        elif o["type"] == "custom_tool_call":
            s.calls.append((o["name"], {"input": o["input"]}))
    u = doc.get("usage") or {}
    s.prompt, s.out = u.get("input_tokens"), u.get("output_tokens")
    return s


def response_stream(docs):
    s = Seen()
    for d in docs:
        if d["type"] in ("response.output_text.delta", "response.refusal.delta"):
            s.text += d["delta"]
        elif d["type"] == "response.output_item.done" and d["item"]["type"] == "function_call":
            s.calls.append((d["item"]["name"], arguments(d["item"]["arguments"])))
        elif d["type"] == "response.output_item.done" and d["item"]["type"] == "custom_tool_call":
            s.calls.append((d["item"]["name"], {"input": d["item"]["input"]}))
        elif d["type"] in ("response.completed", "response.incomplete"):
            s.ends += 1
            u = d["response"].get("usage") or {}
            s.prompt, s.out = u.get("input_tokens"), u.get("output_tokens")
        elif d["type"] in ("response.failed", "error"):
            s.errors = 1
    return s


# Messages

def message_usage(s, u):
    """A message_delta's counts are sums so far: what is absent stays."""
    now = {**s, **{k: v for k, v in (u or {}).items() if v is not None}}
    return now, total(*(now.get(k) for k in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"))), \
        now.get("output_tokens")


def why_refused(doc):
    """What other forms say as a refusal's text."""
    return (doc.get("stop_details") or {}).get("explanation") or ""


def message(doc):
    s = Seen(ends=1)
    s.text = "".join(b["text"] for b in doc["content"] if b["type"] == "text")
    s.calls = [(b["name"], b["input"]) for b in doc["content"] if b["type"] == "tool_use"]
    s.text += why_refused(doc)
    _, s.prompt, s.out = message_usage({}, doc.get("usage"))
    return s


def message_stream(docs):
    s, usage, uses = Seen(), {}, {}
    for d in docs:
        kind = d["type"]
        if kind == "message_start":
            usage, s.prompt, s.out = message_usage(usage, d["message"].get("usage"))
        elif kind == "message_delta":
            usage, s.prompt, s.out = message_usage(usage, d.get("usage"))
            s.text += why_refused(d["delta"])
        elif kind == "message_stop":
            s.ends += 1
        elif kind == "error":
            s.errors += 1
        elif kind == "content_block_start":
            b = d["content_block"]
            s.text += b.get("text") or "" if b["type"] == "text" else ""
            if b["type"] == "tool_use":
                uses[d["index"]] = [b["name"], "", b["input"]]
        elif kind == "content_block_delta":
            x = d["delta"]
            if x["type"] == "text_delta":
                s.text += x["text"]
            elif x["type"] == "input_json_delta" and d["index"] in uses:
                uses[d["index"]][1] += x["partial_json"]
    s.calls = [(n, arguments(a) if a.strip() else given) for n, a, given in uses.values()]
    return s


# generateContent

def put_at(args, path, value):
    """Sets (of a string: appends to) the value at a path like $.days[0].city."""
    keys = [int(m[2]) if m[2] else m[1] for m in re.finditer(r"\.([^.\[\]]+)|\[(\d+)\]", path.removeprefix("$"))]
    at = args
    for k, after in zip(keys, [*keys[1:], None]):
        if isinstance(at, list):
            while len(at) <= k:
                at.append(None)
        have = at[k] if isinstance(at, list) or k in at else None
        if after is None:
            at[k] = have + value if isinstance(have, str) and isinstance(value, str) else value
            return
        if have is None:
            at[k] = [] if isinstance(after, int) else {}
        at = at[k]


def gemini(doc):
    return gemini_stream([doc])


def gemini_stream(docs):
    s, current = Seen(), None
    for d in docs:
        if "error" in d:
            s.errors += 1
            continue
        for c in (d.get("candidates") or [])[:1]:
            s.ends += bool(c.get("finishReason"))
            for p in (c.get("content") or {}).get("parts") or []:
                f = p.get("functionCall")
                if f is None:
                    s.text += "" if p.get("thought") else p.get("text") or ""
                    continue
                if f.get("name"):
                    current = (f["name"], f.get("args") or {})
                    s.calls.append(current)
                for a in f.get("partialArgs") or []:
                    value = [v for k, v in a.items() if k.endswith("Value")]
                    if value and current:
                        put_at(current[1], a["jsonPath"], None if "nullValue" in a else value[0])
        s.ends += bool((d.get("promptFeedback") or {}).get("blockReason"))
        u = d.get("usageMetadata") or {}
        if "promptTokenCount" in u:
            s.prompt = total(u["promptTokenCount"], u.get("toolUsePromptTokenCount"))
            s.out = total(u.get("candidatesTokenCount"), u.get("thoughtsTokenCount"))
    return s


WHOLE = {"chat": chat, "responses": response, "messages": message, "gemini": gemini}
STREAM = {"chat": chat_stream, "responses": response_stream, "messages": message_stream, "gemini": gemini_stream}

REQUESTS = {
    "chat": ("/v1/chat/completions", lambda model, stream: {"model": model, "messages": [{"role": "user", "content": "Say hello."}],
                                                            **({"stream": True, "stream_options": {"include_usage": True}} if stream else {})}),
    "responses": ("/v1/responses", lambda model, stream: {"model": model, "input": "Say hello.", "stream": stream}),
    "messages": ("/v1/messages", lambda model, stream: {"model": model, "max_tokens": 4000, "stream": stream,
                                                        "messages": [{"role": "user", "content": "Say hello."}]}),
    "gemini": (None, lambda model, stream: {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}),
}


def path_of(dialect, model, stream):
    if dialect != "gemini":
        return REQUESTS[dialect][0]
    return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")


def ask(lyss, dialect, model, stream=False, body=None):
    """Asks in a dialect: the raw response, its documents (one, or of each event), and what they say."""
    r = lyss.post(path_of(dialect, model, stream), body or REQUESTS[dialect][1](model, stream))
    if (r.header("content-type") or "").startswith("text/event-stream"):
        docs = http.Events(r.body).docs
        return r, docs, STREAM[dialect](docs)
    doc = json.loads(r.body)
    return r, [doc], WHOLE[dialect](doc) if r.status == 200 else None
