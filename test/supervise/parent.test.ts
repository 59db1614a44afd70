/** The supervising process: what it loads, and a real policy supervised by it. */

import { readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { superviseEngine } from '../../lib/supervise/superviseEngine.ts';
import { goldenCheckpoint, goldenRoot } from '../helpers/golden.ts';

const test = suite('supervising process');
const lib = resolve(goldenRoot, '../../lib');

/** Files loaded with `file`: its static imports, except those of types only, and theirs. */
function loadedBy(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const source = readFileSync(file, 'utf8');
  for (const [, clause, target] of source.matchAll(/^(?:import|export)\s([^;]*?)\sfrom '(\.[^']+)';/gms)) {
    if (!clause!.startsWith('type ')) loadedBy(resolve(dirname(file), target!), seen);
  }
  return seen;
}

test('loads no model, no addon and no CUDA', () => {
  const files = [...loadedBy(join(lib, 'supervise/superviseEngine.ts'))].map((file) => relative(lib, file));
  assert.ok(files.includes('supervise/engineChild.ts'), 'the walk follows imports');
  const foreign = files.filter(
    (file) => !/^(supervise\/|support\/|errors\.ts$|options\.ts$|transforms\/imageFrame\.ts$)/.test(file),
  );
  assert.equal(foreign, []);
  for (const file of files.filter((name) => name !== 'supervise/engineProcess.ts')) {
    const packages = [...readFileSync(join(lib, file), 'utf8').matchAll(/from '([^.'][^']*)'/g)];
    for (const [, name] of packages) assert.match(name!, /^node:/, file);
  }
});

test('a checkpoint behind it gives the reference actions, and this process has mapped none of its libraries', async () => {
  const { samples } = JSON.parse(readFileSync(join(goldenRoot, 'libero-tiny/case.json'), 'utf8')) as {
    samples: { observation: string; instruction: string; unnorm_key: string; actions_fp32: number[][] }[];
  };
  const sample = samples[0]!;
  await using policy = await superviseEngine({
    engine: {
      checkpoint: goldenCheckpoint('libero-tiny'),
      options: { unnormKey: sample.unnorm_key, threads: 1 },
    },
    deadlineMs: 120_000,
    startMs: 200_000,
    silenceMs: 120_000,
  });
  const folder = join(goldenRoot, 'libero-tiny', sample.observation);
  const { observation } = await readObservation(folder);
  const { actions, shape, dimensions } = await policy.predict(observation, {
    instruction: sample.instruction,
  });
  assert.equal(shape, [8, 7]);
  assert.is(dimensions.length, 7);
  // as in test/policy/policy.test.ts: float32 sums in another order than the reference's
  for (const [i, value] of sample.actions_fp32.flat().entries()) {
    assert.ok(Math.abs(actions[i]! - value) <= 1e-4, `action ${i}: ${actions[i]} instead of ${value}`);
  }
  const { sharedObjects } = process.report.getReport() as unknown as { sharedObjects: string[] };
  assert.equal(
    sharedObjects.filter((path) => /semanticvla|onnxruntime|cuda|nvidia|nvinfer/i.test(basename(path))),
    [],
  );
});

test.run();
