// Vercel's `ai` with its providers: one set of calls, seven ways to send them, on every wire.
import assert from "node:assert/strict";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createAzure } from "@ai-sdk/azure";
import { createDeepSeek } from "@ai-sdk/deepseek";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, embedMany, generateText, jsonSchema, streamText, tool } from "ai";
import { ANSWERS, CALLED, ENV, NotApplicable, PNG, SEEN, SYSTEM, TEXT, THOUGHTS, TOOLS, WEATHER, answerOf, main, rejects,
  same } from "./matrix.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const at = (baseURL) => (apiKey) => ({ baseURL: ENV.url + baseURL, apiKey });
const tools = Object.fromEntries(TOOLS.map(([name, description, schema]) => [name, tool({ description, inputSchema: jsonSchema(schema) })]));
const called = (calls) => calls.map((c) => [c.toolName, c.input]);

/* make(apiKey) gives {model(name), embedding(name)}; lacks: what the row cannot do, and why; think: how it asks for thoughts;
 * summary: it can ask Responses for a summary of them; cache: it reads how many tokens came from a cache. */
function driver(make, { lacks = {}, overloaded = 503, summary = true, cache = () => true, think = { reasoning: "medium" } } = {}) {
  const sdk = make(ENV.key);
  const ask = (s, model, prompt, more = {}) => generateText({ model: s.model(model), instructions: SYSTEM, prompt, maxRetries: 0, ...more });
  const used = async (c, u) => {
    same(u.totalTokens, u.inputTokens + u.outputTokens, "total");
    await c.usage(u.inputTokens, u.outputTokens, cache(c) ? u.inputTokenDetails.cacheReadTokens : undefined);
  };
  const failing = (name, status, check = () => true) => (c) => rejects(() => ask(sdk, c.failing, c.prompt(`error-${name}`)), APICallError,
    (e) => e.statusCode === status && check(e));

  async function roundTrip(c, scenario, names, more = {}) {
    const messages = [{ role: "user", content: c.prompt(scenario) }];
    const body = { model: sdk.model(c.model), instructions: SYSTEM, tools, maxRetries: 0, ...more };
    const first = await generateText({ ...body, messages });
    same(called(first.toolCalls), names.map((n) => [n, CALLED[n]]), "calls");
    same(first.finishReason, "tool-calls", "finish");
    messages.push(...first.response.messages, { role: "tool", content: first.toolCalls.map((x) => ({ type: "tool-result",
      toolCallId: x.toolCallId, toolName: x.toolName, output: { type: "text", value: ANSWERS[x.toolName] } })) });
    const second = streamText({ ...body, messages, onError() {} });
    same(await second.text, answerOf(names), "answer");
    return first;
  }

  return {
    lacks,
    async whole(c) {
      const r = await ask(sdk, c.model, c.prompt());
      same([r.text, r.finishReason], [TEXT, "stop"]);
      await used(c, r.usage);
    },
    async stream(c) {
      const pieces = [];
      const r = streamText({ model: sdk.model(c.model), instructions: SYSTEM, prompt: c.prompt(), maxRetries: 0, onError() {} });
      for await (const x of r.textStream) pieces.push(x);
      same([pieces.join(""), await r.finishReason], [TEXT, "stop"]);
      assert.ok(pieces.filter(Boolean).length > 3, `the text came in ${pieces.length} pieces`);
      await used(c, await r.usage);
    },
    async tools(c) {
      await roundTrip(c, "tool", ["weather"]);
      const r = await ask(sdk, c.model, c.prompt(), { tools, toolChoice: { type: "tool", toolName: "clock" } });
      same(called(r.toolCalls), [["clock", CALLED.clock]], "the named tool");
    },
    async parallel(c) {
      await roundTrip(c, "parallel", ["weather", "clock"]);
      const r = streamText({ model: sdk.model(c.model), prompt: c.prompt("parallel"), tools, maxRetries: 0, onError() {} });
      same(called(await r.toolCalls), [["weather", CALLED.weather], ["clock", CALLED.clock]], "streamed calls");
    },
    async structured(c) {
      const r = await ask(sdk, c.model, c.prompt(), { output: Output.object({ schema: jsonSchema(WEATHER) }) });
      same(r.output, { city: "Paris" }, "object");
    },
    async image(c) {
      c.noImages();
      const r = await generateText({ model: sdk.model(c.model), maxRetries: 0, messages: [{ role: "user", content: [
        { type: "text", text: c.prompt() }, { type: "file", data: Buffer.from(PNG, "base64"), mediaType: "image/png" }] }] });
      same(r.text, SEEN, "text");
    },
    async thinking(c) {
      c.noThoughts();
      const first = await roundTrip(c, "thinking-tool", ["weather"], { ...think, maxOutputTokens: 30000 });
      if (!lacks.thoughts && (summary || c.wire !== "openai-responses")) same(first.reasoningText, THOUGHTS, "thoughts");
    },
    async embeddings(c) {
      if (!sdk.embedding) throw new NotApplicable(lacks.embeddings ?? "this provider of ai has no embeddings");
      c.noEmbeddings();
      const r = await embedMany({ model: sdk.embedding(c.embedding), values: [`${c.prompt()} abc`, "abcd"], maxRetries: 0 });
      same(r.embeddings[1], [0, 0.25, 0.5, 0.75], "vector");
    },
    400: (c) => rejects(() => ask(sdk, c.model, c.prompt("error-400")), APICallError,
      (e) => e.statusCode === 400 && !e.isRetryable && /scenario says no/.test(e.message)),
    401: (c) => rejects(() => ask(make("lyss_nonsense"), c.model, c.prompt()), APICallError, (e) => e.statusCode === 401 && !e.isRetryable),
    404: (c) => rejects(() => ask(sdk, c.model + "-nobody", c.prompt()), APICallError, (e) => e.statusCode === 404 && !e.isRetryable),
    429: failing("429", 429, (e) => e.isRetryable && e.responseHeaders["retry-after"] === "7"),
    500: failing("500", 500, (e) => e.isRetryable),
    529: failing("529", overloaded, (e) => e.isRetryable),
    async abort(c) {
      const stop = new AbortController();
      let n = 0;
      const r = streamText({ model: sdk.model(c.model), prompt: c.prompt("slow"), maxRetries: 0, abortSignal: stop.signal, onError() {} });
      for await (const x of r.textStream) if (x && ++n === 3) stop.abort();
      await c.letGo();
    },
  };
}

