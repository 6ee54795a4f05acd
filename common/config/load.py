"""The way in: one YAML file and ``--set`` overrides become one validated, frozen ``Experiment``.

Relative paths in an experiment file are relative to the working directory, not to the file, so that a file in
``configs/`` can name ``data/demo``. ``absolute`` fixes them for another process.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from fedthorax.common.config.data import CtSource, XraySource
from fedthorax.common.config.experiment import Experiment
from fedthorax.common.config.model import RECEIVED
from fedthorax.common.config.problems import dotted, problem_lines, shown, unknown_key
from fedthorax.common.config.schema import as_model, item_type, plain_type, type_at
from fedthorax.common.config.yaml_text import read_yaml, write_yaml

_WEIGHTS_BY_NAME = ("imagenet", "none", RECEIVED)


Settings = TypeVar("Settings", bound=BaseModel)


def read_keys(path: Path, expected: str) -> dict[str, Any]:
    """What a YAML file says, or one ValueError that names the file and the line, or that ``expected`` was not there."""
    try:
        raw = read_yaml(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: expected {expected}, got {shown(raw)}")
    return raw


def read_settings(path: Path, model: type[Settings]) -> Settings:
    """The settings of a machine, such as ``consortium.yaml`` or ``site.yaml``: one YAML file into one frozen model.

    Raises FileNotFoundError, or one ValueError with one line a problem: the file, the key's path, what was expected and
    what came.
    """
    if not path.is_file():
        what = "is a folder; expected a YAML file" if path.is_dir() else "no such file; expected a YAML file"
        keys = ", ".join(name for name, field in model.model_fields.items() if field.is_required())
        raise FileNotFoundError(f"{path}: {what}" + (f" with at least the keys {keys}" if keys else ""))
    raw = read_keys(path, f"keys such as {', '.join(model.model_fields)}")
    return _validated(lambda: model.model_validate(raw), str(path), (), model)


def load_experiment(path: Path | str, overrides: Sequence[str] = (), base: Path | None = None) -> Experiment:
    """The experiment in the YAML file at ``path``, changed by ``overrides`` of the form ``a.b.c=value``.

    With ``base``, relative paths become absolute below it. Raises FileNotFoundError, or one ValueError whose message
    has one line a problem: the file (or ``--set``), the key's path, what was expected and what came.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder; expected an experiment file" if path.is_dir() else "no such file; expected an experiment"
        raise FileNotFoundError(f"{path}: {what} in YAML, such as configs/demo.yaml")
    raw = read_keys(path, "keys such as name, labels and data")
    changed = [apply_override(raw, *parse_override(text)) for text in overrides]
    experiment = _validated(lambda: Experiment.model_validate(raw), str(path), changed)
    experiment = _map_paths(experiment, Path.expanduser)
    return experiment if base is None else absolute(experiment, base)


def parse_experiment(json_text: str) -> Experiment:
    """The experiment that ``experiment.model_dump_json()`` wrote: how it travels through Flower.

    Raises ValueError with one line a problem.
    """
    return _validated(lambda: Experiment.model_validate_json(json_text), "experiment", ())


def to_yaml(experiment: Experiment) -> str:
    """The whole experiment, defaults included, as YAML that ``load_experiment`` reads to an equal value."""
    return write_yaml(experiment.model_dump(mode="json"))


def absolute(experiment: Experiment, base: Path | None = None) -> Experiment:
    """The same experiment with every path absolute, below ``base`` or the working directory, links not followed."""
    root = Path.cwd() if base is None else base.absolute()
    return _map_paths(experiment, lambda path: root / path)


def _validated(
    parse: Callable[[], Settings],
    source: str,
    changed: Sequence[tuple[str | int, ...]],
    root: type[BaseModel] = Experiment,
) -> Settings:
    try:
        return parse()
    except ValidationError as error:
        lines = []
        for keys, words in problem_lines(error, root):
            from_command_line = any(keys[: len(set_keys)] == set_keys for set_keys in changed)
            place = [("--set" if from_command_line else source)] + ([dotted(keys)] if keys else [])
            lines.append(": ".join([*place, words]))
        raise ValueError("\n".join(lines)) from None


def _map_paths(experiment: Experiment, change: Callable[[Path], Path]) -> Experiment:
    """``change`` applied to every path of the experiment; ``model.weights`` is one unless it is a checkpoint's name."""

    def mapped(value: Any) -> Any:
        if isinstance(value, Path):
            return change(value)
        if isinstance(value, BaseModel):
            return value.model_copy(update={name: mapped(item) for name, item in value})
        if isinstance(value, dict):
            return {key: mapped(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return tuple(mapped(item) for item in value)
        return value

    result: Experiment = mapped(experiment)
    weights = result.model.weights
    if weights in _WEIGHTS_BY_NAME:
        return result
    return result.model_copy(update={"model": result.model.model_copy(update={"weights": str(change(Path(weights)))})})


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
