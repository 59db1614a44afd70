/** Where an export puts weights: plain files, which ONNX Runtime, onnx and TensorRT open; never over a foreign file. */

import {
  cpSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { type ExportOptions, type ExportReport, exportPolicy } from '../../lib/export/exportPolicy.ts';
import { resolvePlatform } from '../../lib/policy/platform.ts';
import { policySizes } from '../../lib/policy/policyParts.ts';
import { openExported } from '../../lib/runtime/openExported.ts';
import { errorOf, fileNamed } from '../checkpoint/editCheckpoint.ts';
import { goldenCopy } from '../helpers/golden.ts';

const test = suite('layout of an export');

async function exportTo(dir: string, options: Partial<ExportOptions> = {}): Promise<ExportReport> {
  const checkpoint = await openCheckpoint(dir, { cacheDir: `${dir}.cache`, onNotice: () => {} });
  const sizes = policySizes(checkpoint, resolvePlatform(checkpoint, { platform: 'libero' }));
  return exportPolicy(checkpoint, { sizes, ...options });
}

async function withCopy(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = goldenCopy('libero-tiny');
  try {
    await work(dir);
  } finally {
    for (const folder of [dir, `${dir}.cache`, `${dir}.out`])
      rmSync(folder, { recursive: true, force: true });
  }
}

/** What onnx.load demands of every external file, and the bytes of the original. */
function requirePlain({ out, weights, opened }: ExportReport): void {
  assert.is(opened, true);
  for (const { location, file } of weights) {
    const info = lstatSync(join(out, location));
    assert.ok(info.isFile() && info.nlink === 1, location);
    assert.ok(readFileSync(join(out, location)).equals(readFileSync(file)), location);
  }
  assert.not(readdirSync(out, { recursive: true, encoding: 'utf8' }).some((name) => /partial/.test(name)));
}

const hows = ({ weights }: ExportReport) =>
  Object.fromEntries(weights.map(({ file, how }) => [basename(file), how]));

test('beside plain shards they stay in place, and only what lies in the cache is copied', async () => {
  await withCopy(async (dir) => {
    const report = await exportTo(dir);
    requirePlain(report);
    for (const [name, how] of Object.entries(hows(report)))
      assert.is(how, /^weights-/.test(name) ? 'copy' : 'in place', name);
  });
});

test('beside links (a hub cache) and hard links the weights are copied', async () => {
  await withCopy(async (dir) => {
    mkdirSync(`${dir}.out`);
    const names = readdirSync(dir).filter((name) => /\.(safetensors|pt)$/.test(name));
    for (const [i, name] of names.entries()) {
      const blob = join(`${dir}.out`, `blob${i}`);
      renameSync(join(dir, name), blob);
      if (i % 2 === 0) symlinkSync(blob, join(dir, name));
      else linkSync(blob, join(dir, name));
    }
    const report = await exportTo(dir);
    requirePlain(report);
    assert.equal([...new Set(Object.values(hows(report)))], ['copy']);
    // the links are as they were
    for (const name of names)
      assert.ok(lstatSync(join(dir, name)).isSymbolicLink() || statSync(join(dir, name)).nlink > 1);
  });
});

test('into another folder: copies, which a second export takes as they are', async () => {
  await withCopy(async (dir) => {
    const out = `${dir}.out`;
    const steps: string[] = [];
    const report = await exportTo(dir, { out, onProgress: ({ step }) => steps.push(step) });
    requirePlain(report);
    const copies = report.weights.map(({ location }) => statSync(join(out, location)).ino);
    const again = await exportTo(dir, { out });
    assert.equal(
      again.weights.map(({ location }) => statSync(join(out, location)).ino),
      copies,
    );
    const hard = await exportTo(dir, { out, link: 'hard' });
    assert.is(hard.opened, true);
    const symbolic = await exportTo(dir, { out, link: 'symbolic' });
    assert.is(symbolic.opened, false);
    requirePlain(await exportTo(dir, { out }));
  });
});

test('a file of others is never replaced, an abort leaves nothing half', async () => {
  await withCopy(async (dir) => {
    const out = `${dir}.out`;
    mkdirSync(out);
    const name = basename(fileNamed(dir, 'model-00001'));
    writeFileSync(join(out, name), 'another checkpoint');
    for (const options of [{ out }, { out, link: 'hard' }, { out, link: 'symbolic' }] as const) {
      const error = await errorOf(exportTo(dir, options));
      assert.is(error.code, 'OUTPUT_UNWRITABLE');
      assert.match(error.message, /found another file/);
      assert.is(readFileSync(join(out, name), 'utf8'), 'another checkpoint');
    }
    rmSync(out, { recursive: true });
    const controller = new AbortController();
    const stop = new Error('stop');
    const error: unknown = await exportTo(dir, {
      out,
      signal: controller.signal,
      onProgress: () => controller.abort(stop),
    }).then(
      () => null,
      (reason: unknown) => reason,
    );
    if (error !== null) {
      assert.is(error, stop);
      assert.not(readdirSync(out).some((file) => /partial|onnx$/.test(file)));
    }
  });
});

test('what does not open is refused with the files, before it is called done', async () => {
  await withCopy(async (dir) => {
    const { out, weights } = await exportTo(dir, { out: `${dir}.out` });
    const files = { instruction: join(out, 'instruction.onnx'), policy: join(out, 'policy.onnx') };
    await openExported(files);
    const [first] = weights;
    const weight = join(out, first!.location);
    cpSync(weight, `${dir}/elsewhere`);
    rmSync(weight);
    symlinkSync(`${dir}/elsewhere`, weight);
    const error = await errorOf(openExported(files));
    assert.is(error.code, 'RUNTIME_FAILED');
    assert.ok(error.message.includes(files.policy));
  });
});

test.run();
