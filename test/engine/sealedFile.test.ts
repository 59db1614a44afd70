/** Native data between processes: used only when this machine wrote it, for exactly these facts, with every byte unchanged. */

import { createHmac } from 'node:crypto';
import { chmod, copyFile, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeDurably } from '../../lib/engine/cacheFiles.ts';
import { EngineCache } from '../../lib/engine/engineCache.ts';
import type { SealedFacts } from '../../lib/engine/sealedFile.ts';
import { inCacheFolder, plan, rejection } from './cacheFixture.ts';

const test = suite('sealed files');

const facts: SealedFacts = { kind: 'timings', flavour: 'trt10', version: '10.3.0.26', device: 'sm_87 Orin' };

test('what is kept is read again, by another process too; other facts have another file', () =>
  inCacheFolder(async (dir) => {
    const file = (await EngineCache.open({ dir })).sealed(facts);
    assert.is(await file.read(), null);
    await file.locked(() => file.replace(plan(1000)));
    await file.locked(() => file.replace(plan(2000, 2)));
    const again = (await EngineCache.open({ dir })).sealed(facts);
    assert.equal(await again.read(), Buffer.from(plan(2000, 2)));
    for (const fact of ['flavour', 'version', 'device']) {
      const other = (await EngineCache.open({ dir })).sealed({ ...facts, [fact]: 'another' });
      assert.is.not(other.path, file.path);
      assert.is(await other.read(), null);
    }
  }));

test('damaged, foreign, relabelled or without its note: refused with both values', () =>
  inCacheFolder((dir) =>
    inCacheFolder(async (otherDir) => {
      const cache = await EngineCache.open({ dir });
      const file = cache.sealed(facts);
      const note = `${file.path}.json`;
      await file.replace(plan(1000));
      const intact = await readFile(file.path);
      const text = await readFile(note);
      const refusal = async (pattern: RegExp) => {
        assert.match((await rejection(file.read(), 'ENGINE_REFUSED')).message, pattern);
        await writeFile(file.path, intact);
        await writeFile(note, text);
        assert.equal(await file.read(), intact);
      };
      for (let bit = 0; bit < 8000; bit += 97) {
        const damaged = Buffer.from(intact);
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        await writeFile(file.path, damaged);
        await refusal(/expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}/);
      }
      await writeFile(file.path, intact.subarray(0, 999));
      await refusal(/expected SHA-256/);
      await rm(note);
      await refusal(/by which this machine knows its own files, found none/);
      await writeFile(note, '{');
      await refusal(/expected JSON/);
      // another machine's, with its own key
      const foreign = (await EngineCache.open({ dir: otherDir })).sealed(facts);
      await foreign.replace(plan(1000));
      await copyFile(`${foreign.path}.json`, note);
      await refusal(/expected MAC [0-9a-f]{16}\.\.\. of this machine's key/);
      // ours, but of another device
      const other = cache.sealed({ ...facts, device: 'sm_89 RTX 4090' });
      await other.replace(plan(1000));
      await copyFile(`${other.path}.json`, note);
      await refusal(/expected device sm_87 Orin, found device sm_89 RTX 4090/);
      await chmod(file.path, 0o666);
      assert.match((await rejection(file.read(), 'ENGINE_REFUSED')).message, /mode 666/);
      await rename(file.path, `${file.path}.real`);
      await symlink(`${file.path}.real`, file.path);
      assert.match((await rejection(file.read(), 'ENGINE_REFUSED')).message, /a symbolic link/);
      await file.replace(plan(10));
      assert.equal(await file.read(), Buffer.from(plan(10)));
    }),
  ));

test('a writer killed or out of disk at any moment leaves the old bytes or the new ones', () =>
  inCacheFolder(async (dir) => {
    for (let last = 1; last <= 2; last++) {
      const before = (await EngineCache.open({ dir })).sealed(facts);
      await before.replace(plan(1000));
      let writes = 0;
      const dying = await EngineCache.open({
        dir,
        write: async (path, parts) => {
          writes += 1;
          if (writes < last) return writeDurably(path, parts);
          throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
        },
      });
      assert.match(
        (await rejection(dying.sealed(facts).replace(plan(500, 3)), 'CACHE_UNWRITABLE')).message,
        /disk full/,
      );
      assert.equal(await before.read(), Buffer.from(plan(1000)));
    }
    const left = await readdir(join(dir, 'engines'));
    assert.equal(
      left.filter((name) => name.endsWith('.partial')),
      [],
    );
  }));

test('a note whose MAC is that of other text is not believed', () =>
  inCacheFolder(async (dir) => {
    const cache = await EngineCache.open({ dir });
    const file = cache.sealed(facts);
    await file.replace(plan(10));
    const note = JSON.parse(await readFile(`${file.path}.json`, 'utf8'));
    note.sha256 = ['0'.repeat(64)];
    note.mac = createHmac('sha256', 'not the key').update('x').digest('hex');
    await writeFile(`${file.path}.json`, JSON.stringify(note));
    await rejection(file.read(), 'ENGINE_REFUSED');
  }));

test.run();
