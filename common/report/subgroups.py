"""Whether the model is as good for some people as for others: one table a task, and what is told about each label."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from fedthorax.common.metrics.ranking import MIN_IMAGES
from fedthorax.common.report.plots import gap_bar
from fedthorax.common.report.wording import UNDEFINED, at, count, figure, interval

TITLES = {"sex": "Sex", "age_years": "Age in years", "view": "View", "scanner": "Scanner", "site": "Hospital"}
TASKS = (("disease", "X-ray findings"), ("cancer", "CT classes"))
FIGURES = (("roc_auc", "ROC-AUC"), ("recall", "Sensitivity"), ("specificity", "Specificity"))


_SECTION = """\
<h2 id="subgroups">Subgroups</h2>
<p>Is the model as good for some as for others? Each group is compared with all other images of the same test set, over
the labels with {{ few }} positives and {{ few }} negatives on both sides. A gap is the group minus the others, with a
95 % interval; the bars run from &minus;0.5 to 0.5. One gap in twenty leaves 0 out by chance alone, and a gap does not
tell its cause: groups also differ in illness and in how they were imaged. Groups of few patients are hidden.</p>
{%- for task in tasks %}
<h3>{{ task.title }} by subgroup</h3>
{%- if task.striking %}
<p>Of {{ task.num_gaps }} gaps, these of means leave 0 out:</p>
<ul>{% for words in task.striking %}<li>{{ words }}</li>{% endfor %}</ul>
{%- elif task.num_gaps %}
<p>Of {{ task.num_gaps }} gaps, none of a mean leaves 0 out.</p>
{%- else %}
<p>No group has enough images for a comparison.</p>
{%- endif %}
{%- for table in task.attributes %}
<div class="wide"><table>
<caption>{{ table.title }}; means over the labels that are compared.
{%- if table.at_hospitals %} On the hospitals' own test images, from counts of scores in bins; others: the mean of the
other hospitals. Intervals take every image for a patient of its own, and are cautious for means.
{%- elif table.unknown %} Of {{ table.unknown }} images it is not known.{% endif %}</caption>
<thead><tr><th scope="col" class="left">{{ table.title }}</th><th scope="col">Images</th><th scope="col">Labels</th>
<th scope="col">ROC-AUC</th><th scope="col">Gap (95 %)</th><th scope="col">&minus;0.5 to 0.5</th>
{%- for word in table.figures[1:] %}<th scope="col">{{ word }}</th><th scope="col">Gap (95 %)</th>{% endfor %}
</tr></thead>
<tbody>
{%- for row in table.rows %}
<tr><th scope="row" class="site">{{ row.name }}</th><td>{{ row.images }}</td>
{%- if row.reason %}<td class="text few" colspan="{{ 2 * table.figures|length + 2 }}">{{ row.reason }}</td>
{%- else %}<td>{{ row.over }}</td>
{%- for cell in row.cells %}<td>{{ cell.value }}</td>
<td{% if cell.striking %} class="striking"{% endif %}>{{ cell.gap }}
{%- if cell.around %}<br><span class="over">{{ cell.around }}</span>{% endif %}</td>
{%- if loop.first %}<td class="left">{{ cell.bar }}</td>{% endif %}{% endfor %}
{%- endif %}</tr>
{%- endfor %}
</tbody></table></div>
{%- if table.details %}
<details class="bulky"><summary>{{ table.title }}: ROC-AUC label by label</summary>
<div class="wide"><table class="sortable">
<caption>{{ task.title }}, ROC-AUC. * fewer than {{ few }} positives or negatives: descriptive only.</caption>
<thead><tr><th scope="col" class="left">{{ table.title }}</th><th scope="col" class="left">Label</th>
<th scope="col">Positives</th><th scope="col">ROC-AUC</th><th scope="col">95 % interval</th>
<th scope="col">Gap (95 %)</th></tr></thead>
<tbody>
{%- for row in table.details %}
<tr{% if row.few %} class="few"{% endif %}><th scope="row" class="site">{{ row.group }}</th>
<td class="left">{{ row.label }}</td><td>{{ row.support }}{% if row.few %}*{% endif %}</td>
{%- if row.reason %}<td class="text" colspan="3">{{ row.reason }}</td>
{%- else %}<td>{{ row.cells.value }}</td><td>{{ row.cells.interval }}</td>
<td{% if row.cells.striking %} class="striking"{% endif %}>{{ row.cells.gap }}
{%- if row.cells.around %} ({{ row.cells.around }}){% endif %}</td>{% endif %}</tr>
{%- endfor %}
</tbody></table></div></details>
{%- endif %}
{%- endfor %}
{%- endfor %}
"""


def subgroup_section(metrics: Mapping[str, Any]) -> Markup:
    """The section of the report; nothing where no attribute is known and no hospital told its scores."""
    tasks = []
    for task, title in TASKS:
        found = of_task(metrics, task)
        attributes = [_table(name, described) for name, described in found.items()]
        if attributes:
            gaps = list(gaps_of(found))
            tasks.append({"title": title, "attributes": attributes, "num_gaps": len(gaps), "striking": _striking(gaps)})
    if not tasks:
        return Markup("")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return Markup(environment.from_string(_SECTION).render(tasks=tasks, few=MIN_IMAGES))


def of_task(metrics: Mapping[str, Any], task: str) -> dict[str, Any]:
    """By attribute its groups: of the central test images, and of all hospitals' own (``site``)."""
    found = dict(at(metrics, "test", "subgroups", task) or {})
    by_site = at(metrics, "pooled", "by_site", task)
    if len(at(by_site, "groups") or {}) > 1:
        found["site"] = by_site
    return found


