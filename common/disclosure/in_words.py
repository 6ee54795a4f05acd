"""Every rule of what may leave a hospital, in words: for ``fedthorax site leaves``, and for who approves a run."""

from fedthorax.common.disclosure.allowed import Allowed
from fedthorax.common.disclosure.rules import RULES
from fedthorax.common.ground.leaving import STRUCTURAL, Rule, Together, rules_of
from fedthorax.common.messages.replies import RESULTS


def said(rule: Rule, allowed: Allowed) -> str:
    """A rule in words, with this hospital's own numbers."""
    of = getattr(rule, "of", "")
    words = RULES[type(rule)].words.format(
        smallest=max(1, allowed.smallest), shown=allowed.policy.smallest_count, rounded=allowed.policy.round_to
    )
    return f"{words} ({of})" if of and isinstance(of, str) else words


def rules_in_words(allowed: Allowed) -> dict[str, dict[str, list[str]]]:
    """By kind of task and rule the places of the fields that it holds for, in the order of the reply."""
    told: dict[str, dict[str, list[str]]] = {}
    for kind, results in RESULTS.items():
        of_kind = told.setdefault(kind, {})
        for place, rule in rules_of(results):
            if not isinstance(rule, (*STRUCTURAL, Together)):
                places = of_kind.setdefault(said(rule, allowed), [])
                if place not in places:
                    places.append(place)
    return told
