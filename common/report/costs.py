"""What the run has cost, hospital by hospital: time, pairs seen, bytes."""

from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.wording import count, data_size, seconds
from fedthorax.common.page.frame import rendered
from fedthorax.common.record.run import Run

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


def costs_section(run: Run) -> Markup:
    return rendered(_SECTION, summary=summary(run), rows=cost_rows(run))


def summary(run: Run) -> str:
    """Time, traffic and memory of the whole run, in sentences."""
    totals, rounds = run.totals, [entry for entry in run.rounds if entry.round > 0]
    told = [f"The run took {seconds(totals.seconds)}"]
    if times := [entry.seconds for entry in rounds if entry.seconds is not None]:
        told[0] += f", a round {seconds(sum(times) / len(times))} on average"
    told.append(f"The server sent {data_size(totals.bytes_sent)} and received {data_size(totals.bytes_received)}")
    if rounds and totals.bytes_sent:
        told[1] += f", {data_size((totals.bytes_sent + totals.bytes_received) / len(rounds))} a round both ways"
    memory = totals.peak_memory_mb
    if memory.server is not None:
        told.append(f"The server's process took at most {data_size(memory.server * 1e6)} of memory")
    if memory.sites is not None:
        told.append(f"A hospital's process took at most {data_size(memory.sites * 1e6)}")
    return ". ".join(told) + "."


def cost_rows(run: Run) -> list[dict[str, Any]]:
    """By hospital (number, words) of rounds, pairs, steps, seconds, and seconds a round; none where nobody trained."""
    rows = []
    for name in run.sites:
        fits = [site.train for entry in run.rounds if (site := entry.sites.get(name)) and site.train]
        if not fits:
            continue
        pairs, steps, time = sum(f.pairs for f in fits), sum(f.steps for f in fits), sum(f.seconds for f in fits)
        cells: list[tuple[float, str]] = [(value, count(value)) for value in (len(fits), pairs, steps)]
        cells += [(value, seconds(value)) for value in (time, time / len(fits))]
        rows.append({"name": name, "cells": cells})
    return rows
