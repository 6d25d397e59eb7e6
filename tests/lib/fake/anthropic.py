"""The Anthropic wire: messages, count_tokens, models; strict about turns, thinking and caching."""
import json
import re

from .answer import Answer, Counter, base64_bytes, pieces_of, result_text, sse, tag_of
from .scenario import THOUGHTS, Talk, plan, sign, signed
from .shape import Either, Enum, Null, Number, Refused, Tagged, Text, check, dotted

NAME = r"[a-zA-Z0-9_-]{1,128}"
TOOL_ID = Text(r"[a-zA-Z0-9_-]+")
CACHE = Null({"type!": Enum("ephemeral"), "ttl": Enum("5m", "1h")})
TEXT = {"type!": str, "text!": str, "cache_control": CACHE, "citations": Null([object])}
IMAGE = {"type!": str, "cache_control": CACHE, "source!": Tagged("type", {
    "base64": {"media_type!": Enum("image/jpeg", "image/png", "image/gif", "image/webp"), "data!": str},
    "url": {"url!": str}, "file": {"file_id!": str}})}
DOCUMENT = {"type!": str, "cache_control": CACHE, "citations": Null({"enabled": bool}), "context": Null(str), "title": Null(str),
            "source!": Tagged("type", {"base64": {"media_type!": Enum("application/pdf"), "data!": str}, "url": {"url!": str},
                                       "text": {"media_type!": Enum("text/plain"), "data!": str}, "file": {"file_id!": str}})}
RESULT = {"type!": str, "tool_use_id!": TOOL_ID, "is_error": bool, "cache_control": CACHE,
          "content": Either(str, [Tagged("type", {"text": TEXT, "image": IMAGE, "document": DOCUMENT})])}
USE = {"type!": str, "id!": TOOL_ID, "name!": Text(NAME), "input!": dict, "cache_control": CACHE, "caller": {"type!": Enum("direct")}}
THINKING = {"type!": str, "thinking!": str, "signature!": str}
BLOCK = Tagged("type", {"text": TEXT, "image": IMAGE, "document": DOCUMENT, "tool_result": RESULT, "tool_use": USE,
                        "thinking": THINKING, "redacted_thinking": {"type!": str, "data!": str}})
USE["input!"] = object
TURN = {"role!": Enum("user", "assistant"), "content!": Either(str, [BLOCK])}
TOOL = {"name!": Text(NAME), "description": str, "input_schema!": object, "cache_control": CACHE, "strict": bool,
        "type": Null(Enum("custom")), "eager_input_streaming": Null(bool)}
SYSTEM = Either(str, [Tagged("type", {"text": TEXT})])
THINKS = Tagged("type", {"enabled": {"budget_tokens!": int, "display": Null(Enum("summarized", "omitted"))}, "disabled": {},
                         "adaptive": {"display": Null(Enum("summarized", "omitted"))}})
CHOICE = Tagged("type", {"auto": {"disable_parallel_tool_use": bool}, "any": {"disable_parallel_tool_use": bool},
                         "tool": {"name!": str, "disable_parallel_tool_use": bool}, "none": {}})
COUNT = {"model!": str, "messages!": [TURN], "system": SYSTEM, "tools": [TOOL], "tool_choice": CHOICE, "thinking": THINKS,
         "cache_control": CACHE, "output_config": {"effort": Null(Enum("low", "medium", "high", "xhigh", "max")), "format": Null(
             {"type!": Enum("json_schema"), "schema!": object})}}
MESSAGES = {**COUNT, "max_tokens!": Number(1, whole=True), "metadata": {"user_id": Null(str)}, "service_tier": Enum("auto", "standard_only"),
            "stop_sequences": [str], "stream": bool, "temperature": Number(0, 1), "top_p": Number(0, 1), "top_k": Number(0, whole=True),
            "inference_geo": Null(str)}

