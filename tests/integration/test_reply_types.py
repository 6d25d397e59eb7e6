"""OpenAI's dialect, whichever wire is behind it, in the types that the Python SDK ships: no key more, no type else."""
import pytest
from lib import replies, sdk_types
from lib.fake import Fake
from lib.lyss import Lyss


@pytest.fixture(scope="module")
def lyss():
    with Fake() as fake, Lyss() as l:
        replies.channels(l, fake)
        yield l
    assert fake.violations == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scenario", replies.SCENARIOS)
@pytest.mark.parametrize("wire", replies.MODELS)
@pytest.mark.parametrize("dialect", replies.BODIES)
def test_types(lyss, dialect, wire, scenario, stream):
    docs = replies.answer(lyss, dialect, wire, scenario, stream)
    own = (dialect, wire) in (("chat", "deepseek"),)          # its own fields pass through as they are
    bad = [(p, d) for d in docs for p in sdk_types.problems(dialect, d, stream) if not (own and is_deepseek(p))]
    assert not bad, bad[:3]


def is_deepseek(problem):
    return problem.endswith((".prompt_cache_hit_tokens", ".prompt_cache_miss_tokens", ".tool_calls[0].index", ".tool_calls[1].index"))


def test_embeddings_and_completions(lyss):
    for kind, doc, event in replies.others(lyss):
        assert sdk_types.problems(kind, doc, event) == []


@pytest.mark.parametrize("kind, doc, event, problem", [
    ("chat", {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [], "extra": 1}, False, ".extra"),
    ("chat", {"id": "x", "object": "chat.completion", "created": "soon", "model": "m", "choices": []}, False, "created: "),
    ("chat", {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "finish_reason": None, "delta": {"content": "x", "thoughts": "y"}}]}, True, ".choices[0].delta.thoughts"),
    ("responses", {"type": "response.output_text.delta", "delta": "x"}, True, "item_id"),
    ("responses", {"type": "response.output_text.deltas", "delta": "x"}, True, "no event is called"),
    ("messages", {"type": "message_stop", "why": 1}, True, ".why"),
    ("gemini", {"candidates": [{"contents": {}}]}, False, "Extra inputs"),
])
def test_the_check_itself(kind, doc, event, problem):
    assert any(problem in p for p in sdk_types.problems(kind, doc, event))
