"""Where the figures come from and who could have seen what: privacy, audit, software, commands."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from fedthorax.common.algorithms import TABLE, algorithm_of
from fedthorax.common.ground.wording import UNDEFINED, at, figure
from fedthorax.common.page.frame import rendered
from fedthorax.common.record.passport import Modality
from fedthorax.common.record.run import Masks, Privacy, Run

_PRIVACY = """\
{%- from "tables" import table %}
<ul>
{%- for words in privacy %}<li>{{ words }}</li>{% endfor %}
</ul>
{%- if seen %}
<h3>Who could see what of a hospital's training</h3>
<dl class="glossary">{% for who, what in seen.items() %}<dt>{{ who }}</dt><dd>{{ what }}</dd>{% endfor %}</dl>
{{- table("What each hospital gave.", given.names, given.rows, sortable=false) }}
<p>A hospital, or a patient, that withdraws is left out of what comes: what earlier rounds learnt stays in the models
that they gave, and what was spent stays spent. Only training anew without them undoes it.</p>
{%- endif %}
{%- if rows %}
{{- table("Fingerprints, the first 16 of 64 digits. Data: over all pixels, labels and splits of a hospital; it changes
when they do. Log: newest entry of the hospital's own log of what left it, as the server knows it.",
["Hospital", "Data", "Log of what left it"], rows, sortable=false) }}
{%- endif %}
<p class="small">{{ audit }}</p>
"""

_COMMANDS = """\
<p>Run the same again, use the model, and show this page anew:</p>
<pre>{% for line in commands %}{{ line }}
{% endfor %}</pre>
<p class="small">The software that the server ran: {{ versions }}.</p>
"""

_AGAIN = {"simulate": "simulate", "train": "train", "consortium": "run"}


def privacy_section(run: Run, config: Mapping[str, Any], audit: tuple[int, str] | None) -> Markup:
    """``config`` is the content of config.yaml; ``audit`` the number of lines of the run's log, and its newest hash."""
    apart = run.mode != "train" and (run.masks is not None or run.privacy is not None)
    return rendered(
        _PRIVACY,
        privacy=privacy_words(run, config),
        seen=who_sees(run) if apart else {},
        given=given_table(run),
        rows=fingerprint_rows(run),
        audit=_audit_words(audit),
    )


def commands_section(run: Run, absent: Modality | None = None) -> Markup:
    """``absent`` is a modality of which nobody has any."""
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return rendered(_COMMANDS, commands=commands(run, absent), versions=versions or "not recorded")


def privacy_words(run: Run, config: Mapping[str, Any]) -> list[str]:
    """What was exchanged, for whom, and what no protection was there against."""
    if run.mode == "train":
        return ["All images were in one place. Nothing was exchanged."]
    told = [
        "Hospitals sent model weights, scores of their own images, and counts: no image, no label of an image and no "
        "patient.",
        _seen(run.masks),
        *_patients(run.privacy, run.mode == "simulate"),
    ]
    if run.strategy in TABLE and (sends := algorithm_of(run.strategy).hospital.sends):
        told[0] += f" With {run.strategy} they also sent {sends}."
    if run.mode == "simulate":
        told.insert(0, "All hospitals were simulated on one machine, so nothing was protected from its owner.")
    smallest, multiple = (at(config, "data", "privacy", key) for key in ("smallest_count", "round_to"))
    if smallest is not None and smallest > 1:
        whose = "Groups of test images, central and at the hospitals, and in a consortium all counts of hospitals,"
        told.append(f"{whose} of fewer than {smallest} patients are hidden; a hospital's stricter limit wins.")
    if run.mode == "consortium" and multiple is not None and multiple > 1:
        told.append(f"Counts of hospitals are rounded to multiples of {multiple}.")
    return told


def _seen(masks: Masks | None) -> str:
    """What the server saw of a hospital's training."""
    if masks is None:
        return (
            "The server saw each hospital's own weights. Weights can tell something about the images that they were "
            "trained on; how much was not measured in this run."
        )
    known = f"the roster {masks.roster}" if masks.roster else "identities made up for a simulation"
    return (
        f"Updates were masked, with {known}: the server learnt sums of at least {masks.smallest_sum} hospitals, and "
        f"{masks.threshold} had to help with each. So nobody could see whether one hospital's update was unusual. "
        "The scores that hospitals told, and what the model itself remembers of images, masks do not hide."
    )


