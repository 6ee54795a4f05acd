"""Finding one's way in the experiment's models: from a path of keys to the field that it names."""

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedthorax.common.config.experiment import Experiment


def plain_type(annotation: Any) -> Any:
    """The annotation without ``Annotated`` and without ``| None``."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            others = [item for item in get_args(annotation) if item is not type(None)]
            if len(others) != 1:
                return annotation
            annotation = others[0]
        else:
            return annotation


def allows_null(annotation: Any) -> bool:
    """Whether the annotation is ``X | None``, whatever is annotated to it."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


def as_model(annotation: Any) -> type[BaseModel] | None:
    """The configuration model that the annotation stands for, or None."""
    kind = plain_type(annotation)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def item_type(annotation: Any) -> Any:
    """The type of a list's items or of a mapping's values; None where there are none."""
    kind = plain_type(annotation)
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    return None


def type_at(keys: Sequence[str | int], root: Any = Experiment) -> Any:
    """The annotation at a path such as ``("training", "phases", 0, "rounds")``; None where there is none."""
    annotation: Any = root
    for key in keys:
        model = as_model(annotation)
        if model is not None:
            field = model.model_fields.get(str(key))
            annotation = field.annotation if field else None
        else:
            annotation = item_type(annotation)
        if annotation is None:
            return None
    return annotation


def field_at(keys: Sequence[str | int], root: Any = Experiment) -> FieldInfo | None:
    """The field at a path; None where the path ends in a list, a mapping, or nowhere."""
    model = as_model(type_at(keys[:-1], root)) if keys else None
    return model.model_fields.get(str(keys[-1])) if model else None


def key_paths(annotation: Any = Experiment, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of the schema as a path; ``0`` stands for any item of a list, ``NAME`` for any key of a mapping."""
    model = as_model(annotation)
    if model is None:
        item = item_type(annotation)
        if item is not None:
            yield from key_paths(item, (*before, "NAME" if get_origin(plain_type(annotation)) is dict else "0"))
        return
    for name, field in model.model_fields.items():
        yield (*before, name)
        yield from key_paths(field.annotation, (*before, name))
