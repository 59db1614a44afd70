/** Figures of `npm run gpu` as Markdown: the report beside them, what goes to bench/results/, and the README's table. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StageName } from './context.ts';
import type { BlockRow, Figures, GoldenRow, LatencyRow, SensorRow, StageResult } from './figures.ts';
import { stageNames, stages } from './stages.ts';

const ms = (value: number | null): string => (value === null ? '' : value.toFixed(value < 10 ? 3 : 1));

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)].join('\n');
}

function goldenTable(rows: readonly GoldenRow[]): string {
  return table(
    ['golden', 'sample', 'graphs', 'difference', 'allowed', 'same patches', ''],
    rows.map((row) => [
      row.golden,
      row.sample,
      row.graphs ? 'yes' : 'no',
      row.difference.toExponential(2),
      row.allowed.toExponential(2),
      row.samePatches ? 'yes' : 'no',
      row.passed ? 'ok' : 'FAILED',
    ]),
  );
}

function latencyTable(rows: readonly LatencyRow[]): string {
  return table(
    [
      'what',
      'runs',
      'p50 ms',
      'p90',
      'p99',
      'h2d',
      'compute',
      'd2h',
      'enqueue',
      'limit',
      'of the limit',
      'first / this',
    ],
    rows.map(({ ratio, ...row }) => [
      row.what,
      String(row.runs),
      ...[row.p50, row.p90, row.p99, row.h2d, row.compute, row.d2h, row.enqueue, row.limitMs].map(ms),
      row.limitMs === null ? '' : `${((100 * row.limitMs) / row.p50).toFixed(0)} %`,
      ratio === undefined
        ? ''
        : `${ratio.value.toFixed(3)} (${ratio.low.toFixed(3)} to ${ratio.high.toFixed(3)})`,
    ]),
  );
}

/** The blocks that take longest; the rest is in the file of figures. */
function blockTable(rows: readonly BlockRow[]): string {
  const slowest = [...rows].sort((a, b) => b.medianMs - a.medianMs).slice(0, 20);
  return table(
    ['graph', 'block', 'layers', 'median ms', 'share'],
    slowest.map((row) => [
      row.graph,
      row.block,
      String(row.layers),
      ms(row.medianMs),
      `${row.percent.toFixed(1)} %`,
    ]),
  );
}

function sensorTable(rows: readonly SensorRow[]): string {
  return table(
    ['sensor', 'unit', 'least', 'median', 'most'],
    rows.map(({ sensor, unit, ...row }) => [
      sensor,
      unit,
      ...[row.min, row.median, row.max].map((value) => String(Math.round(value * 10) / 10)),
    ]),
  );
}

function resultText({ facts, lines, goldens, latency, blocks, sensors, warnings }: StageResult): string[] {
  return [
    ...(facts === undefined ? [] : [table(['', ''], Object.entries(facts))]),
    ...(lines === undefined
      ? []
      : [['```json', ...lines.map((line) => JSON.stringify(line)), '```'].join('\n')]),
    ...(goldens === undefined ? [] : [goldenTable(goldens)]),
    ...(latency === undefined ? [] : [latencyTable(latency)]),
    ...(blocks === undefined ? [] : [blockTable(blocks)]),
    ...(sensors === undefined || sensors.length === 0 ? [] : [sensorTable(sensors)]),
    ...(warnings ?? []).map((text) => `- ${text}`),
  ];
}

/** A page of all stages, those that failed or were left out too. */
export function reportOf({ stages: records, rehearsal }: Figures): string {
  const done = stageNames.filter((name) => records[name] !== undefined);
  const summary = done.map((name) => {
    const { status, seconds, at, reason = '' } = records[name]!;
    return [name, stages[name].title, status, String(seconds), at.slice(0, 16), reason.replaceAll('|', '/')];
  });
  const parts = [
    `# semanticvla on ${rehearsal ? 'a CPU: a rehearsal, in which no figure is one of a GPU' : (deviceOf(records) ?? 'a GPU')}`,
    table(['stage', 'what', 'status', 'seconds', 'begun', 'why'], summary),
  ];
  for (const name of done) {
    const { result } = records[name]!;
    const text = result === undefined ? [] : resultText(result);
    if (text.length > 0) parts.push(`## ${stages[name].title}`, ...text);
  }
  return `${parts.join('\n\n')}\n`;
}

type Records = Figures['stages'];

/** As TensorRT's stage or nvidia-smi told it. */
function deviceOf(records: Records): string | null {
  const told = records.tensorrt?.result?.facts?.device ?? records.machine?.result?.facts?.GPU;
  return told === undefined ? null : told.split(/[,(]/, 1)[0]!.trim();
}

const marks = ['<!-- measured on GPUs: npm run gpu -- --publish -->', '<!-- end -->'] as const;

/** @returns the lines of the README's table for these figures; one of each device */
export function readmeRows(records: Records): string[] {
  const device = deviceOf(records);
  const torch = records.torch?.result?.lines?.[0] as { readonly p50?: number } | undefined;
  const rows = (['latency', 'first', 'baked'] as const).flatMap(
    (name: StageName) => records[name]?.result?.latency ?? [],
  );
  return rows.map(({ what, p50, p90, p99, limitMs }, i) => {
    const beside = i === 0 && torch?.p50 !== undefined ? `PyTorch eager: ${ms(torch.p50)} ms` : '';
    return `| ${device} | ${what} | ${[p50, p90, p99].map(ms).join(', ')} | ${ms(limitMs)} | ${beside} |`;
  });
}

/**
 * Writes bench/results/gpu-DEVICE.json and .md, and this device's rows into the README's table.
 *
 * @returns the files that changed
 */
export function publish(figures: Figures, root: string): string[] {
  const device = deviceOf(figures.stages);
  if (figures.rehearsal || device === null)
    throw new Error('figures to publish: expected some of a GPU, found those of a rehearsal or of no device');
  const stem = join(root, 'bench/results', `gpu-${device.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}`);
  writeFileSync(`${stem}.json`, `${JSON.stringify(figures, null, 1)}\n`);
  writeFileSync(`${stem}.md`, reportOf(figures));
  const readme = join(root, 'README.md');
  writeFileSync(readme, withRows(readFileSync(readme, 'utf8'), device, readmeRows(figures.stages)));
  return [`${stem}.json`, `${stem}.md`, readme];
}

/** The rows of one device replaced, those of others kept. */
export function withRows(text: string, device: string, rows: readonly string[]): string {
  const [start, end] = marks.map((mark) => text.indexOf(mark)) as [number, number];
  if (start < 0 || end < start)
    throw new Error(`README.md: expected the lines ${marks.join(' and ')}, found none`);
  const heads = ['device', 'what', 'p50, p90, p99 ms', 'limit ms', 'beside it'];
  const [head, rule] = table(heads, []).split('\n') as [string, string];
  const kept = text
    .slice(start + marks[0].length, end)
    .split('\n')
    .filter(
      (line) =>
        line.startsWith('| ') &&
        line !== head &&
        line !== rule &&
        !line.startsWith('| none yet |') &&
        !line.startsWith(`| ${device} |`),
    );
  return `${text.slice(0, start)}${[marks[0], '', head, rule, ...kept, ...rows, '', ''].join('\n')}${text.slice(end)}`;
}
