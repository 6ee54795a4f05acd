"""What all pages share: one environment in which everything is escaped, the document around the content, its tables."""

from typing import Any

import jinja2
from markupsafe import Markup

from fedthorax.common.page.style import STYLE

_FRAME = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{% block title %}{% endblock %}</title>
{%- block head %}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'
{%- block allowed %}{% endblock %}">
<style>{{ style }}</style>
{%- endblock %}
</head>
<body>
{% block skip %}{% endblock -%}
<header>
<p class="kicker">{% block kicker %}{% endblock %}</p>
<h1>{% block heading %}{% endblock %}</h1>
{%- block facts %}{% endblock %}
</header>
<main>
{%- block main %}{% endblock %}
</main>
<footer><p>{% block made %}{% endblock %} This page loads nothing from the network.</p></footer>
{%- block script %}{% endblock %}
</body>
</html>
"""

# A row has a name and cells; a cell is text, or (number to sort by, text). Grey with a star: few.
_TABLES = """\
{%- macro body(rows, style="") %}
<tbody{% if style %} class="{{ style }}"{% endif %}>
{%- for row in rows %}
<tr{% if row.few|default(false) %} class="few"{% elif row.style|default("") %} class="{{ row.style }}"{% endif %}>
<th scope="row" class="site">{{ row.name }}{% if row.few|default(false) %}*{% endif %}</th>
{%- for cell in row.cells %}
{%- if cell is string %}<td>{{ cell }}</td>{% else %}<td data-value="{{ cell[0] }}">{{ cell[1] }}</td>{% endif %}
{%- endfor %}</tr>
{%- endfor %}
</tbody>
{%- endmacro %}
{%- macro cards(headlines, after="") %}
{%- if headlines %}
<dl class="cards">
{%- for headline in headlines %}
<div class="card"><dt>{{ headline.name }}{{ after }}</dt>
<dd class="value">{{ headline.value }}</dd>
{%- if headline.interval %}<dd class="range">95 % interval {{ headline.interval }}</dd>{% endif %}
<dd class="note">{{ headline.note }}</dd></div>
{%- endfor %}
</dl>
{%- endif %}
{%- endmacro %}
{%- macro heads(names, groups=()) %}
<thead>
{%- if groups %}<tr><td></td>
{%- for words, span in groups %}
{%- if words %}<th scope="colgroup" class="group" colspan="{{ span }}">{{ words }}</th>
{%- else %}<td colspan="{{ span }}"></td>{% endif %}{% endfor %}</tr>{% endif -%}
<tr>
{%- for name in names %}<th scope="col"{% if loop.first %} class="left"{% endif %}>{{ name }}</th>{% endfor -%}
</tr></thead>
{%- endmacro %}
{%- macro table(caption, names, rows, groups=(), sortable=true) %}
<div class="wide"><table{% if sortable %} class="sortable"{% endif %}>
<caption>{{ caption }}</caption>
{{- heads(names, groups) }}{{ body(rows) }}</table></div>
{%- endmacro %}
"""

_ENVIRONMENT = jinja2.Environment(
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    loader=jinja2.DictLoader({"frame": _FRAME, "tables": _TABLES}),
)


def rendered(template: str, **values: Any) -> Markup:
    """A part of a page, or with ``{% extends "frame" %}`` a whole one; every value is escaped."""
    return Markup(_ENVIRONMENT.from_string(template).render(style=Markup(values.pop("style", STYLE)), **values))
