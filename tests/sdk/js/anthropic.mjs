// The `@anthropic-ai/sdk` package: messages and count_tokens, on every wire.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { ANSWERS, CALLED, ENV, PNG, SEEN, SYSTEM, TEXT, THOUGHTS, TOOLS, WEATHER, answerOf, main, rejects, same } from "./matrix.mjs";

const make = (apiKey) => new Anthropic({ baseURL: ENV.url, apiKey, maxRetries: 0, timeout: 30000 });
const sdk = make(ENV.key);
const tools = TOOLS.map(([name, description, input_schema]) => ({ name, description, input_schema }));
const textOf = (m) => m.content.filter((b) => b.type === "text").map((b) => b.text).join("");
const ask = (s, model, content, more = {}) => s.messages.create({ model, max_tokens: 300, messages: [{ role: "user", content }], ...more });
const typed = (type) => (e) => e.error?.error?.type === type;
const used = (c, u) => c.usage(u.input_tokens + (u.cache_read_input_tokens ?? 0) + (u.cache_creation_input_tokens ?? 0), u.output_tokens,
  u.cache_read_input_tokens ?? 0);

async function roundTrip(c, scenario, names, more = {}) {
  const body = { model: c.model, max_tokens: 300, system: SYSTEM, tools, ...more };
  const messages = [{ role: "user", content: c.prompt(scenario) }];
  const first = await sdk.messages.create({ ...body, messages });
  const uses = first.content.filter((b) => b.type === "tool_use");
  same(uses.map((b) => [b.name, b.input]), names.map((n) => [n, CALLED[n]]), "calls");
  same(first.stop_reason, "tool_use", "stop");
  messages.push({ role: "assistant", content: first.content },
    { role: "user", content: uses.map((b) => ({ type: "tool_result", tool_use_id: b.id, content: ANSWERS[b.name] })) });
  const r = await sdk.messages.stream({ ...body, messages }).finalMessage();
  same(textOf(r), answerOf(names), "answer");
  return first;
}

const driver = {
  lacks: { embeddings: "Anthropic's API has no embeddings" },
  async whole(c) {
    const r = await ask(sdk, c.model, c.prompt(), { system: SYSTEM });
    same([textOf(r), r.stop_reason, r.type, r.role], [TEXT, "end_turn", "message", "assistant"]);
    await used(c, r.usage);
    const n = await sdk.messages.countTokens({ model: c.model, messages: [{ role: "user", content: "one two three" }] });
    assert.ok(n.input_tokens > 0);
  },
  async stream(c) {
    const kinds = [], pieces = [];
    const s = sdk.messages.stream({ model: c.model, max_tokens: 300, system: SYSTEM, messages: [{ role: "user", content: c.prompt() }] });
    for await (const e of s) {
      kinds.push(e.type);
      if (e.type === "content_block_delta" && e.delta.type === "text_delta") pieces.push(e.delta.text);
    }
    const r = await s.finalMessage();
    same([pieces.join(""), textOf(r), r.stop_reason], [TEXT, TEXT, "end_turn"]);
    same(["message_start", "message_delta", "message_stop"].map((k) => kinds.filter((x) => x === k).length), [1, 1, 1], "events");
    assert.ok(pieces.length > 3, `the text came in ${pieces.length} pieces`);
    await used(c, r.usage);
  },
  async tools(c) {
    await roundTrip(c, "tool", ["weather"]);
    const s = sdk.messages.stream({ model: c.model, max_tokens: 300, tools, messages: [{ role: "user", content: c.prompt("empty") }] });
    same((await s.finalMessage()).content.filter((b) => b.type === "tool_use").map((b) => b.input), [{}], "empty input");
  },
  async parallel(c) { await roundTrip(c, "parallel", ["weather", "clock"]); },
  async structured(c) {
    c.noSchemas();
    const r = await ask(sdk, c.model, c.prompt(), { system: SYSTEM, output_config: { format: { type: "json_schema", schema: WEATHER } } });
    same(JSON.parse(textOf(r)), { city: "Paris" }, "object");
  },
  async image(c) {
    c.noImages();
    const r = await ask(sdk, c.model, [{ type: "image", source: { type: "base64", media_type: "image/png", data: PNG } },
      { type: "text", text: c.prompt() }]);
    same(textOf(r), SEEN, "text");
  },
  async thinking(c) {
    c.noThoughts();
    const first = await roundTrip(c, "thinking-tool", ["weather"], { max_tokens: 8000, thinking: { type: "enabled", budget_tokens: 2048 } });
    same(first.content.filter((b) => b.type === "thinking").map((b) => b.thinking), [THOUGHTS], "thoughts");
  },
  400: (c) => rejects(() => ask(sdk, c.model, c.prompt("error-400")), Anthropic.BadRequestError,
    (e) => typed("invalid_request_error")(e) && /scenario says no/.test(e.message)),
  401: (c) => rejects(() => ask(make("lyss_nonsense"), c.model, c.prompt()), Anthropic.AuthenticationError, typed("authentication_error")),
  404: (c) => rejects(() => ask(sdk, c.model + "-nobody", c.prompt()), Anthropic.NotFoundError, typed("not_found_error")),
  429: (c) => rejects(() => ask(sdk, c.failing, c.prompt("error-429")), Anthropic.RateLimitError,
    (e) => typed("rate_limit_error")(e) && e.headers.get("retry-after") === "7"),
  500: (c) => rejects(() => ask(sdk, c.failing, c.prompt("error-500")), Anthropic.InternalServerError,
    (e) => e.status === 500 && typed("api_error")(e)),
  529: (c) => rejects(() => ask(sdk, c.failing, c.prompt("error-529")), Anthropic.InternalServerError,
    (e) => [503, 529].includes(e.status) && typed("overloaded_error")(e)),
  async abort(c) {
    const s = sdk.messages.stream({ model: c.model, max_tokens: 300, messages: [{ role: "user", content: c.prompt("slow") }] });
    let n = 0;
    try {
      for await (const e of s) if (e.type === "content_block_delta" && ++n === 3) s.abort();
    } catch (e) { assert.ok(e instanceof Anthropic.APIUserAbortError, `${e}`); }
    await c.letGo();
  },
};

await main({ "@anthropic-ai/sdk": driver });
