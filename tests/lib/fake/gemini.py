"""The Gemini wire: generateContent and its kin; strict about schemas, function turns and thought signatures."""
import re

from .answer import Answer, Counter, base64_bytes, result_text, sse, tag_of
from .gemini_shape import BATCH, COUNT, DATA, EMBED, GENERATE, schema_rules
from .openai import vector_of
from .scenario import THOUGHTS, Talk, canonical, plan, sign, signed
from .shape import Refused, check, dotted

PLACEHOLDERS = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
ERRORS = {
    "400": (400, "INVALID_ARGUMENT", "The scenario says no."),
    "400-context": (400, "INVALID_ARGUMENT", "The input token count (2000001) exceeds the maximum number of tokens allowed (1048576)."),
    "401": (401, "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token."),
    "403": (403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers."),
    "404": (404, "NOT_FOUND", "models/nothing is not found for API version v1beta, or is not supported for generateContent."),
    "429": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota."),
    "500": (500, "INTERNAL", "An internal error has occurred."),
    "503": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "529": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
}


def error(status, kind, message, details=None):
    e = {"code": status, "message": message, "status": kind}
    return Answer(status, {"error": {**e, **({"details": details} if details else {})}})


def snake(path):
    """A path as Google writes it: generation_config.stop_sequences."""
    return dotted([p if isinstance(p, int) else re.sub(r"(?<=[a-z])([A-Z])", lambda m: "_" + m[1].lower(), p) for p in path], True)


def bad(path, message):
    raise Refused("rule", path, message)


OPAQUE = ("args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema")


def camel(v):
    """Google takes a field's name in both spellings; what users name themselves is left alone."""
    if isinstance(v, list):
        return [camel(x) for x in v]
    if not isinstance(v, dict):
        return v
    out = {}
    for k, x in v.items():
        k = re.sub(r"_([a-z])", lambda m: m[1].upper(), k)
        out[k] = x if k in OPAQUE else camel(x)
    return out


def kinds(content):
    return [next((k for k in DATA if k in p), None) for p in content.get("parts") or []]


def is_gemini3(model):
    return model.startswith("gemini-3")


class Gemini:
    vendor = "gemini"

    def credential(self, r, keys):
        if r.header("authorization"):
            return error(401, "UNAUTHENTICATED", ERRORS["401"][2], [{"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                         "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED", "domain": "googleapis.com"}])
        if r.header("x-api-key") or r.header("api-key"):
            return error(401, "UNAUTHENTICATED", "unexpected credential header")
        m = re.search(r"(?:^|&)key=([^&]+)", r.query)
        got = r.header("x-goog-api-key") or (m and m[1])
        if not got:
            return self.error("403")
        return None if got in keys else error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}])

    def error(self, name, message=None):
        status, kind, text = ERRORS[name]
        details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}] if name == "429" else None
        return error(status, kind, message or text, details)

    def refusal(self, e):
        p = snake(e.path)
        if e.kind == "unknown":
            text = f"Invalid JSON payload received. Unknown name \"{e.path[-1]}\" at '{snake(e.path[:-1])}': Cannot find field."
        elif e.kind in ("type", "value"):
            text = f"Invalid value at '{p}': expected {e.want}, got {e.got}"
        elif e.kind == "rule":
            text = f"* GenerateContentRequest.{p}: {e.message}" if p else e.message
        else:
            text = f"* GenerateContentRequest.{p}: {e.kind}: expected {e.want}, got {e.got}"
        return error(400, "INVALID_ARGUMENT", text)

    def answer(self, r):
        if r.method == "GET" and re.fullmatch(r"/v1(beta)?/models(/[^/:]+)?", r.rest):
            one = {"name": "models/gemini-2.5-flash", "version": "1", "displayName": "Fake", "inputTokenLimit": 1048576,
                   "outputTokenLimit": 65536, "supportedGenerationMethods": ["generateContent"]}
            return Answer(200, one if r.rest.count("/") > 2 else {"models": [one]})
        m = re.fullmatch(r"/v1(?:beta)?/models/([a-zA-Z0-9._-]+):(\w+)", r.rest)
        op = {"generateContent": self.generate, "streamGenerateContent": self.generate, "countTokens": self.count,
              "embedContent": self.embed, "batchEmbedContents": self.batch}.get(m and m[2])
        if r.method != "POST" or not op:
            return error(404, "NOT_FOUND", "Requested entity was not found.")
        if not isinstance(r.json, dict):
            return error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")
        if not m[1].startswith(("gemini-", "text-embedding-", "embedding-")):
            return self.error("404", f"models/{m[1]} is not found for API version v1beta, or is not supported for {m[2]}.")
        r.deployment = m[1]
        return op(r, camel(r.json), m[1])

    def generate(self, r, j, model):
        check(GENERATE, j)
        self.rules(j, model)
        talk = self.talk(j, model)
        talk.stream = r.rest.endswith("streamGenerateContent")
        p = plan(talk)
        if p.error:
            a = self.error(p.error)
        elif talk.stream and "alt=sse" in r.query.split("&"):
            docs = list(self.chunks(p, talk))
            a = Answer(events=[sse(d, end=b"\r\n") for d in docs], pause=p.pause, cut=p.error_mid)
        elif talk.stream:
            a = Answer(body=list(self.chunks(p, talk)))
        else:
            a = Answer(body=self.reply(p, talk, self.parts(p, talk), self.finishes[p.finish]))
        a.plan, a.talk = p, talk
        return a

    # rules
    def rules(self, j, model):
        contents = j["contents"]
        if not contents:
            bad(("contents",), "contents is not specified")
        for i, c in enumerate(contents):
            self.content_rules(("contents", i), c)
            if c.get("role") not in (None, "user", "model"):
                bad((), "Please use a valid role: user, model.")
        if "systemInstruction" in j:
            self.content_rules(("systemInstruction",), j["systemInstruction"])
            if set(kinds(j["systemInstruction"])) != {"text"}:
                bad(("systemInstruction",), "only text is supported in system instructions")
        self.function_turns(contents)
        if is_gemini3(model):
            self.signatures(contents)
        else:
            self.known_signatures(contents)
        self.tool_rules(j)
        self.config_rules(j, model)

    def content_rules(self, at, c):
        if not c.get("parts"):
            bad((*at, "parts"), "contents.parts must not be empty.")
        for n, (p, kind) in enumerate(zip(c["parts"], kinds(c))):
            if kind is None:
                bad((*at, "parts", n, "data"), "required oneof field 'data' must have one initialized field")
            if sum(k in p for k in DATA) > 1:
                bad((*at, "parts", n), "oneof field 'data' is already set")
            if kind == "inlineData":
                if not base64_bytes(p["inlineData"]["data"], (*at, "parts", n), url_safe=True):
                    bad((*at, "parts", n), "Unable to process input image")
            if kind == "fileData" and not re.match(r"gs://|https://", p["fileData"]["fileUri"]):
                bad((*at, "parts", n), "Invalid or unsupported file uri: " + p["fileData"]["fileUri"])
            for k, field in (("functionCall", "args"), ("functionResponse", "response")):
                if kind == k and not isinstance(p[k].get(field, {}), dict):
                    raise Refused("type", (*at, "parts", n, k, field), want="object", got="scalar")

    def function_turns(self, contents):
        for i, c in enumerate(contents):
            have = kinds(c)
            role = c.get("role", "user")
            if "functionCall" in have:
                if role != "model" or not i or contents[i - 1].get("role", "user") != "user":
                    bad((), "Please ensure that function call turn comes immediately after a user turn or after a function response turn.")
                after = contents[i + 1] if i + 1 < len(contents) else None
                if after is not None and "functionResponse" not in kinds(after):
                    bad((), "Please ensure that function response turn comes immediately after a function call turn.")
            if "functionResponse" in have:
                if role != "user" or set(have) != {"functionResponse"}:
                    bad((), "Function response parts must stand in a user turn of their own.")
                calls = [p["functionCall"] for p in contents[i - 1].get("parts", []) if "functionCall" in p] if i else []
                given = [p["functionResponse"] for p in c["parts"]]
                if len(calls) != len(given):
                    bad((), "Please ensure that the number of function response parts is equal to the number of function call parts of the "
                        "function call turn.")
                for a, b in zip(calls, given):
                    if a["name"] != b["name"]:
                        bad((), f"Function response name {b['name']} does not match the function call {a['name']}.")
                    if b.get("id") and b["id"] != a.get("id"):
                        bad((), f"Function response id {b['id']} does not match the function call.")

    def signatures(self, contents):
        """Gemini 3: each step of the current turn has a signature on its first call."""
        start = max((i for i, c in enumerate(contents) if c.get("role", "user") == "user" and "functionResponse" not in kinds(c)), default=0)
        for i, c in enumerate(contents):
            calls = [p for p in c["parts"] if "functionCall" in p]
            if calls and i > start and not calls[0].get("thoughtSignature"):
                name = calls[0]["functionCall"]["name"]
                bad((), f"Function call `{name}` in the {i + 1}. content block is missing a `thought_signature`. Please refer to "
                    "https://ai.google.dev/gemini-api/docs/thought-signatures for more details.")
        self.known_signatures(contents)

    def known_signatures(self, contents):
        for c in contents:
            for p in c["parts"]:
                s = p.get("thoughtSignature")
                if not s or s in PLACEHOLDERS:
                    continue
                base64_bytes(s, ("thought_signature",), url_safe=True)
                call = p.get("functionCall")
                text = canonical(call["name"], call.get("args") or {}) if call else "text"
                if not signed(text, s.replace("-", "+").replace("_", "/")):
                    bad((), "Thought signature is not valid.")

    def tool_rules(self, j):
        declared = [d for t in j.get("tools") or [] for d in t.get("functionDeclarations") or []]
        names = [d["name"] for d in declared]
        if sum("functionDeclarations" in t for t in j.get("tools") or []) > 1:
            bad(("tools",), "Multiple tools are supported only when they are all search tools.")
        if len(set(names)) != len(names):
            bad(("tools", 0), "Duplicate function declaration found")
        for n, d in enumerate(declared):
            at = ("tools", 0, "functionDeclarations", n)
            if "parameters" in d and "parametersJsonSchema" in d:
                bad(at, "parameters and parameters_json_schema cannot both be set")
            if "parameters" in d:
                schema_rules(d["parameters"], (*at, "parameters"), top=True)
                if d["parameters"].get("type", "").upper() != "OBJECT":
                    bad((*at, "parameters"), "parameters schema should be of type OBJECT.")
        config = (j.get("toolConfig") or {}).get("functionCallingConfig") or {}
        if config.get("allowedFunctionNames"):
            if config.get("mode") not in ("ANY", "VALIDATED"):
                bad(("toolConfig",), "allowed_function_names can only be set when mode is ANY or VALIDATED")
            for a in config["allowedFunctionNames"]:
                if a not in names:
                    bad(("toolConfig",), f"allowed_function_names: {a} is not declared")
        if config.get("mode") == "ANY" and not names:
            bad(("toolConfig",), "Function calling config is set without function_declarations.")

    def config_rules(self, j, model):
        g = j.get("generationConfig") or {}
        if len(g.get("stopSequences") or []) > 5:
            bad(("generationConfig", "stopSequences"), "at most 5 stop sequences are supported")
        if "" in (g.get("stopSequences") or []):
            bad(("generationConfig", "stopSequences"), "stop sequences must not be empty")
        if "responseSchema" in g:
            if "responseJsonSchema" in g:
                bad(("generationConfig",), "response_schema and response_json_schema cannot both be set")
            schema_rules(g["responseSchema"], ("generationConfig", "responseSchema"))
        if ("responseSchema" in g or "responseJsonSchema" in g) and g.get("responseMimeType") != "application/json":
            bad(("generationConfig",), "response_schema is only supported with response_mime_type application/json")
        if g.get("responseMimeType") == "application/json" and j.get("tools") and not is_gemini3(model):
            bad((), "Function calling with a response mime type: 'application/json' is unsupported")
        if g.get("logprobs") is not None and not g.get("responseLogprobs"):
            bad((), "Logprobs should only be set if response_logprobs is true")
        t = g.get("thinkingConfig") or {}
        if "thinkingBudget" in t and "thinkingLevel" in t:
            bad((), "You can only set only one of thinking budget and thinking level.")
        if "thinkingLevel" in t and not is_gemini3(model):
            bad((), "Thinking level is not supported for this model.")
        budget = t.get("thinkingBudget")
        if budget is not None:
            low, high = (128, 32768) if "pro" in model else (0, 24576)
            if budget != -1 and not low <= budget <= high and not (budget == 0 and "pro" not in model):
                bad((), f"The thinking budget {budget} is invalid. Please choose a value between {low} and {high}.")

    # reading
    def talk(self, j, model):
        c, t = Counter(), Talk(model)
        for p in (j.get("systemInstruction") or {}).get("parts") or []:
            t.system += c.text(p["text"])
        for i, content in enumerate(j.get("contents") or []):
            if content.get("role") == "model":
                t.results = []
                continue
            texts, images = [], []
            for p in content["parts"]:
                if "text" in p:
                    texts.append(c.text(p["text"]))
                elif "inlineData" in p:
                    images.append(c.image((p["inlineData"]["mimeType"], base64_bytes(p["inlineData"]["data"], ("contents", i), url_safe=True))))
                elif "fileData" in p:
                    images.append(c.image((None, p["fileData"]["fileUri"])))
                elif "functionResponse" in p:
                    t.results.append(c.text(result_text(p["functionResponse"]["response"])))
            if texts or images:
                t.prompt, t.images, t.results = " ".join(texts), images, []
        t.words, t.tag = c.words, tag_of(t.prompt)
        t.tools = [(d["name"], d.get("parametersJsonSchema") or d.get("parameters") or {})
                   for x in j.get("tools") or [] for d in x.get("functionDeclarations") or []]
        config = (j.get("toolConfig") or {}).get("functionCallingConfig") or {}
        t.no_tools = config.get("mode") == "NONE"
        if config.get("mode") == "ANY":
            names = config.get("allowedFunctionNames") or []
            t.forced = names[0] if len(names) == 1 else "any"
        g = j.get("generationConfig") or {}
        if g.get("responseMimeType") == "application/json":
            t.schema = g.get("responseJsonSchema") or g.get("responseSchema") or {}
        t.thinking = bool((g.get("thinkingConfig") or {}).get("includeThoughts"))
        return t

    # writing
    finishes = {"stop": "STOP", "tool": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}

    def call_parts(self, p, talk):
        out = []
        for i, (name, args) in enumerate(p.calls):
            part = {"functionCall": {"name": name, "args": args}}
            if is_gemini3(talk.model):
                part["functionCall"]["id"] = f"fc{i}x{len(name)}"
                if i == 0:
                    part["thoughtSignature"] = sign(canonical(name, args))
            out.append(part)
        return out

    def parts(self, p, talk):
        out = [{"text": "".join(p.thoughts or THOUGHTS), "thought": True}] if talk.thinking and (p.thoughts or p.calls) else []
        if p.text:
            out.append({"text": "".join(p.text), **({"thoughtSignature": sign("text")} if is_gemini3(talk.model) else {})})
        return out + self.call_parts(p, talk)

    def usage(self, p, out):
        u = {"promptTokenCount": p.prompt, "candidatesTokenCount": max(out - p.reasoning, 0), "totalTokenCount": p.prompt + out,
             "promptTokensDetails": [{"modality": "TEXT", "tokenCount": p.prompt}], "thoughtsTokenCount": p.reasoning}
        if p.cached:
            u["cachedContentTokenCount"] = p.cached
        return u

    def reply(self, p, talk, parts, finish, out=None):
        candidate = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], "usageMetadata": self.usage(p, p.out if out is None else out), "modelVersion": talk.model,
                "responseId": "fake1"}

    def chunks(self, p, talk):
        parts = [[{"text": x, "thought": True}] for x in (p.thoughts or THOUGHTS)] if talk.thinking and (p.thoughts or p.calls) else []
        parts += [[{"text": x}] for x in p.text]
        parts += [[x] for x in self.call_parts(p, talk)]
        for n, x in enumerate(parts):
            if p.error_mid and n == 4:
                yield {"error": {"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}}
                return
            yield self.reply(p, talk, x, None, p.reasoning + n)
        last = {"text": "", **({"thoughtSignature": sign("text")} if is_gemini3(talk.model) and p.text else {})}
        yield self.reply(p, talk, [last], self.finishes[p.finish])

    # the lesser operations
    def count(self, r, j, model):
        check(COUNT, j)
        inner = j.get("generateContentRequest") or j
        if "generateContentRequest" in j:
            check(GENERATE, inner)
        if not inner.get("contents"):
            bad(("contents",), "contents is not specified")
        talk = self.talk(inner, model)
        p = plan(talk)
        if p.error:
            return self.error(p.error)
        a = Answer(body={"totalTokens": talk.words, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": talk.words}]})
        a.plan, a.talk = p, talk
        return a

    def embedding(self, j):
        if any(k != "text" for k in kinds(j["content"])):
            bad(("content",), "only text can be embedded")
        text = "".join(p["text"] for p in j["content"]["parts"])
        if not text:
            bad(("content",), "content is empty")
        return text, {"values": vector_of(text, j.get("outputDimensionality") or 4)}

    def embedded(self, model, texts, body):
        c = Counter()
        for x in texts:
            c.text(x)
        talk = Talk(model, prompt=" ".join(texts), words=c.words, tag=tag_of(" ".join(texts)))
        p = plan(talk)
        if p.error:
            return self.error(p.error)
        p.out = p.reasoning = p.cached = 0
        return Answer(body={**body, "usageMetadata": {"promptTokenCount": c.words}}, plan=p, talk=talk)

    def embed(self, r, j, model):
        check(EMBED, j)
        text, e = self.embedding(j)
        return self.embedded(model, [text], {"embedding": e})

    def batch(self, r, j, model):
        check(BATCH, j)
        done = []
        for q in j["requests"]:
            if q["model"] != f"models/{model}":
                bad(("requests",), f"model of a request must match the batch: {q['model']}")
            done.append(self.embedding(q))
        return self.embedded(model, [t for t, _ in done], {"embeddings": [e for _, e in done]})
