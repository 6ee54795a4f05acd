"""The Jinja2 template of the check's page. Every value is escaped: names of files, findings and folders are input."""

from fedthorax.common.page.style import STYLE as REPORT_STYLE

STYLE = (
    REPORT_STYLE
    + """
.stay { border: 2px solid var(--grave); background: var(--grave-panel); padding: .6rem 1rem; margin: 1rem 0; }
.levels { display: flex; flex-wrap: wrap; gap: .6rem; margin: .8rem 0; padding: 0; list-style: none; }
.levels li { background: var(--panel); border: 1px solid var(--rule); padding: .25rem .8rem; border-radius: 4px; }
.levels li.error.some { border-color: var(--grave); color: var(--grave); font-weight: 600; }
.issue { border-left: 4px solid var(--rule); padding: .1rem 0 .3rem 1rem; margin: 1.2rem 0; }
.issue.error { border-color: var(--grave); } .issue.warning { border-color: var(--site1); }
.issue h3 { margin: .2rem 0; } .issue h3 code { font-weight: 400; color: var(--soft); font-size: .85rem; }
.issue .level { text-transform: uppercase; font-size: .78rem; letter-spacing: .06em; color: var(--soft); }
.issue.error .level { color: var(--grave); }
.pictures { display: flex; flex-wrap: wrap; gap: .8rem; margin: .7rem 0; }
.group { display: flex; flex-wrap: wrap; gap: .4rem; }
.group.together { border: 1px solid var(--rule); background: var(--panel); padding: .4rem; }
.group figure { margin: 0; width: 9rem; }
.group img { display: block; width: 9rem; height: 9rem; object-fit: contain; background: #000; }
.group .none { width: 9rem; height: 9rem; display: grid; place-items: center; background: var(--panel);
  color: var(--soft); font-size: .8rem; border: 1px dashed var(--rule); }
.group figcaption { font-weight: 400; font-size: .74rem; line-height: 1.25; overflow-wrap: anywhere; }
.tallies { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem; }
.tallies h4 { margin: .2rem 0; } .tallies table { margin: 0; }
.tallies th { white-space: normal; overflow-wrap: anywhere; }
tr.marked td, tr.marked th { color: var(--grave); }
"""
)

TEMPLATE = """\
{%- extends "frame" %}
{%- block allowed %}; img-src data:{% endblock %}
{%- block title %}Check of {{ sites|map(attribute="name")|join(", ") }}{% endblock %}
{%- block kicker %}FedThorax check of images, labels and splits{% endblock %}
{%- block heading %}{{ sites|map(attribute="name")|join(", ") }}{% endblock %}
{%- block facts %}
<dl class="facts"><div><dt>Checked</dt><dd>{{ moment }}</dd></div></dl>
{%- endblock %}
{%- block main %}
<p class="stay"><strong>This page shows images of patients and must stay at the hospital.</strong>
Do not send it, and do not put it where others can read it.</p>
{%- for site in sites %}
{%- if sites|length > 1 %}<h2>{{ site.name }}</h2>{% endif %}
{%- for folder in site.folders %}<p class="small">{{ folder }}</p>{% endfor %}
<ul class="levels">
{%- for entry in site.levels %}<li class="{{ entry.level }}
{%- if not entry.words.startswith('0 ') %} some{% endif %}">{{ entry.words }}</li>{% endfor %}
</ul>
<p>{{ site.meaning }}</p>
{%- for issue in site.issues %}
<section class="issue {{ issue.level }}">
<p class="level">{{ issue.level }}</p>
<h3>{{ issue.title }} <code>{{ issue.code }}</code></h3>
<p>{{ issue.sentence }}</p>
<p><strong>What to do:</strong> {{ issue.advice }}</p>
{%- if issue.groups %}
<div class="pictures">
{%- for group in issue.groups %}
<div class="group{% if issue.together %} together{% endif %}">
{%- for picture in group.pictures %}
<figure>{% if picture.data %}<img src="{{ picture.data }}" alt="">{% else %}
<div class="none">not shown</div>{% endif %}<figcaption>{{ picture.name }}</figcaption></figure>
{%- endfor %}
{%- if group.more %}<p class="small">and {{ group.more }} more</p>{% endif %}
</div>
{%- endfor %}
</div>
{%- if issue.more %}<p class="small">and {{ issue.more }} more; <code>--json</code> lists them all.</p>{% endif %}
{%- endif %}
</section>
{%- endfor %}
<h2>What the folders hold</h2>
{%- for held in site.holdings %}
<h3>{{ held.kind }}: {{ held.images }} image{{ 's' if held.images != 1 }},
{{ held.patients }} patient{{ 's' if held.patients != 1 }}</h3>
<div class="wide"><table>
<caption>Images by split (not given: the run draws it, by patient). Of findings: present, of all whose label is known.
</caption>
<thead><tr><th scope="col" class="left">Label</th>
{%- for side in held.sides %}<th scope="col">{{ side.name }}</th>{% endfor %}</tr></thead>
<tbody>
<tr><th scope="row">images</th>{% for side in held.sides %}<td>{{ side.images }}</td>{% endfor %}</tr>
<tr><th scope="row">patients</th>{% for side in held.sides %}<td>{{ side.patients }}</td>{% endfor %}</tr>
{%- for label in held.labels %}
<tr><th scope="row">{{ label.name }}</th>{% for cell in label.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
<div class="tallies">
{%- for tally in held.tallies %}
<div><h4>{{ tally.name }}</h4><table><tbody>
{%- for name, number in tally.rows %}<tr><th scope="row">{{ name }}</th><td>{{ number }}</td></tr>{% endfor %}
</tbody></table>{% if tally.more %}<p class="small">and {{ tally.more }} more</p>{% endif %}</div>
{%- endfor %}
</div>
{%- if held.together %}
<div class="wide"><table>
<caption>X-rays that show both findings; shade: share of the row's finding.</caption>
<thead><tr><td></td>{% for name in held.together.names %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for row in held.together.rows %}
<tr><th scope="row">{{ row.name }}</th>{% for cell in row.cells %}<td class="heat" style="--share:
{{- ' %.3f'|format(cell.share) }}">{{ cell.count }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- endif %}
{%- endfor %}
{%- if site.shortcuts %}
<details><summary>Shortcuts: how well a property of the file alone predicts each label</summary>
<div class="wide"><table>
<thead><tr><th scope="col" class="left">Label</th><th scope="col" class="left">Predicted by</th>
<th scope="col">ROC-AUC</th><th scope="col">Interval</th>
<th scope="col" class="left">Not asked because</th></tr></thead>
<tbody>
{%- for row in site.shortcuts %}
<tr{% if row.warning %} class="marked"{% endif %}><th scope="row">{{ row.label }}</th>
<td class="left">{{ row.by }}</td><td>{{ row.roc_auc }}</td><td>{{ row.interval }}</td>
<td class="left">{{ row.reason }}</td></tr>
{%- endfor %}
</tbody></table></div></details>
{%- endif %}
{%- endfor %}
{%- endblock %}
{%- block made %}Made by FedThorax {{ software }}.{% endblock %}
"""
