/** The graphs for TensorRT: same mathematics as those for ONNX Runtime, weights as inputs, 16-bit types where they belong. */

import * as ort from 'onnxruntime-node';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Checkpoint } from '../../lib/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { readTensorFloat32 } from '../../lib/checkpoint/readTensor.ts';
import type { GraphOptions } from '../../lib/graph/graphContext.ts';
import { buildInstructionGraph } from '../../lib/graph/instructionGraph.ts';
import { encodeModel, externalFiles, type OnnxModel } from '../../lib/graph/onnxModel.ts';
import { buildPolicyGraph } from '../../lib/graph/policyGraph.ts';
import { type GoldenName, goldenCheckpoint } from '../helpers/golden.ts';

const graphPrecision = suite('graph/graphPrecision');

const sizes: Readonly<Record<GoldenName, Pick<GraphOptions, 'images' | 'chunk' | 'actionDim' | 'proprio'>>> =
  {
    'libero-tiny': { images: 2, chunk: 8, actionDim: 7, proprio: true },
    'aloha-tiny': { images: 3, chunk: 25, actionDim: 14, proprio: true },
    'oft-tiny': { images: 2, chunk: 8, actionDim: 7, proprio: true },
  };
const goldens = Object.keys(sizes) as GoldenName[];
const onnxRuntime = { stages: false, mergeWeights: true } as const;
const tensorRt = { ...onnxRuntime, weights: 'inputs', runtime: 'tensorrt' } as const;

const opened = new Map<GoldenName, Promise<Checkpoint>>();
function checkpoint(name: GoldenName): Promise<Checkpoint> {
  const before = opened.get(name) ?? openCheckpoint(goldenCheckpoint(name));
  opened.set(name, before);
  return before;
}

async function graphs(name: GoldenName, options: Omit<GraphOptions, keyof (typeof sizes)[GoldenName]>) {
  const { config, tensors, pixelNormalization } = await checkpoint(name);
  const all = { ...sizes[name], ...options };
  return {
    instruction: buildInstructionGraph(config, tensors, all),
    policy: buildPolicyGraph(config, tensors, pixelNormalization, all),
  };
}

function bytes(model: OnnxModel): Uint8Array {
  return encodeModel(model, (file) => file);
}

graphPrecision('the defaults said aloud write the same bytes', async () => {
  const defaults = { precision: 'float32', weights: 'initializers', runtime: 'onnxruntime' } as const;
  for (const stages of [false, true]) {
    for (const mergeWeights of [false, true]) {
      const silent = await graphs('libero-tiny', { stages, mergeWeights });
      const said = await graphs('libero-tiny', { stages, mergeWeights, ...defaults });
      for (const part of ['instruction', 'policy'] as const) {
        assert.is(
          Buffer.compare(bytes(silent[part]), bytes(said[part])),
          0,
          `${part} ${stages} ${mergeWeights}`,
        );
      }
    }
  }
});

graphPrecision(
  'bound weights: every weight is an input of the precision, vectors have two dimensions',
  async () => {
    for (const name of goldens) {
      const { instruction, policy } = await graphs(name, { ...tensorRt, precision: 'bfloat16' });
      for (const model of [instruction, policy]) {
        assert.equal(externalFiles(model), []);
        const inputs = new Map(model.inputs.map((input) => [input.name, input]));
        assert.ok(model.bindings.length > 0);
        for (const { name: weight, type, dims, parts } of model.bindings) {
          assert.is(type, 'bfloat16');
          assert.equal(inputs.get(weight)?.shape, dims);
          assert.is(inputs.get(weight)?.type, 'bfloat16');
          assert.ok(dims.length >= 2, `${weight} has rank ${dims.length}`);
          const elements = parts.reduce((sum, { shape }) => sum + shape.reduce((n, d) => n * d, 1), 0);
          assert.is(
            elements,
            dims.reduce((n, d) => n * d, 1),
            weight,
          );
        }
      }
    }
  },
);

