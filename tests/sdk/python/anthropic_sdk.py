"""The `anthropic` package: messages and count_tokens, on every wire."""
import json

import anthropic
from matrix import ANSWERS, CALLED, ENV, PNG, SEEN, SYSTEM, TEXT, THOUGHTS, TOOLS, WEATHER, NotApplicable, base64, main, raises, same

TOOL_LIST = [{"name": n, "description": d, "input_schema": s} for n, d, s in TOOLS]


def text_of(m):
    return "".join(b.text for b in m.content if b.type == "text")


class Messages:
    lacks = {"embeddings": "Anthropic's API has no embeddings"}

    def __init__(self):
        self.sdk = anthropic.AsyncAnthropic(base_url=ENV["url"], api_key=ENV["key"], max_retries=0, timeout=30)

    async def close(self):
        await self.sdk.close()

    async def ask(self, sdk, model, prompt):
        return await sdk.messages.create(model=model, max_tokens=300, messages=[{"role": "user", "content": prompt}])

    async def used(self, cell, u):
        await cell.usage(u.input_tokens + (u.cache_read_input_tokens or 0) + (u.cache_creation_input_tokens or 0), u.output_tokens,
                         u.cache_read_input_tokens or 0)

    async def whole(self, cell):
        r = await self.sdk.messages.create(model=cell.model, max_tokens=300, system=SYSTEM,
                                           messages=[{"role": "user", "content": cell.prompt()}])
        same(text_of(r), TEXT, "text")
        same((r.stop_reason, r.type, r.role), ("end_turn", "message", "assistant"))
        await self.used(cell, r.usage)
        n = await self.sdk.messages.count_tokens(model=cell.model, messages=[{"role": "user", "content": "one two three"}])
        assert n.input_tokens > 0, n

    async def stream(self, cell):
        async with self.sdk.messages.stream(model=cell.model, max_tokens=300, system=SYSTEM,
                                            messages=[{"role": "user", "content": cell.prompt()}]) as s:
            kinds, pieces = [], []
            async for e in s:
                kinds.append(e.type)
                pieces += [e.text] if e.type == "text" else []
            r = await s.get_final_message()
        same("".join(pieces), TEXT, "text")
        same(text_of(r), TEXT, "final text")
        same(r.stop_reason, "end_turn", "stop")
        same([kinds.count(k) for k in ("message_start", "message_delta", "message_stop")], [1, 1, 1], "events")
        assert len(pieces) > 3, f"the text came in {len(pieces)} pieces"
        await self.used(cell, r.usage)

    async def round_trip(self, cell, scenario, names, **more):
        kw = dict(model=cell.model, system=SYSTEM, tools=TOOL_LIST, **{"max_tokens": 300, **more})
        turns = [{"role": "user", "content": cell.prompt(scenario)}]
        async with self.sdk.messages.stream(messages=turns, **kw) as s:
            first = await s.get_final_message()
        uses = [b for b in first.content if b.type == "tool_use"]
        same([b.name for b in uses], names, "calls")
        for b in uses:
            same(b.input, CALLED[b.name], "input")
        same(first.stop_reason, "tool_use", "stop")
        turns.append({"role": "assistant", "content": [
            {k: v for k, v in b.model_dump(exclude_none=True).items() if k != "parsed_output"} for b in first.content]})
        turns.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": b.id, "content": ANSWERS[b.name]} for b in uses]})
        r = await self.sdk.messages.create(messages=turns, **kw)
        same(text_of(r), "Results: " + "; ".join(ANSWERS[n] for n in names) + ".", "answer")
        return first

    async def tools(self, cell):
        await self.round_trip(cell, "tool", ["weather"])
        r = await self.sdk.messages.create(model=cell.model, max_tokens=300, tools=TOOL_LIST, tool_choice={"type": "tool", "name": "clock"},
                                           messages=[{"role": "user", "content": cell.prompt()}])
        same([b.name for b in r.content if b.type == "tool_use"], ["clock"], "the named tool")
        r = await self.sdk.messages.create(model=cell.model, max_tokens=300, tools=TOOL_LIST,
                                           messages=[{"role": "user", "content": cell.prompt("empty")}])
        same([b.input for b in r.content if b.type == "tool_use"], [{}], "empty input")

    async def parallel(self, cell):
        await self.round_trip(cell, "parallel", ["weather", "clock"])

    async def structured(self, cell):
        if cell.wire == "deepseek":
            raise NotApplicable("DeepSeek's Messages API has no JSON output")
        r = await self.sdk.messages.create(model=cell.model, max_tokens=300, system=SYSTEM,
                                           messages=[{"role": "user", "content": cell.prompt()}],
                                           output_config={"format": {"type": "json_schema", "schema": WEATHER}})
        same(json.loads(text_of(r)), {"city": "Paris"}, "object")

    async def image(self, cell):
        if cell.wire == "deepseek":
            raise NotApplicable("deepseek-v4-pro takes text only")
        r = await self.sdk.messages.create(model=cell.model, max_tokens=300, messages=[{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}},
            {"type": "text", "text": cell.prompt()}]}])
        same(text_of(r), SEEN, "text")

    async def thinking(self, cell):
        if cell.wire == "openai-chat":
            raise NotApplicable("chat completions of OpenAI do not show thoughts")
        first = await self.round_trip(cell, "thinking-tool", ["weather"], max_tokens=8000,
                                      thinking={"type": "enabled", "budget_tokens": 2048})
        same([b.thinking for b in first.content if b.type == "thinking"], [THOUGHTS], "thoughts")
        same(first.content[0].type, "thinking", "first block")

    async def s400(self, cell):
        with raises(anthropic.BadRequestError, lambda e: e.body["error"]["type"] == "invalid_request_error" and "scenario says no" in str(e)):
            await self.ask(self.sdk, cell.model, cell.prompt("error-400"))

    async def s401(self, cell):
        async with anthropic.AsyncAnthropic(base_url=ENV["url"], api_key="lyss_nonsense", max_retries=0) as c:
            with raises(anthropic.AuthenticationError, lambda e: e.body["error"]["type"] == "authentication_error"):
                await self.ask(c, cell.model, cell.prompt())

    async def s404(self, cell):
        with raises(anthropic.NotFoundError, lambda e: e.body["error"]["type"] == "not_found_error"):
            await self.ask(self.sdk, cell.model + "-nobody", cell.prompt())

    async def s429(self, cell):
        with raises(anthropic.RateLimitError, lambda e: e.body["error"]["type"] == "rate_limit_error"
                    and e.response.headers.get("retry-after") == "7"):
            await self.ask(self.sdk, cell.failing, cell.prompt("error-429"))

    async def s500(self, cell):
        with raises(anthropic.InternalServerError, lambda e: e.status_code == 500 and e.body["error"]["type"] == "api_error"):
            await self.ask(self.sdk, cell.failing, cell.prompt("error-500"))

    async def s529(self, cell):
        with raises(anthropic.InternalServerError, lambda e: e.status_code in (503, 529) and e.body["error"]["type"] == "overloaded_error"):
            await self.ask(self.sdk, cell.failing, cell.prompt("error-529"))

    async def abort(self, cell):
        n = 0
        async with self.sdk.messages.stream(model=cell.model, max_tokens=300,
                                            messages=[{"role": "user", "content": cell.prompt("slow")}]) as s:
            async for e in s:
                n += e.type == "text"
                if n == 3:
                    break
        await cell.let_go()


main(lambda: {"anthropic Python": Messages()})
