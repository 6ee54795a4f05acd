"""The outcome of a check: what a program reads, and whether a person has to act."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fedthorax import __version__
from fedthorax.common.check.check import TOLD, SiteCheck, Told
from fedthorax.common.check.shortcuts import MIN_PATIENTS, WARN_FROM
from fedthorax.common.issues.issue import CODES, Issue

SCHEMA_VERSION = 1

EXIT_GOOD, EXIT_STRICT, EXIT_ERRORS = 0, 1, 2


def exit_status(checks: Sequence[SiteCheck], strict: bool) -> int:
    """2 if there is an error that the experiment does not accept; 1 if it accepts one, or there is a warning, and
    ``strict``; else 0."""
    found = _levels(checks)
    if found["error"]:
        return EXIT_ERRORS
    return EXIT_STRICT if strict and (found["accepted error"] or found["warning"]) else EXIT_GOOD


def _levels(checks: Sequence[SiteCheck]) -> dict[Told, int]:
    return {level: sum(check.levels[level] for check in checks) for level in TOLD}


def to_json(checks: Sequence[SiteCheck], seconds: float) -> dict[str, Any]:
    """JSON-ready, as docs/check.md describes it; files are named relative to the folder of their modality."""
    return {
        "schema_version": SCHEMA_VERSION,
        "fedthorax": __version__,
        "seconds": round(seconds, 2),
        "levels": _levels(checks),
        "sites": [_site(check) for check in checks],
    }


def _site(check: SiteCheck) -> dict[str, Any]:
    return {
        "name": check.target.name,
        "folders": {modality: str(folder) for modality, folder in check.target.folders.items()},
        "levels": check.levels,
        "findings": [_finding(check, issue) for issue in check.issues],
        "counts": check.counts,
        "shortcuts": {
            "warn_from": WARN_FROM,
            "min_patients": MIN_PATIENTS,
            "figures": [asdict(shortcut) for shortcut in check.shortcuts],
        },
        "images_decoded": check.num_decoded,
    }


def _finding(check: SiteCheck, issue: Issue) -> dict[str, Any]:
    return {
        "code": issue.code,
        "level": check.level(issue),
        "title": CODES[issue.code].title,
        "modality": issue.modality,
        "count": issue.count,
        "sentence": issue.sentence,
        "advice": check.advice(issue),
        "files": list(issue.files),
        "groups": [list(group) for group in issue.groups],
    }