ERRORS = {
    "400": (400, "invalid_request_error", "The scenario says no."),
    "400-context": (400, "invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum"),
    "401": (401, "authentication_error", "invalid x-api-key"),
    "403": (403, "permission_error", "Your API key does not have permission to use the specified resource."),
    "404": (404, "not_found_error", "model: the model does not exist"),
    "429": (429, "rate_limit_error", "This request would exceed your organization's rate limit."),
    "500": (500, "api_error", "Internal server error"),
    "503": (529, "overloaded_error", "Overloaded"),
    "529": (529, "overloaded_error", "Overloaded"),
}
TYPES = {"string": "Input should be a valid string", "integer": "Input should be a valid integer", "number": "Input should be a valid number",
         "boolean": "Input should be a valid boolean", "array": "Input should be a valid list", "object": "Input should be an object"}


def error(status, kind, message):
    return Answer(status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake1"})


def bad(path, message):
    raise Refused("rule", path, message)


def generation(model):
    """(major, minor) of a Claude model: 4.5 for claude-sonnet-4-5."""
    m = re.search(r"claude-(?:[a-z]+-)?(\d)(?:-(\d)(?!\d))?", model)
    return (int(m[1]), int(m[2] or 0)) if m else (0, 0)


def blocks(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class Anthropic:
    vendor = "anthropic"

    def credential(self, r, keys):
        key, auth = r.header("x-api-key"), r.header("authorization") or ""
        if (key and auth) or r.header("api-key") or r.header("x-goog-api-key"):
            return error(401, "authentication_error", "more than one credential")
        got = key or (auth[7:] if auth.startswith("Bearer ") else None)
        if not got:
            return error(401, "authentication_error", "x-api-key header is required")
        return None if got in keys else self.error("401")

    def error(self, name, message=None):
        status, kind, text = ERRORS[name]
        a = error(status, kind, message or text)
        if name == "429":
            a.headers = (("retry-after", "7"), ("anthropic-ratelimit-requests-remaining", "0"))
        return a

    def refusal(self, e):
        p = dotted(e.path)
        words = {"unknown": "Extra inputs are not permitted", "missing": "Field required", "type": TYPES.get(str(e.want), "Input should be valid"),
                 "value": f"Input should be {' or '.join(map(repr, e.want))}" if isinstance(e.want, list) else "",
                 "pattern": f"String should match pattern '^{e.want}$'", "low": f"Input should be greater than or equal to {e.want}",
                 "high": f"Input should be less than or equal to {e.want}"}
        return error(400, "invalid_request_error", e.message if e.kind == "rule" and not p else
                     f"{p}: {e.message if e.kind == 'rule' else words[e.kind]}")

    def answer(self, r):
        if not r.header("anthropic-version"):
            return error(400, "invalid_request_error", "anthropic-version: header is required")
        if not re.fullmatch(r"20\d\d-\d\d-\d\d", r.header("anthropic-version")):
            return error(400, "invalid_request_error", "anthropic-version: is not a valid version")
        if r.method == "GET" and re.fullmatch(r"/v1/models(/[^/]+)?", r.rest):
            one = {"type": "model", "id": "claude-sonnet-4-5", "display_name": "Fake", "created_at": "2026-01-01T00:00:00Z"}
            return Answer(200, one if r.rest.count("/") > 2 else {"data": [one], "has_more": False, "first_id": one["id"],
                                                                  "last_id": one["id"]})
        if r.method != "POST" or r.rest not in ("/v1/messages", "/v1/messages/count_tokens"):
            return error(404, "not_found_error", "Not found")
        if not isinstance(r.json, dict):
            return error(400, "invalid_request_error", "The request body is not valid JSON")
        counting = r.rest.endswith("count_tokens")
        j = r.json
        check(COUNT if counting else MESSAGES, j)
        self.rules(j, counting)
        talk = self.talk(j)
        p = plan(talk)
        if p.error:
            a = self.error(p.error)
        elif counting:
            a = Answer(body={"input_tokens": p.prompt})
        elif talk.stream:
            a = Answer(events=self.events(j, p, talk), pause=p.pause, cut=p.error_mid)
        else:
            a = Answer(body=self.whole(j, p, talk))
        a.plan, a.talk = p, talk
        return a

    # rules
    def rules(self, j, counting):
        self.model_rules(j)
        turns = j["messages"]
        if not turns:
            bad(("messages",), "at least one message is required")
        if turns[0]["role"] != "user":
            bad(("messages", 0), "the first message must use the \"user\" role")
        mode = (j.get("thinking") or {}).get("type")
        thinking = mode in ("enabled", "adaptive")
        for i, t in enumerate(turns):
            self.turn_rules(i, t, turns)
        self.history_rules(turns, mode)
        if j.get("system") == [] or any(not b["text"].strip() for b in (j.get("system") if isinstance(j.get("system"), list) else [])):
            bad(("system",), "text content blocks must be non-empty")
        last = turns[-1]
        if last["role"] == "assistant":
            self.prefill_rules(j, last, thinking)
        self.tool_rules(j, turns, thinking)
        self.cache_rules(j)
        if not counting:
            self.sampling_rules(j, mode)

    def model_rules(self, j):
        if not generation(j["model"])[0]:
            raise Refused("rule", (), f"model: {j['model']}")

    def turn_rules(self, i, t, turns):
        at = ("messages", i)
        if i and turns[i - 1]["role"] == t["role"]:
            bad(at, f"roles must alternate between \"user\" and \"assistant\", but found multiple \"{t['role']}\" roles in a row")
        if not t["content"] and i + 1 < len(turns):
            bad(at, "all messages must have non-empty content except for the optional final assistant message")
        results_over = False
        for n, b in enumerate(blocks(t["content"])):
            where = (*at, "content", n)
            if b["type"] == "text" and not b["text"].strip():
                bad(at, "text content blocks must be non-empty" if not b["text"] else "text content blocks must contain non-whitespace text")
            if b["type"] in ("tool_result", "image", "document") and t["role"] != "user":
                bad(where, f"`{b['type']}` blocks can only be in `user` messages")
            if b["type"] in ("tool_use", "thinking", "redacted_thinking") and t["role"] != "assistant":
                bad(where, f"`{b['type']}` blocks can only be in `assistant` messages")
            if b["type"] == "tool_use" and not isinstance(b["input"], dict):
                bad((*where, "tool_use", "input"), "Input should be a valid dictionary")
            if b["type"] == "thinking" and not signed(b["thinking"], b["signature"]):
                bad(where, "Invalid `signature` in `thinking` block")
            if b["type"] == "redacted_thinking" and not signed("redacted", b["data"]):
                bad(where, "Invalid `data` in `redacted_thinking` block")
            if b["type"] == "image" and b["source"]["type"] == "base64":
                base64_bytes(b["source"]["data"], (*where, "source", "data"))
            if b["type"] == "tool_result":
                if results_over:
                    bad(where, "`tool_result` blocks must come first in the content")
            else:
                results_over = True

    def history_rules(self, turns, mode):
        for i, t in enumerate(turns):
            uses = [b["id"] for b in blocks(t["content"]) if b["type"] == "tool_use"]
            if len(set(uses)) != len(uses):
                bad(("messages", i), "`tool_use` ids must be unique")
            after = blocks(turns[i + 1]["content"]) if i + 1 < len(turns) else None
            given = [b["tool_use_id"] for b in after or [] if b["type"] == "tool_result"]
            lost = [u for u in uses if u not in given]
            if lost and after is not None:
                bad(("messages", i), f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(lost)}. Each "
                    "`tool_use` block must have a corresponding `tool_result` block in the next message.")
            before = [b["id"] for b in blocks(turns[i - 1]["content"]) if b["type"] == "tool_use"] if i else []
            for n, b in enumerate(blocks(t["content"])):
                if b["type"] == "tool_result" and b["tool_use_id"] not in before:
                    bad(("messages", i, "content", n), f"unexpected `tool_use_id` found in `tool_result` blocks: {b['tool_use_id']}. Each "
                        "`tool_result` block must have a corresponding `tool_use` block in the previous message.")
        if mode == "enabled" and len(turns) > 1 and turns[-1]["role"] == "user":
            results = any(b["type"] == "tool_result" for b in blocks(turns[-1]["content"]))
            before = blocks(turns[-2]["content"])
            if results and before[0]["type"] not in ("thinking", "redacted_thinking"):
                bad(("messages", len(turns) - 2, "content", 0, "type"), "Expected `thinking` or `redacted_thinking`, but found "
                    f"`{before[0]['type']}`. When `thinking` is enabled, a final `assistant` message must start with a thinking block.")

    def prefill_rules(self, j, last, thinking):
        if generation(j["model"]) >= (4, 6):
            bad((), "This model does not support assistant message prefill. The conversation must end with a user message.")
        if thinking:
            bad((), "Prefill is not supported when thinking is enabled.")
        text = blocks(last["content"])[-1].get("text", "") if last["content"] else ""
        if text != text.rstrip():
            bad((), "messages: final assistant content cannot end with trailing whitespace")

    def tool_rules(self, j, turns, thinking):
        names = [t["name"] for t in j.get("tools") or []]
        if len(set(names)) != len(names):
            bad(("tools",), "Tool names must be unique.")
        for i, t in enumerate(j.get("tools") or []):
            if not isinstance(t["input_schema"], dict) or t["input_schema"].get("type") != "object":
                bad(("tools", i, "custom", "input_schema", "type"), "Input should be 'object'")
        if not names and any(b["type"] in ("tool_use", "tool_result") for t in turns for b in blocks(t["content"])):
            bad((), "Requests which include `tool_use` or `tool_result` blocks must define tools")
        choice = j.get("tool_choice")
        if choice:
            if not names:
                bad((), "tool_choice may only be specified while providing tools")
            if choice["type"] == "tool" and choice["name"] not in names:
                bad((), f"Tool '{choice['name']}' not found in provided tools")
            if thinking and choice["type"] in ("any", "tool"):
                bad((), "Thinking may not be enabled when tool_choice forces tool use.")

    def cache_rules(self, j):
        def marks(v):
            if isinstance(v, dict):
                return bool(v.get("cache_control")) + sum(marks(x) for k, x in v.items() if k not in ("input", "input_schema"))
            return sum(map(marks, v)) if isinstance(v, list) else 0
        n = marks(j)
        if n > 4:
            bad((), f"A maximum of 4 blocks with cache_control may be provided. Found {n}.")

    def sampling_rules(self, j, mode):
        g = generation(j["model"])
        if mode == "enabled":
            if g >= (4, 7):
                bad((), "thinking.type.enabled: \"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" "
                    "and \"output_config.effort\" to control thinking behavior.")
            budget = j["thinking"]["budget_tokens"]
            if budget < 1024:
                bad(("thinking", "enabled", "budget_tokens"), "Input should be greater than or equal to 1024")
            if budget >= j["max_tokens"]:
                bad((), "`max_tokens` must be greater than `thinking.budget_tokens`.")
        if mode == "adaptive" and g < (4, 6):
            bad((), "adaptive thinking is not supported on this model")
        if g >= (4, 7):
            for k in ("temperature", "top_p", "top_k"):
                if j.get(k) is not None and (k, j[k]) not in (("temperature", 1), ("top_p", 1)):
                    bad((), f"`{k}` is deprecated for this model.")
        if mode in ("enabled", "adaptive"):
            if j.get("temperature", 1) != 1:
                bad((), "`temperature` may only be set to 1 when thinking is enabled.")
            if j.get("top_k") is not None:
                bad((), "`top_k` must be unset when thinking is enabled.")
            if j.get("top_p", 1) < 0.95:
                bad((), "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")
        if (4, 1) <= g < (4, 7) and j.get("temperature") is not None and j.get("top_p") is not None:
            bad((), "`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
        config = j.get("output_config") or {}
        if config.get("effort") and g < (4, 5):
            bad((), "This model does not support the effort parameter.")
        if config.get("format"):
            self.closed(config["format"]["schema"])
        for s in j.get("stop_sequences") or []:
            if not s.strip():
                bad(("stop_sequences",), "each stop sequence must contain non-whitespace")

    def closed(self, s):
        """A format's schema wants every object closed."""
        if not isinstance(s, dict):
            return
        if s.get("type") == "object" and s.get("additionalProperties") is not False:
            bad((), "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false")
        for v in [*(s.get("properties") or {}).values(), *(s.get("$defs") or {}).values(), s.get("items"), *(s.get("anyOf") or [])]:
            self.closed(v)

    # reading
    def talk(self, j):
        c, t = Counter(), Talk(j["model"], stream=bool(j.get("stream")))
        for b in blocks(j.get("system") or []):
            t.system += c.text(b["text"])
        for i, turn in enumerate(j["messages"]):
            if turn["role"] == "assistant":
                t.results = []
                continue
            texts, images = [], []
            for b in blocks(turn["content"]):
                if b["type"] == "text":
                    texts.append(c.text(b["text"]))
                elif b["type"] == "image":
                    s = b["source"]
                    images.append(c.image((s["media_type"], base64_bytes(s["data"], ("messages", i))) if s["type"] == "base64"
                                          else (None, s.get("url") or s.get("file_id"))))
                elif b["type"] == "tool_result":
                    inner = b.get("content") or ""
                    t.results.append(c.text(result_text("".join(x.get("text", "") for x in blocks(inner)))))
            if texts or images:
                t.prompt, t.images = " ".join(texts), images
                if not any(b["type"] == "tool_result" for b in blocks(turn["content"])):
                    t.results = []
        t.words, t.tag = c.words, tag_of(t.prompt)
        t.tools = [(x["name"], x["input_schema"]) for x in j.get("tools") or []]
        choice = j.get("tool_choice") or {}
        t.no_tools = choice.get("type") == "none"
        t.forced = {"any": "any", "tool": choice.get("name")}.get(choice.get("type"))
        t.one_tool = choice.get("disable_parallel_tool_use", False)
        f = (j.get("output_config") or {}).get("format")
        t.schema = f["schema"] if f else None
        t.thinking = (j.get("thinking") or {}).get("type") in ("enabled", "adaptive")
        return t

    # writing
    stops = {"stop": "end_turn", "tool": "tool_use", "length": "max_tokens", "refusal": "refusal"}

    def content(self, p, talk):
        out = []
        if talk.thinking and (p.thoughts or p.calls):
            thoughts = "".join(p.thoughts or THOUGHTS)
            out.append({"type": "thinking", "thinking": thoughts, "signature": sign(thoughts)})
        if p.text:
            out.append({"type": "text", "text": "".join(p.text)})
        for i, (name, args) in enumerate(p.calls):
            out.append({"type": "tool_use", "id": f"toolu_fake{i}{len(name)}", "name": name, "input": args})
        return out

    def usage(self, p, out):
        return {"input_tokens": p.prompt - p.cached, "cache_creation_input_tokens": 0, "cache_read_input_tokens": p.cached,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, "output_tokens": out,
                "service_tier": "standard", "inference_geo": "global"}

    def whole(self, j, p, talk):
        return {"id": "msg_fake1", "type": "message", "role": "assistant", "model": j["model"], "content": self.content(p, talk),
                "stop_reason": self.stops[p.finish], "stop_sequence": None,
                "usage": {**self.usage(p, p.out), "output_tokens_details": {"thinking_tokens": p.reasoning}}}

    def events(self, j, p, talk):
        out = []

        def ev(kind, **fields):
            out.append(sse({"type": kind, **fields}, kind))
        message = {**self.whole(j, p, talk), "content": [], "stop_reason": None, "usage": self.usage(p, 1)}
        ev("message_start", message=message)
        for i, b in enumerate(self.content(p, talk)):
            empty = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}, "tool_use": {"input": {}}}[b["type"]]
            ev("content_block_start", index=i, content_block={**b, **empty})
            if i == 0:
                ev("ping")
            if b["type"] == "thinking":
                for x in p.thoughts or THOUGHTS:
                    ev("content_block_delta", index=i, delta={"type": "thinking_delta", "thinking": x})
                ev("content_block_delta", index=i, delta={"type": "signature_delta", "signature": b["signature"]})
            elif b["type"] == "text":
                for n, x in enumerate(p.text):
                    if p.error_mid and n == 4:
                        ev("error", error={"type": "overloaded_error", "message": "Overloaded"})
                        return out
                    ev("content_block_delta", index=i, delta={"type": "text_delta", "text": x})
            elif b["input"]:
                for x in ["", *pieces_of(json.dumps(b["input"]))]:
                    ev("content_block_delta", index=i, delta={"type": "input_json_delta", "partial_json": x})
            ev("content_block_stop", index=i)
        ev("message_delta", delta={"stop_reason": self.stops[p.finish], "stop_sequence": None},
           usage={"input_tokens": p.prompt - p.cached, "cache_creation_input_tokens": 0, "cache_read_input_tokens": p.cached,
                  "output_tokens": p.out, "output_tokens_details": {"thinking_tokens": p.reasoning}})
        ev("message_stop")
        return out
