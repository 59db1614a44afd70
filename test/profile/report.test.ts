/** The page as text: what it needs, what it escapes, what it leaves out; reports read and joined. */

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { plainLabels } from '../../lib/plots/drawPlot.ts';
import { figure, percent, table } from '../../lib/plots/html.ts';
import { inLightColors } from '../../lib/plots/palette.ts';
import { joinReports } from '../../lib/profile/report/joinReports.ts';
import { histogramFigure, timelineFigure } from '../../lib/profile/report/latencyFigures.ts';
import { logTicks, quantity } from '../../lib/profile/report/plotStyle.ts';
import { readReport } from '../../lib/profile/report/readReport.ts';
import {
  bodyRange,
  histogram,
  logHistogram,
  overTime,
  percentileCurve,
  quantile,
  quarters,
  waterfall,
} from '../../lib/profile/report/seriesData.ts';
import { writeReport } from '../../lib/profile/report/writeReport.ts';
import type { BenchReport, ChunkRecord } from '../../lib/profile/types.ts';
import { madeUpReport } from '../helpers/benchReport.ts';
import { cli } from '../helpers/cli.ts';
import { scratchFolder } from '../helpers/golden.ts';

const report = suite('profile/report');

const small = (): BenchReport =>
  madeUpReport([{ name: 'libero', baseMs: 100, chunks: 60, outlierEvery: 50 }]);

let drawn: Promise<string> | null = null;
/** The page of `small`, drawn once. */
function smallPage(): Promise<string> {
  drawn ??= writeReport(small());
  return drawn;
}

