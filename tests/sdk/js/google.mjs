// The `@google/genai` package: generateContent, its stream, embeddings and counting, on every wire.
import assert from "node:assert/strict";
import { ApiError, FinishReason, FunctionCallingConfigMode, GoogleGenAI } from "@google/genai";
import { ANSWERS, CALLED, ENV, PNG, SEEN, SYSTEM, TEXT, THOUGHTS, TOOLS, WEATHER, answerOf, main, rejects, same } from "./matrix.mjs";

const make = (apiKey) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: ENV.url, timeout: 30000 } }).models;
const sdk = make(ENV.key);
const tools = [{ functionDeclarations: TOOLS.map(([name, description, parametersJsonSchema]) => ({ name, description, parametersJsonSchema })) }];
const config = { systemInstruction: SYSTEM };
const ask = (s, model, contents) => s.generateContent({ model, contents });
const body = (e) => JSON.parse(e.message).error;
const is = (code, status) => (e) => e.status === code && body(e).status === status;
const used = async (c, u) => {
  const thoughts = u.thoughtsTokenCount ?? 0;
  same(u.totalTokenCount, u.promptTokenCount + u.candidatesTokenCount + thoughts, "total");
  await c.usage(u.promptTokenCount, u.candidatesTokenCount + thoughts, u.cachedContentTokenCount ?? 0);
};

async function roundTrip(c, scenario, names, stream, more = {}) {
  const call = { model: c.model, config: { ...config, tools, ...more } };
  const contents = [{ role: "user", parts: [{ text: c.prompt(scenario) }] }];
  let parts = [];
  if (stream) {
    for await (const x of await sdk.generateContentStream({ ...call, contents })) parts.push(...(x.candidates?.[0]?.content?.parts ?? []));
    parts = parts.filter((p) => p.functionCall || p.thought);
  } else parts = (await sdk.generateContent({ ...call, contents })).candidates[0].content.parts;
  const calls = parts.filter((p) => p.functionCall).map((p) => p.functionCall);
  same(calls.map((f) => [f.name, f.args]), names.map((n) => [n, CALLED[n]]), "calls");
  contents.push({ role: "model", parts }, { role: "user", parts: calls.map(({ id, name }) =>
    ({ functionResponse: { id, name, response: { output: ANSWERS[name] } } })) });
  const r = await sdk.generateContent({ ...call, contents });
  same(r.text, answerOf(names), "answer");
  return parts;
}

const driver = {
  async whole(c) {
    const r = await sdk.generateContent({ model: c.model, contents: c.prompt(), config });
    same([r.text, r.candidates[0].finishReason], [TEXT, FinishReason.STOP]);
    await used(c, r.usageMetadata);
    assert.ok((await sdk.countTokens({ model: c.model, contents: "one two three" })).totalTokens > 0);
  },
  async stream(c) {
    const pieces = [], finishes = [];
    let usage;
    for await (const x of await sdk.generateContentStream({ model: c.model, contents: c.prompt(), config })) {
      if (x.text) pieces.push(x.text);
      finishes.push(...(x.candidates ?? []).map((y) => y.finishReason).filter(Boolean));
      usage = x.usageMetadata ?? usage;
    }
    same([pieces.join(""), finishes], [TEXT, [FinishReason.STOP]]);
    assert.ok(pieces.length > 3, `the text came in ${pieces.length} pieces`);
    await used(c, usage);
  },
  async tools(c) {
    await roundTrip(c, "tool", ["weather"], true);
    const r = await sdk.generateContent({ model: c.model, contents: c.prompt(), config: { tools,
      toolConfig: { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY, allowedFunctionNames: ["clock"] } } } });
    same(r.functionCalls?.map((f) => f.name), ["clock"], "the named tool");
  },
  async parallel(c) { await roundTrip(c, "parallel", ["weather", "clock"], false); },
  async structured(c) {
    const r = await sdk.generateContent({ model: c.model, contents: c.prompt(), config: { ...config, responseMimeType: "application/json",
      responseSchema: { type: "OBJECT", properties: { city: { type: "STRING" } }, required: ["city"] } } });
    same(JSON.parse(r.text), { city: "Paris" }, "object");
  },
  async image(c) {
    c.noImages();
    const r = await sdk.generateContent({ model: c.model, contents: [{ role: "user", parts: [{ text: c.prompt() },
      { inlineData: { mimeType: "image/png", data: PNG } }] }] });
    same(r.text, SEEN, "text");
  },
  async thinking(c) {
    c.noThoughts();
    const parts = await roundTrip(c, "thinking-tool", ["weather"], false, { thinkingConfig: { includeThoughts: true, thinkingBudget: 2048 } });
    same(parts.filter((p) => p.thought).map((p) => p.text).join(""), THOUGHTS, "thoughts");
  },
  async embeddings(c) {
    c.noEmbeddings();
    const r = await sdk.embedContent({ model: c.embedding, contents: [`${c.prompt()} abc`, "abcd"] });
    same(r.embeddings[1].values, [0, 0.25, 0.5, 0.75], "vector");
  },
  400: (c) => rejects(() => ask(sdk, c.model, c.prompt("error-400")), ApiError,
    (e) => is(400, "INVALID_ARGUMENT")(e) && /scenario says no/.test(e.message)),
  401: (c) => rejects(() => ask(make("lyss_nonsense"), c.model, c.prompt()), ApiError, is(401, "UNAUTHENTICATED")),
  404: (c) => rejects(() => ask(sdk, c.model + "-nobody", c.prompt()), ApiError, is(404, "NOT_FOUND")),
  429: (c) => rejects(() => ask(sdk, c.failing, c.prompt("error-429")), ApiError, (e) => is(429, "RESOURCE_EXHAUSTED")(e) &&
    body(e).details?.some((d) => d.retryDelay === "7s")),
  500: (c) => rejects(() => ask(sdk, c.failing, c.prompt("error-500")), ApiError, is(500, "INTERNAL")),
  529: (c) => rejects(() => ask(sdk, c.failing, c.prompt("error-529")), ApiError, is(503, "UNAVAILABLE")),
  async abort(c) {
    const stop = new AbortController();
    let n = 0;
    try {
      for await (const x of await sdk.generateContentStream({ model: c.model, contents: c.prompt("slow"),
        config: { abortSignal: stop.signal } })) if (x.text && ++n === 3) stop.abort();
    } catch (e) { assert.ok(/abort/i.test(`${e}`), `${e}`); }
    await c.letGo();
  },
};

await main({ "@google/genai": driver });
