/** Counts the tokens of a policy's sequence, in one place for the graphs, the prompt's limit and `inspect`. */

import type { PolicyConfig } from '../checkpoint/policyConfig.ts';

/** What the checkpoint does not say about the sequence (platform.ts). */
export interface SequenceSizes {
  /** Number of camera images I. */
  readonly images: number;
  /** Chunk length C. */
  readonly chunk: number;
  /** Used as H if config.json says "as many as the action dim"; null: unknown. */
  readonly actionDim: number | null;
  readonly proprio: boolean;
}

/** Vision tokens of one image. */
export interface ImageTokens {
  /** Kept patches or queries after fusion (32 for SemanticVLA, 256 for OpenVLA-OFT). */
  readonly fused: number;
  /** Instruction-weighted pooled tokens of all samplers (5 for SemanticVLA). */
  readonly pooled: number;
  /** fused + pooled */
  readonly perImage: number;
}

/** Derived token counts, with the letters of docs/model.md. */
export interface TokenCounts extends ImageTokens {
  /** Vision tokens of all images plus the proprio token. */
  readonly nVis: number;
  /** Action tokens per step H. */
  readonly perStep: number;
  /** H * C rows that the head reads: placeholders, or noisy actions. 0: autoregressive. */
  readonly placeholders: number;
  /** 1: the time step of a diffusion policy has a token, after proprioception; else 0. */
  readonly time: number;
  /** 1: the sequence ends with the stop id; 0: autoregressive. */
  readonly stop: number;
  /** Tokens that an autoregressive policy makes and reads again (all but the last); else 0. */
  readonly generated: number;
  /** Sequence length without the prompt's P tokens: L = besidePrompt + P. */
  readonly besidePrompt: number;
}

/** Tokens that leave one tower before its sampler: the queries if it has any, else all patches. */
export function towerTokens(vit: PolicyConfig['dinov2']): number {
  return vit.queries > 0 ? vit.queries : vit.patches;
}

type ImageConfig = Pick<PolicyConfig, 'dinov2' | 'siglip'>;

export function countImageTokens({ dinov2, siglip }: ImageConfig): ImageTokens {
  const fused = siglip.sampler?.visionTopk ?? towerTokens(siglip);
  const pooled = (siglip.sampler?.textTopk ?? 0) + (dinov2.sampler?.textTopk ?? 0);
  return { fused, pooled, perImage: fused + pooled };
}

type SequenceConfig = ImageConfig & Pick<PolicyConfig, 'actionTokensPerStep' | 'head'>;

/** @returns null if neither the checkpoint nor `sizes` gives H */
export function countTokens(
  config: SequenceConfig,
  sizes: SequenceSizes & { readonly actionDim: number },
): TokenCounts;
export function countTokens(config: SequenceConfig, sizes: SequenceSizes): TokenCounts | null;
export function countTokens(config: SequenceConfig, sizes: SequenceSizes): TokenCounts | null {
  const perStep = config.actionTokensPerStep ?? sizes.actionDim;
  if (perStep === null) return null;
  const image = countImageTokens(config);
  const nVis = image.perImage * sizes.images + (sizes.proprio ? 1 : 0);
  const isAutoregressive = config.head.kind === 'autoregressive';
  const placeholders = isAutoregressive ? 0 : perStep * sizes.chunk;
  const time = config.head.kind === 'diffusion' ? 1 : 0;
  const stop = isAutoregressive ? 0 : 1;
  const generated = isAutoregressive ? perStep - 1 : 0;
  const besidePrompt = nVis + time + placeholders + stop + generated;
  return { ...image, nVis, perStep, placeholders, time, stop, generated, besidePrompt };
}
