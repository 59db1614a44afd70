/** Layer norms of wide rows, which are spelled in parts, against the definition in float64. */

import * as ort from 'onnxruntime-node';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { TensorView } from '../../lib/checkpoint/tensorView.ts';
import { presetArchitecture, presetSizes, specArchitecture } from '../../lib/engine/presetArchitecture.ts';
import { twinSpec } from '../../lib/engine/twin.ts';
import { GraphBuilder } from '../../lib/graph/graphBuilder.ts';
import { layerNorm } from '../../lib/graph/layers.ts';
import { encodeModel, type OnnxModel } from '../../lib/graph/onnxModel.ts';
import { buildPolicyGraph } from '../../lib/graph/policyGraph.ts';
import { Random } from '../../lib/support/random.ts';

const test = suite('layer norms');
const eps = 1e-5;

function graphOf(width: number, parts: number): OnnxModel {
  const tensors = new Map<string, TensorView>(
    ['norm.weight', 'norm.bias'].map((name) => [
      name,
      { name, dtype: 'F32', shape: [width], file: '', offset: 0, byteLength: 4 * width },
    ]),
  );
  const g = new GraphBuilder({ name: 'norm', doc: '', tensors });
  g.input({ name: 'x', type: 'float32', shape: ['M', width] });
  g.output(layerNorm(g, 'x', 'norm', eps, 'normed', parts), {
    name: 'out',
    type: 'float32',
    shape: ['M', width],
  });
  return g.build();
}

const operators = ({ nodes }: OnnxModel): string[] => nodes.map(({ opType }) => opType);

/** As it is defined, in float64. */
function defined(row: Float32Array, weight: Float32Array, bias: Float32Array): Float64Array {
  const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
  const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
  return Float64Array.from(row, (v, i) => ((v - mean) / Math.sqrt(variance + eps)) * weight[i]! + bias[i]!);
}

test('a wide row in parts: as the definition in float64', async () => {
  const [columns, parts] = [4096, 6];
  const width = columns * parts;
  const random = new Random(71);
  const normal = () => random.normal();
  const rows: readonly ((part: number) => number)[] = [
    // one level for all parts, one for each, and one so far off that mean(x^2) - mean(x)^2 would lose 3 % of the variance
    normal,
    (part) => 10 * part + normal(),
    (part) => 1000 + 0.1 * part + normal(),
    () => 0,
  ];
  const x = Float32Array.from({ length: rows.length * width }, (_, i) =>
    rows[Math.floor(i / width)]!(Math.floor((i % width) / columns)),
  );
  const weight = Float32Array.from({ length: width }, () => 1 + 0.1 * normal());
  const bias = Float32Array.from({ length: width }, () => 0.1 * normal());
  const model = graphOf(width, parts);
  const bytes = new Map([
    ['norm.weight', new Uint8Array(weight.buffer)],
    ['norm.bias', new Uint8Array(bias.buffer)],
  ]);
  const initializers = model.initializers.map((one) => {
    const own = bytes.get(one.name);
    return own === undefined ? one : { ...one, source: { bytes: own } };
  });
  const session = await ort.InferenceSession.create(
    encodeModel({ ...model, initializers }, () => ''),
    {
      logSeverityLevel: 4,
    },
  );
  try {
    const { out } = await session.run({ x: new ort.Tensor('float32', x, [rows.length, width]) });
    for (const at of rows.keys()) {
      const row = x.subarray(at * width, (at + 1) * width);
      const expected = defined(row, weight, bias);
      const found = (out!.data as Float32Array).subarray(at * width, (at + 1) * width);
      // float32 has steps of 6e-5 at 1000, and sums of 4096 such values are off by a few
      const most = at === 2 ? 5e-4 : 2e-5;
      const off = found.reduce((worst, value, i) => Math.max(worst, Math.abs(value - expected[i]!)), 0);
      assert.ok(off <= most, `row ${at}: ${off}`);
    }
  } finally {
    await session.release();
  }
});

test('in parts only where a row is too wide for one kernel', () => {
  assert.equal(operators(graphOf(12288, 3)), ['LayerNormalization', 'Identity']);
  assert.equal(operators(graphOf(16384, 1)), ['LayerNormalization', 'Identity']);
  assert.not(operators(graphOf(16384, 4)).includes('LayerNormalization'));
  for (const [preset, isWhole] of [
    ['libero', true],
    ['lite', true],
    ['aloha', false],
    ['oft', false],
  ] as const) {
    const { config, tensors, pixelNormalization } = specArchitecture(
      twinSpec(presetArchitecture(preset).config),
    );
    const { nodes } = buildPolicyGraph(config, tensors, pixelNormalization, {
      ...presetSizes(preset),
      ...{ stages: false, mergeWeights: false },
    });
    const first = nodes.filter(
      ({ name, opType }) => opType === 'LayerNormalization' && /^head\/.*layer_norm1$/.test(name),
    );
    assert.is(first.length > 0, isWhole, preset);
  }
});

test.run();
