"""What each rule does to a value, and its words for people."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fedthorax.common.disclosure.allowed import Here, NoRuleError
from fedthorax.common.disclosure.counts import is_few
from fedthorax.common.disclosure.sentences import UNSAID, is_sentence
from fedthorax.common.ground import leaving
from fedthorax.common.ground.leaving import Rule
from fedthorax.common.metrics.score_histogram import coarsened, too_few

_SEALED = re.compile(r"([0-9a-f]{2})*")
_IDENTIFIER = re.compile(r"[0-9a-f]{0,128}|\d{1,4}(\.\d{1,6}){1,3}((a|b|rc|\.post|\.dev)\d{1,6})?(\+[0-9a-f.]{1,40})?")


@dataclass(frozen=True)
class How:
    """``words`` for people; {smallest}, {shown} and {rounded} are a hospital's own."""

    words: str
    apply: Callable[[Any, Any, Here], Any]


def _count(value: int, rule: leaving.Count | leaving.Shown, here: Here) -> int | None:
    return None if is_few(value, rule, here.counts, here.allowed) else value


def _loss(value: float, _: Rule, here: Here) -> float | None:
    return value if "loss" in here.allowed.tasks and here.why is None else None


def _name(value: str, _: Rule, here: Here) -> str:
    if value not in here.allowed.names:
        raise NoRuleError(f"{here.where} holds a name that the lead does not know")
    return value


def _nothing_shared(value: str, _: Rule, here: Here) -> str:
    raise NoRuleError(f"{here.where}: a shared name stands beside its count, as the key of a table")


def _words(value: str, rule: leaving.Words, here: Here) -> str:
    quotes = rule.files and here.allowed.files
    return value if quotes or is_sentence(value, here.allowed.smallest) else UNSAID


def _sealed(value: str, _: Rule, here: Here) -> str:
    if not _SEALED.fullmatch(value):
        raise NoRuleError(f"{here.where} is not sealed")
    return value


def _identifier(value: str, _: Rule, here: Here) -> str:
    if not _IDENTIFIER.fullmatch(value):
        raise NoRuleError(f"{here.where} is neither a digest nor a version")
    return value


def _bins(value: Any, _: Rule, here: Here) -> Any:
    if here.why is not None:
        return None
    histogram = coarsened(value, here.allowed.smallest)
    return None if too_few(histogram, max(here.allowed.smallest, 1)) else histogram


def _as_it_is(value: Any, _: Rule, here: Here) -> Any:
    return value


RULES: Mapping[type[Rule], How] = {
    leaving.Count: How("from {smallest} on; below that, or where what is left of the whole is less: null", _count),
    leaving.Shown: How("from {shown} patients on, rounded to {rounded}; else null", _count),
    leaving.Figure: How("where at least {smallest} have the label, and as many lack it; else null", _as_it_is),
    leaving.Loss: How("where losses leave, over none or at least {smallest} of each kind; else null", _loss),
    leaving.Behind: How("never; figures beside it leave from {smallest} on", lambda value, rule, here: None),
    leaving.Name: How("names that the lead knows; another one stops the reply", _name),
    leaving.SharedName: How("names whose own count is shown; the others are 'other'", _nothing_shared),
    leaving.Words: How("sentences of a closed list; another one is replaced", _words),
    leaving.Code: How("one of a closed list", _as_it_is),
    leaving.Identifier: How("a digest in hexadecimal, or a version", _identifier),
    leaving.Machine: How("as it is: no image stands behind it", _as_it_is),
    leaving.Bins: How("bins joined until each counts none or at least {smallest}", _bins),
    leaving.Weights: How("the values of the model that was trained", _as_it_is),
    leaving.Sealed: How("under masks: what another hospital alone can open, or a share of a key", _sealed),
    leaving.Weight: How(
        "from {smallest} on; else 0, and the part is not averaged",
        lambda value, rule, here: value if value >= here.allowed.smallest else 0,
    ),
    leaving.Stays: How("never", lambda value, rule, here: None),
}
WHOLE = (leaving.Bins, leaving.Weights, leaving.Stays)
AFTER_ROWS = (leaving.MeanOf, leaving.Together, leaving.Beside)
