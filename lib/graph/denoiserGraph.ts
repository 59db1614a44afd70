/**
 * `denoiser.onnx`: one step of DDIM (docs/model.md, "Diffusion head"): noisy actions, the time step and what no step changes ->
 * predicted noise and the actions after the step. Run once for each step; the policy graph makes the rest once an observation.
 */

import type { PolicyConfig } from '../checkpoint/policyConfig.ts';
import type { TensorView } from '../checkpoint/tensorView.ts';
import { coupleActions } from './coupler.ts';
import type { Value } from './graphBuilder.ts';
import { type GraphContext, type GraphOptions, startGraph } from './graphContext.ts';
import { geluMlp } from './layers.ts';
import { actionWindow, type KeysAndValues, readWindow, runLayers, sliceRows, toEnd } from './llama.ts';
import { names } from './names.ts';
import type { OnnxModel } from './onnxModel.ts';
import { declareSequence } from './sequenceInputs.ts';

/**
 * Whether BOS, vision and proprioception are run through the layers once an observation: with SemanticVLA's mask they see
 * neither time nor noise. With OpenVLA-OFT's bidirectional attention every row changes with every step.
 */
export function keepsPrefix({ config, options }: Pick<GraphContext, 'config' | 'options'>): boolean {
  return config.family === 'semanticvla' && !options.stages;
}

/** Rows that no step changes. */
function prefixRows({ tokens }: GraphContext): number {
  return 1 + tokens.nVis;
}

/** The end of the policy graph: embeddings, or keys and values. @param parts of the prefix, [rows, D] */
export function publishPrefix(ctx: GraphContext, parts: readonly Value[]): void {
  const { g, config } = ctx;
  const { width, kvHeads, headDim } = config.llama;
  const rows = prefixRows(ctx);
  const prefix = g.op('Concat', parts, { axis: 0 }, 'prefix_rows');
  if (!keepsPrefix(ctx)) {
    g.output(prefix, { name: names.prefix, type: g.precision, shape: [rows, width] });
    return;
  }
  const range = { begin: 0, end: rows };
  const square = sliceRows(ctx, names.attentionBias, range, 'prefix_bias_rows');
  const { keysAndValues } = runLayers(
    ctx,
    prefix,
    {
      cos: sliceRows(ctx, names.rotaryCos, range, 'prefix_cos', 2),
      sin: sliceRows(ctx, names.rotarySin, range, 'prefix_sin', 2),
      bias: sliceRows(ctx, square, range, 'prefix_bias', 1),
      past: [],
      reads: 'none',
    },
    'llama',
  );
  const shape = [kvHeads, rows, headDim];
  for (const [n, { k, v }] of keysAndValues.entries()) {
    g.output(k, { name: names.prefixKeys(n), type: g.precision, shape });
    g.output(v, { name: names.prefixValues(n), type: g.precision, shape });
  }
}

/** @throws TENSOR_MISSING, TENSOR_DTYPE */
export function buildDenoiserGraph(
  config: PolicyConfig,
  tensors: ReadonlyMap<string, TensorView>,
  options: GraphOptions,
): OnnxModel {
  const ctx = startGraph(
    {
      name: 'semanticvla_denoiser',
      doc: `${config.variant}: one step of denoising ${options.chunk} actions of ${options.actionDim} dimensions`,
    },
    config,
    tensors,
    options,
  );
  const { g } = ctx;
  const { chunk, actionDim } = options;
  const { width } = config.llama;
  g.input({ name: names.noisyActions, type: 'float32', shape: [chunk, actionDim] });
  g.input({ name: names.timeEmbedding, type: 'float32', shape: [1, width] });
  g.input({ name: names.ddimFactors, type: 'float32', shape: [1, 4] });
  declareSequence(ctx);
  // in the model's type through all steps, as in the reference
  const noisy = g.narrow(names.noisyActions, 'noisy_narrowed');
  const rows = [g.narrow(names.timeEmbedding, 'time'), ...tail(ctx, noisy)];
  const window = keepsPrefix(ctx) ? overKeptPrefix(ctx, rows) : overWhole(ctx, rows);
  const noise = g.widen(coupleActions(ctx, window), 'noise');
  ctx.stage('noise_pred', noise, [chunk, actionDim]);
  const shape = [chunk, actionDim];
  g.output(noise, { name: names.noise, type: 'float32', shape });
  g.output(step(ctx, noisy, noise), { name: names.actions, type: 'float32', shape });
  return g.build();
}

