/**
 * Imports flow one way: every room of lib/ lists the rooms it may use, and no list leads back. Imports of types alone are
 * free where they name an interface that a lower room asks for.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const test = suite('rooms');
const lib = fileURLToPath(new URL('../lib', import.meta.url));

/** Files of lib/ itself that stand below every room, by what they are. */
const ground = ['errors.ts', 'options.ts', 'binding.ts', 'sharp.ts', 'types.ts', 'support'];
/** Files of lib/ itself that put the policy together. */
const policy = [
  'policy.ts',
  'policyInput.ts',
  'policyParts.ts',
  'policyStages.ts',
  'instructionCache.ts',
  'runtimeOptions.ts',
];
const facts = ['platform.ts', 'tokenCounts.ts'];

/** What a room may use besides the ground. */
const uses: Readonly<Record<string, readonly string[]>> = {
  support: [],
  plots: [],
  checkpoint: [],
  stages: ['checkpoint'],
  synth: ['checkpoint'],
  graph: ['checkpoint', ...facts],
  transforms: ['checkpoint', ...facts],
  inspect: ['checkpoint', ...facts],
  // the check of an engine holds the device's preprocessing to transforms' bits
  engine: ['checkpoint', 'graph', 'synth', 'transforms', ...facts],
  runtime: ['checkpoint', 'graph', 'engine', 'synth', 'policyParts.ts'],
  // what it writes is opened by the runtime
  export: ['checkpoint', 'graph', 'runtime'],
  view: ['transforms'],
  observation: ['checkpoint', 'transforms'],
  schedule: ['plots'],
  serve: ['transforms'],
  client: ['serve', 'transforms', 'platform.ts'],
  supervise: ['transforms', 'platform.ts', 'policy.ts'],
  ros2: ['observation', 'schedule', 'transforms'],
  profile: [
    'checkpoint',
    'graph',
    'engine',
    'runtime',
    'transforms',
    'synth',
    'schedule',
    'plots',
    ...facts,
    ...policy,
  ],
  doctor: ['engine', 'profile'],
};

interface Import {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

function roomOf(path: string): string {
  return relative(lib, path).split(sep)[0]!;
}

function importsOfRooms(): Import[] {
  const found: Import[] = [];
  for (const file of readdirSync(lib, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const path = join(lib, file);
    const source = readFileSync(path, 'utf8');
    // an import of types is gone when the program runs; so is one whose names are all marked
    for (const [, names, target] of source.matchAll(/^(?:import|export) ([^;]*?) from '(\.[^']+)';/gms)) {
      const isTypes = /^type /.test(names!) || /^\{\s*(?:type [^,}]+,?\s*)+\}$/.test(names!);
      if (!isTypes) found.push({ file, from: roomOf(path), to: roomOf(resolve(dirname(path), target!)) });
    }
    for (const [, target] of source.matchAll(/import\('(\.[^']+)'\)/g))
      found.push({ file, from: roomOf(path), to: roomOf(resolve(dirname(path), target!)) });
  }
  return found;
}

test('every import goes to a room that is listed', () => {
  const imports = importsOfRooms().filter(({ from }) => from in uses);
  assert.ok(imports.length > 600, `${imports.length} imports were found`);
  const wrong = imports.filter(
    ({ from, to }) => from !== to && !ground.includes(to) && !uses[from]!.includes(to),
  );
  assert.equal(wrong, []);
});

test('every room is listed', () => {
  const rooms = readdirSync(lib, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  // the command line is the roof: it may use all, and nothing uses it
  assert.equal(
    rooms.filter((room) => !(room in uses)),
    ['cli'],
  );
  assert.equal(
    importsOfRooms().filter(({ from, to }) => to === 'cli' && from !== 'cli'),
    [],
  );
});

test('no list leads back', () => {
  const done = new Set<string>();
  const visit = (room: string, way: readonly string[]): void => {
    assert.not.ok(way.includes(room), [...way, room].join(' -> '));
    if (done.has(room)) return;
    for (const next of uses[room] ?? []) visit(next, [...way, room]);
    done.add(room);
  };
  for (const room of Object.keys(uses)) visit(room, []);
});

test.run();
