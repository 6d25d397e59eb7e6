"""The official OpenAI SDK for Python, pointed at Lyss by its base URL alone."""
import json

import openai
import pytest
from lib.upstream import PIECES

TEXT = "".join(PIECES)
HI = [{"role": "user", "content": "Say hello."}]
TOOLS = [{"type": "function", "function": {"name": n, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
         for n in ("get_weather", "get_time", "get_news")]


@pytest.fixture
def sdk(lyss):
    with openai.OpenAI(base_url=lyss.url + "/v1", api_key=lyss.key, max_retries=0, timeout=15) as c:
        yield c


def test_chat(sdk, up, name):
    m = name()
    r = sdk.chat.completions.create(model=m, messages=HI)
    assert r.choices[0].message.content == TEXT and r.choices[0].finish_reason == "stop"
    u = up.of(m)[0].usage
    assert (r.usage.prompt_tokens, r.usage.completion_tokens) == (u["prompt_tokens"], u["completion_tokens"])
    assert r._request_id


def test_stream(sdk, lyss, up, name):
    chunks = list(sdk.chat.completions.create(model=name(), messages=HI, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == TEXT
    assert chunks[-1].choices[0].finish_reason == "stop" and all(c.choices for c in chunks)


def test_stream_with_usage(sdk, up, name):
    m = name()
    chunks = list(sdk.chat.completions.create(model=m, messages=HI, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == up.of(m)[0].usage["completion_tokens"]


@pytest.mark.parametrize("n", [1, 3])
def test_tools(sdk, up, name, n):
    m = up.on(name(), tools=n)
    calls = sdk.chat.completions.create(model=m, messages=HI, tools=TOOLS).choices[0].message.tool_calls
    assert [json.loads(c.function.arguments)["city"] for c in calls] == [f"City {i}" for i in range(n)]
    assert len(up.of(m)[0].json["tools"]) == 3


@pytest.mark.parametrize("n", [1, 3])
def test_streamed_tools(sdk, up, name, n):
    m = up.on(name(), tools=n)
    with sdk.chat.completions.stream(model=m, messages=HI, tools=TOOLS) as s:
        kinds = {e.type for e in s}
        message = s.get_final_completion().choices[0].message
    assert "tool_calls.function.arguments.done" in kinds
    assert [c.id for c in message.tool_calls] == [f"call_{i}" for i in range(n)]
    assert [json.loads(c.function.arguments)["city"] for c in message.tool_calls] == [f"City {i}" for i in range(n)]


def test_completions(sdk, name):
    assert sdk.completions.create(model=name(), prompt="x").choices[0].text == TEXT
    assert "".join(c.choices[0].text for c in sdk.completions.create(model=name(), prompt="x", stream=True)) == TEXT


def test_embeddings(sdk, up, name):
    m = name()
    r = sdk.embeddings.create(model=m, input=["a b", "c"])
    assert [d.embedding for d in r.data] == [[0.25, -0.5, 1.0]] * 2 and r.usage.prompt_tokens == 3
    assert up.of(m)[0].json["encoding_format"] == "base64"


def test_models(sdk):
    ids = [m.id for m in sdk.models.list()]
    assert ids[0] == "demo" and "listed-one" in ids
    assert sdk.models.retrieve("listed-one").id == "listed-one"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("no-such-model")


def test_responses(sdk, name):
    r = sdk.responses.create(model=name("r"), input="hello there")
    assert r.output_text == TEXT and r.usage.input_tokens == 2
    with sdk.responses.stream(model=name("r"), input="hello") as s:
        deltas = "".join(e.delta for e in s if e.type == "response.output_text.delta")
        assert deltas == TEXT and s.get_final_response().status == "completed"


UPSTREAM_ERRORS = [(400, openai.BadRequestError, 400), (404, openai.NotFoundError, 404), (422, openai.UnprocessableEntityError, 422),
                   (429, openai.RateLimitError, 429), (500, openai.InternalServerError, 500), (503, openai.InternalServerError, 503),
                   (401, openai.InternalServerError, 502), (402, openai.InternalServerError, 502), (403, openai.InternalServerError, 502)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status, kind, seen", UPSTREAM_ERRORS)
def test_errors_of_the_upstream(sdk, up, name, status, kind, seen, stream):
    m = up.on(name(), status=status)
    with pytest.raises(kind) as e:
        sdk.chat.completions.create(model=m, messages=HI, stream=stream)
    assert e.value.status_code == seen and type(e.value) is kind
    if status in (401, 402, 403):
        assert e.value.code == "provider_credential_error"
    elif status < 500:
        assert f"upstream says {status}" in e.value.message


def test_errors_of_our_own(lyss, sdk, name):
    with openai.OpenAI(base_url=lyss.url + "/v1", api_key="lyss_nonsense", max_retries=0) as c:
        with pytest.raises(openai.AuthenticationError):
            c.chat.completions.create(model=name(), messages=HI)
    from test_timers import made_key
    key = made_key(lyss, name("narrow"), "--models", "listed-one")
    with openai.OpenAI(base_url=lyss.url + "/v1", api_key=key, max_retries=0) as c:
        with pytest.raises(openai.PermissionDeniedError):
            c.chat.completions.create(model=name(), messages=HI)
    with pytest.raises(openai.NotFoundError) as e:
        sdk.chat.completions.create(model="no-such-model", messages=HI)
    assert e.value.code == "model_not_found" and "listed-one" in e.value.message
    with pytest.raises(openai.APIConnectionError):
        openai.OpenAI(base_url="http://127.0.0.1:1/v1", api_key="x", max_retries=0).models.list()


def test_a_broken_stream_raises(sdk, up, name):
    m = up.on(name(), fault="fin", after=5)
    got = ""
    with pytest.raises(openai.APIError):
        for c in sdk.chat.completions.create(model=m, messages=HI, stream=True):
            got += c.choices[0].delta.content or ""
    assert got and TEXT.startswith(got)


def test_retry_after_is_obeyed(lyss, up, name):
    m, seen = name(), []

    async def script(r, conn):
        from lib.upstream import Script, play
        seen.append(r.at)
        await play(Script(status=429, headers=(("retry-after-ms", "300"),)) if len(seen) < 2 else Script(), r, conn)
    up.on(m, script)
    with openai.OpenAI(base_url=lyss.url + "/v1", api_key=lyss.key, max_retries=3) as c:
        raw = c.chat.completions.with_raw_response.create(model=m, messages=HI)
    assert raw.parse().choices[0].message.content == TEXT and len(seen) == 2 and seen[1] - seen[0] >= 0.3


def test_abort(sdk, lyss, up, name):
    from conftest import slack
    m = up.on(name(), chunk_delay=0.02, text=tuple(PIECES) * 50)
    s = sdk.chat.completions.create(model=m, messages=HI, stream=True)
    for i, _ in enumerate(s):
        if i == 3:
            s.close()
            break
    up.wait(lambda: up.of(m)[0].gone_at, slack(1), "the upstream to be let go")
    assert lyss.row_of_model(m)["state"] == "client_gone"


def test_azure_client(lyss, up, name):
    m = name()
    with openai.AzureOpenAI(azure_endpoint=lyss.url, api_key=lyss.key, api_version="2024-10-21", max_retries=0) as c:
        assert c.chat.completions.create(model=m, messages=HI).choices[0].message.content == TEXT
        assert len(c.embeddings.create(model=m, input="x").data) == 1
    assert [r.model for r in up.of(m)] == [m, m]


def test_async_client(lyss, name):
    import asyncio

    async def go():
        async with openai.AsyncOpenAI(base_url=lyss.url + "/v1", api_key=lyss.key, max_retries=0) as c:
            rs = await asyncio.gather(*(c.chat.completions.create(model=name(), messages=HI) for _ in range(20)))
            return {r.choices[0].message.content for r in rs}
    assert asyncio.run(go()) == {TEXT}
