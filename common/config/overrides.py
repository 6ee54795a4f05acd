"""``--set a.b.c=value``: one value of the file replaced from the command line."""

import re
from collections.abc import Mapping
from typing import Any, get_origin

from fedthorax.common.config.data import CtSource, XraySource
from fedthorax.common.config.problems import dotted, shown, unknown_key
from fedthorax.common.config.schema import as_model, item_type, plain_type, type_at
from fedthorax.common.config.yaml_text import read_yaml

_KEY = re.compile(r"""\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<plain>[^.="']+?))\s*(?P<end>[.=]|$)""")


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """The keys and the value of ``a."b.c".d=value``; the value is read as YAML: ``null``, ``[1, 2]`` and ``3e-4`` work.

    Raises ValueError where the text is not of this form.
    """
    keys: list[str] = []
    position, end = 0, "."
    while end == ".":
        match = _KEY.match(text, position)
        if match is None:
            break
        keys.append(next(group for group in match.group("double", "single", "plain") if group is not None))
        position, end = match.end(), match["end"]
    if end != "=" or not keys:
        raise ValueError(f"--set {text}: expected KEY=VALUE, such as training.learning_rate=3e-4")
    try:
        return tuple(keys), read_yaml(text[position:])
    except ValueError as error:
        raise ValueError(f"--set {text}: {error}") from error


def apply_override(raw: Any, keys: tuple[str, ...], value: Any) -> tuple[str | int, ...]:
    """Put ``value`` at ``keys`` of the file's plain content, in place, and return the keys as the schema counts them.

    Mappings that the file leaves out are added; items of a list must be there. Raises ValueError for a path that the
    schema does not know.
    """
    walked: tuple[str | int, ...] = ()
    here = raw
    for position, key in enumerate(keys):
        before, last = walked, position == len(keys) - 1
        annotation = type_at(before)
        step: str | int = key
        if as_model(annotation) is not None:
            if type_at((*before, key)) is None:
                raise ValueError(f"--set {dotted((*before, key))}: {unknown_key((*before, key))}")
        elif item_type(annotation) is None:
            raise ValueError(f"--set {dotted(keys)}: {dotted(before)} is a single value and has no keys")
        if isinstance(here, list):
            if not key.isdecimal() or int(key) >= len(here):
                raise ValueError(
                    f"--set {dotted(keys)}: {dotted(before)} is a list of {len(here)}, counted from 0; got {key}"
                )
            step = int(key)
        elif not isinstance(here, Mapping):
            has = "does not give" if here is None else f"has {shown(here)} at"
            raise ValueError(f"--set {dotted(keys)}: the file {has} {dotted(before)}; set {dotted(before)} as a whole")
        walked = (*walked, step)
        if last:
            here[step] = value
        else:
            here = _opened(here, step, type_at(walked))
    return walked


def _opened(parent: Any, step: str | int, annotation: Any) -> Any:
    """What lies below ``step``; a mapping is added where the file leaves it out or uses ``xray: folder`` for short."""
    child = parent.get(step) if isinstance(parent, dict) else parent[step]
    if child is None and (as_model(annotation) is not None or get_origin(plain_type(annotation)) is dict):
        child = {}
    elif isinstance(child, str) and as_model(annotation) in (XraySource, CtSource):
        child = {"folder": child}
    parent[step] = child
    return child
