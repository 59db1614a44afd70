/** Describes a checkpoint in numbers: variant, token budget, normalization keys, parameters, bytes, memory. */

import { readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { requireStatistics, statisticsProblem } from '../checkpoint/agreement.ts';
import type { Checkpoint, CheckpointSources } from '../checkpoint/checkpoint.ts';
import { JsonFields } from '../checkpoint/jsonFields.ts';
import type { HeadConfig, LlamaConfig, VitConfig } from '../checkpoint/policyConfig.ts';
import { readSafetensors } from '../checkpoint/safetensors.ts';
import type { TensorView } from '../checkpoint/tensorView.ts';
import { countImageTokens, countTokens } from '../graph/tokenCounts.ts';
import { keptGates } from '../policy/cpuModels.ts';
import {
  type PlatformOptions,
  platformNotices,
  resolvePlatform,
  resolveUnnormKey,
} from '../policy/platform.ts';
import { policySizes } from '../policy/policyParts.ts';
import type { PrecisionGate } from '../policy/precisionGate.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { Notice } from '../support/notices.ts';
import { present } from '../support/options.ts';
import type { Platform } from '../types.ts';
import { estimateMemory, type MemoryEstimate } from './memory.ts';
import { type ObservationNeeds, observationNeeds } from './observationNeeds.ts';
import { type PartName, type PartSize, partNames, partOf } from './parts.ts';

/** How many tokens the language model reads. */
export interface TokenBudget {
  /** Projected patches per image. */
  readonly patches: number;
  /** Instruction-weighted pooled tokens per image. */
  readonly pooled: number;
  /** Tokens per image in the language model. */
  readonly perImage: number;
  /** H; null: one per action dimension. */
  readonly actionTokensPerStep: number | null;
  /** Language model sequence length, in words. */
  readonly formula: string;
  /** The formula without the prompt, for the given platform; null without one. */
  readonly besidePrompt: number | null;
}

/** A file of the folder that the policy does not read, and why. */
export interface IgnoredFile {
  readonly file: string;
  readonly bytes: number;
  readonly reason: string;
}

/** What a checkpoint holds: variant, sizes, statistics, parameters, memory. */
export interface InspectReport {
  readonly dir: string;
  readonly family: string;
  readonly variant: string;
  readonly imageSize: number;
  readonly dinov2: VitConfig;
  readonly siglip: VitConfig;
  readonly exchangePairs: readonly (readonly [number, number])[];
  readonly aggregation: string;
  readonly llama: LlamaConfig;
  readonly head: HeadConfig;
  readonly actionDim: number | null;
  readonly proprioDim: number | null;
  readonly tokens: TokenBudget;
  /** null if it cannot be told; `platformProblem` then says which options a caller must pass. */
  readonly platform: Platform | null;
  readonly platformProblem: string | null;
  /** What an observation of it holds; null without a platform. */
  readonly observation: ObservationNeeds | null;
  readonly normalizationKeys: readonly {
    readonly key: string;
    /** null: the lists are missing. */
    readonly actionDim: number | null;
    /** null: no proprio statistics. */
    readonly proprioDim: number | null;
    /** Why the key cannot be chosen; null if it can, or if the platform is not known. */
    readonly problem: string | null;
  }[];
  readonly parts: readonly PartSize[];
  readonly parameters: number;
  /** Total bytes of the files that the policy reads. */
  readonly bytesOnDisk: number;
  readonly memory: readonly MemoryEstimate[];
  /** How precisions of the CPU runtime compared with float32 on this machine (compare-precision); empty without a platform. */
  readonly precisions: readonly { readonly precision: string; readonly gate: PrecisionGate | null }[];
  /** Paths; relative to the folder for files inside it. */
  readonly sources: {
    readonly weights: readonly { readonly file: string; readonly bytes: number; readonly tensors: number }[];
    readonly statistics: string;
    readonly siglipText: string | null;
    readonly tokenizers: readonly string[];
    readonly rounding: CheckpointSources['rounding'];
    readonly madeWeights: CheckpointSources['madeWeights'];
  };
  /** Weights and statistics in the folder that are not used. */
  readonly ignored: readonly IgnoredFile[];
  /** Warnings about a checkpoint that opens nevertheless. */
  readonly notices: readonly Notice[];
  /** Tensors of the shards that a `.pt` archive supersedes or that are not read. */
  readonly supersededTensors: number;
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

/** Tokens per image and the sequence length (docs/model.md, Variants and LLM). */
function tokenBudget({ config }: Checkpoint, platform: Platform | null): TokenBudget {
  const { actionTokensPerStep, actionDim } = config;
  const { fused, pooled, perImage } = countImageTokens(config);
  const perStep = actionTokensPerStep ?? actionDim;
  const h = perStep === null ? 'A' : String(perStep);
  const counts =
    platform &&
    countTokens(config, {
      images: platform.cameras.length,
      chunk: platform.chunk,
      actionDim,
      proprio: platform.proprio,
    });
  return {
    patches: fused,
    pooled,
    perImage,
    actionTokensPerStep,
    formula: formulaOf(config.head.kind, perImage, h),
    // BOS, the prompt's first token, comes before the vision tokens and is counted here
    besidePrompt: counts && counts.besidePrompt + 1,
  };
}

function formulaOf(kind: HeadConfig['kind'], perImage: number, h: string): string {
  if (kind === 'autoregressive') return `1 + ${perImage} + (P - 1) + ${h} - 1`;
  const time = kind === 'diffusion' ? ' + 1 (time)' : '';
  return `1 + ${perImage}*I + proprio${time} + (P - 1) + ${h}*C + 1`;
}

function inferPlatform(
  checkpoint: Checkpoint,
  options: PlatformOptions,
): { platform: Platform | null; platformProblem: string | null } {
  try {
    return { platform: resolvePlatform(checkpoint, options), platformProblem: null };
  } catch (error) {
    // A checkpoint can be inspected without a platform; wrong options are still an error of the caller.
    if (error instanceof SemanticVlaError && error.code === 'PLATFORM_REQUIRED') {
      return { platform: null, platformProblem: error.message };
    }
    throw error;
  }
}

function partSizes({ config, tensors }: Checkpoint): PartSize[] {
  const sums = new Map<PartName, { parameters: number; bytes: number }>();
  for (const view of tensors.values()) {
    const part = partOf(view.name, config);
    const sum = sums.get(part) ?? { parameters: 0, bytes: 0 };
    sum.parameters += elements(view.shape);
    sum.bytes += view.byteLength;
    sums.set(part, sum);
  }
  return partNames.flatMap((part) => (sums.has(part) ? [{ part, ...sums.get(part)! }] : []));
}

/** Every regular file below `dir`, with its size. */
async function listFiles(dir: string): Promise<Map<string, number>> {
  const files = new Map<string, number>();
  for (const entry of await readdir(dir, { recursive: true })) {
    const path = join(dir, entry);
    const info = await stat(path).catch(() => null);
    if (info?.isFile()) files.set(path, info.size);
  }
  return files;
}

const isWeights = (file: string): boolean => /\.(safetensors|pt|bin|pth|ckpt)$/.test(file);

function reasonIgnored(file: string): string {
  if (/non_lora_trainables/.test(file)) return 'already in the shards';
  if (/adapter_model/.test(file)) return 'already merged into the shards';
  if (/siglip|text/i.test(file)) return 'its weights are superseded by the vision archive';
  return 'no part of the policy';
}

/** `norm_stats` of config.json if the statistics come from elsewhere: they look valid but are not used. */
async function ignoredStatistics({ dir, sources }: Checkpoint): Promise<IgnoredFile[]> {
  const file = join(dir, 'config.json');
  if (sources.statistics === file) return [];
  const decoy = (await JsonFields.read(file, 'CHECKPOINT_NOT_A_POLICY', 'CONFIG_INVALID')).get('norm_stats');
  if (decoy === undefined) return [];
  const bytes = Buffer.byteLength(JSON.stringify(decoy));
  return [{ file: 'config.json, norm_stats', bytes, reason: 'superseded by dataset_statistics.json' }];
}

/** The file of the checkpoint that a tensor comes from. */
function originOf({ madeOf }: CheckpointSources, { name, file }: TensorView): string {
  return madeOf.get(name) ?? file;
}

/** Unused tensors of the shards: superseded by an archive, or unknown to the policy. */
async function countSuperseded({ tensors, sources }: Checkpoint): Promise<number> {
  let count = 0;
  for (const shard of sources.shards) {
    for (const [name, { file }] of (await readSafetensors(shard)).tensors) {
      const used = tensors.get(name);
      if (used === undefined || originOf(sources, used) !== file) count++;
    }
  }
  return count;
}

/** None where the data set of a policy of action tokens was not chosen: the graph's sizes are not known then. */
async function precisionsOf(
  checkpoint: Checkpoint,
  platform: Platform,
  options: PlatformOptions & { readonly cacheDir?: string },
): Promise<InspectReport['precisions']> {
  const isKnown = checkpoint.config.actionDim !== null || checkpoint.statistics.size === 1;
  if (!isKnown && options.unnormKey === undefined) return [];
  const sizes = policySizes(checkpoint, platform, options.unnormKey);
  return keptGates({ checkpoint, sizes }, present({ cacheDir: options.cacheDir }));
}

/**
 * Reads only headers, no weights.
 *
 * @param options what is known of the platform, as for `loadPolicy`
 * @throws (rejects) OPTION_INVALID for options that contradict the checkpoint, UNNORM_KEY_UNKNOWN, STATISTICS_INVALID if the
 *   dataset that predictions would use does not fit the weights
 */
export async function inspectCheckpoint(
  checkpoint: Checkpoint,
  options: PlatformOptions & { readonly cacheDir?: string } = {},
): Promise<InspectReport> {
  const { dir, config, tensors, statistics, sources, tokenizers } = checkpoint;
  const inside = (file: string): string => {
    const path = relative(dir, file);
    return path.startsWith('..') ? file : path;
  };
  const inference = inferPlatform(checkpoint, options);
  const { platform } = inference;
  const [only] = statistics.size === 1 ? [...statistics.keys()] : [];
  const chosen =
    options.unnormKey === undefined ? (only ?? null) : resolveUnnormKey(checkpoint, options.unnormKey);
  if (platform !== null) requireStatistics(checkpoint, chosen, platform);
  const parts = partSizes(checkpoint);
  const files = await listFiles(dir);

  const tensorsOf = new Map<string, number>();
  for (const view of tensors.values()) {
    const file = originOf(sources, view);
    tensorsOf.set(file, (tensorsOf.get(file) ?? 0) + 1);
  }
  const { visionBackbone, actionHead, proprioProjector, noisyActionProjector } = sources;
  const archives = [visionBackbone, actionHead, proprioProjector, noisyActionProjector].filter(
    (file) => file !== null,
  );
  const weights = [...new Set([...sources.shards, ...archives])];
  const sized = await Promise.all(
    weights.map(async (file) => ({
      file: inside(file),
      bytes: files.get(file) ?? (await stat(file)).size,
      tensors: tensorsOf.get(file) ?? 0,
    })),
  );
  const ignored = [...files]
    .filter(([file]) => isWeights(file) && !weights.includes(file))
    .map(([file, bytes]) => ({ file: inside(file), bytes, reason: reasonIgnored(inside(file)) }));

  return {
    dir,
    family: config.family,
    variant: config.variant,
    imageSize: config.imageSize,
    dinov2: config.dinov2,
    siglip: config.siglip,
    exchangePairs: config.exchangePairs,
    aggregation: config.aggregation,
    llama: config.llama,
    head: config.head,
    actionDim: config.actionDim,
    proprioDim: config.proprioDim,
    tokens: tokenBudget(checkpoint, inference.platform),
    ...inference,
    observation: platform === null ? null : observationNeeds(checkpoint, platform, chosen),
    normalizationKeys: [...statistics].map(([key, { actionDim, proprioDim }]) => ({
      key,
      actionDim,
      proprioDim,
      problem: platform === null ? null : statisticsProblem(checkpoint, key, platform),
    })),
    parts,
    parameters: parts.reduce((sum, { parameters }) => sum + parameters, 0),
    bytesOnDisk: sized.reduce((sum, { bytes }) => sum + bytes, 0),
    memory: estimateMemory(parts),
    precisions: platform === null ? [] : await precisionsOf(checkpoint, platform, options),
    sources: {
      weights: sized,
      statistics: inside(sources.statistics),
      siglipText: sources.siglipTextFolder === null ? null : inside(sources.siglipTextFolder),
      tokenizers: Object.values(tokenizers)
        .filter((file) => file !== null)
        .map(inside),
      rounding: sources.rounding,
      madeWeights: sources.madeWeights,
    },
    ignored: [...ignored, ...(await ignoredStatistics(checkpoint))],
    notices: [
      ...checkpoint.notices,
      ...(platform === null ? [] : platformNotices(checkpoint, options, platform)),
    ],
    supersededTensors: await countSuperseded(checkpoint),
  };
}
