"""Answers of Lyss in OpenAI's dialect, from every upstream wire and scenario, for a look at their form."""
from .fake.scenario import TEXT
from .seen import ask

MODELS = {"openai-chat": "gpt-4.1", "openai-responses": "gpt-5.4", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-3-pro-preview",
          "deepseek": "deepseek-v4-pro"}
SCENARIOS = ["text", "tool", "parallel", "empty", "thinking", "refusal", "length", "structured"]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
NAMES = ("weather", "clock")


def channels(lyss, fake):
    lyss.channel("openai-chat", fake.base("openai"), "gpt-4.1", "gpt-3.5-turbo-instruct", "text-embedding-3-small", provider="openai",
                 args=("--op", "chat", "--op", "completions", "--op", "embeddings"))
    lyss.channel("openai-responses", fake.base("openai"), "gpt-5.4", provider="openai", args=("--op", "responses"))
    lyss.channel("anthropic", fake.base("anthropic"), "claude-sonnet-4-5", provider="anthropic")
    lyss.channel("gemini", fake.base("gemini"), "gemini-3-pro-preview", "gemini-embedding-001", provider="google")
    lyss.channel("deepseek", fake.base("deepseek"), "deepseek-v4-pro", provider="deepseek")
    lyss.caught_up()


def chat_body(model, scenario, stream):
    b = {"model": model, "messages": [{"role": "user", "content": f"scenario:{scenario} answer in JSON"}], "stream": stream}
    if stream:
        b["stream_options"] = {"include_usage": True}
    if scenario in ("tool", "parallel", "empty"):
        b["tools"] = [{"type": "function", "function": {"name": n, "parameters": SCHEMA}} for n in NAMES]
    if scenario == "thinking" and model != "gpt-4.1":
        b["reasoning_effort"] = "medium"
    if scenario == "structured":
        b["response_format"] = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}
    return b


def response_body(model, scenario, stream):
    b = {"model": model, "input": f"scenario:{scenario} answer in JSON", "stream": stream, "store": False}
    if scenario in ("tool", "parallel", "empty"):
        b["tools"] = [{"type": "function", "name": n, "parameters": SCHEMA, "strict": True} for n in NAMES]
        b["tool_choice"] = "auto"
    if scenario == "thinking" and model != "gpt-4.1":
        b.update(reasoning={"effort": "medium", "summary": "auto"}, include=["reasoning.encrypted_content"])
    if scenario == "structured":
        b["text"] = {"format": {"type": "json_schema", "name": "place", "strict": True, "schema": SCHEMA}}
    return b


BODIES = {"chat": chat_body, "responses": response_body}


def answer(lyss, dialect, wire, scenario, stream):
    """The documents of one answer."""
    r, docs, said = ask(lyss, dialect, MODELS[wire], stream, BODIES[dialect](MODELS[wire], scenario, stream))
    assert r.status == 200, r
    assert said.ends == 1 and not said.errors, docs[-1]
    if scenario == "text":
        assert said.text == TEXT
    return docs


def others(lyss):
    """(kind, document, is it an event) of embeddings and completions, whole: OpenAI's own streams of completions break its types."""
    for model in ("text-embedding-3-small", "gemini-embedding-001"):
        r = lyss.post("/v1/embeddings", {"model": model, "input": ["a", "bc"]})
        assert r.status == 200, r
        yield "embeddings", r.json, False
    body = {"model": "gpt-3.5-turbo-instruct", "prompt": "hello"}
    yield "completions", lyss.post("/v1/completions", body).json, False
