/**
 * A linear layer of an engine's tier against a plain twin of its definition, and the language model in it against float32: gammas
 * and rotations that lie in the weights change nothing but what is rounded.
 */

import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeInt8Weights, type QuantizedWeight, scalesOf } from '../../lib/checkpoint/int8Weights.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { readTensorBytes, readTensorFloat32 } from '../../lib/checkpoint/readTensor.ts';
import { presetArchitecture, presetSizes, specArchitecture } from '../../lib/engine/presetArchitecture.ts';
import { twinSpec } from '../../lib/engine/twin.ts';
import { swigluLevels } from '../../lib/graph/functions.ts';
import { GraphBuilder } from '../../lib/graph/graphBuilder.ts';
import { hadamard } from '../../lib/graph/int8.ts';
import { blockOf } from '../../lib/graph/int8Layers.ts';
import { linear } from '../../lib/graph/layers.ts';
import {
  encodeModel,
  type Initializer,
  type OnnxModel,
  type Precision,
  placeQuantized,
} from '../../lib/graph/onnxModel.ts';
import { buildPolicyGraph } from '../../lib/graph/policyGraph.ts';
import { type StreamPlace, type Tier, tierFormats, tiers } from '../../lib/graph/tiers.ts';
import { goldenCheckpoint, scratchFolder } from '../helpers/golden.ts';

const test = suite('linear layers of a tier');
const cacheDir = mkdtempSync(join(scratchFolder(), 'tiers-'));
const checkpoint = await openCheckpoint(goldenCheckpoint('libero-tiny'), { cacheDir });
const layer = 'language_model.model.layers.0';

/** x H, block by block, in float64. */
function turned(x: ArrayLike<number>, columns: number): Float64Array {
  const block = blockOf(columns);
  const matrix = hadamard(block);
  return Float64Array.from(x, (_, at) => {
    const from = at - (at % block);
    let sum = 0;
    for (let i = 0; i < block; i++) sum += x[from + i]! * matrix[i * block + (at % block)]!;
    return sum;
  });
}

/** W [rows, columns] as the tier stores it before it is rounded, in float64. */
async function folded(tier: Tier, name: string, { gamma, writes, turns }: StreamPlace) {
  const { rotates } = tierFormats[tier];
  const view = checkpoint.tensors.get(name)!;
  const [rows, columns] = view.shape as [number, number];
  const factors = gamma === undefined ? null : await readTensorFloat32(checkpoint.tensors.get(gamma)!);
  let weights: Float64Array = Float64Array.from(
    await readTensorFloat32(view),
    (value, at) => value * (factors?.[at % columns] ?? 1),
  );
  if (rotates && (gamma !== undefined || turns)) weights = turned(weights, columns);
  if (!rotates || !writes) return { rows, columns, weights };
  const columnwise = Float64Array.from(
    weights,
    (_, at) => weights[(at % rows) * columns + Math.floor(at / rows)]!,
  );
  const mixed = turned(columnwise, rows);
  return {
    rows,
    columns,
    weights: weights.map((_, at) => mixed[(at % columns) * rows + Math.floor(at / columns)]!),
  };
}

async function run(tier: Tier, name: string, place: StreamPlace, x: Float32Array, columns: number) {
  const g = new GraphBuilder({ name: 'layer', doc: '', tensors: checkpoint.tensors, tier });
  g.input({ name: 'x', type: 'float32', shape: ['M', columns] });
  const y = linear(g, 'x', name.replace(/\.weight$/, ''), 'y', { bias: false, place });
  g.output(y, { name: 'out', type: 'float32', shape: ['M', 'N'] });
  const model = g.build();
  const made = await makeInt8Weights(checkpoint, model.quantized, { cacheDir });
  const inline = async (initializer: Initializer): Promise<Initializer> => {
    const { source } = initializer;
    return 'view' in source
      ? { ...initializer, source: { bytes: await readTensorBytes(source.view) } }
      : initializer;
  };
  const placed = placeQuantized(model, made.tensors);
  const initializers = await Promise.all(placed.initializers.map(inline));
  const session = await ort.InferenceSession.create(
    encodeModel({ ...placed, initializers }, () => ''),
    {
      logSeverityLevel: 4,
      // as in sessionConfig
      extra: { session: { disable_quant_qdq: '1' } },
    },
  );
  try {
    const feeds = { x: new ort.Tensor('float32', x, [x.length / columns, columns]) };
    return { out: (await session.run(feeds)).out!.data as Float32Array, quantized: model.quantized, made };
  } finally {
    await session.release();
  }
}