def _patients(privacy: Privacy | None, simulated: bool) -> list[str]:
    """What was promised to patients, what of it was spent, and what the promise does not cover."""
    if privacy is None:
        return ["The model may remember single patients: no differential privacy was asked for."]
    told = [
        f"Differential privacy, mechanism {privacy.mechanism}: whether a patient, all his training images at one "
        f"hospital, was among the others changes the chance of any model by a factor of e to the power of epsilon at "
        f"most, but for delta {privacy.delta:g}. What is planned and spent stands below; someone who is a patient "
        "of two hospitals spends both.",
        f"Noise multiplier {privacy.noise:g}, sampling rate {privacy.sampling_rate:g}, {privacy.steps} steps, "
        f"clip {privacy.clip:g}, at most {privacy.images_per_patient} images of a patient in a step; worked out "
        f"with {privacy.accountant}.",
        "Values without noise: nobody outside the hospital saw any."
        if privacy.mechanism == "local"
        else "Values without enough noise: nobody saw any, unless "
        f"{privacy.colluding + 1} hospitals or more and the server put together what they know.",
        "Not covered: scores of validation and test images, counts and descriptions of the data, the time that a step "
        "took, the choice of settings in earlier runs, and the server's own images. What the noise cost in accuracy "
        "was not measured in this run: the same experiment without privacy would tell.",
    ]
    if simulated:
        told.insert(0, "The noise came from the seed, which is in this report: it protects nobody.")
    return told


def who_sees(run: Run) -> dict[str, str]:
    """Who could see what, of a run with masks or privacy of patients."""
    masks, privacy = run.masks, run.privacy
    each = "the steps of each hospital, each private by itself" if privacy else "the weights of each hospital"
    server, together = each, each
    if masks is not None:
        server = f"sums of at least {masks.smallest_sum} hospitals, no update of one"
        lying = 2 * masks.threshold - len(run.sites)
        together = (
            f"an update of one hospital, where {lying} hospitals break the rules together with the server, or all "
            "others behind one part of a sum take their own off"
        )
    if masks is not None and privacy is not None:
        server += "; each sum is private"
        together += f". More than {privacy.colluding} of them see less noise than was promised"
    return {
        "The lead's server": server,
        "Another hospital": "the common models" + (", and its own part of a sum" if masks else ""),
        "Lead and hospitals together": together,
        "Who gets the model": "the model" + (", which is private for each patient" if privacy else ""),
    }


def given_table(run: Run) -> dict[str, Any]:
    """By hospital: in how many rounds' sums it is, and what of the planned epsilon its patients have spent."""
    privacy, names = run.privacy, ["Hospital", "Rounds that it is in"]
    rows: list[dict[str, Any]] = [
        {"name": name, "cells": [str(sum(one.trained(name) for one in run.rounds))]} for name in run.sites
    ]
    if privacy is not None:
        for row in rows:
            steps, spent = privacy.steps_taken.get(row["name"], 0), privacy.spent.get(row["name"])
            row["cells"] += [f"{privacy.epsilon:g}", figure(spent), str(steps)]
    return {"names": [*names, *(["Epsilon planned", "spent", "Steps"] if privacy else [])], "rows": rows}


def fingerprint_rows(run: Run) -> list[dict[str, Any]]:
    found = [(name, site.fingerprint, site.egress_head) for name, site in run.sites.items()]
    found.append(("Central (server)", run.central.fingerprint, None))
    return [
        {"name": name, "cells": [(data or UNDEFINED)[:16], (log or UNDEFINED)[:16]]}
        for name, data, log in found
        if data or log
    ]


def commands(run: Run, absent: Modality | None = None) -> list[str]:
    """The run folder stands for itself: the page does not know where it lies."""
    images = " ".join(f"--{modality} FILE" for modality in ("xray", "ct") if modality != absent)
    return [
        f"fedthorax {_AGAIN[run.mode]} RUN/config.yaml --set name=again",
        f"fedthorax predict RUN {images}",
        "fedthorax report RUN",
    ]


def _audit_words(audit: tuple[int, str] | None) -> str:
    if audit is None:
        return "The run's own log, audit.jsonl, is not beside this page."
    number, head = audit
    return (
        f"The run's own log, audit.jsonl, had {number} entries when this page was written, the newest with the hash "
        f"{head}. Each entry holds the hash of the one before, so a changed or missing one is noticed."
    )
