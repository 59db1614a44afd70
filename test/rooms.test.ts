/**
 * Imports flow one way: every room of lib/ lists the rooms it may use, and no list leads back; no file imports itself by a
 * detour, by types neither; nothing lies loose in lib/. ARCHITECTURE.md's picture shows what is so.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { drawRooms } from '../scripts/map/drawRooms.ts';
import { readRoomImports } from '../scripts/map/roomImports.ts';

const test = suite('rooms');
const lib = fileURLToPath(new URL('../lib', import.meta.url));

/** What any room may use. */
const ground = ['support', 'types.ts'];

/** What a room may use besides the ground, in order of floors. */
const uses: Readonly<Record<string, readonly string[]>> = {
  support: [],
  addon: [],
  plots: [],
  machine: [],
  hub: [],
  checkpoint: ['addon', 'hub'],
  stages: ['checkpoint'],
  synth: ['checkpoint'],
  graph: ['checkpoint'],
  transforms: ['addon', 'checkpoint', 'graph'],
  runtime: ['addon', 'checkpoint', 'graph'],
  // the check of an engine holds the device's preprocessing to transforms' bits
  engine: ['addon', 'checkpoint', 'graph', 'runtime', 'synth', 'transforms'],
  export: ['graph', 'runtime'],
  view: ['transforms'],
  example: ['checkpoint'],
  observation: ['checkpoint', 'transforms'],
  dataset: ['checkpoint', 'observation', 'transforms'],
  evaluate: ['dataset', 'plots', 'view'],
  schedule: [],
  serve: ['addon', 'observation', 'plots', 'transforms', 'view'],
  client: ['plots', 'serve', 'transforms', 'profile', 'synth'],
  policy: ['checkpoint', 'engine', 'graph', 'runtime', 'transforms'],
  inspect: ['checkpoint', 'graph', 'policy', 'transforms'],
  supervise: ['policy', 'transforms'],
  ros2: ['observation', 'schedule', 'transforms'],
  profile: [
    'addon',
    'checkpoint',
    'engine',
    'graph',
    'machine',
    'plots',
    'policy',
    'runtime',
    'schedule',
    'synth',
    'transforms',
  ],
  doctor: ['addon', 'engine', 'machine'],
};

const imports = readRoomImports(lib);

test('every import goes to a room that is listed', () => {
  const listed = imports.filter(({ from }) => from in uses);
  assert.ok(listed.length > 600, `${listed.length} imports were found`);
  const wrong = listed.filter(
    ({ from, to, isTypes }) =>
      // an import of types alone may name an interface that a lower room asks for: circles are tested below
      !isTypes && from !== to && !ground.includes(to) && !uses[from]!.includes(to),
  );
  assert.equal(wrong, []);
});

test('every room is listed, and the command line is the roof', () => {
  const entries = readdirSync(lib, { withFileTypes: true });
  const rooms = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  assert.equal(
    rooms.filter((room) => !(room in uses)),
    ['cli'],
  );
  assert.equal(
    Object.keys(uses).filter((room) => !rooms.includes(room)),
    [],
  );
  assert.equal(
    imports.filter(({ from, to }) => to === 'cli' && from !== 'cli'),
    [],
  );
});

test('nothing lies loose', () => {
  const loose = readdirSync(lib, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
  assert.equal(loose.sort(), ['index.ts', 'types.ts']);
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

test('no circle of files, by types neither', () => {
  const targets = new Map<string, string[]>();
  for (const { file, target } of imports) targets.set(file, [...(targets.get(file) ?? []), target]);
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): void => {
    const back = way.indexOf(file);
    assert.is(back, -1, [...way.slice(back), file].join(' -> '));
    if (done.has(file)) return;
    for (const next of targets.get(file) ?? []) visit(next, [...way, file]);
    done.add(file);
  };
  for (const file of targets.keys()) visit(file, []);
});

test('the picture of ARCHITECTURE.md is what the imports are', () => {
  const drawn = readFileSync(new URL('../docs/images/rooms.svg', import.meta.url), 'utf8');
  assert.ok(
    drawn === drawRooms(lib),
    'docs/images/rooms.svg is out of date: run node --import tsx scripts/map/drawRooms.ts',
  );
});

test.run();
