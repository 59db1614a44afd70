import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openGate } from '../../../lib/cli/benchGate.ts';
import { matchBaselines, readBaseline } from '../../../lib/profile/gate/baseline.ts';
import type { BenchReport } from '../../../lib/profile/types.ts';
import { scratchFolder } from '../../helpers/golden.ts';
import { failure } from '../../observation/errorCode.ts';

const test = suite('profile/gate/baseline');

/** The least of a report that the gate reads. */
function report(names: readonly string[], machine: object = {}): BenchReport {
  const chunks = Array.from({ length: 30 }, (_, i) => ({
    startMs: i,
    round: i,
    stages: { total: 10 + (i % 3) },
  }));
  return {
    format: 'semanticvla-bench',
    version: 1,
    createdAt: '2026-01-02T10:03:21.000Z',
    ...{ command: [], selfCheck: {}, comparisons: [], rooflines: {}, layers: {}, warnings: [] },
    software: { semanticvla: '0.1.0', node: '20.9.0' },
    machine: {
      board: 'Board A',
      cpu: { model: 'CPU', cores: 8, governor: 'performance' },
      gpu: null,
      jetpack: null,
      powerMode: 'MAXN',
      clocksLocked: true,
      ...machine,
    },
    subjects: names.map((name) => ({
      subject: { name, variant: 'SemanticVLA', promptTokens: 20, cameras: ['a'], threads: 2 },
      summary: { total: {} },
      chunks,
    })),
  } as unknown as BenchReport;
}

function written(value: unknown): string {
  const dir = join(scratchFolder(), 'baselines');
  mkdirSync(dir, { recursive: true });
  const file = join(dir, `${Math.random().toString(36).slice(2)}.json`);
  writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value));
  return file;
}

test('a file that is no report is refused with what is wrong', async () => {
  const good = report(['a']);
  const cases: [unknown, RegExp][] = [
    ['{', /expected the JSON of a measurement/],
    [[], /expected format "semanticvla-bench", found null/],
    [{ ...good, format: 'other' }, /found "other"/],
    [{ ...good, version: 2 }, /expected version 1, found 2/],
    [{ ...good, machine: null }, /expected machine: an object with cpu, found null/],
    [{ ...good, machine: {} }, /expected machine: an object with cpu/],
    [{ ...good, warnings: [1] }, /expected warnings: a list of objects/],
    [{ ...good, subjects: [] }, /expected subjects: a list of at least one/],
    [
      { ...good, subjects: [{ ...good.subjects[0], chunks: [{ stages: { total: -1 } }] }] },
      /subjects\[0\] \(a\) with times of its chunks in ms/,
    ],
    [
      { ...good, subjects: [{ ...good.subjects[0], chunks: [{ stages: { total: 1, policy: 'x' } }] }] },
      /subjects\[0\] \(a\) with times of its chunks in ms/,
    ],
  ];
  for (const [value, message] of cases) {
    const error = await failure(() => readBaseline(written(value)));
    assert.is(error.code, 'BASELINE_INVALID');
    assert.match(error.message, message);
    assert.match(error.message, /Write one with semanticvla bench --report /);
  }
  assert.match((await failure(() => readBaseline('no-such.json'))).message, /^no-such\.json: .*ENOENT/);
  const file = written(good);
  assert.equal(await readBaseline(file), { file, report: good });
});

test('subjects are matched by name; the only one of each by itself; else it is an error', async () => {
  const named = matchBaselines(report(['a', 'b']), [{ file: 'x.json', report: report(['b', 'a']) }]);
  assert.equal(
    named.baselines.map((base) => base.kind === 'runs' && base.results[0]!.subject.name),
    ['a', 'b'],
  );
  assert.equal(named.warnings, []);
  const single = matchBaselines(report(['new name']), [{ file: 'x.json', report: report(['old name']) }]);
  assert.is(single.baselines.length, 1);
  const missing = await failure(() =>
    matchBaselines(report(['a', 'c']), [{ file: 'x.json', report: report(['a', 'b']) }]),
  );
  assert.is(missing.code, 'BASELINE_INVALID');
  assert.match(missing.message, /x\.json: expected the subject c, found a, b/);
});

test('another board, GPU, number of cores or power mode is refused by name', async () => {
  const gpu = { name: 'GPU', computeCapability: '8.7', driver: '1', memoryBytes: 1 };
  const cases: [object, RegExp][] = [
    [{ board: 'Board B' }, /Board A.*Board B/],
    [{ gpu }, /GPU differs/],
    [{ powerMode: '15W' }, /power mode differs: MAXN here, 15W in the baseline/],
    [{ cpu: { model: 'CPU', cores: 4, governor: 'performance' } }, /cores differs: 8 here, 4/],
  ];
  for (const [machine, message] of cases) {
    const error = await failure(() =>
      matchBaselines(report(['a']), [{ file: 'x.json', report: report(['a'], machine) }]),
    );
    assert.is(error.code, 'BASELINE_REFUSED');
    assert.match(error.message, message);
  }
});

test('a baseline that was measured beside other work says so', () => {
  const busy = { ...report(['a']), warnings: [{ code: 'background-load', text: 'x' }] };
  const [base] = matchBaselines(report(['a']), [{ file: 'x.json', report: busy }]).baselines;
  assert.ok(base?.kind === 'runs');
  assert.match(base.disturbed!, /had other work during x\.json/);
});

test('clocks, governor, software and what was measured: compared, with a warning by name', () => {
  const then = report(['a'], { clocksLocked: false, cpu: { model: 'CPU', cores: 8, governor: 'powersave' } });
  const [first] = then.subjects;
  const other = {
    ...then,
    software: { semanticvla: '0.0.9', node: '22.0.0' },
    subjects: [{ ...first!, subject: { ...first!.subject, promptTokens: 40 } }],
  };
  const { warnings } = matchBaselines(report(['a']), [{ file: 'x.json', report: other }]);
  assert.equal(warnings.map(({ code }) => code).toSorted(), [
    'baseline-differs',
    'different-clocks',
    'different-governor',
    'different-software',
  ]);
  for (const { text } of warnings) assert.match(text, /^x\.json: /);
  assert.ok(warnings.some(({ text }) => /promptTokens of a is 20 here and 40/.test(text)));
  assert.ok(warnings.some(({ text }) => /node 20\.9\.0 here and 22\.0\.0/.test(text)));
});

test('flags that do not go together are refused before anything is measured', async () => {
  const file = written(report(['a']));
  const cases: [string[], string[], RegExp][] = [
    [[file], [], /expected --fail-if beside it/],
    [[], ['p50 > 1.05x'], /expected --baseline for a ratio/],
    [[file, scratchFolder()], ['p50 > 1.05x'], /reports, or one folder/],
    [['no-such.json'], ['p50 > 1.05x'], /no-such\.json/],
    [[file], ['p50 > 1.05'], /expected x, ms, us or s/],
  ];
  for (const [baseline, failIf, message] of cases) {
    const error = await failure(() => openGate({ baseline, failIf }, [{ checkpoint: 'x' }]));
    assert.match(error.message, message);
  }
  const gate = await openGate({ baseline: [], failIf: ['p99 > 12ms'] }, [{ checkpoint: 'x' }]);
  assert.equal([gate.conditions.length, gate.files, gate.subjects], [1, [], []]);
});

test.run();
