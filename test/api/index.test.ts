import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as api from '../../lib/index.ts';
import { drawPrediction } from '../../lib/index.ts';
import { root } from '../helpers/cli.ts';
import { instructions, liberoObservation, openLibero } from './libero.ts';

const test = suite('the public API');

/** What each command of lib/cli does, as functions. */
const functions: Readonly<Record<string, readonly (keyof typeof api)[]>> = {
  doctor: ['diagnose'],
  inspect: ['inspectCheckpoint', 'openCheckpoint'],
  synth: ['synthesizeCheckpoint'],
  export: ['exportPolicy', 'policySizes', 'resolvePlatform'],
  predict: ['loadPolicy', 'readObservation'],
  stages: ['writeStages'],
  compare: ['compareStages', 'readStages'],
  view: ['drawPrediction', 'renderKeptPatches', 'patchScores'],
};

test('each command is there as functions', () => {
  const exported: Readonly<Record<string, unknown>> = { ...api };
  for (const [command, names] of Object.entries(functions)) {
    assert.ok(readdirSync(join(root, 'lib/cli')).includes(`${command}.ts`), command);
    for (const name of names) assert.type(exported[name], 'function', name);
  }
});

test('a picture from the policy, the observation and the chunk alone', async () => {
  await using policy = await openLibero();
  assert.is(policy.imageSize, 224);
  assert.is(policy.patchGrid, 16);
  assert.is(policy.variant, 'SemanticVLA');
  const observation = await liberoObservation();
  const chunk = await policy.predict(observation, { instruction: instructions[0] });
  const picture = await drawPrediction({ policy, observation, chunk, threads: 1 });
  assert.is(picture.subarray(0, 8).toString('hex'), '89504e470d0a1a0a');
  assert.ok(picture.length > 10_000);
});

test.run();
