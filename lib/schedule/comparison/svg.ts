/**
 * The few shapes that the plots need, as SVG text. Written by hand: small multiples with one axis each, drawn at once and
 * without the second that loading lib/plots' library takes.
 */

export const ink = { text: '#1f2933', quiet: '#616e7c', grid: '#e4e7eb', axis: '#9aa5b1', paper: '#ffffff' };

/** Distinct for colour-blind readers too (Okabe-Ito without yellow, darkened where thin lines need it). */
export const palette = ['#6b7280', '#a16207', '#0072b2', '#d55e00', '#009e73', '#b0518e', '#3b3b98'];

export interface Scale {
  (value: number): number;
  readonly domain: readonly [number, number];
  readonly ticks: readonly number[];
}

/** Linear, with round ticks; the domain is widened to them. */
export function scale(low: number, high: number, from: number, to: number, count = 5): Scale {
  const span = high - low || 1;
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  const domain = [first * step, last * step] as const;
  const map = (value: number): number => from + ((value - domain[0]) / (domain[1] - domain[0])) * (to - from);
  return Object.assign(map, { domain, ticks });
}

export function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);
}

/** Two decimals of a pixel are enough. */
function px(value: number): string {
  return Number.isFinite(value) ? String(Math.round(value * 100) / 100) : '0';
}

/** Number as a reader wants it: three digits, thousands apart. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en-US', { maximumFractionDigits: Math.min(digits, 3) });
}

interface TextStyle {
  readonly size?: number;
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly color?: string;
  readonly bold?: boolean;
  readonly turn?: number;
}

export function text(x: number, y: number, content: string, style: TextStyle = {}): string {
  const { size = 12, anchor = 'start', color = ink.text, bold = false, turn } = style;
  const transform = turn === undefined ? '' : ` transform="rotate(${turn} ${px(x)} ${px(y)})"`;
  return `<text x="${px(x)}" y="${px(y)}" font-size="${size}" text-anchor="${anchor}" fill="${color}"${bold ? ' font-weight="600"' : ''}${transform}>${escaped(content)}</text>`;
}

export function line(
  x1: number,
  y1: number,
  x2: number,
  y2: number,
  color: string,
  width = 1,
  dash = '',
): string {
  return `<line x1="${px(x1)}" y1="${px(y1)}" x2="${px(x2)}" y2="${px(y2)}" stroke="${color}" stroke-width="${width}"${dash === '' ? '' : ` stroke-dasharray="${dash}"`}/>`;
}

export function path(
  points: readonly (readonly [number, number])[],
  color: string,
  width = 1.8,
  dash = '',
): string {
  const d = points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${px(x)} ${px(y)}`).join('');
  return `<path d="${d}" fill="none" stroke="${color}" stroke-width="${width}" stroke-linejoin="round"${dash === '' ? '' : ` stroke-dasharray="${dash}"`}/>`;
}

export function dot(x: number, y: number, color: string, radius = 4, hollow = false): string {
  return `<circle cx="${px(x)}" cy="${px(y)}" r="${radius}" fill="${hollow ? ink.paper : color}" stroke="${color}" stroke-width="1.8"/>`;
}

export function bar(x: number, y: number, width: number, height: number, color: string, opacity = 1): string {
  return `<rect x="${px(x)}" y="${px(y)}" width="${px(Math.max(0, width))}" height="${px(Math.max(0, height))}" fill="${color}"${opacity === 1 ? '' : ` fill-opacity="${opacity}"`}/>`;
}

/** A picture that stands by itself, on white. `label` is for readers who cannot see it. */
export function picture(width: number, height: number, label: string, parts: readonly string[]): string {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" ` +
    `aria-label="${escaped(label)}" font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif">` +
    `${bar(0, 0, width, height, ink.paper)}${parts.join('')}</svg>`
  );
}

export interface Frame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Grid, axes and their names. */
export function axes(frame: Frame, x: Scale, y: Scale, xName: string, yName: string): string[] {
  const { left, top, width, height } = frame;
  const bottom = top + height;
  return [
    ...y.ticks.map((tick) => line(left, y(tick), left + width, y(tick), ink.grid)),
    ...y.ticks.map((tick) =>
      text(left - 7, y(tick) + 4, figure(tick), { size: 11, anchor: 'end', color: ink.quiet }),
    ),
    ...x.ticks.map((tick) => line(x(tick), bottom, x(tick), bottom + 4, ink.axis)),
    ...x.ticks.map((tick) =>
      text(x(tick), bottom + 17, figure(tick), { size: 11, anchor: 'middle', color: ink.quiet }),
    ),
    line(left, bottom, left + width, bottom, ink.axis),
    text(left + width / 2, bottom + 35, xName, { anchor: 'middle', color: ink.quiet }),
    text(left, top - 10, yName, { color: ink.quiet }),
  ];
}
