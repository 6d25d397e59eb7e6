// The official OpenAI SDK for JavaScript, pointed at Lyss by its base URL alone.
// run.py starts Lyss and the fake upstream; the model's name picks what the upstream does.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { AzureOpenAI } from "openai";

const { LYSS_URL, LYSS_KEY, LYSS_NARROW_KEY, TEXT } = process.env;
const make = (more = {}) => new OpenAI({ baseURL: LYSS_URL + "/v1", apiKey: LYSS_KEY, maxRetries: 0, timeout: 15000, ...more });
const sdk = make();
const messages = [{ role: "user", content: "Say hello." }];
const tools = ["get_weather", "get_time", "get_news"].map((name) => ({
  type: "function", function: { name, parameters: { type: "object", properties: { city: { type: "string" } } } } }));

test("chat", async () => {
  const r = await sdk.chat.completions.create({ model: "text", messages });
  assert.equal(r.choices[0].message.content, TEXT);
  assert.equal(r.usage.prompt_tokens, 2);
  assert.ok(r._request_id);
});

test("stream", async () => {
  let text = "", finish;
  for await (const c of await sdk.chat.completions.create({ model: "text", messages, stream: true })) {
    assert.equal(c.choices.length, 1, "the usage chunk was not asked for");
    text += c.choices[0].delta.content ?? "";
    finish = c.choices[0].finish_reason ?? finish;
  }
  assert.equal(text, TEXT);
  assert.equal(finish, "stop");
});

test("stream with usage", async () => {
  let last;
  for await (const c of await sdk.chat.completions.create({
    model: "text", messages, stream: true, stream_options: { include_usage: true } })) last = c;
  assert.deepEqual(last.choices, []);
  assert.equal(last.usage.prompt_tokens, 2);
});

for (const n of [1, 3]) {
  test(`${n} tools`, async () => {
    const r = await sdk.chat.completions.create({ model: `tools-${n}`, messages, tools });
    assert.deepEqual(r.choices[0].message.tool_calls.map((c) => JSON.parse(c.function.arguments).city),
      Array.from({ length: n }, (_, i) => `City ${i}`));
  });
  test(`${n} tools, streamed`, async () => {
    const r = await sdk.chat.completions.stream({ model: `tools-${n}`, messages, tools }).finalChatCompletion();
    assert.equal(r.choices[0].finish_reason, "tool_calls");
    assert.deepEqual(r.choices[0].message.tool_calls.map((c) => c.id), Array.from({ length: n }, (_, i) => `call_${i}`));
    assert.deepEqual(r.choices[0].message.tool_calls.map((c) => JSON.parse(c.function.arguments).city),
      Array.from({ length: n }, (_, i) => `City ${i}`));
  });
}

test("completions", async () => {
  assert.equal((await sdk.completions.create({ model: "text", prompt: "x" })).choices[0].text, TEXT);
});

test("embeddings", async () => {
  const r = await sdk.embeddings.create({ model: "text", input: ["a b", "c"] });
  assert.deepEqual(r.data.map((d) => d.embedding), [[0.25, -0.5, 1], [0.25, -0.5, 1]]);
});

test("models", async () => {
  const ids = [];
  for await (const m of sdk.models.list()) ids.push(m.id);
  assert.equal(ids[0], "demo");
  assert.ok(ids.includes("text"));
  assert.equal((await sdk.models.retrieve("text")).id, "text");
  await assert.rejects(sdk.models.retrieve("no-such-model"), OpenAI.NotFoundError);
});

test("responses", async () => {
  assert.equal((await sdk.responses.create({ model: "text", input: "hello" })).output_text, TEXT);
});

test("responses, streamed", async () => {
  const s = sdk.responses.stream({ model: "text", input: "hello" });
  let text = "";
  for await (const e of s) if (e.type === "response.output_text.delta") text += e.delta;
  assert.equal(text, TEXT);
  assert.equal((await s.finalResponse()).status, "completed");
});

const classes = { 400: [OpenAI.BadRequestError, 400], 404: [OpenAI.NotFoundError, 404], 422: [OpenAI.UnprocessableEntityError, 422],
  429: [OpenAI.RateLimitError, 429], 500: [OpenAI.InternalServerError, 500], 503: [OpenAI.InternalServerError, 503],
  401: [OpenAI.InternalServerError, 502], 402: [OpenAI.InternalServerError, 502], 403: [OpenAI.InternalServerError, 502] };
for (const [status, [kind, seen]] of Object.entries(classes)) for (const stream of [false, true]) {
  test(`an upstream's ${status}${stream ? ", streamed" : ""}`, async () => {
    await assert.rejects(sdk.chat.completions.create({ model: `${stream ? "stream" : "whole"}-err-${status}`, messages, stream }), (e) => {
      assert.ok(e instanceof kind, `${e}`);
      assert.equal(e.status, seen);
      if (seen === 502) assert.equal(e.code, "provider_credential_error");
      return true;
    });
  });
}

test("401 and 403 are the gateway's own", async () => {
  await assert.rejects(make({ apiKey: "lyss_nonsense" }).chat.completions.create({ model: "text", messages }), OpenAI.AuthenticationError);
  await assert.rejects(make({ apiKey: LYSS_NARROW_KEY }).chat.completions.create({ model: "tools-1", messages }), OpenAI.PermissionDeniedError);
});

test("unknown model", async () => {
  await assert.rejects(sdk.chat.completions.create({ model: "no-such-model", messages }),
    (e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
});

test("a broken stream throws", async () => {
  let text = "";
  await assert.rejects(async () => {
    for await (const c of await sdk.chat.completions.create({ model: "cut", messages, stream: true })) text += c.choices[0].delta.content ?? "";
  });
  assert.ok(text.length > 0 && text.length < TEXT.length);
});

test("abort", async () => {
  const stop = new AbortController();
  let n = 0;
  try {
    for await (const _ of await sdk.chat.completions.create({ model: "slow", messages, stream: true }, { signal: stop.signal }))
      if (++n === 4) stop.abort();
  } catch (e) {
    assert.ok(e instanceof OpenAI.APIUserAbortError, `${e}`);
  }
  assert.ok(n >= 4 && n < 50);
});

test("retry-after reaches the client", async () => {
  await assert.rejects(sdk.chat.completions.create({ model: "err-429-after-7", messages }),
    (e) => e instanceof OpenAI.RateLimitError && e.headers.get("retry-after") === "7");
});

test("azure client", async () => {
  const azure = new AzureOpenAI({ endpoint: LYSS_URL, apiKey: LYSS_KEY, apiVersion: "2024-10-21", maxRetries: 0 });
  assert.equal((await azure.chat.completions.create({ model: "text", messages })).choices[0].message.content, TEXT);
});
