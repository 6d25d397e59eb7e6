"""The Responses operation of the OpenAI wire: items in, items and a numbered event grammar out."""
import json

from .answer import Answer, Counter, data_url, pieces_of, result_text, sse, tag_of
from .openai import NAME, REASONING_MODEL, strict_schema
from .scenario import THOUGHTS, Talk, plan, sign, signed
from .shape import Either, Enum, Null, Number, Refused, Tagged, Text, check

INPUT_PART = Tagged("type", {
    "input_text": {"type!": str, "text!": str},
    "input_image": {"type!": str, "image_url": Null(str), "file_id": Null(str), "detail": Enum("auto", "low", "high", "original")},
    "input_file": {"type!": str, "file_data": str, "file_id": Null(str), "file_url": str, "filename": str}})
OUTPUT_PART = Tagged("type", {
    "output_text": {"type!": str, "text!": str, "annotations": [object], "logprobs": Null([object])},
    "refusal": {"type!": str, "refusal!": str}})
STATUS = Enum("in_progress", "completed", "incomplete")
ID = Null(Text(longest=64))
CALL_ID = Text(longest=64)
ITEM = Tagged("type", {
    "message": {"type": str, "role!": Enum("user", "assistant", "system", "developer"), "id": ID, "status": STATUS,
                "content!": Either(str, [Tagged("type", {**INPUT_PART.shapes, **OUTPUT_PART.shapes})]),
                "phase": Null(Enum("commentary", "final_answer"))},
    "function_call": {"type!": str, "id": ID, "call_id!": CALL_ID, "name!": Text(NAME), "arguments!": str, "status": STATUS},
    "function_call_output": {"type!": str, "id": ID, "call_id!": CALL_ID, "output!": Either(str, [INPUT_PART]), "status": Null(STATUS)},
    "reasoning": {"type!": str, "id!": Text(longest=64), "summary!": [{"type!": Enum("summary_text"), "text!": str}],
                  "content": Null([{"type!": Enum("reasoning_text"), "text!": str}]), "encrypted_content": Null(str),
                  "status": Null(STATUS)},
    "item_reference": {"type": str, "id!": str},
}, default="message")
TOOL = Tagged("type", {"function": {"type!": str, "name!": Text(NAME), "description": Null(str), "parameters": Null(object),
                                    "strict": Null(bool)}})
CHOICE = Either(Enum("none", "auto", "required"), Tagged("type", {
    "function": {"type!": str, "name!": Text(NAME)},
    "allowed_tools": {"type!": str, "mode!": Enum("auto", "required"), "tools!": [object]}}))
FORMAT = Tagged("type", {"text": {}, "json_object": {}, "json_schema": {
    "type!": str, "name!": Text(NAME), "schema!": object, "description": str, "strict": Null(bool)}})
SHAPE = {
    "model!": str, "input!": Either(str, [ITEM]), "background": Null(bool), "conversation": Null(object),
    "include": Null([Enum("reasoning.encrypted_content", "message.output_text.logprobs", "web_search_call.action.sources",
                          "message.input_image.image_url", "code_interpreter_call.outputs", "file_search_call.results")]),
    "instructions": Null(str), "max_output_tokens": Null(Number(16, whole=True)), "max_tool_calls": Null(int), "metadata": Null(object),
    "parallel_tool_calls": Null(bool), "previous_response_id": Null(str), "prompt_cache_key": Null(str),
    "prompt_cache_retention": Null(str), "reasoning": Null({
        "effort": Null(Enum("none", "minimal", "low", "medium", "high", "xhigh", "max")), "summary": Null(Enum("auto", "concise", "detailed")),
        "generate_summary": Null(str)}),
    "safety_identifier": Null(str), "service_tier": Null(Enum("auto", "default", "flex", "scale", "priority", "fast")),
    "store": Null(bool), "stream": Null(bool), "stream_options": Null({"include_obfuscation": bool}), "temperature": Null(Number(0, 2)),
    "text": {"format": FORMAT, "verbosity": Null(Enum("low", "medium", "high"))}, "tool_choice": CHOICE, "tools": [TOOL],
    "top_logprobs": Null(Number(0, 20, whole=True)), "top_p": Null(Number(0, 1)), "truncation": Null(Enum("auto", "disabled")), "user": str,
}
PREFIX = {"message": "msg", "function_call": "fc", "reasoning": "rs", "function_call_output": "fc"}


