/**
 * The architectures that `synth` can write, and the only place where the real sizes are written down. Sources: the model
 * specification (sections Variants, Per-frame part, Checkpoint on disk), the authors' training scripts (LoRA rank and alpha,
 * exchange pairs, cameras), and the model cards of Llama-2-7B, DINOv2 ViT-L/14 with registers and SigLIP so400m (widths and
 * depths). All code that reads a checkpoint derives its dimensions from the files instead.
 */

import type { HeadName, PolicyFamily } from '../checkpoint/policyConfig.ts';

/** One vision transformer with the parameters that timm uses. `mlpRatio`: MLP width = trunc(width * mlpRatio). */
export interface SynthVit {
  readonly timmName: string;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlpRatio: number;
  /** Register tokens after the cls token. */
  readonly registerTokens: number;
  readonly hasClsToken: boolean;
  readonly hasLayerScale: boolean;
  /** SigLIP's attention pooling head: present in every checkpoint, used by no policy. */
  readonly hasAttentionPool: boolean;
  /** FiLM scale and shift in every block. */
  readonly film: boolean;
}

export interface SynthText {
  /** Folder inside the checkpoint; the reference requires `siglip` in its name. */
  readonly folder: string;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  readonly vocabSize: number;
  readonly positions: number;
}

export interface SynthLlama {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly mlpWidth: number;
  readonly vocabSize: number;
  readonly maxPositions: number;
}

/** What SemanticVLA has beyond OpenVLA-OFT; null in the spec of the latter. */
export interface SynthPruning {
  /** Q, learned query tokens in DINOv2. */
  readonly queries: number;
  /** Patches the ID-Pruner keeps; equals Q, since both are fused token by token. */
  readonly visionTopk: number;
  /** Pooled tokens; 0: none. */
  readonly textTopk: number;
  readonly exchangePairs: readonly (readonly [number, number])[];
  readonly aggregation: 'concat' | 'moe';
  readonly text: SynthText;
}

/** Everything `synth` needs to know: a preset, or a spec made by hand. */
export interface SynthSpec {
  /** Name of the preset, or a name of your own; written into synth.json. */
  readonly name: string;
  readonly family: PolicyFamily;
  /** How actions are made. Only `l1` and `diffusion` have files of their own. */
  readonly head: HeadName;
  readonly imageSize: number;
  readonly patchSize: number;
  readonly dinov2: SynthVit;
  readonly siglip: SynthVit;
  readonly pruning: SynthPruning | null;
  readonly llama: SynthLlama;
  /** H, action tokens per step. */
  readonly actionTokens: number;
  readonly actionDim: number;
  /** 0: without proprioception. */
  readonly proprioDim: number;
  readonly lora: { readonly rank: number; readonly alpha: number };
  /** The key of dataset_statistics.json. */
  readonly datasetKey: string;
  /** Training step in the names of the `.pt` files. */
  readonly step: number;
  /** Largest number of data bytes in a shard. */
  readonly shardBytes: number;
  /** Options that a checkpoint does not contain, for the hint in the report. */
  readonly platform: { readonly name: 'libero' | 'aloha' | 'bridge'; readonly cameras: readonly string[] };
}

const dinov2Large: SynthVit = {
  timmName: 'vit_large_patch14_reg4_dinov2.lvd142m',
  width: 1024,
  depth: 24,
  heads: 16,
  mlpRatio: 4,
  registerTokens: 4,
  hasClsToken: true,
  hasLayerScale: true,
  hasAttentionPool: false,
  film: true,
};

const siglipSo400m: SynthVit = {
  timmName: 'vit_so400m_patch14_siglip_224',
  width: 1152,
  depth: 27,
  heads: 16,
  mlpRatio: 3.7362,
  registerTokens: 0,
  hasClsToken: false,
  hasLayerScale: false,
  hasAttentionPool: true,
  film: false,
};

const siglipText: SynthText = {
  folder: 'siglip-so400m-patch14-384',
  width: 1152,
  layers: 27,
  heads: 16,
  mlpWidth: 4304,
  vocabSize: 32000,
  positions: 64,
};

/** Vocabulary: 32000 pieces and the pad token, padded to a multiple of 64. */
const llama2: SynthLlama = {
  width: 4096,
  layers: 32,
  heads: 32,
  kvHeads: 32,
  mlpWidth: 11008,
  vocabSize: 32064,
  maxPositions: 2048,
};

const libero: SynthSpec = {
  name: 'libero',
  family: 'semanticvla',
  head: 'l1',
  imageSize: 224,
  patchSize: 14,
  dinov2: dinov2Large,
  siglip: siglipSo400m,
  pruning: {
    queries: 32,
    visionTopk: 32,
    textTopk: 5,
    exchangePairs: [
      [2, 3],
      [11, 13],
      [20, 23],
    ],
    aggregation: 'concat',
    text: siglipText,
  },
  llama: llama2,
  actionTokens: 3,
  actionDim: 7,
  proprioDim: 8,
  lora: { rank: 64, alpha: 128 },
  datasetKey: 'libero_spatial_no_noops',
  step: 80000,
  // transformers' default
  shardBytes: 5e9,
  platform: { name: 'libero', cameras: ['full_image', 'wrist_image'] },
};

