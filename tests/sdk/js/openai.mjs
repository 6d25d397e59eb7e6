// The `openai` package for JavaScript: chat completions and Responses, on every wire.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { ANSWERS, CALLED, ENV, PNG, SEEN, SYSTEM, TEXT, THOUGHTS, TOOLS, WEATHER, answerOf, main, rejects, same } from "./matrix.mjs";

const make = (apiKey) => new OpenAI({ baseURL: ENV.url + "/v1", apiKey, maxRetries: 0, timeout: 30000 });
const sdk = make(ENV.key);
const URL = `data:image/png;base64,${PNG}`;
const STRICT = { name: "place", strict: true, schema: WEATHER };

const errors = (ask) => ({
  400: (c) => rejects(() => ask(sdk, c.model, c.prompt("error-400")), OpenAI.BadRequestError, (e) => /scenario says no/.test(e.message)),
  401: (c) => rejects(() => ask(make("lyss_nonsense"), c.model, c.prompt()), OpenAI.AuthenticationError, (e) => e.status === 401),
  404: (c) => rejects(() => ask(sdk, c.model + "-nobody", c.prompt()), OpenAI.NotFoundError, (e) => e.code === "model_not_found"),
  429: (c) => rejects(() => ask(sdk, c.failing, c.prompt("error-429")), OpenAI.RateLimitError, (e) => e.headers.get("retry-after") === "7"),
  500: (c) => rejects(() => ask(sdk, c.failing, c.prompt("error-500")), OpenAI.InternalServerError, (e) => e.status === 500),
  529: (c) => rejects(() => ask(sdk, c.failing, c.prompt("error-529")), OpenAI.InternalServerError, (e) => e.status === 503),
});

// chat
const definitions = TOOLS.map(([name, description, parameters]) => ({ type: "function", function: { name, description, parameters, strict: true } }));
const messages = (content) => [{ role: "system", content: SYSTEM }, { role: "user", content }];
const chatUsed = async (c, u) => {
  same(u.total_tokens, u.prompt_tokens + u.completion_tokens, "total");
  await c.usage(u.prompt_tokens, u.completion_tokens, u.prompt_tokens_details?.cached_tokens, u.completion_tokens_details?.reasoning_tokens);
};

async function chatRoundTrip(c, scenario, names, more = {}) {
  const said = messages(c.prompt(scenario));
  const first = await sdk.chat.completions.stream({ model: c.model, messages: said, tools: definitions, ...more }).finalChatCompletion();
  const m = first.choices[0].message;
  same(m.tool_calls?.map((t) => [t.function.name, JSON.parse(t.function.arguments)]), names.map((n) => [n, CALLED[n]]), "calls");
  same(first.choices[0].finish_reason, "tool_calls", "finish");
  said.push({ role: "assistant", content: m.content, tool_calls: m.tool_calls.map(({ id, type, function: { name, arguments: a } }) =>
    ({ id, type, function: { name, arguments: a } })) });           // and without its thoughts, as most clients lose them
  for (const t of m.tool_calls) said.push({ role: "tool", tool_call_id: t.id, content: ANSWERS[t.function.name] });
  const r = await sdk.chat.completions.create({ model: c.model, messages: said, tools: definitions, ...more });
  same(r.choices[0].message.content, answerOf(names), "answer");
  return m;
}

const chat = {
  ...errors((s, model, content) => s.chat.completions.create({ model, messages: [{ role: "user", content }] })),
  async whole(c) {
    const r = await sdk.chat.completions.create({ model: c.model, messages: messages(c.prompt()) });
    same([r.choices[0].message.content, r.choices[0].finish_reason, r.object], [TEXT, "stop", "chat.completion"]);
    await chatUsed(c, r.usage);
  },
  async stream(c) {
    let text = "", n = 0, usage;
    const finishes = [];
    for await (const x of await sdk.chat.completions.create({ model: c.model, messages: messages(c.prompt()), stream: true,
      stream_options: { include_usage: true } })) {
      for (const { delta, finish_reason } of x.choices) {
        text += delta.content ?? "";
        n += delta.content ? 1 : 0;
        if (finish_reason) finishes.push(finish_reason);
      }
      usage = x.usage ?? usage;
    }
    same([text, finishes], [TEXT, ["stop"]]);
    assert.ok(n > 3, `the text came in ${n} pieces`);
    await chatUsed(c, usage);
  },
  async tools(c) {
    await chatRoundTrip(c, "tool", ["weather"]);
    const r = await sdk.chat.completions.create({ model: c.model, messages: messages(c.prompt("empty")), tools: definitions });
    same(r.choices[0].message.tool_calls.map((t) => JSON.parse(t.function.arguments)), [{}], "empty arguments");
  },
  async parallel(c) { await chatRoundTrip(c, "parallel", ["weather", "clock"]); },
  async structured(c) {
    const r = await sdk.chat.completions.parse({ model: c.model, messages: messages(c.prompt()),
      response_format: { type: "json_schema", json_schema: STRICT } });
    same(JSON.parse(r.choices[0].message.content), { city: "Paris" }, "object");
  },
  async image(c) {
    c.noImages();
    const r = await sdk.chat.completions.create({ model: c.model, messages: [{ role: "user", content: [
      { type: "text", text: c.prompt() }, { type: "image_url", image_url: { url: URL } }] }] });
    same(r.choices[0].message.content, SEEN, "text");
  },
  async thinking(c) {
    c.noThoughts();
    let thoughts = "";
    for await (const x of await sdk.chat.completions.create({ model: c.model, messages: messages(c.prompt("thinking")), stream: true,
      reasoning_effort: "medium" })) thoughts += x.choices[0]?.delta.reasoning_content ?? "";
    if (c.wire !== "openai-responses") same(thoughts, THOUGHTS, "thoughts");           // chat completions cannot ask for a summary
    await chatRoundTrip(c, "thinking-tool", ["weather"], { reasoning_effort: "medium" });
  },
  async embeddings(c) {
    c.noEmbeddings();
    const r = await sdk.embeddings.create({ model: c.embedding, input: [`${c.prompt()} abc`, "abcd"] });
    same(Array.from(r.data[1].embedding), [0, 0.25, 0.5, 0.75], "vector");
    same(r.usage.prompt_tokens, (await c.oracle()).at(-1).usage.prompt, "tokens");
  },
  async abort(c) {
    const stop = new AbortController();
    let n = 0;
    try {
      for await (const x of await sdk.chat.completions.create({ model: c.model, messages: messages(c.prompt("slow")), stream: true },
        { signal: stop.signal })) if (x.choices[0]?.delta.content && ++n === 3) stop.abort();
    } catch (e) { assert.ok(e instanceof OpenAI.APIUserAbortError, `${e}`); }
    await c.letGo();
  },
};

