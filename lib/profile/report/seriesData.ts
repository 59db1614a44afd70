/** What the plots draw, from the chunks of a subject. Pure. */

import { medianOf, percentileOf } from '../measure/percentiles.ts';
import { stageNames } from '../stages.ts';
import type { ChunkRecord, StageName, SubjectResult } from '../types.ts';

/** Latency of a chunk end to end, milliseconds. A chunk without `total` was not measured end to end and is left out. */
export function totals(chunks: readonly ChunkRecord[]): number[] {
  return chunks.flatMap(({ stages }) => (stages.total === undefined ? [] : [stages.total]));
}

export function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

/** The same rule as the summary's (trtexec's); `values` ascend. NaN of none. */
export function quantile(values: readonly number[], p: number): number {
  if (values.length === 0) return Number.NaN;
  return p === 0.5 ? medianOf(values) : percentileOf(values, 100 * p);
}

export function median(values: readonly number[]): number {
  return quantile(sorted(values), 0.5);
}

export interface Bin {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** Equal bins over [low, high]; what lies beyond is not in them. Freedman and Diaconis' width, within 12..60 bins. */
export function histogram(values: readonly number[], low: number, high: number): Bin[] {
  const inside = sorted(values).filter((value) => value >= low && value <= high);
  const spread = quantile(inside, 0.75) - quantile(inside, 0.25);
  const width = (2 * spread) / Math.cbrt(Math.max(1, inside.length));
  const span = high - low || Math.max(low * 0.01, 1e-6);
  const count = Math.min(60, Math.max(12, width > 0 ? Math.ceil(span / width) : 12));
  const counts = new Array<number>(count).fill(0);
  for (const value of inside) counts[Math.min(count - 1, Math.floor(((value - low) / span) * count))]!++;
  return counts.map((n, i) => ({
    from: low + (i * span) / count,
    to: low + ((i + 1) * span) / count,
    count: n,
  }));
}

/** [low, high] that shows the body: all of it, or what 99 of 100 chunks are under and a margin where a few are far out. */
export function bodyRange(all: readonly (readonly number[])[]): readonly [number, number] {
  const low = Math.min(...all.map((values) => quantile(values, 0)));
  const body = Math.max(...all.map((values) => quantile(values, 0.99)));
  const most = Math.max(...all.map((values) => quantile(values, 1)));
  return most - low <= 3 * (body - low) ? [low, most] : [low, body + 0.25 * (body - low || 0.05 * body)];
}

/** One value per position on a scale: enough for a picture, however many chunks there are. */
export function thinned(
  values: readonly number[],
  place: (value: number) => number,
  positions = 620,
): number[] {
  const places = values.map(place);
  const low = Math.min(...places);
  const step = (Math.max(...places) - low) / positions;
  if (step === 0) return values.slice(0, 1);
  return [...new Map(values.map((value, i) => [Math.round((places[i]! - low) / step), value])).values()];
}

export interface CurvePoint {
  /** log10(1 / (1 - p)): 0 at the fastest, 1 at p90, 2 at p99. */
  readonly nines: number;
  readonly ms: number;
}

/** The percentile curve, with as much room for p99 to p99.9 as for p90 to p99. */
export function percentileCurve(values: readonly number[]): CurvePoint[] {
  const n = values.length;
  const most = Math.log10(n);
  const steps = Math.min(n, 240);
  const indices = Array.from({ length: steps }, (_, i) => {
    const share = 1 - 10 ** (-(i / Math.max(1, steps - 1)) * most);
    return Math.min(n - 1, Math.floor(share * n + 1e-9));
  });
  return [...new Set(indices)].map((i) => ({ nines: Math.log10(n / (n - i)), ms: values[i]! }));
}

export interface TimedPoint {
  readonly seconds: number;
  readonly ms: number;
}

/** Chunks over time; of many, the fastest and the slowest of each stretch, so that no outlier is lost. */
export function overTime(chunks: readonly ChunkRecord[], most = 900): TimedPoint[] {
  const points = chunks.flatMap(({ startMs, stages }) =>
    stages.total === undefined ? [] : [{ seconds: startMs / 1000, ms: stages.total }],
  );
  if (points.length <= most) return points;
  const size = Math.ceil((2 * points.length) / most);
  const kept: TimedPoint[] = [];
  for (let i = 0; i < points.length; i += size) {
    const stretch = points.slice(i, i + size).sort((a, b) => a.ms - b.ms);
    kept.push(stretch[0]!, stretch.at(-1)!);
  }
  return kept;
}

/** Median of each stretch of the run, at its middle. */
export function runningMedian(chunks: readonly ChunkRecord[]): TimedPoint[] {
  const size = Math.max(5, Math.ceil(chunks.length / 60));
  const points: TimedPoint[] = [];
  for (let i = 0; i + size <= chunks.length; i += size) {
    const stretch = chunks.slice(i, i + size);
    points.push({
      seconds: stretch[Math.floor(size / 2)]!.startMs / 1000,
      ms: median(totals(stretch)),
    });
  }
  return points;
}

/** Medians of the quarters of a run: a clock that falls or a board that warms shows here. */
export function quarters(chunks: readonly ChunkRecord[]): number[] {
  const size = chunks.length / 4;
  return [0, 1, 2, 3].map((i) =>
    median(totals(chunks.slice(Math.floor(i * size), Math.floor((i + 1) * size)))),
  );
}

export interface WaterfallStep {
  readonly stage: string;
  readonly from: number;
  readonly to: number;
}

/** Not part of the row of stages: the whole, what runs once a sentence, and what overlaps the device's work. */
const beside: readonly StageName[] = ['total', 'tokenize', 'instruction', 'enqueue'];

/**
 * Medians laid end to end in the order in which the stages run, then what no stage accounts for. Where a stage's parts were
 * measured they stand for it.
 */
export function waterfall({ summary }: SubjectResult): WaterfallStep[] {
  const has = (name: StageName): boolean => summary[name] !== undefined;
  const parts: Partial<Record<StageName, readonly StageName[]>> = {
    preprocess: ['decode', 'resize', 'crop'],
    policy: ['compute'],
  };
  const shown = stageNames.filter(
    (name) => has(name) && !beside.includes(name) && !(parts[name] ?? []).some(has),
  );
  const steps: WaterfallStep[] = [];
  let at = 0;
  for (const stage of shown) {
    const ms = summary[stage]!.median;
    steps.push({ stage, from: at, to: at + ms });
    at += ms;
  }
  const total = summary.total?.median;
  if (total !== undefined && total > at) steps.push({ stage: 'rest', from: at, to: total });
  return steps;
}
