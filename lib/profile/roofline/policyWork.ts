/** The work of a policy by stage, from the graphs that lib/graph writes for its architecture. */

import type { Architecture } from '../../engine/presetArchitecture.ts';
import { buildDenoiserGraph } from '../../graph/denoiserGraph.ts';
import type { GraphOptions } from '../../graph/graphContext.ts';
import { buildInstructionGraph } from '../../graph/instructionGraph.ts';
import { buildPolicyGraph } from '../../graph/policyGraph.ts';
import { elements } from '../../graph/shapeRules.ts';
import { countTokens } from '../../graph/tokenCounts.ts';
import { blockOf, otherBlock, stageOfBlock } from '../layers/blocks.ts';
import { graphWork, type NodeWork, type SymbolSizes } from './graphWork.ts';

/** In the order they run. `instruction` runs once a sentence, the others once a chunk. */
export const workStages = ['instruction', 'vision', 'pruner', 'fuser', 'llm', 'heads'] as const;
export type WorkStage = (typeof workStages)[number];

/** Operations and elements of one stage. */
export interface StageWork {
  readonly stage: WorkStage;
  readonly flops: number;
  readonly weightElements: number;
  readonly storedBytes: number;
  readonly activationElements: number;
}

/** Operations and bytes of one chunk. */
export interface PolicyWork {
  readonly variant: string;
  readonly images: number;
  readonly chunk: number;
  /** P, prompt tokens without the stop token. */
  readonly promptTokens: number;
  /** L, rows that the language model computes. */
  readonly sequence: number;
  readonly stages: readonly StageWork[];
  /** Elements of all weights that must be in memory, whole embedding tables included. */
  readonly residentElements: number;
  /** Those of the language model's layers among them. */
  readonly residentLlmElements: number;
}

/** Of a diffusion policy, where nothing says how many a prediction takes: both repositories' default. */
const denoisingSteps = 50;

export type WorkSizes = Pick<GraphOptions, 'images' | 'chunk' | 'actionDim' | 'proprio'> & {
  readonly promptTokens: number;
};

/**
 * @param options `complete`: every row of every block, as the reference computes it; default: what our graph computes
 * @throws TENSOR_MISSING
 */
export function policyWork(
  architecture: Architecture,
  sizes: WorkSizes,
  options: { readonly complete?: boolean } = {},
): PolicyWork {
  const { config, tensors, pixelNormalization } = architecture;
  const { promptTokens, images, chunk, actionDim, proprio } = sizes;
  const stages = options.complete ?? false;
  const graphOptions: GraphOptions = { images, chunk, actionDim, proprio, stages, mergeWeights: false };
  const tokens = countTokens(config, graphOptions);
  const sequence = tokens.besidePrompt + promptTokens;
  const symbols: SymbolSizes = {
    P1: promptTokens + tokens.stop,
    T: promptTokens - 1 + tokens.placeholders + tokens.stop,
    L: sequence,
    S: promptTokens + tokens.nVis,
  };
  const instruction = buildInstructionGraph(config, tensors, graphOptions);
  const policy = buildPolicyGraph(config, tensors, pixelNormalization, graphOptions);
  const denoiser =
    config.head.kind === 'diffusion' ? buildDenoiserGraph(config, tensors, graphOptions) : null;
  const steps =
    denoiser === null ? [] : graphWork(denoiser, symbols).map((node) => times(node, denoisingSteps));
  const nodes = [...graphWork(policy, symbols), ...steps].map((node) => ({
    ...node,
    stage: stageOfBlock(blockOf(node.name, 'policy') ?? otherBlock),
  }));
  const lost = nodes.find(({ stage }) => !workStages.some((known) => known === stage));
  if (lost !== undefined) throw new Error(`node ${lost.name}: computes, and belongs to no stage`);
  const ofInstruction = graphWork(instruction, symbols);
  const stageNodes = (stage: WorkStage): readonly NodeWork[] =>
    stage === 'instruction' ? ofInstruction : nodes.filter((node) => node.stage === stage);
  const resident = new Map(
    [instruction, policy, ...(denoiser === null ? [] : [denoiser])]
      .flatMap(({ initializers }) => initializers)
      .flatMap(({ name, dims, source }) => ('view' in source ? [[name, elements(dims)] as const] : [])),
  );
  const count = (isCounted: (name: string) => boolean): number =>
    [...resident].reduce((sum, [name, own]) => sum + (isCounted(name) ? own : 0), 0);
  return {
    ...{ variant: config.variant, images, chunk, promptTokens, sequence },
    stages: workStages.map((stage) => ({ stage, ...sum(stageNodes(stage)) })),
    residentElements: count(() => true),
    residentLlmElements: count((name) => name.startsWith('language_model.model.layers.')),
  };
}

function times(node: NodeWork, n: number): NodeWork {
  const { flops, weightElements, storedBytes, activationElements } = node;
  return {
    ...node,
    flops: n * flops,
    weightElements: n * weightElements,
    storedBytes: n * storedBytes,
    activationElements: n * activationElements,
  };
}

function sum(nodes: readonly NodeWork[]): Omit<StageWork, 'stage'> {
  const total = (key: keyof Omit<NodeWork, 'name'>): number =>
    nodes.reduce((all, node) => all + node[key], 0);
  return {
    flops: total('flops'),
    weightElements: total('weightElements'),
    storedBytes: total('storedBytes'),
    activationElements: total('activationElements'),
  };
}
