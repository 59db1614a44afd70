/**
 * Builders killed at random moments: the plan is always the old one or a complete new one, and the next builder need not wait.
 * 40 kills, or 200 with SEMANTICVLA_LONG_TESTS=1.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EngineCache } from '../../lib/engine/engineCache.ts';
import { identity, inCacheFolder, readPlan } from './cacheFixture.ts';

const test = suite('engine cache, killed builders');

const root = join(import.meta.dirname, '../..');
const kills = process.env.SEMANTICVLA_LONG_TESTS === '1' ? 200 : 40;
const planBytes = 40_000;

function start(dir: string): ChildProcess {
  if (!existsSync(join(root, 'dist/engine/engineCache.js')))
    throw new Error('dist/ is not built: run `npm run build` first');
  return spawn(process.execPath, [join(import.meta.dirname, 'buildChild.mjs'), dir, String(planBytes)], {
    env: { ...process.env, TEST_IDENTITY: JSON.stringify(identity) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

const line = (child: ChildProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    child.stdout!.once('data', () => resolve());
    child.once('exit', (code, signal) => reject(new Error(`the builder ended with ${code ?? signal}`)));
  });

const exit = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => child.once('exit', () => resolve()));

test(`${kills} kills`, () =>
  inCacheFolder(async (dir) => {
    const cache = await EngineCache.open({ dir });
    const first = new Uint8Array(planBytes).fill(7);
    await readPlan(await cache.getOrBuild('policy', identity, async () => ({ plan: first, seconds: 0 })));
    const seen = new Set<number>();
    let partials = 0;
    // four at once compete for the lock. Each is killed within this many ms of its first line; the time grows while no build
    // has finished, since a build may take any time
    let withinMs = 30;
    const lane = async (seed: number): Promise<void> => {
      for (let n = 0; n < kills / 4; n++) {
        const child = start(dir);
        const ended = exit(child);
        await line(child);
        await new Promise((resolve) =>
          setTimeout(resolve, (((seed * 7919 + n * 104729) % 97) / 97) * withinMs),
        );
        child.kill('SIGKILL');
        await ended;
        const plan = await readPlan((await cache.load('policy', identity))!);
        assert.is(plan.length, planBytes);
        assert.ok(
          plan.every((byte) => byte === plan[0]),
          'one whole plan',
        );
        seen.add(plan[0]!);
        if (seen.size === 1 && n % 4 === 3) withinMs *= 1.2;
        partials = Math.max(
          partials,
          (await readdir(cache.folder)).filter((name) => name.endsWith('.partial')).length,
        );
      }
    };
    await Promise.all([1, 2, 3, 4].map(lane));
    assert.ok(seen.size > 1, 'some builds came through');
    assert.ok(partials > 0, 'some were killed while they wrote');
    let waits = 0;
    const again = await cache.getOrBuild('policy', identity, async () => ({ plan: first, seconds: 0 }), {
      rebuild: true,
      onWait: () => waits++,
    });
    assert.is(waits, 0, 'the lock is free again');
    assert.is(again.isNew, true);
    await again.plan.close();
    const left = (await readdir(cache.folder)).filter((name) => !/\.(json|key|lock)$/.test(name));
    assert.is(left.length, 1, `one plan and nothing partial, found ${left.join(', ')}`);
  }));

test.run();
