/** The ONNX models of a policy in the form that TensorRT takes: types, bound weights, calls of plugins, profiles. */

import type { NativeInputRange } from '../addon/binding.ts';
import type { PolicyConfig } from '../checkpoint/policyConfig.ts';
import { buildDenoiserGraph } from '../graph/denoiserGraph.ts';
import type { GraphOptions } from '../graph/graphContext.ts';
import { buildInstructionGraph } from '../graph/instructionGraph.ts';
import { names } from '../graph/names.ts';
import { encodeModel, functionDomain, type OnnxModel } from '../graph/onnxModel.ts';
import { buildPolicyGraph } from '../graph/policyGraph.ts';
import type { EngineTypes } from '../graph/tiers.ts';
import { countTokens } from '../graph/tokenCounts.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { EngineModel } from './buildEngine.ts';
import type { Architecture } from './presetArchitecture.ts';
import type { EngineWeights, PromptRange } from './recipes.ts';

export type PolicyDimensions = Pick<GraphOptions, 'images' | 'chunk' | 'actionDim' | 'proprio'>;

export interface EngineModelOptions extends EngineTypes {
  readonly sizes: PolicyDimensions;
  readonly weights: EngineWeights;
  readonly promptLength: PromptRange;
}

/** `denoiser`: of a diffusion policy alone. */
export const engineNames = ['instruction', 'policy', 'denoiser'] as const;
export type EngineName = (typeof engineNames)[number];

/** One of each engine that a policy has. */
export interface PerEngine<T> {
  readonly instruction: T;
  readonly policy: T;
  readonly denoiser: T | null;
}

/** Of the engines that there are, in the order in which they run. */
export function perEngine<T>({ instruction, policy, denoiser }: PerEngine<T>): T[] {
  return [instruction, policy, ...(denoiser === null ? [] : [denoiser])];
}

export interface PreparedModel {
  readonly name: EngineName;
  readonly graph: OnnxModel;
  readonly profile: readonly NativeInputRange[];
  readonly plugins: Readonly<Record<string, number>>;
}

/** The graphs, not encoded yet. @throws TENSOR_MISSING, TENSOR_DTYPE */
export function prepareModels(
  architecture: Architecture,
  options: EngineModelOptions,
): PerEngine<PreparedModel> {
  const { config, tensors, pixelNormalization } = architecture;
  const graphOptions: GraphOptions = {
    ...options.sizes,
    stages: false,
    mergeWeights: true,
    precision: options.precision,
    ...(options.tier === undefined ? {} : { tier: options.tier }),
    weights: options.weights === 'bound' ? 'inputs' : 'initializers',
    runtime: 'tensorrt',
  };
  refuseTier(config, options);
  const instruction = buildInstructionGraph(config, tensors, graphOptions);
  const policy = buildPolicyGraph(config, tensors, pixelNormalization, graphOptions);
  const denoiser =
    config.head.kind === 'diffusion' ? buildDenoiserGraph(config, tensors, graphOptions) : null;
  const lengths = sequenceLengths(architecture, options);
  return {
    instruction: prepared('instruction', instruction, lengths),
    policy: prepared('policy', policy, lengths),
    denoiser: denoiser === null ? null : prepared('denoiser', denoiser, lengths),
  };
}

/** @throws OPTION_INVALID */
function refuseTier({ head }: PolicyConfig, { tier }: Pick<EngineModelOptions, 'tier'>): void {
  if (tier === undefined || (head.kind !== 'diffusion' && head.kind !== 'autoregressive')) return;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `Option precision: expected float32, bfloat16 or float16 with ${head.kind === 'diffusion' ? 'a diffusion head' : 'an autoregressive policy'}, found ${tier}. Its rounded weights were not compared with the reference yet.`,
  );
}

/** The model for the builder; `locate` and `path` say where baked weights are. */
export function encodeForTensorRt(
  model: PreparedModel,
  path = '',
  locate = (file: string): string => file,
): EngineModel {
  return {
    name: model.name,
    // without bodies no version of the parser can compile anything but our plugins
    onnx: encodeModel(model.graph, locate, { functions: 'calls' }),
    path,
    profiles: model.profile.length === 0 ? [] : [model.profile],
    plugins: model.plugins,
  };
}

/** Sizes of each symbolic dimension, all derived from the prompt length P, so that they always agree. */
type Symbols = Readonly<Record<string, PromptRange>>;

function sequenceLengths(architecture: Architecture, { sizes, promptLength }: EngineModelOptions): Symbols {
  const tokens = countTokens(architecture.config, sizes);
  const plus = (n: number): PromptRange => ({
    min: promptLength.min + n,
    opt: promptLength.opt + n,
    max: promptLength.max + n,
  });
  return {
    // prompt and stop
    P1: plus(tokens.stop),
    // prompt without BOS, placeholders, stop
    T: plus(tokens.placeholders + tokens.stop - 1),
    // the whole sequence
    L: plus(tokens.besidePrompt),
    // BOS, vision and the rest of the prompt
    S: plus(tokens.nVis),
  };
}

function prepared(name: EngineName, graph: OnnxModel, symbols: Symbols): PreparedModel {
  const profile: NativeInputRange[] = [];
  for (const input of graph.inputs) {
    if (input.shape.every((n) => typeof n === 'number')) continue;
    const at = (end: keyof PromptRange): number[] =>
      input.shape.map((n) => {
        if (typeof n === 'number') return n;
        const range = symbols[n];
        if (range === undefined) throw new Error(`input ${input.name}: the length of ${n} is not known`);
        return range[end];
      });
    profile.push({ name: input.name, min: at('min'), opt: at('opt'), max: at('max') });
  }
  const plugins: Record<string, number> = {};
  for (const { domain, opType } of graph.nodes) {
    if (domain === functionDomain) plugins[opType] = (plugins[opType] ?? 0) + 1;
  }
  return { name, graph, profile, plugins };
}

/** Inputs of the policy that change with the instruction, in the graph's order: the instruction engine's outputs. */
export function instructionInputs(policy: OnnxModel): string[] {
  const bound = new Set(policy.bindings.map(({ name }) => name));
  const perFrame = new Set<string>([names.images, names.proprio]);
  return policy.inputs.map(({ name }) => name).filter((name) => !bound.has(name) && !perFrame.has(name));
}
