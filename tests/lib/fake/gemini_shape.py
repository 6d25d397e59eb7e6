"""Shapes of the Gemini wire, and the schema keywords that it knows."""
from .shape import Enum, Number, Refused, Text, kind_of

NAME = r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}"
BLOB = {"mimeType!": str, "data!": str, "displayName": str}
PART = {"text": str, "thought": bool, "thoughtSignature": str, "inlineData": BLOB,
        "fileData": {"fileUri!": str, "mimeType": str, "displayName": str},
        "functionCall": {"name!": Text(NAME), "args": object, "id": str},
        "functionResponse": {"name!": Text(NAME), "response!": object, "id": str, "willContinue": bool, "scheduling": str},
        "mediaResolution": object, "videoMetadata": object}
DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
CONTENT = {"role": str, "parts": [PART]}
DECLARATION = {"name!": Text(NAME), "description": str, "parameters": object, "parametersJsonSchema": object, "response": object,
               "responseJsonSchema": object, "behavior": str}
TOOL = {"functionDeclarations": [DECLARATION], "googleSearch": object, "codeExecution": object, "urlContext": object}
MODE = Enum("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")
TOOL_CONFIG = {"functionCallingConfig": {"mode": MODE, "allowedFunctionNames": [str]}}
CONFIG = {"temperature": Number(0, 2), "topP": Number(0, 1), "topK": float, "candidateCount": Number(1, 8, whole=True),
          "maxOutputTokens": Number(1, whole=True), "stopSequences": [str], "seed": int, "presencePenalty": Number(-2, 2),
          "frequencyPenalty": Number(-2, 2), "responseMimeType": Enum("text/plain", "application/json", "text/x.enum"),
          "responseSchema": object, "responseJsonSchema": object, "responseLogprobs": bool, "logprobs": Number(0, 20, whole=True),
          "responseModalities": [str], "mediaResolution": str,
          "thinkingConfig": {"includeThoughts": bool, "thinkingBudget": int,
                             "thinkingLevel": Enum("MINIMAL", "LOW", "MEDIUM", "HIGH", "minimal", "low", "medium", "high")}}
GENERATE = {"contents!": [CONTENT], "systemInstruction": CONTENT, "tools": [TOOL], "toolConfig": TOOL_CONFIG,
            "generationConfig": CONFIG, "safetySettings": [{"category!": str, "threshold!": str, "method": str}],
            "cachedContent": str, "model": str, "serviceTier": str}
COUNT = {"contents": [CONTENT], "generateContentRequest": object}
EMBED = {"model": str, "content!": CONTENT, "taskType": str, "title": str, "outputDimensionality": Number(1, whole=True)}
BATCH = {"requests!": [{**EMBED, "model!": str}]}

TYPES = ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
KEYWORDS = {"type": str, "format": str, "title": str, "description": str, "nullable": bool, "enum": list, "maxItems": int, "minItems": int,
            "properties": dict, "required": list, "minProperties": int, "maxProperties": int, "minLength": int, "maxLength": int,
            "pattern": str, "example": object, "anyOf": list, "propertyOrdering": list, "default": object, "items": dict,
            "minimum": float, "maximum": float}


def schema_rules(s, path, top=False):
    """Refuses what is not in Google's subset of JSON schema."""
    if not isinstance(s, dict):
        raise Refused("type", path, want="object", got=kind_of(s))
    for k, v in s.items():
        if k not in KEYWORDS:
            raise Refused("unknown", (*path, k))
        if k == "type" and not isinstance(v, str):
            raise Refused("type", (*path, k), want="string", got=kind_of(v))
    kind = s.get("type", "").upper()
    if kind and kind not in TYPES:
        raise Refused("value", (*path, "type"), want=list(TYPES), got=s["type"])
    if not kind and "anyOf" not in s:
        raise Refused("rule", (*path, "type"), "must be specified")
    if "enum" in s:
        if kind != "STRING":
            raise Refused("rule", (*path, "enum"), "only allowed for STRING type")
        if not s["enum"] or not all(isinstance(v, str) and v for v in s["enum"]):
            raise Refused("rule", (*path, "enum"), "cannot be empty")
    if kind == "STRING" and s.get("format") not in (None, "enum", "date-time"):
        raise Refused("rule", (*path, "format"), "only 'enum' and 'date-time' are supported for STRING type")
    if kind == "ARRAY" and "items" not in s:
        raise Refused("rule", (*path, "items"), "missing field.")
    if kind == "OBJECT" and not s.get("properties") and top:
        raise Refused("rule", (*path, "properties"), "should be non-empty for OBJECT type")
    for name in s.get("required") or []:
        if name not in (s.get("properties") or {}):
            raise Refused("rule", (*path, "required"), f"property is not defined: {name}")
    for k, v in (s.get("properties") or {}).items():
        schema_rules(v, (*path, "properties", k))
    if "items" in s:
        schema_rules(s["items"], (*path, "items"))
    for i, v in enumerate(s.get("anyOf") or []):
        schema_rules(v, (*path, "anyOf", i))
