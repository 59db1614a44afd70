/** `bench --baseline --fail-if`: what is compared with what, and the exit code of the verdict. */

import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { JsonFields } from '../checkpoint/jsonFields.ts';
import { type BaselineFile, disturbanceOf, matchBaselines, readBaseline } from '../profile/gate/baseline.ts';
import { type Condition, parseCondition } from '../profile/gate/condition.ts';
import { type GatePair, type JudgeOptions, judge } from '../profile/gate/judge.ts';
import type { BenchSubject } from '../profile/measure/benchSubject.ts';
import type { BenchReport, GateVerdict } from '../profile/types.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isThere } from '../support/fileAccess.ts';
import { exitCodes } from './context.ts';

export interface GateFlags {
  readonly baseline?: readonly string[];
  readonly failIf?: readonly string[];
  readonly confidence?: number;
  readonly betweenRuns?: number;
}

/** Read and checked before anything is measured. */
export interface Gate {
  readonly conditions: readonly Condition[];
  readonly files: readonly BaselineFile[];
  /** Counterparts that are measured in the same run: one per subject, in order, or one for all. Empty: none. */
  readonly subjects: readonly BenchSubject[];
}

/** @throws (rejects) OPTION_INVALID, OPTION_REQUIRED, BASELINE_INVALID */
export async function openGate(flags: GateFlags, subjects: readonly BenchSubject[]): Promise<Gate> {
  const { baseline = [], failIf = [] } = flags;
  const conditions = failIf.map(parseCondition);
  if (conditions.length === 0 && baseline.length > 0) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      '--baseline: expected --fail-if beside it, found none. Say what must not be, e.g. --fail-if "p50 > 1.05x".',
    );
  }
  const ratio = conditions.find(({ kind }) => kind === 'ratio');
  if (ratio !== undefined && baseline.length === 0) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `--fail-if ${JSON.stringify(ratio.text)}: expected --baseline for a ratio, found none. Name a report or a folder, or give the limit in ms.`,
    );
  }
  const folders = baseline.filter((path) => existsSync(path) && statSync(path).isDirectory());
  if (folders.length > 0 && baseline.length > 1) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `--baseline: expected reports, or one folder that is measured in the same run, found ${baseline.join(' and ')}.`,
    );
  }
  const [folder] = folders;
  return {
    conditions,
    files: folder === undefined ? await Promise.all(baseline.map(readBaseline)) : [],
    subjects: folder === undefined ? [] : await counterparts(folder, subjects),
  };
}

/** A checkpoint's folder: one subject with the options of the first. Another version's: its loadPolicy for each subject. */
async function counterparts(
  folder: string,
  subjects: readonly BenchSubject[],
): Promise<readonly BenchSubject[]> {
  const version = await packageVersion(folder);
  if (version === null) {
    const { preset: _, name: __, ...first } = subjects[0]!;
    return [{ ...first, checkpoint: folder, name: `baseline ${folder}` }];
  }
  const entry = pathToFileURL(join(resolve(folder), 'dist/index.js')).href;
  const { loadPolicy } = (await import(entry)) as { loadPolicy: NonNullable<BenchSubject['load']> };
  const load: NonNullable<BenchSubject['load']> = async (dir, options) => {
    try {
      return await loadPolicy(dir, options);
    } catch (cause) {
      options.signal?.throwIfAborted();
      // its errors are of another class than this version's
      throw new SemanticVlaError(
        'BASELINE_INVALID',
        `${folder}: semanticvla ${version} cannot load ${dir}: ${(cause as Error).message}`,
        { cause },
      );
    }
  };
  return subjects.map((subject) => ({ ...subject, load, version: `semanticvla ${version}` }));
}

/** null where the folder is not one of this package. @throws (rejects) BASELINE_INVALID one that is not built */
async function packageVersion(folder: string): Promise<string | null> {
  const file = join(folder, 'package.json');
  if (!(await isThere(file, 'BASELINE_INVALID'))) return null;
  const manifest = await JsonFields.read(file, 'BASELINE_INVALID', 'BASELINE_INVALID');
  if (manifest.get('name') !== 'semanticvla') return null;
  if (!existsSync(join(folder, 'dist/index.js'))) {
    throw new SemanticVlaError(
      'BASELINE_INVALID',
      `${folder}: expected semanticvla with its dist/ built, found none. Run npm ci there.`,
    );
  }
  return manifest.string('version');
}

/** The report with its verdicts; of a report that held counterparts these come first. */
export function withVerdicts(report: BenchReport, gate: Gate, flags: GateFlags): BenchReport {
  if (gate.conditions.length === 0) return report;
  const count = gate.subjects.length;
  const subjects = report.subjects.slice(count);
  const matched = gate.files.length === 0 ? null : matchBaselines({ ...report, subjects }, gate.files);
  const disturbed = disturbanceOf(report, 'this run');
  const pairs = subjects.map(
    (subject, i): GatePair => ({
      subject,
      baseline: matched?.baselines[i] ?? counterpart(report, count, i),
      ...(disturbed === undefined ? {} : { disturbed }),
    }),
  );
  const verdicts = judge(pairs, gate.conditions, judgeOptions(flags));
  return { ...report, warnings: [...report.warnings, ...(matched?.warnings ?? [])], gate: verdicts };
}

/** Percent, as typed, to shares. */
export function judgeOptions({ confidence, betweenRuns }: GateFlags): JudgeOptions {
  return {
    ...(confidence === undefined ? {} : { confidence: confidence / 100 }),
    ...(betweenRuns === undefined ? {} : { betweenRuns: betweenRuns / 100 }),
  };
}

function counterpart(report: BenchReport, count: number, i: number): GatePair['baseline'] {
  const result = report.subjects[count === 1 ? 0 : i];
  if (count === 0 || result === undefined) return null;
  return { kind: 'paired', name: result.subject.name, result };
}

/** 1 when any condition is met, 4 when none is met but one cannot be decided, else 0. */
export function gateExitCode(verdicts: readonly GateVerdict[] = []): number {
  if (verdicts.some(({ outcome }) => outcome === 'fail')) return exitCodes.refused;
  return verdicts.some(({ outcome }) => outcome === 'noisy') ? exitCodes.noisy : exitCodes.ok;
}
