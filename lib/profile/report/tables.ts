/** The page's texts and tables: warnings, verdicts, the summary, rooflines, the machine, how it was measured. */

import { machineRows } from '../../machine/machineRows.ts';
import { energyText } from '../../machine/subjectEnergy.ts';
import type { MachineState, Warning } from '../../machine/types.ts';
import { escaped } from '../../plots/escaped.ts';
import { type Cell, figure, percent, table } from '../../plots/html.ts';
import { verdictOf } from '../measure/bootstrap.ts';
import { tflopsOf, weightRateOf } from '../roofline/roofline.ts';
import type { BenchReport, Comparison, GateVerdict, LayerTime, Roofline, SubjectResult } from '../types.ts';

export function warningList(warnings: readonly Warning[]): string {
  if (warnings.length === 0) return '<p class="calm">Nothing was seen that makes these figures doubtful.</p>';
  const items = warnings.map(({ code, text }) => `<li><b>${escaped(code)}</b> ${escaped(text)}</li>`);
  return `<ul class="warnings" aria-label="Warnings">${items.join('')}</ul>`;
}

export function gateTable(verdicts: readonly GateVerdict[]): string {
  return table({
    caption: 'regression gate; a condition says what must not be',
    head: ['condition', 'subject', 'against', 'outcome', 'value', 'low', 'high', 'limit', 'because'],
    rows: verdicts.map(({ condition, subject, baseline, outcome, value, low, high, limit, because }) => [
      ...[condition, subject, baseline ?? 'a fixed limit', outcome],
      ...[value, low, high, limit, because],
    ]),
  });
}

/** Every subject against its baseline: above 1 it is faster. */
export function comparisonTable(comparisons: readonly Comparison[]): string {
  return table({
    caption:
      'ratios of medians; an interval that holds 1 says that no difference was seen, not that there is none',
    head: ['subject', 'baseline', 'times as fast', 'low', 'high', 'confidence', 'rounds', 'verdict'],
    rows: comparisons.map((comparison) => [
      ...[comparison.subject, comparison.baseline, comparison.ratio, comparison.low, comparison.high],
      `${figure(100 * comparison.confidence)} %`,
      comparison.rounds === 0 ? 'separate runs' : comparison.rounds,
      verdictOf(comparison),
    ]),
  });
}

const topLayers = 20;

/** The layers that take most of a chunk, longest first. */
export function layersTable(subject: string, layers: readonly LayerTime[]): string {
  const top = layers.toSorted((a, b) => b.medianMs - a.medianMs).slice(0, topLayers);
  const share = top.reduce((sum, { percent: own }) => sum + own, 0);
  return table({
    caption: `top layers of ${subject}: the ${top.length} of ${layers.length} that take most, ${figure(share)} % of all. From a run of its own: a profiler slows what it watches, so compare layers with each other, not with a latency that nothing watched`,
    head: ['layer', 'block', 'kind', 'runs', 'average ms', 'median ms', 'share %'],
    rows: top.map((layer) => [
      ...[layer.name, layer.block, layer.kind],
      ...[layer.count, layer.averageMs, layer.medianMs, layer.percent],
    ]),
  });
}

/** The numbers that people quote. */
export function summaryTable(subjects: readonly SubjectResult[]): string {
  return table({
    caption: 'latency of a chunk, ms: frames in host memory to actions in host memory',
    head: ['subject', 'median', 'p90', 'p95', 'p99', 'mean', 'min', 'max', 'chunks', 'a second'],
    rows: subjects.map(({ subject, summary: { total }, throughput }): Cell[] => [
      subject.name,
      ...(['median', 'p90', 'p95', 'p99', 'mean', 'min', 'max'] as const).map((key) => total?.[key] ?? null),
      total?.count ?? 0,
      throughput,
    ]),
  });
}

