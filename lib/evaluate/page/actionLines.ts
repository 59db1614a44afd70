/** Actions over an episode as SVG, one row per dimension: the demonstrator as a line, and each predicted chunk over it. */

import { escaped } from '../../plots/escaped.ts';
import { figure } from '../../plots/html.ts';
import { color, series } from '../../plots/palette.ts';
import type { EpisodeResult } from '../evaluateEpisode.ts';
import { predictionErrors } from '../evaluation.ts';
import { type Drawn, round } from './filmStrip.ts';

const rowHeight = 44;
const rowGap = 10;

interface Place {
  readonly left: number;
  readonly top: number;
  readonly width: number;
}

/** What the vertical axes show: the same for all episodes of a page. */
export interface ActionScales {
  /** One a dimension, low and high. */
  readonly ranges: readonly (readonly [number, number])[];
  /** Largest mean error of a chunk. */
  readonly mostError: number;
}

/** @param results of all episodes and policies that are drawn; at least one */
export function actionScales(results: readonly EpisodeResult[]): ActionScales {
  const { dimensions } = results[0]!.predictions[0]!.chunk;
  const extents = dimensions.map((_, d) => extentOf(results, d));
  // a dimension that hardly moves is not magnified: its noise would look like an error
  const least = 0.25 * Math.max(...extents.map(([low, high]) => high - low));
  const errors = results.flatMap((result) =>
    result.predictions.map((prediction) => predictionErrors(result, prediction)?.mean ?? 0),
  );
  return { ranges: extents.map((extent) => widened(extent, least)), mostError: Math.max(1e-12, ...errors) };
}

/**
 * @param results one per policy, all of the same episode; at least one
 * @param lastStep where the time axis ends, at least the number of steps of the episode
 */
export function actionLines(
  results: readonly EpisodeResult[],
  lastStep: number,
  place: Place,
  scales: ActionScales,
): Drawn {
  const { episode } = results[0]!;
  const [steps] = episode.shape;
  const { dimensions } = results[0]!.predictions[0]!.chunk;
  const width = dimensions.length;
  const x = (step: number): number => place.left + (step / lastStep) * place.width;
  const rows = dimensions.length + (steps > 0 ? 1 : 0);
  const parts = [timeAxis(results, lastStep, x, place, rows)];
  for (const [d, name] of dimensions.entries()) {
    const [low, high] = scales.ranges[d]!;
    const top = place.top + d * (rowHeight + rowGap);
    const y = (value: number): number => top + rowHeight - ((value - low) / (high - low || 1)) * rowHeight;
    const points = (values: Float64Array, from: number, rows: number): string =>
      Array.from(
        { length: rows },
        (_, i) => `${round(x(from + i))} ${round(y(values[i * width + d]!))}`,
      ).join('L');
    parts.push(
      `<rect x="${place.left}" y="${top}" width="${place.width}" height="${rowHeight}" fill="${color.grid}" fill-opacity="0.35"/>`,
      low < 0 && high > 0
        ? `<path d="M${place.left} ${round(y(0))}h${place.width}" stroke="${color.axis}" stroke-opacity="0.5" stroke-dasharray="2 3"/>`
        : '',
      `<text x="${place.left - 10}" y="${top + 17}" text-anchor="end" font-size="12" fill="${color.ink}">${escaped(name)}</text>`,
      `<text x="${place.left - 10}" y="${top + 33}" text-anchor="end" font-size="10" fill="${color.quiet}">${low.toFixed(2)} to ${high.toFixed(2)}</text>`,
      steps === 0
        ? ''
        : `<path d="M${points(episode.actions, 0, steps)}" fill="none" stroke="${color.quiet}" stroke-opacity="0.75" stroke-width="5" stroke-linejoin="round" stroke-linecap="round"/>`,
    );
    for (const [p, { predictions }] of results.entries()) {
      const ink = series[p % series.length]!;
      const chunks = predictions.map(
        ({ step, chunk }) =>
          `<path d="M${points(chunk.actions, step, chunk.shape[0])}" fill="none" stroke="${ink}" stroke-width="2" stroke-linejoin="round"/>` +
          `<circle cx="${round(x(step))}" cy="${round(y(chunk.actions[d]!))}" r="3" fill="${ink}"/>`,
      );
      // the class names are those of the marks in the other pages' plots
      parts.push(`<g class="mark-line role-mark">${chunks.join('')}</g>`);
    }
  }
  if (steps > 0) parts.push(errorRow(results, x, place, dimensions.length, scales.mostError));
  return { svg: parts.join(''), height: rows * (rowHeight + rowGap) + 24 };
}

