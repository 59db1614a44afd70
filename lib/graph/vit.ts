/** The two vision transformers (docs/model.md, "Per-frame part"). One weight layout, two configurations; cameras are one batch. */

import type { VitConfig } from '../checkpoint/policyConfig.ts';
import { dinov2Prefix, siglipPrefix } from '../checkpoint/policyTensors.ts';
import type { Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { attentionCore, geluMlp, layerNorm, linear } from './layers.ts';
import { names, type TowerName } from './names.ts';
import { onnxType } from './onnxModel.ts';

/** One tower on its way through the blocks. */
export interface Tower {
  readonly name: TowerName;
  readonly prefix: string;
  readonly vit: VitConfig;
  /** [I * rows, width] */
  x: Value;
  /** Rows per image: prefix + patches + queries. */
  readonly rows: number;
  /** How often each block has run: the reference's exchange may restart at an earlier one. */
  readonly ran: Map<number, number>;
}

/**
 * Cuts raw pixels into patches: uint8 [I, S, S, 3] -> float32 [I * patches, p * p * 3], levels 0..255, shared by the towers. Pixels
 * of a patch keep the image's order (row, column, channel), so that whole rows of bytes are moved. For TensorRT they are put
 * into the weights' order instead, [I * patches, 3, p * p] (see embedBound).
 */
export function cutPatches(ctx: GraphContext, images: Value): Value {
  const { g, config, options } = ctx;
  const p = config.dinov2.patchSize;
  const grid = Math.sqrt(config.dinov2.patches);
  return g.scope('patches', () => {
    if (options.runtime === 'tensorrt') {
      // TensorRT can do nothing with uint8 but cast it
      const levels = wholePatches(ctx, g.op('Cast', [images], { to: onnxType.float32 }, 'levels'), grid * p);
      const cells = g.op('Reshape', [levels, g.ints([options.images, grid, p, grid, p, 3])], {}, 'cells');
      const ordered = g.op('Transpose', [cells], { perm: [0, 1, 3, 5, 2, 4] }, 'ordered');
      return g.op('Reshape', [ordered, g.ints([options.images * grid * grid, 3, p * p])], {}, 'rows');
    }
    const whole = wholePatches(ctx, images, grid * p);
    const cells = g.op('Reshape', [whole, g.ints([options.images, grid, p, grid, 3 * p])], {}, 'cells');
    const ordered = g.op('Transpose', [cells], { perm: [0, 1, 3, 2, 4] }, 'ordered');
    const rows = g.op('Reshape', [ordered, g.ints([options.images * grid * grid, 3 * p * p])], {}, 'rows');
    return g.op('Cast', [rows], { to: onnxType.float32 }, 'levels');
  });
}

/** [I, S, S, 3] -> [I, side, side, 3]: if S is not a multiple of the patch size, the patch convolution ignores the remainder. */
function wholePatches({ g, config }: GraphContext, images: Value, side: number): Value {
  if (side === config.imageSize) return images;
  return g.op('Slice', [images, g.ints([0, 0]), g.ints([side, side]), g.ints([1, 2])], {}, 'whole');
}

/** Per-channel mean and standard deviation of pixel values in [0, 1]. */
export interface PixelScale {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Normalization, patch embedding, position, prefix tokens and queries: the input of block 0. */
export function embedImages(ctx: GraphContext, name: TowerName, patches: Value, scale: PixelScale): Tower {
  const { g, config, options } = ctx;
  const vit = config[name];
  const prefix = name === 'dinov2' ? dinov2Prefix : siglipPrefix;
  const rows = vit.prefixTokens + vit.patches + vit.queries;
  const x = g.scope(name, () =>
    g.scope('embed', () => {
      const embed =
        options.runtime === 'tensorrt' ? embedBound : options.stages ? embedNormalized : embedLevels;
      const embedded = embed(ctx, name, prefix, patches, scale);
      const tokens = g.op(
        'Reshape',
        [embedded, g.ints([options.images, vit.patches, vit.width])],
        {},
        'tokens',
      );
      const patchTokens = vit.positionsCoverPrefix ? tokens : addPositions(ctx, prefix, tokens);
      const head = [...prefixTokens(ctx, prefix, vit), patchTokens];
      const placed = vit.positionsCoverPrefix ? [addPositions(ctx, prefix, join(ctx, head, 'placed'))] : head;
      if (vit.queries > 0) {
        const queries = `vision_backbone.${name === 'dinov2' ? 'vision_queries' : 'vision_queries_fused'}`;
        placed.push(perImage(ctx, queries, vit.queries, vit.width, 'queries'));
      }
      const all = join(ctx, placed, 'sequence');
      ctx.stage(`${name}.embedded`, all, [options.images, rows, vit.width]);
      return g.op('Reshape', [all, g.ints([options.images * rows, vit.width])], {}, 'rows');
    }),
  );
  return { name, prefix, vit, x, rows, ran: new Map() };
}

/** The learned positions cover the patches alone (DINOv2 with registers, SigLIP) or the prefix too. */
function addPositions(ctx: GraphContext, prefix: string, tokens: Value): Value {
  return ctx.g.op('Add', [tokens, ctx.g.weight(`${prefix}.pos_embed`)], {}, 'positioned');
}

/** [I, n, width] parts one after the other. */
function join(ctx: GraphContext, parts: readonly Value[], label: string): Value {
  return parts.length === 1 ? parts[0]! : ctx.g.op('Concat', parts, { axis: 1 }, label);
}

/** [width, 3, p, p] -> [width, p * p * 3], the order of the patches' pixels. */
function patchWeight(ctx: GraphContext, vit: VitConfig, prefix: string): Value {
  const { g } = ctx;
  const p = vit.patchSize;
  const kernel = g.weight(`${prefix}.patch_embed.proj.weight`, [vit.width, 3, p * p]);
  return g.op('Transpose', [kernel], { perm: [0, 2, 1] }, 'kernel');
}

/** The reference's own steps, /255 and (x - mean) / std, so that `pixel_values` can be shown. */
function embedNormalized(
  ctx: GraphContext,
  name: TowerName,
  prefix: string,
  patches: Value,
  scale: PixelScale,
): Value {
  const { g, config, options } = ctx;
  const vit = config[name];
  const p2 = vit.patchSize * vit.patchSize;
  const mean = g.floats('mean', [3], Float32Array.from(scale.mean));
  const std = g.floats('std', [3], Float32Array.from(scale.std));
  const channels = g.op('Reshape', [patches, g.ints([options.images * vit.patches, p2, 3])], {}, 'channels');
  const unit = g.op('Div', [channels, g.float32(255)], {}, 'unit');
  const pixels = g.op('Div', [g.op('Sub', [unit, mean], {}, 'centered'), std], {}, 'normalized');
  publishPixels(ctx, name, scale);
  const flat = g.op('Reshape', [pixels, g.ints([options.images * vit.patches, 3 * p2])], {}, 'flat');
  const weight = g.op('Reshape', [patchWeight(ctx, vit, prefix), g.ints([vit.width, 3 * p2])], {}, 'weight');
  return g.op('Gemm', [flat, weight, g.weight(`${prefix}.patch_embed.proj.bias`)], { transB: 1 }, 'proj');
}

/**
 * The same with the normalization moved into the weights: W ((x/255 - mean)/std) + b = (W/(255 std)) x + (b - W mean/std).
 * It changes only the rounding, and no pixel is touched between the bytes and the GEMM.
 */
function embedLevels(
  ctx: GraphContext,
  name: TowerName,
  prefix: string,
  patches: Value,
  scale: PixelScale,
): Value {
  const { g, config } = ctx;
  const vit = config[name];
  const p2 = vit.patchSize * vit.patchSize;
  const kernel = patchWeight(ctx, vit, prefix);
  const gain = g.floats(
    'gain',
    [3],
    Float32Array.from(scale.std, (std) => 1 / (255 * std)),
  );
  const offset = g.floats(
    'offset',
    [3],
    Float32Array.from(scale.mean, (mean, c) => -mean / scale.std[c]!),
  );
  const scaled = g.op('Mul', [kernel, gain], {}, 'scaled_kernel');
  const weight = g.op('Reshape', [scaled, g.ints([vit.width, 3 * p2])], {}, 'weight');
  const shift = g.op(
    'ReduceSum',
    [g.op('Mul', [kernel, offset], {}, 'shifts'), g.ints([1, 2])],
    { keepdims: 0 },
    'shift',
  );
  const bias = g.op('Add', [g.weight(`${prefix}.patch_embed.proj.bias`), shift], {}, 'bias');
  return g.op('Gemm', [patches, weight, bias], { transB: 1 }, 'proj');
}

/**
 * For weights that are graph inputs, so that changing them inside the graph would cost time: pixels are normalized in float32, then
 * rounded as in the reference, in the order of the checkpoint's kernel. One kernel before the GEMM.
 */
function embedBound(
  ctx: GraphContext,
  name: TowerName,
  prefix: string,
  patches: Value,
  scale: PixelScale,
): Value {
  const { g, config, options } = ctx;
  const vit = config[name];
  const p2 = vit.patchSize * vit.patchSize;
  const mean = g.floats('mean', [3, 1], Float32Array.from(scale.mean));
  const std = g.floats('std', [3, 1], Float32Array.from(scale.std));
  const unit = g.op('Div', [patches, g.float32(255)], {}, 'unit');
  const pixels = g.op('Div', [g.op('Sub', [unit, mean], {}, 'centered'), std], {}, 'normalized');
  if (options.stages) publishPixels(ctx, name, scale);
  const flat = g.op('Reshape', [pixels, g.ints([options.images * vit.patches, 3 * p2])], {}, 'flat');
  const narrowed = g.narrow(flat, 'narrowed');
  return linear(g, narrowed, `${prefix}.patch_embed.proj`, 'proj', { dims: [vit.width, 3 * p2] });
}

/** cls and register tokens, repeated for each image. */
function prefixTokens(ctx: GraphContext, prefix: string, vit: VitConfig): Value[] {
  const parts: Value[] = [];
  if (vit.hasClsToken) parts.push(perImage(ctx, `${prefix}.cls_token`, 1, vit.width, 'cls'));
  if (vit.registerTokens > 0) {
    parts.push(perImage(ctx, `${prefix}.reg_token`, vit.registerTokens, vit.width, 'registers'));
  }
  return parts;
}

/** A learned [1, n, width] parameter as [I, n, width]. */
function perImage(ctx: GraphContext, tensor: string, n: number, width: number, label: string): Value {
  const { g, options } = ctx;
  const value = g.weight(tensor, [1, n, width]);
  if (options.images === 1) return value;
  return g.op('Expand', [value, g.ints([options.images, n, width])], {}, label);
}

/** Runs block `n` of a tower. */
export function runBlock(ctx: GraphContext, tower: Tower, n: number): void {
  const { name, rows, vit } = tower;
  const label = labelOf(tower, n);
  tower.x = ctx.g.scope(name, () =>
    ctx.g.scope(label, () => {
      const out = block(ctx, tower, n, null);
      const shape = [ctx.options.images, rows, vit.width];
      ctx.stage(`${name}.${label}`, threeD(ctx, out, rows, vit.width, 'stage'), shape);
      return out;
    }),
  );
}

/** Runs one block only for the last `keep` rows of each image (the queries): [I * keep, width]. */
export function runLastBlockForRows(ctx: GraphContext, tower: Tower, n: number, keep: number): Value {
  const label = labelOf(tower, n);
  return ctx.g.scope(tower.name, () => ctx.g.scope(label, () => block(ctx, tower, n, keep)));
}

/** `block3`, and when it runs again `block3_run2`. */
function labelOf({ ran }: Tower, n: number): string {
  const run = (ran.get(n) ?? 0) + 1;
  ran.set(n, run);
  return run === 1 ? `block${n}` : `block${n}_run${run}`;
}

function threeD(ctx: GraphContext, x: Value, rows: number, width: number, label: string): Value {
  if (!ctx.options.stages) return x;
  return ctx.g.op('Reshape', [x, ctx.g.ints([ctx.options.images, rows, width])], {}, label);
}

/** Last `keep` rows of each image: [I * rows, width] -> [I * keep, width]. */
export function lastRows(
  ctx: GraphContext,
  x: Value,
  rows: number,
  keep: number,
  width: number,
  label: string,
): Value {
  const { g, options } = ctx;
  return g.scope(label, () => {
    const images = g.op('Reshape', [x, g.ints([options.images, rows, width])], {}, 'images');
    const kept = g.op('Slice', [images, g.ints([rows - keep]), g.ints([rows]), g.ints([1])], {}, 'kept');
    return g.op('Reshape', [kept, g.ints([options.images * keep, width])], {}, 'rows');
  });
}

/**
 * x += ls1(attn(ln1(x))); FiLM: x = x * (1 + gamma) + beta; x += ls2(mlp(ln2(x))).
 * With `keep`, keys and values come from all rows, everything else from the last `keep` rows of each image.
 */
function block(ctx: GraphContext, tower: Tower, n: number, keep: number | null): Value {
  const { g } = ctx;
  const { vit } = tower;
  const prefix = `${tower.prefix}.blocks.${n}`;
  const normed = layerNorm(g, tower.x, `${prefix}.norm1`, vit.layerNormEps, 'norm1');
  const attended = g.scope('attn', () =>
    keep === null
      ? fullAttention(ctx, tower, normed, `${prefix}.attn`)
      : rowAttention(ctx, tower, normed, `${prefix}.attn`, keep),
  );
  const residual = keep === null ? tower.x : lastRows(ctx, tower.x, tower.rows, keep, vit.width, 'kept');
  let x = g.op(
    'Add',
    [residual, layerScale(ctx, attended, vit, `${prefix}.ls1`, 'ls1')],
    {},
    'attn_residual',
  );
  if (vit.film) {
    const scaled = g.op('Mul', [x, names.filmScale(tower.name, n)], {}, 'film_scaled');
    x = g.op('Add', [scaled, names.filmShift(tower.name, n)], {}, 'film');
  }
  const hidden = g.scope('mlp', () =>
    geluMlp(
      g,
      layerNorm(g, x, `${prefix}.norm2`, vit.layerNormEps, 'norm2'),
      `${prefix}.mlp.fc1`,
      `${prefix}.mlp.fc2`,
    ),
  );
  return g.op('Add', [x, layerScale(ctx, hidden, vit, `${prefix}.ls2`, 'ls2')], {}, 'out');
}

function layerScale(ctx: GraphContext, x: Value, vit: VitConfig, prefix: string, label: string): Value {
  return vit.hasLayerScale ? ctx.g.op('Mul', [x, ctx.g.weight(`${prefix}.scale_factor`)], {}, label) : x;
}

/** One GEMM for q, k, v: Reshape [I, N, 3, h, d], Transpose to [3, I, h, N, d], Split (fewest kernels: docs/kernelsPerLayer.md). */
function fullAttention(ctx: GraphContext, tower: Tower, normed: Value, prefix: string): Value {
  const { g, options } = ctx;
  const { vit, rows } = tower;
  const d = vit.width / vit.heads;
  const qkv = linear(g, normed, `${prefix}.qkv`, 'qkv');
  const heads = g.op('Reshape', [qkv, g.ints([options.images, rows, 3, vit.heads, d])], {}, 'heads');
  const stacked = g.op('Transpose', [heads], { perm: [2, 0, 3, 1, 4] }, 'stacked');
  const split = g.ops('Split', [stacked], { axis: 0, num_outputs: 3 }, 'split', ['q', 'k', 'v']);
  const [q, k, v] = split.map((value, i) => g.op('Squeeze', [value, g.ints([0])], {}, 'qkv'[i]!));
  const scaled = g.op('Mul', [q!, g.float(d ** -0.5)], {}, 'scaled');
  return mergeHeads(ctx, attentionCore(g, scaled, k!, v!, null, [0, 1, 3, 2]), rows, vit, prefix);
}

/** q for the last `keep` rows only; the qkv weight is used as two windows of the same bytes. */
function rowAttention(ctx: GraphContext, tower: Tower, normed: Value, prefix: string, keep: number): Value {
  const { g, options } = ctx;
  const { vit, rows } = tower;
  const w = vit.width;
  const d = w / vit.heads;
  const queries = lastRows(ctx, normed, rows, keep, w, 'queries');
  const part = (x: Value, from: number, to: number, label: string) =>
    linear(g, x, `${prefix}.qkv`, label, { rows: [from, to] });
  const qHeads = g.op(
    'Reshape',
    [part(queries, 0, w, 'q_proj'), g.ints([options.images, keep, vit.heads, d])],
    {},
    'q_heads',
  );
  const q = g.op(
    'Mul',
    [g.op('Transpose', [qHeads], { perm: [0, 2, 1, 3] }, 'q'), g.float(d ** -0.5)],
    {},
    'scaled',
  );
  const kvHeads = g.op(
    'Reshape',
    [part(normed, w, 3 * w, 'kv_proj'), g.ints([options.images, rows, 2, vit.heads, d])],
    {},
    'kv_heads',
  );
  const stacked = g.op('Transpose', [kvHeads], { perm: [2, 0, 3, 1, 4] }, 'stacked');
  const split = g.ops('Split', [stacked], { axis: 0, num_outputs: 2 }, 'split', ['k', 'v']);
  const [k, v] = split.map((value, i) => g.op('Squeeze', [value, g.ints([0])], {}, 'kv'[i]!));
  return mergeHeads(ctx, attentionCore(g, q, k!, v!, null, [0, 1, 3, 2]), keep, vit, prefix);
}

function mergeHeads(ctx: GraphContext, context: Value, rows: number, vit: VitConfig, prefix: string): Value {
  const { g, options } = ctx;
  const ordered = g.op('Transpose', [context], { perm: [0, 2, 1, 3] }, 'ordered');
  const merged = g.op('Reshape', [ordered, g.ints([options.images * rows, vit.width])], {}, 'merged');
  return linear(g, merged, `${prefix}.proj`, 'proj');
}

/** Stage `pixel_values`: [I, 3, S, S], the whole image, including what no patch covers. */
function publishPixels(ctx: GraphContext, name: TowerName, scale: PixelScale): void {
  const { g, config, options } = ctx;
  g.scope('stage_pixels', () => {
    const mean = g.floats('mean', [3], Float32Array.from(scale.mean));
    const std = g.floats('std', [3], Float32Array.from(scale.std));
    const levels = g.op('Cast', [names.images], { to: onnxType.float32 }, 'levels');
    const unit = g.op('Div', [levels, g.float32(255)], {}, 'unit');
    const pixels = g.op('Div', [g.op('Sub', [unit, mean], {}, 'centered'), std], {}, 'normalized');
    const planes = g.op('Transpose', [pixels], { perm: [0, 3, 1, 2] }, 'planes');
    const side = config.imageSize;
    ctx.stage(`pixel_values.${name}`, planes, [options.images, 3, side, side]);
  });
}
