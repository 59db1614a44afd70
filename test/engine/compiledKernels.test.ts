/** Kernels that an engine compiled, from one session to the next: through the addon, on a device without a GPU. */

import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { KernelStore } from '../../lib/engine/compiledKernels.ts';
import { EngineCache } from '../../lib/engine/engineCache.ts';
import type { Sidecar } from '../../lib/engine/sidecar.ts';
import { TensorRtSession } from '../../lib/runtime/tensorRt.ts';
import { fakeTensorRt, withDevice } from '../runtime/fakeTensorRt.ts';
import { identity, inCacheFolder } from './cacheFixture.ts';

const test = suite('compiled kernels');

const prepare = Buffer.from('fake 1\nin prompt_ids int64 -1\nout tail float32 prompt_ids.0+1,4\n');
const step = Buffer.from('fake 1\nin images uint8 1,2,2,3\nin tail float32 -1,4\nout actions float32 2,3\n');
const engine = (sha256: string): { sidecar: Sidecar } => ({
  sidecar: {
    format: 1,
    engine: 'policy',
    key: 'k',
    identity,
    plan: { file: 'f', bytes: 1, sha256 },
    built: { at: '', seconds: 1 },
    checks: [],
  },
});
const engines = {
  instruction: engine('1'.repeat(64)),
  policy: engine('2'.repeat(64)),
  denoiser: null,
};

/** The life of a process: opens, runs prompts of these lengths, closes. Returns how many sizes its engines had to compile. */
async function life(dir: string, lengths: readonly number[], notices: string[]): Promise<number> {
  const log = join(dir, `log-${Math.random()}`);
  const store = await KernelStore.open(engines, {
    tensorRt: { family: 'rtx1', version: '1.7.1.116' },
    device: { name: 'Fake GPU', uuid: 'fa4e' },
    cache: await EngineCache.open({ dir }),
    onNotice: ({ message }) => notices.push(message),
  });
  await withDevice(`log=${log}`, async () => {
    const session = await TensorRtSession.open({
      ...fakeTensorRt(),
      label: 'TensorRT-RTX 1.7.1.116',
      instruction: { plan: prepare, bindings: [], kernels: store!.given.instruction },
      policy: { plan: step, bindings: [], kernels: store!.given.policy },
      imageShape: [1, 2, 2, 3],
      keepKernels: (kernels) => store!.keep(kernels),
    });
    for (const length of lengths) {
      const promptIds = Array.from({ length: length + 1 }, (_, i) => i);
      const state = await session.encodeInstruction({ promptIds, siglipIds: null });
      await session.run({ images: new Uint8Array(12), proprio: null }, state);
    }
    await Promise.all([session.close(), session.close()]);
  });
  return JSON.parse(readFileSync(log, 'utf8')).compiled;
}

test('the second process compiles only what is new', () =>
  inCacheFolder(async (dir) => {
    const notices: string[] = [];
    assert.is(await life(dir, [10, 20], notices), 4);
    assert.is(await life(dir, [10, 20], notices), 0);
    assert.is(await life(dir, [10, 20, 30], notices), 2);
    assert.is(await life(dir, [30], notices), 0);
    assert.equal(notices, []);
  }));

test('damaged ones, and those that TensorRT-RTX does not take, are made anew, and that is said', () =>
  inCacheFolder(async (dir) => {
    const notices: string[] = [];
    assert.is(await life(dir, [10], notices), 2);
    const cache = await EngineCache.open({ dir });
    const device = 'Fake GPU fa4e';
    const file = cache.sealed({ kind: 'kernels', plan: '2'.repeat(64), version: '1.7.1.116', device });
    await writeFile(file.path, 'fake kernels\n');
    assert.is(await life(dir, [10], notices), 1);
    assert.is(notices.length, 1);
    assert.match(notices[0]!, /^Compiled kernels are made anew\. .*expected SHA-256/);
    await file.replace(Buffer.from('of another driver'));
    assert.is(await life(dir, [10], notices), 1);
    assert.equal(notices.slice(1), [`${file.path}: started anew: not this device's`]);
    assert.is(await life(dir, [10], notices), 0);
  }));

test('a session whose device broke closes all the same and keeps what was there', () =>
  inCacheFolder(async (dir) => {
    const notices: string[] = [];
    await life(dir, [10], notices);
    const store = await KernelStore.open(engines, {
      tensorRt: { family: 'rtx1', version: '1.7.1.116' },
      device: { name: 'Fake GPU', uuid: 'fa4e' },
      cache: await EngineCache.open({ dir }),
    });
    let kept = 0;
    const breakAt = (call: number): Promise<string> =>
      withDevice(`failAt=${call}`, async () => {
        const session = await TensorRtSession.open({
          ...fakeTensorRt(),
          label: 'TensorRT-RTX 1.7.1.116',
          instruction: { plan: prepare, bindings: [], kernels: store!.given.instruction },
          policy: { plan: step, bindings: [], kernels: store!.given.policy },
          imageShape: [1, 2, 2, 3],
          keepKernels: async () => {
            kept += 1;
          },
        });
        kept = 0;
        const outcome = await session
          .encodeInstruction({ promptIds: [1, 2, 3], siglipIds: null })
          .then((state) => session.run({ images: new Uint8Array(12), proprio: null }, state))
          .then(
            () => 'no error',
            (error: { code: string }) => error.code,
          );
        await session.close();
        return outcome;
      });
    // the first of its calls, after opening, at which a device breaks instead of running out of memory
    let outcome = '';
    for (let call = 20; outcome !== 'DEVICE_FAILED'; call++) {
      assert.ok(call < 100, 'a call that breaks the device');
      outcome = await breakAt(call).catch(() => 'not opened');
    }
    assert.is(kept, 0);
    assert.is(await life(dir, [10], notices), 0);
  }));

test('TensorRT 10 and 11 keep none', () =>
  inCacheFolder(async (dir) => {
    const cache = await EngineCache.open({ dir });
    const device = { name: 'Orin', uuid: 'u' };
    for (const family of ['trt10', 'trt11'] as const) {
      const tensorRt = { family, version: '10.3.0.26' };
      assert.is(await KernelStore.open(engines, { tensorRt, device, cache }), null);
    }
  }));

test.run();
