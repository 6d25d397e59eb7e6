"""The `openai` package: chat completions and Responses, on every wire."""
import json

import openai
from matrix import (ANSWERS, CALLED, ENV, PNG, SEEN, SYSTEM, TEXT, THOUGHTS, TOOLS, WEATHER, NotApplicable, base64, main, raises, same)

STRICT = {"name": "place", "strict": True, "schema": WEATHER}
IMAGE_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


class Errors:
    """What both operations have in common; `ask` sends one prompt."""
    lacks = {}

    def __init__(self):
        self.sdk = openai.AsyncOpenAI(base_url=ENV["url"] + "/v1", api_key=ENV["key"], max_retries=0, timeout=30)

    async def close(self):
        await self.sdk.close()

    async def failing(self, cell, name, kind, check):
        with raises(kind, check):
            await self.ask(self.sdk, cell.failing, cell.prompt(f"error-{name}"))

    async def s400(self, cell):
        with raises(openai.BadRequestError, lambda e: e.status_code == 400 and "scenario says no" in str(e)):
            await self.ask(self.sdk, cell.model, cell.prompt("error-400"))

    async def s401(self, cell):
        async with openai.AsyncOpenAI(base_url=ENV["url"] + "/v1", api_key="lyss_nonsense", max_retries=0) as c:
            with raises(openai.AuthenticationError, lambda e: e.status_code == 401):
                await self.ask(c, cell.model, cell.prompt())

    async def s404(self, cell):
        with raises(openai.NotFoundError, lambda e: e.status_code == 404 and e.code == "model_not_found"):
            await self.ask(self.sdk, cell.model + "-nobody", cell.prompt())

    async def s429(self, cell):
        await self.failing(cell, "429", openai.RateLimitError, lambda e: e.response.headers.get("retry-after") == "7")

    async def s500(self, cell):
        await self.failing(cell, "500", openai.InternalServerError, lambda e: e.status_code == 500)

    async def s529(self, cell):
        await self.failing(cell, "529", openai.InternalServerError, lambda e: e.status_code == 503)


