"""The one gate out of a hospital: a typed reply comes in, and what its fields' rules let leave comes out.

Nothing here knows a figure, a count or a task by name: the types of the reply say what each field is
(``common/ground/leaving.py``), so that what has no rule has no way out. What is kept is null, never 0, and where the
model has a place for a reason, it stands there.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.disclosure.sentences import UNSAID, is_sentence
from fedthorax.common.ground import leaving
from fedthorax.common.ground.leaving import Rule, rule_of
from fedthorax.common.metrics.figures import CLASS_METRICS, FINDING_METRICS, mean_of
from fedthorax.common.metrics.score_histogram import coarsened, parse_histogram, too_few
from fedthorax.common.metrics.suppression import rounded

NOT_ALLOWED = "The hospital does not give this score away."
OTHER = "other"
_IDENTIFIER = re.compile(r"[0-9a-f]{0,128}|\d{1,4}(\.\d{1,6}){1,3}((a|b|rc|\.post|\.dev)\d{1,6})?(\+[0-9a-f.]{1,40})?")
_SHARED_NAME = re.compile(r"[\w .,()+*&'-]{1,64}")  # no path, no line break

Model = TypeVar("Model", bound=BaseModel)


class NoRuleError(ValueError):
    """Something in a reply has no rule, or is not what its rule is for: nothing of the reply leaves."""


@dataclass(frozen=True)
class Allowed:
    """What a hospital lets out. ``smallest`` images stand behind a count or a figure at least; counts that the policy
    has hidden and rounded are held to ``policy``. ``tasks`` are those of ``loss``, ``disease`` and ``cancer`` whose
    figures leave, ``names`` what the lead knows: findings, classes, hospitals. ``files``: names of files may leave."""

    smallest: int = 0
    policy: PrivacyConfig = field(default_factory=lambda: PrivacyConfig(smallest_count=1, round_to=1))
    tasks: frozenset[str] = frozenset({"loss", "disease", "cancer"})
    names: frozenset[str] = frozenset()
    files: bool = False

    @property
    def few(self) -> str:
        return f"Fewer than {self.smallest} images: the hospital keeps it."

    @property
    def smallest_shown(self) -> int:
        return max(1, rounded(self.policy.smallest_count, self.policy))


@dataclass(frozen=True)
class _Here:
    """``why`` figures are kept, None where they leave; ``task`` is that of the figures, ``counts`` those of the models
    around, the nearest last."""

    allowed: Allowed
    where: str
    why: str | None = None
    task: str | None = None
    counts: Mapping[str, int | None] = field(default_factory=dict)

    def at(self, name: object) -> "_Here":
        return replace(self, where=f"{self.where}.{name}")


def what_leaves(reply: Model, allowed: Allowed) -> Model:
    """The reply without what ``allowed`` keeps. NoRuleError where something has no rule, or is not of its type."""
    names = allowed.names | _field_names(type(reply))
    return _model(reply, _Here(replace(allowed, names=names), type(reply).__name__))


def _model(value: Model, here: _Here) -> Model:
    kind = type(value)
    if odd := sorted({*value.__dict__, *(value.__pydantic_extra__ or ())} - set(kind.model_fields)):
        raise NoRuleError(f"{here.where} holds {', '.join(odd)}, which has no rule of what may leave")
    rules = {name: rule_of(tuple(info.metadata)) for name, info in kind.model_fields.items()}
    here = _with_counts(value, rules, here)
    left: dict[str, Any] = {}
    for name in sorted(value.model_fields_set, key=lambda name: isinstance(rules[name], _AFTER_ROWS)):
        rule, came = rules[name], getattr(value, name)
        inside = here.at(name)
        if isinstance(rule, leaving.OfTask) and rule.task not in here.allowed.tasks:
            inside = replace(inside, why=here.why or NOT_ALLOWED)
            if rule.whole or _may_be_null(kind, name):
                left[name] = {} if isinstance(came, Mapping) and not _may_be_null(kind, name) else None
                continue
        if isinstance(rule, leaving.MeanOf | leaving.Together):
            kept = _kept(getattr(value, rule.rows), left[rule.rows])
            if isinstance(rule, leaving.Together) and rule.names is not None and came is not None:
                kept &= set(getattr(came, rule.names))
            why = here.why or (_reason_of(left[rule.rows], kept) or here.allowed.few if kept else None)
            left[name] = _over_rows(came, rule, left[rule.rows], why, _may_be_null(kind, name), inside)
        elif isinstance(rule, leaving.Beside):
            pairs = {of: (getattr(value, of), left[of]) for of in rule.of}
            left[name] = None if came is None else _beside(came, pairs, inside)
        else:
            left[name] = _walk(came, kind.model_fields[name].annotation, rule, inside)
    _say_why(value, left, rules, here)
    try:
        return kind.model_validate(left)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, (here.where, *first["loc"])))
        raise NoRuleError(f"{place} is not of the type that its rule is for: {first['msg']}") from None


def _with_counts(value: BaseModel, rules: Mapping[str, Rule | None], here: _Here) -> _Here:
    """Where the counts of this model are too small, what is in it and below is kept."""
    counts = {
        name: getattr(value, name)
        for name, rule in rules.items()
        if isinstance(rule, leaving.Count) or (isinstance(rule, leaving.Shown) and not rule.alone)
    }
    if not counts:
        return here
    around = {**here.counts, **counts}
    few = any(_is_few(count, rules[name], around, here.allowed) for name, count in counts.items())
    return replace(here, why=here.why or (here.allowed.few if few else None), counts=around)


def _is_few(count: int | None, rule: Rule | None, around: Mapping[str, int | None], allowed: Allowed) -> bool:
    if count is None:
        return True  # what it rests on is not known
    part_of = rule.part_of if isinstance(rule, _COUNTS) else None
    whole = around.get(part_of) if part_of else None
    if part_of and whole is None:
        return True
    rest = None if whole is None else whole - count
    if isinstance(rule, leaving.Shown):
        return 0 < count < allowed.smallest_shown or 0 < (rest or 0) < allowed.smallest_shown
    return count < allowed.smallest or (rest is not None and rest < allowed.smallest)


def _walk(value: Any, kind: Any, rule: Rule | None, here: _Here) -> Any:
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        rule = rule_of(tuple(more)) or rule
    if value is None or (isinstance(rule, leaving.Figure) and here.why is not None):
        return None
    if isinstance(rule, _WHOLE):
        return RULES[type(rule)].apply(value, rule, here)
    if isinstance(value, BaseModel):
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


def _member(kind: Any, value: Any, here: _Here) -> Any:
    """The type of the union that holds the value."""
    for part in get_args(kind):
        bare = get_args(part)[0] if get_origin(part) is Annotated else part
        origin = get_origin(bare) or bare
        if origin is not NoneType and (not isinstance(origin, type) or isinstance(value, origin)):
            return part
        if origin is float and type(value) is int:
            return part
    raise NoRuleError(f"{here.where} is of a type that has no rule")


def _mapping(value: Mapping[Any, Any], kinds: Sequence[Any], rule: Rule | None, here: _Here) -> dict[Any, Any]:
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
            isinstance(rule_of(tuple(info.metadata)), _COUNTS) and getattr(told, name)
            for name, info in type(told).model_fields.items()
        )
    return bool(told)


def _may_be_null(kind: type[BaseModel], name: str) -> bool:
    return NoneType in get_args(kind.model_fields[name].annotation)


def _over_rows(came: Any, rule: Rule, rows: Any, why: str | None, nullable: bool, here: _Here) -> Any:
    """A mean of the rows that leave, or None of what runs over all of them at once."""
    if came is None or why is None:
        return (
            came if isinstance(came, (int, float, NoneType)) or not isinstance(came, BaseModel) else _model(came, here)
        )
    if not isinstance(rule, leaving.MeanOf):
        return _model(came, replace(here, why=why)) if isinstance(came, BaseModel) and not nullable else None
    rules = {name: rule_of(tuple(info.metadata)) for name, info in type(came).model_fields.items()}
    figures = [name for name, of in rules.items() if isinstance(of, leaving.Figure)]
    number = next((name for name, of in rules.items() if isinstance(of, leaving.Machine)), None)
    metrics = {name: metric for name, metric in {**CLASS_METRICS, **FINDING_METRICS}.items() if name in figures}
    of_rows = {name: row.__dict__ for name, row in _named(rows).items()}
    values, numbers, reasons = mean_of(of_rows, metrics, weighted=rule.weighted, nothing=why)
    told: dict[str, Any] = {**came.__dict__, **values}
    if number is not None:
        told[number] = numbers
    if "reasons" in rules:
        told["reasons"] = reasons
    return type(came).model_validate(told)


def _beside(came: Any, pairs: Mapping[str, tuple[Any, Any]], here: _Here) -> Any:
    """Of ``came``, which has the shape of ``pairs`` (what was, what left), what stands beside something unchanged."""
    fields = type(came).model_fields if isinstance(came, BaseModel) else came
    told = {}
    for name in fields:
        value = getattr(came, name) if isinstance(came, BaseModel) else came[name]
        if name not in pairs:  # beside no figure: how many resamples there were
            info = type(came).model_fields[name]
            told[name] = _walk(value, info.annotation, rule_of(tuple(info.metadata)), here.at(name))
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
            told[name] = _beside(value, below, here.at(name))
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


def _named(rows: Any) -> dict[str, Any]:
    return dict(rows) if isinstance(rows, Mapping) else {row.name: row for row in rows or ()}


def _kept(came: Any, left: Any) -> set[str]:
    """The rows of which something was kept."""
    after = _named(left)
    return {name for name, row in _named(came).items() if after.get(name) != row}


def _reason_of(rows: Any, kept: set[str]) -> str | None:
    for name in kept & set(_named(rows)):
        row = _named(rows)[name]
        if reasons := getattr(row, "reasons", None):
            return str(next(reversed(reasons.values())))
        if reason := getattr(row, "reason", None):
            return str(reason)
    return None


def _say_why(value: BaseModel, left: dict[str, Any], rules: Mapping[str, Rule | None], here: _Here) -> None:
    """Beside each figure that was taken out of this model, its reason."""
    taken = [
        name
        for name in left
        if left[name] is None and getattr(value, name) is not None and not isinstance(rules[name], _COUNTS)
    ]
    figures = [name for name, rule in rules.items() if isinstance(rule, leaving.Figure)]
    if "reasons" in left and isinstance(left["reasons"], dict):
        if here.why is not None and figures:
            left["reasons"] = dict.fromkeys(figures, here.why)
        left["reasons"] |= {name: here.why or _taken_reason(name, rules, left, here) for name in taken}
    elif "reason" in left and (taken or (here.why is not None and (figures or left["reason"] is None))):
        left["reason"] = here.why or here.allowed.few


def _taken_reason(name: str, rules: Mapping[str, Rule | None], left: Mapping[str, Any], here: _Here) -> str:
    rule = rules[name]
    if isinstance(rule, (leaving.MeanOf, leaving.Together)):
        return _reason_of(left[rule.rows], set(_named(left[rule.rows]))) or here.allowed.few
    return NOT_ALLOWED if isinstance(rule, leaving.Loss) else here.allowed.few


def _field_names(kind: type[BaseModel]) -> set[str]:
    """Names of all fields below: figures are told by theirs."""
    names: set[str] = set()
    for place, _ in leaving.rules_of(kind):
        names.update(place.split("."))
    return names


@dataclass(frozen=True)
class _How:
    """``words`` for people; {smallest}, {shown} and {rounded} are a hospital's own."""

    words: str
    apply: Callable[[Any, Any, _Here], Any]


