/** The graphs of a policy as the CPU runtime runs them, quantized where that was asked for. */

import { type Checkpoint, type OpenCheckpointOptions, weightBytes } from '../checkpoint/checkpoint.ts';
import { type FileStates, statesOf } from '../checkpoint/fileStates.ts';
import { type Int8Weights, int8Key, makeInt8Weights } from '../checkpoint/int8Weights.ts';
import { buildDenoiserGraph } from '../graph/denoiserGraph.ts';
import type { GraphOptions } from '../graph/graphContext.ts';
import { buildInstructionGraph } from '../graph/instructionGraph.ts';
import type { Int8Options } from '../graph/int8Layers.ts';
import { type OnnxModel, placeQuantized } from '../graph/onnxModel.ts';
import { buildPolicyGraph } from '../graph/policyGraph.ts';
import { type Tier, tiers } from '../graph/tiers.ts';
import { activationBits } from '../runtime/int8Kernels.ts';
import type { OnnxSessionOptions } from '../runtime/onnxRuntime.ts';
import type { PolicyOptions } from '../types.ts';
import type { PolicyParts } from './policyParts.ts';
import { gateNotice, type PrecisionGate, readGate } from './precisionGate.ts';
import {
  type CpuPrecision,
  type CpuWeights,
  cpuPrecisionOf,
  cpuPrecisions,
  cpuWeightsOf,
  type RoundedPrecision,
} from './runtimeOptions.ts';

/** Below this many bytes of weights, widening them all to float32 at load costs less memory than it saves time. */
const foldedWeightsLimit = 2 * 2 ** 30;

type Parts = Pick<PolicyParts, 'checkpoint' | 'sizes'>;
type Hooks = Pick<OpenCheckpointOptions, 'cacheDir' | 'onProgress' | 'onNotice' | 'signal'>;

/** How the CPU runtime holds the weights that are not quantized, by default. */
export function defaultWeights(
  checkpoint: Pick<Checkpoint, 'tensors' | 'config'>,
  precision: CpuPrecision,
): CpuWeights {
  // `int8` leaves little to widen beside the embeddings, of which a few rows are read: at full size folding them all would
  // hold 0.6 GB more and save nothing (docs/precision.md), so it follows the size of the whole policy, as float32 does
  const widened =
    precision === 'int8-llm'
      ? new Map([...checkpoint.tensors].filter(([name]) => !name.startsWith('language_model.model.layers.')))
      : checkpoint.tensors;
  // every pass of a policy that makes one token after another packs the language model's weights for itself
  const copies = checkpoint.config.head.kind === 'autoregressive' ? 8 : 1;
  return weightBytes({ tensors: widened }) * copies < foldedWeightsLimit ? 'folded' : 'mapped';
}

/** The graph's option for a precision; undefined: float32. */
export function int8Of(precision: CpuPrecision, compares = false): Int8Options | undefined {
  if (precision === 'float32') return undefined;
  return { layers: precision === 'int8' ? 'all' : 'llm', activationBits: activationBits(), compares };
}

/** Quantized, and said what is known of it. */
async function judged(
  models: Models,
  checkpoint: Checkpoint,
  precision: CpuPrecision,
  { activationBits }: Int8Options,
  options: Hooks,
): Promise<Models & { readonly files: FileStates }> {
  const placed = await quantizeModels(models, checkpoint, options);
  if (activationBits === 7) {
    options.onNotice?.({
      code: 'PRECISION_SEVEN_BITS',
      message: `precision ${precision}: expected a processor with VNNI, found none: activations have 7 bits instead of 8, since sums of 8 would saturate. Compare on this machine: semanticvla compare-precision`,
    });
  }
  const notice = gateNotice(
    checkpoint.dir,
    precision as RoundedPrecision,
    'cpu',
    await readGate(placed.made.key, { activationBits, runsOn: 'cpu' }, options),
  );
  if (notice !== null) options.onNotice?.(notice);
  return placed;
}

interface Models {
  readonly instruction: OnnxModel;
  readonly policy: OnnxModel;
  /** null: not a diffusion policy. */
  readonly denoiser: OnnxModel | null;
}

