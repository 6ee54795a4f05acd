"""The page of ``fedthorax try``. What files and models are called is set as text, never as HTML."""

from fedthorax.common.page import style
from fedthorax.common.page.frame import rendered
from fedthorax.common.release.model_facts import NOT_A_DEVICE
from fedthorax.common.release.saved_model import SavedModel

STYLE = (
    style.STYLE
    + """
.notice {
  position: sticky; top: 0; z-index: 3; margin: 0; max-width: none; padding: .45rem 1.25rem; text-align: center;
  background: var(--grave-panel); color: var(--grave); font-weight: 600; border-bottom: 1px solid var(--rule);
}
main, header, footer { max-width: 82rem; }
.asks { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1rem; }
.drop {
  margin: 0; padding: .9rem 1rem; border: 2px dashed var(--soft); border-radius: 8px; background: var(--panel);
  min-width: 0;
}
.drop.over { border: 2px solid var(--accent); }
.drop legend { font-weight: 600; padding: 0 .3rem; }
.drop p { margin: .2rem 0 .6rem; }
.drop .chosen { font-weight: 600; margin: .7rem 0 0; overflow-wrap: anywhere; }
input[type="file"] { position: absolute; width: 1px; height: 1px; opacity: 0; }
.button, button.ask, button.plain {
  display: inline-block; padding: .4rem .8rem; border: 1px solid var(--soft); border-radius: 6px;
  background: var(--page); cursor: pointer; margin: 0 .3rem .3rem 0;
}
input[type="file"]:focus-visible + .button { outline: 2px solid var(--accent); outline-offset: 2px; }
button.ask { background: var(--accent); color: var(--page); border-color: var(--accent); font-weight: 600; }
button:disabled { opacity: .55; cursor: default; }
.does { margin: 1rem 0 .4rem; }
.problem { color: var(--grave); font-weight: 600; }
.two { display: grid; grid-template-columns: 15rem minmax(0, 1fr); gap: 1.2rem; margin: .8rem 0 1.6rem; }
.two img { width: 100%; height: auto; display: block; background: #000; border-radius: 4px; }
.two label { display: block; font-weight: 600; margin-top: .6rem; }
.two select { width: 100%; padding: .3rem; }
.slice { position: sticky; top: 2.4rem; z-index: 2; background: var(--page); padding: .5rem 0; }
.slice input { width: min(30rem, 100%); display: block; }
.share { position: relative; width: 4.5rem; height: .8rem; background: var(--grid); border-radius: 2px; }
.share i { position: absolute; inset: 0 auto 0 0; width: calc(var(--part) * 100%); background: var(--soft);
  border-radius: 2px; }
.yes .share i { background: var(--mark); }
.share b { position: absolute; top: -.2rem; bottom: -.2rem; left: calc(var(--at) * 100%); width: 2px;
  background: var(--ink); }
.yes th, .yes td:nth-child(3), .yes .said { font-weight: 700; }
td.where { white-space: normal; }
td button { white-space: nowrap; text-decoration: underline; color: var(--accent); }
#results h2, .slice { scroll-margin-top: 2.4rem; }
#results th[scope=row] { white-space: normal; overflow-wrap: break-word; }
.answers thead tr:last-child td { border-color: var(--soft); }
@media (max-width: 72rem) {
  .two { grid-template-columns: minmax(0, 1fr); }
  .two img { max-width: 18rem; }
  .answers thead { display: none; }
  .answers { min-width: 0; width: 100%; }
  .answers tr { display: flex; flex-wrap: wrap; border-bottom: 1px solid var(--grid); padding: .45rem 0;
    align-items: center; gap: .1rem .9rem; }
  .answers th, .answers td { border: 0; padding: 0; }
  .answers th { flex: 1 0 100%; }
  .answers td.of { order: 1; font-size: .85rem; }
  .answers td.of::before { content: attr(data-of) ": "; color: var(--soft); }
  #results table { min-width: 0; }
  #results thead th { white-space: normal; }
  .notice { font-size: .85rem; padding: .35rem .8rem; }
  #results h2, .slice { scroll-margin-top: 3.6rem; }
  .slice { top: 3.3rem; }
}
@media (max-width: 30rem) {
  #results table:not(.answers) { font-size: .76rem; }
  #results table:not(.answers) :is(th, td) { padding: .35rem .16rem; }
}
@media print { .asks, .does, .slice input, .two select, .two label { display: none; } }
"""
)

