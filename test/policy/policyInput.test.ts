/**
 * Frames into a session that preprocesses them and into one that does not: the actions are the same, and the timings tell which
 * way was taken. The device is that of test/runtime/fake: its kernels are the CPU's preprocessing, and its engine's outputs
 * depend on every byte of every input.
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { type EngineModelOptions, prepareModels } from '../../lib/engine/engineModels.ts';
import { names } from '../../lib/graph/names.ts';
import { countTokens } from '../../lib/graph/tokenCounts.ts';
import { prepareInput } from '../../lib/policy/policyInput.ts';
import type { FrameInput, Session, StagedFrames } from '../../lib/runtime/session.ts';
import { TensorRtSession } from '../../lib/runtime/tensorRt.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { preprocessImages } from '../../lib/transforms/image.ts';
import type { ImageFrame } from '../../lib/types.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { fakePlan, fakeTensorRt } from '../runtime/fakeTensorRt.ts';

const test = suite('policy input');

const sizes = { images: 2, chunk: 8, actionDim: 7, proprio: true };
const sentence = { promptIds: [1, 5, 6, 7, 8, 2], siglipIds: Array.from({ length: 64 }, (_, i) => i) };
let memo: Promise<TensorRtSession> | undefined;

function session(): Promise<TensorRtSession> {
  memo ??= (async () => {
    const { config, tensors, pixelNormalization } = await openCheckpoint(
      await goldenCheckpoint('libero-tiny'),
    );
    const promptLength = { min: 4, opt: 30, max: 80 };
    const modelOptions: EngineModelOptions = { sizes, precision: 'bfloat16', weights: 'bound', promptLength };
    const { instruction, policy } = prepareModels({ config, tensors, pixelNormalization }, modelOptions);
    const tokens = countTokens(config, sizes);
    const from = (more: number): string => `${names.promptIds}.0+${more}`;
    const symbols = {
      P1: from(0),
      T: from(tokens.placeholders - 1),
      L: from(tokens.nVis + tokens.placeholders),
    };
    return TensorRtSession.open({
      ...fakeTensorRt(),
      label: 'TensorRT 10.3.0.7',
      instruction: { plan: fakePlan(instruction.graph, symbols), bindings: instruction.graph.bindings },
      policy: { plan: fakePlan(policy.graph, symbols), bindings: policy.graph.bindings },
      imageShape: policy.graph.inputs.find(({ name }) => name === names.images)!.shape as number[],
    });
  })();
  return memo;
}

function frame(width: number, height: number, seed: number, order?: 'bgr'): ImageFrame {
  const data = new Uint8Array(width * height * 3).map((_, i) => (i * 7 + (i >> 5) * seed) & 255);
  return order === undefined ? { data, width, height } : { data, width, height, order };
}

const proprio = Float32Array.from({ length: 8 }, (_, i) => i / 10);
const parts = (jpeg: boolean, centerCrop: boolean) => ({
  threads: 1,
  platform: { cameras: ['front', 'wrist'], jpeg, centerCrop },
  checkpoint: {
    config: { imageSize: 224, head: { kind: 'single' as const, hiddenWidth: 8, blocks: 2, outputs: 7 } },
  },
});

/** The same session without the capability. */
const cpuOnly = (one: Session): Session => ({
  backend: one.backend,
  encodeInstruction: (input, signal) => one.encodeInstruction(input, signal),
  run: (input, instruction, signal) => one.run(input, instruction, signal),
  close: () => one.close(),
});

const cases: readonly [string, ImageFrame[]][] = [
  ['two of one size', [frame(256, 256, 1), frame(256, 256, 2)]],
  ['two sizes, one of them blue first', [frame(320, 180, 3), frame(101, 67, 4, 'bgr')]],
  ['of the policy size', [frame(224, 224, 5), frame(224, 224, 6)]],
];
for (const [name, frames] of cases) {
  test(`${name}: the same actions from the device as from the CPU`, async () => {
    const device = await session();
    const state = await device.encodeInstruction(sentence);
    for (const [jpeg, crop] of [
      [true, true],
      [false, true],
      [true, false],
    ] as const) {
      const onDevice = await prepareInput(parts(jpeg, crop), device, frames, proprio).run(state);
      const onCpu = await prepareInput(parts(jpeg, crop), cpuOnly(device), frames, proprio).run(state);
      assert.equal(Object.keys(onDevice.timings), ['preprocessOnDevice']);
      assert.equal(Object.keys(onCpu.timings), ['preprocess', 'decode', 'resize', 'crop']);
      assert.equal(onDevice.result.actions, onCpu.result.actions);
      assert.equal(onDevice.result.keptPatches, onCpu.result.keptPatches);
    }
    state.release();
  });
}