report('one file: no script, no address, a policy that forbids both', async () => {
  const page = await smallPage();
  assert.not.match(page, /<script|<iframe|<object|javascript:|\son\w+=/i);
  // names of namespaces are no requests
  const addresses = page
    .replaceAll('http://www.w3.org/2000/svg', '')
    .replaceAll('http://www.w3.org/1999/xlink', '');
  assert.not.match(addresses, /https?:|@import|url\((?!#)/);
  assert.match(page, /Content-Security-Policy" content="default-src 'none'/);
  for (const id of ['histogram', 'percentiles', 'timeline', 'waterfall', 'blocks-0']) {
    assert.match(
      page,
      new RegExp(
        `<figure id="${id}"><svg[^>]+role="img" aria-labelledby="${id}-title" aria-describedby="${id}-desc"`,
      ),
    );
  }
});

report(
  'the roofline stands in a table: limits, what was measured, where the peaks are published',
  async () => {
    const [, roofline] = /<section id="roofline"(.*?)<\/section>/s.exec(await smallPage())!;
    assert.match(roofline!, /roofline of libero on NVIDIA Jetson AGX Orin 64GB, bfloat16; .*technical brief/);
    assert.match(
      roofline!,
      /<th scope="row">llm<\/th>.*<td class="text">memory<\/td><td>[\d.]+<\/td><td>[\d.]+\u00a0%</,
    );
  },
);

report('names from outside are text, in the page and in the pictures', async () => {
  const name = '<img src=x onerror=alert(1)> "&\'';
  const page = await writeReport({
    ...madeUpReport([{ name, baseMs: 10, chunks: 40 }]),
    rooflines: {},
    warnings: [{ code: '<b>', text: '</style><script>alert(2)</script>' }],
  });
  assert.not.match(page, /<img|<script|<b><b>/);
  assert.match(page, /&lt;img src=x onerror=alert\(1\)&gt;/);
});

report('the same report gives the same page, however often', async () => {
  const bare = { ...small(), layers: {} };
  assert.is(await writeReport(bare), await writeReport(bare));
});

report('what was not measured is left out, and its absence is no error', async () => {
  const bare = { ...small(), layers: {}, rooflines: {}, comparisons: [], warnings: [] };
  const page = await writeReport(bare);
  assert.not.match(page, /id="(layers|roofline|compared)"/);
  assert.match(page, /Nothing was seen that makes these figures doubtful/);
  assert.match(page, /<figure id="machine-series"><svg/);
  const none = {
    ...bare,
    machine: { ...bare.machine, series: null },
    subjects: bare.subjects.map((one) => ({ ...one, chunks: [], summary: {} })),
  };
  assert.not.match(await writeReport(none), /<svg/);
});

report('no chunk is left out of histogram, curve and timeline', () => {
  const values = Array.from({ length: 5000 }, (_, i) => 100 + ((i * 7919) % 100) / 50);
  values[777] = 900;
  const ascending = [...values].sort((a, b) => a - b);
  const [low, high] = bodyRange([ascending]);
  const inside = histogram(values, low, high).reduce((sum, { count }) => sum + count, 0);
  assert.is(inside, 4999);
  assert.ok(high < 120);
  const logBins = logHistogram(Float64Array.from(values), low, 900);
  assert.is(
    logBins.reduce((sum, { count }) => sum + count, 0),
    5000,
  );
  const ratios = logBins.map(({ from, to }) => to / from);
  assert.ok(Math.max(...ratios) - Math.min(...ratios) < 1e-9, 'equally wide on a logarithmic axis');
  const chunks: ChunkRecord[] = values.map((total, i) => ({ startMs: i, stages: { total } }));
  const points = overTime(chunks);
  assert.ok(points.length < 1000 && points.some(({ value }) => value === 900));
  const curve = percentileCurve(ascending);
  assert.is(curve[0]!.ms, ascending[0]);
  assert.is(curve.at(-1)!.ms, 900);
  for (const { nines, ms } of curve) {
    const share = 1 - 10 ** -nines;
    assert.ok(ascending.filter((value) => value < ms).length <= share * 5000 + 1e-6);
  }
});

report('a run that slows down shows in its quarters', () => {
  const chunks = Array.from({ length: 400 }, (_, i) => ({
    startMs: i,
    stages: { total: i < 300 ? 10 : 12 },
  }));
  assert.equal(quarters(chunks), [10, 10, 10, 12]);
});

report('waterfall: parts stand for their whole, ends meet, the rest is named', () => {
  const { subjects } = small();
  const steps = waterfall(subjects[0]!);
  const names = steps.map(({ stage }) => stage);
  assert.equal(names, [
    'decode',
    'resize',
    'crop',
    'normalize',
    'h2d',
    'compute',
    'd2h',
    'unnormalize',
    'rest',
  ]);
  for (const [i, { from }] of steps.entries()) assert.is(from, i === 0 ? 0 : steps[i - 1]!.to);
  assert.is(steps.at(-1)!.to, subjects[0]!.summary.total!.median);
});

report('joined runs: told apart, compared with the first, and said to be separate', () => {
  const slow = madeUpReport([{ name: 'libero', baseMs: 150, chunks: 300 }]);
  const other = {
    ...slow,
    machine: { ...slow.machine, powerMode: '30W' },
  };
  const fast = madeUpReport([{ name: 'libero', baseMs: 100, chunks: 300 }]);
  const joined = joinReports([
    { name: 'before', report: fast },
    { name: 'after', report: other },
  ]);
  assert.equal(
    joined.subjects.map(({ subject }) => subject.name),
    ['libero (before)', 'libero (after)'],
  );
  assert.equal(Object.keys(joined.rooflines), ['libero (before)', 'libero (after)']);
  const [comparison] = joined.comparisons;
  assert.is(comparison!.rounds, 0);
  assert.ok(Math.abs(comparison!.ratio - 100 / 150) < 0.01);
  assert.ok(comparison!.low < comparison!.ratio && comparison!.ratio < comparison!.high);
  assert.ok(comparison!.high < 0.69, 'an interval of 300 quiet chunks is narrow');
  const warnings = joined.warnings.map(({ code }) => code);
  assert.equal(warnings.slice(0, 2), ['separate-runs', 'different-power-mode']);
  assert.match(
    joined.warnings[1]!.text,
    /after against before: The power mode differs: 30W here, MAXN in the baseline/,
  );
});

report("the joined median's interval holds the truth about as often as it says", () => {
  // 400 pairs of runs of the same thing; at most 5 % may say that they differ, and the bound is conservative
  let state = 7;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const base = small();
  const run = (): BenchReport => {
    const chunks = Array.from({ length: 80 }, (_, i) => ({
      startMs: i,
      stages: { total: 100 - 20 * Math.log(1 - random()) },
    }));
    return { ...base, subjects: [{ ...base.subjects[0]!, chunks }] };
  };
  let differs = 0;
  for (let i = 0; i < 400; i++) {
    const { comparisons } = joinReports([
      { name: 'a', report: run() },
      { name: 'b', report: run() },
    ]);
    const { low, high } = comparisons.at(-1)!;
    if (low > 1 || high < 1) differs += 1;
  }
  assert.ok(differs <= 20, `${differs} of 400`);
});

report('what is no measurement is refused by name', async () => {
  const dir = mkdtempSync(join(scratchFolder(), 'report-'));
  const write = (name: string, value: unknown): string => {
    const file = join(dir, name);
    writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value));
    return file;
  };
  const cases: readonly (readonly [unknown, RegExp])[] = [
    ['{', /expected the JSON of a measurement/],
    [[], /expected format "semanticvla-bench", found null/],
    [{ ...small(), version: 2 }, /expected version 1, found 2/],
    [{ ...small(), subjects: [] }, /subjects: a list of at least one/],
    [{ ...small(), machine: null }, /machine: an object with cpu, found null/],
    [{ ...small(), subjects: [{}] }, /subjects\[0\]/],
  ];
  for (const [i, [value, message]] of cases.entries()) {
    await readReport(write(`${i}.json`, value)).then(
      () => assert.unreachable(),
      (error: Error & { code: string }) => {
        assert.is(error.code, 'REPORT_INVALID');
        assert.match(error.message, message);
      },
    );
  }
  assert.equal(await readReport(write('good.json', small())), small());
});

report('the command: two files to one page', () => {
  const dir = mkdtempSync(join(scratchFolder(), 'report-'));
  for (const name of ['before', 'after']) writeFileSync(join(dir, `${name}.json`), JSON.stringify(small()));
  const out = join(dir, 'report.html');
  const { code, stdout, stderr } = cli(
    'report',
    join(dir, 'before.json'),
    join(dir, 'after.json'),
    '--out',
    out,
  );
  assert.is(code, 0, stderr);
  assert.match(stdout, /libero \(before\), libero \(after\)/);
  assert.match(readFileSync(out, 'utf8'), /<caption>ratios of medians.*separate runs/s);
  assert.match(cli('report', 'no-such.json', '--out', out).stderr, /^REPORT_INVALID: no-such.json: /);
});

report('the time line begins with the first measured chunk, not with the warm-up before it', () => {
  const { subjects } = small();
  const late = subjects.map((one) => ({
    ...one,
    chunks: one.chunks.map((chunk) => ({ ...chunk, startMs: chunk.startMs + 33_000 })),
  }));
  const domain =
    /"seconds","type":"quantitative","title":"[^"]*","axis":\{[^}]*\},"scale":\{"domain":\[([\d.]+),([\d.]+)\]/;
  const [, first, last] = domain.exec(JSON.stringify(timelineFigure(late).spec))!;
  assert.is(Number(first), 33);
  assert.is(Number(last), late[0]!.chunks.at(-1)!.startMs / 1000);
});

