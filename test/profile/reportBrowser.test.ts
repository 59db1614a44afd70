/** The report, and the pages in its style, as a reader sees them: in a headless browser, light and dark, on a phone and on paper. One browser for all. */

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compareModes } from '../../bench/modes/compareModes.ts';
import { comparisonPage } from '../../bench/modes/page.ts';
import { readEpisode } from '../../lib/dataset/readEpisode.ts';
import { evaluateEpisode } from '../../lib/evaluate/evaluateEpisode.ts';
import { evaluationPage } from '../../lib/evaluate/page/evaluationPage.ts';
import { exampleEpisodes } from '../../lib/example/exampleEpisodes.ts';
import { writeReport } from '../../lib/profile/report/writeReport.ts';
import { parseLatency } from '../../lib/schedule/latency.ts';
import { madeUpReport, threeSubjects } from '../helpers/benchReport.ts';
import { findBrowser, startBrowser } from '../helpers/browser.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';
import { libero } from '../helpers/trained.ts';

const report = suite('profile/report in a browser');

const plots: readonly (readonly [id: string, name: string])[] = [
  ['machine-series', 'Machine over the run'],
  ['histogram', 'Latency histogram'],
  ['percentiles', 'Percentile curve'],
  ['timeline', 'Latency over time'],
  ['waterfall', 'Stage waterfall'],
  ['blocks-0', 'Blocks of libero tensorrt bfloat16'],
];

interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

interface Drawn {
  readonly id: string;
  readonly svg: Box;
  readonly marks: readonly (Box & { readonly kind: string })[];
  readonly texts: readonly (Box & { readonly text: string; readonly color: string })[];
  readonly background: string;
  readonly breakInside: string;
}

interface Layout {
  readonly scrollWidth: number;
  readonly clientWidth: number;
  readonly backgroundColor: string;
  readonly color: string;
  readonly tops: readonly number[];
  readonly scrolledTables: readonly string[];
}

const inPage = readFileSync(join(import.meta.dirname, '../helpers/inPage.mjs'), 'utf8').replaceAll(
  'export function',
  'function',
);

const run = (page: Page, call: string): Promise<unknown> =>
  page.evaluate(`(() => { ${inPage}; return ${call}(); })()`);
const figuresOf = async (page: Page): Promise<readonly Drawn[]> =>
  (await run(page, 'figures')) as readonly Drawn[];
const layoutOf = async (page: Page): Promise<Layout> => (await run(page, 'layout')) as Layout;

