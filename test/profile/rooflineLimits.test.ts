/** Limits: the design's table from the design's own work, the rule of each row, what fits, and the command. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { presetArchitecture, presetSizes } from '../../lib/engine/presetArchitecture.ts';
import { devices, findDevice, recogniseDevice } from '../../lib/profile/roofline/devices.ts';
import { estimateRoofline } from '../../lib/profile/roofline/estimateRoofline.ts';
import { type PolicyWork, policyWork } from '../../lib/profile/roofline/policyWork.ts';
import {
  precisionsOf,
  type RooflinePrecision,
  rooflineOf,
  rooflinePrecisionNames,
} from '../../lib/profile/roofline/roofline.ts';
import { cli } from '../helpers/cli.ts';

const limits = suite('profile/roofline limits');

const libero = (): PolicyWork =>
  policyWork(presetArchitecture('libero'), { ...presetSizes('libero'), promptTokens: 30 });

/** Two phases: the LLM, and the ViTs with the projector. */
const designWork = (): PolicyWork => {
  const phase = (stage: 'vision' | 'llm', flops: number, bytes: number) => ({
    stage,
    flops,
    weightElements: bytes / 2,
    storedBytes: bytes,
    activationElements: 0,
  });
  return { ...libero(), stages: [phase('vision', 0.774e12, 1.63e9), phase('llm', 1.693e12, 12.95e9)] };
};

limits("the limit column of the design's table, from the design's work and our device table", () => {
  const column: readonly (readonly [string, RooflinePrecision, string])[] = [
    ['h200', 'bfloat16', '3.5'],
    ['h200', 'fp8', '1.74'],
    ['a100', 'bfloat16', '8.8'],
    ['a100', 'int8', '4.4'],
    ['rtx-4090', 'bfloat16', '17.5'],
    ['rtx-4090', 'fp8', '8.8'],
    ['rtx-5090', 'bfloat16', '11.8'],
    ['rtx-5090', 'fp8', '5.9'],
    ['rtx-5090', 'nvfp4', '3.9'],
    ['thor', 'bfloat16', '53'],
    ['thor', 'fp8', '26.7'],
    ['thor', 'nvfp4', '16.3'],
    ['orin-agx-64', 'float16', '81'],
    ['orin-agx-64', 'int8-llm', '50'],
    ['orin-nx-16', 'int8-llm', '103'],
  ];
  const work = designWork();
  for (const [device, precision, printed] of column) {
    const { limitMs } = rooflineOf(work, findDevice(device), { precision });
    const digits = printed.split('.')[1]?.length ?? 0;
    // one unit of the last printed digit: the design rounds peaks and work before it divides
    const tolerance = 1.01 * 10 ** -digits;
    assert.ok(
      Math.abs(limitMs - Number(printed)) <= tolerance,
      `${device} ${precision}: ${limitMs.toFixed(3)} for ${printed}`,
    );
  }
});

limits('each row is the larger of its two times; the chunk is their sum without the instruction', () => {
  const work = libero();
  for (const device of devices) {
    for (const precision of precisionsOf(device)) {
      const { rows, limitMs, bandwidthGBs } = rooflineOf(work, device, { precision });
      let sum = 0;
      for (const { stage, flops, weightBytes, limitMs: row, boundBy, peakTflops } of rows) {
        if (stage === 'policy') continue;
        const compute = flops / (peakTflops! * 1e9);
        const memory = weightBytes / (bandwidthGBs * 1e6);
        assert.is(row, Math.max(compute, memory));
        assert.is(boundBy, compute > memory ? 'compute' : 'memory');
        if (stage !== 'instruction') sum += row;
      }
      assert.ok(Math.abs(limitMs - sum) < 1e-9 * sum);
      const whole = rows.at(-1)!;
      assert.is(whole.stage, 'policy');
      assert.is(whole.limitMs, limitMs);
    }
  }
});

limits('what was measured gives fractions, and nothing else does', () => {
  const options = { precision: 'bfloat16', measured: { llm: 20, policy: 40 } } as const;
  const { rows, limitMs } = rooflineOf(libero(), findDevice('rtx-4090'), options);
  const llm = rows.find(({ stage }) => stage === 'llm')!;
  assert.is(llm.measuredMs, 20);
  assert.is(llm.fraction, llm.limitMs / 20);
  assert.is(rows.at(-1)!.fraction, limitMs / 40);
  assert.is(rows.find(({ stage }) => stage === 'vision')!.fraction, null);
});

limits('mapped weights are read as the checkpoint holds them', () => {
  const device = { ...findDevice('h200'), peaks: { fp32: 1e6 } };
  const [folded, mapped] = [false, true].map(
    (storedWeights) => rooflineOf(libero(), device, { precision: 'float32', storedWeights }).limitMs,
  ) as [number, number];
  // bfloat16 on disk: half the bytes of float32; the pruner has no weights and takes its 8e-8 ms in both
  assert.ok(Math.abs(folded / mapped - 2) < 1e-6);
});

limits('memory: 16 bits are too much for an Orin NX, INT8 fits, 8 GB are too few even for INT4', () => {
  const work = libero();
  const fits = (device: string, precision: RooflinePrecision): boolean =>
    rooflineOf(work, findDevice(device), { precision }).memory!.fits;
  assert.is(fits('orin-nx-16', 'float16'), false);
  assert.is(fits('orin-nx-16', 'int8-llm'), true);
  assert.is(fits('orin-nano-8', 'int4-llm'), false);
  assert.is(fits('orin-agx-64', 'float16'), true);
  const { memory } = rooflineOf(work, findDevice('h200'), { precision: 'bfloat16' });
  assert.is(memory!.neededBytes, 2 * work.residentElements);
});

