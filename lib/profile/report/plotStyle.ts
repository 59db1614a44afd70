/** What the plots of a page share: sizes, names, colours, encodings. */

import { type PlotSpec, plainLabels } from '../../plots/drawPlot.ts';
import { series } from '../../plots/palette.ts';

/** Room for the plots of a page 780 wide, axes included. */
export const plotWidth = 620;

/** An encoding of numbers, which its axis prints in full: 0.0001 and 20,000, no exponents. */
export const quantity = (
  field: string,
  title?: string | null,
  { axis = {}, ...more }: { readonly axis?: object; readonly scale?: object } = {},
) =>
  ({
    ...{ field, type: 'quantitative', ...(title === undefined ? {} : { title }) },
    ...{ axis: { ...plainLabels, ...axis }, ...more },
  }) as const;

/** Marks of a logarithmic axis: 1, 2, 5, 10, 20, ... within the range, only powers of ten where those are many. */
export function logTicks(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  const steps = decades > 3 ? [1] : [1, 2, 5];
  const first = Math.floor(Math.log10(low));
  return Array.from({ length: Math.ceil(decades) + 2 }, (_, i) => first + i)
    .flatMap((power) => steps.map((step) => Number((step * 10 ** power).toPrecision(1))))
    .filter((value) => value >= low && value <= high);
}

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
