"""What the run has cost, hospital by hospital: time, pairs seen, bytes."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.wording import at, count, data_size, seconds
from fedthorax.common.page.frame import rendered

_SECTION = """\
{%- from "tables" import table %}
<p>{{ summary }}</p>
{%- if rows %}
{{- table("Local training, added up over the rounds. Waiting, scoring and transfers are not in these times.",
["Hospital", "Rounds", "Pairs", "Steps", "Training", "A round"], rows) }}
{%- endif %}
<p class="small">Energy was not measured, and no estimate is made: it would rest on a guess of how busy the machines
were.</p>
"""


def costs_section(metrics: Mapping[str, Any]) -> Markup:
    return rendered(_SECTION, summary=summary(metrics), rows=cost_rows(metrics))


def summary(metrics: Mapping[str, Any]) -> str:
    """Time, traffic and memory of the whole run, in sentences."""
    totals = metrics.get("totals") or {}
    rounds = [entry for entry in metrics.get("rounds") or [] if entry["round"] > 0]
    told = [f"The run took {seconds(totals.get('seconds'))}"]
    times = [entry["seconds"] for entry in rounds if entry.get("seconds") is not None]
    if times:
        told[0] += f", a round {seconds(sum(times) / len(times))} on average"
    told.append(
        f"The server sent {data_size(totals.get('bytes_sent'))} and received {data_size(totals.get('bytes_received'))}"
    )
    if rounds and totals.get("bytes_sent"):
        told[1] += f", {data_size((totals['bytes_sent'] + totals['bytes_received']) / len(rounds))} a round both ways"
    memory = totals.get("peak_memory_mb") or {}
    if memory.get("server") is not None:
        told.append(f"The server's process took at most {data_size(memory['server'] * 1e6)} of memory")
    sites = memory.get("sites")
    if isinstance(sites, Mapping):  # runs of version 1
        sites = max((value for value in sites.values() if value is not None), default=None)
    if sites is not None:
        told.append(f"A hospital's process took at most {data_size(sites * 1e6)}")
    return ". ".join(told) + "."


def cost_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """By hospital (number, words) of rounds, pairs, steps, seconds, and seconds a round; none where nobody trained."""
    rows = []
    for name in metrics.get("sites") or {}:
        fits = [fit for entry in metrics.get("rounds") or [] if (fit := at(entry, "sites", name, "train"))]
        if not fits:
            continue
        pairs, steps, time = (sum(fit.get(key) or 0 for fit in fits) for key in ("pairs", "steps", "seconds"))
        cells = [(value, count(value)) for value in (len(fits), pairs, steps)]
        cells += [(value, seconds(value)) for value in (time, time / len(fits))]
        rows.append({"name": name, "cells": cells})
    return rows