def bad(path, message, code=None):
    raise Refused("rule", path, message, code=code)


def rules(j):
    reasoning = bool(REASONING_MODEL.match(j["model"]))
    items = j["input"] if isinstance(j["input"], list) else []
    if isinstance(j["input"], list) and not items:
        bad(("input",), "Invalid 'input': empty array. Expected an array with minimum length 1.", "empty_array")
    calls, answered = {}, set()
    for i, item in enumerate(items):
        kind = item.get("type", "message")
        if item.get("id") and kind in PREFIX and not item["id"].startswith(PREFIX[kind]):
            bad(("input", i, "id"), f"Invalid 'input[{i}].id': '{item['id']}'. Expected an ID that begins with '{PREFIX[kind]}'.",
                "invalid_value")
        if kind == "function_call":
            calls[item["call_id"]] = i
        elif kind == "function_call_output":
            if item["call_id"] not in calls and not j.get("previous_response_id"):
                bad(("input",), f"No tool call found for function call output with call_id {item['call_id']}.")
            answered.add(item["call_id"])
        elif kind == "message" and isinstance(item["content"], list):
            wants = "output_text" if item["role"] == "assistant" else "input_text"
            for n, part in enumerate(item["content"]):
                if (part["type"] in ("output_text", "refusal")) != (item["role"] == "assistant"):
                    bad(("input", i, "content", n, "type"), f"Invalid value: '{part['type']}'. Supported values are: '{wants}'.",
                        "invalid_value")
        elif kind == "reasoning":
            if not item.get("encrypted_content"):
                bad(("input", i), f"Item with id '{item['id']}' not found. Items are not persisted when `store` is set to false.")
            if not signed("".join(s["text"] for s in item["summary"]) or "".join(THOUGHTS), item["encrypted_content"]):
                bad(("input", i), f"The encrypted content for item {item['id']} could not be verified.", "invalid_encrypted_content")
            if i + 1 >= len(items) or items[i + 1].get("type", "message") not in ("message", "function_call", "reasoning"):
                bad(("input", i), f"Item '{item['id']}' of type 'reasoning' was provided without its required following item.")
    for call, i in calls.items():
        if call not in answered:
            bad(("input",), f"No tool output found for function call {call}.")
    if "tools" not in j and j.get("tool_choice") not in (None, "auto", "none"):
        bad(("tool_choice",), "Tool choice 'required' must be specified with 'tools' parameter.")
    if not reasoning and (j.get("reasoning") or {}).get("effort"):
        bad(("reasoning", "effort"), "Unsupported parameter: 'reasoning.effort' is not supported with this model.", "unsupported_parameter")
    if reasoning:
        for k in ("temperature", "top_p"):
            if j.get(k) is not None:
                bad((k,), f"Unsupported parameter: '{k}' is not supported with this model.", "unsupported_parameter")
    f = (j.get("text") or {}).get("format") or {}
    if f.get("type") == "json_object" and "json" not in json.dumps([j["input"], j.get("instructions")]).lower():
        bad(("input",), "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.")
    if f.get("type") == "json_schema" and f.get("strict", True):
        strict_schema(f["schema"], ("response_format", f["name"]))
    for t in j.get("tools") or []:
        if t.get("strict", True) is True:
            strict_schema(t.get("parameters"), (f"function '{t['name']}'",))


