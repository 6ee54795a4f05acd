"""``--set``: paths, values, refusals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedthorax.common.config.load import load_experiment, parse_override


@pytest.mark.parametrize(
    ("text", "keys", "value"),
    [
        ("seed=3", ("seed",), 3),
        ("training.learning_rate=3e-4", ("training", "learning_rate"), 3e-4),
        ('data.hospitals."st.mary".xray=a=b', ("data", "hospitals", "st.mary", "xray"), "a=b"),
        ("data.hospitals.'a=b'.ct=c", ("data", "hospitals", "a=b", "ct"), "c"),
        ("federation.patience=null", ("federation", "patience"), None),
        ("model.fusion_units=[8, 4]", ("model", "fusion_units"), [8, 4]),
        ("name=no", ("name",), "no"),
        ("data.hospitals.Klinikum Süd.ct=c", ("data", "hospitals", "Klinikum Süd", "ct"), "c"),
    ],
)
def test_an_override_is_keys_and_a_yaml_value(text: str, keys: tuple[str, ...], value: Any) -> None:
    assert parse_override(text) == (keys, value)


@pytest.mark.parametrize("text", ["seed", "=3", "a..b=1", ".a=1", 'a."b=1', "a.=1", ""])
def test_an_override_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected KEY=VALUE, such as training\.learning_rate=3e-4$"):
        parse_override(text)


def test_broken_yaml_in_a_value_names_the_override() -> None:
    with pytest.raises(ValueError, match=r"^--set seed=\[1: line 1, column 3: not valid YAML"):
        parse_override("seed=[1")


def test_overrides_reach_lists_short_forms_and_sections_that_the_file_leaves_out(
    experiment_file: Callable[..., Path],
) -> None:
    experiment = load_experiment(
        experiment_file(),
        [
            "training.phases.0.rounds=7",
            'data.hospitals."st.mary".xray.labels=mary.csv',
            "data.hospitals.new={xray: a, ct: b}",
            "training.loss.positive_weights.Mass=3",
            "evaluation.threshold=0.4",
            "training.phases.0.rounds=8",
        ],
    )
    assert experiment.training.num_rounds == 8
    assert experiment.data.hospitals["st.mary"].xray.labels == Path("mary.csv")
    assert experiment.data.hospitals["st.mary"].xray.folder == Path("data/mary/xray")
    assert list(experiment.data.hospitals) == ["north", "st.mary", "new"]
    assert experiment.training.loss.positive_weights == {"Mass": 3}
    assert experiment.evaluation.threshold == 0.4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rat=1", "--set training.learning_rat: unknown key; did you mean `learning_rate`?"),
        ("learning_rate=1", "--set learning_rate: unknown key; did you mean `training.learning_rate`?"),
        ("rounds=1", "--set rounds: unknown key; did you mean `training.phases.0.rounds`?"),
        ("seed.x=1", "--set seed.x: seed is a single value and has no keys"),
        ("training.phases.1.rounds=1",
         "--set training.phases.1.rounds: training.phases is a list of 1, counted from 0; got 1"),
        ("training.phases.first.rounds=1",
         "--set training.phases.first.rounds: training.phases is a list of 1, counted from 0; got first"),
        ("model.fusion_units.0=1",
         "--set model.fusion_units.0: the file does not give model.fusion_units; set model.fusion_units as a whole"),
    ],
)  # fmt: skip
def test_an_unknown_path_is_refused(experiment_file: Callable[..., Path], override: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the whole message is compared
        load_experiment(experiment_file(), [override])
    assert str(refused.value) == message