SCRIPT = """
"use strict";
const kinds = {
  xray: { name: "X-ray", labels: "disease", one: "X-ray" }, ct: { name: "CT", labels: "cancer", one: "CT slice" },
};
const most = 512 * 2 ** 20;
const alone = document.querySelector("form").hasAttribute("data-alone");
const status = document.querySelector("#status"), results = document.querySelector("#results");
const ask = document.querySelector("#ask"), clear = document.querySelector("#clear");
let chosen = { xray: [], ct: [] }, found = null, at = 0, maps = new Map(), busy = false;

function add(parent, tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent.append(made);
  return made;
}
function say(text, problem = false) {
  status.className = problem ? "problem" : "";
  status.textContent = text;
}
const three = (value) => value === null || value === undefined ? "-" : value.toFixed(3);
function beside(value, limit) {
  // As many digits as it takes to see that the value is below the limit where it is.
  let digits = 3;
  while (value < limit && digits < 100 && value.toFixed(digits) === limit.toFixed(digits)) digits += 1;
  return [value.toFixed(digits), limit.toFixed(digits)];
}
const percent = (value) => value === null || value === undefined ? "-" : Math.round(100 * value) + " %";
const large = (size) => size < 1e6 ? Math.ceil(size / 1e3) + " kB" : (size / 1e6).toFixed(1) + " MB";

function choose(kind, files) {
  chosen[kind] = files;
  const size = files.reduce((sum, { file }) => sum + file.size, 0);
  const what = files.length === 1 ? files[0].name : files.length + " files";
  document.querySelector("#chosen-" + kind).textContent =
    files.length ? what + ", " + large(size) : "nothing yet";
  ready();
}
function ready() {
  const missing = alone ? (chosen.xray.length || chosen.ct.length ? "" : "Give an X-ray, CT, or both.")
    : Object.keys(kinds).filter((kind) => !chosen[kind].length).length ? "This model needs both, an X-ray and CT." : "";
  ask.disabled = busy || missing !== "";
  clear.disabled = !(chosen.xray.length || chosen.ct.length || found);
  document.querySelector("#missing").textContent = missing;
}
async function entries(entry, path) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ name: path + file.name, file }];
  }
  const reader = entry.createReader(), all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    for (const inner of some) all.push(...await entries(inner, path + entry.name + "/"));
  }
  return all;
}
for (const kind of Object.keys(kinds)) {
  const place = document.querySelector("#drop-" + kind);
  for (const input of place.querySelectorAll("input"))
    input.addEventListener("change", () => {
      if (input.files.length)
        choose(kind, [...input.files].map((file) => ({ name: file.webkitRelativePath || file.name, file })));
      input.value = "";
    });
  place.addEventListener("dragover", () => place.classList.add("over"));
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", async (event) => {
    place.classList.remove("over");
    const dropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry);
    try {
      choose(kind, (await Promise.all(dropped.map((entry) => entries(entry, "")))).flat());
    } catch (error) {
      say("What was dropped cannot be read: " + error.message, true);
    }
  });
}
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

async function post(address, files) {
  const head = files.map(({ kind, name, file }) => ({ kind, name, size: file.size }));
  const size = head.reduce((sum, file) => sum + file.size, 0);
  if (size > most) throw new Error("These are " + large(size) + "; the page takes 512 MB at once.");
  const body = new Blob([JSON.stringify({ files: head }) + "\\n", ...files.map(({ file }) => file)]);
  let reply;
  try {
    reply = await fetch(address, { method: "POST", body });
  } catch {
    throw new Error("The program behind this page does not answer. Is `fedthorax try` still running?");
  }
  const read = await reply.json();
  if (!reply.ok) throw new Error(read.error);
  return read;
}

function named(line, name) {
  // A long name breaks behind a dot or an underscore.
  const made = add(line, "th", "", { scope: "row" });
  made.append(...name.split(/(?<=[._])/).flatMap((part) => [part, document.createElement("wbr")]));
}
function ranged(figure) {
  const range = figure.interval;
  return three(figure.value) + (range ? " (" + three(range[0]) + " to " + three(range[1]) + ")" : "");
}
function careful(parent, row, kind) {
  const words = row.flags[kind].join("; ");
  if (words) add(parent, "p", "Look at this picture: " + words + ". If so, the answer is worth little.",
    { class: "problem" });
}
function tested(facts) {
  const test = facts.evaluation;
  if (!test || !test.roc_auc || test.roc_auc.value === null) return ["not tested", "-", "-", "-"];
  const few = test.descriptive || false, share = (of) => of ? percent(of.value) : "-";
  const [found, spared] = few ? ["-", "-"] : [share(test.recall), share(test.specificity)];
  return [few ? "too few to tell" : ranged(test.roc_auc), found, spared,
    test.support + (test.known ? " of " + test.known : "")];
}
function above(row, kind) { return row.predicted[kind === "xray" ? "findings" : "cancer_above_threshold"]; }
function sentence(row, kind) {
  const reached = above(row, kind);
  if (kind === "ct") {
    const first = row.predicted.cancer_class;
    return "Most probable: " + first + (reached.includes(first) ? "." : ", which does not reach its threshold.");
  }
  return reached.length ? "At or above the threshold: " + reached.join(", ") + "."
    : "No finding reaches its threshold. That does not mean that there is none.";
}
const own = ["ROC-AUC (95 %)", "found", "spared", "with it"];
function table(parent, row, kind) {
  const facts = found.labels[kinds[kind].labels], reached = above(row, kind);
  const made = add(add(parent, "div", null, { class: "wide" }), "table", null, { class: "answers" });
  add(made, "caption", "What the model says of the " + kinds[kind].one +
    ": calibrated probabilities beside the thresholds and its own test.");
  const top = add(made, "thead"), group = add(top, "tr"), head = add(top, "tr");
  add(group, "td", "", { colspan: 5 });
  add(group, "th", "In the model's own test", { colspan: 4, scope: "colgroup", class: "group" });
  for (const [text, style] of [["Label", "left"], ["", ""], ["Probability", ""], ["Threshold", ""], ["Answer", "left"],
    ...own.map((name) => [name, ""])])
    add(head, text ? "th" : "td", text, text ? { class: style, scope: "col" } : {});
  const body = add(made, "tbody"), unchosen = [];
  const order = ([name, value]) => (reached.includes(name) ? 2 : 0) + value;
  for (const [name, value] of Object.entries(row[kinds[kind].labels]).sort((a, b) => order(b) - order(a))) {
    const label = facts[name], yes = reached.includes(name), set = label.method === "fixed";
    const line = add(body, "tr", null, { class: yes ? "yes" : "no" });
    named(line, name);
    const bar = add(add(line, "td", null, { "aria-hidden": "true" }), "div", null, { class: "share" });
    add(bar, "i").style.setProperty("--part", value);
    add(bar, "b").style.setProperty("--at", label.threshold);
    const [told, limit] = beside(value, label.threshold);
    add(line, "td", told);
    add(line, "td", limit + (set ? "*" : ""), { class: "of", "data-of": "threshold" });
    if (set) unchosen.push(name);
    add(line, "td", yes ? "reached" : "below", { class: "left said" });
    tested(label).forEach((text, number) => add(line, "td", text, { class: "of", "data-of": own[number] }));
  }
  add(parent, "p", "The model's own test: found is the share of those with it that reached the threshold; spared, " +
    "the share of those without it that stayed below; with it, how many images had it.", { class: "small" });
  if (unchosen.length) add(parent, "p", "* not chosen for this label, but set beforehand: too few images had it, or " +
    "lacked it.", { class: "small" });
}
function picture(parent, row, kind) {
  const side = add(parent, "div"), one = kinds[kind].one, plain = found.pictures[kind][row[kind]];
  const image = add(side, "img", null, { src: plain, alt: "The " + one + " as the model sees it" });
  const words = add(side, "p", null, { class: "small", role: "status" });
  add(side, "label", "Show", { for: "show-" + kind });
  const select = add(side, "select", null, { id: "show-" + kind });
  add(select, "option", "the picture alone", { value: "" });
  const heat = add(select, "optgroup", null, { label: "where the model found what speaks for (Grad-CAM)" });
  for (const name of Object.keys(row[kinds[kind].labels])) add(heat, "option", name, { value: name });
  select.addEventListener("change", async () => {
    const name = select.value;
    if (!name) {
      image.src = plain;
      image.alt = "The " + one + " as the model sees it";
      words.textContent = "";
      return;
    }
    words.textContent = "Drawing the map…";
    try {
      const map = (await mapsOf(row))[kind][name];
      if (select.value !== name) return;
      image.src = map.picture;
      image.alt = "The " + one + " with the places in red that speak for " + name;
      words.textContent = ["Red speaks for " + name + ".", ...map.words,
        "Coarse; it shows what this network used, not what a disease looks like."].join(" ");
    } catch (error) {
      words.textContent = error.message;
    }
  });
  add(side, "p", row[kind], { class: "small" });
}
async function mapsOf(row) {
  const key = JSON.stringify([row.xray, row.ct]);
  if (!maps.has(key)) {
    const files = [];
    for (const kind of Object.keys(kinds)) {
      if (!row[kind]) continue;
      const bytes = atob(found.pictures[kind][row[kind]].split(",")[1]);
      files.push({ kind, name: "seen.png", file: new Blob([Uint8Array.from(bytes, (c) => c.charCodeAt(0))]) });
    }
    maps.set(key, await post("maps", files));
  }
  return maps.get(key);
}
function draw(parent) {
  const row = found.predictions[at];
  parent.replaceChildren();
  for (const kind of Object.keys(kinds)) {
    if (!row[kind]) continue;
    add(parent, "h3", kinds[kind].one);
    careful(parent, row, kind);
    add(parent, "p", sentence(row, kind));
    const two = add(parent, "div", null, { class: "two" });
    picture(two, row, kind);
    table(add(two, "div"), row, kind);
  }
}
function overview(parent, go) {
  const all = found.predictions.map((row, number) => ({ row, number }));
  const groups = found.examinations.map((one) => [one, all.filter(({ row }) => row.ct in one.behind)]);
  for (const [one, rows] of groups.length ? groups : [[null, all]]) {
    if (one) {
      const reached = one.predicted.cancer_above_threshold, first = one.predicted.cancer_class;
      add(parent, "h3", "The series " + one.ct + ": " + one.slices + " slices as one examination");
      add(parent, "p", "Most probable: " + first + (reached === null
        ? ". No threshold was chosen for whole examinations."
        : reached.includes(first) ? "." : ", which does not reach its threshold."));
      const test = found.tested_by_patient;
      add(parent, "p", test === null ? "The model was not tested by patient, only by slice."
        : "In its own test of " + test.patients + " patients: accuracy " + ranged(test.accuracy) + ", ROC-AUC " +
          ranged(test.roc_auc) + "; in brackets 95 %.", { class: "small" });
    }
    for (const kind of Object.keys(kinds)) {
      const task = kinds[kind].labels;
      if (!rows[0].row[kind] || (one && one[task][Object.keys(one[task])[0]] === null)) continue;
      const facts = found.labels[task], limits = one && kind === "ct" ? one.thresholds : null;
      const made = add(add(parent, "div", null, { class: "wide" }), "table");
      const rule = one && kind === "ct" && one.rule === "highest" ? "Highest, to sum 1" : "Mean";
      const how = limits ? ". The threshold is of whole series; slices are counted at their own." : "";
      add(made, "caption", one ? kind === "ct" ? "CT of this series" + how : "The X-ray, asked with each of its slices"
        : kinds[kind].name + ": all " + rows.length +
        " answers together. Thresholds and the model's own test are of single answers, not of means.");
      const head = add(add(made, "thead"), "tr");
      for (const text of ["Label", rule, ...limits ? ["Threshold"] : [], "Highest, in", "Reached by"])
        add(head, "th", text, text === "Label" ? { class: "left" } : {});
      const body = add(made, "tbody");
      for (const name of Object.keys(facts)) {
        const values = rows.map(({ row }) => row[task][name]), highest = Math.max(...values);
        const { number } = rows[values.indexOf(highest)], line = add(body, "tr");
        named(line, name);
        const mean = one ? one[task][name] : values.reduce((sum, value) => sum + value, 0) / values.length;
        for (const text of limits ? beside(mean, limits[name]) : [three(mean)]) add(line, "td", text);
        const where = add(line, "td", three(highest) + " ", { class: "where" });
        const there = add(where, "button", "no. " + (number + 1), { type: "button" });
        there.addEventListener("click", () => go(number, true));
        add(line, "td", values.filter((value) => value >= facts[name].threshold).length + " of " + values.length);
      }
    }
  }
}
function show() {
  results.replaceChildren();
  maps = new Map();
  at = 0;
  const title = add(results, "h2", "What the model says", { tabindex: "-1" });
  for (const row of found.skipped) add(results, "p", "Not answered: " + row.reasons.join("; "), { class: "problem" });
  if (found.left_out.length) {
    const rest = add(results, "details");
    add(rest, "summary", found.left_out.length + " not used");
    const list = add(rest, "ul", null, { class: "small" });
    for (const text of found.left_out) add(list, "li", text);
  }
  const rows = found.predictions, pair = document.createElement("div");
  if (rows.length > 1) {
    let number, slider, told;
    const go = (position, scroll) => {
      at = position;
      number.value = position + 1;
      const row = rows[at];
      told.textContent = "Answer " + (at + 1) + " of " + rows.length + ": " + (row.ct || row.xray);
      number.setAttribute("aria-valuetext", told.textContent);
      draw(pair);
      if (scroll) slider.scrollIntoView({ block: "start" }), number.focus({ preventScroll: true });
    };
    overview(results, go);
    slider = add(results, "div", null, { class: "slice" });
    told = add(slider, "label", "", { for: "number" });
    number = add(slider, "input", null, { id: "number", type: "range", min: 1, max: rows.length, step: 1 });
    number.addEventListener("input", () => go(Number(number.value) - 1));
    go(0);
  } else {
    draw(pair);
  }
  results.append(pair);
  title.focus({ preventScroll: true });
  title.scrollIntoView({ block: "start" });
}
document.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  busy = true;
  ready();
  const files = Object.keys(kinds).flatMap((kind) => chosen[kind].map((one) => ({ kind, ...one })));
  say("The model looks at " + (files.length === 1 ? "the image…" : files.length + " files…"));
  try {
    found = await post("answer", files);
    show();
    const rest = found.skipped.length ? ", " + found.skipped.length + " not" : "";
    say(found.predictions.length + " answered" + rest + ".");
  } catch (error) {
    found = null;
    results.replaceChildren();
    say(error.message, true);
  }
  busy = false;
  ready();
});
clear.addEventListener("click", () => {
  found = null;
  maps = new Map();
  results.replaceChildren();
  for (const kind of Object.keys(kinds)) choose(kind, []);
  say("Nothing is shown or kept any more.");
  document.querySelector("#file-xray").focus();
});
for (const kind of Object.keys(kinds)) choose(kind, []);
"""

