"""What several hospitals have told in numbers, side by side: sums, distances, images that two of them hold.

Nothing here needs a network or TensorFlow. The content of the document is described in docs/statistics.md.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter
from typing import Any

from fedthorax.common.config import Experiment
from fedthorax.common.disclosure.distance import classes_distance, findings_distance, jensen_shannon_distance
from fedthorax.common.disclosure.duplicates import shared_images
from fedthorax.common.messages.replies import StatisticsReply
from fedthorax.common.messages.statistics import UNKNOWN, Modality, SiteStatistics, Table, check_policy
from fedthorax.common.messages.tasks import StatisticsTask
from fedthorax.server.channel import Channel

SCHEMA_VERSION = 1
_TABLES = ("sex", "age", "shorter_side", "view", "scanner")
_LABEL_CELLS = {"present", "absent", UNKNOWN}


@dataclass(frozen=True)
class ConsortiumStatistics:
    """``sites`` are the hospitals that answered well, in the experiment's order; ``failures`` the others' reasons."""

    experiment: Experiment
    sites: Mapping[str, SiteStatistics]
    failures: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """JSON-ready; the keyed hashes are gone, only how many two sites share is left."""
        return {
            "schema_version": SCHEMA_VERSION,
            "policy": self.experiment.data.privacy.model_dump(),
            "sites": {
                name: told.model_dump(mode="json", exclude={"duplicates", "duplicates_reason"})
                for name, told in self.sites.items()
            },
            "failures": [{"site": site, "reason": reason} for site, reason in self.failures.items()],
            "totals": _totals(self.sites),
            "distances": _distances(self.sites, self.experiment.labels.cancer_classes),
            "duplicates": {
                "pairs": shared_images({name: told.duplicates for name, told in self.sites.items()}),
                "without_hashes": {
                    name: told.duplicates_reason for name, told in self.sites.items() if told.duplicates is None
                },
            },
        }


def ask_statistics(experiment: Experiment, sites: Sequence[str], channel: Channel) -> ConsortiumStatistics:
    """One query round over ``channel``. RuntimeError with every hospital's reason if none gives statistics."""
    nonce = secrets.token_hex(32)
    text = experiment.model_dump_json()
    deadline = time.time() + experiment.federation.round_timeout_s
    tasks = [
        StatisticsTask(site=site, round=0, experiment=text, digest_key=nonce, run=nonce, deadline=deadline)
        for site in sites
    ]
    told: dict[str, SiteStatistics] = {}
    failures: dict[str, str] = {}
    channel.gather(1)
    for reply in channel.exchange(tasks, lambda: bool(told)):
        if isinstance(reply, StatisticsReply) and reply.error is None:
            told[reply.site] = reply.told.statistics
        else:
            failures[reply.site] = reply.error or "refused: the reply is of another kind"
    gathered = gather_statistics(experiment, sites, told, failures)
    if not gathered.sites:
        reasons = "; ".join(f"{site}: {reason}" for site, reason in gathered.failures.items())
        raise RuntimeError(f"no hospital gave statistics ({reasons})")
    return gathered


def gather_statistics(
    experiment: Experiment,
    sites: Sequence[str],
    told: Mapping[str, SiteStatistics],
    failures: Mapping[str, str] | None = None,
) -> ConsortiumStatistics:
    """``told`` is what each hospital's reply has under ``statistics``; what breaks the policy becomes a failure."""
    good: dict[str, SiteStatistics] = {}
    failed = dict(failures or {})
    for site in (name for name in sites if name in told):
        try:
            _check(told[site], experiment)
            good[site] = told[site]
        except ValueError as error:
            failed[site] = f"refused: {error}"
    return ConsortiumStatistics(experiment, good, {site: failed[site] for site in sites if site in failed})


def _check(statistics: SiteStatistics, experiment: Experiment) -> None:
    """ValueError where they are of other labels than the experiment's, or show what the policy hides."""
    expected = set(experiment.labels.findings)
    if set(statistics.findings) != expected:
        odd = ", ".join(sorted(set(statistics.findings) ^ expected))
        raise ValueError(f"the findings differ from the experiment's in {odd}")
    for name, table in statistics.findings.items():
        if set(table.cells) != _LABEL_CELLS:
            raise ValueError(f"finding {name} must have the counts present, absent and unknown")
    if set(statistics.cancer_classes.cells) != {*experiment.labels.cancer_classes, UNKNOWN}:
        raise ValueError("the cancer classes differ from the experiment's")
    check_policy(statistics, experiment.data.privacy)


