"""What a caller of each dialect sends (text, a tool), and how it reads a stream: text, tool arguments, ends, errors."""
import json

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}, "required": ["city", "unit"],
          "additionalProperties": False}


def events(body):
    """(event name, data) of each event; comments aside. The last one must be whole."""
    out = []
    body = body.replace(b"\r\n", b"\n")
    assert not body or body.endswith(b"\n\n"), f"a torn event: {body[-200:]!r}"
    for block in body.split(b"\n\n"):
        fields = [x.split(b": ", 1) for x in block.split(b"\n") if x and not x.startswith(b":")]
        if fields:
            named = dict(fields)
            data = named[b"data"]
            try:
                out.append((named.get(b"event", b"").decode(), data if data == b"[DONE]" else json.loads(data)))
            except ValueError:
                raise AssertionError(f"an event that is not JSON: {block!r} in {body!r}") from None
    return out


class Seen:
    """A stream as a caller understands it."""

    def __init__(self, dialect, body):
        self.text, self.args, self.ends, self.errors, self.after_error = "", "", 0, 0, 0
        for name, doc in events(body):
            self.after_error += self.errors > 0
            getattr(self, dialect)(name, doc)

    def chat(self, name, doc):
        if doc == b"[DONE]":
            self.ends += 1
            return
        self.errors += "error" in doc
        for c in doc.get("choices") or []:
            self.text += c["delta"].get("content") or ""
            for t in c["delta"].get("tool_calls") or []:
                self.args += t["function"].get("arguments") or ""

    def responses(self, name, doc):
        kind = doc["type"]
        assert name in ("", kind)
        self.ends += kind in ("response.completed", "response.incomplete")
        self.errors += kind in ("error", "response.failed")
        self.text += doc["delta"] if kind == "response.output_text.delta" else ""
        self.args += doc["delta"] if kind == "response.function_call_arguments.delta" else ""

    def messages(self, name, doc):
        assert name == doc["type"]
        self.ends += name == "message_stop"
        self.errors += name == "error"
        if name == "content_block_delta":
            self.text += doc["delta"].get("text") or ""
            self.args += doc["delta"].get("partial_json") or ""

    def gemini(self, name, doc):
        self.errors += "error" in doc
        for c in doc.get("candidates") or []:
            self.ends += bool(c.get("finishReason"))
            for p in (c.get("content") or {}).get("parts") or []:
                if not p.get("thought"):
                    self.text += p.get("text") or ""
                self.args += json.dumps(p["functionCall"]["args"]) if "functionCall" in p else ""


def chat(model, prompt, stream=True):
    return "/v1/chat/completions", {"model": model, "stream": stream, "messages": [{"role": "user", "content": prompt}],
                                    "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]}


def responses(model, prompt, stream=True):
    return "/v1/responses", {"model": model, "stream": stream, "input": prompt, "store": False,
                             "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}]}


def messages(model, prompt, stream=True):
    return "/v1/messages", {"model": model, "stream": stream, "max_tokens": 500, "messages": [{"role": "user", "content": prompt}],
                            "tools": [{"name": "weather", "input_schema": SCHEMA}]}


def gemini(model, prompt, stream=True):
    declared = {k: v for k, v in SCHEMA.items() if k != "additionalProperties"}
    return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent"), {
        "contents": [{"role": "user", "parts": [{"text": prompt}]}], "tools": [{"functionDeclarations": [{"name": "weather", "parameters": declared}]}]}


CALLERS = {f.__name__: f for f in (chat, responses, messages, gemini)}