graphPrecision(
  '16-bit graphs: what enters the policy is what leaves the instruction; results stay float32',
  async () => {
    for (const precision of ['bfloat16', 'float16'] as const) {
      const { instruction, policy } = await graphs('libero-tiny', { ...tensorRt, precision });
      const entering = new Map(policy.inputs.map(({ name, type }) => [name, type]));
      for (const { name, type } of instruction.outputs) assert.is(entering.get(name), type, name);
      const leaving = new Map(policy.outputs.map(({ name, type }) => [name, type]));
      assert.is(leaving.get('actions'), 'float32');
      assert.is(leaving.get('siglip_similarity'), 'float32');
      assert.is(entering.get('images'), 'uint8');
      // pixels, statistics and scores need float32 constants; nothing else may be float32
      const wide = policy.initializers.filter(({ type }) => type === 'float32').map(({ name }) => name);
      assert.equal(
        wide.filter((name) => !/^float32\(|embed\/(mean|std)$/.test(name)),
        [],
      );
    }
  },
);

graphPrecision('without bodies a model holds the calls alone', async () => {
  const { policy } = await graphs('libero-tiny', { ...tensorRt, precision: 'bfloat16' });
  const text = (options: Parameters<typeof encodeModel>[2]) =>
    Buffer.from(encodeModel(policy, (file) => file, options)).toString('latin1');
  assert.match(text({ functions: 'calls' }), 'instructionTopK');
  assert.not.match(text({ functions: 'calls' }), 'GatherND');
  assert.match(text({}), 'GatherND');
});

/** Deterministic bytes and numbers; what they are does not matter. */
function noise(length: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

async function run(model: OnnxModel, feeds: Record<string, ort.Tensor>): Promise<Record<string, ort.Tensor>> {
  // weights are named by path below "/"
  const file = encodeModel(model, (path) => path.slice(1));
  const session = await ort.InferenceSession.create(file, {
    intraOpNumThreads: 2,
    logSeverityLevel: 3,
    extra: { session: { model_external_initializers_file_folder_path: '/' } },
  });
  const wanted = new Set(session.inputNames);
  const known = Object.fromEntries(Object.entries(feeds).filter(([name]) => wanted.has(name)));
  for (const { name, type, dims, parts } of model.bindings) {
    assert.is(type, 'float32');
    const read = await Promise.all(parts.map(readTensorFloat32));
    known[name] = new ort.Tensor('float32', read.length === 1 ? read[0]! : concat(read), [...dims]);
  }
  const outputs = await session.run(known);
  await session.release();
  return outputs as Record<string, ort.Tensor>;
}

function concat(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

graphPrecision('bound float32 graphs give the actions of the other graphs', async () => {
  for (const name of goldens) {
    const { config } = await checkpoint(name);
    const { images, actionDim, chunk } = sizes[name];
    const ids = [1, 512, 700, 433, 29871, 2].map(BigInt);
    const text = [9, 4, 77, ...new Array<number>(61).fill(1)].map(BigInt);
    const side = config.imageSize;
    const levels = Uint8Array.from(noise(images * side * side * 3, 7), (x) => 127 + 120 * x);
    const feeds = {
      prompt_ids: new ort.Tensor('int64', BigInt64Array.from(ids), [ids.length]),
      siglip_ids: new ort.Tensor('int64', BigInt64Array.from(text), [text.length]),
      images: new ort.Tensor('uint8', levels, [images, side, side, 3]),
      proprio: new ort.Tensor('float32', noise(config.proprioDim!, 3), [1, config.proprioDim!]),
    };
    const results: Record<string, ort.Tensor>[] = [];
    for (const options of [onnxRuntime, { ...tensorRt, precision: 'float32' as const }]) {
      const { instruction, policy } = await graphs(name, options);
      const state = await run(instruction, feeds);
      results.push(await run(policy, { ...feeds, ...state }));
    }
    const [expected, actual] = results.map(({ actions }) => actions!.data as Float32Array);
    assert.is(expected!.length, chunk * actionDim);
    const worst = Math.max(...expected!.map((value, i) => Math.abs(value - actual![i]!)));
    // float32 in another order: the golden README's own noise is 2e-6, the fold of the normalization adds as much
    assert.ok(worst <= 2e-5, `${name}: ${worst}`);
    assert.ok(Math.max(...expected!.map(Math.abs)) > 1e-3);
  }
});

graphPrecision.run();