export function buildModels({ checkpoint, sizes }: Parts, options: Partial<GraphOptions>): Models {
  const { config, tensors, pixelNormalization } = checkpoint;
  const all = { ...sizes, stages: false, mergeWeights: false, ...options };
  return {
    instruction: buildInstructionGraph(config, tensors, all),
    policy: buildPolicyGraph(config, tensors, pixelNormalization, all),
    denoiser: config.head.kind === 'diffusion' ? buildDenoiserGraph(config, tensors, all) : null,
  };
}

/** Their weights that are quantized, each once. */
export function quantizedOf({ instruction, policy, denoiser }: Models): OnnxModel['quantized'] {
  const all = [...instruction.quantized, ...policy.quantized, ...(denoiser?.quantized ?? [])];
  return [...new Map(all.map((weight) => [weight.name, weight])).values()];
}

/** Of a checkpoint's weights in a precision, and of what is known of them. Reads no weights. */
export function roundedKey(parts: Parts, precision: RoundedPrecision, onCpu: boolean): string {
  const graphs = onCpu ? { int8: int8Of(precision as CpuPrecision)! } : { tier: precision as Tier };
  return int8Key(parts.checkpoint, quantizedOf(buildModels(parts, graphs)));
}

/** What is known of each precision on this checkpoint; null: nothing. */
export async function keptGates(
  parts: Parts,
  options: Pick<Hooks, 'cacheDir'>,
): Promise<{ readonly precision: RoundedPrecision; readonly gate: PrecisionGate | null }[]> {
  const onCpu = cpuPrecisions.flatMap((precision) => {
    const int8 = int8Of(precision);
    return int8 === undefined ? [] : [{ precision: precision as RoundedPrecision, int8 }];
  });
  const known = onCpu.map(async ({ precision, int8: { activationBits } }) => {
    const of = { activationBits, runsOn: 'cpu' };
    return { precision, gate: await readGate(roundedKey(parts, precision, true), of, options) };
  });
  // of engines what was found, on whatever GPU
  const onGpu = tiers.map(async (tier) => ({
    precision: tier,
    gate: await readGate(roundedKey(parts, tier, false), {}, options),
  }));
  const compared = (await Promise.all(onGpu)).filter(({ gate }) => gate !== null);
  return [...(await Promise.all(known)), ...compared];
}

/** Models whose quantized weights are in the cache, made now if they are not; and the files that hold all their weights. */
export async function quantizeModels<T extends Models>(
  models: T,
  checkpoint: Checkpoint,
  hooks: Hooks,
): Promise<T & { readonly made: Int8Weights; readonly files: FileStates }> {
  const made = await makeInt8Weights(checkpoint, quantizedOf(models), hooks);
  return {
    ...models,
    instruction: placeQuantized(models.instruction, made.tensors),
    policy: placeQuantized(models.policy, made.tensors),
    denoiser: models.denoiser === null ? null : placeQuantized(models.denoiser, made.tensors),
    made,
    files: new Map([...checkpoint.files, ...(await statesOf([made.file], made.file))]),
  };
}

/** The models as a session takes them. */
export function sessionModels(
  { instruction, policy, denoiser }: Models,
  { diffusion }: Pick<PolicyParts, 'diffusion'>,
): Pick<OnnxSessionOptions, 'instruction' | 'policy' | 'denoiser'> {
  if (denoiser === null || diffusion === null) return { instruction, policy };
  return { instruction, policy, denoiser: { model: denoiser, steps: diffusion.schedule } };
}

/**
 * What an OnnxSession of the policy is opened with.
 *
 * @throws (rejects) what makeInt8Weights throws
 */
export async function cpuSessionOptions(
  parts: Parts & Pick<PolicyParts, 'threads' | 'spinUs' | 'diffusion'>,
  options: Pick<PolicyOptions, 'weights' | 'precision'> & Hooks,
): Promise<OnnxSessionOptions> {
  const { checkpoint, threads, spinUs } = parts;
  const precision = cpuPrecisionOf(options);
  const weights = cpuWeightsOf(options) ?? defaultWeights(checkpoint, precision);
  const int8 = int8Of(precision);
  const mergeWeights = weights === 'folded';
  const plain = buildModels(parts, { mergeWeights, ...(int8 === undefined ? {} : { int8 }) });
  const models =
    int8 === undefined
      ? { ...plain, files: checkpoint.files }
      : await judged(plain, checkpoint, precision, int8, options);
  return {
    ...sessionModels(models, parts),
    threads,
    ...(spinUs === undefined ? {} : { spinUs }),
    weights,
    files: models.files,
  };
}
