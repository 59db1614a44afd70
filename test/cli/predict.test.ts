import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cli, inFolder, root } from '../helpers/cli.ts';

const test = suite('predict, stages, compare, view');
const golden = 'test/golden/libero-tiny';
const instruction = 'pick up the black bowl between the plate and the ramekin and place it on the plate';
const observed = ['--observation', `${golden}/obs0`, '--unnorm-key', 'libero_spatial_no_noops'];
const given = [`${golden}/checkpoint`, ...observed, '--instruction', instruction];

interface Sample {
  readonly actions_fp32: number[][];
  readonly normalized_fp32: number[][];
  readonly kept_patches_fp32: number[][];
}

interface Named {
  readonly name: string;
}

function sample(): Sample {
  return JSON.parse(readFileSync(join(root, golden, 'case.json'), 'utf8')).samples[0];
}

function maxAbs(a: readonly number[][], b: readonly number[][]): number {
  assert.equal([a.length, a[0]!.length], [b.length, b[0]!.length]);
  return Math.max(...a.flatMap((row, i) => row.map((value, j) => Math.abs(value - b[i]![j]!))));
}

test('predict --json: the documented shape, the reference actions, nothing else on standard output', async () => {
  await inFolder((dir) => {
    const npy = join(dir, 'actions.npy');
    const { code, stdout, stderr } = cli('predict', ...given, '--json', '--out', npy);
    assert.is(code, 0, stderr);
    assert.is(stdout.trimEnd().split('\n').length, 1);
    const chunk = JSON.parse(stdout);
    assert.equal(Object.keys(chunk), ['actions', 'normalized', 'dimensions', 'keptPatches', 'timings']);
    const { actions_fp32, normalized_fp32, kept_patches_fp32 } = sample();
    // float32 in another order moves actions by 2e-6; the smallest mistakes by 1e-4.
    assert.ok(maxAbs(chunk.normalized, normalized_fp32) <= 5e-5);
    assert.ok(maxAbs(chunk.actions, actions_fp32) <= 5e-5);
    assert.is(chunk.dimensions.length, actions_fp32[0]!.length);
    assert.equal(chunk.keptPatches, { full_image: kept_patches_fp32[0], wrist_image: kept_patches_fp32[1] });
    for (const stage of ['preprocess', 'instruction', 'policy', 'unnormalize', 'total']) {
      assert.ok(chunk.timings[stage] >= 0, stage);
    }

    const raw = readFileSync(npy);
    const length = raw.readUInt16LE(8);
    const header = raw.subarray(10, 10 + length).toString();
    assert.is(raw.subarray(0, 8).toString('latin1'), '\x93NUMPY\x01\x00');
    assert.is((10 + length) % 64, 0);
    assert.match(header, /^\{'descr': '<f8', 'fortran_order': False, 'shape': \(8, 7\), \} *\n$/);
    const values = Array.from({ length: 56 }, (_, i) => raw.readDoubleLE(10 + length + i * 8));
    assert.equal(values, chunk.actions.flat());
  });
});

test('predict for people: named dimensions, kept patches, stage times, the picture', async () => {
  await inFolder((dir) => {
    const picture = join(dir, 'kept.png');
    const { code, stdout, stderr } = cli('predict', ...given, '--view', picture, '--repeat', '3');
    assert.is(code, 0, stderr);
    assert.match(stdout, /^step +x +y +z +roll +pitch +yaw +gripper$/m);
    assert.match(stdout, /^ +7( +-?\d\.\d{4}){7}$/m);
    assert.match(stdout, /^kept patches +full_image 32 of 256, wrist_image 32 of 256$/m);
    assert.match(stdout, /^time +load .*preprocess .*instruction .*policy .*total /m);
    assert.match(stdout, /medians of 2 predictions/);
    assert.is(readFileSync(picture).subarray(1, 4).toString(), 'PNG');
  });
});

test('what is missing is asked for', () => {
  const checkpoint = `${golden}/checkpoint`;
  const noInstruction = cli('predict', checkpoint, ...observed, '--json');
  assert.is(noInstruction.code, 2);
  assert.is(JSON.parse(noInstruction.stdout).error.code, 'OPTION_REQUIRED');
  const noKey = cli('predict', checkpoint, '--observation', `${golden}/obs0`, '--instruction', 'x');
  assert.is(noKey.code, 2);
  assert.match(noKey.stderr, /^UNNORM_KEY_REQUIRED: .*libero_spatial_no_noops.*another_dataset/);
  // a separate place, so that it does not matter which TensorRT this machine has
  const noRuntime = cli('predict', ...given, '--backend', 'tensorrt', '--tensorrt', '/nowhere');
  assert.is(noRuntime.code, 2);
  assert.match(noRuntime.stderr, /TENSORRT_NOT_FOUND: \/nowhere \(the path given\)/);
});

test('stages, then compare with the reference: equal; with another sample: exit code 1', async () => {
  await inFolder((dir) => {
    const mine = join(dir, 'mine.safetensors');
    const reference = `${golden}/sample_o0_i0.safetensors`;
    const written = cli('stages', ...given, '--out', mine, '--json');
    assert.is(written.code, 0, written.stderr);
    const names = JSON.parse(written.stdout).stages.map(({ name }: Named) => name);

    const same = cli('compare', mine, reference, '--json');
    assert.is(same.code, 0, same.stdout);
    const comparison = JSON.parse(same.stdout);
    assert.ok(comparison.passed);
    assert.equal(comparison.onlyB, []);
    const listed = [...comparison.onlyA, ...comparison.stages.map(({ name }: Named) => name)];
    assert.equal(listed.sort(), names.sort());

    const other = cli('compare', mine, `${golden}/sample_o0_i1.safetensors`);
    assert.is(other.code, 1);
    assert.match(other.stdout, /^FAIL +actions\.normalized /m);
    assert.match(other.stdout, /^DIFFERENT: \d+ stages compared, \d+ failed; the first that differs is /m);
    assert.is(cli('compare', mine, reference, '--strict').code, 1);
    assert.is(cli('compare', mine, reference, '--atol', '1e-9').code, 1);
  });
});

test('compare says which file is not one', () => {
  const { code, stderr } = cli('compare', `${golden}/sample_o0_i0.safetensors`, 'package.json');
  assert.is(code, 2);
  assert.match(stderr, /^SAFETENSORS_INVALID: .*package\.json/);
});

test('view writes the picture and says how many patches each camera kept', async () => {
  await inFolder((dir) => {
    const out = join(dir, 'view.png');
    const { code, stdout, stderr } = cli('view', ...given, '--out', out, '--json');
    assert.is(code, 0, stderr);
    const bytes = readFileSync(out).length;
    assert.equal(JSON.parse(stdout), { file: out, bytes, kept: { full_image: 32, wrist_image: 32 } });
    const unwritable = cli('view', ...given, '--out', join(dir, 'none', 'view.png'));
    assert.is(unwritable.code, 2);
    assert.match(unwritable.stderr, /^OUTPUT_UNWRITABLE: /);
  });
});

test.run();
