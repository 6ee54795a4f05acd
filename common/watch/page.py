"""The page: its frame, which stays, and the content, which is drawn again whenever the run has moved."""

import time
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.progress import SiteProgress, clock
from fedthorax.common.ground.wording import figure, number_of
from fedthorax.common.page.frame import rendered
from fedthorax.common.page.style import STYLE as REPORT_STYLE
from fedthorax.common.record.modalities import lacking
from fedthorax.common.report import plots, summary
from fedthorax.common.report.tables import failure_rows
from fedthorax.common.watch.run_state import RunState

STYLE = (
    REPORT_STYLE
    + """
.status { font-weight: 600; } .status.failed, .status.interrupted { color: var(--grave); }
.status.finished { color: var(--mark); }
.lost { display: none; background: var(--grave-panel); border-left: 4px solid var(--grave); padding: .5rem 1rem; }
body.lost .lost { display: block; } body.lost main { opacity: .6; }
progress { width: 9rem; height: .7rem; accent-color: var(--accent); vertical-align: middle; }
progress.whole { width: 100%; max-width: 46rem; height: .9rem; }
tr.failed td, tr.failed th { color: var(--grave); } td.words { text-align: left; white-space: normal; }
@media (max-width: 40rem) { td progress { width: 3rem; } th.site { min-width: 4rem; } }
.notes { margin: .3rem 0; padding-left: 1.1rem; }
"""
)

# The content comes escaped from the server, whole; nothing in it is run.
SCRIPT = """\
"use strict";
const content = document.querySelector("main");
const title = document.querySelector("title");
let known = "";
async function follow() {
  if (!document.hidden) {
    try {
      const answer = await fetch("now", { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      const text = await answer.text();
      if (text !== known) {
        known = text;
        content.innerHTML = text;
        title.textContent = content.querySelector("[data-title]").dataset.title;
      }
      document.body.classList.remove("lost");
    } catch {
      document.body.classList.add("lost");
    }
  }
  setTimeout(follow, 1000);
}
follow();
"""

_PAGE = """\
{%- extends "frame" %}
{%- block head %}
<link rel="stylesheet" href="style.css">
<link rel="icon" href="data:,">
<noscript><meta http-equiv="refresh" content="5"></noscript>
<script src="watch.js" defer></script>
{%- endblock %}
{%- block title %}{{ name }}{% endblock %}
{%- block kicker %}FedThorax, a run as it goes{% endblock %}
{%- block heading %}{{ name }}{% endblock %}
{%- block facts %}
<p class="lost" role="alert">No answer: the command that serves this page has ended. The run is not affected.</p>
{%- endblock %}
{%- block main %}
{{ content }}
{%- endblock %}
{%- block made %}Read from {{ folder }} on this computer. Curves show validation images. For research; not a medical
device.{% endblock %}
"""