/** Words, the noisy actions in place of the placeholders, the stop row. */
function tail(ctx: GraphContext, noisy: Value): Value[] {
  const { g, config, tokens } = ctx;
  const column = g.op('Reshape', [noisy, g.ints([tokens.placeholders, 1])], {}, 'noisy_column');
  const projected = g.scope('noisy', () =>
    geluMlp(g, column, 'noisy_action_projector.fc1', 'noisy_action_projector.fc2'),
  );
  ctx.stage('noisy_tokens', projected, [tokens.placeholders, config.llama.width]);
  const words = sliceRows(ctx, names.tailEmbeddings, { begin: 0, end: -(tokens.placeholders + 1) }, 'words');
  return [words, projected, sliceRows(ctx, names.tailEmbeddings, { begin: -1, end: toEnd }, 'stop')];
}

function overWhole(ctx: GraphContext, rows: readonly Value[]): Value {
  const { g, config } = ctx;
  const prefix = g.input({
    name: names.prefix,
    type: g.precision,
    shape: [prefixRows(ctx), config.llama.width],
  });
  return readWindow(ctx, g.op('Concat', [prefix, ...rows], { axis: 0 }, 'sequence'), {
    cos: names.rotaryCos,
    sin: names.rotarySin,
    bias: config.family === 'semanticvla' ? names.attentionBias : null,
    past: [],
    reads: actionWindow(ctx),
  });
}

function overKeptPrefix(ctx: GraphContext, rows: readonly Value[]): Value {
  const { g, config } = ctx;
  const { layers, kvHeads, headDim } = config.llama;
  const kept = prefixRows(ctx);
  const shape = [kvHeads, kept, headDim];
  const past = Array.from(
    { length: layers },
    (_, n): KeysAndValues => ({
      k: g.input({ name: names.prefixKeys(n), type: g.precision, shape }),
      v: g.input({ name: names.prefixValues(n), type: g.precision, shape }),
    }),
  );
  const range = { begin: kept, end: toEnd };
  return readWindow(ctx, g.op('Concat', rows, { axis: 0 }, 'rows'), {
    cos: sliceRows(ctx, names.rotaryCos, range, 'cos_rows', 2),
    sin: sliceRows(ctx, names.rotarySin, range, 'sin_rows', 2),
    bias: sliceRows(ctx, names.attentionBias, range, 'bias_rows'),
    past,
    reads: actionWindow(ctx),
  });
}

/** x0 = clip((x - sqrt(1 - a) e) / sqrt(a)); x' = sqrt(a') x0 + sqrt(1 - a') e, with the unclipped e (eta = 0). float32. */
function step(ctx: GraphContext, noisy: Value, noise: Value): Value {
  const { g, options } = ctx;
  return g.scope('ddim', () => {
    const [signal, sigma, signalBefore, sigmaBefore] = g.ops(
      'Split',
      [names.ddimFactors],
      { axis: 1, num_outputs: 4 },
      'factors',
      ['signal', 'sigma', 'signal_before', 'sigma_before'],
    ) as [Value, Value, Value, Value];
    const x = g.widen(noisy, 'x');
    const difference = g.op('Sub', [x, g.op('Mul', [noise, sigma], {}, 'noise_part')], {}, 'difference');
    const ratio = g.op('Div', [difference, signal], {}, 'ratio');
    const x0 = g.op('Clip', [ratio, g.float32(-1), g.float32(1)], {}, 'x0');
    ctx.stage('x0', x0, [options.chunk, options.actionDim]);
    const kept = g.op('Mul', [x0, signalBefore], {}, 'kept');
    const sum = g.op('Add', [kept, g.op('Mul', [noise, sigmaBefore], {}, 'direction')], {}, 'sum');
    return g.widen(g.narrow(sum, 'narrowed'), 'out');
  });
}