def read(j):
    c, t = Counter(), Talk(j["model"], stream=bool(j.get("stream")))
    t.system = c.text(j.get("instructions") or "")
    items = j["input"] if isinstance(j["input"], list) else [{"role": "user", "content": j["input"]}]
    for i, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "function_call_output":
            out = item["output"] if isinstance(item["output"], str) else "".join(p.get("text", "") for p in item["output"])
            t.results.append(c.text(result_text(out)))
        elif kind in ("function_call", "reasoning") or item.get("role") == "assistant":
            t.results = []
        elif kind == "message":
            parts = [{"type": "input_text", "text": item["content"]}] if isinstance(item["content"], str) else item["content"]
            texts = [c.text(p["text"]) for p in parts if p["type"] == "input_text"]
            if item["role"] != "user":
                t.system += " ".join(texts)
            else:
                t.prompt, t.results = " ".join(texts), []
                t.images = [c.image(data_url(p["image_url"], ("input", i))) for p in parts if p["type"] == "input_image"]
    t.words, t.tag = c.words, tag_of(t.prompt)
    t.tools = [(x["name"], x.get("parameters") or {}) for x in j.get("tools") or []]
    choice = j.get("tool_choice")
    t.no_tools = choice == "none"
    t.forced = "any" if choice == "required" else choice.get("name") if isinstance(choice, dict) else None
    t.one_tool = j.get("parallel_tool_calls") is False
    f = (j.get("text") or {}).get("format") or {}
    t.schema = {} if f.get("type") == "json_object" else f["schema"] if f.get("type") == "json_schema" else None
    t.thinking = bool((j.get("reasoning") or {}).get("summary"))
    return t


def answer(wire, r, j):
    check(SHAPE, j)
    rules(j)
    talk = read(j)
    p = plan(talk)
    if p.error:
        a = wire.error(p.error)
    elif talk.stream:
        a = Answer(events=Stream(j, p, talk).events(), pause=p.pause, cut=p.error_mid)
    else:
        a = Answer(body=response(j, p, items(j, p, talk), final_status(p)))
    a.plan, a.talk = p, talk
    return a


def final_status(p):
    return "incomplete" if p.finish in ("length", "refusal") else "completed"


def items(j, p, talk):
    out = []
    if REASONING_MODEL.match(j["model"]) and (p.thoughts or p.calls):
        thoughts = "".join(p.thoughts or THOUGHTS)
        r = {"id": "rs_fake1", "type": "reasoning", "summary": [{"type": "summary_text", "text": thoughts}] if talk.thinking else []}
        if "reasoning.encrypted_content" in (j.get("include") or []):
            r["encrypted_content"] = sign(thoughts)
        out.append(r)
    if p.text:
        out.append({"id": "msg_fake1", "type": "message", "status": final_status(p), "role": "assistant",
                    "content": [{"type": "output_text", "text": "".join(p.text), "annotations": [], "logprobs": []}]})
    for i, (name, args) in enumerate(p.calls):
        out.append({"id": f"fc_fake{i}", "type": "function_call", "status": "completed", "call_id": f"call_fake{i}{len(name)}",
                    "name": name, "arguments": json.dumps(args) if args else "{}"})
    return out


def response(j, p, output, status):
    done = status not in ("in_progress", "queued")
    why = {"length": "max_output_tokens", "refusal": "content_filter"}.get(p.finish)
    return {
        "id": "resp_fake1", "object": "response", "created_at": 1770000000, "status": status, "access_programs": None,
        "background": False,
        "completed_at": 1770000001 if status == "completed" else None, "error": None,
        "incomplete_details": {"reason": why} if status == "incomplete" else None, "instructions": j.get("instructions"),
        "max_output_tokens": j.get("max_output_tokens"), "max_tool_calls": None, "model": j["model"], "output": output,
        "parallel_tool_calls": j.get("parallel_tool_calls", True), "previous_response_id": j.get("previous_response_id"),
        "prompt_cache_key": None, "reasoning": {"effort": (j.get("reasoning") or {}).get("effort"),
                                                "summary": (j.get("reasoning") or {}).get("summary")},
        "safety_identifier": None, "service_tier": "default", "store": j.get("store", True), "temperature": j.get("temperature", 1.0),
        "text": {"format": (j.get("text") or {}).get("format") or {"type": "text"}, "verbosity": "medium"},
        "tool_choice": j.get("tool_choice", "auto"), "tools": j.get("tools") or [], "top_logprobs": 0, "top_p": 1.0,
        "truncation": "disabled", "user": None, "metadata": j.get("metadata") or {},
        "usage": {"input_tokens": p.prompt, "input_tokens_details": {"cached_tokens": p.cached, "cache_write_tokens": 0},
                  "output_tokens": p.out, "output_tokens_details": {"reasoning_tokens": p.reasoning},
                  "total_tokens": p.prompt + p.out} if done else None,
    }


