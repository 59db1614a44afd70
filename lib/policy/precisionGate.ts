/**
 * Whether a precision may be used on a checkpoint: the figures of a comparison with float32 on stored observations, their limits,
 * and where the result is kept, beside the quantized weights and under their key, so that it counts for these weights alone.
 */

import { open } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { OpenCheckpointOptions } from '../checkpoint/checkpoint.ts';
import { cacheFolder } from '../checkpoint/loraMerge.ts';
import { inCache } from '../checkpoint/weightCache.ts';
import { makeFolder } from '../support/makeFolder.ts';
import type { Notice } from '../support/notices.ts';
import { openOwn } from '../support/ownFiles.ts';
import type { ClosedLoopFigures } from './closedLoop.ts';
import type { RoundedPrecision } from './runtimeOptions.ts';

/** How far a policy is from the same policy in float32, over stored observations. */
export interface PrecisionFigures {
  readonly observations: number;
  /** Mean over observations of the cosine between the two chunks of normalized actions. */
  readonly actionCosine: number;
  readonly lowestCosine: number;
  /** Mean and largest |difference| of normalized actions. */
  readonly meanChange: number;
  readonly largestChange: number;
  /** Share of the kept patches that both keep; null: the policy keeps all. */
  readonly keptEqual: number | null;
  /** Share of the grippers' values on the other side of the middle of their range; null: no gripper, or it never moved. */
  readonly gripperFlips: number | null;
}

/** How far one layer's 8-bit product is from its float32 one, on the activations of the float32 policy. */
export interface LayerError {
  readonly layer: string;
  /** Signal to noise in decibels. */
  readonly decibels: number;
}

/** A comparison's result, as it is kept. */
export interface PrecisionGate {
  readonly precision: RoundedPrecision;
  /** `cpu`, or the GPU and its TensorRT. */
  readonly runsOn: string;
  readonly activationBits: 7 | 8;
  readonly figures: PrecisionFigures;
  /** Median and worst of all layers. */
  readonly medianDecibels: number;
  readonly worst: LayerError;
  /** Absent: no closed loops were compared. */
  readonly closedLoop?: ClosedLoopFigures;
  /** Figures over their limit, in words; empty: passed. */
  readonly failures: readonly string[];
}

/** What int8 must keep. Kept patches are compared one by one. */
export const precisionLimits = {
  actionCosine: 0.995,
  meanChange: 0.002,
  keptEqual: 0.98,
  gripperFlips: 0.002,
} as const;

const percent = (value: number): string => `${(100 * value).toFixed(2)} %`;

/** Figures over their limit, in words. NaN fails. */
export function failuresOf(figures: PrecisionFigures): string[] {
  const { actionCosine, meanChange, keptEqual, gripperFlips } = figures;
  const limits = precisionLimits;
  const failures: string[] = [];
  if (!(actionCosine >= limits.actionCosine))
    failures.push(`action cosine ${actionCosine.toFixed(5)}, at least ${limits.actionCosine} expected`);
  if (!(meanChange <= limits.meanChange))
    failures.push(
      `mean change of normalized actions ${meanChange.toFixed(5)}, at most ${limits.meanChange} expected`,
    );
  if (keptEqual !== null && !(keptEqual >= limits.keptEqual))
    failures.push(`kept patches ${percent(keptEqual)} equal, at least ${percent(limits.keptEqual)} expected`);
  if (gripperFlips !== null && !(gripperFlips <= limits.gripperFlips))
    failures.push(`gripper flips ${percent(gripperFlips)}, at most ${percent(limits.gripperFlips)} expected`);
  return failures;
}

type CacheOptions = Pick<OpenCheckpointOptions, 'cacheDir'>;

const gateFile = (key: string, options: CacheOptions): string =>
  join(resolve(cacheFolder(options)), `int8-${key}.gate.json`);

/** Far more than a result has. */
const mostBytes = 1 << 16;

/** @throws (rejects) CACHE_UNWRITABLE */
export async function writeGate(key: string, gate: PrecisionGate, options: CacheOptions): Promise<string> {
  const file = gateFile(key, options);
  await inCache(file, async () => {
    await makeFolder(resolve(cacheFolder(options)), 0o700);
    const handle = await open(file, 'w', 0o600);
    try {
      await handle.writeFile(JSON.stringify(gate));
    } finally {
      await handle.close();
    }
  });
  return file;
}

/** What a result must be of. */
type GateOf = Partial<Pick<PrecisionGate, 'activationBits' | 'runsOn'>>;

/** null: no comparison was made with these weights and this arithmetic, or its file is not ours. */
export async function readGate(
  key: string,
  of: GateOf,
  options: CacheOptions,
): Promise<PrecisionGate | null> {
  try {
    const own = await openOwn(gateFile(key, options), () => new Error('foreign'));
    if (own === null || own.bytes > mostBytes) {
      await own?.handle.close();
      return null;
    }
    try {
      const gate = JSON.parse(await own.handle.readFile('utf8')) as PrecisionGate;
      const isOf = (Object.keys(of) as (keyof GateOf)[]).every((field) => gate[field] === of[field]);
      return isOf && Array.isArray(gate.failures) ? gate : null;
    } finally {
      await own.handle.close();
    }
  } catch {
    // a foreign or damaged file says nothing
    return null;
  }
}

/** What should be known of a policy that is loaded in this precision; null: it passed. */
export function gateNotice(
  dir: string,
  precision: RoundedPrecision,
  runsOn: string,
  gate: PrecisionGate | null,
): Notice | null {
  const onCpu = runsOn === 'cpu';
  const command = `semanticvla compare-precision ${dir}${onCpu ? '' : ' --backend tensorrt'} --precision ${precision} --observations FOLDER`;
  if (gate === null) {
    return {
      code: 'PRECISION_NOT_COMPARED',
      message: `${dir}: expected that precision ${precision}${onCpu ? '' : ` on ${runsOn}`} was compared with float32 on observations of this policy, found no result. Rounding may move its actions: ${command}`,
    };
  }
  if (gate.failures.length === 0) return null;
  const other = !onCpu ? 'bfloat16' : precision === 'int8' ? 'int8-llm or float32' : 'float32';
  return {
    code: 'PRECISION_FAILED',
    message: `${dir}: precision ${precision} failed its comparison with float32 on ${gate.figures.observations} observations: ${gate.failures.join('; ')}. Use ${other}, or compare again on more observations: ${command}`,
  };
}
