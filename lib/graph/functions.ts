/**
 * The pruner's and the aggregator's operations, and what an engine in 8 bits does between two products, as ONNX local functions of domain `semanticvla`. ONNX Runtime inlines the
 * bodies; TensorRT's parser replaces each by the plugin of the same name. Scores are float32 whatever the rest is:
 * bfloat16 scores near the mask value tie (golden README).
 */

import { FunctionBody, opset } from './graphBuilder.ts';
import { hadamard } from './int8.ts';
import {
  AttributeReference,
  FloatAttribute,
  FloatsAttribute,
  type FunctionProto,
  functionDomain,
  onnxType,
} from './onnxModel.ts';

function define(
  name: string,
  docString: string,
  input: string[],
  output: string[],
  attribute: string[],
  body: (b: FunctionBody) => void,
): FunctionProto {
  const b = new FunctionBody();
  body(b);
  return {
    name,
    domain: functionDomain,
    docString,
    input,
    output,
    attribute,
    node: b.nodes,
    opsetImport: [{ domain: '', version: opset }],
  };
}

/** x / max(|x|, 1e-12) over the last axis, in float32 (torch.nn.functional.normalize). */
function unitRows(b: FunctionBody, x: string, name: string): string {
  const wide = b.op('Cast', [x], { to: onnxType.float32 }, `${name}_float`);
  const axes = b.op('Constant', [], { value_ints: [-1] }, `${name}_axes`);
  const norm = b.op('ReduceL2', [wide, axes], { keepdims: 1 }, `${name}_norm`);
  const floor = b.op('Constant', [], { value_float: new FloatAttribute(1e-12) }, `${name}_floor`);
  return b.op('Div', [wide, b.op('Max', [norm, floor], {}, `${name}_length`)], {}, `${name}_unit`);
}

/** Ascending indices of the `attribute` largest scores over the last axis; ties to the lower index. */
function ascendingTopK(b: FunctionBody, scores: string, attribute: string, name: string): string {
  const k = b.op('Constant', [], { value_ints: new AttributeReference(attribute, 'ints') }, `${name}_k`);
  const [, best] = b.ops('TopK', [scores, k], { axis: -1, largest: 1, sorted: 1 }, [
    `${name}_best_scores`,
    `${name}_best`,
  ]);
  // `largest: 0` on the indices themselves puts them into patch order, which is how the policy was trained
  const [ascending] = b.ops('TopK', [best!, k], { axis: -1, largest: 0, sorted: 1 }, [name, `${name}_order`]);
  return ascending!;
}

/** rows[i, indices[i, j], :] */
function gatherRows(b: FunctionBody, rows: string, indices: string, output: string): string {
  const axis = b.op('Constant', [], { value_ints: [-1] }, `${output}_axis`);
  const expanded = b.op('Unsqueeze', [indices, axis], {}, `${output}_indices`);
  return b.op('GatherND', [rows, expanded], { batch_dims: 1 }, output);
}

/**
 * ID-Pruner, patch side. patches [I, N, W], text [M, W], mask [M] (bool) ->
 * kept [I, k, W], indices int64 [I, k] ascending, similarity float32 [I, N, M] with masked columns -1.
 */
export const instructionTopK = define(
  'instructionTopK',
  'Keeps the patches whose mean cosine similarity to the instruction tokens is highest, in ascending patch order.',
  ['patches', 'text', 'mask'],
  ['kept', 'indices', 'similarity'],
  ['topk'],
  (b) => {
    const patches = unitRows(b, 'patches', 'patch');
    const text = b.op('Transpose', [unitRows(b, 'text', 'text')], { perm: [1, 0] }, 'text_columns');
    const cosine = b.op('MatMul', [patches, text], {}, 'cosine');
    const masked = b.op('Constant', [], { value_float: new FloatAttribute(-1) }, 'masked_value');
    b.op('Where', ['mask', cosine, masked], {}, 'similarity');
    const axes = b.op('Constant', [], { value_ints: [-1] }, 'score_axes');
    const scores = b.op('ReduceMean', ['similarity', axes], { keepdims: 0 }, 'scores');
    ascendingTopK(b, scores, 'topk', 'indices');
    gatherRows(b, 'patches', 'indices', 'kept');
  },
);

/**
 * ID-Pruner, text side. patches [I, N, W], similarity float32 [I, N, M] ->
 * pooled [I, k, W] = softmax_N(S^T / temperature) patches for the k best text tokens, indices int64 [I, k] ascending.
 */
