/** `instruction.onnx`: everything that depends on the sentence alone (docs/model.md, "Instruction-only part"). Runs once per sentence. */

import type { PolicyConfig } from '../checkpoint/policyConfig.ts';
import { dinov2Prefix, siglipPrefix } from '../checkpoint/policyTensors.ts';
import type { TensorView } from '../checkpoint/tensorView.ts';
import type { Value } from './graphBuilder.ts';
import { type GraphContext, type GraphOptions, startGraph } from './graphContext.ts';
import { lowestFinite } from './halfFloats.ts';
import { geluMlp, linear } from './layers.ts';
import { names } from './names.ts';
import { type OnnxModel, onnxType } from './onnxModel.ts';
import { textTowers } from './textTower.ts';

export function buildInstructionGraph(
  config: PolicyConfig,
  tensors: ReadonlyMap<string, TensorView>,
  options: GraphOptions,
): OnnxModel {
  const ctx = startGraph(
    {
      name: 'semanticvla_instruction',
      doc: `${config.variant}: what depends on the instruction alone`,
    },
    config,
    tensors,
    options,
  );
  const { g } = ctx;
  const promptIds = g.input({
    name: names.promptIds,
    type: 'int64',
    shape: ['P1'],
    doc: ctx.tokens.stop === 0 ? 'P prompt ids, BOS first' : 'P prompt ids, BOS first, then the stop id',
  });
  const embeddings = promptEmbeddings(ctx, promptIds);
  languageConditions(ctx, embeddings);
  const length = sequenceLength(ctx, promptIds);
  rotaryTables(ctx, length);
  if (config.family === 'semanticvla') attentionBias(ctx, length);
  if (config.family === 'openvla') causalBias(ctx, promptIds);
  const sampler = config.siglip.sampler ?? config.dinov2.sampler;
  if (sampler !== null) {
    const ids = g.input({
      name: names.siglipIds,
      type: 'int64',
      shape: [sampler.textEncoder.positions],
      doc: 'SigLIP text ids, padded with 1',
    });
    textTowers(ctx, ids);
  }
  return g.build();
}

/** E [P + 1, D]; the BOS row and the rest (with the placeholders' zero rows before the stop row) are separate outputs. */
function promptEmbeddings(ctx: GraphContext, ids: Value): Value {
  const { g, config, tokens } = ctx;
  const d = config.llama.width;
  return g.scope('prompt', () => {
    const rows = g.op(
      'Gather',
      [g.rawWeight('language_model.model.embed_tokens.weight'), ids],
      { axis: 0 },
      'gathered',
    );
    const all = g.op('Cast', [rows], { to: onnxType[g.precision] }, 'embeddings');
    const slice = (from: number, to: number, label: string) =>
      g.op('Slice', [all, g.ints([from]), g.ints([to]), g.ints([0])], {}, label);
    const end = 2 ** 31;
    const whole = (): Value => {
      const zeros = g.zeros('placeholders', [tokens.placeholders, d]);
      return g.op('Concat', [slice(1, -1, 'words'), zeros, slice(-1, end, 'stop')], { axis: 0 }, 'tail');
    };
    const tail = tokens.stop === 0 ? slice(1, end, 'words') : whole();
    g.output(slice(0, 1, 'bos'), { name: names.bosEmbedding, type: g.precision, shape: [1, d] });
    g.output(tail, { name: names.tailEmbeddings, type: g.precision, shape: ['T', d] });
    return all;
  });
}

/** e_avg over the P + 1 rows, and what is computed from it: FiLM and the router. */
function languageConditions(ctx: GraphContext, embeddings: Value): void {
  const { g, config } = ctx;
  const wide = g.widen(embeddings, 'embeddings_float');
  const mean = g.op('ReduceMean', [wide, g.ints([0])], { keepdims: 1 }, 'e_avg');
  const average = g.narrow(mean, 'e_avg_narrowed');
  ctx.stage('e_avg', average, [1, config.llama.width]);
  for (const [tower, prefix] of [
    ['dinov2', dinov2Prefix],
    ['siglip', siglipPrefix],
  ] as const) {
    const vit = config[tower];
    if (!vit.film) continue;
    const blocks = ctx.options.stages ? vit.depth : vit.outputBlock + 1;
    for (let n = 0; n < blocks; n++) {
      g.scope(`film/${tower}/block${n}`, () => {
        const gamma = linear(g, average, `${prefix}.blocks.${n}.scale`, 'gamma');
        const beta = linear(g, average, `${prefix}.blocks.${n}.shift`, 'beta');
        ctx.stage(`film.${tower}.block${n}.gamma`, gamma, [1, vit.width]);
        ctx.stage(`film.${tower}.block${n}.beta`, beta, [1, vit.width]);
        const scale = g.op('Add', [gamma, g.float(1)], {}, 'one_plus_gamma');
        g.output(scale, { name: names.filmScale(tower, n), type: g.precision, shape: [1, vit.width] });
        g.output(beta, { name: names.filmShift(tower, n), type: g.precision, shape: [1, vit.width] });
      });
    }
  }
  if (config.aggregation === 'moe') {
    g.scope('router', () => {
      const logits = geluMlp(g, average, 'moe_router.router.0', 'moe_router.router.2');
      const weights = g.op('Softmax', [logits], { axis: -1 }, 'weights');
      g.output(weights, { name: names.routerWeights, type: g.precision, shape: [1, 2] });
    });
  }
}

