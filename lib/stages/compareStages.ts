/** The difference of two runs, stage by stage: where do two implementations diverge, and by how much? */

import { SemanticVlaError } from '../support/errors.ts';
import type { StageTensor } from '../types.ts';
import type { Stages } from './stageFile.ts';
import { compareStageNames } from './stageOrder.ts';

/** Measured on the reference outputs; the reasons are in test/golden/README.md and docs/model.md. */
export interface StageTolerances {
  /**
   * Largest absolute difference of float stages. 1e-3: values reach 20, and float32 operations in another order stay
   * within 1e-4.
   */
  readonly atol: number;
  /**
   * Largest absolute difference of normalized actions. 5e-5: float32 operations in another order move them by 2e-6, the smallest
   * mistakes (RMSNorm eps, tanh GELU) by 1e-4. For un-normalized actions it is multiplied by their largest value if above 1.
   */
  readonly actionsAtol: number;
  /** By how many levels a pixel of `resized` or `cropped` may differ: a rounding tie in the resize moves it by one. */
  readonly pixelLevels: number;
  /** Share of an image's values that may differ by that: ties are a few in 150,000. */
  readonly pixelShare: number;
}

/** The tolerances for the reference outputs. */
export const defaultTolerances: StageTolerances = {
  atol: 1e-3,
  actionsAtol: 5e-5,
  pixelLevels: 1,
  pixelShare: 1e-4,
};

/** Tolerances and strictness. */
export interface CompareOptions {
  readonly tolerances?: Partial<StageTolerances>;
  /** Whether stages found on one side only are a failure. Default: they are only listed. */
  readonly strict?: boolean;
}

/** The difference of one stage. */
export interface StageDifference {
  readonly name: string;
  readonly passed: boolean;
  /** Why the stage failed; null if it passed. */
  readonly reason: string | null;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** NaN if either side contains NaN; null if dtypes or shapes differ. */
  readonly maxAbs: number | null;
  /** Flat index of the element where `maxAbs` occurs; null without a difference. */
  readonly at: number | null;
  /** Cosine of the two as vectors; null for indices, masks and images, and if one side is all zero. */
  readonly cosine: number | null;
  /** Share of equal elements; for kept indices the share of b's set that is also in a. null for floats. */
  readonly agreement: number | null;
  /** The largest `maxAbs` allowed; 0 means exactly equal. */
  readonly tolerance: number;
}

/** The comparison of two stage files. */
export interface StageComparison {
  readonly passed: boolean;
  /** In computation order. */
  readonly stages: readonly StageDifference[];
  readonly onlyA: readonly string[];
  readonly onlyB: readonly string[];
}

const isImage = (name: string): boolean => /\.(resized|cropped)$/.test(name);
const isIndexSet = (name: string): boolean => /\.kept_(patches|text)$/.test(name);

function largest(data: ArrayLike<number>): number {
  let value = 0;
  for (let i = 0; i < data.length; i++) value = Math.max(value, Math.abs(data[i]!));
  return value;
}

function toleranceOf(name: string, b: StageTensor, tolerances: StageTolerances): number {
  if (b.dtype !== 'F32') return isImage(name) ? tolerances.pixelLevels : 0;
  if (/^actions\.unnormalized$/.test(name)) return tolerances.actionsAtol * Math.max(1, largest(b.data));
  return /^actions\./.test(name) ? tolerances.actionsAtol : tolerances.atol;
}

interface Difference {
  readonly maxAbs: number;
  readonly at: number | null;
  readonly cosine: number | null;
  /** Number of elements that are not equal. */
  readonly unequal: number;
}

function difference(a: ArrayLike<number>, b: ArrayLike<number>): Difference {
  let maxAbs = 0;
  let at: number | null = null;
  let unequal = 0;
  let dot = 0;
  let squaresA = 0;
  let squaresB = 0;
  for (let i = 0; i < b.length; i++) {
    const x = a[i]!;
    const y = b[i]!;
    dot += x * y;
    squaresA += x * x;
    squaresB += y * y;
    // Equal infinities (a mask written as a bias) do not differ; subtracting them would give NaN.
    if (x === y) continue;
    unequal++;
    const apart = Math.abs(x - y);
    // Once NaN, the difference stays NaN.
    if (Number.isNaN(maxAbs) || apart <= maxAbs) continue;
    maxAbs = apart;
    at = i;
  }
  const norm = Math.sqrt(squaresA) * Math.sqrt(squaresB);
  return { maxAbs, at, cosine: norm > 0 && Number.isFinite(norm) ? dot / norm : null, unequal };
}

/** Share of b's elements that a also contains, in any order. */
function overlap(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const has = new Set(Array.from(a));
  return Array.from(b).filter((index) => has.has(index)).length / b.length;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

function compareStage(
  name: string,
  a: StageTensor,
  b: StageTensor,
  tolerances: StageTolerances,
): StageDifference {
  const tolerance = toleranceOf(name, b, tolerances);
  const base = { name, dtype: b.dtype, shape: b.shape, tolerance };
  const unmatched = { ...base, passed: false, maxAbs: null, at: null, cosine: null, agreement: null };
  if (a.dtype !== b.dtype) return { ...unmatched, reason: `dtype ${a.dtype} against ${b.dtype}` };
  if (!sameShape(a.shape, b.shape)) {
    return { ...unmatched, reason: `shape [${a.shape.join(', ')}] against [${b.shape.join(', ')}]` };
  }
  const { maxAbs, at, cosine, unequal } = difference(a.data, b.data);
  const floats = b.dtype === 'F32';
  const share = b.data.length === 0 ? 0 : unequal / b.data.length;
  let reason: string | null = null;
  if (Number.isNaN(maxAbs)) reason = `NaN at ${at}`;
  else if (tolerance === 0 && maxAbs > 0) reason = `${unequal} of ${b.data.length} entries differ`;
  else if (maxAbs > tolerance)
    reason = `${maxAbs.toExponential(2)} above ${tolerance.toExponential(1)} at ${at}`;
  else if (!floats && share > tolerances.pixelShare) reason = `${unequal} of ${b.data.length} values off`;
  const agreement = floats ? null : isIndexSet(name) ? overlap(a.data, b.data) : 1 - share;
  return { ...base, passed: reason === null, reason, maxAbs, at, cosine: floats ? cosine : null, agreement };
}

/**
 * Compares two runs, where `b` is the reference. Indices, ids and masks must be equal; floats, actions and images may differ
 * within their tolerance.
 *
 * @throws STAGES_INVALID if they have no stage in common: comparing nothing is not a pass
 */
export function compareStages(a: Stages, b: Stages, options: CompareOptions = {}): StageComparison {
  const tolerances = { ...defaultTolerances, ...options.tolerances };
  const names = [...a.keys()].filter((name) => b.has(name)).sort(compareStageNames);
  if (names.length === 0) {
    throw new SemanticVlaError(
      'STAGES_INVALID',
      'Expected two stage files with names in common but found none. Are both written by `stages` or the reference?',
    );
  }
  const stages = names.map((name) => compareStage(name, a.get(name)!, b.get(name)!, tolerances));
  const onlyA = [...a.keys()].filter((name) => !b.has(name)).sort(compareStageNames);
  const onlyB = [...b.keys()].filter((name) => !a.has(name)).sort(compareStageNames);
  const complete = options.strict !== true || (onlyA.length === 0 && onlyB.length === 0);
  return { passed: complete && stages.every((stage) => stage.passed), stages, onlyA, onlyB };
}
