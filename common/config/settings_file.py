"""Settings of a machine, such as ``consortium.yaml`` or ``site.yaml``: one YAML file into one frozen model."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from fedthorax.common.config.problems import dotted, problem_lines, shown
from fedthorax.common.config.yaml_text import read_yaml

Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(path: Path, model: type[Settings]) -> Settings:
    """The file's settings.

    Raises FileNotFoundError, or one ValueError with one line a problem: the file, the key's path, what was expected and
    what came.
    """
    if not path.is_file():
        what = "is a folder; expected a YAML file" if path.is_dir() else "no such file; expected a YAML file"
        keys = ", ".join(name for name, field in model.model_fields.items() if field.is_required())
        raise FileNotFoundError(f"{path}: {what}" + (f" with at least the keys {keys}" if keys else ""))
    try:
        raw = read_yaml(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: expected keys such as {', '.join(model.model_fields)}, got {shown(raw)}")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = [
            ": ".join([str(path), *([dotted(keys)] if keys else []), words])
            for keys, words in problem_lines(error, model)
        ]
        raise ValueError("\n".join(lines)) from None
