"""The strict fake itself: what each wire lets in, what it refuses and in whose words, and what it says."""
import copy
import json

import pytest
from lib import http
from lib.fake.scenario import TEXT, THOUGHTS, canonical, sign
from lib.upstream import PROVIDER_KEY

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED = {**SCHEMA, "additionalProperties": False}
HI = "scenario:tool tag:t1 Weather in Paris?"
CHAT = {"model": "gpt-4.1", "messages": [{"role": "user", "content": HI}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]}
RESPONSES = {"model": "gpt-5.4", "input": [{"role": "user", "content": HI}], "store": False, "include": ["reasoning.encrypted_content"],
             "tools": [{"type": "function", "name": "weather", "parameters": CLOSED, "strict": True}]}
MESSAGES = {"model": "claude-sonnet-4-5", "max_tokens": 2000, "messages": [{"role": "user", "content": HI}],
            "tools": [{"name": "weather", "input_schema": SCHEMA}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": HI}]}],
          "tools": [{"functionDeclarations": [{"name": "weather", "parameters": SCHEMA}]}]}
BASES = {"openai": ("/openai/v1/chat/completions", CHAT), "responses": ("/openai/v1/responses", RESPONSES),
         "compatible": ("/compatible/v1/chat/completions", CHAT),
         "azure": ("/azure/openai/deployments/gpt-4.1-azure/chat/completions?api-version=2024-10-21", CHAT),
         "deepseek": ("/deepseek/chat/completions", {**CHAT, "model": "deepseek-reasoner"}),
         "anthropic": ("/anthropic/v1/messages", MESSAGES), "gemini": ("/gemini/v1beta/models/gemini-2.5-flash:generateContent", GEMINI),
         "gemini3": ("/gemini/v1beta/models/gemini-3-pro:generateContent", GEMINI)}
KEYS = {"azure": ("api-key", PROVIDER_KEY), "anthropic": ("x-api-key", PROVIDER_KEY), "gemini": ("x-goog-api-key", PROVIDER_KEY),
        "gemini3": ("x-goog-api-key", PROVIDER_KEY)}
BEARER = ("Authorization", f"Bearer {PROVIDER_KEY}")


@pytest.fixture
def call(fake):
    def go(wire, body, path=None, headers=None):
        extra = [KEYS.get(wire, BEARER)] + ([("anthropic-version", "2023-06-01")] if wire == "anthropic" else [])
        with http.Client("127.0.0.1", fake.port) as c:
            return c.request("POST", path or BASES[wire][0], body, extra if headers is None else headers)
    return go


def body(wire, **changes):
    b = copy.deepcopy(BASES[wire][1])
    for k, v in changes.items():
        if v is None:
            b.pop(k)
        else:
            b[k] = v
    return b


def message_of(r):
    j = r.json
    return (j.get("error") or {}).get("message", "")


@pytest.mark.parametrize("wire", BASES)
def test_a_good_request_calls_the_tool(call, fake, wire):
    r = call(wire, body(wire))
    assert r.status == 200, r
    assert '"Paris"' in r.body.decode().replace("\\", "")
    e = fake.oracle("t1")[-1]
    assert e["usage"]["prompt"] == 5 and e["refused"] is None
    fake.wait(lambda: fake.oracle("t1")[-1]["outcome"] == "complete")


def turn(role, *blocks):
    return {"role": role, "content": list(blocks)}


USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "21"}
T = {"type": "text", "text": "hello"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": sign("hm")}
ON = {"type": "enabled", "budget_tokens": 1024}
USER = turn("user", T)
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}}
ASKED = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
FC = {"functionCall": {"name": "weather", "args": {"city": "Paris"}}}
FR = {"functionResponse": {"name": "weather", "response": {"output": "21"}}}
Q = {"role": "user", "parts": [{"text": "hi"}]}
RS = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sign("".join(THOUGHTS))}
FCALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"}
FOUT = {"type": "function_call_output", "call_id": "call_1", "output": "21"}