_PAGE = """\
{%- extends "frame" %}
{%- block head %}
<link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css">
<script src="try.js" defer></script>
{%- endblock %}
{%- block title %}Try {{ name }} - FedThorax{% endblock %}
{%- block skip %}<p class="notice" role="note">{{ notice }}</p>
{% endblock %}
{%- block kicker %}FedThorax{% endblock %}
{%- block heading %}Try {{ name }}{% endblock %}
{%- block facts %}
<p>The model looks at {{ "an X-ray, a CT slice, or both" if alone else "an X-ray and a CT slice together" }}.
Findings it knows on an X-ray: {{ saved.findings|join(", ") }}.
Classes it knows on CT: {{ saved.cancer_classes|join(", ") }}.</p>
<p class="small">{% if saved.site %}Thresholds and test are those of {{ saved.site }}. {% endif %}The images stay on
this computer and are kept only while they are answered.
{%- if colours|length == 3 %} CT in Hounsfield units is shown as the model gets it, a range a colour:
{%- for colour, window in colours %} {{ colour }} {{ (window.center - window.width / 2)|round|int }} to {{
(window.center + window.width / 2)|round|int }} HU{{ "." if loop.last else "," }}{% endfor %}{% endif %}</p>
{%- endblock %}
{%- block main %}
<form{% if alone %} data-alone{% endif %}>
<div class="asks">
{%- for kind, name, what in places %}
<fieldset class="drop" id="drop-{{ kind }}"><legend>{{ name }}</legend>
<p class="small">{{ what }}</p>
<input type="file" id="file-{{ kind }}" multiple><label class="button" for="file-{{ kind }}">{{ name }} files…</label>
<input type="file" id="folder-{{ kind }}" webkitdirectory><label class="button" for="folder-{{ kind }}">{{ name }}
folder…</label>
<p class="chosen" id="chosen-{{ kind }}" role="status"></p></fieldset>
{%- endfor %}
</div>
<p class="does"><button class="ask" id="ask" type="submit" disabled>Ask the model</button>
<button class="plain" id="clear" type="button" disabled>Clear everything</button> <span id="missing"></span></p>
</form>
<p id="status" role="status" aria-live="polite"></p>
<section id="results" aria-label="Answers"></section>
{%- endblock %}
{%- block made %}Served by FedThorax on this computer.{% endblock %}
"""
_PLACES = (
    ("xray", "X-ray", "Drop an image here, or choose it: DICOM, PNG or JPEG, frontal."),
    ("ct", "CT", "Drop a slice, a DICOM series or folder, a zip or a NIfTI volume here, or choose it."),
)


def trial_page(saved: SavedModel) -> str:
    """The HTML for one model."""
    name, alone = saved.facts.get("name", saved.path.stem), saved.facts.get("absent") == "token"
    colours = tuple(zip(("red", "green", "blue"), saved.windows, strict=False))
    return rendered(_PAGE, name=name, alone=alone, notice=NOT_A_DEVICE, saved=saved, places=_PLACES, colours=colours)
