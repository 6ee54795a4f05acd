"""What a field of a hospital's reply may tell: a rule stands beside each field, in its type.

``support: Annotated[int | None, Count(part_of="known")]``. A rule covers everything in its field; a field of models
needs none of its own, because theirs are looked at. A field without a rule is refused when the gate is made
(``require_rules``): a figure that nobody has thought about does not leave a hospital. What each rule does stands in the
gate of ``common/disclosure``; here are only its names, so that every model can be written with them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


@dataclass(frozen=True)
class Rule:
    """What may be said of a field. Its values are those that people read in ``fedthorax site leaves``."""


@dataclass(frozen=True)
class Count(Rule):
    """A number of images, pairs or patients (``of``): null below the smallest count. Figures beside it in the same
    model rest on it. ``part_of`` names the count, here or in a model around, of which this is a part: what is left of
    it must be large enough too."""

    of: str = "images"
    part_of: str | None = None


@dataclass(frozen=True)
class Shown(Rule):
    """A count that the policy has hidden or rounded already; one smaller than the policy shows is null. 0 stays.
    Figures beside it rest on it unless it is ``alone``; ``part_of`` as in ``Count``."""

    of: str = "images"
    part_of: str | None = None
    alone: bool = False


@dataclass(frozen=True)
class Figure(Rule):
    """A score. Null where the hospital keeps the task's scores, or where it rests on too few images."""


@dataclass(frozen=True)
class Behind(Rule):
    """A count that stays here: null outside. Figures beside it rest on it unless it is ``alone``, or the field
    ``unless[0]`` says ``unless[1]``: then they are not of these images."""

    unless: tuple[str, str] | None = None
    alone: bool = False


@dataclass(frozen=True)
class Loss(Rule):
    """A mean loss. Null where the hospital keeps losses, or where one of the counts ``over``, here or in a model
    around, is too small but not 0. Of a field of models the largest count in them is meant."""

    over: tuple[str, ...]


@dataclass(frozen=True)
class OfTask(Rule):
    """Beside a field of models: their figures are of this task, which a hospital may keep. ``whole``: then the field is
    null, or empty where it cannot be null."""

    task: Literal["disease", "cancer"]
    whole: bool = False


@dataclass(frozen=True)
class MeanOf(Rule):
    """A mean over the models in the field ``rows``, weighted by their ``support`` where ``weighted``: worked out anew
    from the rows that leave, because from a mean over all the missing one could be computed."""

    rows: str
    weighted: bool = False


@dataclass(frozen=True)
class Together(Rule):
    """A figure over all of the field ``rows`` at once: null as soon as one of these is kept. ``names``: a field of the
    value that lists those which it runs over; then only these matter."""

    rows: str
    names: str | None = None


@dataclass(frozen=True)
class Beside(Rule):
    """Has the shape of the fields ``of`` (intervals of scores): each part leaves where what stands at the same place
    there left as it was."""

    of: tuple[str, ...]


@dataclass(frozen=True)
class Bins(Rule):
    """Counts by bin of a probability: neighbouring bins are joined until each counts none or enough."""


@dataclass(frozen=True)
class Name(Rule):
    """A name that the lead knows: of a finding, class, split, hospital, segment or figure. Another one is refused."""


@dataclass(frozen=True)
class SharedName(Rule):
    """A name from the hospital's own files (of a scanner) that enough of its patients share."""


@dataclass(frozen=True)
class Code(Rule):
    """One of a closed list: the type is a Literal, an enumeration or a bool."""


@dataclass(frozen=True)
class Words(Rule):
    """A sentence of the product (why a figure is null). Another one is replaced, unless it may quote ``files`` and the
    hospital lets their names leave."""

    files: bool = False


@dataclass(frozen=True)
class Identifier(Rule):
    """Hexadecimal digits of a digest or a key, or a version: no word can be hidden in it."""


@dataclass(frozen=True)
class Machine(Rule):
    """A number that says nothing of an image: of the machine, the training, or a setting that the lead has given."""

    of: str


@dataclass(frozen=True)
class Weights(Rule):
    """Values of the model, of the segments that take part."""


@dataclass(frozen=True)
class Sealed(Rule):
    """Hexadecimal digits that are sealed for another hospital, or a share of a mask's key: of no image."""


@dataclass(frozen=True)
class Weight(Rule):
    """A number of images or pairs that weighs a part of the update: 0 below the smallest count, so that the part is not
    averaged."""

    of: str = "images"


@dataclass(frozen=True)
class Stays(Rule):
    """For the hospital itself: always null outside."""


STRUCTURAL = (OfTask, MeanOf, Beside)
"""Rules of a field beside those of the values in it."""


def rule_of(metadata: tuple[Any, ...]) -> Rule | None:
    """The rule among the values of an ``Annotated``. ValueError where there are two."""
    found = [value for value in metadata if isinstance(value, Rule)]
    if len(found) > 1:
        raise ValueError(f"a field has one rule, not {len(found)}: {', '.join(type(rule).__name__ for rule in found)}")
    return found[0] if found else None


def rules_of(model: type[BaseModel]) -> Iterator[tuple[str, Rule]]:
    """(place, rule) of every field below the model, in their order. TypeError names the first field that has none."""
    for name, field in model.model_fields.items():
        yield from _rules(field.annotation, tuple(field.metadata), f"{model.__name__}.{name}", name)


def require_rules(model: type[BaseModel]) -> None:
    """TypeError where something in the model could leave without a rule."""
    for _ in rules_of(model):
        pass


def _rules(kind: Any, metadata: tuple[Any, ...], where: str, place: str) -> Iterator[tuple[str, Rule]]:
    """``kind`` is a type, ``metadata`` what an ``Annotated`` around it says."""
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        metadata = (*metadata, *more)
    rule = rule_of(metadata)
    if rule is not None:
        yield place, rule
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if rule is None or isinstance(rule, (*STRUCTURAL, Together)):
            yield from ((f"{place}.{below}", its) for below, its in rules_of(kind))
    elif parts := _parts(kind):
        for part in parts:
            own = get_origin(part) is Annotated and rule_of(get_args(part)[1:]) is not None
            inherited = () if rule is None or own else (rule,)
            yield from ((at, its) for at, its in _rules(part, inherited, where, place) if its is not rule)
    elif kind is not NoneType:
        name = str(kind) if get_origin(kind) else getattr(kind, "__name__", str(kind))
        if rule is None or isinstance(rule, STRUCTURAL):
            raise TypeError(
                f"{where} ({name}) has no rule of what may leave a hospital: give it one of common/ground/leaving.py, "
                "as Annotated[type, rule]"
            )
        if not _fits(kind, rule):
            raise TypeError(f"{where}: {type(rule).__name__} is no rule for {name}")


def _parts(kind: Any) -> tuple[Any, ...]:
    """The types inside a union or a container; a Literal has none."""
    origin = get_origin(kind)
    if origin in (Union, UnionType) or (isinstance(origin, type) and issubclass(origin, (Mapping, tuple, list))):
        return tuple(part for part in get_args(kind) if part is not Ellipsis)
    return ()


def _fits(kind: Any, rule: Rule) -> bool:
    """Whether the rule can hold for values of this type: text is no number, and nothing may be anything."""
    if isinstance(rule, Code):
        return get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, (bool, Enum)))
    if isinstance(rule, (Count, Shown, Figure, Behind, Loss, Machine, Weight, Together)):
        return kind in (int, float, bool)
    if isinstance(rule, (Name, SharedName, Words, Identifier, Sealed)):
        return kind is str or get_origin(kind) is Literal
    return kind is not Any and kind is not object
