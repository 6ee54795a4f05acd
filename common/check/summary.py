"""The outcome of a check: what a program reads, and whether a person has to act."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fedthorax import __version__
from fedthorax.common.check.check import SiteCheck
from fedthorax.common.check.shortcuts import MIN_PATIENTS, WARN_FROM
from fedthorax.common.issues.issue import CODES, Issue, counts_by_level

SCHEMA_VERSION = 1

EXIT_GOOD, EXIT_STRICT, EXIT_ERRORS = 0, 1, 2


def exit_status(checks: Sequence[SiteCheck], strict: bool) -> int:
    """2 if there is an error; 1 if there is a warning and ``strict``; else 0."""
    worst = {check.worst for check in checks}
    if "error" in worst:
        return EXIT_ERRORS
    return EXIT_STRICT if strict and "warning" in worst else EXIT_GOOD


def to_json(checks: Sequence[SiteCheck], seconds: float) -> dict[str, Any]:
    """JSON-ready, as docs/check.md describes it; files are named relative to the folder of their modality."""
    return {
        "schema_version": SCHEMA_VERSION,
        "fedthorax": __version__,
        "seconds": round(seconds, 2),
        "levels": counts_by_level([issue for check in checks for issue in check.issues]),
        "sites": [_site(check) for check in checks],
    }


def _site(check: SiteCheck) -> dict[str, Any]:
    return {
        "name": check.target.name,
        "folders": {modality: str(folder) for modality, folder in check.target.folders.items()},
        "levels": counts_by_level(check.issues),
        "findings": [_finding(issue) for issue in check.issues],
        "counts": check.counts,
        "shortcuts": {
            "warn_from": WARN_FROM,
            "min_patients": MIN_PATIENTS,
            "figures": [asdict(shortcut) for shortcut in check.shortcuts],
        },
        "images_decoded": check.num_decoded,
    }


def _finding(issue: Issue) -> dict[str, Any]:
    return {
        "code": issue.code,
        "level": issue.level,
        "title": CODES[issue.code].title,
        "modality": issue.modality,
        "count": issue.count,
        "sentence": issue.sentence,
        "advice": issue.advice,
        "files": list(issue.files),
        "groups": [list(group) for group in issue.groups],
    }
