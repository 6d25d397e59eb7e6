"""DeepSeek: the OpenAI wire with thinking in `reasoning_content`, which must come back with tool calls.

Below /anthropic it speaks the Anthropic wire, with the same rules.
"""
import re

from . import anthropic
from .openai import CHAT, MESSAGE, TOOL, CHOICE, Chat, error
from .scenario import THOUGHTS
from .shape import Enum, Null, Number, Refused, Tagged, Either, dotted

ASSISTANT = {**MESSAGE["assistant"], "reasoning_content": Null(str), "prefix": bool}
ROLES = {
    "system": MESSAGE["system"],
    "user": {"role!": str, "content!": Either(str, [Tagged("type", {"text": {"type!": str, "text!": str}})]), "name": str},
    "assistant": {**{k: v for k, v in ASSISTANT.items() if k not in ("audio", "refusal", "function_call")},
                  "tool_calls": [{"index": int, "id!": str, "type!": Enum("function"), "function!": {"name!": str, "arguments!": str}}]},
    "tool": MESSAGE["tool"]}
FIELDS = {
    "model!": Enum("deepseek-chat", "deepseek-reasoner", "deepseek-v4-flash", "deepseek-v4-pro"),
    "messages!": [Tagged("role", ROLES)],
    "thinking": Null({"type!": Enum("enabled", "disabled")}), "reasoning_effort": Null(Enum("minimal", "low", "medium", "high", "xhigh", "max")),
    "max_tokens": Null(Number(1, 393216, whole=True)), "response_format": Null({"type!": Enum("text", "json_object")}),
    "stop": CHAT["stop"], "stream": Null(bool), "stream_options": Null({"include_usage": bool}),
    "temperature": Null(Number(0, 2)), "top_p": Null(Number(0, 1)), "tools": Null([TOOL]), "tool_choice": Null(CHOICE),
    "frequency_penalty": Null(Number(-2, 2)), "presence_penalty": Null(Number(-2, 2)), "logprobs": Null(bool),
    "top_logprobs": Null(Number(0, 20, whole=True)), "user_id": str,
}


def thinks(j):
    mode = (j.get("thinking") or {}).get("type")
    return mode == "enabled" if mode else j["model"] != "deepseek-chat"


class Messages(anthropic.Anthropic):
    """The Anthropic wire as DeepSeek speaks it: text only, thinks unless it is told not to."""
    vendor = "deepseek"

    def rules(self, j, counting):
        if j["model"] not in FIELDS["model!"].values:
            raise Refused("rule", (), f"model: {j['model']}")
        named = (j.get("tool_choice") or {}).get("type") == "tool"
        if self.thinks(j) and named:
            anthropic.bad(("tool_choice",), "deepseek-reasoner does not support this tool_choice")
        for i, t in enumerate(j["messages"]):
            kinds = [b["type"] for b in anthropic.blocks(t["content"])]
            if {"image", "document"} & set(kinds):
                anthropic.bad(("messages", i), "only text is supported")
            if self.thinks(j) and "tool_use" in kinds and "thinking" not in kinds:
                anthropic.bad(("messages", i), "The `content[].thinking` in the thinking mode must be passed back to the API.")
        super().rules(j, counting)

    @staticmethod
    def thinks(j):
        return thinks(j) or (j.get("thinking") or {}).get("type") == "adaptive"

    def model_rules(self, j):
        pass

    def sampling_rules(self, j, mode):
        pass

    def prefill_rules(self, j, last, thinking):
        pass

    def talk(self, j):
        t = super().talk(j)
        t.thinking, t.schema = self.thinks(j), None
        return t


