"""``leakage.html``: what the attacks found, in one file that opens offline."""

from collections.abc import Iterator, Sequence
from typing import Any

from fedthorax.common.ground.wording import UNDEFINED, count, figure, interval
from fedthorax.common.leakage.found import Area, Leakage, Membership, Share
from fedthorax.common.page.frame import rendered

KINDS = {"xray": "X-rays", "ct": "CT slices"}
ATTACKS = {"loss": "Loss threshold", "rmia": "RMIA, 4 reference runs", "lira": "LiRA, 16 reference runs"}
_BINS = ("below 0.5", "0.5 to 0.7", "0.7 to 0.9", "0.9 to 0.95", "0.95 and more")
_MOST_GROUPS = 12
_FOUND = ("Found at 1 % false ones", "95 % interval")
_AREA = ("ROC-AUC", "95 % interval")

_TEMPLATE = """\
{%- extends "frame" %}
{%- from "tables" import table %}
{%- block title %}{{ found.name }}: measured leakage{% endblock %}
{%- block kicker %}FedThorax: {{ found.name }}{% endblock %}
{%- block heading %}What the model tells of its patients{% endblock %}
{%- block main %}
<div class="answer">
{%- for sentence in answer %}<p>{{ sentence }}</p>{% endfor %}
</div>
<p>Attacked: {{ found.target }}, dropout {{ found.dropout }}, {{ patients }} patients.
Tried: {{ found.tried|join("; ") }}.
An attack that finds nobody says that these attacks, with these means, did not; it is no promise about others.</p>
{%- for title, lead, tables in parts %}
<h2>{{ title }}</h2>
<p>{{ lead }}</p>
{%- for caption, names, rows in tables %}{{ table(caption, names, rows, sortable=false) }}{% endfor %}
{%- endfor %}
<h2>Not tried</h2>
<ul>{% for line in found.not_tried %}<li>{{ line }}</li>{% endfor %}</ul>
{%- endblock %}
{%- block made %}Made by FedThorax {{ found.software_version }}.{% endblock %}
"""

Row = dict[str, Any]
Part = tuple[str, str, list[tuple[str, Sequence[str], list[Row]]]]  # title, lead, tables: caption, columns, rows


def leakage_page(found: Leakage) -> str:
    parts = [*map(_membership, found.membership), *_updates(found)]
    if found.audit is not None:
        lead = "Canaries are patients who do not exist, each in the training with probability 1/2."
        parts.append(("Audit of the training", f"{lead} {audit_words(found)}", []))
    parts += _hospitals(found)
    return rendered(_TEMPLATE, found=found, answer=answers(found), patients=count(found.patients), parts=parts)


def answers(found: Leakage) -> list[str]:
    """One sentence for each kind of image, and for the audit."""
    lines = []
    for one in found.membership:
        name, best = max(one.attacks.items(), key=lambda entry: (entry[1].found.value or 0, entry[1].area.value or 0))
        lines.append(
            f"{KINDS[one.modality]}: the best attack ({ATTACKS[name]}) finds {_share(best.found)} of {best.found.of} "
            f"members at 1 % false ones (95 % interval {_percent(best.found.interval)}), ROC-AUC "
            f"{figure(best.area.value)} ({interval(best.area.interval)}). {_share(one.patients.almost_surely)} of the "
            f"{one.units} are told apart almost surely."
        )
    return [*lines, audit_words(found)] if found.audit else lines


def audit_words(found: Leakage) -> str:
    told = found.audit
    if told is None:
        return "No audit by canaries was made."
    words = (
        f"{told.right} of {told.guesses} guesses about {told.canaries} canaries were right: epsilon of a patient is at "
        f"least {told.epsilon:.2f} (95 %; {told.canaries} canaries show {told.most:.2f} at most)."
    )
    if told.claimed is None:
        return f"{words} The training promises none."
    promise = f"The training promises {told.claimed:g}"
    return f"{words} {promise}{': IT LEAKS MORE THAN IT PROMISES.' if told.broken else ', which this does not refute.'}"


def _membership(one: Membership) -> Part:
    images = "" if one.units == "patients" else "Nobody knows whose the images are: figures count images. "
    above = "At 1 % false ones: above the score that at most one in a hundred of those who were out reaches."
    controls = {"membership shuffled": one.shuffled, "members against members": one.members_against_members}
    attacks = [
        *(_row(ATTACKS[name], *_found(told.found), *_area(told.area)) for name, told in one.attacks.items()),
        *(_row(f"Control: {name}", "", "", *_area(of)) for name, of in controls.items()),
    ]
    people = [_row(words, str(number)) for words, number in zip(_BINS, one.patients.bins, strict=True)]
    groups = [_row(of.name, str(of.members), *_found(of.found), *_area(of.area)) for of in one.groups[:_MOST_GROUPS]]
    units, whose = one.units.capitalize(), "the run's model" if one.target == "run" else "one model"
    tables: list[tuple[str, Sequence[str], list[Row]]] = [
        (f"Membership in {whose}", ("Attack", *_FOUND, *_AREA), attacks),
        (f"{units} by how often LiRA puts a model with them above one without", ("Share", units), people),
        ("Groups of whom LiRA finds most, at the threshold of all", ("Group", "Members", *_FOUND, *_AREA), groups),
    ]
    return (
        f"Membership: {KINDS[one.modality]}",
        f"{one.members} {one.units} in, {one.others} out. {images}{above}",
        tables,
    )


def _updates(found: Leakage) -> Iterator[Part]:
    errors = ("Error of label shares", "Without the update", "Cosine with features", "Strangers'")
    areas = [name for by in ("features", "alignment") for name in (f"Members by {by}, {_AREA[0]}", _AREA[1])]
    rows = [
        _row(
            f"{one.hospital}, {KINDS[one.modality]}, {one.seen}",
            *map(figure, (one.label_error, one.label_guess, one.cosine, one.cosine_others)),
            *_area(one.features),
            *_area(one.alignment),
        )
        for one in found.updates
    ]
    lead = (
        "What the server sees of a hospital's first update: as it is; its masked words; the sum of all hospitals, all "
        "that masks let the server learn."
    )
    if rows:
        yield "One update", lead, [("Attacks of the server", ("Hospital, images, seen", *errors, *areas), rows)]


def _hospitals(found: Leakage) -> Iterator[Part]:
    rows = [
        _row(one.label, str(one.patients), figure(one.accuracy), interval(one.shuffled), figure(one.p))
        for one in found.hospital_guesses
    ]
    names = ("Label", "Members", "Share put right", "With hospitals shuffled", "p corrected")
    lead = "Members with a label, put to the hospital whose mean answers are nearest."
    if rows:
        yield "Which hospital", lead, [("By label", names, rows)]


def _row(name: str, *cells: str) -> Row:
    return {"name": name, "cells": cells}


def _share(share: Share) -> str:
    return UNDEFINED if share.value is None else f"{share.value:.1%}"


def _percent(low_high: Sequence[float] | None) -> str:
    return UNDEFINED if low_high is None else f"{low_high[0]:.1%} to {low_high[1]:.1%}"


def _found(share: Share) -> tuple[str, str]:
    return _share(share), _percent(share.interval)


def _area(area: Area) -> tuple[str, str]:
    return figure(area.value), interval(area.interval)
