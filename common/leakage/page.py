"""``leakage.html``: what the attacks found, in one file that opens offline."""

from collections.abc import Sequence
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
{%- block title %}{{ name }}: measured leakage{% endblock %}
{%- block kicker %}FedThorax: {{ name }}{% endblock %}
{%- block heading %}What the model tells of its patients{% endblock %}
{%- block main %}
<div class="answer">
{%- for sentence in answer %}<p>{{ sentence }}</p>{% endfor %}
</div>
<p>Attacked: {{ target }}, dropout {{ dropout }}, {{ patients }} patients. Tried: {{ tried|join("; ") }}.
An attack that finds nobody says that these attacks, with these means, did not; it is no promise about others.</p>
{%- for part in parts %}
<h2>{{ part.title }}</h2>
<p>{{ part.lead }}</p>
{%- for one in part.tables %}{{ table(one.caption, one.names, one.rows, sortable=false) }}{% endfor %}
{%- endfor %}
<h2>Not tried</h2>
<ul>{% for line in not_tried %}<li>{{ line }}</li>{% endfor %}</ul>
{%- endblock %}
{%- block made %}Made by FedThorax {{ software }}.{% endblock %}
"""


def leakage_page(found: Leakage) -> str:
    parts = [_membership(one) for one in found.membership]
    if found.updates:
        parts.append(_updates(found))
    if found.audit is not None:
        lead = "Canaries are patients who do not exist, each in the training with probability 1/2."
        parts.append({"title": "Audit of the training", "lead": f"{lead} {audit_words(found)}", "tables": []})
    if found.hospital_guesses:
        parts.append(_hospitals(found))
    return rendered(
        _TEMPLATE,
        name=found.name,
        answer=answers(found),
        target=found.target,
        dropout=found.dropout,
        patients=count(found.patients),
        tried=found.tried,
        not_tried=found.not_tried,
        parts=parts,
        software=found.software_version,
    )


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


def _membership(one: Membership) -> dict[str, Any]:
    lead = (
        f"{one.members} {one.units} in, {one.others} out. "
        + ("" if one.units == "patients" else "Nobody knows whose the images are: figures count images. ")
        + "At 1 % false ones: above the score that at most one in a hundred of those who were out reaches."
    )
    attacks = [
        {"name": ATTACKS[name], "cells": (*_found(told.found), *_area(told.area))} for name, told in one.attacks.items()
    ]
    controls = [
        {"name": words, "cells": ("", "", figure(null.mean), interval(null.interval))}
        for words, null in (
            ("Control: membership shuffled", one.shuffled),
            ("Control: members against members", one.members_against_members),
        )
    ]
    turns = [
        {"name": ATTACKS[name], "cells": tuple(_spread(values) for values in (told.found, told.area))}
        for name, told in one.in_turn.items()
    ]
    people = [{"name": words, "cells": (str(number),)} for words, number in zip(_BINS, one.patients.bins, strict=True)]
    groups = [
        {"name": group.name, "cells": (str(group.members), *_found(group.found), *_area(group.area))}
        for group in one.groups[:_MOST_GROUPS]
    ]
    whose = "the run's model" if one.target == "run" else "one model"
    tables = [
        _table(f"Membership in {whose}", ("Attack", *_FOUND, *_AREA), [*attacks, *controls]),
        _table(
            "Each reference run attacked by the others: mean, lowest to highest", ("Attack", _FOUND[0], _AREA[0]), turns
        ),
        _table(
            f"{one.units.capitalize()} by how often LiRA puts a model with them above one without",
            ("Share", one.units.capitalize()),
            people,
        ),
        _table(
            "Groups of whom LiRA finds most, at the threshold of all", ("Group", "Members", *_FOUND, *_AREA), groups
        ),
    ]
    return {"title": f"Membership: {KINDS[one.modality]}", "lead": lead, "tables": tables}


def _updates(found: Leakage) -> dict[str, Any]:
    names = (
        *(
            "Hospital, images, seen",
            "Error of label shares",
            "Without the update",
            "Cosine with features",
            "Strangers'",
        ),
        *("Members by features, ROC-AUC", "95 % interval", "Members by alignment, ROC-AUC", "95 % interval"),
    )
    rows = [
        {
            "name": f"{one.hospital}, {KINDS[one.modality]}, {one.seen}",
            "cells": (
                *map(figure, (one.label_error, one.label_guess, one.cosine, one.cosine_others)),
                *_area(one.features),
                *_area(one.alignment),
            ),
        }
        for one in found.updates
    ]
    lead = (
        "What the server sees of a hospital's first update: as it is; its masked words; the sum of all hospitals, all "
        "that masks let the server learn."
    )
    return {"title": "One update", "lead": lead, "tables": [_table("Attacks of the server", names, rows)]}


def _hospitals(found: Leakage) -> dict[str, Any]:
    rows = [
        {
            "name": one.label,
            "cells": (str(one.patients), figure(one.accuracy), interval(one.shuffled), figure(one.p)),
        }
        for one in found.hospital_guesses
    ]
    names = ("Label", "Members", "Share put right", "With hospitals shuffled", "p corrected")
    lead = "Members with a label, put to the hospital whose mean answers are nearest."
    return {"title": "Which hospital", "lead": lead, "tables": [_table("By label", names, rows)]}


def _table(caption: str, names: Sequence[str], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"caption": caption, "names": names, "rows": rows}


def _share(share: Share) -> str:
    return UNDEFINED if share.value is None else f"{share.value:.1%}"


def _percent(low_high: Sequence[float] | None) -> str:
    return UNDEFINED if low_high is None else f"{low_high[0]:.1%} to {low_high[1]:.1%}"


def _found(share: Share) -> tuple[str, str]:
    return _share(share), _percent(share.interval)


def _area(area: Area) -> tuple[str, str]:
    return figure(area.value), interval(area.interval)


def _spread(values: tuple[float, float, float]) -> str:
    return f"{figure(values[0])}, {figure(values[1])} to {figure(values[2])}"
