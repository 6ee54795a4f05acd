"""The whole schema as an experiment file: every key with its default, its type and what it means.

The text is itself valid: required keys hold an example, so a person can save it and fill in the folders.
"""

import textwrap
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedthorax.common.config.experiment import Experiment
from fedthorax.common.config.schema import allows_null, as_model, item_type, plain_type
from fedthorax.common.config.yaml_text import write_yaml

_WIDTH = 80
_TYPES = {int: "whole number", float: "number", bool: "true or false", str: "text"}
_SIGNS = {Gt: ("above {}", "gt"), Ge: ("{} or more", "ge"), Lt: ("below {}", "lt"), Le: ("at most {}", "le")}
_EXAMPLES: dict[tuple[str, ...], Any] = {
    ("name",): "my-experiment",
    ("labels", "findings"): ["Effusion", "Nodule"],
    ("labels", "cancer_classes"): ["normal", "adenocarcinoma"],
    ("data", "hospitals"): {
        "north": {"xray": "data/north/xray", "ct": "data/north/ct"},
        "south": {"xray": {"folder": "data/south/xray", "labels": None, "format": "auto"}, "ct": "data/south/ct"},
    },
    ("data", "central"): {"xray": "data/central/xray", "ct": "data/central/ct", "splits": None},
    ("training", "phases"): [
        {"rounds": 10, "trainable": "heads", "learning_rate": None, "local_epochs": 1},
        {"rounds": 2, "trainable": "all", "learning_rate": 1e-4, "local_epochs": 1},
    ],
}
_HEAD = """\
# An experiment of FedThorax: every key with its default and meaning.
# Keys marked required hold an example here; all others may be left out.
# Relative paths are relative to the working directory.
"""


def describe() -> str:
    """The annotated YAML of the schema, at most 80 columns wide."""
    return _HEAD + "".join(_section(Experiment, ()))


def _section(model: type[BaseModel], before: tuple[str, ...], defaults: BaseModel | None = None) -> list[str]:
    """The lines of one model; ``defaults`` is the value that holds where the file leaves this section out."""
    lines = []
    indent = "  " * len(before)
    for name, field in model.model_fields.items():
        path = (*before, name)
        default = field.default if defaults is None else getattr(defaults, name)
        nested = as_model(field.annotation)
        lines.append("\n" if not before else "")
        lines.append(_wrapped(_text(field), f"{indent}# ", f"{indent}# "))
        if path in _EXAMPLES:
            lines.append(textwrap.indent(write_yaml({name: _EXAMPLES[path]}), indent))
            lines.append(_items(field.annotation, indent + "  "))
        elif nested is not None and default is not None:
            lines.append(f"{indent}{name}:\n")
            lines += _section(nested, path, default if isinstance(default, BaseModel) else None)
        else:
            lines.append(textwrap.indent(write_yaml({name: _plain(default)}), indent))
            lines.append(_items(field.annotation, indent + "  "))
    return lines


def _items(annotation: Any, indent: str) -> str:
    """The keys of a list's or a mapping's items, as a comment: the example above shows where they stand."""
    item = item_type(annotation)
    model = as_model(item) if item is not None else as_model(annotation)
    if model is None:
        return ""
    lines = []
    for name, field in model.model_fields.items():
        lines.append(_wrapped(f"{name}: {_text(field)}", f"{indent}# ", f"{indent}#   "))
        if as_model(field.annotation) is not None:
            lines.append(_items(field.annotation, indent + "  "))
    return "".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value) if isinstance(value, Path) else value


def _wrapped(text: str, first: str, rest: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False) + "\n"


def _text(field: FieldInfo) -> str:
    """Meaning, then type and range in brackets."""
    facts = _facts(field)
    return f"{field.description}{f' [{facts}]' if facts else ''}"


def _facts(field: FieldInfo) -> str:
    required = "required" if field.is_required() else ""
    bounds = [
        words.format(getattr(rule, fact))
        for kind, (words, fact) in _SIGNS.items()
        for rule in field.metadata
        if isinstance(rule, kind)
    ]
    least = [f"{rule.min_length} or more entries" for rule in field.metadata if isinstance(rule, MinLen)]
    null = "or null" if allows_null(field.annotation) else ""
    words = [required, " ".join(part for part in (_type_words(field.annotation), null) if part), *bounds, *least]
    return ", ".join(word for word in words if word)


def _type_words(annotation: Any) -> str:
    kind = plain_type(annotation)
    if get_origin(kind) is Literal:
        return " | ".join(get_args(kind))
    if get_origin(kind) is tuple:
        return "list"
    if get_origin(kind) is dict:
        return "mapping"
    if as_model(annotation) is not None:
        return ""
    return _TYPES.get(kind, "path")
