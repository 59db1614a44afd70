/**
 * Weights as training leaves them, off the bfloat16 grid: rounded as the authors' loaders round them, the policy equals the
 * authors'; without rounding, it is as far off as the golden says.
 */

import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { weightRoundings } from '../../lib/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { readTensorBytes, readTensorFloat32 } from '../../lib/checkpoint/readTensor.ts';
import type { TensorView } from '../../lib/checkpoint/tensorView.ts';
import { readTorchArchive } from '../../lib/checkpoint/torchArchive.ts';
import { buildInstructionGraph } from '../../lib/graph/instructionGraph.ts';
import { buildPolicyGraph } from '../../lib/graph/policyGraph.ts';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { compareStages } from '../../lib/stages/compareStages.ts';
import type { StageTensor } from '../../lib/types.ts';
import { editArchive, errorOf, fileNamed } from '../checkpoint/editCheckpoint.ts';
import { goldenCheckpoint, goldenCopy, scratchFolder } from '../helpers/golden.ts';
import { goldenCase, goldenRoot, maxAbsDifference } from '../helpers/goldenCase.ts';
import { readSafetensorsFile } from '../helpers/readSafetensors.ts';

const test = suite('weight rounding');
const name = 'offgrid-tiny';
const { samples } = goldenCase(name);

/** The reference differs from itself by 2e-6 when summed in another order. */
const tolerance = 2e-5;
/** How far the authors' code is from itself when it loads the same files in float32 throughout (golden README: 2.2e-2). */
const unrounded = [0.0215, 0.0225] as const;

for (const rounding of weightRoundings) {
  for (const weights of ['folded', 'mapped'] as const) {
    test(`rounding ${rounding}, weights ${weights}: actions and kept patches`, async () => {
      await using policy = await loadPolicy(goldenCheckpoint(name), {
        platform: 'libero',
        weights,
        // the default is the reference's
        ...(rounding === 'none' ? { rounding } : {}),
      });
      let difference = 0;
      for (const sample of samples) {
        const { observation } = await readObservation(join(goldenRoot, name, sample.observation));
        const { instruction, unnorm_key: unnormKey } = sample;
        const chunk = await policy.predict(observation, { instruction, unnormKey });
        const moved = maxAbsDifference(chunk.normalized, sample.normalized_fp32.flat());
        difference = Math.max(difference, moved);
        const kept = Object.values(chunk.keptPatches).map((patches) => [...patches]);
        assert.equal(kept, sample.kept_patches_fp32);
      }
      const [least, most] = rounding === 'none' ? unrounded : [0, tolerance];
      assert.ok(difference >= least && difference <= most, `normalized actions differ by ${difference}`);
    });
  }

  test(`rounding ${rounding}: stages, and what compare says of them`, async () => {
    await using policy = await loadPolicy(goldenCheckpoint(name), { platform: 'libero', rounding });
    const sample = samples.find(({ stages }) => stages)!;
    const { observation } = await readObservation(join(goldenRoot, name, sample.observation));
    const { instruction, unnorm_key: unnormKey } = sample;
    const ours = await policy.stages(observation, { instruction, unnormKey });
    const theirs = readSafetensorsFile(join(goldenRoot, name, sample.golden)) as Map<string, StageTensor>;
    const tolerances = { atol: 2e-4, actionsAtol: tolerance };
    const { passed, stages, onlyB } = compareStages(ours, theirs, { tolerances });
    assert.equal(onlyB, []);
    assert.ok(stages.length > 40);
    const failed = stages.filter((stage) => !stage.passed).map((stage) => stage.name);
    assert.is(passed, rounding === 'bfloat16', failed.join(' '));
    // stages before any weight are equal anyway, and FiLM is the first to differ
    if (rounding === 'none') assert.match(failed[0]!, /^film\.dinov2\.block0/);
  });
}

/** To nearest, ties to even, by trying both neighbours. */
function nearestBfloat16(value: number): number {
  const [word] = new Uint32Array(Float32Array.of(value).buffer);
  const below = new Float32Array(Uint32Array.of(word! & 0xffff0000).buffer)[0]!;
  const above = new Float32Array(Uint32Array.of((word! & 0xffff0000) + 0x10000).buffer)[0]!;
  const [down, up] = [Math.abs(value - below), Math.abs(above - value)];
  if (down !== up) return down < up ? below : above;
  return (word! & 0x10000) === 0 ? below : above;
}