/** Below the actions: the mean error of each chunk, at the step of its observation. */
function errorRow(
  results: readonly EpisodeResult[],
  x: (step: number) => number,
  { left, top: first, width }: Place,
  row: number,
  most: number,
): string {
  const curves = results.map((result) =>
    result.predictions.map((prediction) => ({
      step: prediction.step,
      mean: predictionErrors(result, prediction)!.mean,
    })),
  );
  const top = first + row * (rowHeight + rowGap);
  const lines = curves.map((curve, p) => {
    const points = curve.map(
      ({ step, mean }) => `${round(x(step))} ${round(top + rowHeight * (1 - mean / most))}`,
    );
    return `<path d="M${points.join('L')}" fill="none" stroke="${series[p % series.length]!}" stroke-width="1.5"/>`;
  });
  return (
    `<rect x="${left}" y="${top}" width="${width}" height="${rowHeight}" fill="${color.grid}" fill-opacity="0.35"/>` +
    `<text x="${left - 10}" y="${top + 17}" text-anchor="end" font-size="12" fill="${color.ink}">mean error</text>` +
    `<text x="${left - 10}" y="${top + 33}" text-anchor="end" font-size="10" fill="${color.quiet}">0 to ${figure(most)}</text>${lines.join('')}`
  );
}

/** Vertical lines where chunks begin, and seconds below. */
function timeAxis(
  [first]: readonly EpisodeResult[],
  lastStep: number,
  x: (step: number) => number,
  { top }: Place,
  rows: number,
): string {
  const { episode, predictions } = first!;
  const bottom = top + rows * (rowHeight + rowGap) - rowGap;
  const starts = predictions.map(
    ({ step }) =>
      `<path d="M${round(x(step))} ${top}V${bottom}" stroke="${color.axis}" stroke-opacity="0.45"/>`,
  );
  const seconds = lastStep / episode.rate;
  const tick = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60].find((size) => seconds / size <= 8) ?? seconds / 8;
  const labels = Array.from({ length: Math.floor(seconds / tick + 1e-9) + 1 }, (_, i) => {
    const at = i * tick;
    return `<text x="${round(x(at * episode.rate))}" y="${bottom + 16}" text-anchor="middle" font-size="11" fill="${color.quiet}">${figure(at)}${i === 0 ? ' s' : ''}</text>`;
  });
  return starts.join('') + labels.join('');
}

function extentOf(results: readonly EpisodeResult[], d: number): readonly [number, number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  const take = (values: Float64Array, width: number): void => {
    for (let i = d; i < values.length; i += width) {
      low = Math.min(low, values[i]!);
      high = Math.max(high, values[i]!);
    }
  };
  for (const { episode } of results) if (episode.shape[0] > 0) take(episode.actions, episode.shape[1]);
  for (const { chunk } of results.flatMap(({ predictions }) => predictions))
    take(chunk.actions, chunk.shape[1]);
  return [low, high];
}

function widened([low, high]: readonly [number, number], least: number): readonly [number, number] {
  const more = Math.max(0, least - (high - low)) / 2 + 0.04 * Math.max(high - low, least);
  return [low - more, high + more];
}
