/** The comparison of modes: figures that can be known beforehand, and the page and the command that show them. */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compareModes } from '../../bench/modes/compareModes.ts';
import { measure, type Sample } from '../../bench/modes/figures.ts';
import { latencyFromText } from '../../bench/modes/latencyFile.ts';
import { comparisonPage, comparisonPlots } from '../../bench/modes/page.ts';
import { parseLatency, recordedLatency } from '../../lib/schedule/latency.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import { Random } from '../../lib/support/random.ts';

const test = suite('compareModes');

const sample = (at: number, command: number, target: number, age: number | null = 5): Sample => ({
  at,
  command,
  target,
  held: age === null,
  oldest: age === null ? null : 2 * age,
  newest: age,
});

test('figures of a run by hand', () => {
  // a cube has the third difference 6 everywhere; at 10 Hz that is 6000 a second cubed
  const cube = Array.from({ length: 20 }, (_, i) => sample(100 * i, i ** 3, 0, i % 4 === 0 ? null : 5));
  const { jerk, idle, newestAge, oldestAge } = measure(cube, 10);
  assert.ok(Math.abs(jerk - 6000) < 1e-6);
  assert.equal([idle, newestAge, oldestAge], [0.25, 5, 10]);
  const jumps = [0, 0, 0.2, 0.5, 1, 1, 0.4].map((command, i) =>
    sample(100 * i, command, i === 0 ? 0 : i < 5 ? 1 : -1),
  );
  // half the way to 1 after 200 ms; of the way to -1 only 0.6 of 2 when the run ends
  assert.equal(measure(jumps, 10).reaction, { median: 200, p90: 200 });
});

test('what is known beforehand comes out', async () => {
  const comparison = await compareModes({
    latency: parseLatency('constant(100)'),
    rate: 20,
    chunk: 8,
    seconds: 60,
  });
  const [whole, half, asynchronous] = comparison.modes;
  // 100 ms and a tick to notice: three of 11 ticks idle, or two with the luck of the tick's phase
  const share = whole!.figures.idle;
  assert.ok(share > 1.5 / 10 && share < 3.5 / 11, `${share}`);
  assert.ok(half!.figures.idle > share);
  assert.ok(asynchronous!.figures.idle < 0.01);
  assert.ok(asynchronous!.figures.reaction.median < whole!.figures.reaction.median);
  for (const { figures } of comparison.modes) {
    assert.ok(figures.newestAge <= figures.oldestAge && figures.oldestAge <= comparison.maxAge);
    assert.ok(comparison.ideal.reaction.median <= figures.reaction.median);
  }
  const blend = comparison.modes.find(({ name }) => name === 'blend, linear')!;
  assert.ok(blend.figures.jerk < asynchronous!.figures.jerk);
});

