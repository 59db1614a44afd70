/** The page's texts and tables: warnings, verdicts, the summary, the machine, how it was measured. */

import { escaped } from '../../plots/escaped.ts';
import { type Cell, figure, table } from '../../plots/html.ts';
import { machineRows } from '../machine/machineRows.ts';
import { energyText } from '../machine/subjectEnergy.ts';
import type {
  BenchReport,
  Comparison,
  GateVerdict,
  LayerTime,
  MachineState,
  SelfCheck,
  SubjectResult,
  Warning,
} from '../types.ts';

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
      condition,
      subject,
      baseline ?? 'a fixed limit',
      outcome,
      value,
      low,
      high,
      limit,
      because,
    ]),
  });
}

/** What an interval lets one say. */
function verdictOf({ low, high }: Comparison): string {
  if (low > 1) return 'faster';
  if (high < 1) return 'slower';
  return 'no difference seen';
}

/** Every subject against its baseline: above 1 it is faster. */
export function comparisonTable(comparisons: readonly Comparison[]): string {
  return table({
    caption:
      'ratios of medians; an interval that holds 1 says that no difference was seen, not that there is none',
    head: ['subject', 'baseline', 'times as fast', 'low', 'high', 'confidence', 'rounds', 'verdict'],
    rows: comparisons.map((comparison) => [
      comparison.subject,
      comparison.baseline,
      comparison.ratio,
      comparison.low,
      comparison.high,
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
  const share = top.reduce((sum, { percent }) => sum + percent, 0);
  return table({
    caption: `top layers of ${subject}: the ${top.length} of ${layers.length} that take most, ${figure(share)} % of all. From a run of its own: a profiler slows what it watches, so compare layers with each other, not with a latency that nothing watched`,
    head: ['layer', 'block', 'kind', 'runs', 'average ms', 'median ms', 'share %'],
    rows: top.map(({ name, block, kind, count, averageMs, medianMs, percent }) => [
      ...[name, block, kind],
      ...[count, averageMs, medianMs, percent],
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
      ...(total === undefined
        ? new Array<Cell>(7).fill(null)
        : [total.median, total.p90, total.p95, total.p99, total.mean, total.min, total.max]),
      total?.count ?? 0,
      throughput,
    ]),
  });
}

/** Subjects beside each other that fit on paper. */
const columns = 4;

/** One column per subject. */
function sideBySide(
  caption: string,
  subjects: readonly SubjectResult[],
  rows: readonly (readonly [string, (result: SubjectResult) => string])[],
): string {
  const tables: string[] = [];
  for (let i = 0; i < subjects.length; i += columns) {
    const group = subjects.slice(i, i + columns);
    tables.push(
      table({
        caption: subjects.length > columns ? `${caption}: ${i + 1} to ${i + group.length}` : caption,
        head: ['', ...group.map(({ subject }) => subject.name)],
        rows: rows.map(([label, of]) => [label, ...group.map(of)]),
      }),
    );
  }
  return tables.join('\n');
}

export function subjectTable(subjects: readonly SubjectResult[]): string {
  return sideBySide('what was measured', subjects, [
    ['policy', ({ subject }) => `${subject.variant}, ${subject.source}`],
    ['parameters', ({ subject }) => `${figure(subject.parameters / 1e6)} M`],
    ['runtime', ({ subject }) => `${subject.runtime} (${subject.backend})`],
    ['precision', ({ subject }) => `${subject.precision}, weights ${subject.weights}`],
    ['prompt', ({ subject }) => `${subject.promptTokens} tokens`],
    ['cameras', ({ subject }) => subject.cameras.join(', ')],
    [
      'actions',
      ({ subject, throughput }) =>
        `${subject.chunk} a chunk, of ${subject.actionDim} numbers each, ${figure(throughput * subject.chunk)} a second`,
    ],
    ['threads', ({ subject }) => (subject.threads === null ? 'on the device' : String(subject.threads))],
    ...(subjects.some(({ energy }) => energy !== undefined)
      ? [
          [
            'energy',
            ({ energy }: SubjectResult) => (energy === undefined ? 'not told' : energyText(energy)),
          ] as const,
        ]
      : []),
  ]);
}

/** Cold start and warm-up: what a robot waits for at boot, and whether the run was steady before it was measured. */
export function startTable(subjects: readonly SubjectResult[]): string {
  const ms = (value: number): string => `${figure(value)} ms`;
  return sideBySide('cold start and warm-up', subjects, [
    ['load', ({ cold }) => ms(cold.loadMs)],
    ['first sentence', ({ cold }) => ms(cold.instructionMs)],
    ['first chunk', ({ cold }) => ms(cold.firstChunkMs)],
    ['warm-up', ({ warmUp }) => `${warmUp.chunks} chunks, ${ms(warmUp.ms)}`],
    ['steady', ({ warmUp }) => `${warmUp.stable ? 'yes' : 'NO'}: ${warmUp.because}`],
    [
      'peak memory',
      ({ peakMemoryBytes }) =>
        peakMemoryBytes === null ? 'shared with the others' : `${figure(peakMemoryBytes / 1e9)} GB`,
    ],
  ]);
}

/** Label and text, one a row, wrapped. */
function facts(caption: string, rows: readonly (readonly [string, string])[]): string {
  const body = rows.map(
    ([label, value]) => `<tr><th scope="row">${escaped(label)}</th><td>${escaped(value)}</td></tr>`,
  );
  return `<div class="table"><table class="facts"><caption>${escaped(caption)}</caption><tbody>${body.join('')}</tbody></table></div>`;
}

export function machineTable(machine: MachineState): string {
  return facts('', machineRows(machine));
}

export function selfCheckText(check: SelfCheck): string {
  const { expectedMs, measuredMs, errorPercent, overheadUs, overheadPercent, eventLoopDelay } = check;
  return (
    `The recorder timed a known busy-wait of ${expectedMs.toFixed(3)} ms as ${measuredMs.toFixed(3)} ms (${figure(errorPercent)} % off). ` +
    `Recording a chunk costs ${figure(overheadUs)} µs, ${figure(overheadPercent)} % of a chunk of 5 ms. ` +
    `Event-loop delay beside inference: median ${figure(eventLoopDelay.median)} ms, p99 ${figure(eventLoopDelay.p99)} ms, max ${figure(eventLoopDelay.max)} ms.`
  );
}

export function softwareTable({ software, command, createdAt }: BenchReport): string {
  return facts('', [
    ['command', command.join(' ')],
    ['at', createdAt],
    ...Object.entries(software).map(([name, version]) => [name, version] as const),
  ]);
}
