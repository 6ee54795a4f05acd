"""YAML as the experiment file uses it: safe, without duplicate keys, with the scalars that a person means.

PyYAML follows YAML 1.1, where ``3e-4`` is text, ``no`` is false and ``1:30`` is 90. Here plain scalars follow the core
schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema) in decimal: only ``true`` and ``false`` are boolean,
``3e-4`` is a number, and everything else that is not null or a number is text.
"""

import re
from typing import Any

import yaml

_FLOAT = re.compile(
    r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_SCALARS = (
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), "-+0123456789"),
    ("tag:yaml.org,2002:float", _FLOAT, "-+.0123456789"),
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", re.compile(r"^(?:<<)$"), "<"),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012  PyYAML's own way: filled by add_implicit_resolver below

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if (key.tag, key.value) in seen:
                first = seen[key.tag, key.value]
                raise ValueError(f"line {line}: the key `{key.value}` was already given on line {first}; keep one")
            seen[key.tag, key.value] = line
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or this module's loader would not read as text."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # lists stand below their key
        super().increase_indent(flow, False)


for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))
    _Dumper.add_implicit_resolver(_tag, _pattern, list(_first))


def read_yaml(text: str | bytes) -> Any:
    """The plain Python value of one YAML document.

    Raises ValueError with the line, in one line of text, for broken YAML, a key given twice, or a tag that would make
    an object.
    """
    try:
        return yaml.load(text, _Loader)  # _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {str(error).splitlines()[0]}") from error


def write_yaml(value: Any) -> str:
    """YAML text of plain values, keys in their order, at most 80 columns where words allow."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=80)
