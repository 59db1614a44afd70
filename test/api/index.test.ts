import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
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

test('everything that is exported says in a sentence what it is', () => {
  for (const [name, file] of exportsOf('lib/index.ts')) {
    const source = readFileSync(join(root, file), 'utf8');
    const declared = new RegExp(
      `((?:^/\\*\\*(?:(?!\\*/)[^])*\\*/\\n)?)^export (?:async )?(?:function|class|interface|type|const) ${name}\\b`,
      'm',
    ).exec(source);
    // a re-exported type is described where it is declared
    if (declared === null) continue;
    const words = declared[1]!.replace(/^\s*\/?\*+\/?/gm, '').split('@')[0]!;
    assert.match(words, /\w{2}/, `${name} of ${file}`);
  }
});

/** Names that a file re-exports, and the files they come from. */
function exportsOf(file: string): (readonly [name: string, file: string])[] {
  const source = readFileSync(join(root, file), 'utf8');
  const lists = [...source.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)';/gm)];
  const wholes = [...source.matchAll(/^export \* from '([^']+)';/gm)];
  return [
    ...lists.flatMap(([, names, from]) =>
      names!
        .split(',')
        .map((name) => name.replace('type ', '').split(' as ')[0]!.trim())
        .filter((name) => name !== '')
        .map((name) => [name, join(dirname(file), from!)] as const),
    ),
    ...wholes.flatMap(([, from]) => exportsOf(join(dirname(file), from!))),
  ];
}

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
