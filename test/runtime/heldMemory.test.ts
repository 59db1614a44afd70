/** Memory that the addon holds for a JavaScript object is reported to V8 exactly, released once, and collected with the object. */

import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  findAddon,
  loadAddon,
  type NativeBytes,
  type NativeMemory,
  type NativeSession,
  type NativeSessionRequest,
} from '../../lib/addon/binding.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { cpuSessionOptions } from '../../lib/policy/cpuModels.ts';
import { gatherParts } from '../../lib/policy/policyParts.ts';
import { OnnxSession } from '../../lib/runtime/onnxRuntime.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { externalMemoryAddon, fakeTensorRt } from './fakeTensorRt.ts';

const test = suite('held memory');

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;
const externalMemory = createRequire(import.meta.url)(externalMemoryAddon()) as () => number;

/** Bytes reported to V8, less those of array buffers. */
function told(): number {
  return externalMemory() - process.memoryUsage().external;
}

/** Finalizers run between two collections; those of functions free what they hold, whose finalizers come next. */
async function collect(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const threads = (): number =>
  Number(/^Threads:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);

const sum = ({ weights, states, transfers, scratch, engines, pinned }: NativeMemory): number =>
  weights + states + transfers + scratch + engines + pinned;

const weightBytes = 32 * 2 ** 20;
const tensor = (name: string, count: number) => ({ name, dims: [count], data: new Float32Array(count) });

/** Of a session with one weight on the fake device. */
function sessionRequest(file: string, byteLength: number): NativeSessionRequest {
  const plan = (...lines: string[]) => ({
    plan: Buffer.from(`fake 1\n${lines.join('\n')}\n`),
    kernels: new Uint8Array(),
    weights: [],
  });
  const count = byteLength / 4;
  const part = { file, offset: 0, byteLength, type: 'float32' as const };
  const { library, module } = fakeTensorRt();
  return {
    library,
    module,
    device: 0,
    prepare: plan('in ids float32 -1', 'out tail float32 ids.0+1000'),
    step: {
      ...plan(
        `in weight float32 ${count}`,
        'in tail float32 -1',
        'in state float32 3000',
        'out actions float32 8',
      ),
      weights: [{ name: 'weight', type: 'float32', dims: [count], parts: [part] }],
    },
    rounds: null,
    imageInput: 'images',
    graphs: true,
    watchLayers: false,
    keptSteps: 2,
    chunkBytes: 2 ** 20,
  };
}

function openSession(file: string): Promise<NativeSession> {
  return loadAddon().openSession(sessionRequest(file, weightBytes), () => {}).done;
}

async function withWeights(body: (file: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-held-'));
  const file = join(folder, 'weights');
  try {
    writeFileSync(file, '');
    truncateSync(file, weightBytes);
    await body(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('a TensorRT session: what its own report says, at every step; staged calls; nothing after it is closed', async () => {
  await withWeights(async (file) => {
    await (await openSession(file)).close();
    await collect();
    const before = told();
    const session = await openSession(file);
    const agrees = async (what: string): Promise<number> => {
      const report = sum(await session.memory());
      assert.is(told() - before, report, what);
      return report;
    };
    const opened = await agrees('opened');
    assert.ok(opened > weightBytes && opened < 1.1 * weightBytes, `${opened} bytes`);
    const { state } = await session.prepare([tensor('ids', 5)]);
    const prepared = await agrees('prepared');
    assert.ok(prepared > opened + 4000);
    const inputs = [tensor('state', 3000)];
    await session.run(state, session.stage(inputs, null)!, false);
    const ran = await agrees('run');

    // two slots are pinned; what finds none has memory of its own until it runs, is dropped or collected
    const staged = Array.from({ length: 5 }, () => session.stage(inputs, null)!);
    assert.is(told() - before, ran + 3 * 12_032);
    session.drop(staged[2]!);
    session.drop(staged[2]!);
    assert.is(told() - before, ran + 2 * 12_032);
    for (const call of [0, 1, 3]) await session.run(state, staged[call]!, false);
    assert.is(told() - before, sum(await session.memory()) + 12_032);
    staged.length = 0;
    await collect();
    await agrees('collected');

    await session.release(state);
    await agrees('released');
    assert.is(await session.prepare([tensor('nothing', 5)]).catch(() => 'refused'), 'refused');
    await agrees('refused');
    await session.close();
    assert.is(told(), before);
    session.end();
    await collect();
    assert.is(told(), before);
  });
});

test('sessions that were dropped and never closed: all is given back, threads too', async () => {
  await withWeights(async (file) => {
    await collect();
    const before = { told: told(), threads: threads() };
    await (async () => {
      const sessions = await Promise.all(Array.from({ length: 4 }, () => openSession(file)));
      assert.ok(told() - before.told >= 4 * weightBytes);
      assert.ok(threads() >= before.threads + sessions.length);
    })();
    await collect();
    assert.is(told(), before.told);
    assert.is(threads(), before.threads);
  });
});

test('memory pressure alone collects dropped sessions', async () => {
  await withWeights(async (file) => {
    await collect();
    const before = { told: told(), threads: threads() };
    let most = 0;
    // a session is a few hundred bytes of V8's heap: without the weights no collection would be due
    for (let i = 0; i < 24; i++) {
      await openSession(file);
      // each has one
      most = Math.max(most, threads() - before.threads);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(most < 12, `${most} of 24 sessions at once`);
    await collect();
    assert.is(told(), before.told);
    assert.is(threads(), before.threads);
  });
});

/** CommonJS of a worker that drops what it opens, at once, and waits for the answers alone. */
const dropping = `
  const { parentPort, workerData: { addon, request } } = require('node:worker_threads');
  const { openSession } = require(addon);
  const input = (name, count) => [{ name, dims: [count], data: new Float32Array(count) }];
  async function life() {
    const session = await openSession(request, () => {}).done;
    const { state } = await session.prepare(input('ids', 5));
    return session.run(state, session.stage(input('state', 3000), null), false);
  }
  (async () => {
    for (let round = 1; ; round++) {
      const answers = Array.from({ length: 4 }, life);
      openSession(request, () => {});
      gc();
      const lengths = (await Promise.all(answers)).map(({ outputs }) => outputs[0].data.length);
      parentPort.postMessage(lengths);
    }
  })();`;

test('dropped sessions answer what is on its way, also in workers that are terminated meanwhile', async () => {
  await withWeights(async (file) => {
    truncateSync(file, 2 ** 20);
    const request = sessionRequest(file, 2 ** 20);
    for (let n = 0; n < 10; n++) {
      const worker = new Worker(dropping, { eval: true, workerData: { addon: findAddon(), request } });
      for (let round = 0; round <= n % 3; round++)
        assert.equal((await once(worker, 'message'))[0], [32, 32, 32, 32]);
      assert.is(await worker.terminate(), 1);
    }
  });
});

test('a CPU session: folded weights in float32, packed ones and the states of instructions; mapped files are not counted', async () => {
  const checkpoint = await openCheckpoint(goldenCheckpoint('libero-tiny'));
  const parts = await gatherParts(checkpoint, { platform: 'libero', unnormKey: 'libero_spatial_no_noops' });
  const instruction = { promptIds: [1, 2, 3, 4, 5], siglipIds: new Array(64).fill(1) };
  const held = async (weights: 'folded' | 'mapped', precision?: 'int8'): Promise<void> => {
    const options = await cpuSessionOptions(parts, { weights, ...(precision ? { precision } : {}) });
    await collect();
    const before = told();
    const session = await OnnxSession.open(options);
    const stored = [options.instruction, options.policy]
      .flatMap(({ initializers }) => initializers)
      .filter(({ source }) => 'view' in source);
    const count = (some: typeof stored) =>
      some.reduce((total, { dims }) => total + dims.reduce((a, b) => a * b, 1), 0);
    const packed = count(stored.filter(({ type }) => type === 'int8'));
    const numbers = count(stored) - packed;
    assert.ok(numbers > 1e6);
    assert.is(packed > 1e4, precision !== undefined);
    const loaded = packed + (weights === 'folded' ? 4 * numbers : 0);
    assert.is(told() - before, loaded, weights);
    const first = await session.encodeInstruction(instruction);
    const one = told() - before - loaded;
    assert.ok(one > 1000, `${one} bytes a state`);
    const second = await session.encodeInstruction(instruction);
    assert.is(told() - before, loaded + 2 * one);
    first.release();
    second.release();
    // answered in order
    await session.encodeInstruction(instruction);
    assert.is(told() - before, loaded + one);
    await session.close();
    assert.is(told(), before);
    await collect();
    assert.is(told(), before);
  };
  await held('folded');
  await held('mapped');
  await held('folded', 'int8');
  await held('mapped', 'int8');
});

test('a plan: until it is released, once, or collected', async () => {
  const { library, parser, module } = fakeTensorRt();
  const model = Buffer.alloc(5_000_000, ' ');
  model.write('fake model steps 1');
  const build = async (): Promise<NativeBytes> => {
    const request = {
      ...{ library, parser, module, model, modelPath: '', profiles: [], targets: [], plugins: {} },
      ...{ optimizationLevel: -1, workspaceBytes: 0, timingCache: new Uint8Array() },
    };
    return (await loadAddon().buildEngine(request, () => {}).done).plan;
  };
  await collect();
  const before = told();
  const plan = await build();
  assert.is(plan.byteLength, model.length);
  assert.is(told() - before, model.length);
  plan.release();
  assert.is(told(), before);
  plan.release();
  assert.is(told(), before);
  await (async () => {
    await build();
    assert.is(told() - before, model.length);
  })();
  await collect();
  assert.is(told(), before);
});

test.run();
