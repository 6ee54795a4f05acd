"""The report's own small script: values under the pointer, hospitals to toggle, tables to sort.

Everything is readable without it: it only adds. It loads nothing, keeps nothing and sends nothing; the page's content
security policy allows this one script, by its hash, and no connection at all.
"""

import base64
import hashlib

SCRIPT = r"""
"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

  // Tables: a button in each heading of a sortable column.
  const number = (text) => {
    const found = text.replace(/[\u2009\u202f ](?=\d{3}\b)/g, "").replace("\u2212", "-").match(/-?\d+(\.\d+)?/);
    return found ? Number(found[0]) : null;
  };
  const compare = (one, other, numeric) => {
    if (!numeric) return one.localeCompare(other);
    const [a, b] = [number(one), number(other)];
    return a === null || b === null ? (a === null) - (b === null) : a - b;
  };
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    const headings = all("thead tr:last-child > *", table);
    headings.forEach((heading, column) => {
      if (heading.tagName !== "TH" || !heading.textContent.trim()) return;
      const button = make("button", { type: "button", className: "sort" });
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const text = (cell) => cell?.dataset.value ?? cell?.textContent.trim() ?? "";
        const texts = new Map(all(":scope > tr", body).map((row) => [row, text(row.cells[column])]));
        const empty = (words) => !words || words === "\u2013";
        const filled = [...texts.values()].filter((words) => !empty(words));
        const numeric = filled.length > 0 && filled.every((words) => /^[-+\u2212]?\d/.test(words));
        const wanted = heading.getAttribute("aria-sort") === (numeric ? "descending" : "ascending");
        const rising = numeric ? wanted : !wanted;
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
        const rows = [...texts.entries()].sort(([, one], [, other]) =>
          empty(one) - empty(other) || (rising ? 1 : -1) * compare(one, other, numeric));
        body.append(...rows.map(([row]) => row));
      });
    });
  }

  // Lines: the legend's entries become switches; of many hospitals one can be picked out.
  const charts = all("figure[data-chart]");
  for (const entry of all(".legend.switches li[data-series]")) {
    const button = make("button", { type: "button" });
    button.append(...entry.childNodes);
    button.setAttribute("aria-pressed", "true");
    entry.append(button);
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      for (const line of all(`[data-series="${entry.dataset.series}"]`, document)) {
        if (line.tagName === "g") line.classList.toggle("off", !shown);
      }
    });
  }
  const picker = document.getElementById("picked-hospital");
  if (picker) {
    picker.closest("p").hidden = false;
    picker.addEventListener("change", () => {
      for (const line of all("svg g.picked")) line.classList.remove("picked");
      if (!picker.value) return;
      for (const line of all(`svg g[data-name="${CSS.escape(picker.value)}"]`)) {
        line.classList.add("picked");
        line.parentNode.append(line); // drawn last, above the others
      }
    });
  }

  // Values under the pointer, and by arrow keys.
  const tip = make("div", { className: "tip", hidden: true });
  tip.setAttribute("role", "status");
  document.body.append(tip);
  const show = (lines, x, y) => {
    tip.replaceChildren(...lines.map((line, row) => make(row ? "div" : "strong", { textContent: line })));
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8)) + scrollX}px`;
    tip.style.top = `${Math.max(4, y - height - 10) + scrollY}px`;
  };
  const hide = () => { tip.hidden = true; };
  const data = JSON.parse(document.getElementById("chart-data")?.textContent ?? "null");
  for (const figure of charts) {
    const svg = figure.querySelector("svg");
    const { series, frame } = data[Number(figure.dataset.chart)];
    const rounds = series.length ? series[0].values.length : 0;
    if (!rounds) continue;
    const cursor = svg.querySelector("line.grid").cloneNode(); // an SVG element, without naming its namespace's address
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", frame.top);
    cursor.setAttribute("y2", frame.bottom);
    svg.append(cursor);
    let round = rounds - 1;
    const tell = () => {
      const place = frame.left + (frame.right - frame.left) * (data.rounds[round] / frame.last);
      cursor.setAttribute("x1", place);
      cursor.setAttribute("x2", place);
      cursor.classList.add("on");
      const box = svg.getBoundingClientRect();
      const shown = series.filter((line) => {
        const drawn = svg.querySelector(`g[data-series="${line.key}"][data-name="${CSS.escape(line.name)}"]`);
        return drawn && !drawn.classList.contains("off") && (!line.faint || drawn.classList.contains("picked"));
      });
      const value = (line) => line.values[round] === null ? "\u2013" : line.values[round].toFixed(3);
      const lines = shown.reverse().map((line) => `${line.name}: ${value(line)}`);
      show([`Round ${data.rounds[round]}`, ...lines], box.left + box.width * place / frame.width, box.top + 30);
    };
    const away = () => { cursor.classList.remove("on"); hide(); };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * frame.width;
      const at = (x - frame.left) / (frame.right - frame.left) * frame.last;
      round = data.rounds.reduce((best, each, row) =>
        Math.abs(each - at) < Math.abs(data.rounds[best] - at) ? row : best, 0);
      tell();
    });
    svg.addEventListener("pointerleave", away);
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("focus", tell);
    svg.addEventListener("blur", away);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -rounds, End: rounds }[event.key];
      if (event.key === "Escape") away();
      if (step === undefined) return;
      round = Math.max(0, Math.min(rounds - 1, round + step));
      event.preventDefault();
      tell();
    });
  }

  // ROC curves: sensitivity and specificity of the point below the pointer.
  for (const svg of all("svg.roc[data-curve]")) {
    const path = svg.querySelector("path.line");
    const points = (path?.getAttribute("d").match(/[\d.]+ [\d.]+/g) ?? []).map((pair) => pair.split(" ").map(Number));
    if (!points.length) continue;
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const [x, y] = [(event.clientX - box.left) / box.width * 102, (event.clientY - box.top) / box.height * 102];
      const far = ([px, py]) => (px - x) ** 2 + (py - y) ** 2;
      const [px, py] = points.reduce((best, each) => far(each) < far(best) ? each : best);
      show([svg.dataset.curve, `sensitivity ${((101 - py) / 100).toFixed(2)}`,
        `specificity ${(1 - (px - 1) / 100).toFixed(2)}`], event.clientX, event.clientY);
    });
    svg.addEventListener("pointerleave", hide);
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // Folded parts: all at once, and the one that a link leads to.
  const folds = all("details.fold");
  if (folds.length) {
    const button = make("button", { type: "button", className: "unfold", textContent: "Open everything" });
    folds[0].before(button);
    button.addEventListener("click", () => {
      const open = button.textContent === "Open everything";
      folds.forEach((fold) => { fold.open = open; });
      button.textContent = open ? "Close everything" : "Open everything";
    });
    const reach = () => {
      const fold = location.hash && document.getElementById(location.hash.slice(1))?.closest("details");
      if (fold) fold.open = true;
    };
    addEventListener("hashchange", reach);
    reach();
  }

  // On paper nothing is folded but the longest tables, unless a reader has unfolded them.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open], .bulky)");
    folded.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
})();
"""

SCRIPT_SHA256 = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
"""For the page's content security policy: any other script, and a changed one, is not run."""