const openai = (key) => createOpenAI(at("/v1")(key));
const azure = (key) => createAzure(at("/openai/v1")(key));
const google = (key) => createGoogleGenerativeAI(at("/v1beta")(key));
const compatible = (key) => createOpenAICompatible({ name: "lyss", supportsStructuredOutputs: true, includeUsage: true, ...at("/v1")(key) });

const thoughtful = { openai: { forceReasoning: true, reasoningEffort: "medium", reasoningSummary: "auto", store: false,
  include: ["reasoning.encrypted_content"] } };
await main({
  "ai + openai": driver((k) => ({ model: openai(k), embedding: openai(k).embeddingModel }), { think: { providerOptions: thoughtful } }),
  "ai + openai, chat": driver((k) => ({ model: openai(k).chat }), { lacks: { thoughts: true, embeddings: "see the row of ai + openai" } }),
  "ai + anthropic": driver((k) => ({ model: createAnthropic(at("/v1")(k)) }), { overloaded: 529 }),
  "ai + google": driver((k) => ({ model: google(k), embedding: google(k).embeddingModel }), {
    think: { providerOptions: { google: { thinkingConfig: { includeThoughts: true, thinkingBudget: 2048 } } } } }),
  "ai + deepseek": driver((k) => ({ model: createDeepSeek(at("/v1")(k)) }), { summary: false, cache: (c) => c.wire === "deepseek" }),
  "ai + azure": driver((k) => ({ model: azure(k), embedding: azure(k).embeddingModel }), {
    think: { providerOptions: { ...thoughtful, azure: thoughtful.openai } } }),
  "ai + openai-compatible": driver((k) => ({ model: compatible(k), embedding: compatible(k).embeddingModel }), { summary: false }),
});