const places: readonly (readonly [string, StreamPlace])[] = [
  [`${layer}.self_attn.q_proj.weight`, { gamma: `${layer}.input_layernorm.weight` }],
  [`${layer}.self_attn.o_proj.weight`, { writes: true }],
  [`${layer}.mlp.down_proj.weight`, { writes: true, turns: true }],
];

/** The most that rounding moves a value, where its largest neighbour is `top` steps. */
const moved: Readonly<Record<Tier, (value: number, step: number) => number>> = {
  int8: (_, step) => 0.5 * step,
  // three bits of the fraction; below 2^-6 multiples of 2^-9
  fp8: (value, step) => Math.max(Math.abs(value) / 16, step * 2 ** -10),
};
/** Of a token's outputs together, where the errors of its values do not all add up: seen 0.012 and 0.04. */
const together: Readonly<Record<Tier, number>> = { int8: 0.03, fp8: 0.06 };

for (const [tier, name, place] of tiers.flatMap((tier) => places.map((one) => [tier, ...one] as const))) {
  test(`${tier}, ${name}: as far from the exact product as its levels`, async () => {
    const { rows, columns, weights } = await folded(tier, name, place);
    const tokens = 5;
    // each token of another size, one of them with an outlier
    const x = Float32Array.from({ length: tokens * columns }, (_, at) => {
      const size = 10 ** (Math.floor(at / columns) - 2);
      return size * (at % (columns + 7) === 3 ? 20 : Math.cos(at * 78.233));
    });
    const { out, quantized, made } = await run(tier, name, place, x, columns);
    const { top, rotates } = tierFormats[tier];
    const input = rotates && place.turns ? turned(x, columns) : Float64Array.from(x);
    const scales = await readTensorFloat32(made.tensors.get(scalesOf(quantized[0]!.name))!);
    for (let row = 0; row < rows; row++) {
      const own = weights.subarray(row * columns, (row + 1) * columns);
      const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      // float32 butterflies beside float64
      assert.ok(Math.abs(scales[row]! - largest / top) <= 1e-5 * scales[row]!, `row ${row}: ${scales[row]}`);
    }
    for (let token = 0; token < tokens; token++) {
      const some = input.subarray(token * columns, (token + 1) * columns);
      const step = some.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / top;
      let [signal, noise] = [0, 0];
      for (let row = 0; row < rows; row++) {
        let [exact, allowed] = [0, 0];
        for (let k = 0; k < columns; k++) {
          const weight = weights[row * columns + k]!;
          exact += some[k]! * weight;
          // both factors are moved, and both errors meet
          const token = moved[tier](some[k]!, step);
          allowed +=
            token * Math.abs(weight) + moved[tier](weight, scales[row]!) * (Math.abs(some[k]!) + token);
        }
        const error = Math.abs(out[token * rows + row]! - exact);
        assert.ok(error <= allowed * (1 + 1e-5), `token ${token}, row ${row}: ${error} of ${allowed}`);
        [signal, noise] = [signal + exact ** 2, noise + error ** 2];
      }
      const share = Math.sqrt(noise / signal);
      assert.ok(share <= together[tier], `token ${token}: ${share}`);
    }
  });
}

test('levels lie by row, and gamma and rotation are part of the key', async () => {
  const [name, place] = places[0]!;
  const { columns } = await folded('int8', name, place);
  const one = await run('int8', name, place, new Float32Array(columns), columns);
  const [weight] = one.quantized as readonly [QuantizedWeight];
  assert.equal([weight.byRow, weight.block, weight.rowBlock], [true, blockOf(columns), 1]);
  const { gamma: _, ...plain } = weight;
  const files = new Set([one.made.file]);
  for (const other of [plain, { ...weight, rowBlock: 2 }, { ...weight, levels: 'float8' as const }])
    files.add((await makeInt8Weights(checkpoint, [other], { cacheDir })).file);
  assert.is(files.size, 4);
});

