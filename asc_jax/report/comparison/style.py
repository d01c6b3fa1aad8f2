"""What the page of several runs adds to the style sheet of the page of one."""

STYLE = """
:root { --c0: #1d1c1a; --c1: #0a6fb0; --c2: #c4510a; --c3: #0b8a63; --c4: #a8428a; --c5: #9a7400;
  --c6: #5b57c2; --c7: #7d6a5c; --better: #14639c; --worse: #b4551a; }
@media (prefers-color-scheme: dark) { :root { --c0: #f2efe9; --c1: #63b3ec; --c2: #f08a4b;
  --c3: #4cc79c; --c4: #df8cc6; --c5: #d9b43c; --c6: #a5a1f5; --c7: #b8a696;
  --better: #7cb9e8; --worse: #eb965c; } }
@media print { :root { --c0: #000; --c1: #0a6fb0; --c2: #c4510a; --c3: #0b8a63; --c4: #a8428a;
  --c5: #9a7400; --c6: #5b57c2; --c7: #7d6a5c; --better: #14639c; --worse: #b4551a; } }
main { max-width: 62rem; }
.verdict { font-size: 1.2rem; line-height: 1.5; max-width: 44rem; margin: 1.6rem 0 .4rem;
  padding: 0; list-style: none; }
.verdict li { margin: .3em 0; padding-left: 1.5em; text-indent: -1.5em; }
.verdict b { display: inline-block; width: 1.5em; text-indent: 0; font-weight: 600; }
.better b, b.better { color: var(--better); } .worse b, b.worse { color: var(--worse); }
.field { display: inline-block; max-width: 100%; text-indent: 0; }
th small { color: var(--muted); white-space: nowrap; }
th code, dd code, td code { font: .92em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }

.forest { table-layout: fixed; }
.forest th, .forest td { border: 0 !important; padding-top: 0; padding-bottom: 0; }
.forest thead th { padding-bottom: .4rem; }
.forest thead th:first-child { width: 25%; } .forest thead th:nth-child(3) { width: 11.5rem; }
.forest thead th:nth-child(4) { width: 5.6rem; text-align: left; padding-left: 1rem; }
.forest .ends { text-align: left; } .forest .ends span:last-child { float: right; }
.forest th:first-child { line-height: 1.2; }
.forest .plot { padding-left: .6rem; padding-right: .6rem; overflow: hidden; }
.forest tfoot .plot { overflow: visible; }
.forest svg { display: block; width: 100%; overflow: visible; }
.forest td.value { white-space: nowrap; } .forest td.p { text-align: left; padding-left: 1rem;
  white-space: nowrap; color: var(--muted); }
.forest line.grid { stroke: var(--track); } .forest line.zero { stroke: var(--muted); }
.forest circle { fill: var(--muted); }
.forest .missed { fill: var(--track); }
.forest .whisker { stroke: var(--ink); stroke-width: 1.5; }
.forest .square { fill: var(--paper); stroke: var(--ink); stroke-width: 1.5; }
.forest .better .whisker { stroke: var(--better); }
.forest .worse .whisker { stroke: var(--worse); }
.forest .better .square { fill: var(--better); stroke: var(--better); }
.forest .worse .square { fill: var(--worse); stroke: var(--worse); }
.forest .better .value, .forest .worse .value { font-weight: 600; }
.forest .interval { font-weight: 400; }
.forest text { fill: var(--muted); font-size: 11px; text-anchor: middle; }

th { overflow-wrap: break-word !important; }
.stack th:first-child { min-width: 11rem; }
.scores td { white-space: nowrap; } .scores .reference > * { background: var(--track); }
.shift { --cell: clamp(2.4rem, (100vw - 15rem) / var(--k), 3.6rem); width: auto;
  border-collapse: separate; border-spacing: 1px; font-size: .8rem; }
.shift th, .shift td { border: 0 !important; }
.shift thead th { padding: 0 0 .35rem; height: 1px; }
.shift thead span { display: inline-block; writing-mode: vertical-rl; rotate: 180deg;
  white-space: nowrap; vertical-align: bottom; text-align: left; width: var(--cell);
  line-height: var(--cell); min-height: 1.2rem; }
.shift tbody th { width: 13rem; max-width: 13rem; min-width: 7rem; padding: 0 .6rem 0 0;
  line-height: 1.2; position: sticky; left: 0; background: var(--paper); }
.shift tbody td { width: var(--cell); min-width: var(--cell); height: 2.1rem; padding: 0 !important;
  text-align: center; box-shadow: inset 0 0 0 1px var(--track);
  background: rgb(var(--blue) / var(--s)); }
.shift td.down { background: color-mix(in srgb, var(--worse) calc(100% * var(--s)), transparent); }
.shift td.up { background: color-mix(in srgb, var(--better) calc(100% * var(--s)), transparent); }
.shift .reference td { background: var(--track); font-weight: 600; }

.shift.flat thead span { writing-mode: horizontal-tb; rotate: none; text-align: center;
  line-height: 1.4; }
.cost td:not(:last-child), .verdict .interval { white-space: nowrap; }

.multiples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr));
  gap: 1.8rem 1.6rem; margin-top: 1.2rem; align-items: end; }
.multiples svg { display: block; width: 100%; height: auto; }
.multiples figcaption { font-size: .825rem; line-height: 1.35; margin-bottom: .4rem;
  overflow-wrap: break-word; }
.multiples figcaption small { display: block; color: var(--muted); font-size: .78rem; }
.matrix { shape-rendering: crispEdges; } .matrix .frame { fill: none; stroke: var(--rule); }
.matrix text { fill: var(--muted); font-size: 5.6px; text-anchor: middle;
  dominant-baseline: central; }
.matrix .share { fill: rgb(var(--blue)); } .matrix .up { fill: var(--c1); }
.matrix .down { fill: var(--worse); }
.matrix .diagonal { stroke: var(--muted); stroke-width: .35; fill: none; }
.key { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; color: var(--muted); font-size: .825rem;
  margin: 1rem 0 0; padding: 0; list-style: none; }
.diagram text { fill: var(--muted); font-size: 9px; } .diagram .x { text-anchor: middle; }
.diagram .y { text-anchor: end; } .diagram .ideal { stroke: var(--muted); stroke-dasharray: 2 2; }
.diagram .frame { fill: none; stroke: var(--rule); } .diagram .clips { fill: var(--track); }
.diagram .line { fill: none; stroke: rgb(var(--blue)); stroke-width: 1.6; }
.diagram .dot { fill: rgb(var(--blue)); } .diagram .gap { stroke: var(--worse); stroke-width: 3;
  opacity: .35; }

.chart .c0 { --stroke: var(--c0); } .chart .c1 { --stroke: var(--c1); }
.chart .c2 { --stroke: var(--c2); } .chart .c3 { --stroke: var(--c3); }
.chart .c4 { --stroke: var(--c4); } .chart .c5 { --stroke: var(--c5); }
.chart .c6 { --stroke: var(--c6); } .chart .c7 { --stroke: var(--c7); }
.chart .dashed path.mean, .chart path.mean.dashed { stroke-dasharray: 5 3; }
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1.4rem; font-size: .85rem; list-style: none;
  padding: 0; margin: 1rem 0 0; }
.legend li::before { content: ""; display: inline-block; width: 1.4em; height: 3px;
  border-radius: 2px; vertical-align: .22em; margin-right: .5em; background: var(--stroke); }
.legend .dashed::before { background: repeating-linear-gradient(90deg, var(--stroke) 0 5px,
  transparent 5px 8px); }
.legend .c0 { --stroke: var(--c0); } .legend .c1 { --stroke: var(--c1); }
.legend .c2 { --stroke: var(--c2); } .legend .c3 { --stroke: var(--c3); }
.legend .c4 { --stroke: var(--c4); } .legend .c5 { --stroke: var(--c5); }
.legend .c6 { --stroke: var(--c6); } .legend .c7 { --stroke: var(--c7); }
.settings td { text-align: left !important; } .settings th:first-child { width: 26%; }
.settings thead th { text-align: left !important; }
.settings td { overflow-wrap: anywhere; vertical-align: top; }
.settings th { vertical-align: top; }

@media (max-width: 40rem) {
  .verdict { font-size: 1.05rem; }
  .forest, .forest tbody, .forest tfoot, .forest tfoot tr { display: block; }
  .forest thead th:not(.ends) { display: none; }
  .forest thead, .forest thead tr, .forest .ends { display: block; width: auto !important; }
  .forest tbody tr { display: grid; grid-template-columns: 1fr auto; padding: .5rem 0 0; }
  .forest tbody th { grid-column: 1 / 3; padding: 0 0 .2rem; overflow-wrap: anywhere; }
  .forest tbody .plot { grid-column: 1 / 3; padding: 0; }
  .forest tbody td.value { text-align: left; padding: 0; } .forest td.p { padding: 0; }
  .forest td .interval { display: inline; margin-left: .35em; }
  .forest tfoot td { display: none; } .forest tfoot td.plot { display: block; padding: 0; }
  .stack, .stack tbody, .stack tr { display: block; } .stack thead { display: none; }
  .stack tr { padding: .7rem 0; } .stack tr + tr { border-top: 1px solid var(--rule); }
  .stack tbody tr > * { border: 0 !important; background: none !important; }
  .stack th:first-child { display: block; width: auto; min-width: 0; font-weight: 600;
    padding: 0 0 .2rem; }
  .stack td { display: flex; justify-content: space-between; gap: 1rem; padding: .12rem 0;
    white-space: normal; text-align: right; }
  .stack td::before { content: attr(data-name); color: var(--muted); text-align: left; }
  .stack td .interval { display: inline; margin-left: .35em; }
  .stack td:has(span:empty) { display: none; }
  .settings.stack td { display: block; text-align: left; }
  .settings.stack td::before { display: block; }
  .shift { --cell: clamp(2.7rem, (100vw - 10rem) / var(--k), 3.6rem); }
  .shift tbody th { width: 7.4rem; max-width: 7.4rem; font-size: .75rem; }
  .multiples { grid-template-columns: repeat(auto-fill, minmax(min(9.4rem, 100%), 1fr));
    gap: 1.2rem; }
}
@media print { .multiples { grid-template-columns: repeat(4, 1fr); } .shift { --cell: 2.4rem; }
  .multiples figure, .forest tr { break-inside: avoid; } }
"""