class Chat(Errors):
    async def ask(self, sdk, model, prompt):
        return await sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}])

    def messages(self, prompt):
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]

    definitions = [{"type": "function", "function": {"name": n, "description": d, "parameters": s, "strict": True}} for n, d, s in TOOLS]

    async def used(self, cell, u):
        same(u.total_tokens, u.prompt_tokens + u.completion_tokens, "total")
        await cell.usage(u.prompt_tokens, u.completion_tokens, u.prompt_tokens_details and u.prompt_tokens_details.cached_tokens,
                         u.completion_tokens_details and u.completion_tokens_details.reasoning_tokens)

    async def whole(self, cell):
        r = await self.sdk.chat.completions.create(model=cell.model, messages=self.messages(cell.prompt()))
        same(r.choices[0].message.content, TEXT, "text")
        same(r.choices[0].finish_reason, "stop", "finish")
        same(r.object, "chat.completion")
        await self.used(cell, r.usage)

    async def stream(self, cell):
        text, finish, usage, n = "", [], None, 0
        async for c in await self.sdk.chat.completions.create(model=cell.model, messages=self.messages(cell.prompt()), stream=True,
                                                              stream_options={"include_usage": True}):
            for choice in c.choices:
                text += choice.delta.content or ""
                n += bool(choice.delta.content)
                finish += [choice.finish_reason] if choice.finish_reason else []
            usage = c.usage or usage
        same(text, TEXT, "text")
        same(finish, ["stop"], "finishes")
        assert n > 3, f"the text came in {n} pieces"
        await self.used(cell, usage)

    async def round_trip(self, cell, scenario, names, **more):
        messages = self.messages(cell.prompt(scenario))
        r = await self.sdk.chat.completions.create(model=cell.model, messages=messages, tools=self.definitions, **more)
        m = r.choices[0].message
        same([c.function.name for c in m.tool_calls or []], names, "calls")
        for c in m.tool_calls:
            same(json.loads(c.function.arguments), CALLED[c.function.name], "arguments")
        same(len({c.id for c in m.tool_calls}), len(names), "distinct ids")
        same(r.choices[0].finish_reason, "tool_calls", "finish")
        messages.append(m.model_dump(exclude_none=True))
        messages += [{"role": "tool", "tool_call_id": c.id, "content": ANSWERS[c.function.name]} for c in m.tool_calls]
        async with self.sdk.chat.completions.stream(model=cell.model, messages=messages, tools=self.definitions, **more) as s:
            async for _ in s:
                pass
            r = await s.get_final_completion()
        same(r.choices[0].message.content, "Results: " + "; ".join(ANSWERS[n] for n in names) + ".", "answer")
        return m

    async def tools_streamed(self, cell, names):
        s = await self.sdk.chat.completions.create(model=cell.model, messages=self.messages(cell.prompt("parallel")), tools=self.definitions,
                                                   stream=True)
        calls = {}
        async for c in s:
            for t in (c.choices[0].delta.tool_calls or []) if c.choices else []:
                call = calls.setdefault(t.index, {"id": t.id, "name": t.function.name, "args": ""})
                call["args"] += t.function.arguments or ""
        same([(i, c["name"], json.loads(c["args"])) for i, c in sorted(calls.items())],
             [(i, n, CALLED[n]) for i, n in enumerate(names)], "streamed calls")
        assert all(c["id"] for c in calls.values())

    async def tools(self, cell):
        await self.round_trip(cell, "tool", ["weather"])
        r = await self.sdk.chat.completions.create(
            model=cell.model, messages=self.messages(cell.prompt()), tools=self.definitions,
            tool_choice={"type": "function", "function": {"name": "clock"}})
        same([c.function.name for c in r.choices[0].message.tool_calls or []], ["clock"], "the named tool")

    async def parallel(self, cell):
        await self.round_trip(cell, "parallel", ["weather", "clock"])
        await self.tools_streamed(cell, ["weather", "clock"])

    async def structured(self, cell):
        r = await self.sdk.chat.completions.create(model=cell.model, messages=self.messages(cell.prompt()),
                                                   response_format={"type": "json_schema", "json_schema": STRICT})
        same(json.loads(r.choices[0].message.content), {"city": "Paris"}, "object")
        same(r.choices[0].finish_reason, "stop", "finish")
        same(r.choices[0].message.tool_calls, None, "tool calls")

    async def image(self, cell):
        if cell.wire == "deepseek":
            raise NotApplicable("deepseek-v4-pro takes text only")
        r = await self.sdk.chat.completions.create(model=cell.model, messages=[{"role": "user", "content": [
            {"type": "text", "text": cell.prompt()}, {"type": "image_url", "image_url": {"url": IMAGE_URL}}]}])
        same(r.choices[0].message.content, SEEN, "text")

    async def thinking(self, cell):
        if cell.wire == "openai-chat":
            raise NotApplicable("chat completions of OpenAI do not show thoughts")
        m = await self.round_trip(cell, "thinking-tool", ["weather"], reasoning_effort="medium")
        if cell.wire != "openai-responses":             # chat completions cannot ask for a summary
            same((m.model_extra or {}).get("reasoning_content"), THOUGHTS, "thoughts")

    async def embeddings(self, cell):
        if not cell.embedding:
            raise NotApplicable("the provider has no embeddings")
        r = await self.sdk.embeddings.create(model=cell.embedding, input=[f"{cell.prompt()} abc", "abcd"])
        same(r.data[1].embedding, [0.0, 0.25, 0.5, 0.75], "vector")
        same([d.index for d in r.data], [0, 1], "indexes")
        same(r.usage.prompt_tokens, (await cell.oracle())[-1]["usage"]["prompt"], "tokens")

    async def abort(self, cell):
        s = await self.sdk.chat.completions.create(model=cell.model, messages=self.messages(cell.prompt("slow")), stream=True)
        n = 0
        async for c in s:
            n += bool(c.choices and c.choices[0].delta.content)
            if n == 3:
                break
        await s.close()
        await cell.let_go()



