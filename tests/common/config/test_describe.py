"""The annotated schema."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedthorax.common.config.describe import describe
from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.schema import key_paths
from fedthorax.common.config.yaml_text import read_yaml


def _keys(value: Any, before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if isinstance(value, dict):
        below = {path for key, item in value.items() for path in _keys(item, (*before, key))}
        return below | {(*before, key) for key in value}
    return set()


def test_the_schema_is_itself_an_experiment(experiment_file: Callable[..., Path]) -> None:
    experiment = load_experiment(experiment_file(describe()))
    assert experiment.name == "my-experiment"
    assert experiment.data.central_splits.valid == 0.5
    assert experiment.training.learning_rate == 1e-3


def test_every_key_stands_in_it() -> None:
    shown = _keys(read_yaml(describe()))
    items = ("0", "NAME", "xray", "ct")  # keys below these stand in the examples
    missing = {path for path in key_paths() if not any(key in items for key in path)} - shown
    assert {path[0] for path in missing} == {"privacy"}  # null by default: its keys are comments
    assert all(f"\n  # {key}: " in describe() for _, key in missing)


def test_it_tells_type_range_and_meaning_within_80_columns() -> None:
    text = describe()
    assert max(map(len, text.splitlines())) <= 80
    assert "# Share of patients to train on. [number, 0 or more, at most 1]\n    train: 0.7\n" in text
    assert "  # Largest global gradient norm; null: no clipping. [number or null, above 0]\n  clip_norm: 1.0\n" in text
    assert "# What is predicted. [required]\nlabels:\n" in text
    assert "[pad | squash]\n  aspect: squash\n" in text
