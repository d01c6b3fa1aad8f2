"""The style sheet of the report page."""

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
"""
STYLE = """
:root { color-scheme: light dark;
  --paper: #fdfcfa; --ink: #1d1c1a; --muted: #6b6862; --rule: #e5e1d9; --track: #efece5;
  --blue: 26 78 122; --warm: #a8642a; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #161718; --ink: #e7e4de; --muted: #9f9b94; --rule: #323335; --track: #242628;
  --blue: 124 178 220; --warm: #dda066; } }
@media print { :root { color-scheme: light;
  --paper: #fff; --ink: #000; --muted: #555; --rule: #ccc; --track: #eee;
  --blue: 26 78 122; --warm: #a8642a; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
    sans-serif; font-variant-numeric: lining-nums tabular-nums; }
main { max-width: 50rem; margin: 0 auto; padding: clamp(2rem, 7vw, 5rem) 1.25rem 4rem; }
a { color: rgb(var(--blue)); text-underline-offset: .2em; text-decoration-thickness: 1px; }
p { margin: .6em 0; max-width: 40rem; text-wrap: pretty; overflow-wrap: break-word; }
h1, h2 { font-family: ui-serif, Charter, "Iowan Old Style", Cambria, Georgia,
  "Liberation Serif", serif; font-weight: 500; line-height: 1.15; text-wrap: balance;
  overflow-wrap: anywhere; }
h1 { font-size: clamp(2rem, 6vw, 3rem); letter-spacing: -.015em; margin: .2em 0 .3em; }
h2 { font-size: 1.7rem; margin: 0 0 .3em; }
h3 { font-size: 1rem; font-weight: 600; margin: 2.4em 0 .7em; }
section { margin-top: 3.5rem; padding-top: 2.2rem; border-top: 1px solid var(--rule); }
.muted, .kicker, .interval, nav, footer { color: var(--muted); }
.kicker { font-size: .85rem; letter-spacing: .02em; margin: 0; }
.note { color: var(--muted); font-size: .875rem; }
.origin span { display: inline-block; max-width: 100%; }
nav { font-size: .9rem; display: flex; flex-wrap: wrap; gap: .2rem 1.3rem; margin-top: 1.4rem; }

.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr));
  gap: 2rem 3.5rem; margin-top: 2.75rem; }
.headline > div { max-width: 24rem; }
.headline .number { font-size: 3.6rem; line-height: 1.1; font-weight: 300; margin: .05em 0 .1em;
  letter-spacing: -.03em; }
.headline .number small { font-size: .45em; letter-spacing: 0; color: var(--muted); }
.headline .bar { margin: .3rem 0 .6rem; }
.headline p { font-size: .9rem; margin: .15em 0; }

.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .925rem; line-height: 1.4; }
th { text-align: left; font-weight: 400; }
td, thead th:not(:first-child) { text-align: right; }
thead th { color: var(--muted); font-size: .825rem; vertical-align: bottom; }
th, td { padding: .42rem .55rem; }
th:first-child, td:first-child { padding-left: 0; overflow-wrap: anywhere; min-width: 5rem; }
th:last-child, td:last-child { padding-right: 0; }
thead th, tbody tr + tr > * { border-bottom: 0; }
thead th { border-bottom: 1px solid var(--rule); }
tbody tr + tr > * { border-top: 1px solid var(--track); }
tfoot > tr > * { border-top: 1px solid var(--rule); }
.interval { font-size: .85em; white-space: nowrap; margin-left: .35em; }
.systems tbody tr:first-child { font-weight: 600; }
.systems tbody tr:first-child th { font-weight: 600; }
.systems .interval { font-weight: 400; }

.bars td, .bars th { border: 0 !important; padding-top: .26rem; padding-bottom: .26rem; }
.bars th:first-child { width: 26%; }
.bars td:nth-child(2) { width: 3.5rem; color: var(--muted); }
.bars td:nth-child(3) { padding-left: 1rem; }
.bars td:nth-child(4) { width: 9.5rem; white-space: nowrap; }
.bars thead th { padding-bottom: .5rem; }
.bar { position: relative; height: .8rem; border-radius: 2px; overflow: hidden;
  background: linear-gradient(var(--rule), var(--rule)) 50% 0 / 1px 100% no-repeat, var(--track); }
.bar i { position: absolute; inset: 0 auto 0 0; background: rgb(var(--blue) / .55); }
.bar b { position: absolute; top: 20%; bottom: 20%; border: solid var(--ink);
  border-width: 0 1.5px; }
.bar b::after { content: ""; position: absolute; left: 0; right: 0; top: calc(50% - .75px);
  border-top: 1.5px solid var(--ink); }

