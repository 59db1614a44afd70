/** The whole TensorRT path, from frames to actions, without a GPU: `loadPolicy` on the stand-in beside the goldens. */

import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { maxAbsDifference } from '../helpers/goldenCase.ts';
import { withDevice } from '../runtime/fakeTensorRt.ts';
import { libero } from './cases.ts';
import { keptOf, largestDifference, openOnStandIn, predictSample } from './compare.ts';
import { standInTest } from './standIn.ts';

const test = suite('the device path computes');

/** Two observations, each with two sentences of different length. */
const known = libero();
const logFile = (): string => join(mkdtempSync(join(scratchFolder(), 'device-')), 'log');

standInTest(
  test,
  'libero-tiny in float32: every sample, uncaptured and from its graph; nothing stays',
  async () => {
    // the engine's check is another session: not this one's log
    await (await openOnStandIn(known)).close();
    const log = logFile();
    await withDevice(`log=${log}`, async () => {
      await using policy = await openOnStandIn(known);
      for (let round = 0; round < 2; round++) {
        const difference = await largestDifference(policy, known.samples);
        assert.ok(
          difference <= known.tolerance,
          `round ${round}: normalized actions differ by ${difference}`,
        );
      }
    });
    const { liveBytes, livePinnedBytes, liveHandles, faults, captures, launches } = JSON.parse(
      readFileSync(log, 'utf8'),
    );
    assert.equal(
      { liveBytes, livePinnedBytes, liveHandles, faults },
      { liveBytes: 0, livePinnedBytes: 0, liveHandles: 0, faults: 0 },
    );
    // two sizes of frames with two lengths of prompt
    assert.is(captures, 4);
    assert.is(launches, 4);
  },
);

standInTest(test, 'CUDA graphs on and off: the same bits', async () => {
  await using captured = await openOnStandIn(known);
  await using plain = await openOnStandIn(known, { graphs: false });
  const sample = known.samples[0]!;
  const wanted = await predictSample(plain, sample);
  for (let call = 0; call < 2; call++) {
    const found = await predictSample(captured, sample);
    assert.equal(found.normalized, wanted.normalized);
    assert.equal(found.similarity, wanted.similarity);
  }
});

standInTest(test, 'one length and one sentence are kept: each call evicts the one before', async () => {
  await using policy = await openOnStandIn(known, { keptLengths: 1, instructionCache: 1 });
  const order = [0, 1, 0, 3, 2, 1].map((index) => known.samples[index]!);
  const difference = await largestDifference(policy, order);
  assert.ok(difference <= known.tolerance, `normalized actions differ by ${difference}`);
});

standInTest(test, 'concurrent callers get their own actions', async () => {
  await using policy = await openOnStandIn(known);
  const samples = [...known.samples, ...known.samples];
  const chunks = await Promise.all(samples.map((sample) => predictSample(policy, sample)));
  for (const [i, sample] of samples.entries()) {
    assert.equal(keptOf(chunks[i]!), sample.kept, sample.label);
    assert.ok(maxAbsDifference(chunks[i]!.normalized, sample.actions) <= known.tolerance, sample.label);
  }
});

standInTest(test, 'a device that breaks: the call that meets it fails, and nothing stays', async () => {
  const sample = known.samples[0]!;
  const log = logFile();
  await withDevice(`log=${log}`, async () => {
    await using policy = await openOnStandIn(known);
    await predictSample(policy, sample);
  });
  const { calls } = JSON.parse(readFileSync(log, 'utf8')) as { calls: number };
  const broken = logFile();
  const code = await withDevice(`failAt=${calls + 10} log=${broken}`, async () => {
    await using policy = await openOnStandIn(known);
    try {
      for (let call = 0; call < 10; call++) await predictSample(policy, sample);
    } catch (error) {
      if (error instanceof SemanticVlaError) return error.code;
      throw error;
    }
    return 'none';
  });
  assert.is(code, 'DEVICE_FAILED');
  const { liveBytes, livePinnedBytes, liveHandles } = JSON.parse(readFileSync(broken, 'utf8'));
  assert.equal(
    { liveBytes, livePinnedBytes, liveHandles },
    { liveBytes: 0, livePinnedBytes: 0, liveHandles: 0 },
  );
});

test.run();
