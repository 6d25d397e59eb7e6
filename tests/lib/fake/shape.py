"""Shapes of JSON, as data: what a strict server lets into a request.

A shape is `str`, `int`, `float` (any number), `bool`, `object` (anything), a
list of one shape, a dict of fields (`"name!"` must be there; no other key may),
or one of the classes below.  `check` raises `Refused` at the first value that
does not fit, with the path to it; each wire turns that into its own words.
"""
import re


class Refused(Exception):
    """What a provider refuses.  kind: unknown, type, missing, value, rule."""

    def __init__(self, kind, path=(), message="", want=None, got=None, **more):
        super().__init__(f"{kind} at {dotted(path)}: {message or want}")
        self.kind, self.path, self.message, self.want, self.got, self.more = kind, tuple(path), message, want, got, more


def dotted(path, brackets=False):
    out = ""
    for p in path:
        if isinstance(p, int):
            out += f"[{p}]" if brackets else f".{p}" if out else str(p)
        else:
            out += f".{p}" if out else p
    return out


class Null:
    """The shape, or null."""

    def __init__(self, shape):
        self.shape = shape


class Enum:
    def __init__(self, *values):
        self.values = values


class Either:
    """The first of these whose outer type fits."""

    def __init__(self, *shapes):
        self.shapes = shapes


class Tagged:
    """An object whose fields are decided by the value of one of them."""

    def __init__(self, tag, shapes, default=None):
        self.tag, self.shapes, self.default = tag, shapes, default


class Text:
    """A string with a form or a length."""

    def __init__(self, pattern=None, longest=None):
        self.pattern, self.longest = pattern, longest


class Number:
    def __init__(self, low=None, high=None, whole=False):
        self.low, self.high, self.whole = low, high, whole


NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", object: "value"}


def name_of(shape):
    if shape in (str, int, float, bool, object):
        return NAMES[shape]
    if isinstance(shape, (Text, Enum)):
        return "string"
    if isinstance(shape, Number):
        return "integer" if shape.whole else "number"
    if isinstance(shape, list):
        return "array"
    if isinstance(shape, Null):
        return name_of(shape.shape)
    if isinstance(shape, Either):
        return " or ".join(name_of(s) for s in shape.shapes)
    return "object"


def kind_of(value):
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object")):
        if isinstance(value, kind):
            return name
    return "null"


def fits(shape, value):
    """Is the value of the outer type that the shape wants?"""
    have, want = kind_of(value), name_of(shape)
    if isinstance(shape, Null):
        return value is None or fits(shape.shape, value)
    if isinstance(shape, Either):
        return any(fits(s, value) for s in shape.shapes)
    if isinstance(shape, Enum):
        return value in shape.values and kind_of(value) in ("string", "integer", "boolean")
    return shape is object or have == want or (want == "number" and have == "integer")


def check(shape, value, path=()):
    if isinstance(shape, Either):
        for s in shape.shapes:
            if fits(s, value):
                return check(s, value, path)
        strings = [v for s in shape.shapes if isinstance(s, Enum) for v in s.values]
        if isinstance(value, str) and strings:
            raise Refused("value", path, want=strings, got=value)
        raise Refused("type", path, want=name_of(shape), got=kind_of(value))
    if isinstance(shape, Null):
        return None if value is None else check(shape.shape, value, path)
    if isinstance(shape, Enum) and isinstance(value, str) and value not in shape.values:
        raise Refused("value", path, want=list(shape.values), got=value)
    if not fits(shape, value):
        raise Refused("type", path, want=name_of(shape), got=kind_of(value))
    if isinstance(shape, Text):
        if shape.longest and len(value) > shape.longest:
            raise Refused("long", path, want=shape.longest, got=len(value))
        if shape.pattern and not re.fullmatch(shape.pattern, value):
            raise Refused("pattern", path, want=shape.pattern, got=value)
    elif isinstance(shape, Number):
        if shape.low is not None and value < shape.low:
            raise Refused("low", path, want=shape.low, got=value)
        if shape.high is not None and value > shape.high:
            raise Refused("high", path, want=shape.high, got=value)
    elif isinstance(shape, list):
        for i, v in enumerate(value):
            check(shape[0], v, (*path, i))
    elif isinstance(shape, Tagged):
        tag = value.get(shape.tag, shape.default)
        if tag is None:
            raise Refused("missing", (*path, shape.tag))
        if not isinstance(tag, str):
            raise Refused("type", (*path, shape.tag), want="string", got=kind_of(tag))
        if tag not in shape.shapes:
            raise Refused("value", (*path, shape.tag), want=sorted(shape.shapes), got=tag)
        fields = dict(shape.shapes[tag])
        if shape.tag + "!" not in fields:
            fields.setdefault(shape.tag, str)
        check_fields(fields, value, path)
    elif isinstance(shape, dict):
        check_fields(shape, value, path)
    return None


def check_fields(shape, value, path):
    fields = {k.rstrip("!"): s for k, s in shape.items()}
    for k in value:
        if k not in fields:
            raise Refused("unknown", (*path, k))
    for k in shape:
        if k.endswith("!") and k[:-1] not in value:
            raise Refused("missing", (*path, k[:-1]))
    for k, v in value.items():
        check(fields[k], v, (*path, k))