def _count(value: int, rule: leaving.Count, here: _Here) -> int | None:
    return None if _is_few(value, rule, here.counts, here.allowed) else value


def _shown(value: int, rule: leaving.Shown, here: _Here) -> int | None:
    return None if _is_few(value, rule, here.counts, here.allowed) else value


def _loss(value: float, _: Rule, here: _Here) -> float | None:
    return value if "loss" in here.allowed.tasks and here.why is None else None


def _name(value: str, _: Rule, here: _Here) -> str:
    if value not in here.allowed.names:
        raise NoRuleError(f"{here.where} holds a name that the lead does not know")
    return value


def _nothing_shared(value: str, _: Rule, here: _Here) -> str:
    raise NoRuleError(f"{here.where}: a shared name stands beside its count, as the key of a table")


def _words(value: str, rule: leaving.Words, here: _Here) -> str:
    quotes = rule.files and here.allowed.files
    return value if quotes or is_sentence(value, here.allowed.smallest) else UNSAID


def _identifier(value: str, _: Rule, here: _Here) -> str:
    if not _IDENTIFIER.fullmatch(value):
        raise NoRuleError(f"{here.where} is neither a digest nor a version")
    return value


def _bins(value: Any, _: Rule, here: _Here) -> Any:
    if here.why is not None:
        return None
    told = value.model_dump(mode="json")
    histogram = coarsened(parse_histogram(told, told["bins"]), here.allowed.smallest)
    if too_few(histogram, max(here.allowed.smallest, 1)):
        return None
    return type(value)(**vars(histogram))


