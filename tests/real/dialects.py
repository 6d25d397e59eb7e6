"""The same question in each dialect, asked over plain HTTP, and what came back in common terms."""
import json
from dataclasses import dataclass, field

PROMPT = "Name three colours of the rainbow."
TOOL = {"name": "colours", "description": "Takes colours.",
        "parameters": {"type": "object", "properties": {"first": {"type": "string"}, "count": {"type": "integer"}}, "required": ["first", "count"]}}
SECONDS = 120


@dataclass
class Got:
    text: str = ""
    calls: list = field(default_factory=list)      # (name, arguments)
    finish: str = None
    usage: tuple = None                            # tokens in, out
    request_id: str = None


class Dialect:
    ways = (False, True)                           # streamed or not

    def ask(self, lyss, model, streamed, tool=None):
        path, body = self.request(model, streamed, tool)
        with lyss.connect(timeout=SECONDS) as c:
            r = c.request("POST", path, body, (("Authorization", f"Bearer {lyss.key}"),))
        assert r.status == 200 and r.complete, r
        got = self.events(self.cut(r.body.decode())) if streamed else self.whole(r.json)
        got.request_id = r.request_id
        return got

    @staticmethod
    def cut(text):
        """(event, data) of each event; comments are left out."""
        out = []
        for block in text.replace("\r\n", "\n").split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
            if fields:
                out.append((fields.get("event"), fields["data"]))
        return out


class Chat(Dialect):
    name = "OpenAI chat"
    finishes = {"stop": "stop", "length": "length"}

    def request(self, model, streamed, tool):
        body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 40, "temperature": 0, "stream": streamed}
        if tool:
            body |= {"tools": [{"type": "function", "function": tool}], "tool_choice": {"type": "function", "function": {"name": tool["name"]}}}
        return "/v1/chat/completions", body

    def usage(self, u):
        return (u["prompt_tokens"], u["completion_tokens"])

    def whole(self, j):
        c = j["choices"][0]
        calls = [(t["function"]["name"], json.loads(t["function"]["arguments"])) for t in c["message"].get("tool_calls") or []]
        return Got(c["message"]["content"] or "", calls, c["finish_reason"], self.usage(j["usage"]))

    def events(self, events):
        assert events[-1] == (None, "[DONE]")
        got, args = Got(), {}
        for _, data in events[:-1]:
            for c in json.loads(data)["choices"]:
                got.text += c["delta"].get("content") or ""
                got.finish = c["finish_reason"] or got.finish
                for t in c["delta"].get("tool_calls") or []:
                    a = args.setdefault(t["index"], ["", ""])
                    a[0] = a[0] or t["function"].get("name") or ""
                    a[1] += t["function"].get("arguments") or ""
        got.calls = [(n, json.loads(a)) for n, a in args.values()]
        return got


class Responses(Dialect):
    name = "OpenAI Responses"
    finishes = {"stop": "completed", "length": "incomplete"}

    def request(self, model, streamed, tool):
        body = {"model": model, "input": PROMPT, "max_output_tokens": 40, "temperature": 0, "stream": streamed}
        if tool:
            body |= {"tools": [{"type": "function", **tool}], "tool_choice": {"type": "function", "name": tool["name"]}}
        return "/v1/responses", body

    def whole(self, j):
        got = Got(finish=j["status"], usage=(j["usage"]["input_tokens"], j["usage"]["output_tokens"]))
        for item in j["output"]:
            if item["type"] == "message":
                got.text += "".join(p["text"] for p in item["content"])
            elif item["type"] == "function_call":
                got.calls.append((item["name"], json.loads(item["arguments"])))
        return got

    def events(self, events):
        docs = [json.loads(data) for _, data in events]
        assert [d["sequence_number"] for d in docs] == list(range(len(docs)))
        assert all(d["type"] == name for d, (name, _) in zip(docs, events))
        got = self.whole(docs[-1]["response"])
        assert "".join(d["delta"] for d in docs if d["type"] == "response.output_text.delta") == got.text
        return got


class Messages(Dialect):
    name = "Anthropic Messages"
    finishes = {"stop": "end_turn", "length": "max_tokens"}

    def request(self, model, streamed, tool):
        body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 40, "temperature": 0, "stream": streamed}
        if tool:
            body |= {"tools": [{"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}],
                     "tool_choice": {"type": "tool", "name": tool["name"]}}
        return "/v1/messages", body

    def whole(self, j):
        got = Got(finish=j["stop_reason"], usage=(j["usage"]["input_tokens"], j["usage"]["output_tokens"]))
        for b in j["content"]:
            if b["type"] == "text":
                got.text += b["text"]
            elif b["type"] == "tool_use":
                got.calls.append((b["name"], b["input"]))
        return got

    def events(self, events):
        docs = [json.loads(data) for _, data in events]
        assert all(d["type"] == name for d, (name, _) in zip(docs, events))
        assert docs[0]["type"] == "message_start" and docs[-1]["type"] == "message_stop"
        got, args, usage = Got(), {}, {}
        for d in docs:
            delta = d.get("delta", {})
            usage |= d.get("message", d).get("usage", {})
            if d["type"] == "content_block_start" and d["content_block"]["type"] == "tool_use":
                args[d["index"]] = [d["content_block"]["name"], ""]
            got.text += delta.get("text", "")
            if delta.get("type") == "input_json_delta":
                args[d["index"]][1] += delta["partial_json"]
            got.finish = delta.get("stop_reason") or got.finish
        got.calls = [(n, json.loads(a or "{}")) for n, a in args.values()]
        got.usage = (usage["input_tokens"], usage["output_tokens"])
        return got


class Generate(Dialect):
    name = "Gemini generateContent"
    finishes = {"stop": "STOP", "length": "MAX_TOKENS"}

    def request(self, model, streamed, tool):
        body = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}], "generationConfig": {"maxOutputTokens": 40, "temperature": 0}}
        if tool:
            body |= {"tools": [{"functionDeclarations": [tool]}],
                     "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [tool["name"]]}}}
        return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if streamed else "generateContent"), body

    def join(self, docs):
        got = Got()
        for d in docs:
            for c in d.get("candidates", []):
                for p in c.get("content", {}).get("parts", []):
                    got.text += p.get("text", "")
                    if "functionCall" in p:
                        got.calls.append((p["functionCall"]["name"], p["functionCall"].get("args", {})))
                got.finish = c.get("finishReason") or got.finish
            u = d.get("usageMetadata")
            if u:
                got.usage = (u["promptTokenCount"], u.get("candidatesTokenCount", 0) + u.get("thoughtsTokenCount", 0))
        return got

    def whole(self, j):
        return self.join([j])

    def events(self, events):
        return self.join([json.loads(data) for _, data in events])


class GenerateArray(Generate):
    name = "Gemini streamGenerateContent as an array"
    ways = (True,)

    def request(self, model, streamed, tool):
        path, body = super().request(model, True, tool)
        return path.removesuffix("?alt=sse"), body

    @staticmethod
    def cut(text):
        return [(None, json.dumps(d)) for d in json.loads(text)]




DIALECTS = [Chat(), Responses(), Messages(), Generate(), GenerateArray()]