/** L, as an int64 [1] vector. */
function sequenceLength(ctx: GraphContext, ids: Value): Value {
  const { g, tokens } = ctx;
  const given = g.op('Shape', [ids], {}, 'sequence/prompt_length');
  return g.op('Add', [given, g.ints([tokens.besidePrompt - tokens.stop])], {}, 'sequence/length');
}

function positions(ctx: GraphContext, length: Value, label: string): Value {
  const { g } = ctx;
  const scalar = g.op('Squeeze', [length, g.ints([0])], {}, `${label}_length`);
  return g.op('Range', [g.int(0), scalar, g.int(1)], {}, label);
}

/**
 * cos and sin [2, 1, L, d] for q and k. The q half carries 1/sqrt(d), so that scaling costs nothing per frame; the first
 * half of sin is negated, so that rotation is x * cos + swap(x) * sin (half-split layout, dim i pairs with i + d/2).
 */
function rotaryTables(ctx: GraphContext, length: Value): void {
  const { g, config } = ctx;
  const { headDim: d, ropeTheta } = config.llama;
  g.scope('rotary', () => {
    const half = d / 2;
    // float32 powers as the reference computes them (torch.arange / dim in float32, then theta ** x)
    const frequencies = Float32Array.from({ length: half }, (_, i) =>
      Math.fround(1 / Math.fround(ropeTheta ** Math.fround((2 * i) / d))),
    );
    const steps = g.op('Cast', [positions(ctx, length, 'positions')], { to: onnxType.float32 }, 'steps');
    const column = g.op('Unsqueeze', [steps, g.ints([1])], {}, 'column');
    const angles = g.op('Mul', [column, g.floats('frequencies', [1, half], frequencies)], {}, 'angles');
    const cos = g.op('Cos', [angles], {}, 'cos_half');
    const sin = g.op('Sin', [angles], {}, 'sin_half');
    const cosines = g.op('Concat', [cos, cos], { axis: -1 }, 'cos');
    const sines = g.op('Concat', [g.op('Neg', [sin], {}, 'minus_sin'), sin], { axis: -1 }, 'sin');
    const scales = g.floats('scales', [2, 1, 1, 1], Float32Array.of(d ** -0.5, 1));
    const shape = ['L', d] as const;
    for (const [table, name] of [
      [cosines, names.rotaryCos],
      [sines, names.rotarySin],
    ] as const) {
      const scaled = g.narrow(g.op('Mul', [table, scales], {}, `${name}_scaled`), `${name}_narrowed`);
      g.output(scaled, { name, type: g.precision, shape: [2, 1, ...shape] });
    }
  });
}

/** Causal over the prompt's pass, BOS, vision and words. [P + n_vis, P + n_vis] */
function causalBias(ctx: GraphContext, ids: Value): void {
  const { g, tokens } = ctx;
  g.scope('mask', () => {
    const given = g.op('Shape', [ids], {}, 'prompt_length');
    const length = g.op('Add', [given, g.ints([tokens.nVis])], {}, 'length');
    const at = positions(ctx, length, 'positions');
    const rows = g.op('Unsqueeze', [at, g.ints([1])], {}, 'rows');
    const columns = g.op('Unsqueeze', [at, g.ints([0])], {}, 'columns');
    publishBias(ctx, g.op('GreaterOrEqual', [rows, columns], {}, 'causal'), 'S');
  });
}

/** Causal, except that the last H*C + 1 rows (placeholders and stop) see each other freely. [L, L] */
function attentionBias(ctx: GraphContext, length: Value): void {
  const { g, tokens } = ctx;
  g.scope('mask', () => {
    const at = positions(ctx, length, 'positions');
    const rows = g.op('Unsqueeze', [at, g.ints([1])], {}, 'rows');
    const columns = g.op('Unsqueeze', [at, g.ints([0])], {}, 'columns');
    const causal = g.op('GreaterOrEqual', [rows, columns], {}, 'causal');
    const free = g.op('Sub', [length, g.ints([tokens.placeholders + 1])], {}, 'free_from');
    const freeRows = g.op('GreaterOrEqual', [rows, free], {}, 'free_rows');
    const freeColumns = g.op('GreaterOrEqual', [columns, free], {}, 'free_columns');
    const block = g.op('And', [freeRows, freeColumns], {}, 'free_block');
    const allowed = g.op('Or', [causal, block], {}, 'allowed');
    publishBias(ctx, allowed, 'L');
  });
}

function publishBias(ctx: GraphContext, allowed: Value, side: string): void {
  const { g } = ctx;
  if (ctx.options.stages) {
    const mask = g.op('Cast', [allowed], { to: onnxType.uint8 }, 'stage');
    ctx.stage('llm.attention_mask', mask, [side, side], 'uint8');
  }
  const bias = g.op('Where', [allowed, g.float(0), g.float(lowestFinite[g.precision])], {}, 'bias');
  g.output(bias, { name: names.attentionBias, type: g.precision, shape: [side, side] });
}
