"""Is an answer what the SDK's own types allow, with nothing besides?

The Python SDKs ship pydantic models.  OpenAI's and Anthropic's let unknown
keys pass; here each of those is a problem, but for the fields that providers
add and document themselves.
"""
import typing

import pydantic
from anthropic.types import Message, RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

# Fields of chat completions that DeepSeek and others document.
VENDOR = {"reasoning_content", "reasoning_details"}
# What OpenAI's Responses say, in recorded traffic, beside what the SDK's types know.
RECORDED = {"store", "obfuscation"}

TYPES = {"chat": (ChatCompletion, ChatCompletionChunk), "responses": (Response, ResponseStreamEvent),
         "messages": (Message, RawMessageStreamEvent), "gemini": (GenerateContentResponse, GenerateContentResponse),
         "completions": (Completion, Completion), "embeddings": (CreateEmbeddingResponse, None)}


def by_type(union):
    """The members of a union of events, by what their `type` says."""
    members = typing.get_args(typing.get_args(union)[0])
    return {name: m for m in members for name in typing.get_args(m.model_fields["type"].annotation)}


EVENTS = {"responses": by_type(ResponseStreamEvent), "messages": by_type(RawMessageStreamEvent)}


def extras(value, path=""):
    """Paths of the keys that a model did not know."""
    if isinstance(value, pydantic.BaseModel):
        for k in value.model_extra or {}:
            if k not in VENDOR | RECORDED:
                yield f"{path}.{k}"
        for k in type(value).model_fields:
            yield from extras(getattr(value, k, None), f"{path}.{k}")
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from extras(v, f"{path}[{i}]")
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from extras(v, f"{path}.{k}")


def problems(kind, doc, event=False):
    """What an SDK's types object to; empty is good."""
    if kind == "messages" and event and doc.get("type") in ("ping", "error"):
        return []                                  # known to the SDK's stream reader, not among its types
    model = TYPES[kind][event]
    if event and kind in EVENTS:
        model = EVENTS[kind].get(doc.get("type"))
        if not model:
            return [f"type: no event is called {doc.get('type')!r}"]
    try:
        value = model.model_validate(doc)
    except pydantic.ValidationError as e:
        return [f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in e.errors()[:5]]
    return list(extras(value))
