"""What a hospital gets when the run is over: the best and the last model, and what the run measured about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedthorax.common.model.segments import Weights


@dataclass(frozen=True)
class Delivery:
    """One model: the names under which it is kept (best, last, or both), its round and its weights."""

    names: tuple[str, ...]
    round: int
    weights: Weights


def deliveries(best: Delivery, last: Delivery) -> tuple[Delivery, ...]:
    """One for each model: where the last round is the best one, it is sent once."""
    if best.round == last.round:
        return (Delivery((*best.names, *last.names), last.round, last.weights),)
    return (best, last)


def outcome(delivery: Delivery, site: str, document: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """``Task.outcome``: ``models`` (names), ``facts`` (model.json less its models), ``metrics`` (as metrics.json)."""
    return {"models": list(delivery.names), "facts": dict(facts), "metrics": own_results(document, site)}


def own_results(document: Mapping[str, Any], site: str) -> dict[str, Any]:
    """The record of a finished run as one hospital may see it: the common figures and its own, no other hospital's."""

    def own(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [entry for entry in entries if entry["site"] == site]

    rounds = [
        {
            **entry,
            "sites": {site: entry["sites"][site]},
            **{name: own(entry[name]) for name in ("failures", "late", "warnings")},
        }
        for entry in document["rounds"]
    ]
    left_out = [entry for entry in document["central"]["left_out"] if entry["same_as_site"] == site]
    return {
        **document,
        "status": "finished",
        "sites": {site: document["sites"][site]},
        "central": {**document["central"], "left_out": left_out},
        "rounds": rounds,
    }
