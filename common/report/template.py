"""The Jinja2 template of the report. Every value is escaped: names of hospitals, files and findings are input."""

TEMPLATE = """\
{%- extends "frame" %}
{%- from "tables" import table, heads, body, cards %}
{%- macro fold(id, title, hint="", style="") %}
<details class="fold{{ style }}"><summary><h2 id="{{ id }}">{{ title }}</h2>
{%- if hint %} <span class="small">{{ hint }}</span>{% endif %}</summary>
{{ caller() }}
</details>
{%- endmacro %}
{%- macro bullets(lines) %}
{%- if lines %}
<ul class="small">{% for line in lines %}<li>{{ line }}</li>{% endfor %}</ul>
{%- endif %}
{%- endmacro %}
{%- macro limits(found) %}
<ul class="limits">
{%- for caution in found %}
<li{% if caution.grave %} class="grave"{% endif %}><strong>{{ caution.lead }}</strong> {{ caution.text }}</li>
{%- endfor %}
</ul>
{%- endmacro %}
{%- macro score_table(id, caption, head, scores, count) %}
<div class="wide"><table class="sortable" aria-labelledby="{{ id }}">
<caption id="{{ id }}">{{ caption }}</caption>
{{- heads([head, "ROC-AUC"] + (["95 % interval"] if scores.intervals else []) + scores.titles + [count]) }}
{{- body(scores.rows) }}{{ body(scores.means, "means") }}</table></div>
{%- if scores.rows|selectattr("few")|list %}
<p class="small">* fewer than {{ few }} images with it, or without it: descriptive only.</p>
{%- endif %}
{%- endmacro %}
{%- macro drawn(charts) %}
<div class="charts">
{%- for chart in charts %}
<figure data-chart="{{ chart.number }}"><figcaption>{{ chart.title }}</figcaption>{{ chart.drawing }}</figure>
{%- endfor %}
</div>
{%- endmacro %}
{%- macro squares(drawings) %}
{%- if drawings %}
<div class="squares">
{%- for square in drawings %}
<figure{% if square.few %} class="few"{% endif %}>{{ square.drawing }}<figcaption>{{ square.name }}
{%- if square.support %}<br><span class="small">{{ square.roc_auc }} ({{ square.support }}
{%- if square.few %}*{% endif %})</span>{% elif square.few %}*{% endif %}</figcaption></figure>
{%- endfor %}
</div>
{%- endif %}
{%- endmacro %}
{%- block allowed %}; img-src data:; script-src 'sha256-{{ script_sha256 }}'; base-uri 'none'; form-action 'none'
{%- endblock %}
{%- block title %}{{ run.name }}: training report{% endblock %}
{%- block skip %}<a class="skip" href="#scores">Skip to the scores</a>
{% endblock %}
{%- block kicker %}FedThorax training report{% endblock %}
{%- block heading %}{{ run.name }}{% endblock %}
{%- block facts %}
<dl class="facts">
{%- for name, value in facts %}<div><dt>{{ name }}</dt><dd>{{ value }}</dd></div>{% endfor -%}
</dl>
{%- endblock %}
{%- block main %}
<section aria-label="In short">
<dl class="questions">
<dt>What was trained?</dt><dd>{{ answers.what|join(" ") }}</dd>
<dt>With whom?</dt><dd>{{ answers.who|join(" ") }}</dd>
<dt>How good is it?</dt><dd>
{{- cards(headlines, "" if is_test else " (validation)") }}
{{- answers.good|join(" ") }}</dd>
{%- if answers.alone %}
<dt>Better than each hospital alone?</dt><dd>{{ answers.alone|join(" ") }}</dd>
{%- endif %}
<dt id="cautions">Can I trust it?</dt><dd>
{{- limits(cautions[:num_unfolded]) }}
{%- if cautions[num_unfolded:] %}
<details><summary>{{ cautions[num_unfolded:]|length }} more to know before using these figures</summary>
{{- limits(cautions[num_unfolded:]) }}</details>
{%- endif %}
</dd>
</dl>
</section>
{%- if forests or charts %}
<section aria-label="Figures">
{%- if forests %}
<h2 class="plain" id="figures">How good for each finding and class</h2>
<p class="small">ROC-AUC on {{ scored_on }}, 0.5 is chance.
{%- if is_test %} Bars: 95 % intervals. Hollow: fewer than {{ few }} images with it or without it,
descriptive only.{% endif %}</p>
<div class="charts">
{%- for title, drawing in forests %}<figure><figcaption>{{ title }}</figcaption>{{ drawing }}</figure>{% endfor %}
</div>
{%- endif %}
{%- if charts %}
<h2 class="plain" id="curves">Over the rounds</h2>
<p class="small">Round 0 is the model before any training. Shaded: the phases of the training.
{%- if run.best_round is not none %} The green dashed line marks round {{ run.best_round }}, whose model was
selected.{% endif %} The dotted line at 0.5 is chance.</p>
<ul class="legend switches" aria-label="Lines">
{%- for entry in legend %}<li data-series="{{ entry.key }}">{{ entry.sample }}<span>{{ entry.name }}</span></li>
{%- endfor %}
</ul>
{%- if pickable %}
<p hidden><label for="picked-hospital">Pick out a hospital:</label>
<select id="picked-hospital"><option value="">none</option>
{%- for name in pickable %}<option>{{ name }}</option>{% endfor %}</select></p>
{%- endif %}
{{- drawn(charts|selectattr("main")) }}
{%- endif %}
{%- if agreement %}
<h2 class="plain" id="agreement">Do the hospitals agree?</h2>
<p class="small">ROC-AUC of the one model on each hospital's own {{ agreement.images }}: the more colour, the better;
0.5 and below has none. * fewer than {{ few }} images with it or without it: descriptive only.</p>
<div class="charts">
{%- for part in agreement.tables %}
<div class="wide keep"><table class="map">
<caption><strong>{{ part.title }}</strong></caption>
{{- heads(agreement.heads) }}
<tbody>
{%- for row in part.rows %}
<tr{% if row.mean %} class="central"{% endif %}><th scope="row">{{ row.name }}</th>
{%- for words, share in row.cells %}<td{% if share is not none %} class="heat" style="--share:
{{- ' %.3f'|format(share) }}"{% elif "*" in words %} class="few"{% endif %}>{{ words }}</td>{% endfor -%}
<td>{{ row.spread }}</td></tr>
{%- endfor %}
</tbody></table></div>
{%- endfor %}
</div>
{{- bullets(site_gaps) }}
{%- endif %}
{%- if examples %}
<h2 class="plain" id="examples">Examples from the central test</h2>
<p class="small">Drawn at random among right and wrong answers, not to please. Left: the image as the model sees it.
Right: in red what spoke for the finding or class that is named (Grad-CAM): what this network used, not what a disease
looks like. They are images of the server's own patients: who passes this page on passes them on.
<code>evaluation.examples: 0</code> makes one without.</p>
<div class="examples">
{%- for example in examples %}
<figure class="{{ 'right' if example.right else 'wrong' }}">
<img src="{{ example.image }}" alt="{{ example.kind }}, as the model sees it" width="224" height="224">
<img src="{{ example.map }}" alt="The same, in red what spoke for {{ example.label }}" width="224" height="224">
<figcaption><strong>{{ "Right" if example.right else "Wrong" }}.</strong> {{ example.words }}</figcaption></figure>
{%- endfor %}
</div>
{%- endif %}
</section>
{%- endif %}

{%- call fold("scores", scores_title, "ROC curves, confusion matrix, undefined figures" if scores else "") %}
{%- if scores %}
{%- if absent != "xray" %}
<h3>X-ray findings</h3>
{{- score_table("findings-table", disease_caption, "Finding", disease, "Positives") }}
{%- endif %}
{%- if absent != "ct" %}
<h3>CT classes</h3>
{{- score_table("classes-table", cancer_caption, "Class", cancer, "Slices") }}
{%- endif %}
{%- if given %}
<h3>By what was given</h3>
{{- table("The same images, with the other one of each pair taken away: a learned token stands for it.",
["Given", "Loss", "Findings: ROC-AUC", "CT classes: ROC-AUC", "CT accuracy"], given) }}
{%- endif %}
{%- if undefined %}
<h3>Undefined figures</h3>
{{- bullets(undefined) }}
{%- endif %}
{%- if confusion %}
<h3>Confusion matrix of the CT classes</h3>
<div class="wide keep"><table>
<caption>Rows: the true class. Columns: what the model said. Number of slices, and share of the row.</caption>
{{- heads(["true class"] + confusion.classes + ["all"], [("model said", confusion.classes|length), ("", 1)]) }}
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
{{- squares(disease_rocs) }}{{ squares(cancer_rocs) }}
{%- endif %}
{%- else %}
<p>No round was scored.</p>
{%- endif %}
{%- endcall %}

{%- if operating %}
{%- call fold("thresholds", "Thresholds and calibration", "from which probability on the answer is yes") %}
<p>Chosen on the {{ operating.split }} images of {{ operating.site }}, for calibrated probabilities; what they are worth
is measured {% if is_test %}here, on test images that chose nothing.{% else %}nowhere in this run: the sensitivity and
specificity below are those of the images that chose them, and flatter.{% endif %} Sensitivity is recall.</p>
{{- table("Thresholds" ~ (", and the test scores at them with 95 % intervals" if is_test else "") ~ ". Chosen by Youden:
where sensitivity + specificity is largest; F1: where F1 is; sensitivity: where the wanted one is reached. From:
positives, negatives.", ["Finding or class", "Threshold", "Chosen by", "From"] + operating.heads, operating.rows) }}
<p class="small">{% if is_test %}Sensitivity at specificity 0.9 has a threshold of its own, read off the test images.
{%- endif %}
{%- if operating.temperature %} CT classes: one
against the others; the prediction is the most probable class, whatever the thresholds, and the scores are of it. Their
common temperature is {{ operating.temperature }}.{% endif %}</p>
{{- bullets(operating.reasons) }}
{%- if operating.own %}
<h3>At each hospital's own thresholds</h3>
{{- table("Each hospital's own test images, means over the findings: at the common thresholds, and at those that the
hospital chose on its own validation images. 95 % intervals in brackets.",
["Hospital"] + ["Sensitivity", "Specificity", "F1"] * 2, operating.own, [("Common thresholds", 3), ("Its own", 3)]) }}
<details><summary>The thresholds themselves</summary>
{{- table("For calibrated probabilities; each hospital calibrates on its own images too.",
["Finding or class"] + operating.own_thresholds.heads, operating.own_thresholds.rows) }}</details>
{%- endif %}
{%- if operating.calibration %}
<h3>Calibration</h3>
{{- table("On the test images, before and after calibration, with 95 % intervals. 0 is best; the error is above 0 by
chance alone where images are few.", ["Finding", "before", "after", "before", "after", "Known"], operating.calibration,
[("Calibration error (ECE)", 2), ("Brier score", 2), ("", 1)]) }}
<h3>Reliability diagrams, after calibration</h3>
<p class="small">To the right: mean probability of the images in a bin, 0 to 1. Upwards: share of them that are
positive
{%- if operating.temperature %} (of the CT classes: that were judged rightly){% endif %}, 0 to 1. On the
straight line probabilities mean what they say;
a larger dot stands for more images.</p>
{{- squares(operating.diagrams) }}
{%- endif %}
{%- endcall %}
{%- endif %}

{%- if subgroups %}
{%- call fold("subgroups", "Subgroups", "is it as good for some people as for others") %}{{ subgroups }}{% endcall %}
{%- endif %}

{%- call fold("rounds", "Rounds", "losses, F1, participation, time and traffic round by round") %}
{%- if charts %}
{{- bullets(phases) }}
{{- drawn(charts|rejectattr("main")) }}
{%- else %}
<p>No round was finished.</p>
{%- endif %}
{{- table("Scores on the central validation images; traffic as seen from the server." ~ (" Shaded: the selected round."
if run.best_round is not none else ""), ["Round", "Trained part", "Hospitals"] + main_heads + ["Time", "Sent",
"Received"], rounds) }}
{%- endcall %}

{%- call fold("hospitals", "Each hospital", "scores, failures, all test images together") %}
<p>Validation: the common model of round {{ scored_round if scored_round is not none else "none" }} on each hospital's
own validation images. Own test: the selected model on images that the hospital kept for the end.</p>
{{- table(sites_caption, ["Hospital"] + image_heads + main_heads + main_heads, sites,
[("Trains on", image_heads|length), ("Validation", main_heads|length), ("Own test", main_heads|length)]) }}
{%- if not agreement %}{{ bullets(site_gaps) }}{% endif %}
{%- if pooled.rows or pooled.reasons %}
<h3>All hospitals' own test images together</h3>
{%- if pooled.rows %}
{{- table("The selected model, from counts of scores in bins, before calibration. Within: what the figure of the images
themselves can be. A mean of the hospitals' ROC-AUC is another number: it does not see that scores differ.", ["Label",
"With it", "Without", "Hospitals", "ROC-AUC", "within", "PR-AUC", "within", "Calibration error", "within"],
pooled.rows) }}
{%- endif %}
{{- bullets(pooled.reasons) }}
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
{%- endcall %}
{%- if personal %}
{%- call fold("personal", "Fine-tuned at the hospitals", "the hospitals' own models") %}{{ personal }}{% endcall %}
{%- endif %}

{%- call fold("data", "Data", "images, patients, pairs, labels, what was left out") %}
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
{{- table(pairing.caption, pairing.heads, pairing.rows) }}
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
{%- set left_out = run.central.left_out %}
{%- if left_out %}
<h3>Central images left out of the scores</h3>
<details{% if left_out|length <= 10 %} open{% endif %}><summary>
{{- left_out|length }} that also stand{{ 's' if left_out|length == 1 }} where a model is trained or selected</summary>
<ul class="small">
{%- for image in left_out[:50] %}<li>{{ image.file }} ({{ image.modality }}, {{ image.split }}): same picture as at
{{ image.same_as_site }}</li>{% endfor %}
{%- if left_out|length > 50 %}<li>and {{ left_out|length - 50 }} more, in metrics.json</li>{% endif %}
</ul></details>
{%- endif %}
{%- endcall %}
{%- if statistics %}
{%- call fold("statistics", "What the hospitals hold, in numbers", "counts, and how different the hospitals are") %}
{{- statistics }}{% endcall %}
{%- endif %}
{%- call fold("costs", "Costs", "time, bytes, memory") %}{{ costs }}{% endcall %}
{%- call fold("privacy", "Privacy and audit", "what was exchanged, who saw it", " page") %}{{ privacy }}{% endcall %}
{%- call fold("again", "Versions, commands and settings", "how to run it again") %}{{ again }}
<p class="small">Fingerprint of the settings: {{ run.config_sha256[:16] }}.</p>
<details class="bulky"><summary>config.yaml, all settings of this run</summary>
<pre>{{ config }}</pre></details>{% endcall %}
{%- call fold("glossary", "What the words mean") %}
<dl class="glossary">
{%- for word, meaning in glossary %}
<dt>{{ word }}</dt><dd>{{ meaning }}</dd>
{%- endfor %}
</dl>
{%- endcall %}
{%- endblock %}
{%- block made %}Made from metrics.json (schema {{ run.schema_version }}) and config.yaml of this run by FedThorax
{{ software }}.{% endblock %}
{%- block script %}
<script type="application/json" id="chart-data">{{ chart_data }}</script>
<script>{{ script }}</script>
{%- endblock %}
"""
