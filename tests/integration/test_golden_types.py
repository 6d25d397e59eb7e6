"""What the golden cases say the Responses form writes is what the official SDK's types accept.

Every member must be of the declared type, and none undeclared but those that the real answers of
OpenAI have beside the types (KNOWN)."""
import json
import pathlib

import pydantic
import pytest
from openai.types.responses import Response, ResponseStreamEvent

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "responses"
KNOWN = {"store"}


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


def cases(pattern):
    for path in sorted(GOLDEN.glob(pattern)):
        case = json.loads(path.read_text())
        if case["write"] == "responses" and "out" in case:
            yield pytest.param(case["out"], id=path.name)


@pytest.mark.parametrize("reply", list(cases("*.reply.json")))
def test_reply(reply):
    check(Response, reply)


@pytest.mark.parametrize("events", list(cases("*.stream.json")))
def test_stream(events):
    kinds = [check(ResponseStreamEvent, e) for e in events if "comment" not in e]
    assert [e.sequence_number for e in kinds] == list(range(len(kinds)))
    assert [e.type for e in kinds[:2]] == ["response.created", "response.in_progress"]
    last = kinds[-1]
    assert last.type in ("response.completed", "response.incomplete")
    done = [e.item for e in kinds if e.type == "response.output_item.done"]
    assert last.response.output == done
