"""The Jinja2 template of the comparison; every value is escaped."""

TEMPLATE = """\
{%- extends "frame" %}
{%- block title %}{{ names|join(", ") }}: comparison{% endblock %}
{%- block kicker %}FedThorax comparison of runs{% endblock %}
{%- block heading %}{{ names|join(", ") }}{% endblock %}
{%- block main %}
<p>Selected models on the same central test images. Not a medical device: the figures hold for these images only.</p>
{%- from "tables" import table, heads, body %}
{{- table("Test scores of each run with its own 95 % interval. Whether two runs differ is told below, not by whether
these intervals overlap.", ["Figure"] + names, headlines, sortable=false) }}
{%- for pair in pairs %}
<h2>{{ pair.second }} against {{ pair.first }}</h2>
{%- for table in pair.tasks %}
<h3>{{ table.title }}</h3>
<div class="wide"><table>
<caption>ROC-AUC, and the difference: above 0 where {{ pair.second }} is better. Labels: DeLong's interval and p, on the
same patients; p corrected for all labels of the table (Holm). Means: patients resampled. Shaded: corrected p below
0.05.</caption>
{{- heads(["Label", "Positives", pair.first, pair.second, "Difference", "95 % interval", "p", "p corrected"]) }}
{{- body(table.rows) }}{{ body(table.means, "means") }}</table></div>
{%- if table.rows|selectattr("few")|list %}
<p class="small">* fewer than ten images with it, or without it: descriptive, neither tested nor part of the mean.</p>
{%- endif %}
{%- endfor %}
{%- endfor %}
<h2>Settings that differ</h2>
{%- if settings %}
<div class="wide"><table>
<thead><tr><th scope="col" class="left">Setting</th>
{%- for name in names %}<th scope="col" class="text">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for row in settings %}
<tr><th scope="row">{{ row.name }}</th>{% for cell in row.cells %}<td class="text">{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- else %}
<p>None.</p>
{%- endif %}
{%- endblock %}
"""
