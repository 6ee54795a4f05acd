"""The hospitals' own models, fine-tuned after the run, as a section of the report."""

from markupsafe import Markup

from fedthorax.common.config.personalisation import FineTuned
from fedthorax.common.ground.wording import UNDEFINED, figure
from fedthorax.common.metrics.scores import TASKS, Difference, Personal
from fedthorax.common.page.frame import rendered
from fedthorax.common.record.run import Run

_WORDS: dict[FineTuned, str] = {
    "batch_norm": "its own normalisation",
    "outputs": "its own output layers",
    "heads": "its own fusion and heads",
    "all": "a network of its own",
    "last_phase": "its own of what the last phase trains",
}

_SECTION = """\
<p>After the run each hospital trained the common model further on its own images and kept what had the lower loss on
its own validation images. Mean ROC-AUC on its own test images, without labels of fewer than ten positives or negatives;
difference with its 95 % interval, patients resampled. The hospitals' own models stay with them.</p>
<div class="wide"><table>
<thead><tr><th scope="col" class="left">Hospital</th><th scope="col" class="text">Kept</th>
<th scope="col" class="left">Task</th><th scope="col">Common</th><th scope="col">Own</th>
<th scope="col">Own less common</th></tr></thead>
<tbody>
{%- for row in rows %}
<tr><th scope="row" class="site">{{ row.site }}</th><td class="text">{{ row.kept }}</td>
<td class="left">{{ row.task }}</td>
<td>{{ row.common }}</td><td>{{ row.own }}</td><td>{{ row.difference }}</td></tr>
{%- endfor %}
</tbody></table></div>
"""


def personal_section(run: Run) -> Markup:
    """Nothing where no hospital has tried."""
    rows = [row for name, site in run.sites.items() if site.personal for row in _rows(name, site.personal)]
    return rendered(_SECTION, rows=rows) if rows else Markup("")


def kept_words(kept: FineTuned | None, reason: str | None = None) -> str:
    """What the hospital kept, in words."""
    return _WORDS[kept] if kept else f"the common model: {reason or 'it was the better one'}"


def _rows(site: str, told: Personal) -> list[dict[str, str]]:
    rows = []
    for task, words in TASKS:
        compared = getattr(told.comparison, task, None)
        mean = compared.mean if compared else None
        common = mean.second if mean else told.common.mean(task, "roc_auc") if told.common else None
        row = {"site": site, "kept": kept_words(told.kept, told.reason), "task": words, "common": figure(common)}
        difference = difference_words(mean.difference if mean else None)
        rows.append(row | {"own": figure(mean.first if mean else None), "difference": difference})
    return rows


def difference_words(found: Difference | None) -> str:
    """``+0.031 [-0.010, 0.072]``."""
    if found is None or found.value is None:
        return UNDEFINED
    low_high = f" [{found.interval[0]:+.3f}, {found.interval[1]:+.3f}]" if found.interval else ""
    return f"{found.value:+.3f}{low_high}"
