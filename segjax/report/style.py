"""The style sheet of a report: light and dark, from a phone's width to a wide screen's."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #fbfaf7; --raised: #ffffff; --text: #1e2126; --muted: #63666b; --hairline: #e2dfd8;
  --edge: rgb(30 33 38 / 0.28);
  --grid: #e9e6df; --green: #0c7f78; --orange: #d1551b;
  --line-1: #0c7f78; --line-2: #b4501c; --line-3: #5a5fb0; --line-4: #8a6d00; --line-5: #a23b72;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #16181b; --raised: #1d2024; --text: #e7e5e0; --muted: #a09f9a; --hairline: #32363b;
    --edge: rgb(231 229 224 / 0.38);
    --grid: #2a2d32; --green: #3fb8ae; --orange: #f0803f;
    --line-1: #4cc3b9; --line-2: #f09a63; --line-3: #a3a7f0; --line-4: #d6b94a;
    --line-5: #e58ab6;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "Noto Sans",
  sans-serif;
  font-variant-numeric: tabular-nums lining-nums;
}
main { max-width: 1180px; margin: 0 auto; padding: 56px 24px 80px; }
h1, h2 { font-family: Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif;
  font-weight: 600;
  line-height: 1.2; letter-spacing: -0.01em; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: clamp(1.8rem, 5vw, 2.6rem); margin: 0 0 28px; }
h2 { font-size: 1.45rem; margin: 0 0 16px; }
h2:has(+ p.note) { margin-bottom: 4px; }
h3 { font-size: 1rem; font-weight: 600; margin: 0; overflow-wrap: anywhere; }
.kicker { margin: 0 0 6px; color: var(--muted); font-size: 0.9rem; }
section { margin-top: 56px; padding-top: 24px; border-top: 1px solid var(--hairline); }
p.note, figcaption { color: var(--muted); font-size: 0.9rem; line-height: 1.45; max-width: 68ch;
  text-wrap: pretty; overflow-wrap: anywhere; }
p.note { margin: 0 0 20px; }
figure { margin: 0; min-width: 0; }
figcaption { margin-top: 6px; }
figcaption b, .key { color: var(--text); font-weight: 600; }

.headline { display: flex; flex-wrap: wrap; gap: 20px 36px; margin: 0 0 24px;
  align-items: end; }
.headline div { flex: none; max-width: 100%; }
.headline div:not(.main) { min-width: 90px; max-width: 170px; }
.headline dt { color: var(--muted); font-size: 0.85rem; line-height: 1.3; }
.headline dd { margin: 2px 0 0; font-size: 1.6rem; line-height: 1.1; font-weight: 500;
  white-space: nowrap; }
.headline .main dd { font-size: 3.6rem; font-weight: 600; letter-spacing: -0.03em;
  line-height: 0.95; }
.unit { font-size: 0.55em; font-weight: 400; color: var(--muted); margin-left: 0.12em;
  letter-spacing: 0; }

.charts { display: grid; gap: 32px 40px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); }
.charts.small { margin-top: 32px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 260px), 1fr)); }
.charts figure { max-width: 640px; }
.charts.small figure { max-width: 420px; }
.charts h3 { margin-bottom: 6px; }
.lines { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 0 0 6px;
  padding: 0;
  font-size: 0.85rem; color: var(--muted); }
.lines svg { display: inline-block; width: 22px; height: 10px; margin-right: 6px; }
.lines svg:has(+ svg) { margin-right: 2px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg svg { overflow: hidden; }
svg text { fill: var(--muted); font-size: 12px; font-family: inherit; }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--muted); stroke-opacity: 0.6; }
svg .marker { stroke: var(--muted); stroke-dasharray: 2 3; }
polyline, .lines line { fill: none; stroke-width: 2; stroke-linejoin: round;
  stroke-linecap: round; }
.line-1 { stroke: var(--line-1); } .line-2 { stroke: var(--line-2); stroke-dasharray: 6 4; }
.line-3 { stroke: var(--line-3); stroke-dasharray: 2 4; } .line-4 { stroke: var(--line-4);
  stroke-dasharray: 9 3 2 3; }
.line-5 { stroke: var(--line-5); stroke-dasharray: 12 4; }
.raw { stroke: var(--line-1); stroke-opacity: 0.4; }
polyline.raw { stroke-width: 1; }
circle { stroke-width: 1.5; fill: var(--page); stroke-dasharray: none !important; }

.classes { display: grid; gap: 20px 48px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); align-items: start; }
/* Shadows at the edges behind which there is more: the first two layers move with the content
   and cover them at its ends. */
.scroll { overflow-x: auto; background:
  linear-gradient(to right, var(--page) 35%, transparent) 0 0 / 44px 100% no-repeat local,
  linear-gradient(to left, var(--page) 35%, transparent) 100% 0 / 44px 100% no-repeat local,
  linear-gradient(to right, var(--edge), transparent) 0 0 / 20px 100% no-repeat,
  linear-gradient(to left, var(--edge), transparent) 100% 0 / 20px 100% no-repeat; }
.scroll:focus-visible { outline: 2px solid var(--green); outline-offset: 2px; }
.scroll::-webkit-scrollbar { height: 9px; }
.scroll::-webkit-scrollbar-thumb { background: var(--muted); border-radius: 5px;
  border: 2px solid var(--page); }
figure { container-type: inline-size; }
/* Its height is 0 unless the figure is narrower than what it holds needs. */
.hint { margin: 4px 0 0; font-size: 0.85rem; line-height: 1.3; color: var(--text);
  overflow: hidden; max-height: clamp(0px, calc((var(--needs) - 100cqi) * 999), 3em); }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th, td { padding: 5px 0 5px 14px; text-align: right; font-weight: 400; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
thead tr > * { color: var(--muted); font-size: 0.82rem; vertical-align: bottom;
  border-bottom: 1px solid var(--hairline); }
tbody tr + tr > * { border-top: 1px solid var(--grid); }
tbody th, td.name { text-align: left; white-space: normal; overflow-wrap: anywhere;
  line-height: 1.3; min-width: 8.8em;
  text-indent: -1.4em; }
tbody th:first-child { padding-left: 1.4em; }
td.name { padding-left: calc(14px + 1.4em); }
thead th.name { text-align: left; }
td.bar { width: 28%; min-width: 56px; }
td.bar:empty { padding: 0; }
.bar > span { display: block; height: 9px; border-radius: 2px; background: var(--grid);
  overflow: hidden; }
.bar > span > span { display: block; height: 100%; background: var(--green); }
td.value { font-weight: 600; }
.absent { color: var(--muted); font-style: italic; }
.swatch { display: inline-block; width: 0.85em; height: 0.85em; margin-right: 0.55em;
  border-radius: 2px; text-indent: 0;
  vertical-align: -0.06em; box-shadow: inset 0 0 0 1px rgb(128 128 128 / 0.55); }

.extra { display: grid; gap: 32px; margin-bottom: 40px; grid-template-columns: minmax(0, 1fr); }
td.definition, th.definition { text-align: left; white-space: normal; line-height: 1.35;
  min-width: 22em; color: var(--muted); }

.matrix { display: grid; gap: 28px 48px; align-items: start;
  grid-template-columns: minmax(0, 1fr); }
@media (min-width: 1000px) { .matrix { grid-template-columns: minmax(0, 1fr) 350px; } }
svg text.cell { font-size: 10px; text-anchor: middle; fill: #000; }
svg text.cell.on-light { fill: #fff; }
@media (prefers-color-scheme: dark) {
  svg text.cell { fill: #fff; }
  svg text.cell.on-dark { fill: #000; }
}
svg text.empty { font-style: italic; }
svg .right { fill: var(--green); } svg .wrong { fill: var(--orange); }
svg .frame { fill: none; stroke: var(--hairline); }

.example { margin-top: 32px; }
.example header { display: flex; justify-content: space-between; gap: 16px;
  align-items: baseline; margin-bottom: 8px; }
.example header p { margin: 0; white-space: nowrap; }
.panels { display: grid; gap: 12px; grid-template-columns: repeat(4, minmax(0, 1fr)); }
.panels.wide { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.panels.compared { grid-template-columns: repeat(auto-fill, minmax(max(150px,
  (100% - 12px * (var(--columns) - 1)) / var(--columns)), 1fr)); }
.panels img { display: block; width: 100%; height: auto; max-height: 640px; border-radius: 3px;
  object-fit: contain; object-position: left top; }
.panels img.tiny { image-rendering: pixelated; }
.panels figcaption { margin-top: 3px; font-size: 0.82rem; }
h3.error, h3.warning, h3.part { margin: 36px 0 0; font-size: 1.1rem; }
h3.error { color: var(--orange); }
.error ~ .example, .warning ~ .example { margin-top: 14px; }
.example > p { margin: 0 0 8px; max-width: 76ch; overflow-wrap: anywhere; }
ul.findings { margin: 0; padding: 4px 16px 16px 34px; overflow-wrap: anywhere;
  font-size: 0.92rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 6px 0 0;
  padding: 0; font-size: 0.88rem; }
@media (max-width: 700px) {
  main { padding: 32px 16px 56px; }
  section { margin-top: 44px; }
  .panels, .panels.compared { gap: 8px; grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .headline .main { flex: 1 0 100%; }
  .charts:not(.small) svg text { font-size: 14px; }
  td.bar { display: none; }
  th, td { padding-left: 8px; }
  thead tr > * { white-space: normal; }
  .classes table { font-size: 0.86rem; }
  .classes thead tr > * { font-size: 0.75rem; }
  .classes tbody th { min-width: 7em; }
}
details { border: 1px solid var(--hairline); border-radius: 4px; background: var(--raised); }
summary { padding: 10px 16px; cursor: pointer; font-weight: 600; }
summary:focus-visible { outline: 2px solid var(--green); outline-offset: 2px; }
pre { margin: 0; padding: 4px 16px 16px; overflow-x: auto;
  font: 0.84rem/1.5 ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; }
@media print {
  main { max-width: none; padding: 0; }
  .example, figure { break-inside: avoid; }
  .scroll { overflow: visible; background: none; }
  .scroll > svg { min-width: 0 !important; }
  .hint { display: none; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