limits('a device is refused a precision that it does not compute in', async () => {
  const orin = findDevice('orin-agx-64');
  assert.equal(precisionsOf(orin), ['float32', 'bfloat16', 'float16', 'int8', 'int8-llm', 'int4-llm']);
  assert.throws(() => rooflineOf(libero(), orin, { precision: 'fp8' }), /fp8 on orin-agx-64: .*int8-llm/);
  assert.throws(() => findDevice('abacus'), /expected one of h200.*thor/);
  assert.throws(() => findDevice('Orin AGX 64'), /orin-agx-64 was probably meant/);
  await estimateRoofline({ preset: 'libero', devices: ['orin-agx-64'], precision: 'fp8' }).then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, /fp8 on orin-agx-64/),
  );
});

limits('the table: sources for all, names unique, INT8 and FP8 twice the 16-bit rate', () => {
  assert.is(new Set(devices.map(({ name }) => name)).size, devices.length);
  for (const { name, peaks, source, bandwidthGBs, memoryBytes } of devices) {
    assert.ok(source.length > 40, name);
    assert.ok(bandwidthGBs > 50 && memoryBytes >= 8e9, name);
    assert.is(peaks.bf16, peaks.fp16, name);
    assert.ok(peaks.bf16! > peaks.fp32!, name);
    for (const kind of ['int8', 'fp8', 'fp4'] as const) {
      assert.ok((peaks[kind] ?? Number.POSITIVE_INFINITY) > 1.9 * peaks.bf16!, `${name} ${kind}`);
    }
  }
});

limits('products as drivers and boards name them', () => {
  const cases: readonly (readonly [string, number | null, string | null])[] = [
    ['NVIDIA H200', null, 'h200'],
    ['NVIDIA H100 80GB HBM3', null, 'h100'],
    ['NVIDIA A100-SXM4-80GB', null, 'a100'],
    ['NVIDIA A100-SXM4-40GB', null, null],
    ['NVIDIA GeForce RTX 4090', null, 'rtx-4090'],
    ['NVIDIA GeForce RTX 4090 D', null, null],
    ['NVIDIA GeForce RTX 4090 Laptop GPU', null, null],
    ['NVIDIA L40S', null, 'l40s'],
    ['NVIDIA L4', null, 'l4'],
    ['NVIDIA L40', null, null],
    ['NVIDIA Jetson AGX Thor Developer Kit', null, 'thor'],
    ['NVIDIA Jetson AGX Orin Developer Kit', 65.9e9, 'orin-agx-64'],
    ['NVIDIA Jetson AGX Orin Developer Kit', 32.2e9, 'orin-agx-32'],
    ['NVIDIA Jetson Orin NX Engineering Reference Developer Kit', 16.4e9, 'orin-nx-16'],
    ['NVIDIA Jetson Orin Nano Developer Kit', 7.9e9, 'orin-nano-8'],
    ['NVIDIA Jetson AGX Orin Developer Kit', null, null],
    ['NVIDIA GeForce GTX 1080', 8e9, null],
  ];
  for (const [product, memory, name] of cases) {
    assert.is(recogniseDevice(product, memory)?.name ?? null, name, product);
  }
});

limits('the command: a table, the sources, JSON with the same figures', () => {
  const args = ['roofline', '--preset', 'libero', '--hardware', 'orin-agx-64,thor'];
  const { code, stdout } = cli(...args);
  assert.is(code, 0);
  assert.match(stdout, /^orin-agx-64 +float16 +8\d\.\d .* 64\.0 GB +yes$/m);
  assert.match(stdout, /^thor +nvfp4 .* no +\d.* yes$/m);
  assert.match(stdout, /^orin-agx-64 +bfloat16 .* M +yes +16\.8 GB/m);
  assert.match(stdout, /^runs here: .*float32, bfloat16, float16, .*int8-llm \(--precision int8\)/m);
  assert.not.match(stdout, /none both runs here and fits/);
  assert.match(
    cli('roofline', '--preset', 'libero', '--hardware', 'orin-nx-8,thor').stdout,
    /none both runs here and fits: orin-nx-8\.$/m,
  );
  assert.match(stdout, /technical brief/);
  const json = cli(...args, '--precision', 'bfloat16', '--prompt-length', '60', '--json');
  const { work, rooflines } = JSON.parse(json.stdout);
  assert.is(work.promptTokens, 60);
  assert.equal(
    rooflines.map(({ deviceName, precisionName }: { deviceName: string; precisionName: string }) => [
      deviceName,
      precisionName,
    ]),
    [
      ['orin-agx-64', 'bfloat16'],
      ['thor', 'bfloat16'],
    ],
  );
  assert.match(cli('roofline').stderr, /^OPTION_REQUIRED: /);
  assert.match(cli('roofline', '--preset', 'libero', '--hardware', 'thro').stderr, /thor was probably meant/);
  const { stdout: help } = cli('roofline', '--help');
  for (const name of rooflinePrecisionNames) assert.ok(help.includes(name), name);
});

limits.run();
