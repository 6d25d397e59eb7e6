"""The OpenAI wire: chat completions, completions, embeddings, models; and who speaks it with a difference.

`Chat` is OpenAI itself.  `Compatible` is a server of the older sort that knows
only `max_tokens` and no `developer`; `Azure` differs in URLs and credential;
DeepSeek has a file of its own.
"""
import base64
import json
import re
import struct

from .answer import Answer, Counter, data_url, pieces_of, result_text, sse, tag_of
from .scenario import Talk, plan
from .shape import Either, Enum, Null, Number, Refused, Tagged, Text, check, dotted

NAME = r"[a-zA-Z0-9_-]{1,64}"
REASONING_MODEL = re.compile(r"(o\d|gpt-[5-9])(?!.*chat)")

# Shapes ----------------------------------------------------------------------

PART_TEXT = {"type!": Enum("text"), "text!": str}
USER_PARTS = Tagged("type", {
    "text": PART_TEXT,
    "image_url": {"type!": str, "image_url!": {"url!": str, "detail": Enum("auto", "low", "high", "original")}},
    "input_audio": {"type!": str, "input_audio!": {"data!": str, "format!": Enum("wav", "mp3")}},
    "file": {"type!": str, "file!": {"file_data": str, "file_id": str, "filename": str}}})
TEXTS = Either(str, [Tagged("type", {"text": PART_TEXT})])
CALL = Tagged("type", {"function": {"id!": Text(longest=40), "type!": str,
                                    "function!": {"name!": Text(NAME), "arguments!": str}}})
MESSAGE = {
    "system": {"role!": str, "content!": TEXTS, "name": str},
    "developer": {"role!": str, "content!": TEXTS, "name": str},
    "user": {"role!": str, "content!": Either(str, [USER_PARTS]), "name": str},
    "assistant": {"role!": str, "content": Null(Either(str, [Tagged("type", {
        "text": PART_TEXT, "refusal": {"type!": str, "refusal!": str}})])), "refusal": Null(str), "name": str, "annotations": [object],
        "tool_calls": [CALL], "audio": Null({"id!": str}), "function_call": Null({"name!": str, "arguments!": str})},
    "tool": {"role!": str, "content!": TEXTS, "tool_call_id!": Text(longest=40), "name": str},
}
FUNCTION = {"name!": Text(NAME), "description": str, "parameters": object, "strict": Null(bool)}
TOOL = Tagged("type", {"function": {"type!": str, "function!": FUNCTION}})
CHOICE = Either(Enum("none", "auto", "required"), Tagged("type", {
    "function": {"type!": str, "function!": {"name!": Text(NAME)}},
    "allowed_tools": {"type!": str, "allowed_tools!": {"mode!": Enum("auto", "required"), "tools!": [object]}}}))
FORMAT = Tagged("type", {
    "text": {}, "json_object": {},
    "json_schema": {"json_schema!": {"name!": Text(NAME), "description": str, "schema": object, "strict": Null(bool)}}})
CHAT = {
    "model!": str, "messages!": [Tagged("role", MESSAGE)], "frequency_penalty": Null(Number(-2, 2)),
    "logit_bias": Null(object), "logprobs": Null(bool), "max_completion_tokens": Null(Number(1, whole=True)),
    "max_tokens": Null(Number(1, whole=True)), "metadata": Null(object), "modalities": Null([Enum("text", "audio")]),
    "n": Null(Number(1, 128, whole=True)), "parallel_tool_calls": bool, "prediction": Null(object),
    "presence_penalty": Null(Number(-2, 2)), "prompt_cache_key": Null(str), "prompt_cache_retention": Null(str),
    "reasoning_effort": Null(Enum("none", "minimal", "low", "medium", "high", "xhigh", "max")),
    "response_format": FORMAT, "safety_identifier": Null(str), "seed": Null(int),
    "service_tier": Null(Enum("auto", "default", "flex", "scale", "priority", "fast")),
    "stop": Null(Either(str, [str])), "store": Null(bool), "stream": Null(bool),
    "stream_options": Null({"include_usage": bool, "include_obfuscation": bool}), "temperature": Null(Number(0, 2)),
    "tool_choice": CHOICE, "tools": [TOOL], "top_logprobs": Null(Number(0, 20, whole=True)), "top_p": Null(Number(0, 1)),
    "user": str, "verbosity": Null(Enum("low", "medium", "high")), "web_search_options": object, "audio": Null(object),
}
EMBEDDINGS = {"model!": str, "input!": Either(str, [Either(str, int, [int])]), "encoding_format": Enum("float", "base64"),
              "dimensions": Number(1, whole=True), "user": str}
