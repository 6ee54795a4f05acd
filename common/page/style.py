"""The style sheet: one column on a telephone, two on a laptop, black on white in print, light or dark as set.

Text has a contrast of at least 4.5 to 1 and lines of at least 3 to 1 against the page, in both schemes.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f5f7f9; --ink: #17212b; --soft: #51606e; --rule: #d4dbe2; --grid: #e3e8ed;
  --accent: #0b5c9e; --grave: #a32117; --grave-panel: #fdf1ef; --mark: #0b7a55; --heat: 11, 92, 158;
  --site0: #0b63b5; --site1: #b84a00; --site2: #00775a; --site3: #8a3a8f; --site4: #7a6200; --site5: #b02a5b;
  --band0: #f3f6f9; --band1: #e6ecf2;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #12181f; --panel: #1b232c; --ink: #e6ebf0; --soft: #a3b1be; --rule: #35424e; --grid: #2a3540;
    --accent: #6fb5f0; --grave: #ff9c8f; --grave-panel: #33201f; --mark: #57cfa2; --heat: 111, 181, 240;
    --site0: #6db3f2; --site1: #f2965f; --site2: #4fc9a4; --site3: #d39ad9; --site4: #d6ba55; --site5: #f590b4;
    --band0: #18202a; --band1: #212c37;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main, header, footer { max-width: 70rem; margin: 0 auto; padding: 0 1.25rem; overflow-wrap: break-word; }
header { padding-top: 1.75rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 {
  font-size: 1.3rem; line-height: 1.3; margin: 2.75rem 0 .5rem;
  padding-top: .75rem; border-top: 1px solid var(--rule);
}
h3 { font-size: 1.02rem; margin: 1.75rem 0 .4rem; }
p { margin: .4rem 0 .7rem; max-width: 46rem; }
a { color: var(--accent); }
.kicker { margin: 0 0 .2rem; color: var(--soft); font-size: .85rem; letter-spacing: .02em; }
.facts {
  display: flex; flex-wrap: wrap; gap: .1rem 1.4rem;
  margin: .5rem 0 0; color: var(--soft); font-size: .88rem;
}
.facts div { display: flex; gap: .35rem; }
.facts dt::after { content: ":"; }
.facts dd { margin: 0; color: var(--ink); }
.answer { font-size: 1.06rem; margin-top: 1.1rem; }
.answer p { max-width: none; margin: .3rem 0 .5rem; }
.questions { display: grid; grid-template-columns: 9.5rem 1fr; gap: .7rem 1.4rem; margin: 1.2rem 0 0; }
.questions > dt { font-weight: 600; } .questions > dd { margin: 0; }
.limits { margin: 0; padding: 0; list-style: none; } .limits li { margin: 0 0 .3rem; }
.limits .grave { background: var(--grave-panel); padding: .25rem .6rem; border-radius: 3px; }
.limits .grave strong { color: var(--grave); }
h2.plain { border: 0; margin-top: 1.4rem; padding-top: 0; }
details.fold { border-top: 1px solid var(--rule); margin: 0; padding: .55rem 0; }
details.fold h2 { display: inline; border: 0; margin: 0; padding: 0; font-size: 1.15rem; }
details.fold > summary { padding: .15rem 0; } .fold > summary .small { margin-left: .5rem; }
.cards {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .8rem;
  margin: 0 0 .6rem; padding: 0;
}
.card { background: var(--panel); border: 1px solid var(--rule); border-radius: 6px; padding: .75rem .95rem .8rem; }
.card dt { font-size: .9rem; color: var(--soft); }
.card dd { margin: 0; }
.card .value { font-size: 2rem; line-height: 1.2; font-weight: 600; }
.card .range { font-weight: 600; }
.card .note { font-size: .88rem; color: var(--soft); }
.wide { overflow-x: auto; margin: .6rem 0 .4rem; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.35; min-width: min(26rem, 100%); }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; max-width: min(46rem, 100vw - 2.5rem); }
th, td { padding: .32rem .34rem; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { font-weight: 600; }
thead th { vertical-align: bottom; border-bottom: 1px solid var(--soft); }
thead th.group { text-align: center; border-bottom: 1px solid var(--rule); }
th[scope="row"], th.left, td.left { text-align: left; }
th[scope="row"] { font-weight: 500; }
td.text, th.text { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 11rem; }
th.site, td.site { white-space: normal; overflow-wrap: anywhere; min-width: 7rem; max-width: 18rem; }
tbody.means tr:first-child > *, tr.central > * { border-top: 2px solid var(--soft); }
tbody.means th, tbody.means td, tr.central th { font-weight: 600; }
tr.best > * { background: var(--panel); font-weight: 600; }
.over { color: var(--soft); font-weight: 400; font-size: .82em; }
.few { color: var(--soft); }
.striking { font-weight: 700; color: var(--grave); }
.small { font-size: .88rem; color: var(--soft); }
ul.small { padding-left: 1.1rem; margin: .3rem 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(23rem, 100%), 1fr)); gap: 1.1rem 1.5rem; }
.charts > figure { max-width: 36rem; }
figure { margin: 0; break-inside: avoid; }
figcaption { font-weight: 600; font-size: .92rem; margin-bottom: .15rem; }
.legend {
  display: flex; flex-wrap: wrap; gap: .25rem 1.3rem; margin: .6rem 0 .9rem;
  padding: 0; list-style: none; font-size: .92rem;
}
.legend li { display: flex; align-items: center; gap: .45rem; max-width: 100%; overflow-wrap: anywhere; }
svg { display: block; overflow: visible; }
svg.plot { width: 100%; height: auto; }
svg.sample { width: 2.3rem; height: .8rem; flex: none; }
svg.bar { width: 7rem; height: 1rem; display: inline-block; vertical-align: middle; }
svg.roc { width: 100%; height: auto; }
svg text { fill: var(--soft); font-family: inherit; font-size: 12px; }
svg .grid { stroke: var(--grid); stroke-width: 1; fill: none; }
svg .frame { stroke: var(--rule); fill: none; }
svg .band0 { fill: var(--band0); } svg .band1 { fill: var(--band1); }
svg .reference { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; fill: none; }
svg .mark { stroke: var(--mark); stroke-width: 1.5; stroke-dasharray: 5 3; }
svg .whisker { stroke: var(--accent); stroke-width: 7; opacity: .4; }
svg .point { stroke: var(--accent); stroke-width: 2.5; }
svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
svg .central { stroke: var(--ink); stroke-width: 3; } svg .accent { stroke: var(--accent); }
svg .faint { stroke: var(--soft); stroke-width: 1; opacity: .4; }
svg .median { stroke: var(--site0); stroke-width: 2.4; stroke-dasharray: 7 3; }
svg .site0 { stroke: var(--site0); } svg .site1 { stroke: var(--site1); stroke-dasharray: 7 3; }
svg .site2 { stroke: var(--site2); stroke-dasharray: 2 2.5; }
svg .site3 { stroke: var(--site3); stroke-dasharray: 9 3 2 3; }
svg .site4 { stroke: var(--site4); stroke-dasharray: 4 4; }
svg .site5 { stroke: var(--site5); stroke-dasharray: 12 3; }
svg .dot { stroke: none; } svg .dot.central { fill: var(--ink); }
svg .dot.accent { fill: var(--accent); } svg .dot.median { fill: var(--site0); }
svg .dot.site0 { fill: var(--site0); } svg .dot.site1 { fill: var(--site1); } svg .dot.site2 { fill: var(--site2); }
svg .dot.site3 { fill: var(--site3); } svg .dot.site4 { fill: var(--site4); } svg .dot.site5 { fill: var(--site5); }
svg .dot.faint { fill: var(--soft); }
svg .dot.hollow { fill: var(--page); stroke: var(--accent); stroke-width: 1.6; }
svg .heat { fill: rgb(var(--heat)); }
svg.matrix { width: 100%; max-width: 34rem; height: auto; } svg .value { fill: var(--ink); }
.examples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 1.1rem 1.5rem; }
.examples img { width: 49%; max-width: 224px; height: auto; background: #000; vertical-align: bottom; }
.examples figcaption { font-weight: 400; margin-top: .2rem; } .examples .wrong strong { color: var(--grave); }
.squares { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: 1rem; margin: .6rem 0; }
.squares figcaption { font-weight: 500; font-size: .86rem; line-height: 1.3; overflow-wrap: anywhere; }
td.heat { background: rgba(var(--heat), calc(var(--share) * .42)); text-align: center; min-width: 4.6rem; }
table.map td { text-align: center; } table.map thead th { white-space: normal; overflow-wrap: break-word; }
table.map thead th:not(:first-child) { text-align: center; min-width: 4.4rem; }
td.heat.diagonal { outline: 1px solid var(--soft); outline-offset: -2px; }
td.heat small { display: block; color: var(--ink); }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; text-align: inherit; }
:is(a, button, select, summary, svg[tabindex]):focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: .5rem; top: .5rem; }
.sort:hover, .unfold { text-decoration: underline; } .unfold { color: var(--accent); margin: 1.6rem 0 .8rem; }
th[aria-sort="ascending"] .sort::after { content: " \\25B2"; font-size: .7em; }
th[aria-sort="descending"] .sort::after { content: " \\25BC"; font-size: .7em; }
.legend button { display: flex; align-items: center; gap: .45rem; border-radius: 4px; padding: 0 .25rem; }
.legend button:hover { background: var(--panel); }
.legend button[aria-pressed="false"] { opacity: .75; text-decoration: line-through; }
select { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--soft); border-radius: 4px; }
svg g.off { display: none; }
svg g.picked .line { stroke: var(--mark); stroke-width: 3; opacity: 1; }
svg .cursor { stroke: var(--soft); stroke-width: 1; visibility: hidden; } svg .cursor.on { visibility: visible; }
.tip {
  position: absolute; z-index: 2; pointer-events: none; max-width: 22rem; padding: .35rem .6rem; border-radius: 4px;
  background: var(--panel); color: var(--ink); border: 1px solid var(--soft); font-size: .82rem; line-height: 1.35;
}
details { margin: .7rem 0; }
summary { cursor: pointer; }
pre {
  background: var(--panel); border: 1px solid var(--rule); border-radius: 4px; padding: .8rem 1rem;
  overflow-x: auto; font-size: .8rem; line-height: 1.45; white-space: pre-wrap; overflow-wrap: anywhere;
}
.glossary { display: grid; grid-template-columns: minmax(9rem, 14rem) 1fr; gap: .3rem 1.2rem; font-size: .94rem; }
.glossary dt { font-weight: 600; } .glossary dd { margin: 0; max-width: 46rem; }
footer { color: var(--soft); font-size: .85rem; padding-top: 2rem; padding-bottom: 2.5rem; }
@media (max-width: 40rem) {
  .glossary, .questions { display: block; } .questions > dt { margin-top: .9rem; } .glossary dd { margin: 0 0 .6rem; }
  h1 { font-size: 1.45rem; }
}
@media print {
  :root { --ink: #000000; --soft: #44505c; --rule: #c4ccd4; --grid: #dfe4e9; }
  @page { margin: 14mm 13mm; }
  html { font-size: 12.5px; }
  body { font-size: 1rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main, header, footer { max-width: none; padding-left: 0; padding-right: 0; }
  .tip, .skip, .unfold, svg .cursor, p:has(> select) { display: none; }
  .cards { grid-template-columns: repeat(3, 1fr); }
  .charts { grid-template-columns: 1fr 1fr; }
  .examples { grid-template-columns: repeat(3, 1fr); gap: .6rem 1rem; }
  .squares { grid-template-columns: repeat(6, 1fr); gap: .6rem; }
  .wide { overflow: visible; } .keep, .legend { break-inside: avoid; }
  .card .range { font-size: .92rem; }
  table { font-size: .84rem; } th, td { padding: .18rem .4rem; white-space: normal; }
  svg.bar { width: 5rem; }
  h2, h3, summary { break-after: avoid; }
  tr, .card, li, caption, .wide:not(:has(tr:nth-child(16))) { break-inside: avoid; }
  thead { display: table-header-group; }
  thead { break-inside: avoid; break-after: avoid; }
  details.page { break-before: page; break-after: page; } /* a page by itself */
  main:has(#privacy:target) > :not(:has(#privacy)) { display: none; } /* and of report.html#privacy the only one */
  details.page:has(:target) { break-before: auto; break-after: auto; }
  html:has(#privacy:target) { font-size: 10.5px; } html:has(#privacy:target) footer { margin-top: 0; }
  details:not(.bulky)::details-content { content-visibility: visible; height: auto; }
}
"""
