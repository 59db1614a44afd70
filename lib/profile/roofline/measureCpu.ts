/**
 * Peaks of this machine's processor, measured, since no data sheet tells what cores, clocks and memory channels a process
 * has: ONNX Runtime's own matrix product and matrix-vector product on as many threads as the policy has, the best of
 * several. What else runs lowers them, so they are peaks of this moment.
 */

import { availableParallelism, cpus, totalmem } from 'node:os';
import { GraphBuilder, type Value } from '../../graph/graphBuilder.ts';
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
  const k = vectorSize;
  const vectorMs = await bestMs(threads, [1, k], [k, k]);
  const gflops = (2 * n ** 3) / (productMs * 1e6);
  const bandwidthGBs = (4 * k * k) / (vectorMs * 1e6);
  return {
    name: 'this-cpu',
    title: `${cpus()[0]?.model.trim() ?? 'CPU'}, ${threads} thread${threads === 1 ? '' : 's'}`,
    peaks: { fp32: gflops / 1000 },
    bandwidthGBs,
    memoryBytes: totalmem(),
    source:
      `measured just now on ${threads} thread(s), best of ${repeats}: ONNX Runtime's float32 product of ${n} x ${n} matrices ` +
      `(${gflops.toFixed(0)} GFLOPS) and of a vector with a ${k} x ${k} matrix (${bandwidthGBs.toFixed(1)} GB/s); other load lowers both`,
  };
}

/** Best time of a[..] times b[..]. */
async function bestMs(
  threads: number,
  a: readonly [number, number],
  b: readonly [number, number],
): Promise<number> {
  const ort = await import('onnxruntime-node');
  const g = new GraphBuilder({ name: 'peak', doc: 'one matrix product', tensors: new Map() });
  const input = (name: string, shape: readonly number[]): Value => g.input({ name, type: 'float32', shape });
  const product = g.op('MatMul', [input('a', a), input('b', b)], {}, 'product');
  g.output(product, { name: 'c', type: 'float32', shape: [a[0], b[1]] });
  const model = encodeModel(g.build(), (file) => file);
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: threads });
  try {
    const tensor = (shape: readonly [number, number]) =>
      new ort.Tensor('float32', new Float32Array(shape[0] * shape[1]).fill(0.5), [...shape]);
    const feeds = { a: tensor(a), b: tensor(b) };
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
