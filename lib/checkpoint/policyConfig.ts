/**
 * What the checkpoint itself says about the policy: config.json, the files that are there, and the shapes of the
 * weights. Nothing from the caller (cameras, crop, normalization key) is in here; for that see ../policy/platform.ts.
 */

/**
 * `semanticvla`: SemanticVLA's own mask and three heads; `openvla-oft`: fully bidirectional, one head (docs/model.md,
 * Variants); `openvla`: causal, one token after another.
 */
export type PolicyFamily = 'semanticvla' | 'openvla-oft' | 'openvla';

/** One vision transformer, as timm would build it. */
export interface VitConfig {
  /** timm name, e.g. `vit_large_patch14_reg4_dinov2.lvd142m`. */
  readonly timmName: string;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlpWidth: number;
  readonly patchSize: number;
  /** Patches per image (grid * grid). The grid is as many whole patches as fit: the rest of the image is unused. */
  readonly patches: number;
  /** cls + register tokens that precede the patches (5 for DINOv2 with registers, 0 for SigLIP). */
  readonly prefixTokens: number;
  readonly hasClsToken: boolean;
  readonly registerTokens: number;
  /** true: the position embedding starts with the prefix tokens' and is added after they are prepended (ViTs without
   *  registers); false: it covers the patches only and is added before (DINOv2 with registers, SigLIP). */
  readonly positionsCoverPrefix: boolean;
  /** The checkpoint holds timm's attention pooling (SigLIP); the policy does not use it. */
  readonly hasAttentionPool: boolean;
  readonly hasLayerScale: boolean;
  readonly layerNormEps: number;
  readonly film: boolean;
  /** Learned queries appended after the patches (Q); 0 when none. */
  readonly queries: number;
  readonly sampler: SamplerConfig | null;
  /** Index of the block whose output leaves the tower: the last with cross-ViT exchange, else the second to last. */
  readonly outputBlock: number;
}

/** Text-guided sampler (ID-Pruner) on one tower's output. */
export interface SamplerConfig {
  readonly visionTopk: number;
  /** 0: no pooled tokens. */
  readonly textTopk: number;
  /** Softmax temperature of the pooled tokens. */
  readonly temperature: number;
  readonly textEncoder: TextEncoderConfig;
}

/** SigLIP text tower. */
export interface TextEncoderConfig {
  /** Folder with spiece.model and the text config. */
  readonly folder: string;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  readonly vocabSize: number;
  /** Sequence length (64). */
  readonly positions: number;
  readonly layerNormEps: number;
}

/** Sizes of the language model. */
export interface LlamaConfig {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly mlpWidth: number;
  readonly vocabSize: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly maxPositions: number;
}

/** How a policy makes actions from the language model's output; a checkpoint's files tell only some of them. */
export const headNames = ['l1', 'discrete', 'diffusion', 'autoregressive'] as const;
/**
 * `l1`: an action head trained with L1 regression; `discrete`: action tokens, all decoded at once; `diffusion`: a head that
 * predicts noise (DDIM); `autoregressive`: OpenVLA, one token after another.
 */
export type HeadName = (typeof headNames)[number];

/**
 * `single`, `split`: regression by one MLPResNet (`model`) or three (`model_trans`, `model_rot`, `model_grip`); `diffusion`:
 * one that predicts noise; `discrete`, `autoregressive`: stated by the caller, actions are token ids of the language model.
 */
export type HeadConfig =
  | {
      readonly kind: 'single' | 'diffusion';
      readonly hiddenWidth: number;
      readonly blocks: number;
      readonly outputs: number;
    }
  | {
      readonly kind: 'split';
      readonly hiddenWidth: number;
      readonly blocks: number;
      readonly translation: number;
      readonly rotation: number;
      readonly gripper: number;
      /** Two arms: outputs are interleaved arm by arm (docs/model.md, SA-Coupler). */
      readonly bimanual: boolean;
    }
  /** `bins`: edges of the action grid (n_action_bins, 256, so 255 intervals); `tokenVocab`: ids without the padding (32000). */
  | {
      readonly kind: 'discrete' | 'autoregressive';
      readonly bins: number;
      readonly tokenVocab: number;
    };

/** Heads whose actions are token ids. */
export type TokenHead = Extract<HeadConfig, { readonly bins: number }>;

export function isTokenHead(head: HeadConfig): head is TokenHead {
  return head.kind === 'discrete' || head.kind === 'autoregressive';
}

/** Sizes and variants of a policy, as its files tell them. */
export interface PolicyConfig {
  readonly family: PolicyFamily;
  /** Human name: `SemanticVLA`, `SemanticVLA-Lite`, `OpenVLA-OFT`, `OpenVLA-OFT+`, `OpenVLA`. */
  readonly variant: string;
  /** Side of the square image that enters the ViTs, pixels. */
  readonly imageSize: number;
  readonly dinov2: VitConfig;
  readonly siglip: VitConfig;
  /**
   * [dinov2 block, siglip block] after which the towers exchange patches, as config.json counts them: they may be negative
   * or repeat (towerSchedule.ts). Empty when disabled, or enabled without any: `outputBlock` differs.
   */
  readonly exchangePairs: readonly (readonly [number, number])[];
  readonly aggregation: 'concat' | 'moe';
  readonly llama: LlamaConfig;
  /** Action tokens per step H; -1 in config.json (= action dim) is already resolved when the head tells, else null. */
  readonly actionTokensPerStep: number | null;
  /** Width of the action vector, from the head; null for token ids (the statistics tell). */
  readonly actionDim: number | null;
  readonly head: HeadConfig;
  /** Joint-state dimension, from the projector's weight; null when there is no proprio projector. */
  readonly proprioDim: number | null;
}

/** Pixel normalization of one tower, per RGB channel, on values in [0, 1]. */
export interface PixelNormalization {
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}
