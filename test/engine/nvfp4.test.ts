/**
 * Why there is no nvfp4 tier: what TensorRT-RTX makes of products of two FP4 matrices with block scales (docs/precision.md). When a
 * newer version makes fewer kernels of them, this test fails, and the tier should be written.
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildEngine } from '../../lib/engine/buildEngine.ts';
import type { FoundTensorRt } from '../../lib/engine/findTensorRt.ts';
import { type PlanLayer, type PlanTensor, parsePlan } from '../../lib/engine/planLayers.ts';
import { GraphBuilder, type Value } from '../../lib/graph/graphBuilder.ts';
import { encodeModel } from '../../lib/graph/onnxModel.ts';
import { errorOf } from '../checkpoint/editCheckpoint.ts';
import { testWhen } from '../helpers/skip.ts';
import { tensorRtRtx } from '../helpers/tensorRt.ts';

const test = suite('engine/nvfp4');
const finding = tensorRtRtx();
const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const runs = isLong && 'tensorRt' in finding;
const reason =
  'missing' in finding ? finding.missing : 'it builds two engines; SEMANTICVLA_LONG_TESTS=1 runs it';

/** A language layer's MLP at its full width: gate and up together, SwiGLU, down. */
const [width, inner, block] = [4096, 11008, 16];
const layers = 3;
/** The largest E2M1 level times the largest E4M3 block scale. */
const top = 6 * 448;

/** x W^T of FP4 levels: block scales E4M3, the channel's and the token's own scale multiplied in after the product. */
function fp4Linear(g: GraphBuilder, x: Value, name: string, rows: number, columns: number): Value {
  const zero = g.float(1);
  const largest = g.op(
    'ReduceMax',
    [g.op('Abs', [x], {}, 'sizes'), g.ints([-1])],
    { keepdims: 1 },
    'largest',
  );
  const scale = g.op('Mul', [largest, g.float32(1 / top)], {}, 'scale');
  const scaled = g.narrow(g.op('Div', [x, scale], {}, 'scaled'), 'narrowed');
  const blocks = { axis: -1, block_size: block };
  const [levels, scales] = g.ops(
    'TRT_FP4DynamicQuantize',
    [scaled, zero],
    { ...blocks, scale_type: 17 },
    'levels',
    ['values', 'scales'],
    'trt',
  );
  const own = g.op('DequantizeLinear', [scales!, zero], {}, 'block_scales');
  const tokens = g.op('DequantizeLinear', [levels!, own], blocks, 'tokens');
  const bound = (label: string, type: 'float4' | 'float8' | 'float32', shape: readonly number[]): Value =>
    g.input({ name: `${name}/${label}`, type, shape });
  const weightScales = bound('blocks', 'float8', [rows, columns / block]);
  const factors = g.op('DequantizeLinear', [weightScales, zero], {}, 'weight_scales');
  const weight = bound('levels', 'float4', [rows, columns]);
  const channels = g.op('DequantizeLinear', [weight, factors], blocks, 'channels');
  const sums = g.op('Gemm', [tokens, channels], { transB: 1 }, 'sums');
  const byToken = g.op('Mul', [g.widen(sums, 'wide'), scale], {}, 'by_token');
  return g.op('Mul', [byToken, bound('scales', 'float32', [1, rows])], {}, 'by_channel');
}

async function build(tensorRt: FoundTensorRt, target: number): Promise<readonly PlanLayer[]> {
  const g = new GraphBuilder({ name: 'fp4', doc: '', tensors: new Map(), precision: 'bfloat16' });
  let stream = g.input({ name: 'x', type: 'float32', shape: ['L', width] });
  for (let n = 0; n < layers; n++) {
    stream = g.scope(`llama/layer${n}`, () => {
      const squares = g.op('Mul', [stream, stream], {}, 'squares');
      const mean = g.op('ReduceMean', [squares, g.ints([-1])], { keepdims: 1 }, 'mean');
      const root = g.op('Sqrt', [g.op('Add', [mean, g.float32(1e-6)], {}, 'floored')], {}, 'root');
      const normed = g.op('Div', [stream, root], {}, 'normed');
      const both = g.scope('gate_up', () => fp4Linear(g, normed, `layer${n}/gate_up`, 2 * inner, width));
      const [gate, up] = g.ops('Split', [both], { axis: -1, num_outputs: 2 }, 'halves', ['gate', 'up']);
      const silu = g.op('Mul', [gate!, g.op('Sigmoid', [gate!], {}, 'sigmoid')], {}, 'silu');
      const product = g.op('Mul', [silu, up!], {}, 'product');
      const down = g.scope('down', () => fp4Linear(g, product, `layer${n}/down`, width, inner));
      return g.op('Add', [stream, down], {}, 'stream');
    });
  }
  g.output(stream, { name: 'y', type: 'float32', shape: ['L', width] });
  const built = await buildEngine(
    tensorRt,
    {
      name: 'fp4',
      onnx: encodeModel(g.build(), (file) => file),
      path: '',
      profiles: [[{ name: 'x', min: [16, width], opt: [130, width], max: [256, width] }]],
      plugins: {},
    },
    { targets: [target], optimizationLevel: null, workspaceBytes: null },
  );
  return built.layers.flatMap((text) => parsePlan(text).layers);
}

const isMatrix = ({ dims }: PlanTensor): boolean => dims.length >= 2 && dims.at(-1)! > 1;

testWhen(runs, reason, test, 'each product is FP4 x FP4, at six kernels', async () => {
  if (!('tensorRt' in finding)) return;
  const plan = await build(finding.tensorRt, 120);
  const kernels = plan.filter(({ kind }) => ['kgen', 'gemm'].includes(kind));
  const products = kernels.filter(({ kind }) => kind === 'gemm');
  assert.is(products.length, 2 * layers);
  for (const { inputs, constants, name } of products) {
    const matrices = [...inputs, ...constants].filter(isMatrix);
    assert.is(matrices.filter(({ type }) => type === 'float4').length, 2, name);
  }
  // from one gate and up to the next: each product's input is rounded by itself (beside the kernel that finds its largest
  // number), its block scales are put into the order of the product in two more, and the weight's, which never change, in a third
  const places = products.filter(({ name }) => /gate_up/.test(name)).map((layer) => kernels.indexOf(layer));
  const apart = places.slice(1).map((place, i) => place - places[i]!);
  assert.equal(apart, [12, 12], 'fewer kernels: the tier may pay now (docs/precision.md)');
});

testWhen(runs, reason, test, 'Ada has no such tensor cores', async () => {
  if (!('tensorRt' in finding)) return;
  const error = await errorOf(build(finding.tensorRt, 89));
  assert.is(error.code, 'ENGINE_BUILD_FAILED');
});

test.run();
