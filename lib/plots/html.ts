/** The few building blocks of pages with plots. All text is escaped here. */

import { drawPlot, type PlotSpec } from './drawPlot.ts';
import { escaped } from './escaped.ts';

/** A cell: text, or a number shown with `digits`. */
export type Cell = string | number | null;

export interface Table {
  readonly caption: string;
  readonly head: readonly string[];
  /** The first cell of a row is its name. */
  readonly rows: readonly (readonly Cell[])[];
}

/** Three significant digits, thousands separated: `12.3`, `0.0123`, `28,600`. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return 'none';
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en-US', { maximumFractionDigits: Math.min(digits, 8) });
}

/** The percent sign stays beside its number if a cell wraps. */
export function percent(share: number): string {
  return `${figure(100 * share)}\u00a0%`;
}

function cellText(cell: Cell): string {
  if (cell === null) return '<span class="none">not known</span>';
  return escaped(typeof cell === 'number' ? figure(cell) : cell);
}

/** A cell aligned like numbers: `46.2 %`, `1.3x`, or an empty one. */
const isQuantity = (cell: Cell | undefined): boolean =>
  typeof cell !== 'string' || /^([+-]?[\d.,]+(\s?%|x)?)?$/.test(cell);

/** Long enough that a line break is better than a column as wide as the page. */
const isLong = (cell: Cell | undefined, most = 20): boolean => typeof cell === 'string' && cell.length > most;

export function table({ caption, head, rows }: Table): string {
  const isText = head.map(
    (_, i) =>
      i > 0 &&
      rows.every((row) => typeof row[i] === 'string') &&
      !(rows.length > 0 && rows.every((row) => isQuantity(row[i]))),
  );
  const heads = head
    .map((name, i) => `<th scope="col"${isText[i] ? ' class="text"' : ''}>${escaped(name)}</th>`)
    .join('');
  const body = rows.map(([name, ...cells]) => {
    const columns = cells.map(
      (cell, i) =>
        `<td${isText[i + 1] ? ` class="text${isLong(cell) ? ' long' : ''}"` : ''}>${cellText(cell)}</td>`,
    );
    const long = isLong(name, 28) ? ' class="long"' : '';
    return `<tr><th scope="row"${long}>${cellText(name ?? null)}</th>${columns.join('')}</tr>`;
  });
  return (
    `<div class="table"><table><caption>${escaped(caption)}</caption>` +
    `<thead><tr>${heads}</tr></thead><tbody>${body.join('')}</tbody></table></div>`
  );
}

export interface Figure {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  readonly spec: PlotSpec;
  readonly caption: string;
  /** The numbers of the picture; left out if another table of the page has them. */
  readonly table?: Table;
  /** Whether the numbers are unfolded from the start, and so on paper too. */
  readonly isTableOpen?: boolean;
}

/** A picture with its caption and its numbers, which can be unfolded. */
export async function plotFigure({
  table: numbers,
  isTableOpen = false,
  caption,
  ...plot
}: Figure): Promise<string> {
  const svg = await drawPlot(plot);
  const details =
    numbers === undefined
      ? ''
      : `<details${isTableOpen ? ' open' : ''}><summary>Numbers: ${escaped(numbers.caption)}</summary>${table({ ...numbers, caption: '' })}</details>`;
  return `<figure id="${plot.id}">${svg}<figcaption>${escaped(caption)}</figcaption>${details}</figure>`;
}

export function section(id: string, title: string, parts: readonly string[]): string {
  return `<section id="${id}" aria-labelledby="${id}-heading"><h2 id="${id}-heading">${escaped(title)}</h2>\n${parts.join('\n')}</section>`;
}

export function paragraph(text: string): string {
  return `<p>${escaped(text)}</p>`;
}
