import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as api from '../../lib/index.ts';
import { drawPrediction } from '../../lib/index.ts';
import { readRoomImports } from '../../scripts/map/roomImports.ts';
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

/** Declarations of a name in a file, each with the comment before it; [] for one that is re-exported. */
function declarations(
  name: string,
  file: string,
): { readonly comment: string; readonly isFunction: boolean }[] {
  const source = readFileSync(join(root, file), 'utf8');
  const found = source.matchAll(
    new RegExp(
      `((?:^/\\*\\*(?:(?!\\*/)[\\s\\S])*\\*/\\n)?)^export (async function|function|class|interface|type|const) ${name}\\b`,
      'gm',
    ),
  );
  return [...found].map(([, comment, kind]) => ({
    comment: comment!,
    isFunction: kind!.endsWith('function'),
  }));
}

test('everything that is exported says in a sentence what it is; functions also what they throw', () => {
  let functions = 0;
  for (const [name, file] of exportsOf('lib/index.ts')) {
    const declared = declarations(name, file);
    // scripts/docs.sh, with the compiler, looks at those that are re-exported, at types, and at methods
    if (declared.length === 0) continue;
    const words = declared[0]!.comment.replace(/^\s*\/?\*+\/?/gm, '').split('@')[0]!;
    assert.match(words, /\w{2}/, `${name} of ${file}`);
    if (!declared.some(({ isFunction }) => isFunction)) continue;
    functions++;
    assert.ok(
      declared.some(({ comment }) => /@throws \S/.test(comment)),
      `${name} of ${file}: "@throws CODE when ...", "@throws (rejects) CODE ..." or "@throws never"`,
    );
  }
  assert.ok(functions > 50, `${functions}`);
});

test('rooms: each subpath of package.json has one, the root has all of them, importing four of them loads nothing native', () => {
  const { exports: paths } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    exports: Record<string, { types: string; default: string }>;
  };
  const rooms = ['serve', 'client', 'schedule', 'profile', 'ros2'];
  assert.equal(Object.keys(paths), ['.', ...rooms.map((room) => `./${room}`)]);
  const all = new Set(exportsOf('lib/index.ts').map(([name]) => name));
  for (const room of rooms) {
    assert.equal(paths[`./${room}`], {
      types: `./dist/${room}/index.d.ts`,
      default: `./dist/${room}/index.js`,
    });
    const own = exportsOf(`lib/${room}/index.ts`);
    assert.ok(own.length > 3, room);
    for (const [name, file] of own) {
      assert.ok(all.has(name), `${room}: ${name} is not in the root`);
      assert.ok(file.startsWith(`lib/${room}/`), `${room}: ${file} is of another room`);
    }
  }
  const imports = readRoomImports(join(root, 'lib'));
  for (const room of ['serve', 'client', 'schedule', 'ros2']) {
    const reached = new Set<string>();
    const visit = (file: string): void => {
      if (reached.has(file)) return;
      reached.add(file);
      for (const one of imports) if (one.file === file && !one.isTypes && !one.isLate) visit(one.target);
    };
    visit(`${room}/index.ts`);
    assert.ok(reached.size > 5, room);
    assert.not.ok(reached.has('addon/binding.ts'), `${room} loads the addon`);
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
