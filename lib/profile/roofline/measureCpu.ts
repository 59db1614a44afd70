/**
 * Peaks of this machine's processor, measured, since no data sheet tells what cores, clocks and memory channels a process
 * has: ONNX Runtime's own matrix product and matrix-vector product on as many threads as the policy has, the best of
 * several. What else runs lowers them, so they are peaks of this moment.
 */

import { availableParallelism, cpus, totalmem } from 'node:os';
import { GraphBuilder } from '../../graph/graphBuilder.ts';
import { encodeModel } from '../../graph/onnxModel.ts';
import type { Device } from './devices.ts';

/** Large enough for full speed, small enough for tens of milliseconds. */
const matrixSize = 1024;
/** 268 MB of float32: beyond any cache. */
const vectorSize = 8192;
const repeats = 8;

/** About a second. Blocks this thread while it measures. */
export async function measureCpu(options: { readonly threads?: number } = {}): Promise<Device> {
  const threads = options.threads ?? availableParallelism();
  const n = matrixSize;
  const productMs = await bestMs(threads, [n, n], [n, n]);
  const bytesMs = await bestMs(threads, [n, n], [n, n], 'MatMulInteger');
  const k = vectorSize;
  const vectorMs = await bestMs(threads, [1, k], [k, k]);
  const [gflops, gops] = [productMs, bytesMs].map((ms) => (2 * n ** 3) / (ms * 1e6)) as [number, number];
  const bandwidthGBs = (4 * k * k) / (vectorMs * 1e6);
  return {
    name: 'this-cpu',
    title: `${cpus()[0]?.model.trim() ?? 'CPU'}, ${threads} thread${threads === 1 ? '' : 's'}`,
    peaks: { fp32: gflops / 1000, int8: gops / 1000 },
    bandwidthGBs,
    memoryBytes: totalmem(),
    source:
      `measured just now on ${threads} thread(s), best of ${repeats}: ONNX Runtime's products of ${n} x ${n} matrices in float32 ` +
      `(${gflops.toFixed(0)} GFLOPS) and of uint8 and int8 (${gops.toFixed(0)} GOPS), and float32 of a vector with a ${k} x ${k} ` +
      `matrix (${bandwidthGBs.toFixed(1)} GB/s); other load lowers all`,
  };
}

/** Best time of a[..] times b[..]: float32, or uint8 times int8. */
async function bestMs(
  threads: number,
  a: readonly [number, number],
  b: readonly [number, number],
  product: 'MatMul' | 'MatMulInteger' = 'MatMul',
): Promise<number> {
  const ort = await import('onnxruntime-node');
  const g = new GraphBuilder({ name: 'peak', doc: 'one matrix product', tensors: new Map() });
  const bytes = product === 'MatMulInteger';
  const [typeA, typeB, typeC] = bytes
    ? (['uint8', 'int8', 'int32'] as const)
    : (['float32', 'float32', 'float32'] as const);
  const left = g.input({ name: 'a', type: typeA, shape: a });
  const right = g.input({ name: 'b', type: typeB, shape: b });
  g.output(g.op(product, [left, right], {}, 'product'), { name: 'c', type: typeC, shape: [a[0], b[1]] });
  const model = encodeModel(g.build(), (file) => file);
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: threads });
  try {
    const filled = (type: 'uint8' | 'int8' | 'float32', shape: readonly [number, number]) => {
      const length = shape[0] * shape[1];
      if (type === 'uint8') return new ort.Tensor(type, new Uint8Array(length).fill(3), [...shape]);
      if (type === 'int8') return new ort.Tensor(type, new Int8Array(length).fill(3), [...shape]);
      return new ort.Tensor(type, new Float32Array(length).fill(0.5), [...shape]);
    };
    const feeds = { a: filled(typeA, a), b: filled(typeB, b) };
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < repeats; i++) {
      const start = performance.now();
      await session.run(feeds);
      best = Math.min(best, performance.now() - start);
    }
    return best;
  } finally {
    await session.release();
  }
}
