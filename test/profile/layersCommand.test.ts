/** `semanticvla profile` as a person runs it: the table, JSON, CSV, trtexec's files and the trace. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { eventType, traceProto } from '../../lib/profile/trace/perfettoSchema.ts';
import type { ProfileReport } from '../../lib/profile/types.ts';
import { cli, inFolder } from '../helpers/cli.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';

const test = suite('semanticvla profile');
const policy = ['--platform', 'libero', '--unnorm-key', 'libero_spatial_no_noops', '--threads', '1'];
const quick = ['--iterations', '2', '--warm-up', '0'];

test('a table of stages, blocks and layers, with the slow-down; files in the forms of others', async () => {
  await inFolder((dir) => {
    const file = (name: string): string => join(dir, name);
    const { code, stdout, stderr } = cli(
      'profile',
      goldenCheckpoint('libero-tiny'),
      ...policy,
      ...quick,
      ...['--csv', file('layers.csv')],
      ...['--export-profile', file('profile.json')],
      ...['--trace', file('chunk.perfetto-trace')],
    );
    assert.is(code, 0, stderr);
    assert.match(stdout, /^policy graph: .* under the profiler, which slows it \d+\.\d\dx$/m);
    assert.match(stdout, /^instruction graph: /m);
    assert.match(stdout, /^vision .* %$/m);
    assert.match(stdout, /(?:siglip|dinov2) block \d (?:attention|mlp)/);
    const rows = readFileSync(file('layers.csv'), 'utf8').trim().split('\r\n');
    assert.ok(rows.length > 500 && rows.every((row) => row.split(',').length === 9));
    const profile = JSON.parse(readFileSync(file('profile.json'), 'utf8')) as Record<string, number>[];
    assert.equal(profile[0], { count: 2 });
    assert.equal(Object.keys(profile[1]!), ['name', 'timeMs', 'averageMs', 'medianMs', 'percentage']);
    const percent = profile.slice(1).reduce((sum, layer) => sum + layer.percentage!, 0);
    assert.ok(Math.abs(percent - 100) < 1e-6, `${percent}`);
    const { packet } = traceProto.toObject(traceProto.decode(readFileSync(file('chunk.perfetto-trace')))) as {
      packet: { trackEvent?: { type: number } }[];
    };
    const begins = packet.filter(({ trackEvent }) => trackEvent?.type === eventType.begin);
    assert.ok(begins.length > 1000);
  });
});

test('--json is one report; neither or both of folder and preset are refused', () => {
  const { code, stdout, stderr } = cli(
    'profile',
    goldenCheckpoint('libero-tiny'),
    ...policy,
    ...quick,
    '--json',
  );
  assert.is(code, 0, stderr);
  const report = JSON.parse(stdout) as ProfileReport;
  assert.is(report.format, 'semanticvla-profile');
  assert.is(report.takesTurns, true);
  assert.ok(report.graphs.every(({ attributedPercent }) => attributedPercent >= 95));
  assert.ok(report.machine.cpu.cores >= 1 && Array.isArray(report.warnings));
  const chrome = cli('profile', 'x', '--trace', 'chunk.json');
  assert.is(chrome.code, 2);
  assert.match(chrome.stderr, /^OPTION_INVALID: --trace chunk\.json: .* Use chunk\.perfetto-trace\.$/m);
  const inspector = cli('profile', 'x', '--export-layer-info', 'info.json');
  assert.is(inspector.code, 2);
  assert.match(inspector.stderr, /^OPTION_INVALID: --export-layer-info: expected --backend tensorrt/m);
  for (const args of [[], ['x', '--preset', 'tiny']]) {
    const refused = cli('profile', ...args);
    assert.is(refused.code, 2);
    assert.match(refused.stderr, /^OPTION_REQUIRED: profile: expected a checkpoint's folder or --preset/);
  }
});

test.run();