// Responses
const flat = TOOLS.map(([name, description, parameters]) => ({ type: "function", name, description, parameters, strict: true }));
const responsesUsed = async (c, u) => {
  same(u.total_tokens, u.input_tokens + u.output_tokens, "total");
  await c.usage(u.input_tokens, u.output_tokens, u.input_tokens_details.cached_tokens, u.output_tokens_details.reasoning_tokens);
};

async function responsesRoundTrip(c, scenario, names, more = {}) {
  const body = { model: c.model, instructions: SYSTEM, tools: flat, store: false, include: ["reasoning.encrypted_content"], ...more };
  const input = [{ role: "user", content: c.prompt(scenario) }];
  const first = await sdk.responses.create({ ...body, input });
  const calls = first.output.filter((o) => o.type === "function_call");
  same(calls.map((o) => [o.name, JSON.parse(o.arguments)]), names.map((n) => [n, CALLED[n]]), "calls");
  input.push(...first.output, ...calls.map((o) => ({ type: "function_call_output", call_id: o.call_id, output: ANSWERS[o.name] })));
  const stream = sdk.responses.stream({ ...body, input });
  const r = await stream.finalResponse();
  same(r.output_text, answerOf(names), "answer");
  return first;
}

const responses = {
  lacks: { embeddings: "an operation of its own: see the row of chat" },
  ...errors((s, model, input) => s.responses.create({ model, input })),
  async whole(c) {
    const r = await sdk.responses.create({ model: c.model, instructions: SYSTEM, input: c.prompt() });
    same([r.output_text, r.status, r.object], [TEXT, "completed", "response"]);
    await responsesUsed(c, r.usage);
  },
  async stream(c) {
    let text = "", last;
    const numbers = [], kinds = [];
    for await (const e of await sdk.responses.create({ model: c.model, instructions: SYSTEM, input: c.prompt(), stream: true })) {
      kinds.push(e.type);
      numbers.push(e.sequence_number);
      if (e.type === "response.output_text.delta") text += e.delta;
      last = e;
    }
    same(text, TEXT, "text");
    same([kinds[0], last.type], ["response.created", "response.completed"]);
    same(numbers, numbers.map((_, i) => i), "sequence numbers");
    await responsesUsed(c, last.response.usage);
  },
  async tools(c) { await responsesRoundTrip(c, "tool", ["weather"]); },
  async parallel(c) { await responsesRoundTrip(c, "parallel", ["weather", "clock"]); },
  async structured(c) {
    const r = await sdk.responses.parse({ model: c.model, instructions: SYSTEM, input: c.prompt(),
      text: { format: { type: "json_schema", ...STRICT } } });
    same(JSON.parse(r.output_text), { city: "Paris" }, "object");
  },
  async image(c) {
    c.noImages();
    const r = await sdk.responses.create({ model: c.model, input: [{ role: "user", content: [
      { type: "input_text", text: c.prompt() }, { type: "input_image", image_url: URL, detail: "auto" }] }] });
    same(r.output_text, SEEN, "text");
  },
  async thinking(c) {
    c.noThoughts();
    const first = await responsesRoundTrip(c, "thinking-tool", ["weather"], { reasoning: { effort: "medium", summary: "auto" } });
    same(first.output.filter((o) => o.type === "reasoning").map((o) => o.summary.map((s) => s.text).join("")), [THOUGHTS], "thoughts");
  },
  async abort(c) {
    const stop = new AbortController();
    let n = 0;
    try {
      for await (const e of await sdk.responses.create({ model: c.model, input: c.prompt("slow"), stream: true }, { signal: stop.signal }))
        if (e.type === "response.output_text.delta" && ++n === 3) stop.abort();
    } catch (e) { assert.ok(e instanceof OpenAI.APIUserAbortError, `${e}`); }
    await c.letGo();
  },
};

await main({ "openai JS, chat": chat, "openai JS, Responses": responses });
