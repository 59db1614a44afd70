/** What a run is compared with: earlier reports on disk, matched by subject, and whether they can be compared at all. */

import type { Warning } from '../../machine/types.ts';
import { machineDifferences } from '../../machine/warnings.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { readReport } from '../report/readReport.ts';
import type { BenchReport, SubjectFacts, SubjectResult } from '../types.ts';
import type { GateBaseline } from './judge.ts';

/** A report and the file it was read from. */
export interface BaselineFile {
  readonly file: string;
  readonly report: BenchReport;
}

/**
 * Reads an earlier report of `bench` to compare with.
 *
 * @throws (rejects) BASELINE_INVALID with the file and what is wrong with it
 */
export async function readBaseline(file: string): Promise<BaselineFile> {
  return { file, report: await readReport(file, 'BASELINE_INVALID') };
}

/** Differences between machines after which a ratio says nothing about the program. */
const refused = ['different-board', 'different-gpu', 'different-cores', 'different-power-mode'];

/** A subject of an earlier report, with which a subject of this run is compared. */
export interface MatchedBaseline {
  readonly baselines: readonly GateBaseline[];
  readonly warnings: readonly Warning[];
}

/**
 * Finds the baseline of each subject: the one of the same name, or the only one there is.
 *
 * @throws BASELINE_REFUSED for another board, GPU, number of cores or power mode; BASELINE_INVALID if a file lacks a subject
 */
export function matchBaselines(
  report: Pick<BenchReport, 'machine' | 'subjects' | 'software'>,
  files: readonly BaselineFile[],
): MatchedBaseline {
  const warnings: Warning[] = [];
  for (const { file, report: then } of files) {
    const differences = machineDifferences(report.machine, then.machine);
    const refusal = differences.find(({ code }) => refused.includes(code));
    if (refusal !== undefined) {
      throw new SemanticVlaError(
        'BASELINE_REFUSED',
        `${file}: expected a report of this machine in this state. ${refusal.text} Or give limits in ms, which need no baseline.`,
      );
    }
    const all = [...differences, ...softwareWarnings(report.software, then.software ?? {})];
    warnings.push(...all.map(({ code, text }) => ({ code, text: `${file}: ${text}` })));
  }
  const [first] = files;
  const name = files.length === 1 ? first!.file : `${files.length} runs from ${first?.file} on`;
  const disturbed = files.map(({ report, file }) => disturbanceOf(report, file)).find(Boolean);
  const baselines = report.subjects.map((subject): GateBaseline => {
    const results = files.map((file) => {
      const result = matching(subject.subject.name, report.subjects.length, file);
      warnings.push(...factWarnings(subject, result, file.file));
      return result;
    });
    return { kind: 'runs', name, results, ...(disturbed === undefined ? {} : { disturbed }) };
  });
  return { baselines, warnings };
}

function matching(name: string, count: number, { file, report: { subjects } }: BaselineFile): SubjectResult {
  const named = subjects.find(({ subject }) => subject.name === name);
  if (named !== undefined) return named;
  if (count === 1 && subjects.length === 1) return subjects[0]!;
  const known = subjects.map(({ subject }) => subject.name).join(', ');
  throw new SemanticVlaError(
    'BASELINE_INVALID',
    `${file}: expected the subject ${name}, found ${known}. Measure the same subjects.`,
  );
}

/** Why a run was slower than its subjects are; undefined if nothing was seen. */
export function disturbanceOf(
  { warnings }: Pick<BenchReport, 'warnings'>,
  whose: string,
): string | undefined {
  const found = warnings.find(({ code }) => code === 'background-load' || code === 'throttled');
  if (found === undefined) return undefined;
  const what = found.code === 'throttled' ? 'was throttled' : 'had other work';
  return `the machine ${what} during ${whose}: measure again, or use --baseline FOLDER, which takes turns`;
}

/** The facts that determine how long a chunk takes. */
const telling: readonly (keyof SubjectFacts)[] = [
  ...(['variant', 'backend', 'runtime', 'precision', 'weights', 'promptTokens'] as const),
  ...(['cameras', 'chunk', 'parameters', 'threads', 'frame'] as const),
];

function factWarnings(now: SubjectResult, then: SubjectResult, file: string): Warning[] {
  const factOf = (fact: (typeof telling)[number] | 'rate', { subject, rhythm }: SubjectResult) =>
    JSON.stringify(fact === 'rate' ? (rhythm?.rateHz ?? null) : subject[fact]);
  return [...telling, 'rate' as const].flatMap((fact) => {
    const [here, there] = [now, then].map((result) => factOf(fact, result));
    const text = `${file}: ${fact} of ${now.subject.name} is ${here} here and ${there} in the baseline: the ratio is of two different things.`;
    return here === there ? [] : [{ code: 'baseline-differs', text }];
  });
}

function softwareWarnings(now: BenchReport['software'], then: BenchReport['software']): Warning[] {
  return Object.keys(now)
    .filter((name) => name !== 'semanticvla' && now[name] !== then[name])
    .map((name) => ({
      code: 'different-software',
      text: `${name} ${now[name]} here and ${then[name] ?? 'unknown'} in the baseline: the ratio holds what that changes.`,
    }));
}
