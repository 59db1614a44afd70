/** `npm run gpu` where there is no GPU, and the limit that it compares with. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { presetArchitecture } from '../../lib/engine/presetArchitecture.ts';
import { limitMs, policyWork } from '../../scripts/gpu/limit.ts';
import { percentile } from '../../scripts/gpu/measure.ts';
import { capabilityOf, tensorRtFor } from '../../scripts/gpu/tensorRtFor.ts';
import { testWhen } from '../helpers/skip.ts';

const test = suite('gpu script');
const root = join(import.meta.dirname, '../..');
const hasGpu = readdirSync('/dev').some((name) => /^nvidia\d+$|^nvhost-gpu$|^nvgpu$/.test(name));

const run = (...args: readonly string[]) =>
  spawnSync(process.execPath, ['--import', 'tsx', 'scripts/gpu.ts', ...args], {
    cwd: root,
    encoding: 'utf8',
  });

testWhen(!hasGpu, 'this machine has a GPU', test, 'without a GPU: one line and its own code', () => {
  const { status, stdout, stderr } = run();
  assert.is(status, 20);
  assert.is(stdout, '');
  assert.is(stderr.trim().split('\n').length, 1);
  assert.match(stderr, /needs an NVIDIA GPU/);
});

testWhen(
  !hasGpu,
  'this machine has a GPU',
  test,
  'a rehearsal: every step fails, is named, and the report ends',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'semanticvla-gpu-test-'));
    try {
      const file = join(folder, 'reports/gpu.md');
      const { status, stdout } = run('--rehearse', '--skip', 'fetch,build,kernels,torch', '--report', file);
      const report = readFileSync(file, 'utf8');
      assert.is(stdout, `${report}report: ${file}\n`);
      assert.match(report, /^- build: skipped by option$/m);
      const hasTensorRt = /^TensorRT\S* [\d.]+: device: FAILED: /m.test(report);
      assert.is(status, hasTensorRt ? 1 : 23);
      const steps = hasTensorRt
        ? ['device', 'first latency', 'goldens', 'latency', 'bound against baked']
        : [''];
      // for a card that does not answer, nothing is fetched
      if (!hasTensorRt)
        assert.match(
          report,
          /^- TensorRT: the card does not tell its compute capability .*nothing is fetched/m,
        );
      const last = report.trim().split('\n').at(-1)!;
      assert.match(last, /^FAILED: .*\.$/);
      for (const step of steps) assert.ok(last.includes(step), `${step} in: ${last}`);
      if (hasTensorRt) assert.match(report, /goldens: FAILED: .*(libcuda\.so\.1|compiled without nvcc)/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test('bad options are refused', () => {
  assert.is(run('--skip', 'nothing').status, 2);
  assert.is(run('--runz').status, 2);
  assert.is(run('--limit', 'soon').status, 2);
  assert.is(run('--golden', 'none').status, 2);
});

test('which TensorRT a card gets, told before it is fetched', () => {
  assert.is(capabilityOf('9.0\n', null), 90);
  assert.is(capabilityOf('8.9\n12.0\n', null), 89);
  assert.is(capabilityOf(null, 'NVIDIA Jetson AGX Orin Developer Kit\0'), 87);
  assert.is(capabilityOf('[N/A]', 'NVIDIA Jetson AGX Thor Developer Kit\0'), 110);
  assert.is(capabilityOf(null, null), null);
  for (const capability of [75, 80, 86, 89, 120, 121])
    assert.equal(tensorRtFor(capability), { script: 'scripts/fetchTensorRtRtx.sh' });
  const sentence = (capability: number | null): string => {
    const get = tensorRtFor(capability);
    assert.not.ok('script' in get);
    return 'sentence' in get ? get.sentence : '';
  };
  assert.match(sentence(90), /^sm_90 is none of TensorRT-RTX's .*get TensorRT 10\.3 or newer/);
  assert.match(sentence(100), /^sm_100 is none/);
  for (const board of [87, 110]) assert.match(sentence(board), /nvidia-jetpack$/);
  assert.match(sentence(null), /nothing is fetched/);
});

testWhen(!hasGpu, 'this machine has a GPU', test, 'a step that takes too long is ended and named', () => {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-gpu-test-'));
  try {
    const file = join(folder, 'gpu.md');
    // what the build asks first, and gets no answer from
    writeFileSync(join(folder, 'cmake'), '#!/bin/sh\nsleep 600\n', { mode: 0o755 });
    const skip = 'fetch,kernels,first,goldens,latency,baked,torch';
    const args = ['--rehearse', '--limit', '1', '--skip', skip, '--report', file];
    const { status } = spawnSync(process.execPath, ['--import', 'tsx', 'scripts/gpu.ts', ...args], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, PATH: `${folder}:${process.env.PATH}` },
    });
    assert.ok(status === 1 || status === 23, `${status}`);
    assert.match(readFileSync(file, 'utf8'), /^- build: FAILED with no end within its 1 s in /m);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the limit of the full-size policy on two cards', () => {
  const sizes = { images: 2, chunk: 8, actionDim: 7, proprio: true };
  // LIBERO's L of about 130
  const work = policyWork(presetArchitecture('libero').config, sizes, 30);
  assert.ok(Math.abs(work.llm.flop / 1.69e12 - 1) < 0.02, `${work.llm.flop}`);
  assert.ok(Math.abs(work.llm.bytes / 12.95e9 - 1) < 0.01, `${work.llm.bytes}`);
  // 0.77e12 of towers, and the exchanges' 0.044e12 and the projector's 0.009e12
  assert.ok(Math.abs(work.vision.flop / 0.823e12 - 1) < 0.02, `${work.vision.flop}`);
  assert.ok(Math.abs(work.vision.bytes / 1.63e9 - 1) < 0.05, `${work.vision.bytes}`);
  assert.ok(Math.abs(limitMs('NVIDIA H200', work)! - 3.5) < 0.12, `${limitMs('NVIDIA H200', work)}`);
  // the table leaves the exchanges out, which cost 0.17 ms where arithmetic is the limit
  assert.ok(Math.abs(limitMs('NVIDIA A100-SXM4-80GB', work)! - 8.97) < 0.1);
  assert.is(limitMs('Some other card', work), null);
});

test('percentiles', () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.is(percentile(values, 0.5), 50);
  assert.is(percentile(values, 0.99), 99);
  assert.is(percentile([7], 0.9), 7);
});

test.run();