/** WCAG's ratio of `rgb(r, g, b)` colours. */
function contrast(a: string, b: string): number {
  const luminance = (text: string): number => {
    const [r, g, b] = [...text.matchAll(/[\d.]+/g)].slice(0, 3).map(([digits]) => {
      const value = Number(digits) / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high! + 0.05) / (low! + 0.05);
}

/** What is wrong with a picture, as sentences. */
function faults({ id, svg, marks, texts, background }: Drawn): string[] {
  const found: string[] = [];
  // half a stroke and the rounding of a scaled picture
  const slack = 2;
  const isOutside = (box: Box): boolean =>
    box.left < svg.left - slack ||
    box.top < svg.top - slack ||
    box.right > svg.right + slack ||
    box.bottom > svg.bottom + slack;
  if (svg.right - svg.left < 200 || svg.bottom - svg.top < 60) found.push(`${id}: smaller than a picture`);
  const seen = marks.filter(({ left, right, top, bottom }) => right - left > 0 || bottom - top > 0);
  if (seen.length === 0) found.push(`${id}: no mark has a size`);
  for (const mark of seen) if (isOutside(mark)) found.push(`${id}: a ${mark.kind} is outside its picture`);
  if (texts.length < 3) found.push(`${id}: only ${texts.length} texts`);
  for (const [i, one] of texts.entries()) {
    if (isOutside(one)) found.push(`${id}: "${one.text}" is cut`);
    const ratio = contrast(one.color, background);
    if (ratio < 4.5) found.push(`${id}: "${one.text}" has a contrast of ${ratio.toFixed(1)}`);
    for (const other of texts.slice(i + 1)) {
      const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const height = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      // line boxes are higher than letters: neighbours may share that much
      if (width > 1 && height > 4) found.push(`${id}: "${one.text}" over "${other.text}"`);
    }
  }
  return found;
}

const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const path = findBrowser();
const check = (name: string, body: () => Promise<void>): void =>
  testWhen(
    isLong && path !== null,
    isLong
      ? 'no chromium or google-chrome on PATH (apt-get install chromium)'
      : 'it starts a browser; SEMANTICVLA_LONG_TESTS=1 runs it',
    report,
    name,
    body,
  );

let browser: Promise<Browser> | null = null;
let file: Promise<string> | null = null;

/** Address of the file. */
async function writeFile(written: Promise<string>): Promise<string> {
  const page = await written;
  const place = join(mkdtempSync(join(scratchFolder(), 'page-')), 'report.html');
  writeFileSync(place, page);
  return pathToFileURL(place).href;
}

/** Opens the page with scripts blocked and no network; `events` are requests beyond it, console lines and errors. */
async function opened(
  options: BrowserContextOptions,
  look: (page: Page, events: readonly string[]) => Promise<void>,
  address?: Promise<string>,
): Promise<void> {
  browser ??= startBrowser(path!);
  file ??= writeFile(writeReport(madeUpReport(threeSubjects.map((made) => ({ ...made, chunks: 700 })))));
  const [started, url] = await Promise.all([browser, address ?? file]);
  const context = await started.newContext({ offline: true, javaScriptEnabled: false, ...options });
  // a machine full of other work is slow, not wrong
  context.setDefaultTimeout(120_000);
  const events: string[] = [];
  context.on('request', (request) => {
    if (request.url() !== url) events.push(`request ${request.url().slice(0, 200)}`);
  });
  context.on('console', (message) => events.push(`${message.type()}: ${message.text()}`));
  try {
    const page = await context.newPage();
    page.on('pageerror', (error) => events.push(`error: ${error.message}`));
    await page.goto(url);
    await look(page, events);
  } finally {
    await context.close();
  }
}

report('the look at a picture sees what is cut, pale, laid over or not there', () => {
  const at = (left: number, top: number): Box => ({ left, top, right: left + 40, bottom: top + 14 });
  const text = (words: string, box: Box, color = 'rgb(0, 0, 0)') => ({ ...box, text: words, color });
  const texts = [text('a', at(10, 10)), text('b', at(100, 10)), text('c', at(200, 10))];
  const good: Drawn = {
    id: 'plot',
    svg: { left: 0, top: 0, right: 400, bottom: 200 },
    marks: [{ ...at(10, 100), kind: 'mark-rect' }],
    texts,
    background: 'rgb(255, 255, 255)',
    breakInside: 'avoid',
  };
  assert.equal(faults(good), []);
  const cases: readonly (readonly [Partial<Drawn>, RegExp])[] = [
    [{ marks: [] }, /no mark has a size/],
    [{ marks: [{ ...at(10, 100), right: 10, bottom: 100, kind: 'mark-rect' }] }, /no mark has a size/],
    [{ marks: [{ ...at(390, 100), kind: 'mark-rect' }] }, /a mark-rect is outside/],
    [{ texts: [...texts, text('d', at(-20, 50))] }, /"d" is cut/],
    [{ texts: [...texts, text('d', at(30, 12))] }, /"a" over "d"/],
    [{ texts: [...texts, text('d', at(10, 50), 'rgb(200, 200, 200)')] }, /"d" has a contrast of 1.7/],
    [{ texts: [] }, /only 0 texts/],
    [{ svg: { left: 0, top: 0, right: 100, bottom: 20 } }, /smaller than a picture/],
  ];
  for (const [change, message] of cases) assert.match(faults({ ...good, ...change }).join('; '), message);
});

const screen = { width: 1000, height: 900 };

for (const colorScheme of ['light', 'dark'] as const) {
  check(`${colorScheme}: every plot by its name, marks and texts in place, nothing asked of a network`, () =>
    opened({ colorScheme, viewport: screen }, async (page, events) => {
      for (const [, name] of plots) {
        const image = page.getByRole('img', { name, exact: true });
        assert.is(await image.count(), 1, name);
        assert.ok(await image.isVisible(), name);
      }
      assert.is(await page.getByRole('img').count(), plots.length);
      const drawn = await figuresOf(page);
      assert.equal(
        drawn.map(({ id }) => id),
        plots.map(([id]) => id),
      );
      assert.equal(drawn.flatMap(faults), []);
      assert.equal(events, []);
      // each picture has its numbers, and those that matter most stand open
      assert.is(await page.locator('figure details table').count(), plots.length);
      assert.ok(await page.locator('#percentiles details table').isVisible());
      const { backgroundColor, scrolledTables } = await layoutOf(page);
      assert.equal(scrolledTables, []);
      assert.is(backgroundColor, colorScheme === 'light' ? 'rgb(244, 246, 248)' : 'rgb(14, 18, 22)');
    }),
  );
}

check(
  'nine subjects with names of any length: still nothing cut or laid over, on screen and on paper',
  () => {
    const made = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'mm WW ü ≤'].map((name, i) => ({
      name,
      baseMs: 3.7 * 1.9 ** i,
      chunks: [2, 9, 40, 120, 30, 90, 20, 60][i]!,
      backend: i % 2 === 0 ? ('cpu' as const) : ('tensorrt' as const),
    }));
    const long = 'SemanticVLA-Lite LIBERO on the second workstation, TensorRT 10.3, INT8 language model';
    const report = madeUpReport([...made, { name: long, baseMs: 60, chunks: 50 }]);
    const many = writeFile(writeReport({ ...report, layers: {} }));
    return opened(
      { viewport: screen },
      async (page, events) => {
        assert.equal((await figuresOf(page)).flatMap(faults), []);
        assert.equal(events, []);
        await page.setViewportSize({ width: 703, height: 1000 });
        await page.emulateMedia({ media: 'print' });
        const { scrollWidth, clientWidth } = await layoutOf(page);
        assert.ok(scrollWidth <= clientWidth, `${scrollWidth} wide on ${clientWidth}`);
      },
      many,
    );
  },
);

/** The pages in the same style; of each, the names of its plots. */
const others: Readonly<Record<string, readonly [write: () => Promise<string>, plots: readonly string[]]>> = {
  'modes compared': [
    async () =>
      comparisonPage(
        await compareModes({
          latency: parseLatency('lognormal(80, 0.3)'),
          rate: 20,
          chunk: 8,
          seconds: 20,
          lost: 0.01,
        }),
      ),
    [
      'Jerk against reaction time for each mode',
      'Idle ticks and age of observations for each mode',
      'Commands over time for each mode',
      'Reaction, idle ticks and jerk against the horizon',
      'Histogram of latencies, lognormal(80, 0.3)',
    ],
  ],
  'a policy beside a demonstrator': [
    async () => {
      await using policy = await libero.open();
      const folders = await exampleEpisodes();
      const episodes = await Promise.all(folders.map(readEpisode));
      const results = await Promise.all(episodes.map((episode) => evaluateEpisode(policy, episode)));
      const one = { name: 'libero', policy, results: results.slice(0, 2) };
      const two = { ...one, name: 'libero, float32 as trained' };
      return evaluationPage([one, two], { title: 'Two policies', notes: ['A note.'] });
    },
    [
      'pick up the alphabet soup and place it in the basket',
      'pick up the cream cheese and put it into the basket',
      'mean error by row of the chunk',
    ],
  ],
};

for (const [name, [write, names]] of Object.entries(others)) {
  check(`${name}: the same looks, light, dark, on a phone and on paper`, () =>
    opened(
      { viewport: screen },
      async (page, events) => {
        assert.is(await page.getByRole('img').count(), names.length);
        for (const plot of names)
          assert.ok(await page.getByRole('img', { name: plot, exact: true }).isVisible());
        for (const colorScheme of ['light', 'dark'] as const) {
          await page.emulateMedia({ colorScheme });
          assert.equal((await figuresOf(page)).flatMap(faults), [], colorScheme);
        }
        assert.equal((await layoutOf(page)).scrolledTables, []);
        for (const [width, media] of [
          [390, 'screen'],
          [703, 'print'],
        ] as const) {
          await page.setViewportSize({ width, height: 1000 });
          await page.emulateMedia({ media });
          const { scrollWidth, clientWidth } = await layoutOf(page);
          assert.ok(scrollWidth <= clientWidth, `${media}: ${scrollWidth} wide on ${clientWidth}`);
        }
        assert.equal(events, []);
      },
      writeFile(write()),
    ),
  );
}

check('warnings come before the summary, the machine before the first plot', () =>
  opened({ viewport: screen }, async (page) => {
    const { tops } = await layoutOf(page);
    assert.is(tops.length, 4);
    assert.equal(
      tops,
      [...tops].sort((a, b) => a - b),
    );
    assert.is(await page.getByRole('list', { name: 'Warnings' }).getByRole('listitem').count(), 2);
  }),
);

check('on a phone the page is as wide as the screen: plots whole, wide tables scroll inside it', () =>
  opened({ viewport: { width: 390, height: 800 } }, async (page) => {
    const { scrollWidth, clientWidth } = await layoutOf(page);
    assert.is(scrollWidth, clientWidth);
    for (const { id, svg } of await figuresOf(page))
      assert.ok(svg.left >= 0 && svg.right <= clientWidth && svg.right - svg.left > 340, id);
  }),
);

check('on paper: A4, light whatever the screen is, nothing wider than the paper, no plot torn', () =>
  opened({ colorScheme: 'dark', viewport: { width: 703, height: 1000 } }, async (page) => {
    const pdf = (await page.pdf({ preferCSSPageSize: true })).toString('latin1');
    assert.ok(pdf.startsWith('%PDF-'));
    const pages = [...pdf.matchAll(/\/Type\s*\/Page\b/g)].length;
    assert.ok(pages >= 3 && pages <= 16, `${pages} pages`);
    // 210 x 297 mm in points, to the rounding of a page in CSS pixels
    const [, width, height] = /\/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]/.exec(pdf)!;
    assert.ok(Math.abs(Number(width) - 595.3) < 1 && Math.abs(Number(height) - 841.9) < 1);
    await page.emulateMedia({ media: 'print' });
    const { scrollWidth, clientWidth, color } = await layoutOf(page);
    assert.ok(scrollWidth <= clientWidth, `${scrollWidth} wide on ${clientWidth}`);
    assert.is(color, 'rgb(31, 41, 51)');
    for (const { id, breakInside, svg } of await figuresOf(page)) {
      assert.is(breakInside, 'avoid', id);
      assert.ok(svg.right - svg.left <= clientWidth, id);
    }
  }),
);

check('the browser ends', async () => {
  await (await browser)?.close();
});

report.run();
