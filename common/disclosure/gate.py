"""The one gate out of a hospital: a typed reply comes in, and what its fields' rules let leave comes out.

Nothing here knows a figure, a count or a task by name: the types of the reply say what each field is
(``common/ground/leaving.py``), so that what has no rule has no way out. What is kept is null, never 0, and where the
model has a place for a reason, it stands there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fedthorax.common.disclosure.allowed import NOT_ALLOWED, Allowed, Here, NoRuleError
from fedthorax.common.disclosure.counts import COUNTS, loss_is_of_few, with_counts
from fedthorax.common.disclosure.rows import beside, named, over_rows, reason_of, rows_kept
from fedthorax.common.disclosure.rules import AFTER_ROWS, RULES, WHOLE
from fedthorax.common.ground import leaving
from fedthorax.common.ground.leaving import Rule, rule_of

OTHER = "other"
_SHARED_NAME = re.compile(r"[\w .,()+*&'-]{1,64}")  # no path, no line break

Model = TypeVar("Model", bound=BaseModel)


def what_leaves(reply: Model, allowed: Allowed) -> Model:
    """The reply without what ``allowed`` keeps. NoRuleError where something has no rule, or is not of its type."""
    names = allowed.names | _field_names(type(reply))
    return _model(reply, Here(replace(allowed, names=names), type(reply).__name__))


def _refuse_more(value: BaseModel, here: Here) -> None:
    if odd := sorted({*value.__dict__, *(value.__pydantic_extra__ or ())} - set(type(value).model_fields)):
        raise NoRuleError(f"{here.where} holds {', '.join(odd)}, which has no rule of what may leave")


def _again(here: Here, value: BaseModel, why: str | None) -> BaseModel:
    return _model(value, here if why is None else replace(here, why=why))


def _model(value: Model, here: Here) -> Model:
    kind = type(value)
    _refuse_more(value, here)
    rules = {name: rule_of(tuple(info.metadata)) for name, info in kind.model_fields.items()}
    here = with_counts(value, rules, here)
    left: dict[str, Any] = {}
    for name in sorted(value.model_fields_set, key=lambda name: isinstance(rules[name], AFTER_ROWS)):
        rule, came = rules[name], getattr(value, name)
        inside = here.at(name)
        if isinstance(rule, leaving.OfTask) and rule.task not in here.allowed.tasks:
            inside = replace(inside, why=here.why or NOT_ALLOWED)
            if rule.whole or _may_be_null(kind, name):
                left[name] = {} if isinstance(came, Mapping) and not _may_be_null(kind, name) else None
                continue
        if isinstance(rule, leaving.MeanOf | leaving.Together):
            kept = rows_kept(getattr(value, rule.rows), left[rule.rows])
            if isinstance(rule, leaving.Together) and rule.names is not None and came is not None:
                kept &= set(getattr(came, rule.names))
            why = here.why or (reason_of(left[rule.rows], kept) or here.allowed.few if kept else None)
            left[name] = over_rows(came, rule, left[rule.rows], why, _may_be_null(kind, name), partial(_again, inside))
        elif isinstance(rule, leaving.Beside):
            pairs = {of: (getattr(value, of), left[of]) for of in rule.of}
            left[name] = None if came is None else beside(came, pairs, inside, _walk)
        else:
            if isinstance(rule, leaving.Loss) and loss_is_of_few(value, rule, here):
                inside = replace(inside, why=here.why or here.allowed.few)
            left[name] = _walk(came, kind.model_fields[name].annotation, rule, inside)
    _say_why(value, left, rules, here)
    try:
        return kind.model_validate(left)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, (here.where, *first["loc"])))
        raise NoRuleError(f"{place} is not of the type that its rule is for: {first['msg']}") from None


def _walk(value: Any, kind: Any, rule: Rule | None, here: Here) -> Any:
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        rule = rule_of(tuple(more)) or rule
    if value is None or (isinstance(rule, leaving.Figure) and here.why is not None):
        return None
    if isinstance(rule, WHOLE):
        return RULES[type(rule)].apply(value, rule, here)
    if isinstance(value, BaseModel):
        _refuse_more(value, here)
        return value if isinstance(rule, leaving.Machine | leaving.Figure) else _model(value, here)
    if get_origin(kind) in (Union, UnionType):
        kind = _member(kind, value, here)
        return _walk(value, kind, rule, here)
    if isinstance(value, Mapping):
        return _mapping(value, get_args(kind), rule, here)
    if isinstance(value, (list, tuple)):
        parts = get_args(kind)
        kinds = [parts[0]] * len(value) if len(parts) == 1 or parts[1] is Ellipsis else parts
        return type(value)(_walk(one, part, rule, here) for one, part in zip(value, kinds, strict=True))
    if rule is None or type(rule) not in RULES:
        raise NoRuleError(f"{here.where} has no rule of what may leave")
    return RULES[type(rule)].apply(value, rule, here)


def _member(kind: Any, value: Any, here: Here) -> Any:
    """The type of the union that holds the value."""
    for part in get_args(kind):
        bare = get_args(part)[0] if get_origin(part) is Annotated else part
        origin = get_origin(bare) or bare
        if origin is not NoneType and (not isinstance(origin, type) or isinstance(value, origin)):
            return part
        if origin is float and type(value) is int:
            return part
    raise NoRuleError(f"{here.where} is of a type that has no rule")


def _mapping(value: Mapping[Any, Any], kinds: Sequence[Any], rule: Rule | None, here: Here) -> dict[Any, Any]:
    key_rule = rule_of(get_args(kinds[0])[1:]) if get_origin(kinds[0]) is Annotated else None
    shared = isinstance(key_rule, leaving.SharedName)
    left: dict[Any, Any] = {}
    for key, one in value.items():
        told = _walk(one, kinds[1], rule, here.at("…" if shared else key))
        if not shared:
            left[_walk(key, kinds[0], leaving.Name() if isinstance(rule, leaving.Words) else rule, here)] = told
        elif key in here.allowed.names or (_says(told) and _SHARED_NAME.fullmatch(str(key))):
            left[key] = told
        elif not isinstance(told, BaseModel):  # a name behind which nobody can see how many stand
            left[OTHER] = None
    return left


def _says(told: Any) -> bool:
    """Whether enough stand behind what is told under a shared name, so that it may be named."""
    if isinstance(told, BaseModel):
        return any(
            isinstance(rule_of(tuple(info.metadata)), COUNTS) and getattr(told, name)
            for name, info in type(told).model_fields.items()
        )
    return bool(told)


def _may_be_null(kind: type[BaseModel], name: str) -> bool:
    return NoneType in get_args(kind.model_fields[name].annotation)


def _say_why(value: BaseModel, left: dict[str, Any], rules: Mapping[str, Rule | None], here: Here) -> None:
    """Beside each figure that was taken out of this model, its reason."""
    taken = [
        name
        for name in left
        if left[name] is None
        and getattr(value, name) is not None
        and not isinstance(rules[name], (*COUNTS, leaving.Behind))
    ]
    figures = [name for name, rule in rules.items() if isinstance(rule, leaving.Figure)]
    if "reasons" in left and isinstance(left["reasons"], dict):
        if here.why is not None and figures:
            left["reasons"] = dict.fromkeys(figures, here.why)
        left["reasons"] |= {name: here.why or _taken_reason(name, rules, left, here) for name in taken}
    elif "reason" in left and (taken or (here.why is not None and (figures or left["reason"] is None))):
        left["reason"] = here.why or here.allowed.few


def _taken_reason(name: str, rules: Mapping[str, Rule | None], left: Mapping[str, Any], here: Here) -> str:
    rule = rules[name]
    if isinstance(rule, (leaving.MeanOf, leaving.Together)):
        return reason_of(left[rule.rows], set(named(left[rule.rows]))) or here.allowed.few
    return NOT_ALLOWED if isinstance(rule, leaving.Loss) else here.allowed.few


def _field_names(kind: type[BaseModel]) -> set[str]:
    """Names of all fields below: figures are told by theirs."""
    names: set[str] = set()
    for place, _ in leaving.rules_of(kind):
        names.update(place.split("."))
    return names
