/** A policy in 8 bits beside itself in float32 on stored observations, judged by the limits of precisionGate.ts. */

import { openCheckpoint } from '../checkpoint/openCheckpoint.ts';
import { findMachine, machineText } from '../engine/openTensorRt.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import { warn } from '../support/notices.ts';
import { present } from '../support/options.ts';
import type { ActionChunk, PolicyOptions } from '../types.ts';
import { type ClosedLoopFigures, closedLoopFailures } from './closedLoop.ts';
import { int8Of, roundedKey } from './cpuModels.ts';
import { layerErrors, type ObservedTask } from './layerErrors.ts';
import { loadPolicy } from './loadPolicy.ts';
import { checkpointOptions, gatherParts, type PolicyParts } from './policyParts.ts';
import {
  failuresOf,
  type LayerError,
  type PrecisionFigures,
  type PrecisionGate,
  readGate,
  writeGate,
} from './precisionGate.ts';
import {
  type CpuPrecision,
  checkRuntimeOptions,
  type RoundedPrecision,
  tensorRtOnly,
  tensorRtOptionsOf,
} from './runtimeOptions.ts';

/** What is compared with float32 on the CPU: a precision of the CPU runtime, or of engines with `backend: 'tensorrt'`. */
export interface ComparePrecisionOptions extends Omit<PolicyOptions, 'precision'> {
  readonly precision: RoundedPrecision;
  /** Successes in a simulator (readClosedLoop), judged with the rest. */
  readonly closedLoop?: ClosedLoopFigures;
}

/** The gate's result, with every layer. */
export interface PrecisionComparison extends PrecisionGate {
  /** Worst first; empty where closed loops alone were compared. */
  readonly layers: readonly LayerError[];
  /** Where the result is kept. */
  readonly file: string;
}

/** Observations whose activations the layers are compared on: their sums hardly change with more. */
const layerTasks = 8;

/**
 * Compares, judges, and keeps the result beside the quantized weights, where loading the policy in this precision finds it.
 *
 * @param tasks observations that the policy was trained to act on; none: `closedLoop` is added to an earlier comparison's result.
 *   A later comparison keeps the closed loops that are known
 * @throws (rejects) OPTION_REQUIRED without observations and without an earlier result, and as loadPolicy and predict do
 */
export async function comparePrecision(
  dir: string,
  tasks: readonly ObservedTask[],
  options: ComparePrecisionOptions,
): Promise<PrecisionComparison> {
  checkRuntimeOptions(options);
  const { precision, closedLoop, ...rest } = options;
  if (tasks.length === 0 && closedLoop === undefined)
    throw new SemanticVlaError('OPTION_REQUIRED', 'Expected observations to compare on, found none.');
  const onCpu = options.backend !== 'tensorrt';
  const checkpoint = await openCheckpoint(dir, { ...checkpointOptions(rest), onNotice: () => {} });
  const parts = await gatherParts(checkpoint, rest);
  const key = roundedKey(parts, precision, onCpu);
  const of = {
    runsOn: onCpu ? 'cpu' : machineText(findMachine(tensorRtOptionsOf(rest))),
    activationBits: onCpu ? int8Of(precision as CpuPrecision)!.activationBits : 8,
  } as const;
  const before = await readGate(key, of, rest);
  if (tasks.length === 0 && before === null) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `${dir}: expected observations too, since precision ${precision} was not compared on any yet (${of.runsOn}); found closed loops alone.`,
    );
  }
  const predicted = tasks.length === 0 ? null : await compareTasks(parts, tasks, options);
  const layers = predicted?.layers ?? [];
  const driven = closedLoop ?? before?.closedLoop;
  const figures = predicted?.figures ?? before!.figures;
  const gate: PrecisionGate = {
    precision,
    ...of,
    figures,
    medianDecibels: layers[layers.length >> 1]?.decibels ?? before!.medianDecibels,
    worst: layers[0] ?? before!.worst,
    ...present({ closedLoop: driven }),
    failures: [...failuresOf(figures), ...(driven === undefined ? [] : closedLoopFailures(driven))],
  };
  return { ...gate, layers, file: await writeGate(key, gate, rest) };
}

