/** Reports of several runs as one, with a warning about what such a comparison cannot know. */

import type { Warning } from '../../machine/types.ts';
import { machineDifferences } from '../../machine/warnings.ts';
import { Blocks, cutBlocks, enoughDraws, intervalOf, resampled } from '../measure/bootstrap.ts';
import type { BenchReport, Comparison, SubjectResult } from '../types.ts';
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
 *
 * @param named at least one
 * @throws RangeError for an empty list
 */
export function joinReports(named: readonly NamedReport[]): BenchReport {
  const [first, ...others] = named;
  if (first === undefined) throw new RangeError('no report to join');
  if (others.length === 0) return first.report;
  const names = named.flatMap(({ report }) => report.subjects.map(({ subject }) => subject.name));
  const renamed = named.map(({ name: run, report }): BenchReport => {
    const rename = (name: string): string =>
      names.indexOf(name) === names.lastIndexOf(name) ? name : `${name} (${run})`;
    const byName = <T>(of: Readonly<Record<string, T>>): Record<string, T> =>
      Object.fromEntries(Object.entries(of).map(([name, value]) => [rename(name), value]));
    return {
      ...report,
      subjects: report.subjects.map((one) => ({
        ...one,
        subject: { ...one.subject, name: rename(one.subject.name) },
      })),
      rooflines: byName(report.rooflines),
      layers: byName(report.layers),
      comparisons: report.comparisons.map((one) => ({
        ...one,
        subject: rename(one.subject),
        baseline: rename(one.baseline),
      })),
      warnings: report.warnings.map((warning) => ({ ...warning, text: `${run}: ${warning.text}` })),
    };
  });
  const subjects = renamed.flatMap((report) => report.subjects);
  const fromOthers = subjects.slice(first.report.subjects.length);
  return {
    ...first.report,
    subjects,
    rooflines: Object.assign({}, ...renamed.map(({ rooflines }) => rooflines)),
    layers: Object.assign({}, ...renamed.map(({ layers }) => layers)),
    comparisons: [
      ...renamed.flatMap(({ comparisons }) => comparisons),
      ...fromOthers.map((result) => separateRuns(result, subjects[0]!)),
    ],
    warnings: [...joinWarnings(first, others), ...renamed.flatMap(({ warnings }) => warnings)],
  };
}

function joinWarnings(first: NamedReport, others: readonly NamedReport[]): Warning[] {
  const runs = [first, ...others].map(({ name, report }) => `${name} (${report.createdAt})`).join(', ');
  return [
    {
      code: 'separate-runs',
      text: `${runs} are runs of their own: temperature, clocks and other load may differ between them, and no interval covers that. For a ratio to rely on, measure the subjects side by side in one bench.`,
    },
    ...others.flatMap(({ name, report }) =>
      machineDifferences(report.machine, first.report.machine).map(({ code, text }) => ({
        code,
        text: `${name} against ${first.name}: ${text}`,
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
  const draw = ({ chunks }: SubjectResult, seed: number) =>
    resampled(new Blocks(cutBlocks(totals(chunks), blockCount)), 50, enoughDraws(tail), seed);
  const [ours, theirs] = [draw(result, 1), draw(baseline, 2)];
  const { value, low, high } = intervalOf(
    { log: theirs.log - ours.log, draws: theirs.draws.map((log, i) => log - ours.draws[i]!) },
    tail,
  );
  const names = { subject: result.subject.name, baseline: baseline.subject.name };
  return { ...names, ratio: value, low, high, confidence, rounds: 0 };
}
