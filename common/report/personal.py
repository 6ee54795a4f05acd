"""The hospitals' own models, fine-tuned after the run, as a section of the report."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.wording import UNDEFINED, at, figure
from fedthorax.common.page.frame import rendered

_WORDS = {
    "batch_norm": "its own normalisation",
    "outputs": "its own output layers",
    "heads": "its own fusion and heads",
    "all": "a network of its own",
}
_TASKS = (("disease", "X-ray findings"), ("cancer", "CT classes"))

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


def personal_section(metrics: Mapping[str, Any]) -> Markup:
    """Nothing where no hospital has tried."""
    rows = [row for site, told in _told(metrics).items() for row in _rows(site, told)]
    if not rows:
        return Markup("")
    return rendered(_SECTION, rows=rows)


def kept_words(told: Mapping[str, Any]) -> str:
    """What the hospital kept, in words."""
    if told.get("kept") is not None:
        return _WORDS.get(told["kept"], str(told["kept"]))
    return f"the common model: {told['reason']}" if told.get("reason") else "the common model: it was the better one"


def _told(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    sites = metrics.get("sites") or {}
    return {site: entry["personal"] for site, entry in sites.items() if (entry or {}).get("personal")}


def _rows(site: str, told: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = []
    for task, words in _TASKS:
        mean = at(told, "comparison", task, "mean")
        common = at(mean, "second") if mean else at(told, "common", task, "macro", "roc_auc")
        row = {"site": site, "kept": kept_words(told), "task": words, "common": figure(common)}
        row |= {"own": figure(at(mean, "first")), "difference": difference_words(at(mean, "difference"))}
        rows.append(row)
    return rows


def difference_words(difference: Mapping[str, Any] | None) -> str:
    """``+0.031 [-0.010, 0.072]``."""
    value, interval = at(difference, "value"), at(difference, "interval")
    if value is None:
        return UNDEFINED
    return f"{value:+.3f}" + (f" [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else "")
