/** SA-Coupler: hidden states of the action tokens -> normalized actions [C, A] (docs/model.md, "SA-Coupler" and "Alternative heads"). */

import { noisePredictor } from '../checkpoint/expectedTensors.ts';
import { isTokenHead } from '../checkpoint/policyConfig.ts';
import type { Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { layerNorm, linear } from './layers.ts';
import { names } from './names.ts';

/** nn.LayerNorm's default, which the action heads keep. */
const headLayerNormEps = 1e-5;

/** Of a diffusion head: the predicted noise [C, A]. */
export function coupleActions(ctx: GraphContext, window: Value): Value {
  const { g, config, options, tokens } = ctx;
  const { head } = config;
  return g.scope('head', () => {
    if (isTokenHead(head)) return decodeTokens(ctx, chooseTokens(ctx, window, 'logits'));
    const steps = g.op(
      'Reshape',
      [window, g.ints([options.chunk, tokens.perStep * config.llama.width])],
      {},
      'steps',
    );
    if (head.kind !== 'split') {
      const name = head.kind === 'diffusion' ? noisePredictor : 'model';
      return resNet(ctx, steps, name, head.blocks, head.outputs);
    }
    const parts = (
      [
        ['model_trans', head.translation],
        ['model_rot', head.rotation],
        ['model_grip', head.gripper],
      ] as const
    ).map(([name, outputs]) => resNet(ctx, steps, name, head.blocks, outputs));
    if (!head.bimanual) return g.op('Concat', parts, { axis: -1 }, 'actions');
    // two arms: [translation rotation gripper] of the first, then of the second
    const arms = parts.map((part, i) =>
      g.ops('Split', [part], { axis: -1, num_outputs: 2 }, `arms${i}`, ['first', 'second']),
    );
    return g.op(
      'Concat',
      [0, 1].flatMap((arm) => arms.map((part) => part[arm]!)),
      { axis: -1 },
      'actions',
    );
  });
}

/** MLPResNet: LN - fc1 - ReLU - n x (LN - fc - ReLU, residual) - LN - fc2. */
function resNet(ctx: GraphContext, steps: Value, name: string, blocks: number, outputs: number): Value {
  const { g } = ctx;
  const prefix = `action_head.${name}`;
  const result = g.scope(name, () => {
    const parts = ctx.tokens.perStep;
    const normed = layerNorm(g, steps, `${prefix}.layer_norm1`, headLayerNormEps, 'layer_norm1', parts);
    let x = g.op('Relu', [linear(g, normed, `${prefix}.fc1`, 'fc1')], {}, 'relu');
    for (let n = 0; n < blocks; n++) {
      x = g.scope(`block${n}`, () => {
        const ffn = `${prefix}.mlp_resnet_blocks.${n}.ffn`;
        const hidden = layerNorm(g, x, `${ffn}.0`, headLayerNormEps, 'norm');
        return g.op('Add', [g.op('Relu', [linear(g, hidden, `${ffn}.1`, 'fc')], {}, 'relu'), x], {}, 'out');
      });
    }
    return linear(
      g,
      layerNorm(g, x, `${prefix}.layer_norm2`, headLayerNormEps, 'layer_norm2'),
      `${prefix}.fc2`,
      'fc2',
    );
  });
  ctx.stage(`head.${name}`, result, [ctx.options.chunk, outputs]);
  return result;
}

/** Ids [rows] (int64): argmax over the whole vocabulary, padding included, of rows [rows, D]. */
export function chooseTokens(ctx: GraphContext, rows: Value, label: string): Value {
  const { g, config, options } = ctx;
  const logits = linear(g, rows, 'language_model.lm_head', label, { bias: false });
  const wide = g.widen(logits, `${label}_float`);
  if (options.stages && config.head.kind === 'autoregressive') {
    const { tokenVocab, bins } = config.head;
    const ids = [g.ints([tokenVocab - bins]), g.ints([tokenVocab]), g.ints([1])];
    ctx.stage(`generated.action_${label}`, g.op('Slice', [wide, ...ids], {}, `${label}_of_actions`), [
      1,
      bins,
    ]);
  }
  return g.op('ArgMax', [wide], { axis: -1, keepdims: 0 }, `${label}_ids`);
}

/** Ids [C * A] -> actions [C, A] float32: bin = clip(vocab - id - 1, 0, bins - 2), value = centre of the bin. Publishes the ids. */
export function decodeTokens(ctx: GraphContext, ids: Value): Value {
  const { g, config, options } = ctx;
  if (!isTokenHead(config.head)) throw new Error('decodeTokens() needs a head of tokens');
  const { bins, tokenVocab } = config.head;
  const shape = [options.chunk, options.actionDim];
  const shaped = g.op('Reshape', [ids, g.ints(shape)], {}, 'token_ids');
  g.output(shaped, { name: names.tokenIds, type: 'int64', shape, doc: 'tokens of the actions' });
  const bin = g.op('Sub', [g.int(tokenVocab - 1), shaped], {}, 'bin');
  const clipped = g.op('Clip', [bin, g.int(0), g.int(bins - 2)], {}, 'clipped');
  const edge = (i: number) => -1 + (2 * i) / (bins - 1);
  const centres = Float32Array.from({ length: bins - 1 }, (_, i) => (edge(i) + edge(i + 1)) / 2);
  return g.op('Gather', [g.floats('bin_centres', [bins - 1], centres), clipped], { axis: 0 }, 'actions');
}
