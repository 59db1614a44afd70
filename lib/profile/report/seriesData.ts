/** What the plots draw, computed from the chunks of a subject. */

import { median, medianOf } from '../../support/median.ts';
import { percentileOf } from '../measure/percentiles.ts';
import { stageNames } from '../stages.ts';
import type { ChunkRecord, StageName, SubjectResult } from '../types.ts';

/** Latency of a chunk end to end, milliseconds. A chunk without `total` was not measured end to end and is left out. */
export function totals(chunks: readonly ChunkRecord[]): number[] {
  return chunks.flatMap(({ stages }) => stages.total ?? []);
}

/** trtexec's rule, as in the summary; `ascending` sorted. NaN of none. */
export function quantile(ascending: ArrayLike<number>, p: number): number {
  if (ascending.length === 0) return Number.NaN;
  return p === 0.5 ? medianOf(ascending) : percentileOf(ascending, 100 * p);
}

export interface Bin {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/**
 * Equal bins over [low, high], without what lies beyond.
 *
 * @param bins how many; default: Freedman and Diaconis' width, within 12..60
 */
export function histogram(values: ArrayLike<number>, low: number, high: number, bins?: number): Bin[] {
  const inside = Float64Array.from(values)
    .filter((value) => value >= low && value <= high)
    .sort();
  const width =
    (2 * (quantile(inside, 0.75) - quantile(inside, 0.25))) / Math.cbrt(Math.max(1, inside.length));
  const span = high - low || Math.max(low * 0.01, 1e-6);
  const count = bins ?? Math.min(60, Math.max(12, width > 0 ? Math.ceil(span / width) : 12));
  const counts = new Array<number>(count).fill(0);
  for (const value of inside) counts[Math.min(count - 1, Math.floor(((value - low) / span) * count))]!++;
  const edge = (i: number): number => low + (i * span) / count;
  return counts.map((n, i) => ({ from: edge(i), to: edge(i + 1), count: n }));
}

/** Bins that are equally wide on a logarithmic axis. */
export function logHistogram(values: Float64Array, low: number, high: number, bins?: number): Bin[] {
  const equal = histogram(values.map(Math.log), Math.log(low), Math.log(high), bins);
  return equal.map(({ from, to, count }) => ({ from: Math.exp(from), to: Math.exp(to), count }));
}

/** [low, high] of the body: everything, or 99 of 100 chunks and a margin if a few are far out. */
export function bodyRange(all: readonly ArrayLike<number>[]): readonly [number, number] {
  const low = Math.min(...all.map((values) => quantile(values, 0)));
  const body = Math.max(...all.map((values) => quantile(values, 0.99)));
  const most = Math.max(...all.map((values) => quantile(values, 1)));
  return most - low <= 3 * (body - low) ? [low, most] : [low, body + 0.25 * (body - low || 0.05 * body)];
}

export interface CurvePoint {
  /** log10(1 / (1 - p)): 0 at the fastest, 1 at p90, 2 at p99. */
  readonly nines: number;
  readonly ms: number;
}

/** The percentile curve, with as much room for p99 to p99.9 as for p90 to p99. */
export function percentileCurve(ascending: ArrayLike<number>): CurvePoint[] {
  const n = ascending.length;
  const steps = Math.min(n, 240);
  const indices = Array.from({ length: steps }, (_, i) => {
    const share = 1 - n ** -(i / Math.max(1, steps - 1));
    return Math.min(n - 1, Math.floor(share * n + 1e-9));
  });
  return [...new Set(indices)].map((i) => ({ nines: Math.log10(n / (n - i)), ms: ascending[i]! }));
}

export interface TimedPoint {
  readonly seconds: number;
  /** null: not read at that time. */
  readonly value: number | null;
}

/** Of many points, the lowest and the highest of each stretch, so that a picture loses no outlier, no dip and no gap. */
export function thinned(points: readonly TimedPoint[], most: number): TimedPoint[] {
  if (points.length <= most) return [...points];
  const size = Math.ceil((2 * points.length) / most);
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) => {
    const stretch = points.slice(i * size, (i + 1) * size);
    const known = stretch.filter(({ value }) => value !== null).sort((a, b) => a.value! - b.value!);
    const kept = new Set([known[0], known.at(-1), stretch.find(({ value }) => value === null)]);
    return stretch.filter((point) => kept.has(point));
  }).flat();
}

/** Latencies in ms over time. */
export function overTime(chunks: readonly ChunkRecord[], most = 900): TimedPoint[] {
  const points = chunks.flatMap(({ startMs, stages }) =>
    stages.total === undefined ? [] : [{ seconds: startMs / 1000, value: stages.total }],
  );
  return thinned(points, most);
}

/** Median of each stretch of the run, at its middle. */
export function runningMedian(chunks: readonly ChunkRecord[]): TimedPoint[] {
  const size = Math.max(5, Math.ceil(chunks.length / 60));
  return Array.from({ length: Math.floor(chunks.length / size) }, (_, i) => {
    const stretch = chunks.slice(i * size, (i + 1) * size);
    return { seconds: stretch[size >> 1]!.startMs / 1000, value: median(totals(stretch)) };
  });
}

/** Medians of the quarters of a run: a clock that falls or a board that warms shows here. */
export function quarters(chunks: readonly ChunkRecord[]): number[] {
  const size = chunks.length / 4;
  return [0, 1, 2, 3].map((i) => {
    const some = totals(chunks.slice(Math.floor(i * size), Math.floor((i + 1) * size)));
    return some.length === 0 ? Number.NaN : median(some);
  });
}

export interface WaterfallStep {
  readonly stage: string;
  readonly from: number;
  readonly to: number;
}

/** Not in the row of stages: the whole, what runs once an instruction, and what overlaps the device's work. */
const beside: readonly StageName[] = ['total', 'tokenize', 'instruction', 'enqueue'];

/**
 * Medians laid end to end in the order in which the stages run, then what no stage accounts for. If a stage's parts were
 * measured, they stand for it.
 */
export function waterfall({ summary }: SubjectResult): WaterfallStep[] {
  const parts: Partial<Record<StageName, readonly StageName[]>> = {
    preprocess: ['decode', 'resize', 'crop'],
    policy: ['compute'],
  };
  const steps: WaterfallStep[] = [];
  let at = 0;
  for (const stage of stageNames) {
    const ms = summary[stage]?.median;
    if (ms === undefined || beside.includes(stage) || parts[stage]?.some((part) => summary[part])) continue;
    steps.push({ stage, from: at, to: at + ms });
    at += ms;
  }
  const total = summary.total?.median;
  if (total !== undefined && total > at) steps.push({ stage: 'rest', from: at, to: total });
  return steps;
}
