/** The TensorRT session through the addon, on a device without a GPU: a golden policy's graphs, weights and inputs. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { type EngineModelOptions, prepareModels } from '../../lib/engine/engineModels.ts';
import { names } from '../../lib/graph/names.ts';
import { countTokens } from '../../lib/graph/tokenCounts.ts';
import type { InstructionInput, PolicyInput } from '../../lib/runtime/session.ts';
import { TensorRtSession, type TensorRtSessionOptions } from '../../lib/runtime/tensorRt.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { Notice } from '../../lib/support/notices.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { fakePlan, fakeTensorRt, withDevice } from './fakeTensorRt.ts';

const test = suite('TensorRT session');

const sizes = { images: 2, chunk: 8, actionDim: 7, proprio: true };
let memo: Promise<{ options: TensorRtSessionOptions; imageBytes: number; proprioDim: number }> | undefined;

function fixture() {
  memo ??= (async () => {
    const { config, tensors, pixelNormalization } = await openCheckpoint(
      await goldenCheckpoint('libero-tiny'),
    );
    const modelOptions: EngineModelOptions = {
      sizes,
      precision: 'bfloat16',
      weights: 'bound',
      promptLength: { min: 4, opt: 30, max: 80 },
    };
    const { instruction, policy } = prepareModels({ config, tensors, pixelNormalization }, modelOptions);
    const tokens = countTokens(config, sizes);
    const from = (more: number): string => `${names.promptIds}.0+${more}`;
    const symbols = {
      P1: from(0),
      T: from(tokens.placeholders - 1),
      L: from(tokens.nVis + tokens.placeholders),
    };
    const imageShape = policy.graph.inputs.find(({ name }) => name === names.images)!.shape as number[];
    const options: TensorRtSessionOptions = {
      ...fakeTensorRt(),
      label: 'TensorRT 10.3.0.7',
      instruction: { plan: fakePlan(instruction.graph, symbols), bindings: instruction.graph.bindings },
      policy: { plan: fakePlan(policy.graph, symbols), bindings: policy.graph.bindings },
      imageShape,
    };
    return { options, imageBytes: imageShape.reduce((a, b) => a * b, 1), proprioDim: config.proprioDim! };
  })();
  return memo;
}

const sentence = (length: number, seed = 1): InstructionInput => ({
  promptIds: Array.from({ length: length + 1 }, (_, i) => (i * seed) % 90),
  siglipIds: Array.from({ length: 64 }, (_, i) => (i < 9 ? 40 + i + seed : 1)),
});

async function frame(seed: number): Promise<PolicyInput> {
  const { imageBytes, proprioDim } = await fixture();
  return {
    images: new Uint8Array(imageBytes).map((_, i) => (i * 7 + seed) & 255),
    proprio: new Float32Array(proprioDim).fill(seed / 10),
  };
}

async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return error instanceof SemanticVlaError ? error.code : String(error);
  }
}

test('actions, kept patches and similarity; equal inputs give equal bits, other inputs others', async () => {
  const { options } = await fixture();
  const session = await TensorRtSession.open(options);
  const state = await session.encodeInstruction(sentence(20));
  assert.is(state.promptLength, 20);
  const first = await session.run(await frame(1), state);
  const again = await session.run(await frame(1), state);
  assert.is(first.actions.length, 56);
  assert.equal(first.actions, again.actions);
  assert.equal(first.similarity, again.similarity);
  assert.is(first.similarity!.length, 2 * 256 * 64);
  assert.not.equal((await session.run(await frame(2), state)).actions, first.actions);
  const other = await session.encodeInstruction(sentence(20, 3));
  assert.not.equal((await session.run(await frame(1), other)).actions, first.actions);
  assert.equal((await session.run(await frame(1), state)).actions, first.actions);
  const memory = await session.memory();
  assert.ok(memory.weights > 1e6 && memory.states > 1e4, JSON.stringify(memory));
  await session.close();
});

test('concurrent callers get their own results', async () => {
  const { options } = await fixture();
  const session = await TensorRtSession.open(options);
  const states = [
    await session.encodeInstruction(sentence(20)),
    await session.encodeInstruction(sentence(31)),
  ];
  const wanted = [];
  for (let i = 0; i < 8; i++) wanted.push((await session.run(await frame(i), states[i % 2]!)).actions);
  const inputs = await Promise.all(Array.from({ length: 8 }, (_, i) => frame(i)));
  const found = await Promise.all(inputs.map((input, i) => session.run(input, states[i % 2]!)));
  assert.equal(
    found.map(({ actions }) => actions),
    wanted,
  );
  await session.close();
});

test('close is idempotent, gives everything back, and use after it is refused', async () => {
  const { options } = await fixture();
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-device-'));
  const log = join(dir, 'log');
  try {
    await withDevice(`log=${log}`, async () => {
      const session = await TensorRtSession.open(options);
      const state = await session.encodeInstruction(sentence(20));
      await session.run(await frame(1), state);
      const running = session.run(await frame(2), state);
      await Promise.all([session.close(), session.close()]);
      // begun before the close
      assert.is((await running).actions.length, 56);
      assert.is(await code(session.run(await frame(1), state)), 'CLOSED');
      assert.is(await code(session.encodeInstruction(sentence(20))), 'CLOSED');
      assert.is(await code(session.memory()), 'CLOSED');
      state.release();
    });
    const record = JSON.parse(readFileSync(log, 'utf8'));
    for (const field of ['liveBytes', 'livePinnedBytes', 'liveHandles', 'faults'])
      assert.is(record[field], 0);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('abort: while loading, before a call, during one; the session goes on', async () => {
  const { options } = await fixture();
  const reason = new Error('enough');
  for (let n = 0; n < 20; n++) {
    const controller = new AbortController();
    const opening = TensorRtSession.open({ ...options, signal: controller.signal });
    setTimeout(() => controller.abort(reason), n / 2);
    const outcome = await opening.then(
      (session) => session.close().then(() => 'opened'),
      (error) => error,
    );
    assert.ok(outcome === reason || outcome === 'opened', String(outcome));
  }
  const session = await TensorRtSession.open(options);
  const state = await session.encodeInstruction(sentence(20));
  const wanted = (await session.run(await frame(1), state)).actions;
  for (let n = 0; n < 50; n++) {
    const controller = new AbortController();
    const running = session.run(await frame(1), state, controller.signal);
    if (n % 2 === 0) controller.abort(reason);
    else setImmediate(() => controller.abort(reason));
    await running.catch((error) => assert.is(error, reason));
  }
  assert.equal((await session.run(await frame(1), state)).actions, wanted);
  await session.close();
});

test('what is missing or wrong has its own code', async () => {
  const { options } = await fixture();
  const opened = (other: Partial<TensorRtSessionOptions>) =>
    code(TensorRtSession.open({ ...options, ...other }));
  assert.is(await opened({ library: '/nonexistent/libnvinfer.so.10' }), 'BACKEND_UNAVAILABLE');
  assert.is(await opened({ library: fakeTensorRt([11, 0]).library }), 'BACKEND_UNAVAILABLE');
  assert.is(await opened({ library: fakeTensorRt([10, 2]).library }), 'BACKEND_UNAVAILABLE');
  assert.is(await opened({ policy: { ...options.policy, plan: Buffer.from('fake') } }), 'ENGINE_REFUSED');
  assert.is(
    await opened({ policy: { ...options.policy, plan: options.instruction.plan } }),
    'ENGINE_REFUSED',
  );
  const [binding, ...rest] = options.policy.bindings;
  const moved = { ...binding!, parts: binding!.parts.map((part) => ({ ...part, file: '/nonexistent' })) };
  assert.is(await opened({ policy: { ...options.policy, bindings: [moved, ...rest] } }), 'RUNTIME_FAILED');
  assert.is(await withDevice('none=1', () => opened({})), 'BACKEND_UNAVAILABLE');
  assert.is(await withDevice('failAt=30', () => opened({})), 'DEVICE_FAILED');
});

test('captures that fail cost the graph: results stay, one notice, each length tried once', async () => {
  const { options } = await fixture();
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-device-'));
  const log = join(dir, 'log');
  const notices: Notice[] = [];
  const actionsOf = async (device: string): Promise<Float32Array[]> =>
    withDevice(device, async () => {
      const session = await TensorRtSession.open({ ...options, onNotice: (notice) => notices.push(notice) });
      const found = [];
      for (const length of [31, 20, 31, 20]) {
        const state = await session.encodeInstruction(sentence(length));
        for (let seed = 0; seed < 3; seed++)
          found.push((await session.run(await frame(seed), state)).actions);
      }
      await session.close();
      return found;
    });
  try {
    const wanted = await actionsOf('captures=1');
    assert.equal(notices, []);
    assert.equal(await actionsOf(`captures=0 log=${log}`), wanted);
    assert.equal(
      notices.map(({ code }) => code),
      ['GRAPH_NOT_CAPTURED'],
    );
    assert.match(notices[0]!.message, /found: cuStreamEndCapture: made to fail.*--no-cuda-graphs/);
    const { capturesTried, captures, faults } = JSON.parse(readFileSync(log, 'utf8'));
    assert.equal({ capturesTried, captures, faults }, { capturesTried: 2, captures: 0, faults: 0 });
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('too little memory: what is needed and free, and nothing kept', async () => {
  const { options } = await fixture();
  await withDevice('capacity=1000000', async () => {
    const error = await TensorRtSession.open(options).catch((reason) => reason);
    assert.is(error.code, 'DEVICE_OUT_OF_MEMORY');
    assert.match(error.message, /bytes needed, \d+ free/);
    assert.match(error.message, /Close what else uses the GPU/);
  });
  const session = await TensorRtSession.open(options);
  await session.close();
});

test('100 sessions, opened, run and closed: no thread, no descriptor, no memory stays', async () => {
  const { options } = await fixture();
  const life = async (): Promise<void> => {
    const session = await TensorRtSession.open(options);
    const state = await session.encodeInstruction(sentence(20));
    await session.run(await frame(1), state);
    await session.close();
  };
  const threads = (): number =>
    Number(/^Threads:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
  for (let i = 0; i < 20; i++) await life();
  const before = { threads: threads(), rss: process.memoryUsage().rss };
  for (let i = 0; i < 100; i++) await life();
  assert.ok(threads() <= before.threads, `${before.threads} threads before, ${threads()} after`);
  const growth = process.memoryUsage().rss - before.rss;
  // A session of this policy holds 20 MB; what Node's heap does between two collections is not ours.
  assert.ok(growth < 64 * 2 ** 20, `RSS grew by ${growth} bytes`);
});

test.run();
