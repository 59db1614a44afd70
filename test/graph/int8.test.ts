/** A linear layer in 8 bits on the CPU runtime against a plain twin of its definition, at the sizes and numbers that could break it. */

import * as ort from 'onnxruntime-node';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon } from '../../lib/addon/binding.ts';
import { GraphBuilder } from '../../lib/graph/graphBuilder.ts';
import { hadamard } from '../../lib/graph/int8.ts';
import { blockOf, type Int8Options, isInt8 } from '../../lib/graph/int8Layers.ts';
import { linear } from '../../lib/graph/layers.ts';
import { encodeModel, type Initializer, type OnnxModel } from '../../lib/graph/onnxModel.ts';
import { activationBits } from '../../lib/runtime/int8Kernels.ts';
import { sessionConfig } from '../../lib/runtime/onnxThread.ts';

const test = suite('a layer in 8 bits');

interface Layer {
  readonly rows: number;
  readonly columns: number;
  readonly weights: Float32Array;
  readonly levels: Int8Array;
  readonly scales: Float32Array;
}

function layerOf(rows: number, columns: number, weight: (at: number) => number): Layer {
  const weights = Float32Array.from({ length: rows * columns }, (_, at) => weight(at));
  const levels = new Uint8Array(rows * columns);
  const scales = new Float32Array(rows);
  loadAddon().quantizeRows(weights, blockOf(columns), levels, scales, 0, rows);
  return { rows, columns, weights, levels: new Int8Array(levels.buffer), scales };
}

/** The layer as the graph writes it, with its weights inside. */
function modelOf({ rows, columns, levels, scales }: Layer, int8: Int8Options): OnnxModel {
  const view = { name: 'w.weight', dtype: 'F32', shape: [rows, columns], file: '', offset: 0 } as const;
  const tensors = new Map([['w.weight', { ...view, byteLength: 4 * rows * columns }]]);
  const g = new GraphBuilder({ name: 'layer', doc: '', tensors, int8 });
  const x = g.input({ name: 'x', type: 'float32', shape: ['M', columns] });
  g.output(linear(g, x, 'w', 'y', { bias: false }), { name: 'out', type: 'float32', shape: ['M', rows] });
  const model = g.build();
  const inline = (initializer: Initializer): Initializer => {
    if (!('made' in initializer.source)) return initializer;
    const array = initializer.type === 'int8' ? levels : scales;
    return { ...initializer, source: { bytes: new Uint8Array(array.buffer) } };
  };
  return { ...model, initializers: model.initializers.map(inline) };
}

async function run(layer: Layer, x: Float32Array, bits: 7 | 8 = activationBits()): Promise<Float32Array> {
  const int8 = { layers: 'all', activationBits: bits, compares: false } as const;
  const bytes = encodeModel(modelOf(layer, int8), () => '');
  const config = sessionConfig({ weights: 'folded' });
  assert.is(config['session.set_denormal_as_zero'], '1');
  const session = await ort.InferenceSession.create(bytes, { intraOpNumThreads: 1, logSeverityLevel: 4 });
  try {
    const feeds = { x: new ort.Tensor('float32', x, [x.length / layer.columns, layer.columns]) };
    return (await session.run(feeds)).out!.data as Float32Array;
  } finally {
    await session.release();
  }
}

/** Rotated activations by the definition, in float64. */
function rotated(row: Float32Array): Float64Array {
  const block = blockOf(row.length);
  const matrix = hadamard(block);
  return Float64Array.from(row, (_, at) => {
    const from = at - (at % block);
    let sum = 0;
    for (let i = 0; i < block; i++) sum += row[from + i]! * matrix[i * block + (at % block)]!;
    return sum;
  });
}

/** What the layer must give: levels of the row's own scale, exact sums, both scales. */
function twin({ rows, columns, levels, scales }: Layer, row: Float32Array, bits: 7 | 8): Float64Array {
  const turned = rotated(row);
  const top = 2 ** (bits - 1) - 1;
  const scale = Math.max(...turned.map(Math.abs)) / top;
  const tokens = turned.map((value) => Math.round(value / scale));
  return Float64Array.from({ length: rows }, (_, at) => {
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += tokens[k]! * levels[k * rows + at]!;
    return sum * scale * scales[at]!;
  });
}

const wave = (at: number) => Math.sin(at * 12.9898) * 0.02;
const far = (found: ArrayLike<number>, wanted: ArrayLike<number>): number => {
  let [difference, size] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    difference += (found[i]! - wanted[i]!) ** 2;
    size += wanted[i]! ** 2;
  }
  return Math.sqrt(difference / size);
};