class Responses(Errors):
    lacks = {"embeddings": "an operation of its own: see the row of chat"}

    async def ask(self, sdk, model, prompt):
        return await sdk.responses.create(model=model, input=prompt)

    definitions = [{"type": "function", "name": n, "description": d, "parameters": s, "strict": True} for n, d, s in TOOLS]

    async def used(self, cell, u):
        same(u.total_tokens, u.input_tokens + u.output_tokens, "total")
        await cell.usage(u.input_tokens, u.output_tokens, u.input_tokens_details.cached_tokens, u.output_tokens_details.reasoning_tokens)

    async def whole(self, cell):
        r = await self.sdk.responses.create(model=cell.model, instructions=SYSTEM, input=cell.prompt())
        same(r.output_text, TEXT, "text")
        same((r.status, r.object), ("completed", "response"))
        await self.used(cell, r.usage)

    async def stream(self, cell):
        text, numbers, kinds = "", [], []
        async with self.sdk.responses.stream(model=cell.model, instructions=SYSTEM, input=cell.prompt()) as s:
            async for e in s:
                kinds.append(e.type)
                numbers.append(e.sequence_number)
                text += e.delta if e.type == "response.output_text.delta" else ""
            r = await s.get_final_response()
        same(text, TEXT, "text")
        same(r.output_text, TEXT, "final text")
        same(numbers, list(range(len(numbers))), "sequence numbers")
        same(kinds[0], "response.created")
        same(kinds.count("response.completed"), 1, "terminal events")
        await self.used(cell, r.usage)

    async def round_trip(self, cell, scenario, names, **more):
        kw = dict(model=cell.model, instructions=SYSTEM, tools=self.definitions, store=False, include=["reasoning.encrypted_content"], **more)
        items = [{"role": "user", "content": cell.prompt(scenario)}]
        async with self.sdk.responses.stream(input=items, **kw) as s:
            async for _ in s:
                pass
            first = await s.get_final_response()
        calls = [o for o in first.output if o.type == "function_call"]
        same([c.name for c in calls], names, "calls")
        for c in calls:
            same(json.loads(c.arguments), CALLED[c.name], "arguments")
        for o in first.output:
            d = o.model_dump(exclude_none=True)
            d.pop("parsed_arguments", None)
            items.append(d)
        items += [{"type": "function_call_output", "call_id": c.call_id, "output": ANSWERS[c.name]} for c in calls]
        r = await self.sdk.responses.create(input=items, **kw)
        same(r.output_text, "Results: " + "; ".join(ANSWERS[n] for n in names) + ".", "answer")
        return first

    async def tools(self, cell):
        await self.round_trip(cell, "tool", ["weather"])

    async def parallel(self, cell):
        await self.round_trip(cell, "parallel", ["weather", "clock"])

    async def structured(self, cell):
        r = await self.sdk.responses.create(model=cell.model, instructions=SYSTEM, input=cell.prompt(),
                                            text={"format": {"type": "json_schema", **STRICT}})
        same(json.loads(r.output_text), {"city": "Paris"}, "object")

    async def image(self, cell):
        if cell.wire == "deepseek":
            raise NotApplicable("deepseek-v4-pro takes text only")
        r = await self.sdk.responses.create(model=cell.model, input=[{"role": "user", "content": [
            {"type": "input_text", "text": cell.prompt()}, {"type": "input_image", "image_url": IMAGE_URL, "detail": "auto"}]}])
        same(r.output_text, SEEN, "text")

    async def thinking(self, cell):
        if cell.wire == "openai-chat":
            raise NotApplicable("chat completions of OpenAI do not show thoughts")
        first = await self.round_trip(cell, "thinking-tool", ["weather"], reasoning={"effort": "medium", "summary": "auto"})
        thoughts = [o for o in first.output if o.type == "reasoning"]
        same(["".join(x.text for x in o.summary) for o in thoughts], [THOUGHTS], "thoughts")

    async def abort(self, cell):
        s = await self.sdk.responses.create(model=cell.model, input=cell.prompt("slow"), stream=True)
        n = 0
        async for e in s:
            n += e.type == "response.output_text.delta"
            if n == 3:
                break
        await s.close()
        await cell.let_go()


main(lambda: {"openai Python, chat": Chat(), "openai Python, Responses": Responses()})
