"""Means and figures over rows of which some are kept, and what stands beside figures."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from fedthorax.common.disclosure.allowed import Here
from fedthorax.common.ground import leaving
from fedthorax.common.ground.leaving import Rule, rule_of
from fedthorax.common.metrics.figures import CLASS_METRICS, FINDING_METRICS, mean_of


def over_rows(
    came: Any, rule: Rule, rows: Any, why: str | None, nullable: bool, model: Callable[[Any, str | None], Any]
) -> Any:
    """A mean of the rows that leave, or None of what runs over all of them at once. ``model`` looks at a model,
    with the reason why its figures are kept."""
    if came is None or why is None:
        return model(came, None) if isinstance(came, BaseModel) else came
    if not isinstance(rule, leaving.MeanOf):
        return model(came, why) if isinstance(came, BaseModel) and not nullable else None
    rules = {name: rule_of(tuple(info.metadata)) for name, info in type(came).model_fields.items()}
    figures = [name for name, of in rules.items() if isinstance(of, leaving.Figure)]
    number = next((name for name, of in rules.items() if isinstance(of, leaving.Machine)), None)
    metrics = {name: metric for name, metric in {**CLASS_METRICS, **FINDING_METRICS}.items() if name in figures}
    of_rows = {name: row.__dict__ for name, row in named(rows).items()}
    values, numbers, reasons = mean_of(of_rows, metrics, weighted=rule.weighted, nothing=why)
    told: dict[str, Any] = {**came.__dict__, **values}
    if number is not None:
        told[number] = numbers
    if "reasons" in rules:
        told["reasons"] = reasons
    return type(came).model_validate(told)


def beside(
    came: Any, pairs: Mapping[str, tuple[Any, Any]], here: Here, walk: Callable[[Any, Any, Rule | None, Here], Any]
) -> Any:
    """Of ``came``, which has the shape of ``pairs`` (what was, what left), what stands beside something unchanged."""
    fields = type(came).model_fields if isinstance(came, BaseModel) else came
    told = {}
    for name in fields:
        value = getattr(came, name) if isinstance(came, BaseModel) else came[name]
        if name not in pairs:  # beside no figure: how many resamples there were
            info = type(came).model_fields[name]
            told[name] = walk(value, info.annotation, rule_of(tuple(info.metadata)), here.at(name))
            continue
        was, left = pairs[name]
        if value is None or was is None or left is None:
            told[name] = None
        elif was == left:
            told[name] = value
        elif isinstance(was, (BaseModel, Mapping)) and not _is_row(was):
            below = {
                key: (_part(was, key), _part(left, key)) for key in (was if isinstance(was, Mapping) else was.__dict__)
            }
            told[name] = beside(value, below, here.at(name), walk)
        else:
            told[name] = None
    return type(came).model_validate(told) if isinstance(came, BaseModel) else told


def _is_row(value: Any) -> bool:
    """Whether the model holds figures itself: then its intervals go together."""
    if isinstance(value, Mapping):
        return False
    return any(isinstance(rule_of(tuple(info.metadata)), leaving.Figure) for info in type(value).model_fields.values())


def _part(value: Any, key: str) -> Any:
    return value[key] if isinstance(value, Mapping) else getattr(value, key)


def named(rows: Any) -> dict[str, Any]:
    return dict(rows) if isinstance(rows, Mapping) else {row.name: row for row in rows or ()}


def rows_kept(came: Any, left: Any) -> set[str]:
    """The rows of which something was kept."""
    after = named(left)
    return {name for name, row in named(came).items() if after.get(name) != row}


def reason_of(rows: Any, kept: set[str]) -> str | None:
    for name in kept & set(named(rows)):
        row = named(rows)[name]
        if reasons := getattr(row, "reasons", None):
            return str(next(reversed(reasons.values())))
        if reason := getattr(row, "reason", None):
            return str(reason)
    return None
