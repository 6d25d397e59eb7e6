"""What every wire of the fake shares: its answers, the texts it counts, and SSE framing."""
import base64
import json
import re
from dataclasses import dataclass

from .scenario import IMAGE_TOKENS, tokens
from .shape import Refused


@dataclass
class Answer:
    status: int = 200
    body: dict = None
    events: list = None              # framed SSE events as bytes
    pause: float = 0                 # between events
    headers: tuple = ()
    plan: object = None
    talk: object = None
    refused: str = None              # why, in words for the log
    cut: bool = False                # end the stream here, without its terminal event


def sse(doc, event=None, end=b"\n"):
    data = doc if isinstance(doc, str) else json.dumps(doc, ensure_ascii=False, separators=(",", ":"))
    return (b"event: " + event.encode() + end if event else b"") + b"data: " + data.encode() + end * 2


def pieces_of(text, n=9):
    """Arguments in fragments, as providers stream them."""
    return [text[i:i + n] for i in range(0, len(text), n)]


def tag_of(text):
    m = re.search(r"tag:([A-Za-z0-9_.-]+)", text)
    return m[1] if m else None


def result_text(value):
    """A tool's result as one line, the same from every wire."""
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except ValueError:
            return value
        return result_text(inner) if isinstance(inner, dict) else value
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("output", "result"):
        return result_text(next(iter(value.values())))
    if isinstance(value, dict) and set(value) == {"name", "content"}:        # as some clients wrap it for Google
        return result_text(value["content"])
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def data_url(url, path):
    """(mime, bytes) of a data URL, (None, url) of an https one."""
    m = re.fullmatch(r"data:([a-z]+/[a-z0-9.+-]+);base64,([A-Za-z0-9+/]+=*)", url)
    if m:
        return m[1], base64.b64decode(m[2])
    if not re.match(r"https?://[^/]+", url):
        raise Refused("rule", path, f"'{url[:40]}' is neither a data URL nor an https URL")
    return None, url


def base64_bytes(text, path, url_safe=False):
    try:
        return base64.b64decode(text, altchars=b"-_" if url_safe and re.search("[-_]", text) else None, validate=True)
    except ValueError:
        raise Refused("rule", path, "invalid base64 data")


class Counter:
    """Sums the tokens of a prompt: words of what system, users and tools said, and pictures."""

    def __init__(self):
        self.words = 0

    def text(self, text):
        self.words += tokens(text)
        return text

    def image(self, image):
        self.words += IMAGE_TOKENS
        return image