COMPLETIONS = {"model!": str, "prompt!": Either(str, [Either(str, int, [int])]), "max_tokens": Null(int), "n": Null(int),
               "stop": Null(Either(str, [str])), "stream": Null(bool), "temperature": Null(float), "top_p": Null(float),
               "stream_options": Null({"include_usage": bool, "include_obfuscation": bool}), "suffix": Null(str),
               "echo": Null(bool), "seed": Null(int), "logprobs": Null(int), "user": str, "best_of": Null(int),
               "logit_bias": Null(object), "presence_penalty": Null(float), "frequency_penalty": Null(float)}

# Errors ----------------------------------------------------------------------

ERRORS = {
    "400": (400, "invalid_request_error", "invalid_value", "The scenario says no."),
    "400-context": (400, "invalid_request_error", "context_length_exceeded",
                    "This model's maximum context length is 128000 tokens. However, your messages resulted in 200001 tokens."),
    "401": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "403": (403, "invalid_request_error", "unsupported_country_region_territory", "Country not supported."),
    "404": (404, "invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    "429": (429, "tokens", "rate_limit_exceeded", "Rate limit reached for requests."),
    "500": (500, "server_error", None, "The server had an error while processing your request."),
    "503": (503, "server_error", None, "The engine is currently overloaded, please try again later."),
    "529": (503, "server_error", None, "The engine is currently overloaded, please try again later."),
}
WORDS = {
    "unknown": ("unknown_parameter", "Unknown parameter: '{p}'."),
    "missing": ("missing_required_parameter", "Missing required parameter: '{p}'."),
    "type": ("invalid_type", "Invalid type for '{p}': expected {w}, but got {g} instead."),
    "value": ("invalid_value", "Invalid value: '{g}'. Supported values are: {w}."),
    "pattern": ("invalid_value", "Invalid '{p}': string does not match pattern. Expected a string that matches the pattern '^{w}$'."),
    "long": ("string_above_max_length", "Invalid '{p}': string too long. Expected a string with maximum length {w}, "
             "but got a string with length {g} instead."),
    "low": ("integer_below_min_value", "Invalid '{p}': value below minimum. Expected a value >= {w}, but got {g} instead."),
    "high": ("integer_above_max_value", "Invalid '{p}': value above maximum. Expected a value <= {w}, but got {g} instead."),
}


def error(status, kind, code, message, param=None):
    return Answer(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def strict_schema(s, where, at=()):
    """OpenAI's rules for schemas with strict: every object closed, every property required."""
    if not isinstance(s, dict):
        return
    if s.get("type") == "object" or "properties" in s:
        if s.get("additionalProperties") is not False:
            raise Refused("rule", where, f"Invalid schema for {where[0]}: In context={at!r}, 'additionalProperties' is required to "
                          "be supplied and to be false.", code="invalid_json_schema")
        if sorted(s.get("required") or []) != sorted(s.get("properties") or {}):
            raise Refused("rule", where, f"Invalid schema for {where[0]}: In context={at!r}, 'required' is required to be supplied and "
                          "to be an array including every key in properties.", code="invalid_json_schema")
    for k, v in (s.get("properties") or {}).items():
        strict_schema(v, where, (*at, "properties", k))
    for k in ("items", "$defs"):
        v = s.get(k)
        for one in (v.values() if k == "$defs" and isinstance(v, dict) else [v]):
            strict_schema(one, where, (*at, k))
    for one in s.get("anyOf") or []:
        strict_schema(one, where, (*at, "anyOf"))


# The wire --------------------------------------------------------------------

class Chat:
    shape, reasons, vendor = CHAT, True, "openai"
    embedding_models = ("text-embedding-",)

    def credential(self, r, keys):
        """None, or the refusal of a credential that is wrong, absent or carried wrongly."""
        auth = r.header("authorization")
        others = [h for h in ("api-key", "x-api-key", "x-goog-api-key") if r.header(h)]
        if others:
            return self.error("401", f"unexpected header {others[0]}")
        if not auth or not auth.startswith("Bearer "):
            return error(401, "invalid_request_error", None, "You didn't provide an API key. You need to provide your API key in an "
                         "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).")
        return None if auth[7:] in keys else self.error("401")

    def operation(self, r):
        m = re.fullmatch(r"/v1/(chat/completions|completions|embeddings|responses|models)(/[^/]+)?", r.rest)
        return m[1] if m and (not m[2] or m[1] == "models") else None

    def error(self, name, message=None):
        status, kind, code, text = ERRORS[name]
        a = error(status, kind, code, message or text)
        if name == "429":
            a.headers = (("retry-after", "7"), ("x-ratelimit-remaining-requests", "0"))
        return a

    def refusal(self, e):
        p = dotted(e.path, brackets=True)
        if e.kind == "rule":
            return error(400, "invalid_request_error", e.more.get("code"), e.message, p or None)
        code, words = WORDS[e.kind]
        want = ", ".join(f"'{w}'" for w in e.want) if isinstance(e.want, list) else e.want
        return error(400, "invalid_request_error", code, words.format(p=p, w=want, g=e.got), p)

    def answer(self, r):
        op = self.operation(r)
        if r.method == "GET" and op == "models":
            one = {"id": "gpt-4.1", "object": "model", "created": 1, "owned_by": "fake"}
            return Answer(200, one if r.rest.count("/") > 2 else {"object": "list", "data": [one]})
        if r.method != "POST" or not op:
            return error(404, "invalid_request_error", "unknown_url", f"Invalid URL ({r.method} {r.rest})")
        if not isinstance(r.json, dict):
            return error(400, "invalid_request_error", None, "We could not parse the JSON body of your request.")
        return {"chat/completions": self.chat, "completions": self.completions, "embeddings": self.embeddings,
                "responses": self.responses}[op](r, r.json)

    def responses(self, r, j):
        from . import responses
        return responses.answer(self, r, j)

    # chat
    def chat(self, r, j):
        check(self.shape, j)
        self.rules(j)
        talk = self.talk(j)
        p = plan(talk)
        if p.error:
            a = self.error(p.error)
        elif talk.stream:
            a = Answer(events=self.events(j, p, talk), pause=p.pause, cut=p.error_mid)
        else:
            a = Answer(body=self.whole(j, p, talk))
        a.plan, a.talk = p, talk
        return a

    def rules(self, j):
        if not j["messages"]:
            raise Refused("rule", ("messages",), "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an "
                          "empty array instead.", code="empty_array")
        waiting, at = [], None
        for i, m in enumerate(j["messages"]):
            if m["role"] == "tool":
                if m["tool_call_id"] not in waiting:
                    raise Refused("rule", ("messages", i, "role"), "Invalid parameter: messages with role 'tool' must be a response to "
                                  "a preceeding message with 'tool_calls'.")
                waiting.remove(m["tool_call_id"])
                continue
            if waiting:
                break
            if m["role"] == "assistant":
                if not m.get("content") and not m.get("tool_calls") and not m.get("refusal") and m.get("content") != "":
                    raise Refused("rule", ("messages", i, "content"), "Invalid value for 'content': expected a string, got null.",
                                  code="invalid_type")
                if m.get("tool_calls") == []:
                    raise Refused("rule", ("messages", i, "tool_calls"), f"Invalid 'messages[{i}].tool_calls': empty array. Expected an "
                                  "array with minimum length 1, but got an empty array instead.", code="empty_array")
                waiting, at = [c["id"] for c in m.get("tool_calls") or []], i
        if waiting:
            raise Refused("rule", ("messages", at), "An assistant message with 'tool_calls' must be followed by tool messages responding "
                          f"to each 'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}")
        if not j.get("tools"):
            if "tools" in j:
                raise Refused("rule", ("tools",), "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an "
                              "empty array instead.", code="empty_array")
            for k in ("tool_choice", "parallel_tool_calls"):
                if k in j:
                    raise Refused("rule", (k,), f"Invalid value for '{k}': '{k}' is only allowed when 'tools' are specified.")
        choice = j.get("tool_choice")
        names = [t["function"]["name"] for t in j.get("tools") or []]
        if isinstance(choice, dict) and choice["type"] == "function" and choice["function"]["name"] not in names:
            raise Refused("rule", ("tool_choice",), f"Invalid value for 'tool_choice': tool '{choice['function']['name']}' not found in "
                          "'tools'.")
        if j.get("stream_options") is not None and not j.get("stream"):
            raise Refused("rule", ("stream_options",), "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
        if j.get("top_logprobs") is not None and not j.get("logprobs"):
            raise Refused("rule", ("top_logprobs",), "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.")
        if isinstance(j.get("stop"), list) and len(j["stop"]) > 4:
            raise Refused("rule", ("stop",), "Invalid 'stop': array too long. Expected an array with maximum length 4.",
                          code="array_above_max_length")
        self.format_rules(j)
        for i, t in enumerate(j.get("tools") or []):
            if t["function"].get("strict"):
                strict_schema(t["function"].get("parameters"), (f"function '{t['function']['name']}'", i))
        if self.reasons:
            self.model_rules(j)

    def format_rules(self, j):
        f = j.get("response_format") or {}
        if f.get("type") == "json_object" and "json" not in json.dumps(j["messages"]).lower():
            raise Refused("rule", ("messages",), "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
                          "'json_object'.")
        if f.get("type") == "json_schema" and f["json_schema"].get("strict"):
            strict_schema(f["json_schema"].get("schema"), ("response_format 'json_schema'",))

    def model_rules(self, j):
        reasoning = bool(REASONING_MODEL.match(j["model"]))
        if not reasoning:
            if j.get("reasoning_effort") is not None:
                raise Refused("rule", ("reasoning_effort",), "Unrecognized request argument supplied: reasoning_effort")
            return
        if j.get("max_tokens") is not None:
            raise Refused("rule", ("max_tokens",), "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                          "'max_completion_tokens' instead.", code="unsupported_parameter")
        if j.get("tools") and j.get("reasoning_effort") not in (None, "none") and re.match(r"gpt-(5\.[4-9]|[6-9])", j["model"]):
            raise Refused("rule", ("reasoning_effort",), "Function tools with reasoning_effort are not supported for this model in "
                          "/v1/chat/completions. Please use /v1/responses instead.")
        for k, usual in (("temperature", 1), ("top_p", 1), ("presence_penalty", 0), ("frequency_penalty", 0)):
            if j.get(k) not in (None, usual):
                raise Refused("rule", (k,), f"Unsupported value: '{k}' does not support {j[k]} with this model. Only the default "
                              f"({usual}) value is supported.", code="unsupported_value")
        for k in ("logprobs", "top_logprobs", "logit_bias"):
            if j.get(k):
                raise Refused("rule", (k,), f"Unsupported parameter: '{k}' is not supported with this model.", code="unsupported_parameter")

    def talk(self, j):
        c = Counter()
        t = Talk(j["model"], stream=bool(j.get("stream")))
        for i, m in enumerate(j["messages"]):
            content = m.get("content")
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
            texts = [p["text"] for p in parts if p["type"] == "text"]
            if m["role"] == "assistant":
                t.results = []
                continue
            for x in texts:
                c.text(result_text(x) if m["role"] == "tool" else x)
            if m["role"] == "tool":
                t.results.append(result_text("".join(texts)))
            elif m["role"] in ("system", "developer"):
                t.system += " ".join(texts)
            elif m["role"] == "user":
                t.prompt, t.results = " ".join(texts), []
                t.images = [c.image(data_url(p["image_url"]["url"], ("messages", i))) for p in parts if p["type"] == "image_url"]
        t.words, t.tag = c.words, tag_of(t.prompt)
        t.tools = [(x["function"]["name"], x["function"].get("parameters") or {}) for x in j.get("tools") or []]
        choice = j.get("tool_choice")
        t.no_tools = choice == "none"
        t.forced = "any" if choice == "required" else choice["function"]["name"] if isinstance(choice, dict) and "function" in choice else None
        t.one_tool = j.get("parallel_tool_calls") is False
        f = j.get("response_format") or {}
        t.schema = {} if f.get("type") == "json_object" else f["json_schema"].get("schema") or {} if f.get("type") == "json_schema" else None
        return t

    finishes = {"stop": "stop", "tool": "tool_calls", "length": "length", "refusal": "content_filter"}

    def usage(self, p):
        return {"prompt_tokens": p.prompt, "completion_tokens": p.out, "total_tokens": p.prompt + p.out,
                "prompt_tokens_details": {"cached_tokens": p.cached, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": p.reasoning, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                                              "rejected_prediction_tokens": 0}}

    def calls(self, p):
        return [{"id": f"call_fake{i}{len(name)}", "type": "function",
                 "function": {"name": name, "arguments": json.dumps(args) if args else "{}"}} for i, (name, args) in enumerate(p.calls)]

    def message(self, p, talk):
        text = "".join(p.text)
        m = {"role": "assistant", "content": text if p.text else None, "refusal": None, "annotations": []}
        if p.calls:
            m["tool_calls"] = self.calls(p)
        return m

    def base(self, j, kind):
        return {"id": "chatcmpl-fake1", "object": kind, "created": 1770000000, "model": j["model"], "service_tier": "default",
                "system_fingerprint": "fp_fake"}

    def whole(self, j, p, talk):
        choices = [{"index": i, "message": self.message(p, talk), "logprobs": None, "finish_reason": self.finishes[p.finish]}
                   for i in range(j.get("n") or 1)]
        return {**self.base(j, "chat.completion"), "choices": choices, "usage": self.usage(p)}

    def deltas(self, p, talk):
        yield {"role": "assistant", "content": "" if p.text else None, "refusal": None}
        for x in p.text:
            yield {"content": x}
        for i, c in enumerate(self.calls(p)):
            yield {"tool_calls": [{"index": i, **c, "function": {"name": c["function"]["name"], "arguments": ""}}]}
            for x in pieces_of(c["function"]["arguments"]):
                yield {"tool_calls": [{"index": i, "function": {"arguments": x}}]}

    def events(self, j, p, talk):
        asked = (j.get("stream_options") or {}).get("include_usage")
        base = {**self.base(j, "chat.completion.chunk"), **({"usage": None} if asked else {})}
        extra = {"obfuscation": "x7Q"} if self.vendor == "openai" else {}
        out = []
        for i in range(j.get("n") or 1):
            for n, d in enumerate(self.deltas(p, talk)):
                if p.error_mid and n == 4:
                    return out + [sse({"error": {"message": "The server had an error while processing your request.",
                                                 "type": "server_error", "param": None, "code": None}})]
                out.append(sse({**base, "choices": [{"index": i, "delta": d, "logprobs": None, "finish_reason": None}], **extra}))
            out.append(sse({**base, "choices": [{"index": i, "delta": {}, "logprobs": None, "finish_reason": self.finishes[p.finish]}],
                            **extra}))
        if asked:
            out.append(sse({**base, "choices": [], "usage": self.usage(p), **extra}))
        return out + [sse("[DONE]")]

    # the lesser operations
    def completions(self, r, j):
        check(COMPLETIONS, j)
        prompts = j["prompt"] if isinstance(j["prompt"], list) else [j["prompt"]]
        text = " ".join(x if isinstance(x, str) else "token" for x in prompts)
        c = Counter()
        c.text(text)
        talk = Talk(j["model"], prompt=text, words=c.words, tag=tag_of(text), stream=bool(j.get("stream")))
        p = plan(talk)
        if p.error:
            return self.error(p.error)
        base = {"id": "cmpl-fake1", "object": "text_completion", "created": 1770000000, "model": j["model"]}
        usage = {k: self.usage(p)[k] for k in ("prompt_tokens", "completion_tokens", "total_tokens")}

        def choice(text, finish):
            return [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]
        if not talk.stream:
            return Answer(body={**base, "choices": choice("".join(p.text), self.finishes[p.finish]), "usage": usage}, plan=p, talk=talk)
        out = [sse({**base, "choices": choice(x, None)}) for x in p.text] + [sse({**base, "choices": choice("", "stop")})]
        if (j.get("stream_options") or {}).get("include_usage"):
            out.append(sse({**base, "choices": [], "usage": usage}))
        return Answer(events=out + [sse("[DONE]")], pause=p.pause, plan=p, talk=talk)

    def embeddings(self, r, j):
        check(EMBEDDINGS, j)
        if not j["model"].startswith(self.embedding_models):
            return self.error("404", f"The model `{j['model']}` is not an embedding model.")
        one = not isinstance(j["input"], list) or (j["input"] and isinstance(j["input"][0], int))
        inputs = [j["input"]] if one else j["input"]
        if not inputs or inputs == [""]:
            raise Refused("rule", ("input",), "Invalid 'input': input cannot be an empty string.")
        c, data = Counter(), []
        for i, text in enumerate(inputs):
            c.text(text if isinstance(text, str) else "token " * len(text))
            vector = vector_of(text, j.get("dimensions") or 4)
            coded = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            data.append({"object": "embedding", "index": i, "embedding": coded if j.get("encoding_format") == "base64" else vector})
        text = " ".join(x for x in inputs if isinstance(x, str))
        talk = Talk(j["model"], prompt=text, words=c.words, tag=tag_of(text))
        p = plan(talk)
        if p.error:
            return self.error(p.error)
        p.out = p.reasoning = p.cached = 0
        return Answer(body={"object": "list", "data": data, "model": j["model"],
                            "usage": {"prompt_tokens": c.words, "total_tokens": c.words}}, plan=p, talk=talk)


def vector_of(text, size):
    """An embedding in exact binary fractions: the number of characters decides."""
    n = len(text) if isinstance(text, (str, list)) else 1
    return [((n + i) % 8 - 4) / 4 for i in range(size)]


class Compatible(Chat):
    """A server that speaks an older OpenAI: no max_completion_tokens, no developer role, no effort."""
    vendor, reasons = "compatible", False
    embedding_models = ("",)
    shape = {k: v for k, v in CHAT.items() if k.rstrip("!") not in (
        "max_completion_tokens", "reasoning_effort", "verbosity", "store", "service_tier", "safety_identifier", "prompt_cache_key",
        "prompt_cache_retention", "modalities", "audio", "web_search_options", "prediction", "metadata")}
    shape["messages!"] = [Tagged("role", {k: v for k, v in MESSAGE.items() if k != "developer"})]

    def responses(self, r, j):
        return error(404, "invalid_request_error", "unknown_url", "Invalid URL (POST /v1/responses)")


class Azure(Chat):
    """Azure OpenAI: the deployment in the path, the api-key header, a version in the query."""
    vendor = "azure"
    embedding_models = ("",)
    deployments = ("gpt-4.1-azure", "text-embedding-azure")

    def credential(self, r, keys):
        if r.header("authorization") and r.header("api-key"):
            return self.error("401", "two credentials")
        got = r.header("api-key") or (r.header("authorization") or "")[7:]
        return None if got in keys else Answer(401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key "
                                                               "or wrong API endpoint."}})

    def operation(self, r):
        m = re.fullmatch(r"/openai/deployments/([^/]+)/(chat/completions|completions|embeddings)", r.rest)
        version = re.search(r"(?:^|&)api-version=([^&]+)", r.query)
        if m and version and re.fullmatch(r"\d{4}-\d\d-\d\d(-preview)?", version[1]):
            r.deployment = m[1]
            return m[2]
        m = re.fullmatch(r"/openai/(v1/)?(responses|chat/completions|embeddings|models)", r.rest)
        if m and (m[1] or (m[2] in ("responses", "models") and version)):
            return m[2]
        return None

    def answer(self, r):
        a = None
        if self.operation(r) and getattr(r, "deployment", None) and r.deployment not in self.deployments:
            return Answer(404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}})
        if getattr(r, "deployment", None) and isinstance(r.json, dict):
            r.json.setdefault("model", r.deployment)
        a = super().answer(r)
        if a.events and self.operation(r) == "chat/completions":     # annotations of the prompt come first, without a choice
            a.events.insert(0, sse({"choices": [], "created": 0, "id": "", "model": "", "object": "",
                                    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {
                                        "hate": {"filtered": False, "severity": "safe"}}}]}))
        return a
