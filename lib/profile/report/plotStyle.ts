/** What the plots of a page share: sizes, names, colours, encodings. */

import type { PlotSpec } from '../../plots/drawPlot.ts';
import { series } from '../../plots/palette.ts';

/** Room for the plots of a page 780 wide, axes included. */
export const plotWidth = 620;

/** An encoding of numbers. */
export const quantity = (field: string, title?: string | null, more: object = {}) =>
  ({ field, type: 'quantitative', ...(title === undefined ? {} : { title }), ...more }) as const;

/** Plots below one another. */
export const stacked = (rows: readonly object[], spacing = 14): PlotSpec =>
  ({ vconcat: rows, spacing }) as unknown as PlotSpec;

/** A name as a title: broken between words if it is longer than the plot. */
export function titleLines(name: string): string[] {
  const lines: string[] = [];
  for (const word of name.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + word.length >= 56) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** Colours repeat after seven; the legend and the order distinguish more of them. */
export const colorOf = (i: number): string => series[i % series.length]!;

const dashes = [
  [1, 0],
  [7, 3],
  [2, 2],
  [9, 3, 2, 3],
  [4, 2],
] as const;

/** Colour and dash of lines by the name in `field`, so that they differ without their colours too. */
export function byLine(field: string, names: readonly string[]): { color: object; strokeDash: object } {
  const by = (range: readonly unknown[]) => ({
    ...{ field, type: 'nominal', title: null },
    scale: { domain: names, range: names.map((_, i) => range[i % range.length]) },
  });
  return { color: by(series), strokeDash: by(dashes) };
}