_CONTENT = """\
{%- from "tables" import cards %}
<p data-title="{{ title }}" role="status"><span class="status {{ status }}">{{ words }}</span>
{%- for fact in facts %} &middot; {{ fact }}{% endfor %}</p>
{%- if share is not none %}
<p><progress class="whole" max="1" value="{{ share }}" aria-label="Rounds done"></progress></p>
{%- endif %}
{%- if error %}<ul class="limits"><li class="grave"><strong>{{ error }}</strong></li></ul>{% endif %}
{%- if report %}<p><a href="report">The report</a> has scores on test images, with intervals.</p>{% endif %}
{{- cards(headlines, "" if is_test else " (validation, round %d)"|format(round)) }}
{%- if sites %}
<h2>Hospitals now</h2>
<div class="wide"><table>
<thead><tr><th scope="col" class="left">Hospital</th><th scope="col" class="left">Does</th>
<th scope="col" class="left">How far</th><th scope="col">Loss</th></tr></thead>
<tbody>
{%- for site in sites %}
<tr{% if site.failed %} class="failed"{% endif %}><th scope="row" class="site">{{ site.name }}</th>
<td class="words">{{ site.words }}</td>
<td class="left">{% if site.total %}<progress max="{{ site.total }}" value="{{ site.done }}"
 aria-label="{{ site.name }}"></progress> {{ site.done }}/{{ site.total }}{% endif %}</td>
<td>{{ site.loss }}</td></tr>
{%- endfor %}
{%- if server %}
<tr class="central"><th scope="row">server</th><td class="words">{{ server }}</td><td></td><td></td></tr>
{%- endif %}
</tbody></table></div>
{%- endif %}
<h2>Over the rounds</h2>
{%- if charts %}
<p class="small">Round 0 is the model before any training. Shaded: the phases.
{%- if best is not none %} The green dashed line marks round {{ best }}, the best so far.{% endif %}
 The dotted line at 0.5 is chance.</p>
<ul class="legend" aria-label="Lines">
{%- for entry in legend %}<li>{{ entry.sample }}<span>{{ entry.name }}</span></li>{% endfor -%}
</ul>
<div class="charts">
{%- for chart in charts %}
<figure><figcaption>{{ chart.title }}</figcaption>{{ chart.drawing }}</figure>
{%- endfor %}
</div>
{%- else %}
<p>No round is finished yet.</p>
{%- endif %}
{%- if failures %}
<h2>Failures</h2>
<ul class="notes">
{%- for failure in failures %}
<li>Round {{ failure.round }}, {{ failure.site }}, {{ failure.stage }}: {{ failure.reason }}</li>
{%- endfor %}
</ul>
{%- endif %}
{%- if notes %}
<h2>Notes</h2>
<ul class="notes">{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>
{%- endif %}
"""


def page(state: RunState) -> str:
    """The whole document, with the content of this moment, so that it is of use without a script too."""
    return rendered(_PAGE, name=state.progress.name or state.path.name, content=content(state), folder=state.path)


def content(state: RunState, now: float | None = None) -> Markup:
    """The part that changes; equal states give equal text once the run has ended."""
    run, progress = state.run, state.progress
    running = state.status in ("starting", "running") and not state.writer_gone
    words = "stopped by a person" if state.status == "interrupted" else state.status
    words = "stopped: its process is gone; go on with --resume" if state.writer_gone else words
    closed = [entry for entry in run.rounds if entry.central] if run else []
    newest = closed[-1].round if closed else 0
    absent = lacking(run) if run else None
    test = run.test if run else None
    return rendered(
        _CONTENT,
        title=f"{progress.name or state.path.name}: round {newest}/{progress.rounds}, {words}",
        status="interrupted" if state.writer_gone else state.status,
        words=words,
        facts=_facts(state, newest, running, time.time() if now is None else now),
        share=newest / progress.rounds if progress.rounds and running else None,
        error=run.error if run and state.status == "failed" else state.last_words,
        report=state.status == "finished" and (state.path / "report.html").is_file(),
        headlines=summary.headlines(test or (closed[-1].central if closed else None), absent),
        is_test=test is not None,
        round=newest,
        sites=[_site(name, site) for name, site in progress.sites.items()] if running else [],
        server=progress.server if running else None,
        charts=plots.round_charts(run.model_copy(update={"rounds": tuple(closed)}), absent) if run else [],
        legend=plots.legend(list(run.sites) if run else []),
        best=run.best_round if run else None,
        failures=failure_rows(run) if run else [],
        notes=list(reversed(state.notes)),
    )


def _facts(state: RunState, closed: int, running: bool, now: float) -> list[str]:
    progress = state.progress
    facts = [f"{closed} of {number_of(progress.rounds, 'round')} done"] if progress.rounds else []
    if not running:
        return facts
    if progress.started is not None:
        facts.append(f"{clock(progress.elapsed(now))} elapsed")
    left = progress.time_left(now)
    return facts if left is None else [*facts, f"about {clock(left)} left"]


def _site(name: str, site: SiteProgress) -> Mapping[str, Any]:
    return {
        "name": name,
        "words": site.words,
        "failed": site.failure is not None,
        "done": min(site.done, site.total),
        "total": 0 if site.failure is not None else site.total,
        "loss": "" if site.loss is None else figure(site.loss),
    }
