"""Statistics of several hospitals as rows of text, for the terminal and for the report alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedthorax.common.disclosure.counts import NEVER_KNOWN
from fedthorax.common.ground.wording import counted, joined

HIDDEN = "hidden"
UNDEFINED = "-"
ALL = "all"
MAX_PAIRS = 15
_MODALITIES = (("xray", "X-rays"), ("ct", "CT slices"))
_ATTRIBUTES = (
    ("sex", "sex"),
    ("age", "age in years"),
    ("shorter_side", "shorter side in pixels"),
    ("view", "view"),
    ("scanner", "scanner"),
)
_DISTANCES = (
    ("xray_intensity", "X-ray grey"),
    ("ct_intensity", "CT grey"),
    ("findings", "findings"),
    ("cancer_classes", "classes"),
)


@dataclass(frozen=True)
class TextTable:
    """``head`` names the columns after the first; every row has one cell more. ``notes`` stand below."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def statistics_tables(document: Mapping[str, Any]) -> list[TextTable]:
    """Everything in the document but intensities, in the order in which a lead asks for it; no empty table."""
    tables = [
        _images(document),
        _findings(document),
        _classes(document),
        _together(document),
        *(
            _attribute(document, modality, words, key, title)
            for modality, words in _MODALITIES
            for key, title in _ATTRIBUTES
        ),
        distances(document),
        _duplicates(document),
    ]
    return [table for table in tables if table is not None and table.rows]


def policy_words(document: Mapping[str, Any]) -> str:
    """What the hospitals hid and rounded, by the consortium's floor."""
    smallest, step = document["policy"]["smallest_count"], document["policy"]["round_to"]
    hiding = f"counts of fewer than {smallest} patients are hidden" if smallest > 1 else "no count is hidden"
    rounding = f"counts are rounded to multiples of {step}" if step > 1 else "counts are exact"
    return f"{hiding}; {'shown ' if smallest > 1 else ''}{rounding}"


def _heads(document: Mapping[str, Any]) -> tuple[str, ...]:
    return (*document["sites"], ALL)


def _images(document: Mapping[str, Any]) -> TextTable:
    rows = []
    for modality, words in _MODALITIES:
        for key, name in (("images", words), ("patients", f"patients with {words}")):
            cells = [_count(site[modality][key]) for site in document["sites"].values()]
            rows.append((name, *cells, _total(document["totals"][modality][key])))
    failed = tuple(f"no answer that counts from {entry['site']}: {entry['reason']}" for entry in document["failures"])
    return TextTable("Images and patients", _heads(document), tuple(rows), failed)


def _findings(document: Mapping[str, Any]) -> TextTable:
    rows = []
    for finding, total in document["totals"]["findings"].items():
        cells = [_support(site["findings"][finding]["cells"]) for site in document["sites"].values()]
        support, known = total["present"], _known({name: entry["count"] for name, entry in total.items()})
        rows.append((finding, *cells, f"{_total(support)} of {known}" if known != UNDEFINED else _total(support)))
    reasons = [table["reason"] for site in document["sites"].values() for table in site["findings"].values()]
    return TextTable(
        "Findings: X-rays that show it, of those whose label is known",
        _heads(document),
        tuple(rows),
        (*_reasons(reasons), *_support_notes(document)),
    )


def _support_notes(document: Mapping[str, Any]) -> list[str]:
    """Findings that several hospitals cannot teach together."""
    nowhere, alone = [], []
    for finding in document["totals"]["findings"]:
        cells = {name: site["findings"][finding]["cells"] for name, site in document["sites"].items()}
        if all(counts["present"] == 0 for counts in cells.values()):
            nowhere.append(finding)
        known = [name for name, counts in cells.items() if counts["present"] != 0 or counts["absent"] != 0]
        if len(known) == 1 < len(cells):
            alone.append(f"{finding} ({known[0]})")
    notes = []
    if nowhere:
        notes.append(f"no hospital has an X-ray that shows {joined(nowhere, 20)}")
    if alone:
        notes.append(
            f"labelled at one hospital only, so that a model may learn the hospital instead: {joined(alone, 20)}"
        )
    return notes


def _classes(document: Mapping[str, Any]) -> TextTable:
    rows = [
        (name, *(_count(site["cancer_classes"]["cells"][name]) for site in document["sites"].values()), _total(total))
        for name, total in document["totals"]["cancer_classes"].items()
        if name != "unknown" or total["count"] != 0
    ]
    reasons = [site["cancer_classes"]["reason"] for site in document["sites"].values()]
    return TextTable("CT classes: slices", _heads(document), tuple(rows), _reasons(reasons))


def _together(document: Mapping[str, Any]) -> TextTable | None:
    """The pairs of findings that are shown most often; the others are counted below."""
    by_pair: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for site in document["sites"].values():
        for pair in site["co_occurrence"]:
            by_pair.setdefault((pair["findings"][0], pair["findings"][1]), []).append(pair)
    counts = {names: sum(pair["images"] or 0 for pair in told) for names, told in by_pair.items()}
    often = sorted((pair for pair in counts if counts[pair]), key=lambda pair: -counts[pair])
    rows = [(" + ".join(pair), *map(_pair, by_pair[pair]), _pair_total(by_pair[pair])) for pair in often[:MAX_PAIRS]]
    rest = len(counts) - len(rows)
    notes = (
        f"{counted(rest, 'other pair')} of findings, less often, hidden or never known together, stand in the JSON",
    )
    return TextTable("Findings on the same X-ray", _heads(document), tuple(rows), notes if rest else ())


