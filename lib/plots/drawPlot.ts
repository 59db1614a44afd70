/**
 * Plots as SVG text: described in Vega-Lite, laid out and drawn by Vega in Node, without a browser or a canvas. Both are
 * optional packages, loaded when the first plot is drawn: that takes a second, and a robot draws none.
 */

import type { TopLevelSpec } from 'vega-lite';
import { checkPackages, loadPackages } from '../support/optionalPackage.ts';
import { escaped } from './escaped.ts';
import { color, series } from './palette.ts';

export type PlotSpec = Omit<TopLevelSpec, '$schema' | 'config' | 'background'> &
  Readonly<Record<string, unknown>>;

export interface Plot {
  /** Unique within a page; letters, digits and dashes. */
  readonly id: string;
  /** Name of the picture, which a screen reader reads first. */
  readonly title: string;
  /** What it shows, in one sentence, for people who cannot see it. */
  readonly description: string;
  readonly spec: PlotSpec;
}

const font = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";

const config = {
  aria: false,
  background: 'transparent',
  font,
  padding: 6,
  view: { stroke: null },
  mark: { color: series[0]! },
  axis: {
    labelColor: color.quiet,
    titleColor: color.ink,
    gridColor: color.grid,
    domainColor: color.axis,
    tickColor: color.axis,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    titlePadding: 8,
    labelLimit: 0,
  },
  legend: {
    labelColor: color.ink,
    titleColor: color.ink,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    labelLimit: 0,
    orient: 'top',
    columns: 1,
    symbolSize: 90,
  },
  header: {
    labelColor: color.ink,
    labelFontSize: 13,
    labelFontWeight: 600,
    titleColor: color.ink,
    labelLimit: 620,
  },
  title: {
    color: color.ink,
    subtitleColor: color.quiet,
    fontSize: 13,
    fontWeight: 600,
    subtitleFontSize: 12,
    anchor: 'start',
    frame: 'group',
    limit: 0,
  },
  text: { color: color.ink, fontSize: 12 },
  rule: { color: color.quiet },
  range: { category: [...series] },
};

/** Axis labels as people write numbers: no exponents, thousands separated. */
export const plainLabels = { labelExpr: "format(datum.value, ',.6~r')" } as const;

/** Character widths in ems, from the widest font that a page may fall back to (DejaVu Sans). */
function textWidth(text: string, size: number): number {
  let ems = 0;
  for (const character of text) {
    if (/[ijl.,:;'|!]/.test(character)) ems += 0.34;
    else if (/[frtI()[\]/ -]/.test(character)) ems += 0.42;
    else if (/[mwMW@%]/.test(character)) ems += 0.96;
    else if (/[A-Z]/.test(character)) ems += 0.72;
    else ems += 0.635;
  }
  return Math.ceil(ems * size);
}

interface Measure {
  width(item: { readonly fontSize?: number; readonly fontWeight?: unknown }, text: unknown): number;
}

/** Without a canvas, Vega assumes 0.8 em for every character, a third too wide, and would truncate labels that fit. */
function measureText(vega: object): void {
  const { textMetrics } = vega as { readonly textMetrics: Measure };
  textMetrics.width = ({ fontSize = 11, fontWeight }, text) => {
    const bold = fontWeight === 600 || fontWeight === 'bold' ? 1.1 : 1;
    return text === null || text === undefined ? 0 : textWidth(String(text), bold * fontSize);
  };
}

const optional = { names: ['vega', 'vega-lite'] } as const;

/** Call this before long work that ends in a plot. @param what is to be drawn @throws PACKAGE_UNAVAILABLE */
export const checkVega = (what: string): void => checkPackages(what, optional);

/**
 * Draws one picture with its own name and description: `role="img"`, `<title>`, `<desc>`.
 * @throws (rejects) PACKAGE_UNAVAILABLE
 */
export async function drawPlot({ id, title, description, spec }: Plot): Promise<string> {
  const [vega, vegaLite] = await loadPackages(`Plot "${title}"`, optional, () =>
    Promise.all([import('vega'), import('vega-lite')]),
  );
  measureText(vega);
  const quiet = vega.logger(vega.Error);
  const compiled = vegaLite.compile({ ...spec, config } as unknown as TopLevelSpec, { logger: quiet });
  const view = new vega.View(vega.parse(compiled.spec), { renderer: 'none', logger: quiet });
  try {
    return named(await view.toSVG(), id, title, description);
  } finally {
    view.finalize();
  }
}

/** Vega numbers clip paths per process, but in a page with several plots each needs ids of its own. */
function named(svg: string, id: string, title: string, description: string): string {
  const size = /^<svg[^>]*? width="([\d.]+)" height="([\d.]+)"/.exec(svg);
  if (size === null) throw new Error('vega drew something without a size');
  const [, width, height] = size;
  const open = svg.indexOf('>') + 1;
  const clips = new Map<string, string>();
  const body = plain(rounded(svg.slice(open))).replace(/\b(clip|gradient_)(\d+)\b/g, (found) => {
    if (!clips.has(found)) clips.set(found, `${id}-clip${clips.size}`);
    return clips.get(found)!;
  });
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `role="img" aria-labelledby="${id}-title" aria-describedby="${id}-desc">` +
    `<title id="${id}-title">${escaped(title)}</title><desc id="${id}-desc">${escaped(description)}</desc>${body}`
  );
}

/** Rounds coordinates to hundredths of a pixel: a third of the file is digits that nobody sees. */
function rounded(svg: string): string {
  return svg.replace(/ (?:d|transform)="[^"]*"/g, (attribute) =>
    attribute.replace(/\d+\.\d{3,}/g, (digits) => String(Math.round(100 * Number(digits)) / 100)),
  );
}

/** Removes the roles of the parts, which say nothing in a picture that has a name as a whole. */
function plain(svg: string): string {
  return svg.replace(/<(?:g|path|text)\b[^>]*>/g, (tag) => tag.replace(/ (?:role|aria-[a-z]+)="[^"]*"/g, ''));
}