class DeepSeek(Chat):
    shape, reasons, vendor = FIELDS, False, "deepseek"
    finishes = {"stop": "stop", "tool": "tool_calls", "length": "length", "refusal": "content_filter"}

    def operation(self, r):
        m = re.fullmatch(r"(?:/v1|/beta)?/(chat/completions|models)", r.rest)
        return m[1] if m else None

    messages = Messages()

    def credential(self, r, keys):
        return self.messages.credential(r, keys) if r.rest.startswith("/anthropic/") else super().credential(r, keys)

    def answer(self, r):
        if r.rest.startswith("/anthropic/"):
            r.rest = r.rest.removeprefix("/anthropic")
            try:
                return self.messages.answer(r)
            except Refused as e:
                a = self.messages.refusal(e)
                a.refused = str(e)
                return a
        return super().answer(r)

    def error(self, name, message=None):
        a = super().error(name, message)
        if name == "401":
            a.body["error"].update(type="authentication_error", code="invalid_request_error",
                                   message="Authentication Fails, Your api key is invalid")
        return a

    def refusal(self, e):
        a = super().refusal(e)
        if e.kind != "rule":
            a.status = 422 if e.kind in ("type", "value", "missing") else 400
            a.body["error"]["message"] = f"Failed to deserialize the JSON body into the target type: {dotted(e.path, True)}: {e.kind}"
            a.body["error"]["code"] = "invalid_request_error"
        return a

    def rules(self, j):
        super().rules(j)
        if not thinks(j):
            return
        if j.get("tool_choice") not in (None, "auto", "none"):
            raise Refused("rule", ("tool_choice",), "deepseek-reasoner does not support this tool_choice", code="invalid_request_error")
        for i, m in enumerate(j["messages"]):
            if m["role"] == "assistant" and m.get("tool_calls") and m.get("reasoning_content") is None:
                raise Refused("rule", ("messages", i), f"Missing `reasoning_content` field in the assistant message at message index {i}. "
                              "For more information, please refer to https://api-docs.deepseek.com/guides/thinking_mode",
                              code="invalid_request_error")
            if m["role"] == "assistant" and m.get("reasoning_content") not in (None, "", "".join(THOUGHTS)):
                raise Refused("rule", ("messages", i), f"`reasoning_content` at message index {i} is not what the model thought.",
                              code="invalid_request_error")

    def format_rules(self, j):
        f = j.get("response_format") or {}
        if f.get("type") == "json_object":
            super().format_rules(j)

    def talk(self, j):
        t = super().talk(j)
        t.thinking = thinks(j)
        return t

    def usage(self, p):
        return {"prompt_tokens": p.prompt, "completion_tokens": p.out, "total_tokens": p.prompt + p.out,
                "prompt_tokens_details": {"cached_tokens": p.cached}, "completion_tokens_details": {"reasoning_tokens": p.reasoning},
                "prompt_cache_hit_tokens": p.cached, "prompt_cache_miss_tokens": p.prompt - p.cached}

    def base(self, j, kind):
        return {"id": "fake-0001", "object": kind, "created": 1770000000, "model": j["model"], "system_fingerprint": "fp_fake"}

    def message(self, p, talk):
        m = {"role": "assistant", "content": "".join(p.text)}
        if talk.thinking:
            m["reasoning_content"] = "".join(p.thoughts or THOUGHTS)
        if p.calls:
            m["tool_calls"] = [{"index": i, **c} for i, c in enumerate(self.calls(p))]
        return m

    def deltas(self, p, talk):
        first = True
        if talk.thinking:
            for x in p.thoughts or THOUGHTS:
                yield {**({"role": "assistant", "content": None} if first else {}), "reasoning_content": x}
                first = False
        else:
            yield {"role": "assistant", "content": ""}
        rest = super().deltas(p, talk)
        next(rest)
        for d in rest:
            yield {**d, "reasoning_content": None} if talk.thinking and "content" in d else d

    def events(self, j, p, talk):
        """Under load, comments keep the connection alive before the first chunk."""
        out = super().events(j, p, talk)
        return [b": keep-alive\n\n", *out]

    def responses(self, r, j):
        return error(404, "invalid_request_error", None, "Not Found")
