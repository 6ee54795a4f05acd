"""A check as one HTML page with thumbnails, for the person who has to look at the pictures."""

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from fedthorax import __version__
from fedthorax.common.check.check import SiteCheck
from fedthorax.common.check.page_template import STYLE, TEMPLATE
from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes
from fedthorax.common.hospital.labelled import KINDS
from fedthorax.common.issues.issue import CODES, Issue
from fedthorax.common.page.frame import rendered
from fedthorax.common.pixels.decode import Modality, try_decode
from fedthorax.common.records.records import BadFile, ImageRef

_THUMBNAIL_SIDE = 144
_MOST_GROUPS = 12
_MOST_IN_GROUP = 4
_MOST_ROWS = 12


def write_page(path: Path, checks: Sequence[SiteCheck]) -> None:
    """Write the page; only its owner may read it, because it shows patients' images."""
    write_bytes(path, (render(checks).encode(),), PRIVATE)


def render(checks: Sequence[SiteCheck]) -> str:
    """The whole document; it loads nothing from anywhere."""
    return rendered(
        TEMPLATE,
        style=STYLE,
        sites=[_site(check) for check in checks],
        software=__version__,
        moment=datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
    )


def _site(check: SiteCheck) -> dict[str, Any]:
    pictures = _Pictures(check)
    return {
        "name": check.target.name,
        "folders": [f"{KINDS[modality]}: {folder}" for modality, folder in check.target.folders.items()],
        "levels": [{"level": level, "words": words} for level, words in check.level_words.items()],
        "meaning": check.meaning,
        "issues": [_issue(check, issue, pictures) for issue in check.issues],
        "holdings": [
            _holding(kind, check.counts[modality])
            for modality, kind in KINDS.items()
            if check.counts[modality]["images"]
        ],
        "shortcuts": [
            {
                "label": shortcut.label,
                "by": shortcut.by,
                "roc_auc": "" if shortcut.roc_auc is None else f"{shortcut.roc_auc:.2f}",
                "interval": "" if shortcut.interval is None else "{:.2f} to {:.2f}".format(*shortcut.interval),
                "reason": shortcut.reason or "",
                "warning": shortcut.is_warning,
            }
            for shortcut in sorted(check.shortcuts, key=lambda s: -(s.roc_auc or 0.0))
        ],
    }


def _issue(check: SiteCheck, issue: Issue, pictures: "_Pictures") -> dict[str, Any]:
    groups = issue.groups or tuple((file,) for file in issue.files)
    return {
        "code": issue.code,
        "level": check.level(issue),
        "title": CODES[issue.code].title,
        "sentence": issue.sentence,
        "advice": check.advice(issue),
        "groups": [
            {
                "pictures": [pictures.thumbnail(issue.modality, name) for name in group[:_MOST_IN_GROUP]],
                "more": max(0, len(group) - _MOST_IN_GROUP),
            }
            for group in groups[:_MOST_GROUPS]
        ],
        "together": bool(issue.groups),
        "more": max(0, len(groups) - _MOST_GROUPS),
    }


class _Pictures:
    """Thumbnails by name, decoded again for the few images that are shown."""

    def __init__(self, check: SiteCheck) -> None:
        self._windows = check.target.ct_windows
        self._refs: dict[tuple[Modality, str], ImageRef] = {
            (image.modality, image.name): image.ref for image in check.holdings.images if image.ref in check.facts
        }

    def thumbnail(self, modality: Modality | None, name: str) -> dict[str, str | None]:
        """``data`` is a data URL, or None where the file cannot be shown."""
        for kind in (modality,) if modality else KINDS:
            ref = self._refs.get((kind, name))
            if ref is not None:
                return {"name": name, "data": self._data_url(ref, kind)}
        return {"name": name, "data": None}

    def _data_url(self, ref: ImageRef, modality: Modality) -> str | None:
        picture = try_decode(ref, modality, self._windows)
        if isinstance(picture, BadFile):
            return None
        image = Image.fromarray(picture)
        image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=80)
        return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _holding(kind: str, held: Mapping[str, Any]) -> dict[str, Any]:
    sides = list(held["labels"])
    names = list(dict.fromkeys(name for side in sides for name in held["labels"][side]))
    tallies = {**held["attributes"], **{key: value for key, value in held["files"].items() if key != "read"}}
    return {
        "kind": kind,
        "images": held["images"],
        "patients": held["patients"],
        "sides": [{"name": side, **held["splits"][side]} for side in sides],
        "labels": [
            {"name": name, "cells": [_of_known(held["labels"][side].get(name)) for side in sides]} for name in names
        ],
        "tallies": [
            {
                "name": name,
                "rows": list(tally.items())[:_MOST_ROWS],
                "more": max(0, len(tally) - _MOST_ROWS),
            }
            for name, tally in tallies.items()
            if set(tally) - {"unknown"}
        ],
        "together": _matrix(held["co_occurrence"]),
    }


def _of_known(label: Mapping[str, int] | None) -> str:
    if label is None:
        return "0"
    if "absent" not in label:
        return str(label["present"])
    known = label["present"] + label["absent"]
    return f"{label['present']} of {known}" if known else "unknown"


def _matrix(together: Mapping[str, Mapping[str, int]]) -> dict[str, Any] | None:
    """Counts and each cell's share of its row, for the shade."""
    if not together:
        return None
    rows = []
    for name, row in together.items():
        total = row[name]
        cells = [{"count": number, "share": number / total if total else 0.0} for number in row.values()]
        rows.append({"name": name, "cells": cells})
    return {"names": list(together), "rows": rows}
