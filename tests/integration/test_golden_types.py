"""What the golden cases say that OpenAI's forms write is what the official SDK's types accept.

Every member must be of the declared type, and none undeclared but those that the real answers of
OpenAI have beside the types, and what Lyss adds for signatures, pictures and cache writes
(KNOWN)."""
import json
import pathlib

import pydantic
import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
KNOWN = {"store", "reasoning_content", "reasoning_details", "images", "cache_write_tokens"}


def undeclared(value, path=""):
    if isinstance(value, pydantic.BaseModel):
        for name in value.model_extra or {}:
            if name not in KNOWN:
                yield f"{path}.{name}"
        for name in type(value).model_fields:
            yield from undeclared(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from undeclared(item, f"{path}[{i}]")


def check(kind, value):
    checked = pydantic.TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    assert not list(undeclared(checked))
    return checked


def cases(form, pattern, fields=("out",)):
    for path in sorted(GOLDEN.glob(f"*/{pattern}")):
        case = json.loads(path.read_text())
        if case["write"] == form and "out" in case:
            yield pytest.param(*(case.get(f, {}) for f in fields), id=f"{path.parent.name}/{path.name}")


@pytest.mark.parametrize("reply", list(cases("responses", "*.reply.json")))
def test_reply(reply):
    check(Response, reply)


@pytest.mark.parametrize("reply", list(cases("chat", "*.reply.json")))
def test_chat_reply(reply):
    check(ChatCompletion, reply)


@pytest.mark.parametrize("reply", list(cases("completions", "*.reply.json")))
def test_completion(reply):
    check(Completion, reply)


@pytest.mark.parametrize("reply, answer", list(cases("embeddings", "*.reply.json", ("out", "answer"))))
def test_embeddings(reply, answer):
    if answer.get("base64"):  # the SDK decodes it before its types see it
        for e in reply["data"]:
            assert isinstance(e["embedding"], str)
            e["embedding"] = []
    check(CreateEmbeddingResponse, reply)


@pytest.mark.parametrize("events", list(cases("chat", "*.stream.json")))
def test_chat_stream(events):
    assert events[-1] == "[DONE]"
    chunks = [check(ChatCompletionChunk, e) for e in events[:-1] if "comment" not in e]
    spoken = set()
    for chunk in chunks:
        for choice in chunk.choices:
            assert (choice.delta.role == "assistant") == (choice.index not in spoken)
            spoken.add(choice.index)
    assert len({(c.id, c.model, c.created) for c in chunks}) == 1


@pytest.mark.parametrize("events", list(cases("completions", "*.stream.json")))
def test_completion_stream(events):
    assert events[-1] == "[DONE]"
    for e in events[:-1]:
        for choice in e["choices"]:  # null until the end, which the type for whole answers has not
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        check(Completion, e)


@pytest.mark.parametrize("events", list(cases("responses", "*.stream.json")))
def test_stream(events):
    kinds = [check(ResponseStreamEvent, e) for e in events if "comment" not in e]
    assert [e.sequence_number for e in kinds] == list(range(len(kinds)))
    assert [e.type for e in kinds[:2]] == ["response.created", "response.in_progress"]
    last = kinds[-1]
    assert last.type in ("response.completed", "response.incomplete")
    done = [e.item for e in kinds if e.type == "response.output_item.done"]
    assert last.response.output == done
