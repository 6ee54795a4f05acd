"""The Jinja2 template of the report's section on subgroups."""

TEMPLATE = """\
{%- macro heads(figures) -%}
<th scope="col">Images</th><th scope="col">Labels</th>
<th scope="col">ROC-AUC</th><th scope="col">Gap (95 %)</th><th scope="col">&minus;0.5 to 0.5</th>
{%- for word in figures[1:] %}<th scope="col">{{ word }}</th><th scope="col">Gap (95 %)</th>{% endfor %}
{%- endmacro %}
{%- macro cells(row, figures) -%}
<td>{{ row.images }}</td>
{%- if row.reason %}<td class="text few" colspan="{{ 2 * figures|length + 2 }}">{{ row.reason }}</td>
{%- else %}<td>{{ row.over }}</td>
{%- for cell in row.cells %}<td>{{ cell.value }}</td>
<td{% if cell.striking %} class="striking"{% endif %}>{{ cell.gap }}
{%- if cell.around %}<br><span class="over">{{ cell.around }}</span>{% endif %}</td>
{%- if loop.first %}<td class="left">{{ cell.bar }}</td>{% endif %}{% endfor %}
{%- endif %}
{%- endmacro %}
{%- macro gaps(number, striking, where) %}
{%- if striking %}
<p>{{ where }} {{ number }} gap{{ 's' if number != 1 }}, these of means leave 0 out:</p>
<ul>{% for words in striking %}<li>{{ words }}</li>{% endfor %}</ul>
{%- elif number %}
<p>{{ where }} {{ number }} gap{{ 's' if number != 1 }}, none of a mean leaves 0 out.</p>
{%- else %}
<p>No group has enough images for a comparison.</p>
{%- endif %}
{%- endmacro -%}
<p>Is the model as good for some as for others? Each group is compared with all other images of the same test set, over
the labels with {{ few }} positives and {{ few }} negatives on both sides. A gap is the group minus the others, with a
95 % interval; the bars run from &minus;0.5 to 0.5. One gap in twenty leaves 0 out by chance alone, and a gap does not
tell its cause: groups also differ in illness and in how they were imaged. Groups of few patients are hidden.</p>
{%- for task in tasks %}
<h3>{{ task.title }} by subgroup</h3>
{%- if task.attributes %}
{{- gaps(task.num_gaps, task.striking, "Of") }}
{%- endif %}
{%- for table in task.attributes %}
<div class="wide"><table>
<caption>{{ table.title }}; means over the labels that are compared.
{%- if table.at_hospitals %} On the hospitals' own test images, from counts of scores in bins; others: the mean of the
other hospitals. Intervals take every image for a patient of its own, and are cautious for means.
{%- elif table.unknown %} Of {{ table.unknown }}
{{- ' image' if table.unknown == 1 else ' images' }} it is not known.{% endif %}</caption>
<thead><tr><th scope="col" class="left">{{ table.title }}</th>{{ heads(table.figures) }}</tr></thead>
<tbody>
{%- for row in table.rows %}
<tr><th scope="row" class="site">{{ row.name }}</th>{{ cells(row, table.figures) }}</tr>
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
{%- with here = task.hospitals %}
{%- if here.tables or here.silent %}
<h4>{{ task.title }} by subgroup, at the hospitals</h4>
<p class="small">Each hospital's own test images; a group is compared with all others of the same hospital, those too of
which it is not known. What few patients stand behind, or what could be computed for few, is hidden.
{%- if here.silent %} These say nothing: {{ here.silent }}.{% endif %}</p>
{%- if here.tables %}
{{- gaps(here.num_gaps, here.striking, "Of the hospitals'") }}
{%- endif %}
{%- for table in here.tables %}
<details{% if here.open %} open{% else %} class="bulky"{% endif %}><summary>{{ table.title }}, by hospital</summary>
<div class="wide"><table>
<caption>{{ table.title }} at each hospital; means over the labels that are compared.</caption>
<thead><tr><th scope="col" class="left">Hospital</th><th scope="col" class="left">{{ table.title }}</th>
{{- heads(table.figures) }}</tr></thead>
{%- for hospital in table.hospitals %}
<tbody>
{%- for row in hospital.rows %}
<tr>{% if loop.first %}<th scope="rowgroup" class="left site" rowspan="{{ hospital.rows|length }}">{{ hospital.name }}
{%- if hospital.unknown %}<br><span class="over">of {{ hospital.unknown }}
{{- ' image' if hospital.unknown == 1 else ' images' }} not known</span>{% endif %}</th>
{%- endif %}<th scope="row" class="site">{{ row.name }}</th>{{ cells(row, table.figures) }}</tr>
{%- endfor %}
</tbody>
{%- endfor %}
</table></div></details>
{%- endfor %}
{%- endif %}
{%- endwith %}
{%- endfor %}
"""