test('a page that needs nothing else, equal each time', async () => {
  const options = { latency: parseLatency('uniform(20, 60)'), rate: 30, chunk: 6, seconds: 10, lost: 0.05 };
  const comparison = await compareModes(options);
  const page = await comparisonPage(comparison);
  assert.is(page, await comparisonPage(await compareModes(options)));
  assert.not.match(page, /<script|<img|url\((?!#)|src=|NaN|undefined|Infinity/);
  // an empty icon, so that no browser asks for one
  assert.equal(page.match(/<link[^>]*>/g), ['<link rel="icon" href="data:,">']);
  assert.match(page, /Content-Security-Policy" content="default-src 'none'/);
  assert.is(page.match(/<svg /g)!.length, 5);
  const plots = Object.entries(await comparisonPlots(comparison));
  assert.equal(
    plots.map(([name]) => name),
    ['trade', 'cost', 'trace', 'horizon', 'latency'],
  );
  for (const [name, svg] of plots) {
    assert.ok(page.includes(`<figure id="${name}"><svg `), name);
    assert.ok(svg.match(/<(text|line|path|rect)\b/g)!.length > 20, name);
    // a file of its own has paper below it and no page's colours
    assert.match(svg, /<\/desc><rect width="100%" height="100%" fill="#ffffff"\/>/);
    assert.not.match(svg, /var\(/);
  }
});

test('what the plots say: every mode by its name, ticks that held, the length of a tick', async () => {
  const latency = parseLatency('constant(100)');
  const comparison = await compareModes({ latency, rate: 20, chunk: 8, seconds: 20 });
  const { trade, cost, trace, latency: histogram } = await comparisonPlots(comparison);
  for (const { name } of comparison.modes) {
    for (const svg of [trade!, cost!, trace!]) assert.ok(svg.includes(`>${name}</text>`), name);
  }
  const [whole] = comparison.modes;
  assert.ok(cost!.includes(`>${(100 * whole!.figures.idle).toFixed(1)}</text>`));
  // the window is seconds 6 to 11
  const marks = trace!.match(/<path transform="translate\([^)]*,95\)"/g)!.length;
  const held = comparison.modes.flatMap(({ samples }) =>
    samples.filter((sample) => sample.held && sample.at >= 6000 && sample.at <= 11_000),
  ).length;
  assert.ok(held > 10);
  assert.is(marks, held);
  assert.match(histogram!, /Median 100 ms, 99 of 100 under 100 ms. Dashed: one tick, 50 ms/);
  // all of one latency is one full bin, not an empty frame
  assert.is(histogram!.match(/v120h-[^>]* fill="#0072b2"/g)?.length, 1);
});

test('names from outside are text, not markup', async () => {
  const latency = recordedLatency([10, 20], '<script>alert(1)</script>');
  const page = await comparisonPage(await compareModes({ latency, rate: 20, chunk: 4, seconds: 10 }));
  assert.not.match(page, /<script/);
  assert.match(page, /&lt;script&gt;alert\(1\)/);
});

test('latency formulas and files', () => {
  const random = new Random(1);
  const median = (text: string): number => {
    const latency = parseLatency(text);
    return Array.from({ length: 4001 }, () => latency.draw(random)).sort((a, b) => a - b)[2000]!;
  };
  // standard error of the median of 4001 draws: about 2 % of the deviation
  assert.ok(Math.abs(median('lognormal(80, 0.3)') - 80) < 3);
  assert.ok(Math.abs(median('normal(50,10)') - 50) < 2);
  assert.ok(Math.abs(median(' uniform( 10 , 20 ) ') - 15) < 1);
  assert.is(median('constant(7)'), 7);
  for (const text of [
    'lognormal(80)',
    'constant(-1)',
    'constant()',
    'toString(1)',
    'uniform(20,10)',
    'constant(1e999)',
    '80',
  ]) {
    assert.throws(
      () => parseLatency(text),
      (error: SemanticVlaError) => error.code === 'OPTION_INVALID',
    );
  }
  const drawn = (text: string): number[] => {
    const latency = latencyFromText(text, 'file');
    return [...new Set(Array.from({ length: 200 }, () => latency.draw(random)))].sort((a, b) => a - b);
  };
  assert.equal(drawn('[12.5, 30, 7]'), [7, 12.5, 30]);
  assert.equal(drawn('12.5\n30 # slow\n7\n'), [7, 12.5, 30]);
  for (const text of ['', '12 x', '-3', '[1, null]']) {
    assert.throws(
      () => latencyFromText(text, 'file'),
      (error: SemanticVlaError) => error.code === 'OPTION_INVALID',
    );
  }
});

test('the command of docs/choosingAMode.md writes the page, and says what is wrong in one line', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'semanticvla-modes-'));
  try {
    await writeFile(join(dir, 'latencies.txt'), '20\n40\n60\n');
    const out = join(dir, 'modes.html');
    const args = [
      '--latency',
      join(dir, 'latencies.txt'),
      '--rate',
      '20',
      '--chunk',
      '8',
      '--seconds',
      '20',
      '--out',
      out,
    ];
    const { stdout } = await command([...args, '--json']);
    const result = JSON.parse(stdout);
    assert.is(result.modes.length, 7);
    assert.match(await readFile(out, 'utf8'), /^<!doctype html>/);
    const missing = await command(['--latency', 'none.json', '--rate', '20', '--chunk', '8']);
    assert.is(missing.code, 2);
    assert.is(missing.stdout, '');
    assert.match(missing.stderr, /^OPTION_INVALID: --latency none.*\n$/);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

function command(args: readonly string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--import', 'tsx', 'bench/modes/compare.ts', ...args],
      { timeout: 60_000 },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : error.code, stdout, stderr }),
    );
  });
}

test.run();