def gaps_of(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """(group, figure's name, label or "mean", figure) of everything that is compared."""
    for attribute, described in found.items():
        for name, group in described["groups"].items():
            rows = {"mean": group.get("mean"), **(group.get("labels") or {})}
            for label, row in rows.items():
                for key, word in FIGURES:
                    value = at(row, key)
                    if value and value["gap"] is not None:
                        yield f"{TITLES[attribute]} {name}", word, label, value


def _striking(gaps: Sequence[tuple[str, str, str, Mapping[str, Any]]]) -> list[str]:
    """Gaps of means whose interval leaves 0 out, the widest first."""
    found = [
        (abs(value["gap"]), f"{group}: {word} {figure(value['value'])}, others {figure(value['others'])}.")
        for group, word, label, value in gaps
        if label == "mean" and _leaves_out_0(value["gap_interval"])
    ]
    return [words for _, words in sorted(found, key=lambda one: -one[0])]


def _table(attribute: str, described: Mapping[str, Any]) -> dict[str, Any]:
    figures = FIGURES[:1] if attribute == "site" else FIGURES
    rows, details = [], []
    for name, group in described["groups"].items():
        mean, labels = group.get("mean") or {}, group.get("labels") or {}
        rows.append(
            {
                "name": name,
                "images": count(group.get("images")),
                "cells": [_cells(mean.get(key)) for key, _ in figures],
                "over": f"{len(mean.get('labels') or [])} of {len(labels)}",
                "reason": group.get("reason") or mean.get("reason"),
            }
        )
        details += [{"group": name, "label": label, **_detail(row)} for label, row in labels.items()]
    return {
        "title": TITLES[attribute],
        "at_hospitals": attribute == "site",
        "unknown": described.get("unknown"),
        "figures": [word for _, word in figures],
        "rows": rows,
        "details": details,
    }


def _detail(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "support": UNDEFINED if row.get("known") is None else f"{count(row['support'])} of {count(row['known'])}",
        "few": bool(row.get("descriptive")),
        "reason": row.get("reason"),
        "cells": _cells(row.get("roc_auc")),
    }


def _cells(value: Mapping[str, Any] | None) -> dict[str, Any]:
    value = value or {}
    gap, low_high = value.get("gap"), value.get("gap_interval")
    return {
        "value": figure(value.get("value")),
        "interval": interval(value.get("interval")),
        "gap": UNDEFINED if gap is None else signed(gap),
        "around": f"{signed(low_high[0])} to {signed(low_high[1])}" if low_high else "",
        "bar": gap_bar(gap, low_high),
        "striking": _leaves_out_0(low_high),
    }


def _leaves_out_0(low_high: Sequence[float] | None) -> bool:
    return low_high is not None and (low_high[0] > 0 or low_high[1] < 0)


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
