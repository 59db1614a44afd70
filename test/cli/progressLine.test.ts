import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatBytes, formatCount, formatMs, formatTable } from '../../lib/cli/format.ts';
import { ProgressLine } from '../../lib/cli/progressLine.ts';

const test = suite('progress and formats');

/** Feeds one report every 100 ms for `seconds` to a progress line; returns what it wrote. */
function record(seconds: number, isTTY: boolean): string {
  let written = '';
  let now = 0;
  const write = (text: string): void => {
    written += text;
  };
  const line = new ProgressLine({ isTTY, write }, () => now);
  for (; now < seconds * 1000; now += 100) {
    line.update({ step: 'shards', done: now * 1e6, total: seconds * 1e9, unit: 'bytes' });
  }
  line.clear();
  return written;
}

test('plain lines, at most one a second, none for work of less than a second', () => {
  assert.is(record(0.9, false), '');
  const lines = record(3.5, false).split('\n');
  assert.is(lines.length, 4);
  assert.is(lines[0], 'shards   28 %  1.0 GB of 3.5 GB');
  assert.is(lines.at(-1), '');
});

test('a long run writes a few lines, each another one, and none of what is over', () => {
  const lines = record(600, false).trimEnd().split('\n');
  assert.ok(lines.length >= 8 && lines.length <= 20, `${lines.length} lines in ten minutes`);
  assert.is(new Set(lines).size, lines.length);
  let written = '';
  let now = 0;
  const write = (text: string): void => {
    written += text;
  };
  const line = new ProgressLine({ isTTY: false, write }, () => now);
  for (; now < 60_000; now += 1000) line.update({ step: 'warm-up', done: 10, total: 10, unit: 'steps' });
  assert.is(written, '');
});

test('on a terminal one live line, taken away at the end', () => {
  const written = record(2.5, true);
  assert.not.match(written, /\n/);
  assert.is(written.split('\r\u001b[K').length, 4);
  assert.ok(written.endsWith('\r\u001b[K'));
  assert.is(record(0.5, true), '');
});

test('bytes, counts, times and tables', () => {
  assert.equal([0, 999, 999_600, 15_083_000_000].map(formatBytes), ['0 B', '999 B', '1.0 MB', '15.1 GB']);
  assert.equal([56, 12_100, 304_000_000, 7_541_000_000].map(formatCount), [
    '56',
    '12.1 K',
    '304 M',
    '7.54 B',
  ]);
  assert.equal([0.02, 36.1, 4560].map(formatMs), ['0.02 ms', '36.1 ms', '4.56 s']);
  const table = formatTable(
    [
      ['a', '1'],
      ['long', '22'],
    ],
    ['left', 'right'],
  );
  assert.is(table, 'a      1\nlong  22');
});

test.run();
