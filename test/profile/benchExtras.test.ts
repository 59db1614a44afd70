/** `bench` with layers, roofline and page on the small policy: one run, all three, and the same figures in each. */

import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { stageOfBlock } from '../../lib/profile/layers/blocks.ts';
import type { BenchReport } from '../../lib/profile/types.ts';
import { cli } from '../helpers/cli.ts';
import { scratchFolder } from '../helpers/golden.ts';

const extras = suite('profile/bench extras');

extras(
  'bench --layers --roofline --html: shares of the limit for every stage, and a page with the plots',
  () => {
    const dir = mkdtempSync(join(scratchFolder(), 'extras-'));
    const file = (name: string): string => join(dir, name);
    const { code, stdout, stderr } = cli(
      ...['bench', '--preset', 'tiny', '--warm-up', '5', '--iterations', '3', '--limit', '5'],
      ...[
        '--layers',
        '--roofline',
        'orin-agx-64',
        '--html',
        file('page.html'),
        '--report',
        file('report.json'),
      ],
    );
    assert.is(code, 0, stderr);
    const report = JSON.parse(readFileSync(file('report.json'), 'utf8')) as BenchReport;
    const [name] = Object.keys(report.rooflines);
    assert.is(name, report.subjects[0]!.subject.name);
    const { rows, source, precision } = report.rooflines[name!]!;
    assert.match(source, /technical brief/);
    assert.is(precision, 'float32');
    const policy = report.subjects[0]!.summary.policy!.median;
    assert.is(rows.find(({ stage }) => stage === 'policy')!.measuredMs, policy);
    // stages share the measured time as they do in the profile; what has no stage (copies, say) has a share too
    const stages = ['vision', 'pruner', 'fuser', 'llm', 'heads'];
    const shared = rows.filter(({ stage }) => stages.includes(stage));
    assert.ok(shared.every(({ measuredMs, fraction }) => measuredMs! > 0 && fraction! > 0));
    const sum = shared.reduce((total, { measuredMs }) => total + measuredMs!, 0);
    assert.ok(sum > 0.9 * policy && sum <= 1.000001 * policy, `${sum} of ${policy}`);
    const layers = report.layers[name!]!;
    assert.ok(new Set(layers.map(({ block }) => stageOfBlock(block))).size >= 6);
    assert.match(stdout, /^roofline of .*\nstage +GFLOP .*reached/m);
    const page = readFileSync(file('page.html'), 'utf8');
    assert.match(page, /<section id="roofline"[^>]*>.*<caption>roofline of /s);
    for (const id of ['histogram', 'waterfall', 'blocks-0']) {
      assert.ok(page.includes(`<figure id="${id}">`), id);
    }
    assert.match(
      page,
      new RegExp(`<caption>top layers of ${name}: the 20 of ${layers.length} that take most`),
    );
  },
);

extras('a device that is not known is refused before anything is measured', () => {
  const { code, stderr } = cli('bench', '--preset', 'tiny', '--roofline', 'thro');
  assert.is(code, 2);
  assert.match(stderr, /^OPTION_INVALID: .*thor was probably meant/);
  const onCpu = cli('bench', '--preset', 'tiny', '--roofline');
  assert.is(onCpu.code, 2);
  assert.match(onCpu.stderr, /^OPTION_REQUIRED: Roofline of a CPU: .*--roofline NAME/);
});

extras.run();
