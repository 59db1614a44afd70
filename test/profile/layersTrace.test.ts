/** ONNX Runtime's profile, recorded and made up, to layers and blocks. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { foldGraph } from '../../lib/profile/layers/foldLayers.ts';
import { alignRuns, parseOrtTrace } from '../../lib/profile/layers/layerRuns.ts';
import { layersCsv, trtexecProfile } from '../../lib/profile/report/exports.ts';

const test = suite('profile of ONNX Runtime');
/** Two runs of the golden LIBERO policy, ONNX Runtime 1.30, fields that nothing reads left out. */
const recorded = readFileSync(join(import.meta.dirname, 'recorded/onnxRuntimePolicy.trace'), 'utf8');
const host = { plainMs: 1, profiledMs: 1 };

function run(ts: number, dur: number): object {
  return { cat: 'Session', name: 'model_run', ts, dur, args: {} };
}
function node(name: string, ts: number, dur: number): object {
  return { cat: 'Node', name: `${name}_kernel_time`, ts, dur, args: { op_name: 'Add' } };
}
const parse = (events: readonly object[]) => parseOrtTrace(JSON.stringify(events), 'made up');

test('recorded: two runs, every node, 95 % of the time and more in blocks', () => {
  const runs = parseOrtTrace(recorded, 'recorded');
  assert.is(runs.length, 2);
  for (const { layers, ms } of runs) {
    assert.is(layers.length, 455);
    const sum = layers.reduce((total, layer) => total + layer.ms, 0);
    assert.ok(sum > 0.5 * ms && sum <= ms, `${sum} of ${ms}`);
  }
  const gemm = runs[0]!.layers.find(({ name }) => name === 'siglip/block0/attn/qkv')!;
  assert.is(gemm.kind, 'Gemm');
  const { layers, profile } = foldGraph('policy', runs, host);
  assert.ok(profile.attributedPercent > 99, `${profile.attributedPercent}`);
  assert.ok(Math.abs(layers.reduce((total, { percent }) => total + percent, 0) - 100) < 1e-9);
  assert.ok(Math.abs(profile.blocks.reduce((total, { percent }) => total + percent, 0) - 100) < 1e-9);
  assert.ok(Math.abs(profile.stages.reduce((total, { percent }) => total + percent, 0) - 100) < 1e-9);
  assert.equal(
    profile.stages.map(({ stage }) => stage),
    ['vision', 'pruner', 'fuser', 'llm', 'heads', 'other'],
  );
  // every layer in exactly one block, and every block's time that of its layers
  const total = profile.blocks.reduce((sum, { averageMs }) => sum + averageMs, 0);
  const wanted = runs.flatMap((one) => one.layers).reduce((sum, { ms }) => sum + ms, 0) / 2;
  assert.ok(Math.abs(total - wanted) < 1e-9, `${total} and ${wanted}`);
  assert.is(
    profile.blocks.reduce((sum, block) => sum + block.layers, 0),
    455,
  );
  // without a name of ours, but between two nodes of one block
  assert.is(layers.find(({ name }) => name === 'Transpose_token_14')!.block, 'dinov2 block 0 attention');
  // at the very start: between nothing and something
  assert.is(layers.find(({ name }) => name === 'Transpose_token_76')!.block, 'other');
});

test('nodes inside a node are counted once', () => {
  const [one] = parse([run(0, 100), node('outer', 10, 50), node('inner', 20, 30), node('next', 60, 10)]);
  assert.equal(
    one!.layers.map(({ name, ms }) => [name, ms]),
    [
      ['outer', 0.02],
      ['inner', 0.03],
      ['next', 0.01],
    ],
  );
});

test('neighbours that share a microsecond are not nested', () => {
  const [one] = parse([run(0, 100), node('a', 10, 10), node('b', 20, 5), node('c', 25, 0), node('d', 25, 3)]);
  assert.equal(one!.layers.map(({ ms }) => ms).sort(), [0, 0.003, 0.005, 0.01]);
});

test('what ran outside of every run is left out', () => {
  const runs = parse([
    node('early', 1, 2),
    run(10, 10),
    node('a', 12, 3),
    node('between', 25, 1),
    run(30, 10),
    node('b', 31, 1),
  ]);
  assert.equal(
    runs.map(({ layers }) => layers.map(({ name }) => name)),
    [['a'], ['b']],
  );
});

test('an unnamed node between two blocks is other, and its share is told', () => {
  const runs = parse([
    run(0, 100),
    node('siglip/block0/norm1', 0, 30),
    node('Transpose_token_1', 30, 10),
    node('siglip/block0/mlp/fc1', 40, 60),
  ]);
  const { layers, profile } = foldGraph('policy', runs, host);
  assert.is(layers[1]!.block, 'other');
  assert.is(profile.attributedPercent, 90);
});

test('a layer that runs in some of the runs alone counts as none in the others', () => {
  const runs = parse([run(0, 10), node('a', 0, 4), run(20, 10), node('a', 20, 4), node('b', 25, 4)]);
  const { layers } = foldGraph('policy', runs, host);
  assert.equal(
    layers.map(({ name, count, averageMs }) => [name, count, averageMs]),
    [
      ['a', 2, 0.004],
      ['b', 1, 0.002],
    ],
  );
});

test('runs go to the host clock by one shift, none before its window', () => {
  const runs = parse([run(1000, 500), node('a', 1100, 100), run(3000, 500), node('a', 3100, 100)]);
  const aligned = alignRuns(runs, [
    { at: 70, ms: 0.9 },
    { at: 71.9, ms: 0.9 },
  ]);
  assert.equal(
    aligned.map(({ at }) => Math.round(at! * 1e6) / 1e6),
    [70, 72],
  );
});

test('files that are no profile are refused by name', () => {
  for (const text of ['', '{}', '[', '[1]', '[{"cat":"Node"}]', recorded.slice(0, 500)]) {
    assert.throws(
      () => parseOrtTrace(text, 'x.json'),
      (error: { code: string; message: string }) =>
        error.code === 'PROFILE_INVALID' && error.message.startsWith('x.json: expected'),
    );
  }
  for (const bad of ['"1"', 'null', '-1', '1e999']) {
    const text = `[{"cat":"Node","name":"a_kernel_time","ts":0,"dur":${bad}}]`;
    assert.throws(() => parseOrtTrace(text, 'x'), /microseconds for ts and dur of a_kernel_time/);
  }
});

test("trtexec's profile: the count first, then the fields in trtexec's order, percentages of the time", () => {
  const { layers } = foldGraph('policy', parse([run(0, 10), node('a', 0, 3), node('b', 4, 1)]), host);
  const [count, ...rest] = trtexecProfile(layers, 1);
  assert.equal(count, { count: 1 });
  assert.is(
    JSON.stringify(rest),
    '[{"name":"a","timeMs":0.003,"averageMs":0.003,"medianMs":0.003,"percentage":75},' +
      '{"name":"b","timeMs":0.001,"averageMs":0.001,"medianMs":0.001,"percentage":25}]',
  );
});

test('CSV: names with commas and quotes survive', () => {
  const { layers } = foldGraph('policy', parse([run(0, 10), node('a, "b"', 0, 3)]), host);
  const [head, row] = layersCsv(layers).split('\r\n');
  assert.is(head, 'graph,stage,block,layer,kind,count,averageMs,medianMs,percent');
  assert.is(row, 'policy,other,other,"a, ""b""",Add,1,0.003,0.003,100');
});

test.run();
