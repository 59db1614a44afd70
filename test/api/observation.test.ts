import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ImageFrame, Observation, PolicyOptions, PredictOptions } from '../../lib/types.ts';
import { copyObservation, instructions, liberoObservation, numbers, openLibero, rejects } from './libero.ts';

const test = suite('observations and options');
const task = { instruction: instructions[0] };

test('buffers may be reused as soon as predict returns its promise', async () => {
  await using policy = await openLibero();
  for (const name of ['obs0', 'obs1'] as const) {
    const observation = await liberoObservation(name);
    const expected = numbers(await policy.predict(observation, task));
    for (const instruction of [task.instruction, instructions[3]]) {
      const mine = copyObservation(observation);
      const prediction = policy.predict(mine, { instruction });
      for (const { data } of Object.values(mine.images)) data.fill(77);
      mine.state.fill(1e9);
      const found = numbers(await prediction);
      if (instruction === task.instruction) assert.equal(found, expected);
      else assert.equal(found, numbers(await policy.predict(observation, { instruction })));
    }
  }
});

test('a deeply frozen observation works and is not modified', async () => {
  await using policy = await openLibero();
  const observation = copyObservation(await liberoObservation('obs1'));
  const before = structuredClone(observation);
  Object.freeze(observation.state);
  // typed arrays cannot be frozen, but the objects around them can
  for (const frame of Object.values(observation.images)) Object.freeze(frame);
  Object.freeze(observation.images);
  Object.freeze(observation);
  const options = Object.freeze({ ...task });
  await policy.predict(observation, options);
  await policy.stages(observation, options);
  assert.equal(observation, before);
});

test('BGR frames, said so, give the same actions; not said so, others', async () => {
  await using policy = await openLibero();
  const observation = await liberoObservation('obs1');
  const expected = numbers(await policy.predict(observation, task));
  const swapped = (order: ImageFrame['order']): Observation => {
    const copy = copyObservation(observation);
    const images = Object.entries(copy.images).map(([name, frame]) => {
      const { data } = frame;
      for (let i = 0; i < data.length; i += 3) [data[i], data[i + 2]] = [data[i + 2]!, data[i]!];
      return [name, { ...frame, ...(order === undefined ? {} : { order }) }] as const;
    });
    return { ...copy, images: Object.fromEntries(images) };
  };
  assert.equal(numbers(await policy.predict(swapped('bgr'), task)), expected);
  assert.not.equal(numbers(await policy.predict(swapped(undefined), task)), expected);
});

test('cameras go by name: their order does not matter, more of them neither', async () => {
  await using policy = await openLibero();
  const { images, state } = await liberoObservation();
  const expected = numbers(await policy.predict({ images, state: state! }, task));
  const reversed = Object.fromEntries(Object.entries(images).reverse());
  assert.equal(numbers(await policy.predict({ images: reversed, state: state! }, task)), expected);
  const broken = { data: new Uint8Array(1), width: -1, height: 7 };
  const more = { depth_image: broken, ...images, wrist_image_of_another: broken };
  assert.equal(numbers(await policy.predict({ images: more, state: state! }, task)), expected);
  // with the names swapped it is a different observation
  const crossed = { full_image: images.wrist_image!, wrist_image: images.full_image! };
  assert.not.equal(numbers(await policy.predict({ images: crossed, state: state! }, task)), expected);
  const { full_image: only } = images;
  await rejects(
    policy.predict({ images: { full_image: only! }, state: state! }, task),
    'CAMERA_MISSING',
    /wrist_image/,
  );
});