test('what a TensorRT engine is given: every weight in bfloat16, of the bits that PEFT and PyTorch make', async () => {
  const { config, tensors, pixelNormalization } = await openCheckpoint(goldenCheckpoint(name));
  const options = {
    ...{ images: 2, chunk: 8, actionDim: 7, proprio: true, stages: false, mergeWeights: true },
    ...({ precision: 'bfloat16', weights: 'inputs', runtime: 'tensorrt' } as const),
  };
  const views = [
    buildInstructionGraph(config, tensors, options),
    buildPolicyGraph(config, tensors, pixelNormalization, options),
  ].flatMap(({ bindings }) => bindings.flatMap(({ parts }) => parts));
  assert.ok(views.length > 150);
  // so that the upload copies bytes and converts nothing
  for (const { name: tensor, dtype } of views) assert.is(dtype, 'BF16', tensor);
  const bound = new Map<string, TensorView>(views.map((view) => [view.name, view]));

  const archive = await readTorchArchive(fileNamed(goldenCheckpoint(name), 'vision_backbone--'));
  const raw = async (tensor: string): Promise<number[]> =>
    Array.from(await readTensorFloat32(archive.tensors.get(tensor)!), nearestBfloat16);
  const stem = 'vision_backbone.featurizer.blocks.1';
  const [base, a, b] = [
    await raw(`${stem}.block.mlp.fc1.base_layer.weight`),
    await raw(`${stem}.block.mlp.fc1.lora_A.default.weight`),
    await raw(`${stem}.block.mlp.fc1.lora_B.default.weight`),
  ];
  const [rank, alpha, columns] = [3, 7, 48];
  const { fround } = Math;
  const expected = base.map((value, at) => {
    let sum = 0;
    for (let k = 0; k < rank; k++)
      sum = fround(sum + fround(b[Math.floor(at / columns) * rank + k]! * a[k * columns + (at % columns)]!));
    const update = nearestBfloat16(fround(nearestBfloat16(sum) * fround(alpha / rank)));
    return nearestBfloat16(fround(value + update));
  });
  const merged = bound.get(`${stem}.mlp.fc1.weight`)!;
  assert.is(maxAbsDifference(await readTensorFloat32(merged), expected), 0);
  const film = bound.get(`${stem}.scale.weight`) ?? tensors.get(`${stem}.scale.weight`)!;
  assert.is(maxAbsDifference(await readTensorFloat32(film), await raw(`${stem}.scale.weight`)), 0);
});

test('each rounding has a file of its own, and finds it again', async () => {
  const cacheDir = mkdtempSync(join(scratchFolder(), 'roundings-'));
  const dir = goldenCheckpoint(name);
  const open = async (rounding: (typeof weightRoundings)[number]) => {
    const { sources, tensors } = await openCheckpoint(dir, { cacheDir, rounding });
    const weight = tensors.get('vision_backbone.featurizer.blocks.0.attn.qkv.weight')!;
    return { ...sources.madeWeights!, dtype: weight.dtype, bytes: await readTensorBytes(weight) };
  };
  const [rounded, left] = [await open('bfloat16'), await open('none')];
  assert.not(rounded.file === left.file);
  assert.equal([rounded.dtype, left.dtype], ['BF16', 'F32']);
  assert.is(rounded.merged, left.merged);
  assert.is(left.rounded, 0);
  assert.ok(rounded.rounded > 50);
  for (const [rounding, first] of [
    ['bfloat16', rounded],
    ['none', left],
  ] as const) {
    const again = await open(rounding);
    assert.equal([again.fromCache, again.file], [true, first.file]);
    assert.equal(again.bytes, first.bytes);
  }
});

test('a weight that bfloat16 cannot hold is refused by name', async () => {
  const dir = goldenCopy(name);
  const tensor = 'vision_backbone.featurizer.blocks.0.scale.weight';
  await editArchive(fileNamed(dir, 'vision_backbone--'), (tensors) => {
    // the largest float32, which rounds to infinity
    new DataView(tensors.get(tensor)!.bytes.buffer).setUint32(0, 0x7f7fffff, true);
  });
  const error = await errorOf(openCheckpoint(dir));
  assert.is(error.code, 'TENSOR_NOT_FINITE');
  assert.ok(error.message.includes(tensor), error.message);
  assert.is((await openCheckpoint(dir, { rounding: 'none' })).sources.rounding, 'none');
});

test.run();
