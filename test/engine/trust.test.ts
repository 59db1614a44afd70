/** The comparison that an engine must pass before it is trusted, and the small twin that stands in for a large policy. */

import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import type { PolicyConfig } from '../../lib/checkpoint/policyConfig.ts';
import { presetArchitecture } from '../../lib/engine/presetArchitecture.ts';
import { recordedImages, recordedInput } from '../../lib/engine/recordedInput.ts';
import { checkAnswers, type TrustResult } from '../../lib/engine/trust.ts';
import { twinSpec } from '../../lib/engine/twin.ts';
import { buildInstructionGraph } from '../../lib/graph/instructionGraph.ts';
import { buildPolicyGraph } from '../../lib/graph/policyGraph.ts';
import { OnnxSession } from '../../lib/runtime/onnxRuntime.ts';
import type { FrameInput, PolicyInput, PolicyOutput, Session } from '../../lib/runtime/session.ts';
import { synthesizeCheckpoint } from '../../lib/synth/synthesize.ts';
import { inCacheFolder, rejection } from './cacheFixture.ts';

const test = suite('trust');

const { config } = presetArchitecture('tiny');
const sizes = { images: 2, proprio: true, chunk: 8, actionDim: 7 };

/** A session that answers from the input alone, changed by `change`. */
function session(change: (output: PolicyOutput, call: number) => PolicyOutput = (output) => output): Session {
  let call = 0;
  const run = async ({ images }: Pick<PolicyInput, 'images'>): Promise<PolicyOutput> => {
    const seed = (images.reduce((sum, value) => sum + value, 0) % 1000) / 1000;
    const output: PolicyOutput = {
      actions: Float32Array.from({ length: 56 }, (_, i) => Math.sin(i + seed * 9)),
      keptPatches: Int32Array.from({ length: 64 }, (_, i) => i * 2),
      similarity: Float32Array.from({ length: 512 }, (_, i) => Math.cos(i + seed)),
      timings: {},
    };
    return change(output, call++);
  };
  return {
    backend: 'cpu',
    encodeInstruction: async ({ promptIds }) => ({
      promptLength: promptIds.length - 1,
      computeMs: 0,
      release: () => {},
    }),
    run,
    close: async () => {},
  };
}

/** With preprocessing of its own: the CPU's, changed by `spoil`; what `change` gets is what the engine makes of frames. */
function framesSession(
  spoil: (images: Uint8Array, input: FrameInput) => void = () => {},
  change: (output: PolicyOutput) => PolicyOutput = (output) => output,
): Session & { readonly staged: FrameInput[] } {
  const staged: FrameInput[] = [];
  const engine = session();
  return {
    ...engine,
    staged,
    stageFrames: (input) => {
      staged.push(input);
      return {
        copyMs: 0,
        drop: () => {},
        run: async (state) => {
          const right = await recordedImages(input, config, 1);
          const images = right.slice();
          spoil(images, input);
          const output = change(await engine.run({ images: right, proprio: input.proprio }, state));
          return input.returnsImages ? { ...output, images } : output;
        },
      };
    },
  };
}

const check = (device: Session, policy = config, cpu = session()): Promise<TrustResult> =>
  checkAnswers({
    config: policy,
    sizes,
    precision: 'bfloat16',
    promptLength: 20,
    threads: 1,
    device,
    cpu,
    label: 'Fake GPU, TensorRT 10.3',
  });

const moved = (values: Float32Array, by: number, at = 5): Float32Array => {
  const copy = values.slice();
  copy[at]! += by;
  return copy;
};

test('an engine within the noise passes, with the largest difference', async () => {
  const result = await check(session((output) => ({ ...output, actions: moved(output.actions, 0.1) })));
  assert.ok(Math.abs(result.difference - 0.1) < 1e-6);
  assert.is(result.tried, 2);
  assert.is(result.preprocessesFrames, false);
});

test('a discrete head: some bins may be others, more may not; two observations may give the same bins', async () => {
  const discrete: PolicyConfig = { ...config, head: { kind: 'discrete', bins: 256, tokenVocab: 32000 } };
  const others = (count: number): Session =>
    session((output) => ({
      ...output,
      actions: output.actions.map((value, i) => (i < count ? -value : value)),
    }));
  assert.is((await check(others(13), discrete)).difference, 0);
  await rejection(check(others(13)), 'ENGINE_CHECK_FAILED');
  await rejection(check(others(20), discrete), 'ENGINE_CHECK_FAILED');
  const same = session((output) => ({ ...output, actions: new Float32Array(56) }));
  assert.is((await check(same, discrete, same)).difference, 0);
  // the CPU's differ, and the engine's do not
  const near = session((output) => ({ ...output, actions: output.actions.map((value) => value / 100) }));
  await rejection(check(same, discrete, near), 'ENGINE_CHECK_FAILED');
});