test('states: a Float64Array or Float32Array is as good as a list; a wrong one is refused', async () => {
  await using policy = await openLibero();
  const { images, state } = await liberoObservation();
  const expected = numbers(await policy.predict({ images, state: state! }, task));
  assert.equal(numbers(await policy.predict({ images, state: Float64Array.from(state!) }, task)), expected);
  const wrong: unknown[] = [
    [],
    Array.from(state!).slice(1),
    [...Array.from(state!).slice(1), Number.NaN],
    'joints',
    7,
  ];
  for (const value of wrong) {
    await rejects(policy.predict({ images, state: value as number[] }, task), 'STATE_INVALID');
  }
  await rejects(policy.predict({ images }, task), 'STATE_INVALID', /proprio: false/);
});

test('misspelled, unknown and wrong options are refused by name', async () => {
  const load = (options: unknown) => openLibero(options as PolicyOptions);
  await rejects(load({ centreCrop: false }), 'OPTION_UNKNOWN', /centreCrop.*centerCrop/);
  await rejects(load({ gpu: 'cuda' }), 'OPTION_UNKNOWN', /gpu.*Known/);
  await rejects(load({ device: 0 }), 'OPTION_INVALID', /device.*tensorrt/);
  await rejects(load({ threads: 0 }), 'OPTION_INVALID', /threads/);
  await rejects(load({ instructionCache: 0 }), 'OPTION_INVALID', /instructionCache/);
  await rejects(
    load({ instructions: 'wave' }),
    'OPTION_INVALID',
    /a list of strings for option instructions/,
  );
  await rejects(load({ instructions: ['a', 'b'], instructionCache: 1 }), 'OPTION_INVALID', /at least 2/);
  await rejects(load({ frameSize: [0, 4] }), 'OPTION_INVALID', /frameSize/);
  await rejects(load({ keptLengths: 2 }), 'OPTION_INVALID', /keptLengths.*tensorrt/);
  await rejects(load({ instructions: [''] }), 'INSTRUCTION_INVALID');
  await rejects(load({ backend: 'cuda' }), 'OPTION_INVALID', /backend/);
  await rejects(load({ weights: 'none' }), 'OPTION_INVALID', /weights/);
  await rejects(load({ unnormKey: 'libero_goal' }), 'UNNORM_KEY_UNKNOWN', /libero_spatial_no_noops/);

  await using policy = await openLibero();
  const observation = await liberoObservation();
  const predict = (options: unknown, seen: unknown = observation) =>
    policy.predict(seen as Observation, options as PredictOptions);
  await rejects(predict({ ...task, unnorm_key: 'x' }), 'OPTION_UNKNOWN', /unnorm_key.*unnormKey/);
  await rejects(predict({ ...task, unnormKey: 'libero_goal' }), 'UNNORM_KEY_UNKNOWN', /another_dataset/);
  await rejects(predict(undefined), 'OPTION_INVALID');
  await rejects(predict('open the drawer'), 'OPTION_INVALID');
  await rejects(predict({}), 'INSTRUCTION_INVALID');
  await rejects(predict({ instruction: '  ' }), 'INSTRUCTION_INVALID');
  await rejects(predict({ ...task, signal: 'now' }), 'OPTION_INVALID', /signal/);
  for (const seen of [null, 'images', 7, {}, { images: null }, { images: [] }]) {
    const code = Array.isArray((seen as { images?: unknown } | null)?.images)
      ? 'CAMERA_MISSING'
      : 'OBSERVATION_INVALID';
    await rejects(predict(task, seen), code);
  }
});

test('without a key for two datasets: refused with the list, at predict', async () => {
  const { loadPolicy } = await import('../../lib/policy/loadPolicy.ts');
  const { goldenCheckpoint } = await import('../helpers/golden.ts');
  await using policy = await loadPolicy(goldenCheckpoint('libero-tiny'), { platform: 'libero' });
  const observation = await liberoObservation();
  await rejects(
    policy.predict(observation, task),
    'UNNORM_KEY_REQUIRED',
    /libero_spatial_no_noops.*another_dataset/,
  );
  const chunk = await policy.predict(observation, { ...task, unnormKey: 'another_dataset' });
  assert.is(chunk.unnormKey, 'another_dataset');
});

test.run();
