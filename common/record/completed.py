"""A document with null for what is not known yet, and for what an older version did not write."""

from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from fedthorax.common.config.schema import allows_null, plain_type
from fedthorax.common.record.passport import Skipped

_NOTHING: dict[Any, Any] = {tuple: list, dict: dict}


def completed(kind: Any, value: Any) -> Any:
    """``value`` for a field of ``kind``: what was not written then is null, or has nothing in it, where the kind allows
    that; what is not known any more is left out. Everything else stays as it is, for the model to judge."""
    kind, optional = plain_type(kind), allows_null(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if value is None and optional:
            return None
        return _model(kind, value) if isinstance(value, Mapping | None) else value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is dict and isinstance(value, Mapping):
        return {key: completed(arguments[1], item) for key, item in value.items()}
    if origin is tuple and isinstance(value, list) and arguments[-1] is Ellipsis:
        return [completed(arguments[0], item) for item in value]
    return value


def _model(kind: type[BaseModel], value: Mapping[str, Any] | None) -> Any:
    value = value or {}
    if kind is Skipped:  # it had no kind of fault once, and one file an entry
        value = {"fault": "other", "count": 1, **value}
    found = {}
    for name, field in kind.model_fields.items():
        of_field = plain_type(field.annotation)
        if name in value:
            found[name] = completed(field.annotation, value[name])
        elif not field.is_required():
            continue
        elif allows_null(field.annotation):
            found[name] = None
        elif get_origin(of_field) in _NOTHING:
            found[name] = _NOTHING[get_origin(of_field)]()
        elif isinstance(of_field, type) and issubclass(of_field, BaseModel):
            found[name] = _model(of_field, None)
    extra = kind.model_config.get("extra") == "allow"
    return {**{key: item for key, item in value.items() if extra and key not in found}, **found}
