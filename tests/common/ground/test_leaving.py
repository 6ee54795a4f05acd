"""A field without a rule does not compile into a reply."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from fedthorax.common.ground.leaving import (
    Beside,
    Code,
    Count,
    Figure,
    Loss,
    Machine,
    Name,
    OfTask,
    Together,
    Weights,
    Words,
    require_rules,
    rules_of,
)


class Row(BaseModel):
    roc_auc: Annotated[float | None, Figure()]
    support: Annotated[int | None, Count(part_of="known")]
    reasons: Annotated[dict[str, str], Words()]


class Told(BaseModel):
    rows: Annotated[dict[Annotated[str, Name()], Row], OfTask("disease")]
    accuracy: Annotated[float | None, Together("rows")]
    method: Annotated[Literal["youden", "f1"] | None, Code()]
    losses: Annotated[dict[Annotated[str, Name()], float], Loss(("support",))]
    interval: Annotated[tuple[float, float] | None, Figure()]
    epochs: tuple[Annotated[int, Field(ge=0), Machine("passes")], ...] | None


def test_every_rule_is_found_at_its_place() -> None:
    assert list(rules_of(Told)) == [
        ("rows", OfTask("disease")),
        ("rows", Name()),
        ("rows.roc_auc", Figure()),
        ("rows.support", Count(part_of="known")),
        ("rows.reasons", Words()),
        ("accuracy", Together("rows")),
        ("method", Code()),
        ("losses", Loss(("support",))),
        ("losses", Name()),
        ("interval", Figure()),
        ("epochs", Machine("passes")),
    ]


def _with(planted: Any) -> type[BaseModel]:
    class Planted(Told):
        planted_figure: planted

    return Planted


@pytest.mark.parametrize(
    "planted",
    [
        float,
        str | None,
        dict[str, Any],
        list[Any],
        dict[str, Row],
        Annotated[dict[str, Row], OfTask("disease")],  # the keys are text too
        Annotated[dict[str, float], Loss(("support",))],
        Annotated[float, Beside(("rows",))],
        tuple[Annotated[int, Machine("steps")], str],
    ],
    ids=str,
)
def test_what_has_no_rule_is_refused_with_its_name(planted: Any) -> None:
    with pytest.raises(TypeError, match=r"Planted\.planted_figure.* rule "):
        require_rules(_with(planted))


def test_a_rule_is_found_below_a_model_too() -> None:
    class Deep(BaseModel):
        below: tuple[Row, ...] | None
        patient: str

    with pytest.raises(TypeError, match=r"Deep\.patient \(str\) has no rule"):
        require_rules(_with(dict[Annotated[str, Name()], Deep]))


@pytest.mark.parametrize(
    "planted",
    [
        Annotated[str, Machine("seconds")],
        Annotated[str | None, Figure()],
        Annotated[str, Code()],
        Annotated[int, Code()],
        Annotated[int, Words()],
        Annotated[Any, Weights()],
    ],
    ids=str,
)
def test_a_rule_that_cannot_hold_for_the_type_is_refused(planted: Any) -> None:
    with pytest.raises(TypeError, match=r"Planted\.planted_figure: \w+ is no rule for"):
        require_rules(_with(planted))


def test_a_field_has_one_rule() -> None:
    with pytest.raises(ValueError, match="one rule, not 2: Figure, Loss"):
        require_rules(_with(Annotated[float, Figure(), Loss(("support",))]))
