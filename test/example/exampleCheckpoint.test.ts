/** The policy that ships with the program: unpacked once, checked each time, opened like anybody's. */

import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { exampleCheckpoint } from '../../lib/example/exampleCheckpoint.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { Notice } from '../../lib/support/notices.ts';
import { scratchFolder } from '../helpers/golden.ts';

const test = suite('the shipped policy');

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'none';
  } catch (error) {
    assert.instance(error, SemanticVlaError);
    return (error as SemanticVlaError).code;
  }
}

test('is a checkpoint in the trained layout, unpacked once', async () => {
  const cacheDir = mkdtempSync(join(scratchFolder(), 'example-'));
  const notices: Notice[] = [];
  const options = { cacheDir, onNotice: (notice: Notice) => notices.push(notice) };
  const folder = await exampleCheckpoint(options);
  assert.ok(folder.startsWith(join(cacheDir, 'models', 'libero-')), folder);
  const checkpoint = await openCheckpoint(folder, { cacheDir });
  assert.is(checkpoint.config.variant, 'SemanticVLA');
  assert.equal([...checkpoint.statistics.keys()], ['libero_object_no_noops']);
  const shard = join(folder, 'model-00001-of-00002.safetensors');
  const before = statSync(shard);
  assert.is(before.mode & 0o777, 0o600);
  assert.is(await exampleCheckpoint(options), folder);
  const after = statSync(shard);
  assert.equal([after.ino, after.mtimeMs], [before.ino, before.mtimeMs]);
  assert.equal(notices, []);
});

test('nothing unfinished is ever seen in the folder, which others may open meanwhile', async () => {
  const cacheDir = mkdtempSync(join(scratchFolder(), 'example-'));
  const folder = await exampleCheckpoint({ cacheDir });
  const whole = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  let looks = 0;
  let unpacking = true;
  const done = Promise.all([exampleCheckpoint({ cacheDir }), exampleCheckpoint({ cacheDir })]).finally(() => {
    unpacking = false;
  });
  while (unpacking) {
    const seen = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : [];
    if (seen.length > 0) looks++;
    assert.equal(
      seen.filter((name) => !whole.includes(name)),
      [],
    );
    await new Promise(setImmediate);
  }
  await done;
  assert.ok(looks > 0);
  assert.equal(readdirSync(join(cacheDir, 'models')).length, 1, 'nothing is left beside it');
});

test('what is not the packed file any more is unpacked again, and that is said', async () => {
  const cacheDir = mkdtempSync(join(scratchFolder(), 'example-'));
  const folder = await exampleCheckpoint({ cacheDir });
  const config = join(folder, 'config.json');
  const whole = readFileSync(config);
  const spoil: Readonly<Record<string, () => void>> = {
    'another byte': () => writeFileSync(config, Buffer.from(whole).fill(0x20, 40, 41)),
    cut: () => writeFileSync(config, whole.subarray(0, 40)),
    'a link to the same bytes': () => {
      cpSync(config, join(cacheDir, 'elsewhere.json'));
      rmSync(config);
      symlinkSync(join(cacheDir, 'elsewhere.json'), config);
    },
  };
  for (const [how, change] of Object.entries(spoil)) {
    change();
    const notices: Notice[] = [];
    assert.is(await exampleCheckpoint({ cacheDir, onNotice: (notice) => notices.push(notice) }), folder);
    assert.equal(
      notices.map(({ code }) => code),
      ['EXAMPLE_RENEWED'],
      how,
    );
    assert.ok(notices[0]!.message.startsWith(`${config}: expected `), notices[0]!.message);
    assert.ok(readFileSync(config).equals(whole), how);
    assert.ok(statSync(config).isFile());
  }
  rmSync(config);
  const notices: Notice[] = [];
  await exampleCheckpoint({ cacheDir, onNotice: (notice) => notices.push(notice) });
  assert.equal(notices, [], 'one that is missing is only unpacked');
  assert.ok(readFileSync(config).equals(whole));
});

test('a cache that takes nothing and an option that nobody reads are refused; an aborted signal stops', async () => {
  const file = join(scratchFolder(), 'no-folder');
  writeFileSync(file, '');
  assert.is(await codeOf(exampleCheckpoint({ cacheDir: file })), 'CACHE_UNWRITABLE');
  const misspelled = { cachedir: '/tmp' } as unknown as { cacheDir: string };
  assert.is(await codeOf(exampleCheckpoint(misspelled)), 'OPTION_UNKNOWN');
  const reason = new Error('enough');
  const stopped = await exampleCheckpoint({ signal: AbortSignal.abort(reason) }).catch(
    (error: unknown) => error,
  );
  assert.is(stopped, reason);
});

test.run();
