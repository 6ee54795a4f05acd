"""The Jinja2 template of the report. Every value is escaped: names of hospitals, files and findings are input."""

TEMPLATE = """\
{%- macro score_table(id, caption, head, table, columns, count) -%}
<div class="wide"><table class="sortable" aria-labelledby="{{ id }}">
<caption id="{{ id }}">{{ caption }}</caption>
<thead><tr><th scope="col" class="left">{{ head }}</th><th scope="col">ROC-AUC</th>
{%- if table.intervals %}<th scope="col">95 % interval</th>{% endif %}
<th scope="col" class="left">0 &ndash; 0.5 &ndash; 1</th>
{%- for column in columns %}<th scope="col">{{ column }}</th>{% endfor %}
<th scope="col">{{ count }}</th></tr></thead>
<tbody>
{%- for row in table.rows %}
<tr{% if row.few %} class="few"{% endif %}><th scope="row">{{ row.name }}</th><td>{{ row.roc_auc }}</td>
{%- if table.intervals %}<td>{{ row.interval }}</td>{% endif %}<td class="left">{{ row.bar }}</td>
{%- for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}<td>{{ row.support }}{% if row.few %}*{% endif %}</td></tr>
{%- endfor %}
</tbody>
<tbody class="means">
{%- for row in table.means %}
<tr><th scope="row">{{ row.name }}</th><td>{{ row.roc_auc }} <span class="over">/{{ row.over[0] }}</span></td>
{%- if table.intervals %}<td>{{ row.interval }}</td>{% endif %}<td class="left">{{ row.bar }}</td>
{%- for cell in row.cells %}<td>{{ cell }} <span class="over">/{{ row.over[loop.index] }}</span></td>{% endfor %}
<td></td></tr>
{%- endfor %}
</tbody></table></div>
{%- endmacro -%}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'sha256-{{ script_sha256 }}'; base-uri 'none'; form-action 'none'">
<title>{{ metrics.name }}: training report</title>
<style>{{ style }}</style>
</head>
<body>
<a class="skip" href="#scores">Skip to the scores</a>
<header>
<p class="kicker">FedThorax training report</p>
<h1>{{ metrics.name }}</h1>
<dl class="facts">
{%- for name, value in facts %}<div><dt>{{ name }}</dt><dd>{{ value }}</dd></div>{% endfor -%}
</dl>
</header>
<main>
<section class="answer" aria-label="In short">
{%- for sentences in answer|batch(2) %}
<p>{{ sentences|join(" ") }}</p>
{%- endfor %}
{%- if headlines %}
<dl class="cards">
{%- for headline in headlines %}
<div class="card"><dt>{{ headline.name }}{% if not is_test %} (validation){% endif %}</dt>
<dd class="value">{{ headline.value }}</dd>
{%- if headline.interval %}<dd class="range">95 % interval {{ headline.interval }}</dd>{% endif %}
<dd class="note">{{ headline.note }}</dd></div>
{%- endfor %}
</dl>
{%- endif %}
</section>
<section class="cautions" aria-labelledby="cautions">
<h2 id="cautions">Before you use these figures</h2>
<ul>
{%- for caution in cautions %}
<li{% if caution.grave %} class="grave"{% endif %}><strong>{{ caution.lead }}</strong> {{ caution.text }}</li>
{%- endfor %}
</ul>
</section>
<nav aria-label="On this page"><ul>
<li><a href="#scores">Scores</a></li>
{%- if operating %}<li><a href="#thresholds">Thresholds and calibration</a></li>{% endif -%}
{%- if subgroups %}<li><a href="#subgroups">Subgroups</a></li>{% endif %}
<li><a href="#curves">Over the rounds</a></li>
<li><a href="#hospitals">Hospitals</a></li><li><a href="#data">Data</a></li>
{%- if statistics %}<li><a href="#statistics">Statistics</a></li>{% endif %}<li><a href="#rounds">Rounds</a></li>
<li><a href="#costs">Costs</a></li><li><a href="#privacy">Privacy and audit</a></li>
<li><a href="#again">Versions and commands</a></li><li><a href="#settings">Settings</a></li>
<li><a href="#glossary">What the words mean</a></li>
</ul></nav>

<h2 id="scores">{{ scores_title }}</h2>
{%- if scores %}
{%- if absent != "xray" %}
<h3>X-ray findings</h3>
{{ score_table("findings-table", disease_caption, "Finding", disease, disease.titles, "Positives") }}
{%- if disease.rows|selectattr("few")|list %}
<p class="small">* fewer than {{ few }} images with it, or without it: descriptive only.</p>
{%- endif %}
{%- endif %}
{%- if absent != "ct" %}
<h3>CT classes</h3>
{{ score_table("classes-table", cancer_caption, "Class", cancer, cancer.titles, "Slices") }}
{%- if cancer.rows|selectattr("few")|list %}
<p class="small">* fewer than {{ few }} slices of it, or of the others: descriptive only.</p>
{%- endif %}
{%- endif %}
{%- if given %}
<h3>By what was given</h3>
<div class="wide"><table>
<caption>The same images, with the other one of each pair taken away: a learned token stands for it.</caption>
<thead><tr><th scope="col">Given</th><th scope="col">Loss</th><th scope="col">Findings: ROC-AUC</th>
<th scope="col">CT classes: ROC-AUC</th><th scope="col">CT accuracy</th></tr></thead>
<tbody>
{%- for row in given %}
<tr><th scope="row">{{ row.name }}</th>{%- for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- endif %}
{%- if undefined %}
<h3>Undefined figures</h3>
<ul class="small">
{%- for reason in undefined %}<li>{{ reason }}</li>{% endfor %}
</ul>
{%- endif %}
{%- if confusion %}
<h3>Confusion matrix of the CT classes</h3>
<div class="wide keep"><table>
<caption>Rows: the true class. Columns: what the model said. Number of slices, and share of the row.</caption>
<thead><tr><td></td><th scope="colgroup" class="group" colspan="{{ confusion.classes|length }}">model said</th>
<td></td></tr>
<tr><th scope="col" class="left">true class</th>
{%- for name in confusion.classes %}<th scope="col">{{ name }}</th>{% endfor %}<th scope="col">all</th></tr></thead>
<tbody>
{%- for row in confusion.rows %}
{%- set row_index = loop.index %}
<tr><th scope="row">{{ row.name }}</th>
{%- for cell in row.cells %}<td class="heat{% if loop.index == row_index %} diagonal{% endif %}" style="--share:
{{- ' %.3f'|format(cell.share) }}">{{ cell.count }}<small>{{ cell.percent }}</small></td>{% endfor -%}
<td>{{ row.total }}</td></tr>
{%- endfor %}
</tbody></table></div>
{%- endif %}
{%- if disease_rocs or cancer_rocs %}
<h3>ROC curves</h3>
<p class="small">To the right: share of false alarms, 0 to 1. Upwards: share of positives found, 0 to 1.
The straight line is chance. Below each: ROC-AUC and, in brackets, the number of positives.</p>
{%- for squares in (disease_rocs, cancer_rocs) %}
{%- if squares %}
<div class="squares">
{%- for square in squares %}
<figure{% if square.few %} class="few"{% endif %}>{{ square.drawing }}<figcaption>{{ square.name }}<br>
<span class="small">{{ square.roc_auc }} ({{ square.support }}{% if square.few %}*{% endif %})</span></figcaption>
</figure>
{%- endfor %}
</div>
{%- endif %}
{%- endfor %}
{%- endif %}
{%- else %}
<p>No round was scored.</p>
{%- endif %}

{%- if operating %}
<h2 id="thresholds">Thresholds and calibration</h2>
<p>Chosen on the {{ operating.split }} images of {{ operating.site }}, for calibrated probabilities; what they are worth
is measured here, on test images that chose nothing. Sensitivity is recall.</p>
<div class="wide"><table class="sortable">
<caption>Thresholds, and the test scores at them with 95 % intervals. Chosen by Youden: where sensitivity + specificity
is largest; F1: where F1 is; sensitivity: where the wanted one is reached. From: positives, negatives.</caption>
<thead><tr><th scope="col" class="left">Finding or class</th><th scope="col">Threshold</th>
<th scope="col" class="left">Chosen by</th><th scope="col">From</th><th scope="col">Sensitivity</th>
<th scope="col">Specificity</th><th scope="col">Sensitivity at<br>specificity 0.9</th>
<th scope="col">PR-AUC</th></tr></thead>
<tbody>
{%- for row in operating.rows %}
<tr{% if row.few %} class="few"{% endif %}><th scope="row">{{ row.name }}</th><td>{{ row.threshold }}</td>
<td class="left">{{ row.method }}</td><td>{{ row.chosen_from }}</td>
{%- for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
<p class="small">Sensitivity at specificity 0.9 has a threshold of its own, read off the test images.
{%- if operating.temperature %} CT classes: one
against the others; the prediction is the most probable class, whatever the thresholds, and the scores are of it. Their
common temperature is {{ operating.temperature }}.{% endif %}</p>
{%- if operating.reasons %}
<ul class="small">{% for reason in operating.reasons %}<li>{{ reason }}</li>{% endfor %}</ul>
{%- endif %}
{%- if operating.own %}
<h3>At each hospital's own thresholds</h3>
<div class="wide"><table class="sortable">
<caption>Each hospital's own test images, means over the findings: at the common thresholds, and at those that the
hospital chose on its own validation images. 95 % intervals in brackets.</caption>
<thead><tr><td></td><th scope="colgroup" class="group" colspan="3">Common thresholds</th>
<th scope="colgroup" class="group" colspan="3">Its own</th></tr>
<tr><th scope="col" class="left">Hospital</th>
{%- for part in (1, 2) %}<th scope="col">Sensitivity</th><th scope="col">Specificity</th><th scope="col">F1</th>
{%- endfor %}</tr></thead>
<tbody>
{%- for row in operating.own %}
<tr><th scope="row" class="site">{{ row.name }}</th>{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
<details><summary>The thresholds themselves</summary>
<div class="wide"><table class="sortable">
<caption>For calibrated probabilities; each hospital calibrates on its own images too.</caption>
<thead><tr><th scope="col" class="left">Finding or class</th>
{%- for head in operating.own_thresholds.heads %}<th scope="col" class="site">{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for row in operating.own_thresholds.rows %}
<tr><th scope="row">{{ row.name }}</th>{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div></details>
{%- endif %}
{%- if operating.calibration %}
<h3>Calibration</h3>
<div class="wide"><table class="sortable">
<caption>On the test images, before and after calibration, with 95 % intervals. 0 is best; the error is above 0 by
chance alone where images are few.</caption>
<thead><tr><td></td><th scope="colgroup" class="group" colspan="2">Calibration error (ECE)</th>
<th scope="colgroup" class="group" colspan="2">Brier score</th><td></td></tr>
<tr><th scope="col" class="left">Finding</th><th scope="col">before</th><th scope="col">after</th>
<th scope="col">before</th><th scope="col">after</th><th scope="col">Known</th></tr></thead>
<tbody>
{%- for row in operating.calibration %}
<tr{% if row.few %} class="few"{% endif %}><th scope="row">{{ row.name }}{% if row.few %}*{% endif %}</th>
{%- for cell in row.cells %}<td>{{ cell }}</td>{% endfor -%}<td>{{ row.known }}</td></tr>
{%- endfor %}
</tbody></table></div>
<h3>Reliability diagrams, after calibration</h3>
<p class="small">To the right: mean probability of the images in a bin, 0 to 1. Upwards: share of them that are
positive
{%- if operating.temperature %} (of the CT classes: that were judged rightly){% endif %}, 0 to 1. On the
straight line probabilities mean what they say;
a larger dot stands for more images.</p>
<div class="squares">
{%- for square in operating.diagrams %}
<figure{% if square.few %} class="few"{% endif %}>{{ square.drawing }}<figcaption>{{ square.name }}
{%- if square.few %}*{% endif %}</figcaption></figure>
{%- endfor %}
</div>
{%- endif %}
{%- endif %}

{{ subgroups }}
<h2 id="curves">Over the rounds</h2>
{%- if charts %}
<p>Round 0 is the model before any training. Shaded: the phases of the training.
{%- if metrics.best_round is not none %} The green dashed line marks round {{ metrics.best_round }}, whose model was
selected.{% endif %} The dotted line at 0.5 is chance. A gap is an undefined or missing figure.</p>
{%- if phases %}
<ul class="small">{% for phase in phases %}<li>{{ phase }}</li>{% endfor %}</ul>
{%- endif %}
<ul class="legend switches" aria-label="Lines">
{%- for entry in legend %}<li data-series="{{ entry.key }}">{{ entry.sample }}<span>{{ entry.name }}</span></li>
{%- endfor %}
</ul>
{%- if pickable %}
<p hidden><label for="picked-hospital">Pick out a hospital:</label>
<select id="picked-hospital"><option value="">none</option>
{%- for name in pickable %}<option>{{ name }}</option>{% endfor %}</select></p>
{%- endif %}
<div class="charts">
{%- for chart in charts %}
<figure data-chart="{{ loop.index0 }}"><figcaption>{{ chart.title }}</figcaption>{{ chart.drawing }}</figure>
{%- endfor %}
</div>
{%- else %}
<p>No round was finished.</p>
{%- endif %}

<h2 id="hospitals">Each hospital</h2>
<p>Validation: the common model of round {{ scored_round if scored_round is not none else "none" }} on each hospital's
own validation images. Own test: the selected model on images that the hospital kept for the end.</p>
<div class="wide"><table class="sortable">
<caption>Mean ROC-AUC{% if absent != "xray" %} over the findings (X-ray){% endif %}
{%- if not absent %} and{% endif %}{% if absent != "ct" %} over the classes (CT){% endif %}.</caption>
<thead><tr><td></td><th scope="colgroup" class="group" colspan="{{ image_heads|length }}">Trains on</th>
<th scope="colgroup" class="group" colspan="{{ main_heads|length }}">Validation</th>
<th scope="colgroup" class="group" colspan="{{ main_heads|length }}">Own test</th></tr>
<tr><th scope="col" class="left">Hospital</th>{%- for head in image_heads %}<th scope="col">{{ head }}</th>{% endfor %}
{%- for head in main_heads + main_heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for row in sites %}
<tr{% if row.central %} class="central"{% endif %}><th scope="row" class="site">{{ row.name }}</th>
{%- for cell in row.images + row.valid + row.test %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- if site_gaps %}
<ul class="small">{% for line in site_gaps %}<li>{{ line }}</li>{% endfor %}</ul>
{%- endif %}
{%- if pooled %}
<h3>All hospitals' own test images together</h3>
<div class="wide"><table class="sortable">
<caption>The selected model, from counts of scores in bins, before calibration. Within: what the figure of the images
themselves can be. A mean of the hospitals' ROC-AUC is another number: it does not see that scores differ.</caption>
<thead><tr><th scope="col" class="left">Label</th><th scope="col">With it</th><th scope="col">Without</th>
<th scope="col">Hospitals</th><th scope="col">ROC-AUC</th><th scope="col">within</th><th scope="col">PR-AUC</th>
<th scope="col">within</th><th scope="col">Calibration error</th><th scope="col">within</th></tr></thead>
<tbody>
{%- for row in pooled %}
<tr><th scope="row" class="site">{{ row.name }}</th>{%- for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- endif %}
{%- if failures %}
<h3>Failures</h3>
<div class="wide"><table>
<caption>A hospital that fails in a round is left out of that round's average.</caption>
<thead><tr><th scope="col">Round</th><th scope="col" class="left">Hospital</th><th scope="col" class="left">Stage</th>
<th scope="col" class="left">Reason</th></tr></thead>
<tbody>
{%- for row in failures %}
<tr><td>{{ row.round }}</td><th scope="row" class="site">{{ row.site }}</th>
<td class="left">{{ row.stage or "" }}</td><td class="text">{{ row.reason }}</td></tr>
{%- endfor %}
</tbody></table></div>
{%- endif %}

{{ personal }}
<h2 id="data">Data</h2>
<div class="wide"><table>
<caption>Images and patients that each hospital and the server hold, by use.</caption>
<thead><tr><th scope="col" class="left">Hospital</th><th scope="col" class="left">Use</th>
{%- if absent != "xray" %}<th scope="col">X-rays</th><th scope="col">X-ray patients</th>{% endif %}
{%- if absent != "ct" %}<th scope="col">CT slices</th><th scope="col">CT patients</th>{% endif %}</tr></thead>
<tbody>
{%- for row in data %}
<tr>{% if row.name is not none %}<th scope="rowgroup" class="left site" rowspan="{{ row.span }}">{{ row.name }}</th>
{%- endif %}<td class="left">{{ row.split }}</td>{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- if pairing %}
<h3>Pairs in one pass of training</h3>
<div class="wide"><table>
<caption>{% if absent %}Nobody has {{ absent_words }}: a learned token stands for the other image of each pair.
{%- else %}Each X-ray is paired with a CT slice, anew in each pass.{% endif %}
Uses: fewest / mean / most times that one image
is seen in a pass.</caption>
<thead><tr><th scope="col" class="left">Hospital</th><th scope="col">Pairs</th>
{%- if absent != "xray" %}<th scope="col">Uses of an X-ray</th>{% endif %}
{%- if absent != "ct" %}<th scope="col">Uses of a CT slice</th>{% endif %}
{%- if not absent %}<th scope="col">Pairs of one patient</th>{% endif %}</tr></thead>
<tbody>
{%- for row in pairing %}
<tr><th scope="row" class="site">{{ row.name }}</th>{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- endif %}
{%- if remarks %}
<h3>Notes and files left out</h3>
{%- for remark in remarks %}
<h4>{{ remark.name }}</h4>
{%- if remark.notes %}
<ul>{% for note in remark.notes %}<li>{{ note }}</li>{% endfor %}</ul>
{%- endif %}
{%- if remark.check %}
<p>Found by the check of the data:</p>
<ul>{% for issue in remark.check %}<li>{{ issue }}</li>{% endfor %}</ul>
{%- endif %}
{%- if remark.skipped %}
<details{% if remark.num_skipped <= 10 %} open{% endif %}><summary>{{ remark.num_skipped }} skipped
{{ "file" if remark.num_skipped == 1 else "files" }}</summary>
<ul class="small">
{%- for file in remark.skipped %}<li>{{ file.file }}: {{ file.reason }}</li>{% endfor %}
{%- if remark.unlisted %}<li>and {{ remark.unlisted }} more, in metrics.json</li>{% endif %}
</ul></details>
{%- endif %}
{%- endfor %}
{%- endif %}
{%- if left_out %}
<h3>Central images left out of the scores</h3>
<details{% if left_out|length <= 10 %} open{% endif %}><summary>
{{- left_out|length }} that also stand where a model is trained or selected</summary>
<ul class="small">
{%- for image in left_out[:50] %}<li>{{ image.file }} ({{ image.modality }}, {{ image.split }}): same picture as at
{{ image.same_as_site }}</li>{% endfor %}
{%- if left_out|length > 50 %}<li>and {{ left_out|length - 50 }} more, in metrics.json</li>{% endif %}
</ul></details>
{%- endif %}

{{ statistics }}
<h2 id="rounds">Rounds</h2>
<div class="wide"><table class="sortable">
<caption>Scores on the central validation images; traffic as seen from the server.
{%- if metrics.best_round is not none %} Shaded: the selected round.{% endif %}</caption>
<thead><tr><th scope="col">Round</th><th scope="col" class="left">Trained part</th><th scope="col">Hospitals</th>
{%- for head in main_heads %}<th scope="col">{{ head }}</th>{% endfor %}
<th scope="col">Time</th><th scope="col">Sent</th>
<th scope="col">Received</th></tr></thead>
<tbody>
{%- for row in rounds %}
<tr{% if row.best %} class="best"{% endif %}><th scope="row">{{ row.round }}{% if row.best %} (best){% endif %}</th>
<td class="left">{{ row.trainable }}</td><td>{{ row.trained }}</td>
{%- for cell in row.scores %}<td>{{ cell }}</td>{% endfor %}
{%- for value, words in row.costs %}<td data-value="{{ value or '' }}">{{ words }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>

{{ costs }}
{{ provenance }}
<h2 id="settings">Settings</h2>
<p class="small">Fingerprint of the settings: {{ (metrics.config_sha256 or "not recorded")[:16] }}.</p>
<details><summary>config.yaml, all settings of this run</summary>
<pre>{{ config }}</pre></details>

<h2 id="glossary">What the words mean</h2>
<dl class="glossary">
{%- for word, meaning in glossary %}
<dt>{{ word }}</dt><dd>{{ meaning }}</dd>
{%- endfor %}
</dl>
</main>
<footer><p>Made from metrics.json (schema {{ metrics.schema_version }}) and config.yaml of this run by FedThorax
{{ software }}. This page loads nothing from the network.</p></footer>
<script type="application/json" id="chart-data">{{ chart_data }}</script>
<script>{{ script }}</script>
</body>
</html>
"""
