"""Values that a JSON schema allows, few and small: what a fuzzing test begins with."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Json = Any
MOST = 2  # entries of a list or a mapping
KEYS = ("roc_auc", "f1")  # of mappings by name: figures, which are good as labels too
# What a model asks beyond its schema.
_ALWAYS: Mapping[str, Json] = {"PrivacyConfig": {"smallest_count": 5, "round_to": 5}}


def allowed(schema: Mapping[str, Any]) -> st.SearchStrategy[Json]:
    """Values of ``schema``, which is what ``model_json_schema`` gives."""
    return _of(schema, schema.get("$defs", {}))


def _of(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> st.SearchStrategy[Json]:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return st.just(_ALWAYS[name]) if name in _ALWAYS else st.deferred(lambda: _of(defs[name], defs))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return st.one_of([_of(choice, defs) for choice in choices])
    if "type" not in schema:
        return st.sampled_from((None, 1, "x", [1.5], {"a": True}))
    return _OF_TYPE[schema["type"]](schema, defs)


def _text(schema: Mapping[str, Any], _: Mapping[str, Any]) -> st.SearchStrategy[Json]:
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    return st.text(min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 20), 20)).filter(
        lambda text: len(text.encode(errors="ignore").decode()) >= schema.get("minLength", 0)
    )


def _integer(schema: Mapping[str, Any], _: Mapping[str, Any]) -> st.SearchStrategy[Json]:
    return st.integers(schema.get("minimum", -5), schema.get("maximum", 1000))


def _number(schema: Mapping[str, Any], _: Mapping[str, Any]) -> st.SearchStrategy[Json]:
    above = schema.get("exclusiveMinimum")
    low, high = schema.get("minimum", -1e6 if above is None else above), schema.get("maximum", 1e6)
    return st.floats(low, high, exclude_min=above is not None, allow_nan=False, allow_infinity=False)


def _array(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> st.SearchStrategy[Json]:
    if "prefixItems" in schema:
        return st.tuples(*(_of(item, defs) for item in schema["prefixItems"])).map(list)
    least = schema.get("minItems", 0)
    return st.lists(_of(schema["items"], defs), min_size=least, max_size=max(MOST, least))


def _object(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> st.SearchStrategy[Json]:
    if "properties" in schema:
        required = schema.get("required", ())
        fields = {name: _of(field, defs) for name, field in schema["properties"].items()}
        return st.fixed_dictionaries(
            {name: field for name, field in fields.items() if name in required},
            optional={name: field for name, field in fields.items() if name not in required},
        )
    values = _of(schema["additionalProperties"], defs) if schema.get("additionalProperties", True) is not True else None
    names = _of(schema["propertyNames"], defs) if "enum" in schema.get("propertyNames", {}) else st.sampled_from(KEYS)
    return st.dictionaries(names, st.just(1) if values is None else values, max_size=MOST)


_OF_TYPE = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "array": _array,
    "object": _object,
    "boolean": lambda *_: st.booleans(),
    "null": lambda *_: st.none(),
}