test('frames go through the device too: two sizes, both orders of colours, each after other frames', async () => {
  const device = framesSession();
  const result = await check(device);
  assert.is(result.preprocessesFrames, true);
  assert.equal(
    device.staged.map(({ frames, jpeg, centerCrop }) => [
      frames.length,
      ...[frames[0]!.width, frames[0]!.height, frames[0]!.order],
      jpeg,
      centerCrop,
    ]),
    [
      [2, 256, 256, 'rgb', true, true],
      [2, 256, 256, 'rgb', true, true],
      [2, 321, 243, 'bgr', true, false],
      [2, 321, 243, 'bgr', true, false],
    ],
  );
  const [before, counted] = device.staged;
  assert.is.not(before!.frames[0]!.data[1000], counted!.frames[0]!.data[1000]);
  // a session that leaves these frames to the CPU is checked with images alone
  const none: Session = { ...framesSession(), stageFrames: () => null };
  assert.is((await check(none)).preprocessesFrames, false);
});

test('one level of one pixel that the device preprocesses otherwise is a mismatch of the preprocessing', async () => {
  const spoilers: ((images: Uint8Array, input: FrameInput) => void)[] = [
    (images) => {
      images[12345]! ^= 1;
    },
    // of the odd size only
    (images, { frames }) => {
      if (frames[0]!.width === 321) images[images.length - 1]! ^= 1;
    },
  ];
  for (const [i, spoil] of spoilers.entries()) {
    const { message } = await rejection(check(framesSession(spoil)), 'ENGINE_CHECK_FAILED');
    const size = ['256 x 256', '321 x 243'][i]!;
    assert.ok(
      message.startsWith(`Fake GPU, TensorRT 10.3: expected frames of ${size} preprocessed on the device`),
    );
    assert.match(message, /found 1 of 301056 other, by up to 1 of 255\. The preprocessing failed/);
    assert.match(message, /Do not run a robot with it/);
  }
  // images of the frames before: what a graph gives that was captured without the preprocessing
  let stale: Uint8Array | undefined;
  const replayed = framesSession((images) => {
    stale ??= images.slice();
    images.set(stale);
  });
  assert.match((await rejection(check(replayed), 'ENGINE_CHECK_FAILED')).message, /The preprocessing failed/);
});

test('right images and wrong actions are a mismatch of the engine, which is told from that of given images', async () => {
  const wrong = (output: PolicyOutput): PolicyOutput => ({ ...output, actions: moved(output.actions, 1) });
  const { message } = await rejection(check(framesSession(() => {}, wrong)), 'ENGINE_CHECK_FAILED');
  assert.match(
    message,
    /The engine failed: it was given camera frames, which it preprocessed to the right bits/,
  );
  const given = await rejection(check(session(wrong)), 'ENGINE_CHECK_FAILED');
  assert.match(given.message, /The engine failed: it was given images that the CPU preprocessed/);
});

test('one action, one similarity, a NaN, a missing output: each is a mismatch that names device and values', async () => {
  const wrong: ((output: PolicyOutput) => PolicyOutput)[] = [
    (output) => ({ ...output, actions: moved(output.actions, 0.2) }),
    (output) => ({ ...output, actions: moved(output.actions, Number.NaN) }),
    (output) => ({ ...output, similarity: moved(output.similarity!, 0.1) }),
    (output) => ({ ...output, similarity: null }),
    (output) => ({ ...output, actions: output.actions.subarray(1) }),
  ];
  for (const change of wrong) {
    const { message } = await rejection(check(session(change)), 'ENGINE_CHECK_FAILED');
    assert.match(message, /^Fake GPU, TensorRT 10\.3: expected (actions|similarity) .* within .* found /);
    assert.match(message, /Do not run a robot with it/);
  }
  // wrong only the second time
  await rejection(
    check(
      session((output, call) => (call === 0 ? output : { ...output, actions: moved(output.actions, 1) })),
    ),
    'ENGINE_CHECK_FAILED',
  );
});