def _totals(sites: Mapping[str, SiteStatistics]) -> dict[str, Any]:
    totals: dict[str, Any] = {}
    for modality in ("xray", "ct"):
        totals[modality] = {
            key: _total({name: attrgetter(f"{modality}.{key}")(told) for name, told in sites.items()}, sites)
            for key in ("images", "patients")
        }
        for key in _TABLES:
            totals[modality][key] = _table_total(sites, attrgetter(f"{modality}.{key}"))
    findings = next(iter(sites.values())).findings if sites else {}
    totals["findings"] = {
        finding: _table_total(sites, lambda told, finding=finding: told.findings[finding])  # type: ignore[misc]
        for finding in findings
    }
    totals["cancer_classes"] = _table_total(sites, attrgetter("cancer_classes"))
    return totals


def _table_total(sites: Mapping[str, SiteStatistics], table: Callable[[SiteStatistics], Table]) -> dict[str, Any]:
    """The total of each cell; a site whose table has no such cell (a scanner) has none of it."""
    tables = {name: table(told).cells for name, told in sites.items()}
    cells = dict.fromkeys(cell for counts in tables.values() for cell in counts)
    return {cell: _total({name: counts.get(cell, 0) for name, counts in tables.items()}, sites) for cell in cells}


def _total(counts: Mapping[str, int | None], sites: Mapping[str, SiteStatistics]) -> dict[str, Any]:
    """Sum of what is shown: a lower bound where ``hidden_at`` names hospitals; null if all that count are hidden.

    ``plus_minus`` is how far rounding can have moved the sum.
    """
    shown = {name: value for name, value in counts.items() if value is not None}
    hidden = [name for name in counts if name not in shown]
    undefined = bool(hidden) and not any(shown.values())
    return {
        "count": None if undefined else sum(shown.values()),
        "plus_minus": sum(sites[name].policy.round_to // 2 for name, value in shown.items() if value),
        "hidden_at": hidden,
        "reason": "hidden at every hospital that may have any" if undefined else None,
    }


def _distances(sites: Mapping[str, SiteStatistics], classes: Sequence[str]) -> dict[str, Any]:
    pairs = list(combinations(sites.items(), 2))

    def pairwise(measure: Callable[[SiteStatistics, SiteStatistics], Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [{"sites": [a, b], **measure(first, second)} for (a, first), (b, second) in pairs]

    def intensity(modality: Callable[[SiteStatistics], Modality]) -> dict[str, Any]:
        return {
            "pairs": pairwise(lambda one, other: _intensity(modality(one), modality(other))),
            "within_sites": {name: modality(told).halves_distance for name, told in sites.items()},
        }

    return {
        "xray_intensity": intensity(attrgetter("xray")),
        "ct_intensity": intensity(attrgetter("ct")),
        "findings": {"pairs": pairwise(_findings)},
        "cancer_classes": {"pairs": pairwise(lambda one, other: _classes(one, other, classes))},
    }


def _intensity(one: Modality, other: Modality) -> dict[str, Any]:
    if one.intensity is None or other.intensity is None:
        return {"distance": None, "reason": "a hospital has too few patients, or no images"}
    return {"distance": round(jensen_shannon_distance(one.intensity, other.intensity), 4), "reason": None}


def _findings(one: SiteStatistics, other: SiteStatistics) -> dict[str, Any]:
    distance, over = findings_distance(one.findings, other.findings)
    return _labelled(distance, over, "there is no finding whose present and absent both hospitals show")


def _classes(one: SiteStatistics, other: SiteStatistics, classes: Sequence[str]) -> dict[str, Any]:
    distance, over = classes_distance(one.cancer_classes, other.cancer_classes, classes)
    return _labelled(distance, over, "there are fewer than two classes that both hospitals show, or one shows no slice")


def _labelled(distance: float | None, over: Sequence[str], reason: str) -> dict[str, Any]:
    return {
        "distance": None if distance is None else round(distance, 4),
        "over": list(over),
        "reason": reason if distance is None else None,
    }
