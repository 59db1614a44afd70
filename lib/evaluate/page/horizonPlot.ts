/** The error by row of the chunk as SVG: how it grows with the distance from the observation. */

import { escaped } from '../../plots/escaped.ts';
import { figure } from '../../plots/html.ts';
import { color, series } from '../../plots/palette.ts';
import type { HorizonError } from '../actionErrors.ts';
import { round } from './filmStrip.ts';

const size = { width: 560, height: 220, left: 64, right: 12, bottom: 40 };
/** Height of a policy's name above the curves. */
const lineHeight = 16;

/** @param lines one a policy; at least one, of at least one row each */
export function horizonPlot(
  lines: readonly { readonly name: string; readonly horizon: readonly HorizonError[] }[],
): string {
  const isNormalized = lines.every(({ horizon }) => horizon.every(({ normalized }) => normalized !== null));
  const top = 14 + (lines.length === 1 ? 0 : lineHeight * lines.length);
  const heightOf = ({ mean, normalized }: HorizonError): number => (isNormalized ? normalized! : mean);
  const rows = Math.max(...lines.map(({ horizon }) => horizon.length));
  const most = Math.max(1e-12, ...lines.flatMap(({ horizon }) => horizon.map(heightOf)));
  const x = (row: number): number =>
    size.left + (rows === 1 ? 0.5 : row / (rows - 1)) * (size.width - size.left - size.right);
  const y = (value: number): number =>
    size.height - size.bottom - (value / most) * (size.height - top - size.bottom);
  const grid = [0, 0.5, 1].map(
    (part) =>
      `<path d="M${size.left} ${round(y(part * most))}H${size.width - size.right}" stroke="${color.grid}"/>` +
      `<text x="${size.left - 8}" y="${round(y(part * most) + 4)}" text-anchor="end" font-size="11" fill="${color.quiet}">${figure(part * most)}</text>`,
  );
  const every = Math.ceil(rows / 12);
  const ticks = Array.from({ length: rows }, (_, row) => row)
    .filter((row) => row % every === 0)
    .map(
      (row) =>
        `<text x="${round(x(row))}" y="${size.height - size.bottom + 16}" text-anchor="middle" font-size="11" fill="${color.quiet}">${row}</text>`,
    );
  const curves = lines.map(({ name, horizon }, i) => {
    const ink = series[i % series.length]!;
    const points = horizon.map((one) => `${round(x(one.row))} ${round(y(heightOf(one)))}`);
    const dots = horizon.map(
      (one) => `<circle cx="${round(x(one.row))}" cy="${round(y(heightOf(one)))}" r="3" fill="${ink}"/>`,
    );
    // the name in ink beside a dot: as text the colours of series are too pale
    const words =
      lines.length === 1
        ? ''
        : `<circle cx="${size.left + 4}" cy="${8 + lineHeight * i}" r="4" fill="${ink}"/>` +
          `<text x="${size.left + 14}" y="${12 + lineHeight * i}" font-size="12" fill="${color.ink}">${escaped(name)}</text>`;
    const curve = `<path d="M${points.join('L')}" fill="none" stroke="${ink}" stroke-width="2"/>`;
    return `<g class="mark-line role-mark">${curve}${dots.join('')}</g>${words}`;
  });
  const what = `${isNormalized ? 'normalized L1 error' : 'mean error'} by row of the chunk`;
  const label = `<text x="${size.left}" y="${size.height - 6}" font-size="12" fill="${color.ink}">${what}</text>`;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}" viewBox="0 0 ${size.width} ${size.height}" ` +
    `font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" role="img" aria-labelledby="horizon-title">` +
    `<title id="horizon-title">${what}</title>${grid.join('')}${ticks.join('')}${curves.join('')}${label}</svg>`
  );
}
