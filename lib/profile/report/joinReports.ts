/** Reports of several runs as one, with a warning about what such a comparison cannot know. */

import { machineDifferences } from '../machine/warnings.ts';
import { Blocks, cutBlocks, enoughDraws, intervalOf, resampled } from '../measure/bootstrap.ts';
import type { BenchReport, Comparison, SubjectResult, Warning } from '../types.ts';
import { totals } from './seriesData.ts';

/** A report and what its subjects are called beside others. */
export interface NamedReport {
  /** Tells equal subjects of different runs apart: the file's name. */
  readonly name: string;
  readonly report: BenchReport;
}

/**
 * The first run's machine and self-check, all subjects, and every subject against the first. Runs that did not alternate
 * share neither temperature nor clocks nor neighbours, which no interval covers: a warning says so, and what differs.
 */
export function joinReports(named: readonly NamedReport[]): BenchReport {
  const [first, ...others] = named;
  if (first === undefined) throw new RangeError('no report to join');
  if (others.length === 0) return first.report;
  const taken = new Map<string, number>();
  for (const { report } of named)
    for (const { subject } of report.subjects) taken.set(subject.name, (taken.get(subject.name) ?? 0) + 1);
  const nameOf = (name: string, run: string): string => (taken.get(name)! > 1 ? `${name} (${run})` : name);
  const subjects: SubjectResult[] = [];
  const rooflines: Record<string, BenchReport['rooflines'][string]> = {};
  const layers: Record<string, BenchReport['layers'][string]> = {};
  const comparisons: Comparison[] = [];
  for (const { name: run, report } of named) {
    const rename = (name: string): string => nameOf(name, run);
    for (const result of report.subjects)
      subjects.push({ ...result, subject: { ...result.subject, name: rename(result.subject.name) } });
    for (const [name, roofline] of Object.entries(report.rooflines)) rooflines[rename(name)] = roofline;
    for (const [name, list] of Object.entries(report.layers)) layers[rename(name)] = list;
    for (const comparison of report.comparisons)
      comparisons.push({
        ...comparison,
        subject: rename(comparison.subject),
        baseline: rename(comparison.baseline),
      });
  }
  const [baseline] = subjects;
  const fromOthers = subjects.slice(first.report.subjects.length);
  return {
    ...first.report,
    subjects,
    rooflines,
    layers,
    comparisons: [...comparisons, ...fromOthers.map((result) => separateRuns(result, baseline!))],
    warnings: [
      ...joinWarnings(named),
      ...named.flatMap(({ name, report }) =>
        report.warnings.map((warning) => ({ ...warning, text: `${name}: ${warning.text}` })),
      ),
    ],
  };
}

function joinWarnings(named: readonly NamedReport[]): Warning[] {
  const runs = named.map(({ name, report }) => `${name} (${report.createdAt})`).join(', ');
  const [first, ...others] = named;
  return [
    {
      code: 'separate-runs',
      text: `${runs} are runs of their own: temperature, clocks and other load may differ between them, and no interval covers that. For a ratio to rely on, measure the subjects side by side in one bench.`,
    },
    ...others.flatMap(({ name, report }) =>
      machineDifferences(report.machine, first!.report.machine).map(({ code, text }) => ({
        code,
        text: `${name} against ${first!.name}: ${text}`,
      })),
    ),
  ];
}

const confidence = 0.95;
/** Blocks of neighbouring chunks that are drawn: a busy moment slows neighbours together. */
const blockCount = 20;

/** Both drawn by themselves: they took no turns. */
function separateRuns(result: SubjectResult, baseline: SubjectResult): Comparison {
  const tail = (1 - confidence) / 2;
  const [ours, theirs] = [result, baseline].map(({ chunks }, i) =>
    resampled(new Blocks(cutBlocks(totals(chunks), blockCount)), 50, enoughDraws(tail), i + 1),
  );
  const { value, low, high } = intervalOf(
    { log: theirs!.log - ours!.log, draws: theirs!.draws.map((draw, i) => draw - ours!.draws[i]!) },
    tail,
  );
  const names = { subject: result.subject.name, baseline: baseline.subject.name };
  return { ...names, ratio: value, low, high, confidence, rounds: 0 };
}
