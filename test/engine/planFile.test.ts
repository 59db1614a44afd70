/** Plans that are too large for one read in Node: verified in parts, and mapped by the session. */

import { existsSync } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NativeBytes } from '../../lib/addon/binding.ts';
import { partsOf } from '../../lib/engine/cacheFiles.ts';
import { sha256 } from '../../lib/engine/cacheKey.ts';
import { EngineCache } from '../../lib/engine/engineCache.ts';
import { PlanFile } from '../../lib/engine/planFile.ts';
import { identity, inCacheFolder, plan, readPlan, rejection } from './cacheFixture.ts';

const test = suite('plan files');

/** As the addon returns a plan. */
function native(bytes: Uint8Array): NativeBytes & { readonly reads: number[] } {
  const reads: number[] = [];
  const read = (offset: number, length: number): Uint8Array => {
    reads.push(length);
    return Uint8Array.from(bytes.subarray(offset, offset + length));
  };
  return { byteLength: bytes.length, reads, read, release: () => {} };
}

test('parts are all bytes in order, whatever their length', () => {
  const bytes = plan(1000);
  for (const length of [1, 7, 999, 1000, 1001]) {
    for (const source of [bytes, native(bytes)]) {
      const parts = [...partsOf(source, length)];
      assert.equal(Buffer.concat(parts), Buffer.from(bytes));
      assert.ok(parts.every((part) => part.length <= length));
      assert.is(parts.length, Math.ceil(1000 / length));
    }
  }
  assert.equal([...partsOf(new Uint8Array())], []);
});

test('a plan is verified in small parts as in one, and one changed byte in any part is found', () =>
  inCacheFolder(async (dir) => {
    const bytes = plan(4096);
    const path = join(dir, 'a.plan');
    const expected = { bytes: bytes.length, sha256: sha256(bytes) };
    for (const length of [64, 1000, 4096, 8192]) {
      await writeFile(path, bytes);
      const file = await PlanFile.open(path, expected, length);
      assert.is(file!.byteLength, 4096);
      await Promise.all([file!.close(), file!.close()]);
      for (let at = 0; at < 4096; at += 509) {
        const damaged = Uint8Array.from(bytes);
        damaged[at]! ^= 1;
        await writeFile(path, damaged);
        const { message } = await rejection(PlanFile.open(path, expected, length), 'ENGINE_REFUSED');
        assert.match(message, new RegExp(`expected SHA-256 ${expected.sha256}, found [0-9a-f]{64}`));
      }
    }
    await writeFile(path, bytes.subarray(1));
    await rejection(PlanFile.open(path, expected), 'ENGINE_REFUSED');
    assert.is(await PlanFile.open(join(dir, 'none'), expected), null);
  }));

test('a built plan goes from native memory to the disk part by part', () =>
  inCacheFolder(async (dir) => {
    const cache = await EngineCache.open({ dir });
    const bytes = plan(2 ** 24 + 5);
    const source = native(bytes);
    const built = await cache.getOrBuild('policy', identity, async () => ({ plan: source, seconds: 1 }));
    // once for the digest, once for the disk
    assert.equal(source.reads, [2 ** 24, 5, 2 ** 24, 5]);
    assert.is(built.sidecar.plan.sha256, sha256(bytes));
    assert.is(Buffer.compare(await readPlan(built), bytes), 0);
  }));

test('a plan of more than 2 GiB is verified; what it holds past there counts', async () => {
  // reading a hole costs nothing in memory, and the page cache on a disk
  const dir = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'semanticvla-plan-'));
  try {
    const bytes = 2 ** 31 + 4096;
    const path = join(dir, 'large.plan');
    const handle = await open(path, 'wx', 0o600);
    await handle.truncate(bytes);
    await handle.write(plan(4096), 0, 4096, 2 ** 31);
    await handle.close();
    // of 2^31 zeros and plan(4096), by another program
    const digest = 'bc5f6cace1566d46d260b92f15659116245ab1e578bddd7f7b29dd1540f74cde';
    const expected = { bytes, sha256: digest };
    const file = await PlanFile.open(path, expected);
    assert.is(file!.byteLength, bytes);
    await file!.close();
  } finally {
    await rm(dir, { recursive: true });
  }
});

test.run();
