// What the drivers of the JavaScript SDKs share: the prompts, what is expected, and how cells are run.
// A driver is an object with an async function for each scenario; a missing one does not apply.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";

export const ENV = JSON.parse(process.env.MATRIX);
export const { text: TEXT, thoughts: THOUGHTS, png: PNG } = ENV;
export const SEEN = `I see image/png ${createHash("sha256").update(Buffer.from(PNG, "base64")).digest("hex").slice(0, 8)}.`;
export const SYSTEM = "Be brief, answer in JSON if asked.";
export const WEATHER = { type: "object", properties: { city: { type: "string", description: "Where" } }, required: ["city"],
  additionalProperties: false };
export const CLOCK = { type: "object", properties: { zone: { type: "string", enum: ["CET", "UTC"] } }, required: ["zone"],
  additionalProperties: false };
export const TOOLS = [["weather", "Weather of a city", WEATHER], ["clock", "Time in a zone", CLOCK]];
export const ANSWERS = { weather: "21 degrees", clock: "noon" };
export const CALLED = { weather: { city: "Paris" }, clock: { zone: "CET" } };
export const answerOf = (names) => `Results: ${names.map((n) => ANSWERS[n]).join("; ")}.`;
const SCENARIOS = ["whole", "stream", "tools", "parallel", "structured", "image", "thinking", "embeddings", "400", "401", "404", "429",
  "500", "529", "abort"];

export class NotApplicable extends Error {}
export const same = (got, want, what = "value") => assert.deepEqual(got, want, `${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export async function rejects(promise, kind, check = () => true) {
  let e;
  try { await promise(); } catch (caught) { e = caught; }
  assert.ok(e, `no ${kind.name}`);
  assert.ok(kind.isInstance?.(e) ?? e instanceof kind, `${e.constructor.name}, not ${kind.name}: ${e.message}`);
  assert.ok(check(e), `${kind.name} without what it must hold: ${e.message} ${JSON.stringify(e)?.slice(0, 500)}`);
}

class Cell {
  constructor(row, wire, scenario) {
    const w = ENV.wires[wire];
    Object.assign(this, { row, wire, scenario, model: w.model, embedding: w.embedding, failing: w.failing[row] ?? w.model });
    this.tag = `${row}.${wire}.${scenario}`.replace(/[^A-Za-z0-9.-]/g, "_");
  }

  prompt(scenario = "text", words = "What do you say?") { return `scenario:${scenario} tag:${this.tag} ${words}`; }

  async oracle() {
    for (const end = Date.now() + 10000; ;) {
      const seen = await (await fetch(`${ENV.fake}/oracle?tag=${this.tag}`, { headers: { "accept-encoding": "identity" } })).json();
      if (seen.length && seen.every((e) => e.outcome !== "open")) return seen;
      assert.ok(Date.now() < end, `the upstream saw ${JSON.stringify(seen)}`);
      await sleep(30);
    }
  }

  async usage(prompt, out, cached, reasoning) {
    const seen = (await this.oracle()).at(-1).usage;
    const counted = `upstream counted ${JSON.stringify(seen)}`;
    assert.ok(prompt === seen.prompt && out === seen.out, `usage ${prompt}/${out}, ${counted}`);
    assert.ok(cached == null || cached === seen.cached, `cached ${cached}, ${counted}`);
    assert.ok(reasoning == null || reasoning === seen.reasoning, `reasoning ${reasoning}, ${counted}`);
  }

  async letGo() { assert.equal((await this.oracle()).at(-1).outcome, "gone", "the upstream wrote to the end"); }

  noImages() { if (this.wire === "deepseek") throw new NotApplicable("deepseek-v4-pro takes text only"); }
  noSchemas() { if (this.wire === "deepseek") throw new NotApplicable("DeepSeek's Messages API has no JSON output"); }
  noThoughts() { if (this.wire === "openai-chat") throw new NotApplicable("chat completions of OpenAI do not show thoughts"); }
  noEmbeddings() { if (!this.embedding) throw new NotApplicable("the provider has no embeddings"); }
}

async function runCell([driver, row, wire, scenario]) {
  const out = { row, wire, scenario };
  let timer;
  try {
    if (!driver[scenario]) throw new NotApplicable(driver.lacks?.[scenario] ?? "this SDK has no such call");
    const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error("no answer within 60 s")), 60000); });
    await Promise.race([driver[scenario](new Cell(row, wire, scenario)), late]);
    out.result = "pass";
  } catch (e) {
    if (e instanceof NotApplicable) Object.assign(out, { result: "n/a", why: e.message });
    else Object.assign(out, { result: "fail", why: `${e.constructor.name}: ${e.message}`.slice(0, 700), trace: e.stack?.slice(0, 2500) });
  }
  clearTimeout(timer);
  console.log(JSON.stringify(out));
}

export async function main(drivers) {
  let cells = Object.entries(drivers).flatMap(([row, d]) =>
    Object.keys(ENV.wires).flatMap((wire) => SCENARIOS.map((s) => [d, row, wire, s])));
  cells = cells.filter(([, row, wire, s]) => (!ENV.rows || ENV.rows.includes(row)) &&
    ENV.only.every((o) => o.split(",").some((w) => `${row}|${wire}|${s}|`.includes(w))));
  for (const late of [false, true]) {           // a throttled channel rests: nothing may come after it
    const some = cells.filter((c) => (c[3] === "429") === late);
    await Promise.all(Array.from({ length: 6 }, async () => { while (some.length) await runCell(some.shift()); }));
  }
  process.exit(0);
}
