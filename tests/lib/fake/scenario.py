"""What the fake says: one plan for a conversation, whatever the wire it came on.

A wire reads a request into a `Talk`; `plan()` makes the answer from the
scenario keyword in the last user turn (`scenario:tool`, …), and the wire writes
it down in its own words.  So the same prompt gets the same answer behind every
wire, and a test knows what to expect without knowing the way it took.

    scenario:tool        the first tool (or the one that is forced), arguments made from its schema
    scenario:parallel    the first two tools (the first twice, if there is one)
    scenario:empty       the first tool with no arguments
    scenario:thinking    thoughts before the text (where asked for)
    scenario:thinking-tool  thoughts before a call
    scenario:refusal     the provider's content filter
    scenario:length      cut off by the token limit
    scenario:slow        many pieces with pauses between them
    scenario:error-429   also 400, 401, 403, 404, 500, 503, 529: the provider's error body
    scenario:error-400-context  a prompt that is too long
    scenario:error-mid   an error inside a stream that has begun

Anything else is answered with a text: results of tools are repeated, pictures
are described, a JSON schema is filled in, and the rest gets `TEXT`.
"""
import hashlib
import hmac
import base64
import json
import re
from dataclasses import dataclass, field

PIECES = ["The ", "gateway ", "carries ", "every word", ", ünïcode, ", "漢字 ", "and ", "\"quotes\" ", "too."]
TEXT = "".join(PIECES)
THOUGHTS = ["Let me think. ", "Two and two ", "are four."]
CUT = ["This answer ", "is cut"]
REFUSED = ["I cannot "]
IMAGE_TOKENS = 50
SIGNING_KEY = b"the fake's own"


@dataclass
class Talk:
    """A request as far as the answer depends on it."""
    model: str
    prompt: str = ""                 # text of the last user turn that is not a tool's result
    results: list = field(default_factory=list)   # texts of tool results that end the conversation
    images: list = field(default_factory=list)    # (mime type, bytes or URL) of the last user turn
    tools: list = field(default_factory=list)     # (name, schema)
    forced: str = None               # a tool's name, or "any"
    no_tools: bool = False           # tool_choice none
    one_tool: bool = False           # parallel calls are switched off
    schema: dict = None              # structured output; {} is any JSON object
    thinking: bool = False           # thoughts are shown
    words: int = 0                   # tokens of the prompt
    system: str = ""
    stream: bool = False
    tag: str = None


@dataclass
class Plan:
    text: list = field(default_factory=list)
    thoughts: list = field(default_factory=list)
    calls: list = field(default_factory=list)     # (name, arguments)
    finish: str = "stop"             # stop, tool, length, refusal
    error: str = None                # "429", "400-context", …
    error_mid: bool = False
    pause: float = 0
    prompt: int = 0                  # tokens, cached ones included
    cached: int = 0
    out: int = 0                     # tokens, reasoning included
    reasoning: int = 0

    @property
    def usage(self):
        return {"prompt": self.prompt, "cached": self.cached, "out": self.out, "reasoning": self.reasoning}


def tokens(text):
    """A word is a token."""
    return len(text.split())


def instance(schema, depth=0):
    """A value that fits a JSON schema; the same each time."""
    s = schema if isinstance(schema, dict) else {}
    for key in ("anyOf", "oneOf", "allOf"):
        if s.get(key) and depth < 8:
            return instance(s[key][0], depth + 1)
    if "const" in s:
        return s["const"]
    if s.get("enum"):
        return s["enum"][0]
    kind = s.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    kind = kind.lower() if isinstance(kind, str) else "object" if "properties" in s else None
    if kind == "object":
        return {k: instance(v, depth + 1) for k, v in (s.get("properties") or {}).items()} if depth < 8 else {}
    if kind == "array":
        return [instance(s.get("items") or {}, depth + 1)]
    return {"integer": 21, "number": 21.5, "boolean": True, "null": None}.get(kind, "Paris")


def instructed(talk):
    """The schema that the instructions hold in words, as clients write it for models without such a mode."""
    m = re.search(r"[Ss]chema[^{]{0,40}(\{.*\})", f"{talk.system}\n{talk.prompt}", re.S)
    try:
        return json.loads(m[1].split("\n")[0]) if m else None
    except ValueError:
        return None


def plan(talk):
    m = re.search(r"scenario:([a-z0-9-]+)", talk.prompt)
    name = m[1] if m else "text"
    p = Plan(prompt=talk.words)
    p.cached = p.prompt // 3
    if name.startswith("error-") and name != "error-mid":
        p.error = name[6:]
        return p
    tools = [] if talk.no_tools else talk.tools
    if talk.forced and talk.forced != "any":
        tools = [t for t in tools if t[0] == talk.forced]
    wants_tool = name in ("tool", "parallel", "empty", "thinking-tool") or talk.forced
    if name.startswith("thinking"):
        p.thoughts = list(THOUGHTS)
    if wants_tool and tools and (talk.forced or not talk.results):
        chosen = (tools * 2)[:2] if name == "parallel" and not talk.one_tool else tools[:1]
        p.calls = [(n, {} if name == "empty" else instance(schema)) for n, schema in chosen]
        p.finish = "tool"
    elif talk.schema is not None or instructed(talk):
        talk.schema = talk.schema or instructed(talk)
        whole = json.dumps(instance(talk.schema) if talk.schema else {"city": "Paris"})
        p.text = [whole[i:i + 7] for i in range(0, len(whole), 7)]
    elif talk.results:
        p.text = ["Results: ", "; ".join(talk.results), "."]
    elif talk.images:
        p.text = ["I see ", ", ".join(described(*i) for i in talk.images), "."]
    elif name == "refusal":
        p.text, p.finish = list(REFUSED), "refusal"
    elif name == "length":
        p.text, p.finish = list(CUT), "length"
    elif name == "slow":
        p.text, p.pause = [f"word{i} " for i in range(200)], 0.05
    elif name == "error-mid":
        p.text, p.error_mid = list(PIECES), True
    else:
        p.text = list(PIECES)
    p.reasoning = tokens("".join(p.thoughts)) if p.thoughts else 3
    p.out = p.reasoning + len(p.text) + 5 * len(p.calls)
    return p


def described(mime, data):
    """What the fake says about a picture: a digest shows that each byte arrived."""
    if isinstance(data, str):
        return f"{data}"
    return f"{mime} {hashlib.sha256(data).hexdigest()[:8]}"


def sign(text):
    """A signature for a block of the fake's own making."""
    mac = hmac.new(SIGNING_KEY, text.encode(), hashlib.sha256).digest()
    return base64.b64encode(mac + b"lyss-fake" * 8).decode()


def signed(text, signature):
    return isinstance(signature, str) and hmac.compare_digest(sign(text), signature)


def canonical(name, args):
    return name + json.dumps(args, sort_keys=True, ensure_ascii=False)