export const textGuidedPooling = define(
  'textGuidedPooling',
  'Pools all patches once for each of the instruction tokens that match the image best, in ascending token order.',
  ['patches', 'similarity'],
  ['pooled', 'indices'],
  ['topk', 'temperature'],
  (b) => {
    const axes = b.op('Constant', [], { value_ints: [1] }, 'score_axes');
    const scores = b.op('ReduceMean', ['similarity', axes], { keepdims: 0 }, 'scores');
    ascendingTopK(b, scores, 'topk', 'indices');
    const byText = b.op('Transpose', ['similarity'], { perm: [0, 2, 1] }, 'by_text');
    // only the kept rows go through the softmax: a softmax over patches does not depend on other text tokens
    const rows = gatherRows(b, byText, 'indices', 'rows');
    const temperature = b.op(
      'Constant',
      [],
      { value_float: new AttributeReference('temperature', 'float') },
      'tau',
    );
    const weights = b.op(
      'Softmax',
      [b.op('Div', [rows, temperature], {}, 'logits')],
      { axis: -1 },
      'weights',
    );
    const typed = b.op('CastLike', [weights, 'patches'], {}, 'typed_weights');
    b.op('MatMul', [typed, 'patches'], {}, 'pooled');
  },
);

/** Sparse fusion, first half: channel-wise concatenation. left [I, K, A], right [I, K, B] -> [I, K, A + B]. */
export const channelConcat = define(
  'channelConcat',
  'Joins the two towers token by token along the channels.',
  ['left', 'right'],
  ['joined'],
  [],
  (b) => {
    b.op('Concat', ['left', 'right'], { axis: -1 }, 'joined');
  },
);

/**
 * What `down` reads in 8 bits: silu(gate) * up of raw sums [L, 2 F] times their scales by token float32 [L, 1] and by channel
 * float32 [1, 2 F], rotated in blocks of columns and rounded by each token's own largest magnitude -> levels int8 [L, F], and
 * what a level is worth, float32 [L, 1]. All in float32 whatever the sums are.
 *
 * @param block columns that are rotated together; the kernel takes 16, 32 or 64
 */
export const swigluLevels = (block: number): FunctionProto =>
  define(
    'swigluLevels',
    'SwiGLU, rotation by a Hadamard matrix in blocks, rounding to 8 bits by token.',
    ['sums', 'by_token', 'by_channel'],
    ['levels', 'scales'],
    ['block'],
    (b) => {
      const float = (value: number, name: string) =>
        b.op('Constant', [], { value_float: new FloatAttribute(value) }, name);
      const ints = (values: number[], name: string) => b.op('Constant', [], { value_ints: values }, name);
      const wide = b.op('Cast', ['sums'], { to: onnxType.float32 }, 'wide');
      const scaled = b.op('Mul', [b.op('Mul', [wide, 'by_token'], {}, 'part'), 'by_channel'], {}, 'scaled');
      const [gate, up] = b.ops('Split', [scaled], { axis: -1, num_outputs: 2 }, ['gate', 'up']);
      const silu = b.op('Mul', [gate!, b.op('Sigmoid', [gate!], {}, 'sigmoid')], {}, 'silu');
      const gated = b.op('Mul', [silu, up!], {}, 'gated');
      const values = b.op('Constant', [], { value_floats: new FloatsAttribute(hadamard(block)) }, 'signs');
      const matrix = b.op('Reshape', [values, ints([block, block], 'square')], {}, 'hadamard');
      const blocks = b.op('Reshape', [gated, ints([0, -1, block], 'in_blocks')], {}, 'blocks');
      const turned = b.op('MatMul', [blocks, matrix], {}, 'turned');
      const rotated = b.op('Reshape', [turned, ints([0, -1], 'in_rows')], {}, 'rotated');
      const axes = ints([-1], 'axes');
      const sizes = b.op('Abs', [rotated], {}, 'sizes');
      const largest = b.op('ReduceMax', [sizes, axes], { keepdims: 1 }, 'largest');
      // as in tierLinear.ts: a row of zeros has no scale of its own, and a maximum may pass over NaN
      const total = b.op('ReduceSum', [sizes, axes], { keepdims: 1 }, 'total');
      const trace = b.op('Mul', [total, float(1e-37, 'unseen')], {}, 'trace');
      const floor = b.op('Add', [trace, float(1e-30, 'least')], {}, 'floor');
      const floored = b.op('Add', [largest, floor], {}, 'floored');
      b.op('Mul', [floored, float(1 / 127, 'step')], {}, 'scales');
      const steps = b.op('Div', [rotated, 'scales'], {}, 'steps');
      b.op('QuantizeLinear', [steps, float(1, 'one')], { output_dtype: onnxType.int8 }, 'levels');
    },
  );
