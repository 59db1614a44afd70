/** Heads that run the language model more than once, through the whole TensorRT path: nothing leaves the device between two runs. */

import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { synthesizeCheckpoint } from '../../lib/synth/synthesize.ts';
import type { Policy, PolicyOptions } from '../../lib/types.ts';
import { goldenCheckpoint, goldenRoot, scratchFolder } from '../helpers/golden.ts';
import { maxAbsDifference } from '../helpers/goldenCase.ts';
import { readTensors } from '../helpers/readSafetensors.ts';
import { withDevice } from '../runtime/fakeTensorRt.ts';
import { longStandInTests, standIn, standInTest } from './standIn.ts';

const test = suite('heads on the device path');

const open = async (dir: string, options: PolicyOptions): Promise<Policy> =>
  loadPolicy(dir, {
    precision: 'float32',
    ...options,
    backend: 'tensorrt',
    tensorRt: await standIn(),
    onNotice: () => {},
  });

interface Sample {
  readonly observation: string;
  readonly instruction: string;
  readonly unnorm_key: string;
  readonly golden: string;
  readonly actions_fp32: readonly number[];
}
const casesOf = (name: string): readonly Sample[] =>
  (JSON.parse(readFileSync(join(goldenRoot, name, 'case.json'), 'utf8')) as { samples: readonly Sample[] })
    .samples;

/** What a session did, after it was closed. */
async function logged(body: () => Promise<void>): Promise<Record<string, number>> {
  const log = join(mkdtempSync(join(scratchFolder(), 'device-')), 'log');
  await withDevice(`log=${log}`, body);
  return JSON.parse(readFileSync(log, 'utf8')) as Record<string, number>;
}

const nothingLeft = { liveBytes: 0, livePinnedBytes: 0, liveHandles: 0, faults: 0 };
function expectNothingLeft({
  liveBytes,
  livePinnedBytes,
  liveHandles,
  faults,
}: Record<string, number>): void {
  assert.equal({ liveBytes, livePinnedBytes, liveHandles, faults }, nothingLeft);
}

longStandInTests(test, 'diffusion and autoregressive heads', () => {
  standInTest(
    test,
    'diffusion: all steps in one graph, the chain of the reference, and nothing stays',
    async () => {
      const name = 'oft-diffusion-tiny';
      const options: PolicyOptions = { platform: 'libero', diffusionTrainSteps: 10 };
      // the engine's check is another session: not this one's log
      await (await open(goldenCheckpoint(name), options)).close();
      const samples = casesOf(name).slice(0, 2);
      const log = await logged(async () => {
        await using policy = await open(goldenCheckpoint(name), options);
        for (let round = 0; round < 2; round++) {
          for (const sample of samples) {
            const golden = readTensors(join(goldenRoot, name, sample.golden));
            const { observation } = await readObservation(join(goldenRoot, name, sample.observation));
            const { instruction, unnorm_key: unnormKey } = sample;
            const chunk = await policy.predict(observation, {
              instruction,
              unnormKey,
              noise: golden.get('noise')!,
            });
            const wanted = golden.get('t10.x')!.slice(-chunk.normalized.length);
            const difference = maxAbsDifference(chunk.normalized, wanted);
            // diffusion.test.ts
            assert.ok(
              difference <= 2e-4,
              `${sample.golden}, round ${round}: actions differ by ${difference}`,
            );
          }
        }
      });
      expectNothingLeft(log);
      // a graph for each size of frames and length of prompt, whatever the number of steps
      assert.equal([log.captures, log.launches], [2, 2]);
    },
  );

  standInTest(test, "SemanticVLA's diffusion: the kept prefix on the device is the CPU's", async () => {
    const dir = join(scratchFolder(), 'diffusion-device');
    const sizes = { dinov2Depth: 2, siglipDepth: 2, dinov2Width: 32, siglipWidth: 48, dinov2Heads: 2 };
    const text = { siglipHeads: 2, textWidth: 24, textHeads: 2, textLayers: 1, textMlp: 40, textVocab: 512 };
    const language = { llamaWidth: 32, llamaHeads: 4, llamaKvHeads: 4, llamaLayers: 2, llamaMlp: 48 };
    await synthesizeCheckpoint('diffusion', dir, {
      overrides: { ...sizes, ...text, ...language, loraRank: 2, exchangePairs: [[1, 1]] },
    });
    const { observation } = await readObservation(join(goldenRoot, 'libero-tiny', 'obs0'));
    const options: PolicyOptions = { diffusionSteps: 4, seed: 2 };
    await using device = await open(dir, options);
    await using cpu = await loadPolicy(dir, options);
    for (const instruction of ['pick up the bowl', 'open the drawer']) {
      const [found, wanted] = await Promise.all(
        [device, cpu].map((policy) => policy.predict(observation, { instruction })),
      );
      const difference = maxAbsDifference(found!.normalized, wanted!.normalized);
      assert.ok(difference <= 2e-4, `actions differ by ${difference}`);
    }
  });

  standInTest(
    test,
    'autoregressive: every token in one graph, exactly the reference, and nothing stays',
    async () => {
      const name = 'openvla-ar-tiny';
      const options: PolicyOptions = { head: 'autoregressive', centerCrop: true, unnormKey: 'bridge_orig' };
      await (await open(goldenCheckpoint(name), options)).close();
      const samples = casesOf(name).filter(({ golden }) => golden.endsWith('_crop.safetensors'));
      assert.is(samples.length, 4);
      const log = await logged(async () => {
        await using policy = await open(goldenCheckpoint(name), options);
        for (const sample of [...samples, ...samples]) {
          const { observation } = await readObservation(join(goldenRoot, name, sample.observation));
          const { actions, timings } = await policy.predict(observation, { instruction: sample.instruction });
          assert.ok(maxAbsDifference(actions, sample.actions_fp32) <= 1e-12, sample.golden);
          // a frame that is not of the policy's size is cropped at its own: on the CPU
          assert.is('preprocessOnDevice' in timings, sample.observation === 'obs0');
        }
      });
      expectNothingLeft(log);
      // some are captured again, when a longer prompt has made the scratch memory grow
      assert.is(log.captures! + log.launches!, 8);
    },
  );
});

test.run();
