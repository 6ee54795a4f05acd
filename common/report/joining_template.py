"""The Jinja2 template of the page that says what joining was worth; every value is escaped."""

TEMPLATE = """\
{%- extends "frame" %}
{%- block title %}{{ name }}: did joining pay?{% endblock %}
{%- block kicker %}FedThorax: {{ name }}{% endblock %}
{%- block heading %}Did joining pay?{% endblock %}
{%- from "tables" import heads, body %}
{%- block main %}
<div class="answer">
{%- for sentence in answer %}<p>{{ sentence }}</p>{% endfor %}
</div>
<div class="wide"><table>
<caption>Mean ROC-AUC on each hospital's own test images: 0.5 is guessing, 1 is without fault. Labels with fewer than
ten positives or negatives there are not in the means. Difference with its 95 % interval, patients resampled.</caption>
<thead><tr><td></td><th scope="colgroup" colspan="4" class="group">X-ray findings</th>
<th scope="colgroup" colspan="4" class="group">CT classes</th></tr>
<tr><th scope="col" class="left">Hospital</th>
{%- for _ in range(2) %}<th scope="col">Alone</th><th scope="col">Joined</th><th scope="col">Difference</th>
<th scope="col" class="left">Joining</th>{% endfor %}</tr></thead>
<tbody>
{%- for row in summary %}
<tr><th scope="row" class="site">{{ row.site }}</th>
{%- for cell in row.cells %}<td{% if loop.index0 % 4 == 3 %} class="left"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
<p class="small">"Joined" is what the hospital uses afterwards: the common model, or the common model fine-tuned on its
own images, whichever had the lower loss on its own validation images. The test images chose nothing.</p>
{%- if maps %}
<h2 id="cross-site">Every model on every hospital's images</h2>
<p>Rows: the model of a hospital that trained alone, last the common one. Columns: whose test images. Mean ROC-AUC over
all labels that occur with both outcomes, also rare ones, so single squares jump; the same labels for all models of a
column.</p>
<div class="charts">
{%- for title, drawing in maps %}<figure><figcaption>{{ title }}</figcaption>{{ drawing }}</figure>{% endfor %}
</div>
{%- endif %}
{%- for hospital in hospitals %}
<section class="hospital">
<h2>{{ hospital.site }}</h2>
{%- if hospital.plain %}<p class="answer"><strong>{{ hospital.plain }}</strong></p>{% endif %}
{%- for sentence in hospital.verdicts %}<p>{{ sentence }}</p>{% endfor %}
<h3>What it gave</h3>
<ul>
{%- for line in hospital.gave %}<li>{{ line }}</li>{% endfor %}
</ul>
<h3>What it got</h3>
<p>After joining it uses {{ hospital.kept }}.
{%- if hospital.left_out %} {{ hospital.left_out }} of its test images
{{ 'is' if hospital.left_out == 1 else 'are' }} not counted: some hospital trains or
validates on the same picture.{% endif %}</p>
{%- for table in hospital.tables %}
<div class="wide"><table>
<caption>{{ table.title }}{% if table.over %} <span class="small">({{ table.over }})</span>{% endif %}</caption>
{{- heads(["", "X-ray findings", "95 % interval", "CT classes", "95 % interval"]) }}
{{- body(table.rows[:3]) }}{{ body(table.rows[3:], "means") }}</table></div>
{%- endfor %}
<details><summary>Label by label, on its own test images</summary>
{%- for table in hospital.labels %}
<div class="wide"><table>
<caption>{{ table.title }}. ROC-AUC; DeLong's interval; p corrected for all labels of the table (Holm). *: fewer than
ten positives or negatives, not tested.</caption>
{{- heads(["Label", "Positives", "Known", "Alone", "Joined", "Difference", "95 % interval", "p corrected"]) }}
{{- body(table.rows) }}</table></div>
{%- endfor %}
</details>
</section>
{%- endfor %}
<h2 id="how">How it was measured</h2>
<p>All models were trained for {{ rounds }} round{{ 's' if rounds != 1 }}
with the same settings and the same number of passes over the
images, and the best round of each was chosen on the server's validation images. {{ leaving_out }}</p>
<p>A test image on which any hospital trains or validates is left out everywhere. One training of each kind: another
random seed would give somewhat other figures, which the intervals do not hold. Not a medical device; the figures hold
for these images only.</p>
{%- endblock %}
{%- block made %}Made by FedThorax {{ software }}.{% endblock %}
"""
