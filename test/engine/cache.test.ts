/** What the cache returns, and everything that it must refuse. */

import { EventEmitter, once } from 'node:events';
import { chmod, copyFile, readdir, readFile, rename, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeDurably } from '../../lib/engine/cacheFiles.ts';
import { type EngineIdentity, engineKey, identityFields } from '../../lib/engine/cacheKey.ts';
import { EngineCache } from '../../lib/engine/engineCache.ts';
import { encodeSidecar, type Sidecar } from '../../lib/engine/sidecar.ts';
import { identity, inCacheFolder, plan, readPlan, rejection } from './cacheFixture.ts';

const test = suite('engine cache');

interface Stored {
  readonly cache: EngineCache;
  readonly planFile: string;
  readonly sidecarFile: string;
  readonly bytes: Uint8Array;
  readonly sidecar: Sidecar;
}

async function store(dir: string, size = 4096): Promise<Stored> {
  const cache = await EngineCache.open({ dir });
  const bytes = plan(size);
  const built = await cache.getOrBuild('policy', identity, async () => ({ plan: bytes, seconds: 1 }));
  const { sidecar, file } = built;
  await built.plan.close();
  return { cache, bytes, sidecar, sidecarFile: file, planFile: join(cache.folder, sidecar.plan.file) };
}

/** Loads what a session would deserialize: shows which plans the cache lets through. */
async function deserialized(cache: EngineCache, want: EngineIdentity = identity): Promise<number> {
  const cached = await cache.load('policy', want);
  await cached?.plan.close();
  return cached === null ? 0 : 1;
}

test('a built plan is found again, by another process too', () =>
  inCacheFolder(async (dir) => {
    const { bytes } = await store(dir);
    const again = await EngineCache.open({ dir });
    const found = await again.load('policy', identity);
    assert.equal(await readPlan(found!), Buffer.from(bytes));
    assert.is(found!.sidecar.identity.version, identity.version);
    assert.is(await again.load('instruction', identity), null);
    let builds = 0;
    const { isNew, plan: same } = await again.getOrBuild('policy', identity, async () => {
      builds += 1;
      return { plan: bytes, seconds: 1 };
    });
    await same.close();
    assert.is(isNew, false);
    assert.is(builds, 0);
  }));

test('eight fields: each makes another key, and a plan under the wrong key is refused with both values', () =>
  inCacheFolder(async (dir) => {
    const { cache, sidecar } = await store(dir);
    assert.is(identityFields.length, 8);
    const keys = new Set([engineKey('policy', identity)]);
    for (const field of identityFields) {
      const other = { ...identity, [field]: `${identity[field]}0` };
      const key = engineKey('policy', other);
      keys.add(key);
      assert.is(await cache.load('policy', other), null);
      // a renamed or relabelled plan of ours: the MAC is right, the plan is not
      await writeFile(
        join(cache.folder, `${key}.json`),
        encodeSidecar(sidecar, await readFile(join(cache.folder, 'machine.key'))),
      );
      const { message } = await rejection(cache.load('policy', other), 'ENGINE_REFUSED');
      assert.ok(message.includes(`${field} ${other[field]}`), message);
      assert.ok(message.includes(`${field} ${identity[field]}`), message);
    }
    assert.is(keys.size, 9);
    assert.is(await deserialized(cache), 1);
  }));

test('a plan cut short at every 1/256 of its length is refused', () =>
  inCacheFolder(async (dir) => {
    const { cache, planFile, bytes } = await store(dir, 25_600);
    for (let i = 0; i < 256; i++) {
      await writeFile(planFile, bytes.subarray(0, (bytes.length * i) / 256));
      const { message } = await rejection(cache.load('policy', identity), 'ENGINE_REFUSED');
      assert.match(message, `expected 25600 bytes, found ${(bytes.length * i) / 256}`);
    }
    await writeFile(planFile, bytes);
    assert.is(await deserialized(cache), 1);
  }));

test('10,000 flipped bits of plan and sidecar: none is let through', async () => {
  const flips = 10_000;
  // a load mostly waits for the file system, so this many caches are damaged in parallel
  const lanes = 8;
  let tried = 0;
  const flip = async (dir: string, from: number, to: number): Promise<void> => {
    const { cache, planFile, sidecarFile, bytes } = await store(dir, 700);
    const text = await readFile(sidecarFile);
    for (let i = from; i < to; i++) {
      const [file, intact] = i % 2 === 0 ? [planFile, bytes] : [sidecarFile, text];
      const damaged = Uint8Array.from(intact);
      const bit = Math.floor(i / 2) % (damaged.length * 8);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      await writeFile(file, damaged);
      let through = 0;
      try {
        through = await deserialized(cache);
      } catch (error) {
        assert.is((error as { code?: string }).code, 'ENGINE_REFUSED', String(error));
      }
      // white space between the fields of the sidecar may change, its content may not
      if (through > 0) {
        assert.is(file, sidecarFile);
        const same = JSON.stringify(JSON.parse(Buffer.from(damaged).toString('utf8')));
        assert.is(same, JSON.stringify(JSON.parse(text.toString('utf8'))));
      }
      await writeFile(file, intact);
      tried++;
    }
    assert.is(await deserialized(cache), 1);
  };
  await Promise.all(
    Array.from({ length: lanes }, (_, lane) =>
      inCacheFolder((dir) => flip(dir, (flips * lane) / lanes, (flips * (lane + 1)) / lanes)),
    ),
  );
  assert.is(tried, flips);
});

test('a plan of another machine is refused, with both MACs', () =>
  inCacheFolder((dir) =>
    inCacheFolder(async (other) => {
      const foreign = await store(other);
      const here = await store(dir);
      await copyFile(foreign.sidecarFile, here.sidecarFile);
      const { message } = await rejection(here.cache.load('policy', identity), 'ENGINE_REFUSED');
      assert.match(
        message,
        /expected MAC [0-9a-f]{16}\.\.\. of this machine's key, found [0-9a-f]{16}\.\.\./,
      );
    }),
  ));

