/** Timing caches between builds, through the addon and a module that builds text instead of engines. */

import { mkdirSync, symlinkSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildEngine } from '../../lib/engine/buildEngine.ts';
import { EngineCache } from '../../lib/engine/engineCache.ts';
import type { FoundTensorRt } from '../../lib/engine/findTensorRt.ts';
import { type TimingOptions, Timings } from '../../lib/engine/timings.ts';
import { fakeTensorRt } from '../runtime/fakeTensorRt.ts';
import { inCacheFolder, rejection } from './cacheFixture.ts';

const test = suite('timing caches');

/** Library and parser under the names that are looked for. */
function found(dir: string): FoundTensorRt {
  const { library, parser, module } = fakeTensorRt();
  mkdirSync(join(dir, 'lib'), { recursive: true });
  symlinkSync(library, join(dir, 'lib/libnvinfer.so.10'));
  symlinkSync(parser, join(dir, 'lib/libnvonnxparser.so.10'));
  return {
    family: 'trt10',
    version: '10.3.0.7',
    library: join(dir, 'lib/libnvinfer.so.10'),
    source: 'test',
    module,
    hasKernels: true,
  };
}

interface Bench {
  readonly dir: string;
  readonly notices: string[];
  /** As another process would. */
  readonly options: (changes?: Partial<TimingOptions>) => Promise<TimingOptions>;
  /** One build: what was known before, and what TensorRT said about it. */
  readonly build: (
    steps: number,
    changes?: Partial<TimingOptions>,
  ) => Promise<{ given: string; refused: string }>;
}

function bench(body: (given: Bench) => Promise<void>): Promise<void> {
  return inCacheFolder(async (dir) => {
    const tensorRt = found(dir);
    const notices: string[] = [];
    const options = async (changes: Partial<TimingOptions> = {}): Promise<TimingOptions> => ({
      tensorRt,
      cache: await EngineCache.open({ dir }),
      device: 'sm_87 Orin',
      onNotice: ({ message }) => notices.push(message),
      ...changes,
    });
    const build: Bench['build'] = async (steps, changes) => {
      const timings = (await Timings.open(await options(changes)))!;
      const { timingCache, timingCacheRefused } = await measure(tensorRt, steps, timings.given);
      await timings.keep(timingCache, timingCacheRefused);
      return { given: text(timings.given), refused: timingCacheRefused };
    };
    await body({ dir, notices, options, build });
  });
}

function measure(tensorRt: FoundTensorRt, steps: number, timingCache: Uint8Array) {
  const onnx = Buffer.from(`fake model steps ${steps}`);
  return buildEngine(
    tensorRt,
    { name: 'policy', onnx, path: '', profiles: [], plugins: {} },
    { targets: [], optimizationLevel: null, workspaceBytes: null, timingCache },
  );
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');
const cacheOf = (...steps: number[]): string =>
  ['fake timings', ...steps.map((n) => `fake model steps ${n}`), ''].join('\n');

test('what one build measured the next one knows, in another process too', () =>
  bench(async ({ build, notices }) => {
    assert.is((await build(1)).given, '');
    assert.is((await build(2)).given, cacheOf(1));
    assert.is((await build(2)).given, cacheOf(1, 2));
    assert.is((await build(3, { device: 'sm_89 RTX 4090' })).given, '', 'another device measures for itself');
    assert.equal(notices, []);
  }));

test('of two builds at once none is lost', () =>
  bench(async ({ options, build }) => {
    await build(1);
    const { tensorRt } = await options();
    const [first, second] = [await Timings.open(await options()), await Timings.open(await options())];
    for (const [steps, timings] of [
      [2, first!],
      [3, second!],
    ] as const) {
      const { timingCache } = await measure(tensorRt, steps, timings.given);
      assert.is(text(timingCache), cacheOf(1, steps));
      await timings.keep(timingCache, '');
    }
    assert.is(text((await Timings.open(await options()))!.given), cacheOf(1, 2, 3));
  }));

test('a damaged or foreign one is started anew, and that is said', () =>
  bench(async ({ options, build, notices }) => {
    await build(1);
    const { cache, tensorRt } = await options();
    const { family: flavour, version } = tensorRt;
    const file = cache.sealed({ kind: 'timings', flavour, version, device: 'sm_87 Orin' });
    await writeFile(file.path, 'fake timings\nnot ours\n');
    assert.is((await build(2)).given, '');
    assert.is(notices.length, 1);
    assert.match(notices[0]!, /^The timing cache is started anew\. .*expected SHA-256 .*, found /);
    assert.is((await build(2)).given, cacheOf(2));
    assert.is(notices.length, 1);
    // ours, but TensorRT does not accept it, perhaps because of a new driver
    await file.replace(Buffer.from('of an older driver'));
    const { given, refused } = await build(3);
    assert.is(given, 'of an older driver');
    assert.is(refused, 'TensorRT does not take it: not one');
    assert.is(notices.at(-1), `${file.path}: started anew: TensorRT does not take it: not one`);
    assert.is((await build(3)).given, cacheOf(3));
  }));

test('a file of the caller: kept raw for trtexec, refused when it is not of this machine; off keeps none', () =>
  bench(async ({ dir, options, build }) => {
    const timingCache = join(dir, 'mine.timings');
    await build(1, { timingCache });
    assert.is(await readFile(timingCache, 'utf8'), cacheOf(1));
    assert.is((await build(2, { timingCache })).given, cacheOf(1));
    assert.is((await build(2)).given, '', 'the one in the cache folder is another');
    await writeFile(timingCache, cacheOf(9));
    const { message } = await rejection(build(3, { timingCache }), 'ENGINE_REFUSED');
    assert.ok(message.includes(timingCache), message);
    assert.is(await readFile(timingCache, 'utf8'), cacheOf(9));
    const foreign = join(dir, 'foreign.timings');
    await writeFile(foreign, cacheOf(9));
    const refusal = await rejection(build(3, { timingCache: foreign }), 'ENGINE_REFUSED');
    assert.match(
      refusal.message,
      /foreign\.timings\.json, by which this machine knows its own files, found none/,
    );
    assert.is(await Timings.open(await options({ timingCache: 'off' })), null);
  }));

test('TensorRT-RTX has none: one that is named is refused, with where its kernels are kept', () =>
  bench(async ({ options }) => {
    const { tensorRt } = await options();
    const rtx = { tensorRt: { ...tensorRt, family: 'rtx1' as const, version: '1.7.1.116' } };
    assert.is(await Timings.open(await options(rtx)), null);
    assert.is(await Timings.open(await options({ ...rtx, timingCache: 'off' })), null);
    const { message } = await rejection(
      Timings.open(await options({ ...rtx, timingCache: 'x.timings' })),
      'OPTION_INVALID',
    );
    assert.match(
      message,
      /TensorRT-RTX 1\.7\.1\.116, which measures nothing when it builds, found x\.timings/,
    );
  }));

test('a cache that cannot be written costs no engine, unless the caller named it', () =>
  bench(async ({ dir, options, notices }) => {
    const write = async (): Promise<void> => {
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    };
    const cache = await EngineCache.open({ dir, write });
    await (await Timings.open(await options({ cache })))!.keep(Buffer.from(cacheOf(1)), '');
    assert.match(notices[0]!, /^The timing cache was not kept: .*disk full/);
    const named = await Timings.open(await options({ cache, timingCache: join(dir, 'x') }));
    await rejection(named!.keep(Buffer.from(cacheOf(1)), ''), 'CACHE_UNWRITABLE');
  }));

test.run();
