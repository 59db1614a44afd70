/** `policy.onnx`: camera images, joint state and the instruction's state -> one chunk of normalized actions. */

import type { PixelNormalization, PolicyConfig } from '../checkpoint/policyConfig.ts';
import type { TensorView } from '../checkpoint/tensorView.ts';
import { coupleActions } from './coupler.ts';
import { keepsPrefix, publishPrefix } from './denoiserGraph.ts';
import { fuse } from './fuser.ts';
import { generateActions } from './generation.ts';
import type { Value } from './graphBuilder.ts';
import { type GraphContext, type GraphOptions, startGraph } from './graphContext.ts';
import { geluMlp } from './layers.ts';
import { runLlama } from './llama.ts';
import { names, towerNames } from './names.ts';
import type { OnnxModel } from './onnxModel.ts';
import { prune } from './pruner.ts';
import { declareSequence, declareTables } from './sequenceInputs.ts';
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
  const ctx = startGraph(
    {
      name: 'semanticvla_policy',
      doc: `${config.variant}: ${options.images} camera image(s) to ${options.chunk} actions of ${options.actionDim} dimensions`,
      tier: options.tier,
      comparesTier: options.comparesTier,
    },
    config,
    tensors,
    options,
  );
  const { g } = ctx;
  declareInputs(ctx);
  const patches = cutPatches(ctx, names.images);
  const outputs = runTowers(
    ctx,
    embedImages(ctx, 'dinov2', patches, pixels.dinov2),
    embedImages(ctx, 'siglip', patches, pixels.siglip),
  );
  const vision = fuse(ctx, prune(ctx, 'dinov2', outputs.dinov2), prune(ctx, 'siglip', outputs.siglip));
  const prefix = prefixParts(ctx, vision);
  if (config.head.kind === 'diffusion') publishPrefix(ctx, prefix);
  else publishActions(ctx, actionsOf(ctx, [...prefix, names.tailEmbeddings]));
  return g.build();
}

/** @param parts of the sequence */
function actionsOf(ctx: GraphContext, parts: readonly Value[]): Value {
  const sequence = ctx.g.op('Concat', parts, { axis: 0 }, 'sequence');
  if (ctx.config.head.kind === 'autoregressive') return generateActions(ctx, sequence);
  return ctx.g.widen(coupleActions(ctx, runLlama(ctx, sequence)), 'actions_float');
}

function publishActions(ctx: GraphContext, actions: Value): void {
  const shape = [ctx.options.chunk, ctx.options.actionDim];
  ctx.stage('actions.normalized', actions, shape);
  ctx.g.output(actions, {
    name: names.actions,
    type: 'float32',
    shape,
    doc: 'normalized actions, about [-1, 1]',
  });
}

/** Per-frame inputs, then the instruction's state in the order of names.ts. */
function declareInputs(ctx: GraphContext): void {
  const { g, config, options } = ctx;
  const { width } = config.llama;
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
  // the denoiser runs the language model; of a prefix that it keeps, the layers are run here
  if (config.head.kind !== 'diffusion') declareSequence(ctx);
  else if (keepsPrefix(ctx)) declareTables(ctx);
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

/** [BOS] [vision] [proprio], each [rows, D] */
function prefixParts(ctx: GraphContext, vision: Value): Value[] {
  const { g, config, options, tokens } = ctx;
  const d = config.llama.width;
  if (config.family !== 'semanticvla')
    ctx.stage('vision_tokens', vision, [tokens.perImage * options.images, d]);
  const parts: Value[] = [names.bosEmbedding, vision];
  if (options.proprio) {
    const token = g.scope('proprio', () =>
      geluMlp(g, g.narrow(names.proprio, 'state'), 'proprio_projector.fc1', 'proprio_projector.fc2'),
    );
    ctx.stage('proprio.token', token, [1, d]);
    parts.push(token);
  }
  return parts;
}