for (const bits of [7, 8] as const) {
  if (bits > activationBits()) continue;
  test(`${bits} bits: the twin's numbers, for each token by itself`, async () => {
    for (const [rows, columns] of [
      [32, 64],
      [96, 48],
      [40, 352],
    ] as const) {
      const layer = layerOf(rows, columns, wave);
      const x = Float32Array.from(
        { length: 5 * columns },
        (_, at) => Math.cos(at * 78.233) * 10 ** ((at % 5) - 2),
      );
      const found = await run(layer, x, bits);
      for (let row = 0; row < 5; row++) {
        const wanted = twin(layer, x.subarray(row * columns, (row + 1) * columns), bits);
        const error = far(found.subarray(row * rows, (row + 1) * rows), wanted);
        // a token's value next to the middle of two levels may round the other way in float32: one level of one value
        assert.ok(error < 1e-3, `${rows} x ${columns}: ${error}`);
      }
    }
  });
}

test('the largest sums of the largest layer are exact: no kernel saturates', async () => {
  // every product of a block has the same sign and full size: 11008 * 127 * 127 (or 63) in one sum
  const [rows, columns] = [32, 11008];
  const bits = activationBits();
  const impulse = (at: number) => (at % 64 === 0 ? 1 : 0);
  const layer = layerOf(
    rows,
    columns,
    (at) => impulse(at % columns) * (Math.floor(at / columns) % 2 === 0 ? 1 : -1),
  );
  assert.ok(layer.levels.every((level) => Math.abs(level) === 127));
  const x = Float32Array.from(
    { length: 2 * columns },
    (_, at) => (at < columns ? 1 : -1) * impulse(at % columns),
  );
  const found = await run(layer, x, bits);
  const wanted = columns / 64;
  for (let at = 0; at < 2 * rows; at++) {
    const sign = (at % 2 === 0 ? 1 : -1) * (at < rows ? 1 : -1);
    // float32 of a sum that is exact: two roundings of the scales
    assert.ok(Math.abs(found[at]! - sign * wanted) < 1e-4, `${found[at]} for ${sign * wanted}`);
  }
});

test('a massive activation costs its own token a little and the others nothing', async () => {
  const [rows, columns] = [64, 1024];
  const layer = layerOf(rows, columns, (at) => wave(at * 3 + 1));
  const x = Float32Array.from({ length: 4 * columns }, (_, at) => wave(at * 7 + 5) * 50);
  const calm = await run(layer, x);
  const massive = x.slice();
  massive[columns + 100] = 1000;
  const found = await run(layer, massive);
  for (const row of [0, 2, 3])
    assert.equal(found.subarray(row * rows, (row + 1) * rows), calm.subarray(row * rows, (row + 1) * rows));
  const row = massive.subarray(columns, 2 * columns);
  const exact = Float64Array.from({ length: rows }, (_, at) =>
    row.reduce((sum, value, k) => sum + value * layer.weights[at * columns + k]!, 0),
  );
  // unrotated, all other values of the token would be zero levels; the weights' own rounding is about 1 %
  assert.ok(far(found.subarray(rows, 2 * rows), exact) < 0.02);
});

test('a token of zeros gives zeros, and what is not finite does not become a number', async () => {
  const layer = layerOf(32, 64, wave);
  assert.ok((await run(layer, new Float32Array(64))).every((value) => value === 0));
  for (const broken of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const x = Float32Array.from({ length: 64 }, (_, at) => wave(at));
    x[20] = broken;
    const found = await run(layer, x);
    assert.ok(
      found.every((value) => !Number.isFinite(value)),
      `${broken}: ${found.slice(0, 4)}`,
    );
  }
});

test('which layers: large enough to gain, rotated in blocks of at least 16, sums that fit', () => {
  const all = { layers: 'all', activationBits: 8, compares: false } as const;
  assert.is(isInt8(all, 'projector.fc1.weight', 4096, 2176), true);
  assert.is(isInt8(all, 'action_head.model_grip.fc2.weight', 1, 4096), false);
  assert.is(isInt8(all, 'proprio_projector.fc1.weight', 4096, 8), false);
  assert.is(isInt8(all, 'x.weight', 4096, 4100), false);
  assert.is(isInt8(all, 'x.weight', 64, 2 ** 16), false);
  const llm = { ...all, layers: 'llm' } as const;
  assert.is(isInt8(llm, 'language_model.model.layers.3.mlp.up_proj.weight', 4096, 4096), true);
  assert.is(isInt8(llm, 'language_model.lm_head.weight', 32064, 4096), false);
  assert.is(isInt8(llm, 'vision_backbone.featurizer.blocks.0.mlp.fc1.weight', 4096, 1024), false);
  assert.equal([4096, 4304, 1152, 12, 7].map(blockOf), [64, 16, 64, 4, 1]);
});

test('seven bits where the processor’s kernels saturate', () => {
  const flags = (text: string) => `processor : 0\nflags\t\t: fpu sse avx2 ${text}\n`;
  assert.is(activationBits('x64', flags('avx512f avx512bw')), 7);
  assert.is(activationBits('x64', flags('avx512_vnni')), 8);
  assert.is(activationBits('x64', flags('avx_vnni')), 8);
  assert.is(activationBits('x64', ''), 7);
  assert.is(activationBits('arm64', ''), 8);
});

test.run();