def declared(schema):
    return [{"functionDeclarations": [{"name": "weather", "parameters": schema}]}]


def config(**kw):
    return {"generationConfig": kw}


# wire, what is changed, the words of the refusal (None: it must be let in)
CASES = [
    ("openai", {"foo": 1}, "Unknown parameter: 'foo'."),
    ("openai", {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]}]},
     "Unknown parameter: 'messages[0].content[0].cache_control'."),
    ("openai", {"messages": [{"role": "critic", "content": "x"}]}, "Invalid value: 'critic'"),
    ("openai", {"messages": None}, "Missing required parameter: 'messages'."),
    ("openai", {"messages": []}, "empty array"),
    ("openai", {"temperature": "warm"}, "Invalid type for 'temperature'"),
    ("openai", {"model": "o4-mini", "max_tokens": 5}, "Use 'max_completion_tokens' instead."),
    ("openai", {"model": "gpt-5", "temperature": 0.5}, "Only the default (1) value is supported."),
    ("openai", {"model": "gpt-5.4", "reasoning_effort": "low"}, "Please use /v1/responses instead."),
    ("openai", {"model": "gpt-5", "max_completion_tokens": 5}, None),
    ("openai", {"messages": [{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "call_1", "content": "21"}]},
     "must be a response to a preceeding message"),
    ("openai", {"messages": ASKED + [{"role": "user", "content": "so?"}]}, "did not have response messages: call_1"),
    ("openai", {"messages": ASKED + [{"role": "tool", "tool_call_id": "call_1", "content": "21"}]}, None),
    ("openai", {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "does not match pattern"),
    ("openai", {"tools": None, "tool_choice": "auto"}, "only allowed when 'tools'"),
    ("openai", {"stream_options": {"include_usage": True}}, "only allowed when 'stream'"),
    ("openai", {"response_format": {"type": "json_object"}}, "must contain the word 'json'"),
    ("openai", {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}},
     "'additionalProperties' is required"),
    ("compatible", {"max_completion_tokens": 5}, "Unknown parameter"),
    ("compatible", {"messages": [{"role": "developer", "content": "x"}]}, "Invalid value: 'developer'"),
    ("compatible", {"max_tokens": 5}, None),
    ("responses", {"max_tokens": 5}, "Unknown parameter: 'max_tokens'."),
    ("responses", {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]}, "Supported values are: 'output_text'"),
    ("responses", {"input": [{"role": "user", "content": "x"}, FOUT]}, "No tool call found"),
    ("responses", {"input": [{"role": "user", "content": "x"}, FCALL]}, "No tool output found"),
    ("responses", {"input": [{"role": "user", "content": "x"}, {**FCALL, "id": "call_1"}, FOUT]}, "Expected an ID that begins with 'fc'."),
    ("responses", {"input": [{"role": "user", "content": "x"}, {**RS, "encrypted_content": "forged"}, FCALL, FOUT]}, "could not be verified"),
    ("responses", {"input": [{"role": "user", "content": "x"}, RS]}, "without its required following item"),
    ("responses", {"input": [{"role": "user", "content": "x"}, RS, FCALL, FOUT]}, None),
    ("responses", {"temperature": 0.2}, "'temperature' is not supported with this model."),
    ("responses", {"max_output_tokens": 5}, "value below minimum"),
    ("anthropic", {"max_tokens": None}, "max_tokens: Field required"),
    ("anthropic", {"n": 2}, "n: Extra inputs are not permitted"),
    ("anthropic", {"messages": [turn("assistant", T)]}, "first message must use the \"user\" role"),
    ("anthropic", {"messages": [USER, USER]}, "roles must alternate"),
    ("anthropic", {"messages": [{"role": "system", "content": "x"}]}, "Input should be 'user' or 'assistant'"),
    ("anthropic", {"messages": [turn("user", {"type": "text", "text": ""})]}, "text content blocks must be non-empty"),
    ("anthropic", {"messages": [USER, turn("user", RESULT)]}, "roles must alternate"),
    ("anthropic", {"messages": [turn("user", RESULT)]}, "unexpected `tool_use_id`"),
    ("anthropic", {"messages": [USER, turn("assistant", USE), turn("user", T, RESULT)]}, "must come first"),
    ("anthropic", {"messages": [USER, turn("assistant", USE), turn("user", T)]}, "without `tool_result` blocks"),
    ("anthropic", {"messages": [USER, turn("assistant", USE), turn("user", RESULT, T)]}, None),
    ("anthropic", {"tools": None, "messages": [USER, turn("assistant", USE), turn("user", RESULT)]}, "must define tools"),
    ("anthropic", {"thinking": ON, "messages": [USER, turn("assistant", USE), turn("user", RESULT)]}, "Expected `thinking`"),
    ("anthropic", {"thinking": ON, "messages": [USER, turn("assistant", THOUGHT, USE), turn("user", RESULT)]}, None),
    ("anthropic", {"messages": [USER, turn("assistant", {**THOUGHT, "thinking": "hmm"}, USE), turn("user", RESULT)]}, "Invalid `signature`"),
    ("anthropic", {"messages": [USER, turn("assistant", {"type": "thinking", "thinking": "hm"}, T), USER]}, "signature: Field required"),
    ("anthropic", {"thinking": ON, "temperature": 0.5}, "may only be set to 1"),
    ("anthropic", {"thinking": ON, "max_tokens": 1024}, "must be greater than `thinking.budget_tokens`"),
    ("anthropic", {"thinking": ON, "tool_choice": {"type": "any"}}, "Thinking may not be enabled"),
    ("anthropic", {"thinking": {"type": "adaptive"}}, "not supported on this model"),
    ("anthropic", {"model": "claude-opus-4-7", "thinking": ON}, "Use \"thinking.type.adaptive\""),
    ("anthropic", {"model": "claude-opus-4-7", "temperature": 0.5}, "deprecated for this model"),
    ("anthropic", {"model": "claude-opus-4-7", "thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, None),
    ("anthropic", {"temperature": 0.5, "top_p": 0.5}, "cannot both be specified"),
    ("anthropic", {"temperature": 1.5}, "less than or equal to 1"),
    ("anthropic", {"messages": [turn("user", *[{**T, "cache_control": {"type": "ephemeral"}}] * 5)]}, "Found 5"),
    ("anthropic", {"messages": [USER, turn("assistant", {"type": "text", "text": "so "})]}, "trailing whitespace"),
    ("anthropic", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, "'additionalProperties'"),
    ("anthropic", {"tool_choice": {"type": "tool", "name": "news"}}, "not found in provided tools"),
    ("anthropic", {"stop_sequences": [" "]}, "non-whitespace"),
    ("gemini", {"contents": []}, "contents is not specified"),
    ("gemini", {"stream": True}, "Unknown name \"stream\""),
    ("gemini", {"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "Please use a valid role"),
    ("gemini", {"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
    ("gemini", {"tools": declared({**SCHEMA, "additionalProperties": False})}, "Unknown name \"additionalProperties\""),
    ("gemini", {"tools": declared({"type": "object", "properties": {"a": {"$ref": "#/x"}}})}, "Unknown name \"$ref\""),
    ("gemini", {"tools": declared({**SCHEMA, "$schema": "x"})}, "Unknown name \"$schema\""),
    ("gemini", {"tools": declared({"type": "object", "properties": {"a": {"const": "x"}}})}, "Unknown name \"const\""),
    ("gemini", {"tools": declared({"type": "object", "properties": {"a": {"type": ["string", "null"]}}})}, "Invalid value at"),
    ("gemini", {"tools": declared({"type": "object", "properties": {"a": {"type": "integer", "enum": [1]}}})}, "only allowed for STRING"),
    ("gemini", {"tools": declared({"type": "object", "properties": {"a": {"type": "array"}}})}, "items: missing field"),
    ("gemini", {"tools": declared({"type": "object", "properties": {"a": {"type": "string", "format": "uri"}}})}, "only 'enum' and"),
    ("gemini", {"tools": declared({"type": "object", "properties": {}})}, "should be non-empty"),
    ("gemini", {"tools": [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": CLOSED}]}]}, None),
    ("gemini", {"tools": declared(SCHEMA) * 2}, "Multiple tools"),
    ("gemini", config(thinkingConfig={"thinkingBudget": 0, "thinkingLevel": "low"}), "only set only one"),
    ("gemini", config(thinkingConfig={"thinkingLevel": "low"}), "not supported for this model"),
    ("gemini", config(stopSequences=list("abcdef")), "at most 5"),
    ("gemini", config(responseSchema=SCHEMA), "response_mime_type"),
    ("gemini", {"tools": None, **config(responseJsonSchema=CLOSED, responseMimeType="application/json")}, None),
    ("gemini", {"contents": [Q, {"role": "model", "parts": [FC]}, {"role": "user", "parts": [FR]}]}, None),
    ("gemini", {"contents": [Q, {"role": "model", "parts": [FC]}, {"role": "user", "parts": [FR, {"text": "x"}]}]}, "turn of their own"),
    ("gemini", {"contents": [Q, {"role": "model", "parts": [FC, FC]}, {"role": "user", "parts": [FR]}]}, "number of function response"),
    ("gemini", {"contents": [Q, {"role": "model", "parts": [FC]}, {"role": "user", "parts": [
        {"functionResponse": {"name": "news", "response": {}}}]}]}, "does not match"),
    ("gemini", {"contents": [Q, {"role": "model", "parts": [FC]}, Q]}, "function response turn"),
    ("gemini", {"contents": [Q, {"role": "user", "parts": [{"fileData": {"fileUri": "http://x.example/a.png"}}]}]}, "unsupported file uri"),
    ("gemini3", {"contents": [Q, {"role": "model", "parts": [FC]}, {"role": "user", "parts": [FR]}]}, "missing a `thought_signature`"),
    ("gemini3", {"contents": [Q, {"role": "model", "parts": [{**FC, "thoughtSignature": sign("other")}]}, {"role": "user", "parts": [FR]}]},
     "signature is not valid"),
    ("gemini3", {"contents": [Q, {"role": "model", "parts": [{**FC, "thoughtSignature": sign(canonical("weather", {"city": "Paris"}))}]},
                              {"role": "user", "parts": [FR]}]}, None),
    ("gemini3", {"contents": [Q, {"role": "model", "parts": [{**FC, "thoughtSignature": "skip_thought_signature_validator"}]},
                              {"role": "user", "parts": [FR]}]}, None),
    ("deepseek", {"tool_choice": "required"}, "does not support this tool_choice"),
    ("deepseek", {"tool_choice": "required", "thinking": {"type": "disabled"}}, None),
    ("deepseek", {"messages": ASKED + [{"role": "tool", "tool_call_id": "call_1", "content": "21"}]}, "Missing `reasoning_content`"),
    ("deepseek", {"messages": [ASKED[0], {**ASKED[1], "reasoning_content": "".join(THOUGHTS)},
                               {"role": "tool", "tool_call_id": "call_1", "content": "21"}]}, None),
    ("deepseek", {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}, "Failed to deserialize"),
    ("deepseek", {"max_completion_tokens": 5}, "Failed to deserialize"),
    ("azure", {"messages": [{"role": "critic", "content": "x"}]}, "Invalid value: 'critic'"),
]


@pytest.mark.parametrize("wire, changes, words", CASES, ids=[f"{c[0]}-{n}" for n, c in enumerate(CASES)])
def test_rules(call, wire, changes, words):
    r = call(wire, body(wire, **changes))
    if words is None:
        assert r.status == 200, r
    else:
        assert r.status in (400, 422) and words in message_of(r), r


@pytest.mark.parametrize("wire", BASES)
def test_wrong_carrier(call, fake, wire):
    right = KEYS.get(wire, BEARER)
    version = [("anthropic-version", "2023-06-01")] if wire == "anthropic" else []
    wrong = [("api-key", PROVIDER_KEY)] if wire != "azure" else [("x-api-key", PROVIDER_KEY)]
    assert call(wire, body(wire), headers=version).status in (401, 403)
    assert call(wire, body(wire), headers=version + wrong).status == 401
    assert call(wire, body(wire), headers=version + [right] + ([BEARER] if right != BEARER else [("x-api-key", PROVIDER_KEY)])).status == 401
    assert call(wire, body(wire), headers=version + [(right[0], right[1] + "x")]).status in (400, 401)


def test_anthropic_version(call):
    r = call("anthropic", body("anthropic"), headers=[KEYS["anthropic"]])
    assert r.status == 400 and message_of(r).startswith("anthropic-version")


def test_azure_paths(call):
    for path, status in (("/azure/openai/deployments/nobody/chat/completions?api-version=2024-10-21", 404),
                         ("/azure/openai/deployments/gpt-4.1-azure/chat/completions", 404),
                         ("/azure/openai/v1/chat/completions", 200)):
        assert call("azure", body("azure"), path).status == status, path


SAY = {"openai": ("/openai/v1/chat/completions", {"model": "gpt-4.1", "messages": [{"role": "user", "content": "?"}]}),
       "responses": ("/openai/v1/responses", {"model": "gpt-5.4", "input": "?"}),
       "deepseek": ("/deepseek/chat/completions", {"model": "deepseek-chat", "messages": [{"role": "user", "content": "?"}]}),
       "anthropic": ("/anthropic/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 9000, "messages": [
           {"role": "user", "content": "?"}]}),
       "gemini": ("/gemini/v1beta/models/gemini-2.5-flash:generateContent", {"contents": [{"role": "user", "parts": [{"text": "?"}]}]})}


def say(call, wire, prompt, stream=False):
    path, b = SAY[wire]
    b = json.loads(json.dumps(b).replace('"?"', json.dumps(prompt)))
    if wire == "gemini":
        path = path.replace(":generate", ":streamGenerate") + "?alt=sse" if stream else path
    elif stream:
        b["stream"] = True
    return call(wire, b, path)


@pytest.mark.parametrize("wire", SAY)
def test_text(call, wire):
    assert json.dumps(TEXT)[1:-1].encode() in say(call, wire, "hello").body.replace("ünïcode".encode(), b"\\u00fcn\\u00efcode").replace(
        "漢字".encode(), b"\\u6f22\\u5b57")
    raw = say(call, wire, "hello", stream=True)
    assert raw.header("content-type").startswith("text/event-stream")
    text = ""
    for line in raw.body.decode().splitlines():
        if line.startswith("data: {"):
            d = json.loads(line[6:])
            for c in d.get("choices") or []:
                text += c["delta"].get("content") or ""
            for c in d.get("candidates") or []:
                text += "".join(p.get("text", "") for p in c["content"]["parts"])
            if d.get("type") == "response.output_text.delta":
                text += d["delta"]
            if d.get("type") == "content_block_delta":
                text += d["delta"].get("text", "")
    assert text == TEXT


@pytest.mark.parametrize("wire", SAY)
@pytest.mark.parametrize("name", ["400", "400-context", "404", "429", "500", "529"])
def test_errors(call, wire, name):
    r = say(call, wire, f"scenario:error-{name}")
    wanted = int(name[:3])
    assert r.status == (wanted if wire == "anthropic" or wanted != 529 else 503)
    e = r.json["error"]
    assert e["message"]
    assert r.json.get("type") == "error" if wire == "anthropic" else e["code"] == r.status if wire == "gemini" else "param" in e
    if name == "429":
        assert r.header("retry-after") == "7" or e["details"][0]["retryDelay"] == "7s"
