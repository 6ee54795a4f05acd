"""Which segments of the model each hospital holds, so that they need not be sent again.

A hospital holds what it has answered a task about. This is an expectation and no more: a hospital that has lost its
state says what it lacks, and gets it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fedthorax.common.model.segments import (
    MODALITIES,
    SegmentLayout,
    Weights,
    segment_sha256,
    segments_of,
    weights_digest,
)

VERSIONS = 3  # of a segment that a hospital keeps


class Holdings:
    """``by_site``: hospital → segment → SHA-256 of the versions it holds, the newest last."""

    def __init__(self, by_site: Mapping[str, Mapping[str, list[str]]] | None = None) -> None:
        self.by_site = {
            site: {name: list(hashes) for name, hashes in held.items()} for site, held in (by_site or {}).items()
        }

    def held(self, site: str, sha256: Mapping[str, str]) -> tuple[str, ...]:
        """The segments of a model, told by their hashes, that the hospital is expected to hold."""
        known = self.by_site.get(site, {})
        return tuple(name for name, digest in sha256.items() if digest in known.get(name, ()))

    def holds(self, site: str, name: str, sha256: str) -> bool:
        """Whether the hospital is expected to hold this version of a segment."""
        return sha256 in self.by_site.get(site, {}).get(name, ())

    def went_on_holding(self, site: str, sha256: Mapping[str, str]) -> None:
        """The hospital was told to keep these segments, as far as it holds them."""
        self.took(site, {name: digest for name, digest in sha256.items() if self.holds(site, name, digest)})

    def took(self, site: str, sha256: Mapping[str, str]) -> None:
        """The hospital has done a task that starts from this model."""
        known = self.by_site.setdefault(site, {})
        for name, digest in sha256.items():
            others = [one for one in known.get(name, []) if one != digest]
            known[name] = [*others, digest][-VERSIONS:]


def named_model(weights: Weights) -> dict[str, Any]:
    """What a task says about the model that it starts from."""
    return {
        "weights": weights,
        "model_sha256": weights_digest(weights),
        "sha256": {segment: segment_sha256(values) for segment, values in weights.items()},
    }


def models_by_hospital(
    whole: dict[str, Any], layout: SegmentLayout, modalities_of: Callable[[str], tuple[str, ...]]
) -> Callable[[str], dict[str, Any]]:
    """By hospital what a task says about a named model: only the segments that its own network has."""
    known: dict[tuple[str, ...], dict[str, Any]] = {MODALITIES: whole}

    def model(site: str) -> dict[str, Any]:
        modalities = modalities_of(site)
        if modalities not in known:
            names = segments_of(modalities)
            parts = {key: {name: whole[key][name] for name in names} for key in ("weights", "sha256")}
            known[modalities] = {**whole, **parts, "layout": layout.digest_of(names)}
        return known[modalities]

    return model