class Stream:
    """Writes the events of one response; each has the next number."""

    def __init__(self, j, p, talk):
        self.j, self.p, self.talk, self.out = j, p, talk, []

    def ev(self, kind, **fields):
        self.out.append(sse({"type": kind, "sequence_number": len(self.out), **fields}, kind))

    def events(self):
        self.ev("response.created", response=response(self.j, self.p, [], "in_progress"))
        self.ev("response.in_progress", response=response(self.j, self.p, [], "in_progress"))
        whole = items(self.j, self.p, self.talk)
        for n, item in enumerate(whole):
            {"reasoning": self.reasoning, "message": self.text, "function_call": self.call}[item["type"]](n, item)
            if self.p.error_mid:
                self.out = self.out[:8]
                self.ev("error", code="server_error", message="The server had an error while processing your request.", param=None)
                failed = response(self.j, self.p, [], "failed")
                failed.update(error={"code": "server_error", "message": "The server had an error while processing your request."}, usage=None)
                self.ev("response.failed", response=failed)
                return self.out
        status = final_status(self.p)
        self.ev(f"response.{status}", response=response(self.j, self.p, whole, status))
        return self.out

    def reasoning(self, n, item):
        self.ev("response.output_item.added", output_index=n, item={**item, "summary": []})
        at = {"item_id": item["id"], "output_index": n}
        if item["summary"]:
            text = item["summary"][0]["text"]
            self.ev("response.reasoning_summary_part.added", summary_index=0, part={"type": "summary_text", "text": ""}, **at)
            for x in self.p.thoughts or THOUGHTS:
                self.ev("response.reasoning_summary_text.delta", summary_index=0, delta=x, obfuscation="a1", **at)
            self.ev("response.reasoning_summary_text.done", summary_index=0, text=text, **at)
            self.ev("response.reasoning_summary_part.done", summary_index=0, part={"type": "summary_text", "text": text}, **at)
        self.ev("response.output_item.done", output_index=n, item=item)

    def text(self, n, item):
        self.ev("response.output_item.added", output_index=n, item={**item, "status": "in_progress", "content": []})
        at = {"item_id": item["id"], "output_index": n, "content_index": 0}
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self.ev("response.content_part.added", part=part, **at)
        for x in self.p.text:
            self.ev("response.output_text.delta", delta=x, logprobs=[], obfuscation="Qz", **at)
        text = item["content"][0]["text"]
        self.ev("response.output_text.done", text=text, logprobs=[], **at)
        self.ev("response.content_part.done", part={**part, "text": text}, **at)
        self.ev("response.output_item.done", output_index=n, item=item)

    def call(self, n, item):
        self.ev("response.output_item.added", output_index=n, item={**item, "status": "in_progress", "arguments": ""})
        at = {"item_id": item["id"], "output_index": n}
        for x in pieces_of(item["arguments"]):
            self.ev("response.function_call_arguments.delta", delta=x, obfuscation="k", **at)
        self.ev("response.function_call_arguments.done", arguments=item["arguments"], **at)
        self.ev("response.output_item.done", output_index=n, item=item)
