/** The opened checkpoint: everything that later rooms may know about a folder on disk. */

import type { Notice, OnNotice } from '../support/notices.ts';
import type { FileStates } from './fileStates.ts';
import type { HeadName, PixelNormalization, PolicyConfig } from './policyConfig.ts';
import type { TensorView } from './tensorView.ts';

/**
 * Bounds of one quantity (action or proprio) of one dataset, float64. In an opened checkpoint each list is read when it is
 * used, and refused then (STATISTICS_INVALID) unless it is a list of numbers of that length, finite where the mask is true.
 */
export interface Bounds {
  readonly q01: readonly number[];
  readonly q99: readonly number[];
  readonly min: readonly number[];
  readonly max: readonly number[];
  /** false: the dimension is passed through unnormalized. Missing on disk means all true. */
  readonly mask: readonly boolean[];
  /** File and path, for messages. */
  readonly where?: string;
}

/** Statistics of one dataset, in its units. */
export interface DatasetStatistics {
  /** Length of the lists, whatever they hold; null: there are none. */
  readonly actionDim: number | null;
  readonly proprioDim: number | null;
  readonly action: Bounds;
  /** null when the dataset has no proprio statistics. */
  readonly proprio: Bounds | null;
}

/** Where the tokenizers were found; null: the policy has no such part. */
export interface TokenizerFiles {
  /** `tokenizer.json`, else null. */
  readonly llamaJson: string | null;
  /** `tokenizer.model` (sentencepiece), else null. At least one of the two is there. */
  readonly llamaModel: string | null;
  /** `spiece.model` of the SigLIP text folder; null when no tower has a sampler. */
  readonly siglipModel: string | null;
}

/** Which files fed the checkpoint, for `inspect` and error messages. */
export interface CheckpointSources {
  readonly shards: readonly string[];
  readonly visionBackbone: string | null;
  readonly actionHead: string | null;
  readonly proprioProjector: string | null;
  /** Only of a diffusion policy. */
  readonly noisyActionProjector: string | null;
  readonly siglipTextFolder: string | null;
  readonly statistics: string;
  readonly rounding: WeightRounding;
  /** The cache file of weights that are not used as stored; null when all are. */
  readonly madeWeights: {
    readonly file: string;
    readonly fromCache: boolean;
    /** Weights that LoRA was merged into. */
    readonly merged: number;
    /** Weights that were only rounded. */
    readonly rounded: number;
  } | null;
  /** The file that each of them was made from, by tensor name. */
  readonly madeOf: ReadonlyMap<string, string>;
}

/** A trained policy's folder, opened and checked: its configuration and its tensors, none of them read yet. */
export interface Checkpoint {
  /** Absolute folder. */
  readonly dir: string;
  readonly config: PolicyConfig;
  /** Every tensor the policy uses, LoRA merged, by canonical name (see policyTensors.ts). */
  readonly tensors: ReadonlyMap<string, TensorView>;
  readonly statistics: ReadonlyMap<string, DatasetStatistics>;
  readonly pixelNormalization: { readonly dinov2: PixelNormalization; readonly siglip: PixelNormalization };
  readonly tokenizers: TokenizerFiles;
  /** The files of `tensors` as they were when they were opened. */
  readonly files: FileStates;
  readonly sources: CheckpointSources;
  /** Notices: what should be known although it opens. */
  readonly notices: readonly Notice[];
}

/** Progress of long work: `done` of `total` in `unit`, for one named step. */
export interface Progress {
  readonly step: string;
  readonly done: number;
  readonly total: number;
  readonly unit: 'bytes' | 'tensors' | 'steps' | 'episodes';
}

/**
 * `bfloat16` (default): every weight rounded to bfloat16, and LoRA merged as the reference's loaders merge it (in bfloat16;
 * for OpenVLA-OFT+, which they never merge, in float32 from rounded parts). `none`: weights as training left them, LoRA
 * merged in float32. docs/weightRounding.md has figures.
 */
export const weightRoundings = ['bfloat16', 'none'] as const;
export type WeightRounding = (typeof weightRoundings)[number];

/** Where side files are, and the hooks of long work. */
export interface OpenCheckpointOptions {
  /** How actions are made, where the files cannot tell: it is required for a folder without an action head. */
  readonly head?: HeadName;
  /** Folder with the SigLIP tokenizer and text config, overriding `text_encoder_path`. */
  readonly siglipText?: string;
  /** Default `bfloat16`. */
  readonly rounding?: WeightRounding;
  /** Where merged and rounded weights are kept; default `$SEMANTICVLA_CACHE`, else `$XDG_CACHE_HOME/semanticvla`, else `~/.cache/semanticvla`. */
  readonly cacheDir?: string;
  /** Called while it lasts; must return quickly. */
  readonly onProgress?: (progress: Progress) => void;
  /** Each of `Checkpoint.notices`, as soon as it is known; default: a warning of the process. */
  readonly onNotice?: OnNotice;
  readonly signal?: AbortSignal;
}

/** Bytes of the weights that the graphs may read. */
export function weightBytes(checkpoint: Pick<Checkpoint, 'tensors'>): number {
  let bytes = 0;
  for (const view of checkpoint.tensors.values()) bytes += view.byteLength;
  return bytes;
}

/** Every option of `openCheckpoint`: for the misspelling check, and for callers that pass them on. */
export const openCheckpointOptionNames = [
  'head',
  'siglipText',
  'rounding',
  'cacheDir',
  'onProgress',
  'onNotice',
  'signal',
] as const satisfies readonly (keyof OpenCheckpointOptions)[];
