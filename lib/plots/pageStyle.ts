/** Style of pages with plots: light or dark as the reader's system is, light on paper, readable on a phone. */

import { colorVariables } from './palette.ts';

export const pageStyle = `
:root { color-scheme: light dark; ${colorVariables('light')} --panel: #ffffff; --page: #f4f6f8; --warn: #fff4e0; --warn-edge: #b45309; --bad: #b91c1c; --good: #166534; }
@media screen and (prefers-color-scheme: dark) {
  :root { ${colorVariables('dark')} --panel: #171c22; --page: #0e1216; --warn: #33260d; --warn-edge: #f0b45a; --bad: #ff9a8f; --good: #7fd8a0; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 24px 20px 56px; }
h1 { font-size: 26px; line-height: 1.25; margin: 8px 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 36px 0 8px; }
p { max-width: 76ch; margin: 8px 0; }
.quiet, figcaption, caption, summary { color: var(--quiet); }
code { overflow-wrap: anywhere; font-size: 13px; }
.warnings { list-style: none; margin: 16px 0; padding: 0; }
.warnings li { background: var(--warn); border-left: 4px solid var(--warn-edge); border-radius: 4px; padding: 8px 14px; margin: 8px 0; }
.warnings b { display: block; font-size: 14px; }
.calm { border-left: 4px solid var(--good); padding: 6px 14px; }
figure { margin: 16px 0; background: var(--panel); border: 1px solid var(--grid); border-radius: 8px; padding: 14px; overflow-x: auto; }
figure > svg { display: block; min-width: 560px; max-width: 100%; height: auto; }
figcaption { font-size: 14px; margin-top: 8px; max-width: 80ch; }
details { margin-top: 10px; font-size: 14px; }
details table { font-size: 13px; }
summary { cursor: pointer; }
.table { overflow-x: auto; margin: 12px 0; }
caption:empty { display: none; }
table { border-collapse: collapse; background: var(--panel); font-size: 14px; font-variant-numeric: tabular-nums; min-width: 100%; }
caption { text-align: left; font-size: 13px; padding: 2px 0 6px; }
th, td { text-align: right; padding: 5px 8px; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th:first-child, th.text, td.text { text-align: left; }
thead th { white-space: normal; vertical-align: bottom; }
td.text { white-space: normal; overflow-wrap: break-word; }
td.long { min-width: 17ch; }
thead th { color: var(--quiet); font-weight: 600; }
tbody th { font-weight: 500; }
tbody th.long { white-space: normal; overflow-wrap: anywhere; min-width: 17ch; }
table.facts td, table.facts th { white-space: normal; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
table.facts th { white-space: nowrap; }
.pass { color: var(--good); } .fail { color: var(--bad); }
.none { color: var(--quiet); }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0; }
.tiles div { flex: 1 1 150px; display: flex; flex-direction: column; background: var(--panel); border: 1px solid var(--grid); border-radius: 8px; padding: 10px 14px; }
.tiles dd { margin: 0; font-size: 24px; font-weight: 600; }
.tiles dt { order: 1; font-size: 13px; line-height: 1.35; color: var(--quiet); }
@media screen and (max-width: 600px) {
  main { padding: 16px 10px 40px; }
  figure { padding: 6px; }
  figure > svg { min-width: 0; width: 100%; }
  figure.wide > svg { min-width: 640px; }
}
@page { size: A4; margin: 14mm 12mm; }
@media print {
  body { background: #fff; font-size: 11pt; }
  main { max-width: none; padding: 0; }
  figure, .warnings li, tr { break-inside: avoid; }
  figure { border: 0; padding: 0; overflow: visible; }
  figure > svg { min-width: 0; max-width: 100%; }
  h2, caption { break-after: avoid; }
  .table, details { overflow: visible; }
  .warnings li { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  table, details, details table { font-size: 8.5pt; }
  th, td { padding: 2pt 4pt; white-space: normal; }
  td.long, tbody th.long { min-width: 0; }
  details:not([open]) { display: none; }
}`;