test('the images that the device made are handed out to who asks, of a captured run too', async () => {
  const device = await session();
  const state = await device.encodeInstruction(sentence);
  const preprocess = (frames: readonly ImageFrame[]) =>
    preprocessImages(frames, { imageSize: 224, jpeg: true, centerCrop: true, threads: 1 });
  const run = (frames: readonly ImageFrame[], returnsImages: boolean) =>
    device.stageFrames({ frames, jpeg: true, centerCrop: true, proprio, returnsImages })!.run(state);
  for (const seed of [11, 12, 13]) {
    const frames = [frame(321, 243, seed, 'bgr'), frame(256, 256, seed)];
    assert.equal((await run(frames, true)).images, await preprocess(frames));
    assert.is((await run(frames, false)).images, undefined);
  }
  state.release();
});

test('frames that the device does not take go over the CPU', async () => {
  const device = await session();
  const state = await device.encodeInstruction(sentence);
  // the fake's kernels end at 1000 columns
  const wide = [frame(1001, 20, 1), frame(224, 224, 2)];
  const given = await prepareInput(parts(true, true), device, wide, proprio).run(state);
  assert.equal(Object.keys(given.timings), ['preprocess', 'decode', 'resize', 'crop']);
  const wanted = await prepareInput(parts(true, true), cpuOnly(device), wide, proprio).run(state);
  assert.equal(given.result.actions, wanted.result.actions);
  // one camera too few: the engine's input has two, whoever preprocesses
  const one = prepareInput(parts(true, true), device, [frame(224, 224, 1)], proprio);
  try {
    await one.run(state);
    assert.unreachable();
  } catch (error) {
    assert.is((error as SemanticVlaError).code, 'RUNTIME_FAILED');
  }
  state.release();
});

test('frames are copied at once, and what does not run is given back', async () => {
  const device = await session();
  const state = await device.encodeInstruction(sentence);
  const frames = [frame(256, 256, 1), frame(256, 256, 2)];
  const wanted = await prepareInput(parts(true, true), device, frames, proprio).run(state);
  const input = prepareInput(parts(true, true), device, frames, proprio);
  for (const { data } of frames) data.fill(0);
  assert.equal((await input.run(state)).result.actions, wanted.result.actions);
  // two slots are pinned; hundreds of calls that are dropped must leave them
  for (let i = 0; i < 300; i++) {
    const dropped = prepareInput(parts(true, true), device, frames, proprio);
    dropped.drop();
    dropped.drop();
  }
  const before = await device.memory();
  for (let i = 0; i < 5; i++) await prepareInput(parts(true, true), device, frames, proprio).run(state);
  assert.equal((await device.memory()).pinned, before.pinned);
  const staged = device.stageFrames({ frames, jpeg: true, centerCrop: true, proprio })!;
  staged.drop();
  try {
    await staged.run(state);
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /that did not run yet/);
  }
  state.release();
});

test('a frame that is none is refused before anything is copied, by either way', () => {
  let staged = 0;
  const session: Session = {
    backend: 'tensorrt',
    encodeInstruction: () => Promise.reject(new Error('not asked for')),
    run: () => Promise.reject(new Error('not asked for')),
    stageFrames: (_input: FrameInput): StagedFrames | null => {
      staged += 1;
      return null;
    },
    close: () => Promise.resolve(),
  };
  const wrong = [frame(4, 4, 1), { ...frame(4, 4, 1), width: 5 }];
  try {
    prepareInput(parts(true, true), session, wrong, proprio);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, SemanticVlaError);
    assert.match((error as Error).message, /^Image wrist: expected 60 bytes/);
  }
  assert.is(staged, 0);
});

test('the session ends', async () => {
  const device = await session();
  await device.close();
  try {
    device.stageFrames({ frames: [], jpeg: true, centerCrop: true, proprio: null });
    assert.unreachable();
  } catch (error) {
    assert.is((error as SemanticVlaError).code, 'CLOSED');
  }
});

test.run();