/** What each stage could take at best, and what it took. */
export function rooflineTable(subject: string, roofline: Roofline): string {
  const { rows, limitMs, device, precision, source } = roofline;
  const names: Readonly<Record<string, string>> = {
    policy: 'a chunk',
    instruction: 'instruction, once',
  };
  return table({
    caption: `roofline of ${subject} on ${device}, ${precision}; the limit of a chunk is ${figure(limitMs)} ms. Peaks: ${source}`,
    head: [
      ...['stage', 'GFLOP', 'weights GB', 'limit ms', 'bound by'],
      ...['measured ms', 'of the limit', 'reached TFLOPS', 'reached GB/s'],
    ],
    rows: rows.map((row): Cell[] => [
      names[row.stage] ?? row.stage,
      ...[row.flops / 1e9, row.weightBytes / 1e9, row.limitMs, row.boundBy],
      ...(row.measuredMs === null
        ? ['', '', '', '']
        : [row.measuredMs, percent(row.fraction!), tflopsOf(row), weightRateOf(row)]),
    ]),
  });
}

/** Subjects beside each other that fit on paper. */
const columns = 4;

/** One column per subject. */
function sideBySide(
  caption: string,
  subjects: readonly SubjectResult[],
  rows: Readonly<Record<string, (result: SubjectResult) => string>>,
): string {
  const tables: string[] = [];
  for (let i = 0; i < subjects.length; i += columns) {
    const group = subjects.slice(i, i + columns);
    tables.push(
      table({
        caption: subjects.length > columns ? `${caption}: ${i + 1} to ${i + group.length}` : caption,
        head: ['', ...group.map(({ subject }) => subject.name)],
        rows: Object.entries(rows).map(([label, of]) => [label, ...group.map(of)]),
      }),
    );
  }
  return tables.join('\n');
}

export function subjectTable(subjects: readonly SubjectResult[]): string {
  return sideBySide('what was measured', subjects, {
    policy: ({ subject }) => `${subject.variant}, ${subject.source}`,
    parameters: ({ subject }) => `${figure(subject.parameters / 1e6)} M`,
    runtime: ({ subject }) => `${subject.runtime} (${subject.backend})`,
    precision: ({ subject }) => `${subject.precision}, weights ${subject.weights}`,
    prompt: ({ subject }) => `${subject.promptTokens} tokens`,
    cameras: ({ subject }) => subject.cameras.join(', '),
    actions: ({ subject: { chunk, actionDim }, throughput }) =>
      `${chunk} a chunk, of ${actionDim} numbers each, ${figure(throughput * chunk)} a second`,
    asked: ({ rhythm }) =>
      rhythm === undefined ? 'back to back' : `at ${rhythm.rateHz} Hz, ${rhythm.missed} ticks missed`,
    threads: ({ subject }) => (subject.threads === null ? 'on the device' : String(subject.threads)),
    energy: ({ energy }) => (energy === undefined ? 'not told' : energyText(energy)),
  });
}

/** Cold start and warm-up: what a robot waits for at boot, and whether the run was steady before it was measured. */
export function startTable(subjects: readonly SubjectResult[]): string {
  const ms = (value: number): string => `${figure(value)} ms`;
  return sideBySide('cold start and warm-up', subjects, {
    load: ({ cold }) => ms(cold.loadMs),
    'first sentence': ({ cold }) => ms(cold.instructionMs),
    'first chunk': ({ cold }) => ms(cold.firstChunkMs),
    'warm-up': ({ warmUp }) => `${warmUp.chunks} chunks, ${ms(warmUp.ms)}`,
    steady: ({ warmUp }) => `${warmUp.stable ? 'yes' : 'NO'}: ${warmUp.because}`,
    'peak memory': ({ peakMemoryBytes: bytes }) =>
      bytes === null ? 'shared with the others' : `${figure(bytes / 1e9)} GB`,
  });
}

/** Label and text, one a row, wrapped. */
function facts(caption: string, rows: readonly (readonly [string, string])[]): string {
  const body = rows.map(
    ([label, value]) => `<tr><th scope="row">${escaped(label)}</th><td>${escaped(value)}</td></tr>`,
  );
  return `<div class="table"><table class="facts"><caption>${escaped(caption)}</caption><tbody>${body.join('')}</tbody></table></div>`;
}

export const machineTable = (machine: MachineState): string => facts('', machineRows(machine));

export function softwareTable({ software, command, createdAt }: BenchReport): string {
  return facts('', [['command', command.join(' ')], ['at', createdAt], ...Object.entries(software)]);
}
