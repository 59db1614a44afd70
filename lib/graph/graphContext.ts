/** What every part of the model gets besides its own input: the builder, the sizes, and where intermediates go. */

import type { PolicyConfig } from '../checkpoint/policyConfig.ts';
import type { GraphBuilder, Value } from './graphBuilder.ts';
import type { OnnxTypeName } from './onnxModel.ts';

/** Sizes that the checkpoint does not hold (../platform.ts) and choices of the runtime. */
export interface GraphOptions {
  /** Number of camera images I. */
  readonly images: number;
  /** Chunk length C. */
  readonly chunk: number;
  /** Action dimension A. */
  readonly actionDim: number;
  readonly proprio: boolean;
  /**
   * true: every row of every block is computed and every named intermediate is an output. false: rows that nothing
   * reads are not computed (exact savings).
   */
  readonly stages: boolean;
  /**
   * true: weights that share an input are joined inside the graph (one GEMM for q, k, v; one for gate and up). Pays
   * where the runtime folds the join at load; costs a copy of the weights where it does not.
   */
  readonly mergeWeights: boolean;
}

/** Derived token counts, in letters of the spec. */
export interface TokenCounts {
  /** Vision tokens of one image (37 for SemanticVLA, 256 for OpenVLA-OFT). */
  readonly perImage: number;
  /** Vision tokens of all images plus the proprio token. */
  readonly nVis: number;
  /** Action tokens per step H. */
  readonly perStep: number;
  /** H * C placeholder rows. */
  readonly placeholders: number;
}

export interface GraphContext {
  readonly g: GraphBuilder;
  readonly config: PolicyConfig;
  readonly options: GraphOptions;
  readonly tokens: TokenCounts;
  /** Publishes an intermediate under its reference name when `options.stages`; else does nothing. */
  readonly stage: (
    name: string,
    value: Value,
    shape: readonly (number | string)[],
    type?: OnnxTypeName,
  ) => void;
}

/** Prefix of the graph outputs that carry stages. */
export const stagePrefix = 'stage:';

export function makeStage(g: GraphBuilder, enabled: boolean): GraphContext['stage'] {
  if (!enabled) return () => {};
  return (name, value, shape, type = 'float32') => g.output(value, { name: stagePrefix + name, type, shape });
}

/** Tokens that leave one tower before its sampler: the queries if it has some, else all patches. */
export function towerTokens(vit: PolicyConfig['dinov2']): number {
  return vit.queries > 0 ? vit.queries : vit.patches;
}

export function countTokens(
  config: PolicyConfig,
  options: Pick<GraphOptions, 'images' | 'chunk' | 'actionDim' | 'proprio'>,
): TokenCounts {
  const { siglip, dinov2 } = config;
  const fused = siglip.sampler?.visionTopk ?? towerTokens(siglip);
  const pooled = (siglip.sampler?.textTopk ?? 0) + (dinov2.sampler?.textTopk ?? 0);
  const perImage = fused + pooled;
  const perStep = config.actionTokensPerStep ?? options.actionDim;
  return {
    perImage,
    nVis: perImage * options.images + (options.proprio ? 1 : 0),
    perStep,
    placeholders: perStep * options.chunk,
  };
}
