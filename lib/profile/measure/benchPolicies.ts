/** `bench` as a function: measures policies side by side in one run, with everything a reader needs to trust the result. */

import { seriesWarnings } from '../../machine/seriesWarnings.ts';
import { subjectEnergy, turnsOf } from '../../machine/subjectEnergy.ts';
import { watchMachine } from '../../machine/watchMachine.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { monotonicMs } from '../../support/monotonicMs.ts';
import { checkOptions, checkSignal, expected, present } from '../../support/options.ts';
import { usualFrame, usualInstruction } from '../../synth/randomObservation.ts';
import type { Policy } from '../../types.ts';
import { findDevice } from '../roofline/devices.ts';
import { stageNames } from '../stages.ts';
import { EventLoopWatch } from '../trace/eventLoopWatch.ts';
import type { BenchReport, ChunkRecord, Comparison, StageName, SubjectResult, Summary } from '../types.ts';
import { addExtras, type ExtraOptions } from './benchExtras.ts';
import type { BenchSubject } from './benchSubject.ts';
import { pairedRatio } from './bootstrap.ts';
import { summarize } from './percentiles.ts';
import { type RunLimits, type RunResult, runInTurns, usualTurnMs } from './runner.ts';
import { checkRecorder, selfCheckWarnings } from './selfCheck.ts';
import { onnxRuntimeVersion, packageVersion } from './subjectFacts.ts';
import { type LoadedSubject, type LoadOptions, loadSubjects } from './subjects.ts';
import { subjectWarnings } from './warnings.ts';

/** What to measure, for how long, and what to add to the report. */
export interface BenchOptions
  extends Partial<RunLimits>,
    Pick<LoadOptions, 'observation' | 'cacheDir' | 'onProgress' | 'signal'>,
    Pick<ExtraOptions, 'layers' | 'roofline'> {
  /** The instruction for policies that have none of their own. */
  readonly instruction?: string;
  /** Size of the random frames; default 256 x 256, LIBERO's. */
  readonly frame?: LoadOptions['frame'];
  /** Percentiles to report besides 90, 95 and 99. */
  readonly percentiles?: readonly number[];
  /** Milliseconds between two readings of the machine's sensors, >= 10; default 100. */
  readonly sampleMs?: number;
  /** Confidence of the intervals; default 0.95. */
  readonly confidence?: number;
  /** The command that the report names; default: the process's arguments. */
  readonly command?: readonly string[];
}

/**
 * Enough for a claim about a GPU (1000 chunks after 300), in at most a minute and a half per subject: a slow policy on a CPU stops
 * earlier, and the report says so.
 */
export const defaultLimits: RunLimits = {
  warmUpMs: 200,
  warmUpChunks: 300,
  warmUpLimitMs: 30_000,
  warmUpLimitChunks: Number.MAX_SAFE_INTEGER,
  iterations: 1000,
  durationMs: 3000,
  limitMs: 60_000,
  turnMs: usualTurnMs,
  newInstructions: 30,
};

const optionNames: readonly (keyof BenchOptions)[] = [
  ...(Object.keys(defaultLimits) as (keyof RunLimits)[]),
  ...(['sampleMs', 'observation', 'cacheDir', 'onProgress', 'signal', 'instruction', 'frame'] as const),
  ...(['percentiles', 'confidence', 'command', 'layers', 'roofline', 'rateHz'] as const),
];

/**
 * Loads the subjects, warms them up until they are steady, and measures them in turns. All others are compared with the first.
 *
 * @throws (rejects) OPTION_*, the codes of loadPolicy and synthesizeCheckpoint, OUTPUT_NO_SPACE, the signal's reason
 */
export async function benchPolicies(
  subjects: readonly BenchSubject[],
  options: BenchOptions = {},
): Promise<BenchReport> {
  checkOptions(options, optionNames, 'benchPolicies');
  checkSignal(options.signal);
  checkRoofline(options.roofline, subjects);
  const limits = checkLimits(options);
  const check = await checkRecorder();
  const policies: Policy[] = [];
  try {
    const loaded = await loadSubjects(subjects, loadOptions(options), policies);
    await using watch = await watchMachine(present({ intervalMs: options.sampleMs }));
    const delay = new EventLoopWatch();
    delay.start();
    const results = await runInTurns(
      loaded.map(({ runner }) => runner),
      {
        ...limits,
        ...present({ rateHz: options.rateHz, signal: options.signal, onProgress: options.onProgress }),
      },
    ).finally(() => delay.stop());
    const eventLoopDelay = delay.finish();
    const chunks = results.reduce(
      (sum, { warmUp, chunks, newInstruction, uncounted }) =>
        sum + warmUp.chunks + chunks.length + newInstruction.length + uncounted,
      0,
    );
    // the clocks of the runner and of the samples run alike, but count from different moments
    const startMonotonicMs = results[0]!.originMs + monotonicMs() - performance.now();
    const turns = turnsOf(results.map((result) => result.chunks));
    const firstTurns = turns.flatMap(([first]) => first?.fromMs ?? []);
    const { machine, warnings } = await watch.finish(chunks, {
      startMonotonicMs,
      measuredFromMs: Math.min(...firstTurns),
    });
    const subjectResults = loaded.map((one, i) => ({
      ...resultOf(one, results[i]!, options, loaded.length),
      energy: subjectEnergy(machine.series ?? null, turns[i]!),
    }));
    const starts = subjectResults.map(({ subject, chunks: own }) => ({
      name: subject.name,
      startsMs: own.map(({ startMs }) => startMs),
    }));
    const report: BenchReport = {
      format: 'semanticvla-bench',
      version: 1,
      createdAt: new Date().toISOString(),
      command: options.command ?? process.argv.slice(1),
      software: software(),
      machine,
      selfCheck: { ...check, eventLoopDelay },
      subjects: subjectResults,
      comparisons: comparisonsOf(subjectResults, results, options.confidence ?? 0.95),
      rooflines: {},
      layers: {},
      warnings: [
        ...selfCheckWarnings(check),
        ...warnings,
        ...seriesWarnings(machine, starts),
        ...subjectResults.flatMap(subjectWarnings),
      ],
    };
    return await addExtras(report, loaded, options);
  } finally {
    for (const policy of policies) await policy.close();
  }
}

