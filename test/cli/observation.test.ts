/** What an observation folder must hold: said by `inspect` and by `predict` when one does not fit, written by `synth`. */

import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inFolder, root } from '../helpers/cli.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { run } from '../helpers/mainInProcess.ts';

const test = suite('observation folders on the command line');
const policy = goldenCheckpoint('libero-tiny');
const golden = join(root, 'test/golden/libero-tiny/obs0');
const key = ['--unnorm-key', 'libero_spatial_no_noops'];
const instruction = ['--instruction', 'lift the cup'];

test('inspect says what the policy takes', async () => {
  const { code, out } = await run('inspect', policy, ...key);
  assert.is(code, 0);
  assert.match(
    out,
    /observation\.json:\n {2}\{"instruction": "\.\.\.", "state": \[8 numbers\], "images": \{"full_image": "full_image\.png", "wrist_image"/,
  );
  assert.match(out, /^ {2}image wrist_image +RGB, any size \(made 224 x 224\)$/m);
  assert.match(out, /^ {2}state +8 numbers in the units of libero_spatial_no_noops$/m);
  const json = JSON.parse((await run('inspect', policy, ...key, '--json')).out);
  assert.equal(json.observation.cameras, ['full_image', 'wrist_image']);
  assert.is(json.observation.state.low.length, 8);
});

test('inspect --observation: each part beside what was found, exit code 1 when it does not fit', async () => {
  const good = await run('inspect', policy, ...key, '--observation', golden);
  assert.is(good.code, 0, good.err);
  assert.match(good.out, /^ok +image full_image +RGB, any size .* RGB, \d+ x \d+$/m);
  await inFolder(async (dir) => {
    const folder = join(dir, 'obs');
    cpSync(golden, folder, { recursive: true });
    const file = join(folder, 'observation.json');
    const written = JSON.parse(readFileSync(file, 'utf8')) as {
      images: Record<string, string>;
      state: number[];
    };
    const { wrist_image: wrist, ...images } = written.images;
    writeFileSync(
      file,
      JSON.stringify({ instruction: 'go', state: [1, 2], images: { ...images, left: wrist } }),
    );
    const bad = await run('inspect', policy, ...key, '--observation', folder);
    assert.is(bad.code, 1);
    assert.match(bad.out, /^NO +image wrist_image .* MISSING$/m);
    assert.match(bad.out, /^NO +state +8 numbers in the units of libero_spatial_no_noops +2 numbers$/m);
    assert.match(bad.out, /^ok +image left +not used +ignored$/m);
    const { code, out } = await run('inspect', policy, ...key, '--observation', folder, '--json');
    assert.is(code, 1);
    assert.equal(
      JSON.parse(out).observed.map(({ part, fits }: { part: string; fits: boolean }) => [part, fits]),
      [
        ['image full_image', true],
        ['image wrist_image', false],
        ['state', false],
        ['instruction', true],
        ['image left', true],
      ],
    );
    // a state far from the training's is clipped: said, not refused
    writeFileSync(
      file,
      JSON.stringify({ ...written, state: written.state.map((value, i) => (i === 2 ? 99 : value)) }),
    );
    const far = await run('inspect', policy, ...key, '--observation', folder);
    assert.is(far.code, 0);
    assert.match(far.out, /8 numbers; outside the range of training \(clipped\): number [\d, ]*2/);
  });
});

test('predict: what is missing, and the command that shows the whole or writes one', async () => {
  await inFolder(async (dir) => {
    const none = await run('predict', policy, ...key, ...instruction, '--observation', dir);
    assert.is(none.code, 2);
    assert.match(
      none.err,
      /OBSERVATION_INVALID: .*semanticvla synth observation --for .* --out DIR writes one/,
    );
    writeFileSync(join(dir, 'observation.json'), JSON.stringify({ images: { full_image: 'a.npy' } }));
    const made = await run('synth', 'observation', '--for', policy, ...key, '--out', join(dir, 'made'));
    assert.is(made.code, 0, made.err);
    cpSync(join(dir, 'made/full_image.npy'), join(dir, 'a.npy'));
    const some = await run('predict', policy, ...key, ...instruction, '--observation', dir);
    assert.is(some.code, 2);
    assert.match(
      some.err,
      /CAMERA_MISSING: .*wrist_image is missing.*with --cameras\. semanticvla inspect .* --observation .* shows what/,
    );
  });
});

test('synth observation --for: predict takes what it writes, and inspect finds nothing to say', async () => {
  await inFolder(async (dir) => {
    const out = join(dir, 'obs');
    const made = await run('synth', 'observation', '--for', policy, ...key, '--out', out, '--json');
    assert.is(made.code, 0, made.err);
    assert.equal(JSON.parse(made.out).cameras, ['full_image', 'wrist_image']);
    const inspected = await run('inspect', policy, ...key, '--observation', out);
    assert.is(inspected.code, 0, inspected.out);
    assert.not.match(inspected.out, /outside the range/);
    const predicted = await run('predict', policy, ...key, '--observation', out, '--json');
    assert.is(predicted.code, 0, predicted.err);
    assert.is(JSON.parse(predicted.out).actions.length, 8);
    for (const [args, told] of [
      [['observation', '--out', out], /expected --for CHECKPOINT/],
      [['observation', '--for', policy, '--seed', '3', '--out', out], /found --seed/],
      [['tiny', '--cameras', 'a', '--out', out], /expected sizes of a preset, found --cameras/],
      [['tiny', '--for', policy, '--out', out], /found --for/],
    ] as const) {
      const { code, err } = await run('synth', ...args);
      assert.is(code, 2);
      assert.match(err, told);
    }
  });
});

test.run();