test('other patches: the next observation decides, and too few are a mismatch', async () => {
  const other = (output: PolicyOutput): PolicyOutput => ({
    ...output,
    keptPatches: output.keptPatches!.map((n, i) => (i === 3 ? n + 1 : n)),
    actions: moved(output.actions, 1),
  });
  assert.is((await check(session((output, call) => (call === 1 ? other(output) : output)))).tried, 3);
  await rejection(check(session(other)), 'ENGINE_CHECK_FAILED');
});

test('an engine that ignores its input is found out', async () => {
  let first: PolicyOutput | undefined;
  const frozen = session((output) => {
    first ??= output;
    return { ...output, actions: first.actions };
  });
  await rejection(check(frozen), 'ENGINE_CHECK_FAILED');
});

test('recorded inputs are the same everywhere, differ from each other, and stay in the vocabulary', () => {
  const a = recordedInput(config, sizes, 20, 0);
  const b = recordedInput(config, sizes, 20, 0);
  const c = recordedInput(config, sizes, 20, 1);
  assert.equal(a, b);
  assert.not.equal(a.frames[0]!.data, c.frames[0]!.data);
  assert.is(a.frames[0]!.data.length, 256 * 256 * 3);
  assert.is(c.frames[1]!.data.length, 321 * 243 * 3);
  assert.not.equal(a.instruction.promptIds, c.instruction.promptIds);
  assert.is(a.instruction.promptIds.length, 21);
  assert.ok(a.instruction.promptIds.every((id) => id < config.llama.vocabSize));
  assert.is(new Set(a.frames[0]!.data).size > 100, true, 'pictures with many values');
});

/** Widths and token counts: what kernels are chosen by. */
const shape = ({ dinov2, siglip, llama, ...rest }: PolicyConfig) => ({
  towers: [dinov2, siglip].map(
    ({ width, heads, mlpWidth, patches, prefixTokens, queries, film, hasLayerScale }) => [
      ...[width, heads, mlpWidth, patches, prefixTokens, queries],
      film,
      hasLayerScale,
    ],
  ),
  sampler: siglip.sampler && [
    siglip.sampler.visionTopk,
    siglip.sampler.textTopk,
    siglip.sampler.textEncoder.width,
  ],
  llama: [llama.width, llama.heads, llama.kvHeads, llama.mlpWidth, llama.vocabSize],
  head: [rest.actionTokensPerStep, rest.actionDim, rest.proprioDim, rest.aggregation, rest.family],
});

test('the twin of the tiny policy opens, has its widths, and predicts; twice alike', () =>
  inCacheFolder(async (dir) => {
    const folder = join(dir, 'twin');
    await synthesizeCheckpoint(twinSpec(config), folder);
    const twin = await openCheckpoint(folder, { cacheDir: dir });
    assert.equal(shape(twin.config), shape(config));
    assert.is(twin.config.llama.layers, 2);
    const options = { images: 2, chunk: 8, actionDim: 7, proprio: true, stages: false, mergeWeights: false };
    const open = () =>
      OnnxSession.open({
        instruction: buildInstructionGraph(twin.config, twin.tensors, options),
        policy: buildPolicyGraph(twin.config, twin.tensors, twin.pixelNormalization, options),
        threads: 2,
        weights: 'folded',
      });
    const [device, cpu] = [await open(), await open()];
    try {
      const request = {
        config: twin.config,
        sizes,
        precision: 'float32',
        promptLength: 12,
        threads: 2,
        device,
        cpu,
      } as const;
      const { difference } = await checkAnswers({ ...request, label: 'the CPU itself' });
      assert.ok(difference < 1e-5);
    } finally {
      await device.close();
      await cpu.close();
    }
  }));

test('the twins of the full sizes keep their widths', () => {
  for (const name of ['libero', 'lite', 'aloha', 'oft'] as const) {
    const full = presetArchitecture(name).config;
    const spec = twinSpec(full);
    assert.is(Math.trunc(spec.siglip.width * spec.siglip.mlpRatio), full.siglip.mlpWidth, name);
    assert.is(spec.llama.mlpWidth, full.llama.mlpWidth);
    assert.is(spec.pruning === null, full.siglip.sampler === null);
    assert.ok(spec.dinov2.depth < full.dinov2.depth && spec.llama.layers < full.llama.layers);
  }
});

test.run();
