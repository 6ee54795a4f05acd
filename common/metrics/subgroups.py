"""Is the model as good for some images as for others? Figures by sex, age band, view and scanner, and their gaps.

A group is compared with all other images whose attribute is known, on the same resamples of patients, so the interval
of the gap holds although both sides may share patients. Only labels with ten positives and ten negatives on both sides
are compared: a mean over more findings here than there would compare findings, not people. A gap says that figures
differ, not why: groups also differ in how ill they are and how they were imaged.

Sensitivity by subgroup as a measure of underdiagnosis: Seyyed-Kalantari et al., Nature Medicine 27 (2021), 2176-2182.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.metrics.answers import Answers
from fedthorax.common.metrics.resampling import (
    image_weights,
    is_descriptive,
    number,
    percentile_interval,
    ratio,
    weighted_ranking,
)
from fedthorax.common.metrics.suppression import Count, is_small, rounded, safe_groups, shown_counts
from fedthorax.common.records.attributes import AGE_BANDS, age_band
from fedthorax.common.records.records import Attributes

FIGURES = ("roc_auc", "recall", "specificity")
_USUAL = {"sex": ("F", "M"), "age_years": AGE_BANDS, "view": ("PA", "AP", "LL"), "scanner": ()}
_NOT_COMPARED = "No label has ten positives and negatives both here and among the others."
_SOME_HIDDEN = " Labels that few patients have, or lack, are hidden."
_DIFFERENCE = "Hidden: beside the others it would give the figures of few patients away."

Values = NDArray[np.float64]


def groups_of(attributes: Sequence[Attributes]) -> dict[str, list[str | None]]:
    """By attribute the group of each image, None where it is unknown; attributes that no image has are left out."""
    found: dict[str, list[str | None]] = {
        "sex": [one.sex for one in attributes],
        "age_years": [None if one.age_years is None else age_band(one.age_years) for one in attributes],
        "view": [one.view for one in attributes],
        "scanner": [one.scanner for one in attributes],
    }
    return {name: values for name, values in found.items() if any(value is not None for value in values)}


def subgroup_scores(
    answers: Answers,
    attributes: Sequence[Attributes],
    samples: int,
    seed: int,
    policy: PrivacyConfig,
    guard_differences: bool = False,
) -> dict[str, Any]:
    """By attribute its ``groups``, and ``unknown``, the images of none.

    A group has ``images``, ``mean`` (over the labels that are compared, which it names) and ``labels``; the figures of
    both are ``{value, interval, others, gap, gap_interval}``, where ``gap`` is value minus ``others``. A group of fewer
    than ``policy.smallest_count`` patients is ``{reason}`` alone, and so is a label that so few have or lack: counts
    and figures are hidden. Counts are hidden and rounded as in a data passport.

    ``guard_differences`` is for readers who do not hold the images: labels are hidden too that would give hidden
    figures away beside those of all images, and ``others`` are all other images, those of no group among them.
    """
    patients, labels, people = answers.patients, answers.names, np.asarray(answers.patients, dtype=np.str_)
    described = {}
    for attribute, of_images in groups_of(attributes).items():
        cells = ["unknown" if group is None else group for group in of_images]
        counts = _counts(cells, patients)
        images = shown_counts(counts, len(set(patients)), policy)
        usual = _USUAL[attribute]
        names = [*(name for name in usual if name in counts), *sorted(set(counts) - {*usual, "unknown"})]
        if attribute == "scanner":  # that a scanner of few patients occurs is already a statement about someone
            names = [name for name in names if not is_small(counts[name].patients, policy)]
        member = {name: np.array([cell == name for cell in cells]) for name in names}
        told = [name for name in names if not is_small(counts[name].patients, policy)]
        known = np.array([guard_differences or cell != "unknown" for cell in cells])
        sides = {name: (member[name], known & ~member[name]) for name in told}
        rows = {
            name: {label: _label(answers, column, member[name], people, policy) for column, label in enumerate(labels)}
            for name in told
        }
        if guard_differences:
            _guard(rows, answers, member, people, policy)
        found = _compared(answers, sides, rows, people, samples, seed, policy)
        hidden = {"images": None, "reason": f"Fewer than {policy.smallest_count} patients: hidden."}
        described[attribute] = {
            "unknown": images.get("unknown", 0),
            "groups": {
                name: {"images": images[name], "reason": None, **_counted(found[name], images[name], policy)}
                if name in told
                else hidden
                for name in names
            },
        }
    return described


def _guard(
    rows: Mapping[str, dict[str, dict[str, Any]]],
    answers: Answers,
    member: Mapping[str, NDArray[np.bool_]],
    people: NDArray[np.str_],
    policy: PrivacyConfig,
) -> None:
    """Gives a ``reason`` to rows that must be hidden because of others."""
    for column, label in enumerate(next(iter(rows.values()), {})):
        known, present = answers.known[:, column], answers.present[:, column]
        told = {name for name, of_labels in rows.items() if of_labels[label]["reason"] is None}
        kinds = (known & present, known & ~present)
        for name in told - safe_groups(told, member, kinds, people, policy):
            rows[name][label]["reason"] = _DIFFERENCE


def _compared(
    answers: Answers,
    sides: Mapping[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    rows_of: Mapping[str, dict[str, dict[str, Any]]],
    people: NDArray[np.str_],
    samples: int,
    seed: int,
    policy: PrivacyConfig,
) -> dict[str, dict[str, Any]]:
    """By group its ``mean`` and ``labels``; ``sides`` are its own images and the others, as masks."""
    figures: dict[str, list[Values]] = {name: [] for name in sides}
    for weights in image_weights(people.tolist(), len(people), samples, seed):
        for name, (mine, others) in sides.items():
            figures[name].append(np.stack([_figures(answers, rows, weights) for rows in (mine, others)], axis=1))
    result = {}
    for name, (mine, others) in sides.items():
        values = np.concatenate(figures[name])  # (samples + 1, 2 sides, labels, figures)
        rows, labels = rows_of[name], list(rows_of[name])
        compared = [
            column
            for column, label in enumerate(labels)
            if rows[label]["reason"] is None
            and not rows[label]["descriptive"]
            and not _few(answers, column, others)
            and not _few_people(answers, column, others, people, policy)
        ]
        num_patients = len(set(people[mine | others]))
        for column, label in enumerate(labels):
            if rows[label]["reason"] is None:
                rows[label] |= _told(
                    values[:, :, column], num_patients, not rows[label]["descriptive"], column in compared
                )
        hidden = any(row["reason"] for row in rows.values())
        of_compared = _mean(values[:, :, compared])
        mean = {
            "labels": [labels[column] for column in compared],
            "reason": None if compared else _NOT_COMPARED + (_SOME_HIDDEN if hidden else ""),
            **_told(of_compared, num_patients, bool(compared), bool(compared)),
        }
        result[name] = {"mean": mean, "labels": rows}
    return result


def _figures(answers: Answers, rows: NDArray[np.bool_], weights: NDArray[np.int32]) -> Values:
    """(b, labels, figures) of the images in ``rows``."""
    mine = weights[rows].astype(np.float64)
    known, present, predicted = (part[rows] for part in (answers.known, answers.present, answers.predicted))
    score, absent = answers.score[rows], known & ~present
    columns = range(known.shape[1])
    areas = [weighted_ranking(weights[rows], known[:, k], present[:, k], score[:, k])[:, 0] for k in columns]
    recall = ratio(mine.T @ (present & predicted & known), mine.T @ (present & known))
    specificity = ratio(mine.T @ (absent & ~predicted), mine.T @ absent)
    return np.stack([np.stack(areas, axis=1), recall, specificity], axis=2)


def _mean(values: Values) -> Values:
    """(samples + 1, 2 sides, figures): over the labels that both sides of a resample define."""
    defined = np.isfinite(values).all(axis=1, keepdims=True)
    return ratio(np.where(defined, values, 0).sum(axis=2), np.broadcast_to(defined, values.shape).sum(axis=2) * 1.0)


def _told(values: Values, num_patients: int, enough: bool, compared: bool) -> dict[str, Any]:
    """``values`` is (samples + 1, 2 sides, figures); ``enough`` images for an interval, ``compared`` for a gap."""
    told: dict[str, Any] = {}
    for k, figure in enumerate(FIGURES):
        mine, others = values[:, 0, k], values[:, 1, k]
        told[figure] = {
            "value": number(mine[0]),
            "interval": percentile_interval(mine, num_patients)[0] if enough else None,
            "others": number(others[0]) if compared else None,
            "gap": number(mine[0] - others[0]) if compared else None,
            "gap_interval": percentile_interval(mine - others, num_patients)[0] if compared else None,
        }
    return told


def _label(
    answers: Answers, column: int, rows: NDArray[np.bool_], people: NDArray[np.str_], policy: PrivacyConfig
) -> dict[str, Any]:
    known = answers.known[:, column] & rows
    present = answers.present[:, column] & known
    few = _few_people(answers, column, rows, people, policy)
    return {
        "support": int(present.sum()),
        "known": int(known.sum()),
        "descriptive": _few(answers, column, rows),
        "reason": f"Fewer than {policy.smallest_count} patients have it, or lack it: hidden." if few else None,
    }


def _few_people(
    answers: Answers, column: int, rows: NDArray[np.bool_], people: NDArray[np.str_], policy: PrivacyConfig
) -> bool:
    known, present = answers.known[:, column] & rows, answers.present[:, column]
    return any(is_small(len(set(people[images])), policy) for images in (known & present, known & ~present))


def _few(answers: Answers, column: int, rows: NDArray[np.bool_]) -> bool:
    known = answers.known[:, column] & rows
    return is_descriptive(int((answers.present[:, column] & known).sum()), int(known.sum()))


def _counted(group: dict[str, Any], images: int | None, policy: PrivacyConfig) -> dict[str, Any]:
    """The group with the counts of its labels rounded; none where they would give a hidden number of images away."""
    for row in group["labels"].values():
        hide = images is None or row["reason"] is not None
        for count in ("support", "known"):
            row[count] = None if hide else rounded(row[count], policy) if row[count] else 0
    return group


def _counts(cells: Sequence[str], patients: Sequence[str]) -> dict[str, Count]:
    members: dict[str, list[str]] = {}
    for cell, patient in zip(cells, patients, strict=True):
        members.setdefault(cell, []).append(patient)
    return {cell: Count(len(found), len(set(found))) for cell, found in members.items()}