test('a token of zeros gives zeros, and what is not finite does not become a number', async () => {
  const [name, place] = places[1]!;
  for (const tier of tiers) {
    const { columns } = await folded(tier, name, place);
    const zeros = await run(tier, name, place, new Float32Array(columns), columns);
    assert.ok(zeros.out.every((value) => value === 0));
    const broken = Float32Array.from({ length: columns }, (_, at) => (at === 3 ? Number.NaN : 1));
    const found = await run(tier, name, place, broken, columns);
    assert.ok(found.out.every(Number.isNaN), `${tier}: ${found.out.slice(0, 4)}`);
  }
});

/** `swigluLevels` of sums [rows, 2 width] in ONNX Runtime. */
async function levelsOf(sums: Float32Array, byToken: Float32Array, byChannel: Float32Array, block: number) {
  const g = new GraphBuilder({ name: 'levels', doc: '', tensors: new Map() });
  const [rows, columns] = [byToken.length, byChannel.length];
  const given = [
    ['sums', sums, [rows, columns]],
    ['by_token', byToken, [rows, 1]],
    ['by_channel', byChannel, [1, columns]],
  ] as const;
  const inputs = given.map(([name, , shape]) => g.input({ name, type: 'float32', shape }));
  const [levels, scales] = g.call(swigluLevels(block), inputs, { block }, 'one');
  g.output(levels!, { name: 'levels', type: 'int8', shape: [rows, columns / 2] });
  g.output(scales!, { name: 'scales', type: 'float32', shape: [rows, 1] });
  const session = await ort.InferenceSession.create(encodeModel(g.build(), () => ''));
  try {
    const feeds = given.map(([name, data, shape]) => [name, new ort.Tensor('float32', data, shape)] as const);
    const found = await session.run(Object.fromEntries(feeds));
    return {
      levels: found.levels!.data as unknown as Int8Array,
      scales: found.scales!.data as Float32Array,
    };
  } finally {
    await session.release();
  }
}

for (const block of [16, 32, 64]) {
  test(`swigluLevels, rotated in blocks of ${block}: as its definition in float64`, async () => {
    const [rows, width] = [3, 192];
    const wave = (length: number, step: number) =>
      Float32Array.from({ length }, (_, at) => Math.sin(at * step));
    const sums = wave(rows * 2 * width, 12.9898).map((value) => 3000 * value);
    const byToken = Float32Array.of(0.05, 0.2, 0.01);
    const byChannel = wave(2 * width, 78.233).map((value) => 0.003 * (2 + value));
    const { levels, scales } = await levelsOf(sums, byToken, byChannel, block);
    const part = (row: number, column: number): number =>
      sums[row * 2 * width + column]! * byToken[row]! * byChannel[column]!;
    const matrix = hadamard(block);
    for (let row = 0; row < rows; row++) {
      const gated = Array.from({ length: width }, (_, column) => {
        const gate = part(row, column);
        return (gate / (1 + Math.exp(-gate))) * part(row, width + column);
      });
      const rotated = gated.map((_, at) => {
        const from = at - (at % block);
        let sum = 0;
        for (let i = 0; i < block; i++) sum += gated[from + i]! * matrix[i * block + (at % block)]!;
        return sum;
      });
      const scale = Math.max(...rotated.map(Math.abs)) / 127;
      // float32 beside float64: six additions of values of a block, and an exponential
      assert.ok(Math.abs(scales[row]! - scale) <= 1e-5 * scale, `row ${row}: ${scales[row]} beside ${scale}`);
      for (const [at, value] of rotated.entries()) {
        const off = Math.abs(levels[row * width + at]! - value / scale);
        assert.ok(off <= 0.5 + 2e-3, `row ${row}, column ${at}: ${off}`);
      }
    }
  });
}

