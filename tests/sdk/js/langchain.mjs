// LangChain with its OpenAI and Anthropic packages, on every wire.
import assert from "node:assert/strict";
import { ChatAnthropic } from "@langchain/anthropic";
import { HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { ANSWERS, CALLED, ENV, PNG, SEEN, SYSTEM, TEXT, TOOLS, WEATHER, answerOf, main, rejects, same } from "./matrix.mjs";

const tools = TOOLS.map(([name, description, parameters]) => ({ type: "function", function: { name, description, parameters } }));
const called = (calls) => calls?.map((c) => [c.name, c.args]);

/* make(model, key): a chat model.  first: it takes a stream's input tokens from its first event, where a gateway
 * can only estimate them. */
function driver(make, { overloaded = [503], first = false, embeddings, lacks = {} } = {}) {
  const say = (prompt) => [new SystemMessage(SYSTEM), new HumanMessage(prompt)];
  const failing = (name, statuses, check = () => true) => (c) =>
    rejects(() => make(c.failing).invoke(say(c.prompt(`error-${name}`))), Error, (e) => statuses.includes(e.status) && check(e));
  const used = async (c, u) => {
    same(u.total_tokens, u.input_tokens + u.output_tokens, "total");
    await c.usage(u.input_tokens, u.output_tokens, u.input_token_details?.cache_read);
  };

  async function roundTrip(c, scenario, names) {
    const model = make(c.model).bindTools(tools);
    const messages = say(c.prompt(scenario));
    let first;
    for await (const x of await model.stream(messages)) first = first ? first.concat(x) : x;
    same(called(first.tool_calls), names.map((n) => [n, CALLED[n]]), "calls");
    messages.push(first, ...first.tool_calls.map((t) => new ToolMessage({ content: ANSWERS[t.name], tool_call_id: t.id, name: t.name })));
    const r = await model.invoke(messages);
    same(r.text, answerOf(names), "answer");
  }

  return {
    lacks: { thinking: "LangChain is tested without thoughts", ...lacks },
    async whole(c) {
      const r = await make(c.model).invoke(say(c.prompt()));
      same(r.text, TEXT, "text");
      await used(c, r.usage_metadata);
    },
    async stream(c) {
      let all, n = 0;
      for await (const x of await make(c.model).stream(say(c.prompt()))) {
        all = all ? all.concat(x) : x;
        n += x.text ? 1 : 0;
      }
      same(all.text, TEXT, "text");
      assert.ok(n > 3, `the text came in ${n} pieces`);
      if (first) assert.ok(all.usage_metadata.input_tokens > 0);
      else await used(c, all.usage_metadata);
    },
    async tools(c) { await roundTrip(c, "tool", ["weather"]); },
    async parallel(c) {
      await roundTrip(c, "parallel", ["weather", "clock"]);
      const r = await make(c.model).bindTools(tools).invoke(say(c.prompt("parallel")));
      same(called(r.tool_calls), [["weather", CALLED.weather], ["clock", CALLED.clock]], "calls, whole");
    },
    async structured(c) {
      const r = await make(c.model).withStructuredOutput(WEATHER, { name: "place", method: lacks.jsonSchema ? undefined : "jsonSchema" })
        .invoke(say(c.prompt()));
      same(r, { city: "Paris" }, "object");
    },
    async image(c) {
      c.noImages();
      const r = await make(c.model).invoke([new HumanMessage({ content: [{ type: "text", text: c.prompt() },
        { type: "image_url", image_url: { url: `data:image/png;base64,${PNG}` } }] })]);
      same(r.text, SEEN, "text");
    },
    ...(embeddings ? { async embeddings(c) {
      c.noEmbeddings();
      const r = await embeddings(c.embedding).embedDocuments([`${c.prompt()} abc`, "abcd"]);
      same(r[1], [0, 0.25, 0.5, 0.75], "vector");
    } } : {}),
    400: (c) => rejects(() => make(c.model).invoke(say(c.prompt("error-400"))), Error,
      (e) => e.status === 400 && /scenario says no/.test(e.message)),
    401: (c) => rejects(() => make(c.model, "lyss_nonsense").invoke(say(c.prompt())), Error, (e) => e.status === 401),
    404: (c) => rejects(() => make(c.model + "-nobody").invoke(say(c.prompt())), Error, (e) => e.status === 404),
    429: failing("429", [429], (e) => (e.headers?.get?.("retry-after") ?? e.headers?.["retry-after"]) === "7"),
    500: failing("500", [500]),
    529: failing("529", overloaded),
    async abort(c) {
      const stop = new AbortController();
      let n = 0;
      try {
        for await (const x of await make(c.model).stream(say(c.prompt("slow")), { signal: stop.signal })) if (x.text && ++n === 3) stop.abort();
      } catch (e) { assert.ok(/abort/i.test(`${e}`), `${e}`); }
      await c.letGo();
    },
  };
}

await main({
  "LangChain openai": driver((model, apiKey = ENV.key) => new ChatOpenAI({ model, apiKey, maxRetries: 0, useResponsesApi: false,
    configuration: { baseURL: ENV.url + "/v1" } }), { embeddings: (model) => new OpenAIEmbeddings({ model, apiKey: ENV.key, maxRetries: 0,
    configuration: { baseURL: ENV.url + "/v1" } }) }),
  "LangChain anthropic": driver((model, apiKey = ENV.key) => new ChatAnthropic({ model, apiKey, maxRetries: 0, maxTokens: 300,
    anthropicApiUrl: ENV.url }), { overloaded: [503, 529], first: true, lacks: { jsonSchema: true, embeddings: "Anthropic's API has no embeddings" } }),
});
