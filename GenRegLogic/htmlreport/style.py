"""The page's style sheet, for screens and for A4 or US Letter paper."""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light; --ink: #1b2228; --soft: #59656f; --line: #d5dbe0; --pale: #f4f6f8; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px; max-width: 1080px; background: #fff; color: var(--ink);
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
h1 { font-size: 1.6em; margin: 0; }
h2 { font-size: 1.15em; margin: 1.8em 0 .5em; padding-bottom: .2em; border-bottom: 2px solid var(--line); }
h3 { font-size: 1em; margin: 1.1em 0 .4em; }
p { margin: .4em 0; }
header p, .soft, .hint { color: var(--soft); }
.hint { font-size: .9em; max-width: 80ch; }
.verdict { margin: 1em 0; padding: .7em 1em; border: 1px solid var(--line); border-left: 10px solid;
  border-radius: 4px; background: var(--pale); }
.verdict h2 { margin: 0 0 .3em; border: 0; padding: 0; font-size: 1.25em; }
.verdict ul { margin: .2em 0; padding-left: 1.3em; }
.verdict svg { width: 1.05em; height: 1.05em; margin-right: .45em; vertical-align: -.14em; }
.trustworthy { border-left-color: #1a7f4b; } .trustworthy h2 { color: #14633a; }
.check { border-left-color: #c77700; } .check h2 { color: #8a5200; }
.failed { border-left-color: #c0271f; } .failed h2 { color: #a01d16; }
.unjudged { border-left-color: #7a868f; }
table { border-collapse: collapse; width: 100%; margin: .3em 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3em 0; }
th, td { text-align: left; vertical-align: top; padding: .28em .8em .28em 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; font-size: .9em; }
tbody th { font-weight: 600; white-space: nowrap; }
td.reading { color: var(--soft); font-size: .9em; }
.triple { display: grid; grid-template-columns: 1.1fr 1.1fr 1.2fr; gap: 0 28px; align-items: start; }
.triple { font-size: .9em; } .triple tbody th { font-weight: 500; white-space: normal; }
.figures th:first-child { width: 23%; }
.figures th:nth-child(2) { width: 14%; } .figures th:nth-child(3) { width: 23%; }
.row { display: grid; grid-template-columns: repeat(4, 1fr); gap: 6px; margin-bottom: 6px; }
.eight figcaption { min-height: 2.75em; }
.row.eight { grid-template-columns: repeat(8, 1fr); }
.row.two { grid-template-columns: repeat(2, 1fr); }
.row.one { grid-template-columns: 1fr; }
.row.large { grid-template-columns: 2fr 2fr 1fr; }
.pile { display: flex; flex-direction: column; gap: 6px; min-width: 0; } .pile figure { flex: 1; }
figure { margin: 0; min-width: 0; display: flex; flex-direction: column; }
figcaption { font-size: .82em; line-height: 1.25; color: var(--soft); padding: .15em 0 .2em; }
.picture { position: relative; background: #000; display: flex; flex-direction: column; align-items: center;
  flex: 1; min-height: 4.2em; padding-bottom: 2px; overflow: hidden; }
.hug { display: grid; width: calc(2.4em + (100% - 2.4em) * var(--share)); align-items: center; justify-items: center;
  grid-template: 1.35em auto 1.35em auto / 1.2em minmax(0, 1fr) 1.2em; color: #ffe48a;
  font: 600 .72em/1 system-ui, Arial, sans-serif; }
.hug img { grid-area: 2 / 2; display: block; width: 100%; height: auto; }
.hug .w { grid-area: 2 / 1; } .hug .e { grid-area: 2 / 3; } .hug .n { grid-area: 1 / 2; } .hug .s { grid-area: 3 / 2; }
.bar { grid-area: 4 / 2; width: 100%; color: #fff; white-space: nowrap; padding-bottom: .3em; }
.bar i { display: inline-block; height: .45em; border: 1px solid #fff; border-top: 0; vertical-align: .1em; }
.none { position: absolute; inset: 0; display: flex; align-items: center; justify-content: center; color: #fff;
  line-height: 1.3; padding: 0 8%; text-align: center; font-size: .8em; }
.place { display: grid; grid-template-columns: 1.15fr 4fr; gap: 14px; align-items: center; padding: .5em 0;
  border-bottom: 1px solid var(--line); break-inside: avoid; }
.place h3 { margin: 0 0 .2em; } .place .row { margin: 0; } .place p { font-size: .9em; }
.scale { display: inline-block; width: 9em; height: .8em; vertical-align: -.05em; border: 1px solid var(--line); }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; vertical-align: -.06em; margin: 0 .15em; }
.plot { width: 100%; max-width: 820px; height: auto; display: block; }
.plot text { font: 11px system-ui, Arial, sans-serif; fill: var(--soft); }
.plot .rule { stroke: var(--line); } .plot .level { stroke: #9aa6af; stroke-dasharray: 4 3; }
.plot .curve { fill: none; stroke: #1f5fbf; stroke-width: 2; stroke-linejoin: round; }
footer { margin-top: 2em; padding-top: .6em; border-top: 2px solid var(--line); color: var(--soft); font-size: .88em; }
details { margin: .6em 0; color: var(--soft); font-size: .9em; } summary { cursor: pointer; }
.sign { display: none; }
@media (max-width: 640px) { .triple, .place { grid-template-columns: 1fr; }
  .row { grid-template-columns: 1fr 1fr; } .row.eight { grid-template-columns: repeat(4, 1fr); }
  .row.two, .row.large { grid-template-columns: 1fr; }
  tbody th { white-space: normal; } }
@page { margin: 11mm 12mm; }
@media print {
  body { padding: 0; max-width: none; font-size: 9.6pt; line-height: 1.35; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h2, h3 { break-after: avoid; }
  .keep, .plane, .verdict, table, figure, .row { break-inside: avoid; }
  .row { grid-template-columns: repeat(4, 1fr); } .row.eight { grid-template-columns: repeat(8, 1fr); }
  .row.two { grid-template-columns: repeat(2, 1fr); } .row.one { grid-template-columns: 1fr; }
  .row.large { grid-template-columns: 2fr 2fr 1fr; }
  .triple { grid-template-columns: 1.1fr 1.1fr 1.2fr; }
  .place { grid-template-columns: 1.5fr 4fr; padding: .3em 0; }
  .plot { max-width: 135mm; } .triple th, .triple td { padding-top: .12em; padding-bottom: .12em; }
  footer { margin-top: .8em; padding-top: .3em; }
  .hint { max-width: none; margin: .2em 0; } h2 { margin-top: 1.2em; }
  .newpage { break-before: page; }
  .sign { display: flex; gap: 2em; margin-top: 1.6em; color: var(--ink); break-inside: avoid; }
  .sign span { flex: 1; border-top: 1px solid var(--ink); padding-top: .2em; }
}
"""