test('files of others, links and folders in the place of ours are refused', () =>
  inCacheFolder(async (dir) => {
    const { cache, planFile, sidecarFile } = await store(dir);
    await chmod(planFile, 0o666);
    assert.match(
      (await rejection(cache.load('policy', identity), 'ENGINE_REFUSED')).message,
      /found mode 666/,
    );
    await chmod(planFile, 0o600);
    await rename(planFile, `${planFile}.real`);
    await symlink(`${planFile}.real`, planFile);
    assert.match(
      (await rejection(cache.load('policy', identity), 'ENGINE_REFUSED')).message,
      /symbolic link/,
    );
    await unlink(planFile);
    assert.match(
      (await rejection(cache.load('policy', identity), 'ENGINE_REFUSED')).message,
      /found no file/,
    );
    await writeFile(sidecarFile, 'not JSON');
    assert.match(
      (await rejection(cache.load('policy', identity), 'ENGINE_REFUSED')).message,
      /expected JSON/,
    );
  }));

test('a cache folder that others may write to is refused, and so is a key that others may read', () =>
  inCacheFolder(async (dir) => {
    const { cache } = await store(dir);
    await chmod(cache.folder, 0o777);
    const { message } = await rejection(EngineCache.open({ dir }), 'ENGINE_REFUSED');
    assert.match(message, /no right to write for others, found mode 777/);
    assert.match(message, /chmod o-w/);
    // also if it happens while we run
    await rejection(cache.load('policy', identity), 'ENGINE_REFUSED');
    await chmod(cache.folder, 0o700);
    await chmod(join(cache.folder, 'machine.key'), 0o644);
    assert.match((await rejection(EngineCache.open({ dir }), 'ENGINE_REFUSED')).message, /expected mode 600/);
  }));

test('a full disk at any write leaves the old plan and nothing else', () =>
  inCacheFolder(async (dir) => {
    const { cache, bytes } = await store(dir);
    const before = (await readdir(cache.folder)).sort();
    for (let failing = 1; failing <= 2; failing++) {
      let writes = 0;
      const full = await EngineCache.open({
        dir,
        write: async (path, parts) => {
          writes += 1;
          if (writes < failing) return writeDurably(path, parts);
          const [data] = [...parts];
          await writeFile(path, data!.subarray(0, data!.length / 2));
          throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
        },
      });
      const build = async () => ({ plan: plan(4096, 9), seconds: 1 });
      const { message } = await rejection(
        full.getOrBuild('policy', identity, build, { rebuild: true }),
        'CACHE_UNWRITABLE',
      );
      assert.match(message, /found the disk full/);
      assert.equal(await readPlan((await cache.load('policy', identity))!), Buffer.from(bytes));
      const left = (await readdir(cache.folder)).filter((name) => name.endsWith('.partial'));
      assert.equal(left, []);
    }
    assert.ok(before.every((name) => name !== ''));
  }));

test('a failed build leaves nothing and gives the lock back', () =>
  inCacheFolder(async (dir) => {
    const cache = await EngineCache.open({ dir });
    const failing = cache.getOrBuild('policy', identity, async () => {
      throw new Error('the builder said no');
    });
    try {
      await failing;
      assert.unreachable();
    } catch (error) {
      assert.is((error as Error).message, 'the builder said no');
    }
    const built = await cache.getOrBuild('policy', identity, async () => ({ plan: plan(10), seconds: 1 }));
    await built.plan.close();
    assert.is(built.isNew, true);
  }));

test('of ten callers one builds; a waiting one can be aborted', () =>
  inCacheFolder(async (dir) => {
    const cache = await EngineCache.open({ dir });
    let builds = 0;
    let waits = 0;
    const events = new EventEmitter();
    const [begun, othersWait, finish] = ['begun', 'othersWait', 'finish'].map((name) => once(events, name));
    const build = async () => {
      builds += 1;
      events.emit('begun');
      await finish;
      return { plan: plan(10), seconds: 1 };
    };
    const onWait = (): void => {
      if (++waits === 9) events.emit('othersWait');
    };
    const callers = Array.from({ length: 10 }, () => cache.getOrBuild('policy', identity, build, { onWait }));
    await begun;
    const controller = new AbortController();
    const aborted = cache.getOrBuild('policy', identity, build, {
      signal: controller.signal,
      onWait: () => controller.abort(new Error('enough')),
    });
    assert.is(await aborted.catch((error: Error) => error.message), 'enough');
    await othersWait;
    events.emit('finish');
    const results = await Promise.all(callers);
    for (const { plan } of results) await plan.close();
    assert.is(builds, 1);
    assert.is(results.filter(({ isNew }) => isNew).length, 1);
    assert.is(waits, 9);
  }));

test('checks are recorded per device and driver', () =>
  inCacheFolder(async (dir) => {
    const { cache } = await store(dir);
    const check = {
      device: 'A',
      driver: '13000',
      difference: 0.01,
      allowed: 0.1,
      at: '2026-01-01T00:00:00Z',
    };
    await cache.recordCheck('policy', identity, check);
    await cache.recordCheck('policy', identity, { ...check, driver: '13010' });
    await cache.recordCheck('policy', identity, { ...check, difference: 0.02 });
    const { plan: file, sidecar } = (await cache.load('policy', identity))!;
    await file.close();
    const { checks } = sidecar;
    assert.equal(
      checks.map(({ driver, difference }) => [driver, difference]),
      [
        ['13010', 0.01],
        ['13000', 0.02],
      ],
    );
  }));

test.run();
