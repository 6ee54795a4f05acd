"""Which hospital of a run is the largest: losing that one costs most."""

from collections.abc import Mapping
from typing import Any


def largest_site(metrics: Mapping[str, Any]) -> str | None:
    """The hospital with most training pairs among ``sites`` of metrics.json; None where none stands out."""
    sizes = {name: training_pairs(site) for name, site in (metrics.get("sites") or {}).items()}
    ranked = sorted(sizes.items(), key=lambda item: item[1], reverse=True)
    if not ranked or not ranked[0][1] or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def training_pairs(site: Mapping[str, Any]) -> int:
    """Pairs of one pass over a hospital's training images, as it described them; 0 where it did not."""
    return int((((site.get("data") or {}).get("pairing")) or {}).get("pairs") or 0)