def _weight(value: int, _: Rule, here: _Here) -> int:
    return value if value >= here.allowed.smallest else 0


def _as_it_is(value: Any, _: Rule, here: _Here) -> Any:
    return value


RULES: Mapping[type[Rule], _How] = {
    leaving.Count: _How("from {smallest} on; below that, or where what is left of the whole is less: null", _count),
    leaving.Shown: _How("from {shown} patients on, rounded to {rounded}; else null", _shown),
    leaving.Figure: _How("where {smallest} images or more have the label, and as many lack it; else null", _as_it_is),
    leaving.Loss: _How("where losses leave; else null", _loss),
    leaving.Name: _How("names that the lead knows; another one stops the reply", _name),
    leaving.SharedName: _How("names whose own count is shown; the others are 'other'", _nothing_shared),
    leaving.Words: _How("sentences of a closed list; another one is replaced", _words),
    leaving.Code: _How("one of a closed list", _as_it_is),
    leaving.Identifier: _How("a digest in hexadecimal, or a version", _identifier),
    leaving.Machine: _How("as it is: no image stands behind it", _as_it_is),
    leaving.Bins: _How("bins joined until each counts none or {smallest} images", _bins),
    leaving.Weights: _How("the values of the model that was trained", _as_it_is),
    leaving.Weight: _How("from {smallest} on; else 0, and the part is not averaged", _weight),
    leaving.Stays: _How("never", lambda value, rule, here: None),
}
_COUNTS = (leaving.Count, leaving.Shown)
_WHOLE = (leaving.Bins, leaving.Weights, leaving.Stays)
_AFTER_ROWS = (leaving.MeanOf, leaving.Together, leaving.Beside)