const liberoPruning = libero.pruning!;

const oft: SynthSpec = {
  ...libero,
  name: 'oft',
  family: 'openvla-oft',
  dinov2: { ...dinov2Large, film: false },
  pruning: null,
  actionTokens: 7,
  lora: { rank: 32, alpha: 16 },
  step: 150000,
};

/** Sizes of no real model: small enough for tests, with every kind of tensor, and widths that differ from each other. */
const tiny: SynthSpec = {
  ...libero,
  name: 'tiny',
  dinov2: { ...dinov2Large, width: 48, depth: 4, heads: 4 },
  siglip: { ...siglipSo400m, width: 72, depth: 5, heads: 2 },
  pruning: {
    ...liberoPruning,
    exchangePairs: [
      [0, 1],
      [2, 3],
    ],
    text: {
      ...siglipText,
      folder: 'siglip-text-tiny',
      width: 64,
      layers: 2,
      heads: 4,
      mlpWidth: 112,
      vocabSize: 1024,
    },
  },
  llama: { ...llama2, width: 64, layers: 3, heads: 4, kvHeads: 4, mlpWidth: 144 },
  lora: { rank: 4, alpha: 8 },
  step: 30000,
  // two shards, so that small tests cover sharding
  shardBytes: 6e6,
};

/** Name of a policy whose sizes are known. */
export type SynthPreset =
  | 'tiny'
  | 'libero'
  | 'lite'
  | 'aloha'
  | 'bridge'
  | 'oft'
  | 'oft-plus'
  | 'moe'
  | 'diffusion'
  | 'oft-diffusion'
  | 'oft-discrete'
  | 'openvla';

export const synthPresets: Readonly<Record<SynthPreset, SynthSpec>> = {
  tiny,
  libero,
  lite: { ...libero, name: 'lite', pruning: { ...liberoPruning, queries: 16, visionTopk: 16 } },
  aloha: {
    ...libero,
    name: 'aloha',
    actionTokens: 6,
    actionDim: 14,
    proprioDim: 14,
    lora: { rank: 32, alpha: 64 },
    datasetKey: 'aloha_synthetic',
    platform: { name: 'aloha', cameras: ['full_image', 'left_wrist_image', 'right_wrist_image'] },
  },
  bridge: {
    ...libero,
    name: 'bridge',
    proprioDim: 7,
    datasetKey: 'bridge_orig',
    platform: { name: 'bridge', cameras: ['full_image'] },
  },
  oft,
  'oft-plus': {
    ...oft,
    name: 'oft-plus',
    dinov2: dinov2Large,
    siglip: { ...siglipSo400m, film: true },
  },
  moe: { ...libero, name: 'moe', pruning: { ...liberoPruning, aggregation: 'moe' } },
  diffusion: { ...libero, name: 'diffusion', head: 'diffusion', actionTokens: 7 },
  'oft-diffusion': { ...oft, name: 'oft-diffusion', head: 'diffusion' },
  'oft-discrete': { ...oft, name: 'oft-discrete', head: 'discrete', proprioDim: 0 },
  openvla: {
    ...oft,
    name: 'openvla',
    family: 'openvla',
    head: 'autoregressive',
    proprioDim: 0,
    platform: { name: 'libero', cameras: ['full_image'] },
  },
};

/** One line per preset, for `--help`. */
export const synthPresetDescriptions: Readonly<Record<SynthPreset, string>> = {
  tiny: 'SemanticVLA LIBERO with every dimension small, about 14 MB; for tests and a first try',
  libero: 'SemanticVLA LIBERO, full size: 2 cameras, 32 + 5 vision tokens an image, 3 action tokens a step',
  lite: 'SemanticVLA-Lite LIBERO, full size: 16 + 5 vision tokens an image',
  aloha: 'SemanticVLA ALOHA, full size: 3 cameras, two arms, 6 action tokens a step',
  bridge: 'SemanticVLA BridgeData, full size: 1 camera',
  oft: 'OpenVLA-OFT LIBERO, full size: 256 vision tokens an image, one head, no pruning',
  'oft-plus': 'OpenVLA-OFT+ LIBERO, full size: OFT with FiLM in both vision towers',
  moe: 'SemanticVLA LIBERO with the mixture-of-experts aggregation instead of the concatenation',
  diffusion: 'SemanticVLA LIBERO with the diffusion head: 7 action tokens a step, no merging',
  'oft-diffusion': 'OpenVLA-OFT LIBERO with the diffusion head',
  'oft-discrete': 'OpenVLA-OFT LIBERO without a head: discrete tokens, decoded in parallel (--head discrete)',
  openvla: 'OpenVLA, full size: 1 camera, 7 tokens one after another (--head autoregressive)',
};
