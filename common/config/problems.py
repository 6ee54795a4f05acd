"""What is wrong with an experiment file, or another file of settings, in words: the key's path, what was expected, what
came. ``root`` is the model that the file is read into.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from fedthorax.common.config.experiment import Experiment
from fedthorax.common.config.schema import as_model, field_at, key_paths, type_at

Keys = tuple[str | int, ...]

_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "path_type": "a path",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "dataclass_type": "a mapping of keys",
}
_PATTERNS = {  # how a field's pattern begins
    "^[A-Za-z0-9][A-Za-z0-9._-]": "letters, digits, dots, hyphens and underscores, the first a letter or digit",
    r"^(\[[0-9A-Fa-f:.]+\]|": "HOST:PORT",
    "^https?://": "an address that begins with http:// or https://",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("of at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("of at most", "le"),
}


def dotted(keys: Sequence[str | int]) -> str:
    """The path as ``--set`` takes it; a key that holds a dot is quoted."""
    return ".".join(f'"{key}"' if isinstance(key, str) and ("." in key or "=" in key) else str(key) for key in keys)


def shown(value: Any) -> str:
    """The value as a person wrote it, cut to a readable length."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping of keys" if value else "an empty mapping"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def unknown_key(keys: Sequence[str | int], root: Any = Experiment) -> str:
    """``unknown key`` with the nearest key that exists, or the keys that do."""
    model = as_model(type_at(keys[:-1], root))
    known = list(model.model_fields) if model else []
    close = get_close_matches(str(keys[-1]), known, n=1, cutoff=0.7)
    if close:
        return f"unknown key; did you mean `{close[0]}`?"
    elsewhere = [path for path in key_paths(root) if path[-1] == keys[-1]]
    if elsewhere:
        return f"unknown key; did you mean `{dotted(min(elsewhere, key=len))}`?"
    return f"unknown key; expected one of {', '.join(known)}"


def _meaning(keys: Keys, root: Any) -> str:
    field = field_at(keys, root)
    text = (field.description or "").rstrip(".") if field else ""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _words(error: Mapping[str, Any], keys: Keys, root: Any) -> str:
    """One pydantic error as `what was expected, what came`."""
    kind, came, facts = error["type"], error.get("input"), error.get("ctx", {})
    if kind == "missing":
        meaning = _meaning(keys, root)
        return f"missing, but required: {meaning}" if meaning else "missing, but required"
    if kind == "extra_forbidden":
        return unknown_key(keys, root)
    if kind == "value_error":
        return str(facts["error"])
    if kind in _BOUNDS:
        word, fact = _BOUNDS[kind]
        return f"expected a number {word} {facts[fact]:g}, got {shown(came)}"
    if kind == "literal_error":
        return f"expected {facts['expected'].replace(chr(39), '')}, got {shown(came)}"
    if kind == "too_short":
        least = facts["min_length"]
        return f"expected at least {least} {'entry' if least == 1 else 'entries'}, got {facts['actual_length']}"
    if kind == "string_pattern_mismatch":
        words = next((words for start, words in _PATTERNS.items() if facts["pattern"].startswith(start)), None)
        return f"expected {words or 'text that matches ' + facts['pattern']}, got {shown(came)}"
    if kind == "invalid_key":
        return f"expected text as a key, got {shown(came)}; put it in quotes"
    if kind in _KINDS:
        return f"expected {_KINDS[kind]}, got {shown(came)}"
    return f"{error['msg'].lower()}, got {shown(came)}"


def problem_lines(error: ValidationError, root: Any = Experiment) -> list[tuple[Keys, str]]:
    """Every problem as (path of the key, words). The path is empty where several parts do not fit each other."""
    lines = []
    errors = error.errors(include_url=False)
    places = [item["loc"] for item in errors]
    for item in errors:
        keys: Keys = item["loc"]
        if item["type"] == "too_short" and any(place[: len(keys)] == keys != place for place in places):
            continue  # only because its refused entries were not counted
        if keys and keys[-1] == "[key]":
            keys = keys[:-1]
            lines.append((keys, f"expected text as a key, got {shown(item.get('input'))}; put it in quotes"))
        else:
            lines.append((keys, _words(item, keys, root)))
    return lines