/** Predicts in both, and computes each layer both ways; layers worst first. */
async function compareTasks(
  parts: PolicyParts,
  tasks: readonly ObservedTask[],
  { precision, closedLoop: _, ...rest }: ComparePrecisionOptions,
): Promise<{ readonly figures: PrecisionFigures; readonly layers: readonly LayerError[] }> {
  const { dir, config } = parts.checkpoint;
  const tell = isolated('onProgress', rest.onProgress);
  // both must start from the same noise
  const isDiffusion = config.head.kind === 'diffusion';
  const { onNotice = warn, signal } = rest;
  const predicted = async (
    name: 'float32' | RoundedPrecision,
    own: Omit<PolicyOptions, 'precision'>,
  ): Promise<{ chunks: ActionChunk[]; dimensions: readonly string[] }> => {
    await using policy = await loadPolicy(dir, {
      ...own,
      precision: name,
      ...(isDiffusion ? { seed: rest.seed ?? 0 } : {}),
      // what this comparison is about to answer
      onNotice: (notice) => {
        if (!notice.code.startsWith('PRECISION_')) onNotice(notice);
      },
    });
    const chunks: ActionChunk[] = [];
    for (const { observation, instruction } of tasks) {
      chunks.push(await policy.predict(observation, { instruction, ...present({ signal }) }));
      tell({ step: `predict in ${name}`, done: chunks.length, total: tasks.length, unit: 'steps' });
    }
    return { chunks, dimensions: policy.dimensions };
  };
  const exact = await predicted('float32', rest.backend === 'tensorrt' ? withoutTensorRt(rest) : rest);
  const rounded = await predicted(precision, rest);
  const step = Math.max(1, Math.floor(tasks.length / layerTasks));
  const some = tasks.filter((_, i) => i % step === 0).slice(0, layerTasks);
  const layers = await layerErrors(parts, precision, some, rest);
  return {
    figures: precisionFigures(exact.chunks, rounded.chunks, exact.dimensions),
    layers: layers.toSorted((a, b) => a.decibels - b.decibels),
  };
}

/** For the CPU: what it does not take left out. */
function withoutTensorRt(options: Omit<PolicyOptions, 'precision'>): Omit<PolicyOptions, 'precision'> {
  const { backend: _backend, weights: _weights, ...others } = options;
  return Object.fromEntries(
    Object.entries(others).filter(([name]) => !(tensorRtOnly as readonly string[]).includes(name)),
  );
}

/** @param exact as many chunks as `rounded`, of the same observations  @param dimensions names of the actions' dimensions */
export function precisionFigures(
  exact: readonly Pick<ActionChunk, 'normalized' | 'keptPatches'>[],
  rounded: readonly Pick<ActionChunk, 'normalized' | 'keptPatches'>[],
  dimensions: readonly string[],
): PrecisionFigures {
  const cosines = exact.map(({ normalized }, i) => cosine(normalized, rounded[i]!.normalized));
  let [sum, values, largest] = [0, 0, 0];
  let [kept, same] = [0, 0];
  for (const [i, chunk] of exact.entries()) {
    const other = rounded[i]!;
    chunk.normalized.forEach((value, at) => {
      const change = Math.abs(value - other.normalized[at]!);
      sum += change;
      values++;
      // a NaN stays
      largest = change <= largest ? largest : change;
    });
    for (const [camera, patches] of Object.entries(chunk.keptPatches)) {
      const theirs = new Set(other.keptPatches[camera]);
      kept += patches.length;
      same += patches.filter((patch) => theirs.has(patch)).length;
    }
  }
  return {
    observations: exact.length,
    actionCosine: cosines.reduce((a, b) => a + b, 0) / cosines.length,
    lowestCosine: Math.min(...cosines),
    meanChange: sum / values,
    largestChange: largest,
    keptEqual: kept === 0 ? null : same / kept,
    gripperFlips: gripperFlips(exact, rounded, dimensions),
  };
}

/** A gripper that moves less than this share of the normalized range is taken as still. */
const stillGripper = 0.1;

function gripperFlips(
  exact: readonly Pick<ActionChunk, 'normalized'>[],
  rounded: readonly Pick<ActionChunk, 'normalized'>[],
  dimensions: readonly string[],
): number | null {
  const width = dimensions.length;
  let [flips, all] = [0, 0];
  for (const [d, name] of dimensions.entries()) {
    if (!/gripper/.test(name)) continue;
    const column = (chunks: readonly Pick<ActionChunk, 'normalized'>[]): number[] =>
      chunks.flatMap(({ normalized }) => [...normalized.filter((_, at) => at % width === d)]);
    const [ours, theirs] = [column(exact), column(rounded)];
    const [low, high] = ours.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    if (high - low < stillGripper) continue;
    const middle = (low + high) / 2;
    all += ours.length;
    flips += ours.filter((value, i) => value > middle !== theirs[i]! > middle).length;
  }
  return all === 0 ? null : flips / all;
}

function cosine(a: Float32Array, b: Float32Array): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  return dot / Math.sqrt(aa * bb);
}
