"""The statistics of several hospitals as a section of the report, and as a page of their own."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from fedthorax import __version__
from fedthorax.common.page.frame import rendered
from fedthorax.common.page.heat_map import heat_map
from fedthorax.common.report.grey_levels import grey_level_chart
from fedthorax.common.report.plots import MAX_COLOURED_SITES, legend
from fedthorax.common.report.statistics_tables import policy_words, statistics_tables

_MATRICES = (
    ("xray_intensity", "Grey levels of the X-rays"),
    ("ct_intensity", "Grey levels of the CT slices"),
    ("findings", "Shares of the findings"),
    ("cancer_classes", "Shares of the CT classes"),
)

_SECTION = """\
<p>Counted at the hospitals, all splits together, in images; {{ policy }}. A hidden count is one of few
patients, or one that would give such a count away. "+": and what is hidden.</p>
{%- for table in tables %}
<div class="wide"><table>
<caption>{{ table.title }}{% for note in table.notes %}<br><span class="small">{{ note }}</span>{% endfor %}</caption>
<thead><tr><td></td>{% for name in table.head %}<th scope="col" class="site">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for row in table.rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- endfor %}
{%- if matrices %}
<h3>How different the hospitals are</h3>
<p>Jensen-Shannon distance: 0 for equal distributions, 1 for nothing in common. On the dotted diagonal: two random
halves of the hospital's own patients, as far apart as chance puts them. A large distance of grey levels says that
devices or settings differ; of shares, that patients or labels do. None of them says that a hospital is wrong.</p>
<div class="charts">
{%- for title, drawing in matrices %}<figure><figcaption>{{ title }}</figcaption>{{ drawing }}</figure>{% endfor %}
</div>
{%- endif %}
{%- if curves %}
<h3>Grey levels</h3>
<p class="small">Share of the pixels, after decoding and resizing, in 32 bins; all images of a hospital together.</p>
<ul class="legend" aria-label="Lines">
{%- for entry in legend %}<li>{{ entry.sample }}<span>{{ entry.name }}</span></li>{% endfor -%}
</ul>
<div class="charts">
{%- for title, drawing in curves %}<figure><figcaption>{{ title }}</figcaption>{{ drawing }}</figure>{% endfor %}
</div>
{%- endif %}
"""

_PAGE = """\
{%- extends "frame" %}
{%- block title %}{{ name }}: statistics{% endblock %}
{%- block kicker %}FedThorax statistics{% endblock %}
{%- block heading %}{{ name }}{% endblock %}
{%- block main %}
<h2 id="statistics">What the hospitals hold, in numbers</h2>
{{ section }}
{%- endblock %}
{%- block made %}Made by FedThorax {{ software }}.{% endblock %}
"""


def statistics_section(document: Mapping[str, Any] | None) -> Markup:
    """The section for ``metrics.statistics``; nothing where a run has none."""
    if not document or not document["sites"]:
        return Markup("")
    sites = list(document["sites"])
    curves = [
        (title, grey_level_chart(title, {name: told[key]["intensity"] for name, told in document["sites"].items()}))
        for key, title in (("xray", "X-rays"), ("ct", "CT slices"))
    ]
    return rendered(
        _SECTION,
        policy=policy_words(document),
        tables=statistics_tables(document),
        matrices=_matrices(document) if len(sites) > 1 else [],
        curves=[(title, drawing) for title, drawing in curves if drawing is not None],
        legend=legend(sites)[1 : 1 + (len(sites) if len(sites) <= MAX_COLOURED_SITES else 1)],
    )


def statistics_page(document: Mapping[str, Any], name: str) -> str:
    """One HTML file that opens offline."""
    return rendered(_PAGE, name=name, section=statistics_section(document), software=__version__)


def _matrices(document: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    drawn = []
    for key, title in _MATRICES:
        measured = document["distances"][key]
        pairs = {(entry["sites"][0], entry["sites"][1]): entry["distance"] for entry in measured["pairs"]}
        if any(value is not None for value in pairs.values()):
            drawn.append((title, heat_map(title, list(document["sites"]), pairs, measured.get("within_sites", {}))))
    return drawn
