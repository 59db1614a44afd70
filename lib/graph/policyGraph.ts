/** `policy.onnx`: camera images, joint state and the instruction's state -> one chunk of normalized actions. */

import type { PixelNormalization, PolicyConfig } from '../checkpoint/policyConfig.ts';
import type { TensorView } from '../checkpoint/tensorView.ts';
import { coupleActions } from './coupler.ts';
import { fuse } from './fuser.ts';
import { GraphBuilder, type Value } from './graphBuilder.ts';
import { type GraphContext, type GraphOptions, makeStage } from './graphContext.ts';
import { geluMlp } from './layers.ts';
import { runLlama } from './llama.ts';
import { names, towerNames } from './names.ts';
import type { OnnxModel } from './onnxModel.ts';
import { prune } from './pruner.ts';
import { countTokens } from './tokenCounts.ts';
import { runTowers } from './visionTowers.ts';
import { cutPatches, embedImages } from './vit.ts';

export interface PixelNormalizations {
  readonly dinov2: PixelNormalization;
  readonly siglip: PixelNormalization;
}

export function buildPolicyGraph(
  config: PolicyConfig,
  tensors: ReadonlyMap<string, TensorView>,
  pixels: PixelNormalizations,
  options: GraphOptions,
): OnnxModel {
  const g = new GraphBuilder({
    name: 'semanticvla_policy',
    doc: `${config.variant}: ${options.images} camera image(s) to ${options.chunk} actions of ${options.actionDim} dimensions`,
    tensors,
    precision: options.precision,
    weights: options.weights,
    int8: options.int8,
    tier: options.tier,
    comparesTier: options.comparesTier,
  });
  const ctx: GraphContext = {
    g,
    config,
    options,
    tokens: countTokens(config, options),
    stage: makeStage(g, options.stages),
  };
  declareInputs(ctx);
  const patches = cutPatches(ctx, names.images);
  const outputs = runTowers(
    ctx,
    embedImages(ctx, 'dinov2', patches, pixels.dinov2),
    embedImages(ctx, 'siglip', patches, pixels.siglip),
  );
  const vision = fuse(ctx, prune(ctx, 'dinov2', outputs.dinov2), prune(ctx, 'siglip', outputs.siglip));
  const window = runLlama(ctx, sequence(ctx, vision));
  const actions = g.widen(coupleActions(ctx, window), 'actions_float');
  ctx.stage('actions.normalized', actions, [options.chunk, options.actionDim]);
  g.output(actions, {
    name: names.actions,
    type: 'float32',
    shape: [options.chunk, options.actionDim],
    doc: 'normalized actions, about [-1, 1]',
  });
  return g.build();
}

/** Per-frame inputs, then the instruction's state in the order of names.ts. */
function declareInputs(ctx: GraphContext): void {
  const { g, config, options } = ctx;
  const { width, headDim } = config.llama;
  const side = config.imageSize;
  g.input({
    name: names.images,
    type: 'uint8',
    shape: [options.images, side, side, 3],
    doc: 'RGB after resize and crop',
  });
  if (options.proprio) {
    g.input({
      name: names.proprio,
      type: 'float32',
      shape: [1, config.proprioDim!],
      doc: 'normalized joint state',
    });
  }
  g.input({ name: names.bosEmbedding, type: g.precision, shape: [1, width] });
  g.input({ name: names.tailEmbeddings, type: g.precision, shape: ['T', width] });
  g.input({ name: names.rotaryCos, type: g.precision, shape: [2, 1, 'L', headDim] });
  g.input({ name: names.rotarySin, type: g.precision, shape: [2, 1, 'L', headDim] });
  if (config.family === 'semanticvla')
    g.input({ name: names.attentionBias, type: g.precision, shape: ['L', 'L'] });
  if (config.aggregation === 'moe') g.input({ name: names.routerWeights, type: g.precision, shape: [1, 2] });
  for (const tower of towerNames) {
    const vit = config[tower];
    const blocks = !vit.film ? 0 : options.stages ? vit.depth : vit.outputBlock + 1;
    for (let n = 0; n < blocks; n++) {
      g.input({ name: names.filmScale(tower, n), type: g.precision, shape: [1, vit.width] });
      g.input({ name: names.filmShift(tower, n), type: g.precision, shape: [1, vit.width] });
    }
  }
  const samplers = towerNames.filter((tower) => config[tower].sampler !== null);
  for (const tower of samplers) {
    const { positions } = config[tower].sampler!.textEncoder;
    g.input({ name: names.textTokens(tower), type: g.precision, shape: [positions, config[tower].width] });
  }
  if (samplers.length > 0) {
    const { positions } = config[samplers[0]!].sampler!.textEncoder;
    g.input({ name: names.textMask, type: 'bool', shape: [positions] });
  }
}

/** [BOS] [vision] [proprio] [prompt 1..P-1] [H*C zeros] [stop] -> [L, D] */
function sequence(ctx: GraphContext, vision: Value): Value {
  const { g, config, options, tokens } = ctx;
  const d = config.llama.width;
  if (config.family === 'openvla-oft')
    ctx.stage('vision_tokens', vision, [tokens.perImage * options.images, d]);
  const parts = [names.bosEmbedding, vision];
  if (options.proprio) {
    const token = g.scope('proprio', () =>
      geluMlp(g, g.narrow(names.proprio, 'state'), 'proprio_projector.fc1', 'proprio_projector.fc2'),
    );
    ctx.stage('proprio.token', token, [1, d]);
    parts.push(token);
  }
  parts.push(names.tailEmbeddings);
  return g.op('Concat', parts, { axis: 0 }, 'sequence');
}