def _attribute(document: Mapping[str, Any], modality: str, words: str, key: str, title: str) -> TextTable | None:
    """None where the attribute is unknown for every image."""
    totals = document["totals"][modality][key]
    tables = [site[modality][key] for site in document["sites"].values()]
    if not any(table["cells"].get(name) != 0 for table in tables for name in table["cells"] if name != "unknown"):
        return None
    rows = []
    for name, total in totals.items():
        if total["count"] != 0 or total["hidden_at"]:
            rows.append((name, *(_count(table["cells"].get(name, 0)) for table in tables), _total(total)))
    return TextTable(
        f"{words} by {title}", _heads(document), tuple(rows), _reasons([table["reason"] for table in tables])
    )


def distances(document: Mapping[str, Any]) -> TextTable | None:
    """One row a pair of sites, the most different first, then each site's two halves as a yardstick."""
    measured = document["distances"]
    pairs = [tuple(entry["sites"]) for entry in measured["findings"]["pairs"]]
    if not pairs:
        return None
    by_pair = {
        pair: {key: measured[key]["pairs"][position]["distance"] for key, _ in _DISTANCES}
        for position, pair in enumerate(pairs)
    }
    ordered = sorted(pairs, key=lambda pair: -max((value or 0.0) for value in by_pair[pair].values()))
    rows = [(" - ".join(pair), *(_figure(by_pair[pair][key]) for key, _ in _DISTANCES)) for pair in ordered[:MAX_PAIRS]]
    for site in document["sites"]:
        within = [measured[key]["within_sites"][site] for key in ("xray_intensity", "ct_intensity")]
        rows.append((f"two halves of {site}", *map(_figure, within), UNDEFINED, UNDEFINED))
    notes = []
    if len(pairs) > MAX_PAIRS:
        notes.append(f"{counted(len(pairs) - MAX_PAIRS, 'pair')} of less difference left out here; the JSON has all")
    for entry in measured["findings"]["pairs"][:MAX_PAIRS]:
        if entry["distance"] is not None:
            notes.append(f"findings of {' and '.join(entry['sites'])}: over {joined(entry['over'])}")
    for key, words in _DISTANCES:
        for entry in measured[key]["pairs"][:MAX_PAIRS]:
            if entry["reason"]:
                notes.append(f"{words} of {' and '.join(entry['sites'])} undefined: {entry['reason']}")
    return TextTable(
        "Jensen-Shannon distances: 0 for equal distributions, 1 for nothing in common",
        tuple(words for _, words in _DISTANCES),
        tuple(rows),
        tuple(notes),
    )


def _duplicates(document: Mapping[str, Any]) -> TextTable | None:
    pairs = document["duplicates"]["pairs"]
    rows, notes = [], []
    for entry in pairs:
        name = " - ".join(entry["sites"])
        if entry["reason"]:
            notes.append(f"{name}: not compared, {entry['reason']}")
        else:
            rows.append((name, *(str(entry[kind]) for kind in ("xray", "xray_alike", "ct", "ct_alike"))))
    if not rows and notes:
        rows = [(" - ".join(entry["sites"]), *(UNDEFINED,) * 4) for entry in pairs]
    notes += [f"{site}: {reason}" for site, reason in document["duplicates"]["without_hashes"].items()]
    return TextTable(
        "Images that two hospitals both hold: pixel for pixel, or alike",
        ("X-rays", "alike", "CT slices", "alike"),
        tuple(rows),
        tuple(notes),
    )


def _support(cells: Mapping[str, int | None]) -> str:
    known = _known(cells)
    if known == "0":
        return "unknown"
    return _count(cells["present"]) if known == UNDEFINED else f"{_count(cells['present'])} of {known}"


def _known(cells: Mapping[str, int | None]) -> str:
    present, absent = cells["present"], cells["absent"]
    if absent is None or (present is None and not absent):
        return UNDEFINED
    return f"{absent}+" if present is None else str(present + absent)


def _count(value: int | None) -> str:
    return HIDDEN if value is None else str(value)


def _pair(pair: Mapping[str, Any]) -> str:
    return "unknown" if pair["reason"] == NEVER_KNOWN else _count(pair["images"])


def _pair_total(told: Sequence[Mapping[str, Any]]) -> str:
    hidden = any(_pair(pair) == HIDDEN for pair in told)
    return f"{sum(pair['images'] or 0 for pair in told)}{'+' if hidden else ''}"


def _total(total: Mapping[str, Any]) -> str:
    if total["count"] is None:
        return HIDDEN
    return f"{total['count']}{'+' if total['hidden_at'] else ''}"


def _figure(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:.3f}"


def _reasons(reasons: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(f"hidden: {reason}" for reason in dict.fromkeys(reasons) if reason)
