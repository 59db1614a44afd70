/** What every part of the model gets besides its own input: the builder, the sizes, and where intermediates go. */

import type { PolicyConfig } from '../checkpoint/policyConfig.ts';
import type { TensorView } from '../checkpoint/tensorView.ts';
import { type BuilderOptions, GraphBuilder, type Value } from './graphBuilder.ts';
import type { Int8Options } from './int8Layers.ts';
import { type OnnxTypeName, onnxType, type Precision } from './onnxModel.ts';
import type { Tier } from './tiers.ts';
import { countTokens, type TokenCounts } from './tokenCounts.ts';

/** Sizes that are not in the checkpoint (../policy/platform.ts), and choices of the runtime. */
export interface GraphOptions {
  /** Number of camera images I. */
  readonly images: number;
  /** Chunk length C. */
  readonly chunk: number;
  /** Action dimension A. */
  readonly actionDim: number;
  readonly proprio: boolean;
  /**
   * true: every row of every block is computed and every named intermediate is an output. false: rows that nothing reads are
   * not computed; the result is exactly the same.
   */
  readonly stages: boolean;
  /**
   * true: weights that share an input are joined inside the graph (one GEMM for q, k, v; one for gate and up). This helps if the
   * runtime folds the join at load; otherwise it costs a copy of the weights.
   */
  readonly mergeWeights: boolean;
  /** Type of activations and weights; default float32. */
  readonly precision?: Precision;
  /**
   * `initializers` (default): the model refers to the checkpoint's files. `inputs`: every weight is a graph input
   * (`OnnxModel.bindings`), so the model belongs to the architecture alone; `mergeWeights` then costs nothing.
   */
  readonly weights?: 'initializers' | 'inputs';
  /** Linear layers in 8 bits; default: none. */
  readonly int8?: Int8Options;
  /** The language model's linear layers in fewer bits, as an engine computes them; default: none. */
  readonly tier?: Tier;
  /** true: such layers are computed in the graph's type too, and how far apart they are is published, under `errorPrefix`. */
  readonly comparesTier?: boolean;
  /** The runtime whose peculiarities the graph is written for; default `onnxruntime`. */
  readonly runtime?: 'onnxruntime' | 'tensorrt';
}

/** Sizes that both graphs are built with. */
export type PolicySizes = Pick<GraphOptions, 'images' | 'chunk' | 'actionDim' | 'proprio'>;

export interface GraphContext {
  readonly g: GraphBuilder;
  readonly config: PolicyConfig;
  readonly options: GraphOptions;
  readonly tokens: TokenCounts;
  /** Publishes an intermediate under its reference name if `options.stages`; otherwise does nothing. */
  readonly stage: (
    name: string,
    value: Value,
    shape: readonly (number | string)[],
    type?: OnnxTypeName,
  ) => void;
}

/** Prefix of the graph outputs that carry stages. */
export const stagePrefix = 'stage:';

/** A new graph and what its parts get. @param own the graph's name, what it computes, and its tier if it has one */
export function startGraph(
  own: Pick<BuilderOptions, 'name' | 'doc' | 'tier' | 'comparesTier'>,
  config: PolicyConfig,
  tensors: ReadonlyMap<string, TensorView>,
  options: GraphOptions,
): GraphContext {
  const { precision, weights, int8 } = options;
  const g = new GraphBuilder({ ...own, tensors, precision, weights, int8 });
  return { g, config, options, tokens: countTokens(config, options), stage: makeStage(g, options.stages) };
}

function makeStage(g: GraphBuilder, enabled: boolean): GraphContext['stage'] {
  if (!enabled) return () => {};
  return (name, value, shape, type = 'float32') => {
    const narrow = type === 'float32' && g.precision !== 'float32';
    const source = narrow ? g.op('Cast', [value], { to: onnxType.float32 }, `stage/${name}`) : value;
    g.output(source, { name: stagePrefix + name, type, shape });
  };
}