.confusion { --cell: clamp(1.5rem, (100vw - 8.6rem) / var(--k), 3.1rem); width: auto;
  border-collapse: separate; border-spacing: 1px; font-size: clamp(.625rem, 1.9vw, .8rem); }
.confusion th, .confusion td { border: 0 !important; }
.confusion thead th { padding: 0 0 .35rem; height: 1px; }
.confusion thead span { display: inline-block; writing-mode: vertical-rl; rotate: 180deg;
  white-space: nowrap; max-height: 10rem; overflow: hidden; text-overflow: ellipsis;
  vertical-align: bottom; text-align: left; width: var(--cell); line-height: var(--cell); }
.confusion tbody th { width: 9rem; max-width: 9rem; min-width: 5rem; padding: 0 .5rem 0 0;
  line-height: 1.15; text-align: right; color: var(--muted); }
.confusion tbody th, .confusion .corner { position: sticky; left: 0; background: var(--paper); }
.confusion tbody td { width: var(--cell); min-width: var(--cell); height: var(--cell);
  padding: 0 !important; text-align: center; background: rgb(var(--blue) / var(--s)); }
.confusion tbody td { box-shadow: inset 0 0 0 1px var(--track); }
.confusion .deep { color: var(--paper); }
.confusion tbody .hit { font-weight: 700; box-shadow: inset 0 0 0 1.5px rgb(var(--blue)); }
.confusion .corner { color: var(--muted); vertical-align: bottom; text-align: right;
  padding: 0 .5rem .35rem 0; font-size: .95em; min-width: 5rem; }

.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr));
  gap: 2rem 2.5rem; margin-top: 1.5rem; }
figure { margin: 0; }
.chart > svg { display: block; width: 100%; height: auto; }
.chart figcaption { font-size: .875rem; margin-bottom: .5rem; }
.chart figcaption strong { font-weight: 600; margin-right: .8em; }
.chart span { color: var(--muted); white-space: nowrap; margin-right: .8em; }
.chart span::before { content: ""; display: inline-block; width: 1.1em; height: 3px;
  border-radius: 2px; vertical-align: .22em; margin-right: .4em; background: var(--stroke); }
.training { --stroke: var(--warm); } .validation { --stroke: rgb(var(--blue)); }
.chart path { fill: none; stroke: var(--stroke); stroke-linejoin: round; stroke-linecap: round; }
.chart path.fold { stroke-width: .9; opacity: .45; }
.chart path.mean { stroke-width: 2.2; }
.chart path.grid { stroke: var(--rule); stroke-width: 1; stroke-linecap: butt; }
.chart circle { fill: var(--paper); stroke: rgb(var(--blue)); stroke-width: 1.5; }
.chart text { fill: var(--muted); font-size: 11px; }
.chart text.x { text-anchor: middle; } .chart text.y { text-anchor: end; }

.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr));
  gap: 1.1rem 1.4rem; margin: 1.2rem 0; }
.facts dt { color: var(--muted); font-size: .825rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.files th:last-child, .files td:last-child { text-align: left !important; padding-left: 1.5rem;
  overflow-wrap: anywhere; }
.splits th:first-child { min-width: 3rem; }
.files th:first-child { min-width: 6.2rem; }
details { margin-top: 2rem; } summary { cursor: pointer; color: rgb(var(--blue)); }
details .scroll { margin-top: .8rem; }
footer { margin-top: 4rem; padding-top: 1.2rem; border-top: 1px solid var(--rule);
  font-size: .825rem; }
li { overflow-wrap: anywhere; margin: .25em 0; } ul { padding-left: 1.2em; }

@media (max-width: 36rem) {
  section { margin-top: 2.5rem; }
  th, td { padding-left: .3rem; padding-right: .3rem; }
  td .interval { display: block; margin: 0; }
  .bars th:first-child { width: 30%; }
  .bars th:nth-child(2), .bars td:nth-child(2) { display: none; }
  .bars td:nth-child(3) { padding-left: .3rem; }
  .bars td:nth-child(4) { width: 5.2rem; line-height: 1.2; }
  .confusion tbody th, .confusion .corner { width: 5.4rem; min-width: 5.4rem; max-width: 5.4rem; }
}
@media print {
  body { font-size: 10pt; } main { max-width: none; padding: 0; } nav { display: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  section { margin-top: 2rem; padding-top: 1.2rem; }
  figure, tr, h2, h3, .headline, .scroll, .facts { break-inside: avoid; }
  details:not([open]) { display: none; }
  tfoot { display: table-row-group; } /* or it stands at the foot of each page */
  h2, h3 { break-after: avoid; } .scroll { overflow: visible; }
  .confusion { --cell: min(2.4rem, 32rem / var(--k)); font-size: min(.8rem, var(--cell) * .42); }
}
"""