report('plots of the same kind share their scales, and axes print numbers in full', () => {
  const { subjects } = small();
  // one of them slower, and with half as many chunks
  const slower = subjects.slice(0, 1).map((one) => ({
    ...one,
    chunks: one.chunks.flatMap((chunk, i) =>
      i % 2 === 0 ? [{ ...chunk, stages: { ...chunk.stages, total: 2 * chunk.stages.total! } }] : [],
    ),
  }));
  const both = [subjects[0]!, ...slower];
  for (const { id, spec } of [histogramFigure(both), timelineFigure(both)]) {
    const text = JSON.stringify(spec);
    const domains = (field: string): string[] => [
      ...new Set(
        [...text.matchAll(new RegExp(`"field":"${field}".*?"domain":\\[([^\\]]*)`, 'g'))].map(
          ([, at]) => at!,
        ),
      ),
    ];
    const [x, y] = id === 'histogram' ? ['from', 'share'] : ['seconds', 'ms'];
    for (const field of [x!, y!]) assert.is(domains(field).length, 1, `${id} ${field}: ${domains(field)}`);
  }
  assert.equal(quantity('x').axis, plainLabels);
  assert.equal(logTicks(15, 1500), [20, 50, 100, 200, 500, 1000]);
  assert.equal(logTicks(0.02, 900), [0.1, 1, 10, 100]);
  assert.is(figure(0.0000231), '0.0000231');
});

report('columns of quantities stand right, words left, and a percent sign stays beside its number', () => {
  const rows = [
    ['a', 12, '46.2 %', 'memory'],
    ['b', '-', '', 'compute'],
  ];
  const html = table({ caption: '', head: ['stage', 'ms', 'share', 'bound by'], rows });
  assert.match(html, /<th scope="col">ms<\/th><th scope="col">share<\/th><th scope="col" class="text">bound/);
  assert.match(html, /<td>46.2 %<\/td><td class="text">memory/);
  assert.is(percent(0.462), '46.2\u00a0%');
});

report('a picture alone has its light colours without CSS', () => {
  assert.is(inLightColors('<path fill="var(--ink, #1f2933)"/>'), '<path fill="#1f2933"/>');
});

report("quantiles are those of the summary: trtexec's rule", () => {
  assert.is(quantile([1, 2, 3, 4], 0.5), 2.5);
  assert.is(
    quantile(
      Array.from({ length: 1000 }, (_, i) => i + 1),
      0.99,
    ),
    991,
  );
  assert.ok(Number.isNaN(quantile([], 0.5)));
  assert.is(quantile([1, 2, 3, 4], 1), 4);
  assert.is(quantile([1, 2, 3, 4], 0), 1);
});

report.run();
