"""The `google-genai` package: generate_content, its stream, embeddings and counting, on every wire."""
import asyncio
import json

from google import genai
from google.genai import errors, types
from matrix import ANSWERS, CALLED, ENV, PNG, SEEN, SYSTEM, TEXT, THOUGHTS, TOOLS, WEATHER, NotApplicable, main, raises, same

TOOL_LIST = [types.Tool(function_declarations=[
    types.FunctionDeclaration(name=n, description=d, parameters_json_schema=s) for n, d, s in TOOLS])]


def make(key):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=ENV["url"], timeout=30000))


def parts_of(r):
    return [p for p in r.candidates[0].content.parts or []]


class Generate:
    lacks = {}

    def __init__(self):
        self.client = make(ENV["key"])
        self.sdk = self.client.aio

    async def close(self):
        await self.sdk.aclose()

    async def ask(self, sdk, model, prompt):
        return await sdk.models.generate_content(model=model, contents=prompt)

    def config(self, **kw):
        return types.GenerateContentConfig(system_instruction=SYSTEM,
                                           automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True), **kw)

    async def used(self, cell, u):
        thoughts = u.thoughts_token_count or 0
        same(u.total_token_count, u.prompt_token_count + u.candidates_token_count + thoughts, "total")
        await cell.usage(u.prompt_token_count, u.candidates_token_count + thoughts, u.cached_content_token_count or 0)

    async def whole(self, cell):
        r = await self.sdk.models.generate_content(model=cell.model, contents=cell.prompt(), config=self.config())
        same(r.text, TEXT, "text")
        same(r.candidates[0].finish_reason, types.FinishReason.STOP, "finish")
        await self.used(cell, r.usage_metadata)
        n = await self.sdk.models.count_tokens(model=cell.model, contents="one two three")
        assert n.total_tokens > 0, n

    async def stream(self, cell):
        pieces, finish, last = [], [], None
        async for c in await self.sdk.models.generate_content_stream(model=cell.model, contents=cell.prompt(), config=self.config()):
            pieces += [c.text] if c.text else []
            finish += [x.finish_reason for x in c.candidates or [] if x.finish_reason]
            last = c.usage_metadata or last
        same("".join(pieces), TEXT, "text")
        same(finish, [types.FinishReason.STOP], "finishes")
        assert len(pieces) > 3, f"the text came in {len(pieces)} pieces"
        await self.used(cell, last)

    async def round_trip(self, cell, scenario, names, stream=False, **more):
        config = self.config(tools=TOOL_LIST, **more)
        contents = [types.Content(role="user", parts=[types.Part(text=cell.prompt(scenario))])]
        if stream:
            parts = []
            async for c in await self.sdk.models.generate_content_stream(model=cell.model, contents=contents, config=config):
                parts += [p for p in (c.candidates[0].content.parts or [] if c.candidates and c.candidates[0].content else [])
                          if p.function_call or p.thought]
        else:
            r = await self.sdk.models.generate_content(model=cell.model, contents=contents, config=config)
            parts = parts_of(r)
        calls = [p.function_call for p in parts if p.function_call]
        same([c.name for c in calls], names, "calls")
        for c in calls:
            same(c.args, CALLED[c.name], "arguments")
        contents.append(types.Content(role="model", parts=parts))
        contents.append(types.Content(role="user", parts=[types.Part(function_response=types.FunctionResponse(
            id=c.id, name=c.name, response={"output": ANSWERS[c.name]})) for c in calls]))
        r = await self.sdk.models.generate_content(model=cell.model, contents=contents, config=config)
        same(r.text, "Results: " + "; ".join(ANSWERS[n] for n in names) + ".", "answer")
        return parts

    async def tools(self, cell):
        await self.round_trip(cell, "tool", ["weather"])
        choice = types.FunctionCallingConfig(mode="ANY", allowed_function_names=["clock"])
        r = await self.sdk.models.generate_content(model=cell.model, contents=cell.prompt(), config=self.config(
            tools=TOOL_LIST, tool_config=types.ToolConfig(function_calling_config=choice)))
        same([p.function_call.name for p in parts_of(r) if p.function_call], ["clock"], "the named tool")

    async def parallel(self, cell):
        await self.round_trip(cell, "parallel", ["weather", "clock"])
        await self.round_trip(cell, "parallel", ["weather", "clock"], stream=True)

    async def structured(self, cell):
        r = await self.sdk.models.generate_content(model=cell.model, contents=cell.prompt(), config=self.config(
            response_mime_type="application/json", response_json_schema=WEATHER))
        same(json.loads(r.text), {"city": "Paris"}, "object")

    async def image(self, cell):
        if cell.wire == "deepseek":
            raise NotApplicable("deepseek-v4-pro takes text only")
        r = await self.sdk.models.generate_content(model=cell.model, contents=[
            types.Content(role="user", parts=[types.Part(text=cell.prompt()), types.Part.from_bytes(data=PNG, mime_type="image/png")])])
        same(r.text, SEEN, "text")

    async def thinking(self, cell):
        if cell.wire == "openai-chat":
            raise NotApplicable("chat completions of OpenAI do not show thoughts")
        parts = await self.round_trip(cell, "thinking-tool", ["weather"],
                                      thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=2048))
        same("".join(p.text for p in parts if p.thought and p.text), THOUGHTS, "thoughts")

    async def embeddings(self, cell):
        if not cell.embedding:
            raise NotApplicable("the provider has no embeddings")
        r = await self.sdk.models.embed_content(model=cell.embedding, contents=[f"{cell.prompt()} abc", "abcd"])
        same(r.embeddings[1].values, [0.0, 0.25, 0.5, 0.75], "vector")

    def is_error(self, code, status):
        return lambda e: e.code == code and e.status == status

    async def s400(self, cell):
        with raises(errors.ClientError, lambda e: e.code == 400 and e.status == "INVALID_ARGUMENT" and "scenario says no" in e.message):
            await self.ask(self.sdk, cell.model, cell.prompt("error-400"))

    async def s401(self, cell):
        with raises(errors.ClientError, self.is_error(401, "UNAUTHENTICATED")):
            await self.ask(make("lyss_nonsense").aio, cell.model, cell.prompt())

    async def s404(self, cell):
        with raises(errors.ClientError, self.is_error(404, "NOT_FOUND")):
            await self.ask(self.sdk, cell.model + "-nobody", cell.prompt())

    async def s429(self, cell):
        def check(e):
            delay = [d.get("retryDelay") for d in e.details["error"].get("details") or []]
            return e.code == 429 and e.status == "RESOURCE_EXHAUSTED" and ("7s" in delay or e.response.headers.get("retry-after") == "7")
        with raises(errors.ClientError, check):
            await self.ask(self.sdk, cell.failing, cell.prompt("error-429"))

    async def s500(self, cell):
        with raises(errors.ServerError, self.is_error(500, "INTERNAL")):
            await self.ask(self.sdk, cell.failing, cell.prompt("error-500"))

    async def s529(self, cell):
        with raises(errors.ServerError, self.is_error(503, "UNAVAILABLE")):
            await self.ask(self.sdk, cell.failing, cell.prompt("error-529"))

    async def abort(self, cell):
        enough = asyncio.Event()

        async def read():
            n = 0
            async for _ in await self.sdk.models.generate_content_stream(model=cell.model, contents=cell.prompt("slow")):
                n += 1
                if n == 3:
                    enough.set()
        task = asyncio.create_task(read())
        await enough.wait()
        task.cancel()
        await cell.let_go()



main(lambda: {"google-genai Python": Generate()})