/** Before anything is measured. */
function checkRoofline(roofline: BenchOptions['roofline'], subjects: readonly BenchSubject[]): void {
  if (typeof roofline === 'string') findDevice(roofline);
  if (roofline !== true || subjects.every(({ options }) => options?.backend === 'tensorrt')) return;
  throw new SemanticVlaError(
    'OPTION_REQUIRED',
    'Roofline of a CPU: expected the name of a device, since the table has none, found no name. Use bench --roofline NAME (semanticvla roofline lists them), or --backend tensorrt.',
  );
}

function loadOptions(options: BenchOptions): LoadOptions {
  const { observation, cacheDir, onProgress, signal } = options;
  return {
    instruction: options.instruction ?? usualInstruction,
    frame: options.frame ?? usualFrame,
    ...present({ observation, cacheDir, onProgress, signal }),
  };
}

function checkLimits(options: BenchOptions): RunLimits {
  const given = (Object.keys(defaultLimits) as (keyof RunLimits)[]).map((name) => {
    const value = options[name] ?? defaultLimits[name]!;
    if (Number.isFinite(value) && value >= 0) return [name, value] as const;
    throw new SemanticVlaError('OPTION_INVALID', `Option ${name}: expected a number >= 0, found ${value}.`);
  });
  const { rateHz } = options;
  if (rateHz !== undefined && !(rateHz > 0 && rateHz <= 1000))
    throw expected('OPTION_INVALID', 'a number of Hz in 0..1000', 'rateHz', rateHz);
  const limits = Object.fromEntries(given) as unknown as RunLimits;
  if (limits.iterations < 1 || limits.limitMs <= 0) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option ${limits.iterations < 1 ? 'iterations' : 'limitMs'}: expected at least one chunk and a limit above 0, found ${limits.iterations} and ${limits.limitMs}.`,
    );
  }
  return limits;
}

function resultOf(
  { facts, cold }: LoadedSubject,
  run: RunResult,
  { percentiles = [], rateHz }: BenchOptions,
  subjects: number,
): SubjectResult {
  return {
    subject: facts,
    cold,
    warmUp: run.warmUp,
    chunks: run.chunks,
    newInstruction: run.newInstruction,
    summary: summaryOf(run.chunks, run.newInstruction, percentiles),
    throughput: (1000 * run.chunks.length) / run.ranMs,
    ...(rateHz === undefined ? {} : { rhythm: { rateHz, missed: run.missed } }),
    // this is of the whole process since its start, so only a single subject can claim it
    peakMemoryBytes: subjects === 1 ? process.resourceUsage().maxRSS * 1024 : null,
  };
}

/** Statistics by stage. `tokenize` and `instruction` are of the chunks with a new instruction; the rest is of the others. */
export function summaryOf(
  chunks: readonly ChunkRecord[],
  newInstruction: readonly ChunkRecord[],
  percentiles: readonly number[] = [],
): Readonly<Partial<Record<StageName, Summary>>> {
  const summary: Partial<Record<StageName, Summary>> = {};
  for (const stage of stageNames) {
    const records = stage === 'tokenize' || stage === 'instruction' ? newInstruction : chunks;
    const values = records.flatMap(({ stages }) => stages[stage] ?? []);
    if (values.length > 0) summary[stage] = summarize(values, percentiles);
  }
  return summary;
}

/** Compares every other subject with the first, round by round. */
function comparisonsOf(
  results: readonly SubjectResult[],
  runs: readonly RunResult[],
  confidence: number,
): Comparison[] {
  const [baseline, ...others] = results;
  if (baseline === undefined || others.length === 0) return [];
  const { rounds } = runs[0]!;
  const base = byRound(baseline.chunks, rounds);
  return others.map((result) => {
    const { value: ratio, low, high } = pairedRatio(base, byRound(result.chunks, rounds), 50, confidence);
    const names = { subject: result.subject.name, baseline: baseline.subject.name };
    return { ...names, ratio, low, high, confidence, rounds };
  });
}

/** Total times by round. */
export function byRound(chunks: readonly ChunkRecord[], rounds: number): number[][] {
  const values: number[][] = Array.from({ length: rounds }, () => []);
  for (const { round, stages } of chunks) values[round!]!.push(stages.total!);
  return values;
}

function software(): Record<string, string> {
  return {
    semanticvla: packageVersion('../../..'),
    node: process.versions.node,
    'ONNX Runtime': onnxRuntimeVersion(),
  };
}