test('swigluLevels: a token of zeros has a scale, and one with NaN has none', async () => {
  const sums = new Float32Array(3 * 32).fill(1);
  sums.fill(0, 32, 64);
  sums[70] = Number.NaN;
  const { levels, scales } = await levelsOf(
    sums,
    new Float32Array(3).fill(1),
    new Float32Array(32).fill(1),
    16,
  );
  assert.ok(scales[0]! > 0 && scales[1]! > 0, scales.join(' '));
  assert.ok(Number.isNaN(scales[2]), scales.join(' '));
  assert.ok(levels.slice(16, 32).every((level) => level === 0));
});

test('one kernel before `down` where its blocks allow it, and steps that float16 can add up', () => {
  const graphOf = (mlpWidth: number, precision: Precision, tier: Tier, comparesTier = false) => {
    const spec = twinSpec(presetArchitecture('libero').config);
    const small = { ...spec, llama: { ...spec.llama, layers: 2, mlpWidth } };
    const { config, tensors, pixelNormalization } = specArchitecture(small);
    return buildPolicyGraph(config, tensors, pixelNormalization, {
      ...presetSizes('libero'),
      ...{ stages: false, mergeWeights: true, precision, weights: 'inputs', tier, comparesTier },
    });
  };
  const kernels = ({ nodes }: OnnxModel) => nodes.filter(({ opType }) => opType === 'swigluLevels').length;
  assert.is(kernels(graphOf(11008, 'bfloat16', 'int8')), 2);
  // blocks of 8; rotated as a small product, as before
  assert.is(kernels(graphOf(11000, 'bfloat16', 'int8')), 0);
  assert.is(kernels(graphOf(11008, 'bfloat16', 'fp8')), 0);
  assert.is(kernels(graphOf(11008, 'float32', 'int8', true)), 0);
  const float16 = graphOf(11008, 'float16', 'int8');
  const down = (part: string) => float16.nodes.find(({ name }) => name === `llama/layer0/mlp/down/${part}`)!;
  assert.is(down('steps').input[1], `float16(${2 ** -7})`);
  assert.is(down('factors').input[1], `float32(${2 ** 14})`);
});

test("int8 adds to a graph of 16 bits only what the parser of Jetson's TensorRT takes", () => {
  const { config, tensors, pixelNormalization } = presetArchitecture('libero');
  const graphOf = (tier?: Tier) =>
    buildPolicyGraph(config, tensors, pixelNormalization, {
      ...presetSizes('libero'),
      ...{ stages: false, mergeWeights: false, precision: 'bfloat16', weights: 'inputs' },
      ...(tier === undefined ? {} : { tier }),
    });
  const typesOf = ({ nodes }: OnnxModel) => new Set(nodes.map(({ opType }) => opType));
  const [plain, int8] = [typesOf(graphOf()), graphOf('int8')];
  const added = [...typesOf(int8)].filter((type) => !plain.has(type)).sort();
  // and a plugin of ours with an int8 output, which a board has to show too
  assert.equal(added, ['Abs', 'DequantizeLinear', 'QuantizeLinear', 'ReduceMax', 'swigluLevels']);
  // onnx-tensorrt's docs/operators.md of 10.1 and later: zero points of zeros, scales above zero, axes that are initializers
  const constants = new Map(int8.initializers.map((one) => [one.name, one]));
  const bytesOf = (name: string): Uint8Array => {
    const { source } = constants.get(name)!;
    assert.ok('bytes' in source, name);
    return source.bytes;
  };
  let looked = 0;
  for (const { opType, input } of int8.nodes) {
    if (opType === 'ReduceMax') bytesOf(input[1]!);
    if (!/antizeLinear$/.test(opType)) continue;
    looked++;
    const [, scale, zero] = input;
    assert.is(constants.get(zero!)!.type, 'int8');
    assert.ok(bytesOf(zero!).every((byte) => byte === 0));
    // little-endian, positive: the last byte has no sign and some exponent
    const last = bytesOf(scale!).at(-1)!;
    assert.ok(last > 0 && last < 128, scale);
  }
  // 129 weights; activations twice: those of qkv, o, gate and up; of down once. In the last layer q reads a slice of its own
  assert.ok(looked >= 129 + 32 * 7, `${looked}`);
});

test.run();
