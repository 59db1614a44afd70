/**
 * The regression gate: decides whether a condition holds, but only if the measurement is precise enough. It looks at the confidence
 * interval rather than the value: `fail` if the whole interval is beyond the limit, `pass` if none of it is, else `noisy`.
 */

import { SemanticVlaError } from '../../support/errors.ts';
import { Random } from '../../support/random.ts';
import { enoughDraws, intervalOf, type Resampled, studentScale } from '../measure/bootstrap.ts';
import type { ChunkRecord, GateVerdict, SubjectResult } from '../types.ts';
import type { Condition } from './condition.ts';
import { evidenceOf, isUnknown, pairedEvidence, type Unknown } from './evidence.ts';

/** A subject and its baseline. */
export interface GatePair {
  readonly subject: SubjectResult;
  /** Why the run was slowed by something other than the subject, e.g. other work on the machine; a `fail` is then not trusted. */
  readonly disturbed?: string;
  readonly baseline: GateBaseline | null;
}

/** What a ratio is relative to. */
export type GateBaseline =
  /** Measured in the same run, taking turns. */
  | { readonly kind: 'paired'; readonly name: string; readonly result: SubjectResult }
  /** Earlier runs of the same subject, one per file. */
  | {
      readonly kind: 'runs';
      readonly name: string;
      readonly results: readonly SubjectResult[];
      /** Why these were slower than they should be; a `pass` is then not trusted. */
      readonly disturbed?: string;
    };

/** How certain a verdict must be. */
export interface JudgeOptions {
  /** Probability that none of the verdicts is wrong by chance; default 0.95. */
  readonly confidence?: number;
  /**
   * Standard deviation between runs of the same program, beyond what one run shows by itself, as a share; default 0.01. With
   * `runsForSpread` or more baseline runs it is estimated from them instead.
   */
  readonly betweenRuns?: number;
}

/** Observed between processes running the tiny policy (bench/falseAlarms.ts). */
export const defaultBetweenRuns = 0.01;
/** With this many baseline runs their spread is used instead of the default. */
export const runsForSpread = 5;
/** Spread between two subjects in one process, since they lie elsewhere in memory. */
const betweenLoads = 0.003;

/**
 * Returns one verdict per condition and subject.
 * @throws OPTION_REQUIRED for a ratio without a baseline; OPTION_INVALID for a stage that the subject does not have
 */
export function judge(
  pairs: readonly GatePair[],
  conditions: readonly Condition[],
  options: JudgeOptions = {},
): GateVerdict[] {
  const { confidence = 0.95, betweenRuns = defaultBetweenRuns } = options;
  // several verdicts are several chances to be wrong: each gets its share (Bonferroni), on both sides
  const tail = (1 - confidence) / (2 * pairs.length * conditions.length);
  const draws = enoughDraws(tail);
  return pairs.flatMap((pair) =>
    conditions.map((condition) => {
      requireStage(pair.subject, condition);
      const base = condition.kind === 'ratio' ? requireBaseline(pair, condition) : null;
      const evidence =
        base === null
          ? scattered(evidenceOf(valuesOf(pair.subject, condition), condition, draws), betweenRuns)
          : ratioOf(pair.subject, base, condition, betweenRuns, draws);
      return verdict(pair, condition, base, evidence, tail, confidence);
    }),
  );
}

function requireStage({ subject, summary }: SubjectResult, { text, stage }: Condition): void {
  if (summary[stage] !== undefined) return;
  const known = Object.keys(summary).join(', ');
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `--fail-if ${JSON.stringify(text)}: expected a stage of ${subject.name} (${known}), found ${stage}, which it did not run.`,
  );
}

function requireBaseline({ baseline }: GatePair, { text }: Condition): GateBaseline {
  if (baseline !== null) return baseline;
  throw new SemanticVlaError(
    'OPTION_REQUIRED',
    `--fail-if ${JSON.stringify(text)}: expected --baseline for a ratio, found none. Name a report or a folder, or give the limit in ms.`,
  );
}

function recordsOf(
  { chunks, newInstruction = [] }: SubjectResult,
  { stage }: Condition,
): readonly ChunkRecord[] {
  return stage === 'tokenize' || stage === 'instruction' ? newInstruction : chunks;
}

/** Times of the condition's stage, in order. */
function valuesOf(result: SubjectResult, condition: Condition): number[] {
  return recordsOf(result, condition).flatMap(({ stages }) => stages[condition.stage] ?? []);
}

/** The same, as one list per round. */
function valuesByRound(result: SubjectResult, condition: Condition): number[][] {
  const rounds = new Map<number, number[]>();
  for (const [i, { round = i, stages }] of recordsOf(result, condition).entries()) {
    const values = rounds.get(round) ?? [];
    rounds.set(round, values);
    const ms = stages[condition.stage];
    if (ms !== undefined) values.push(ms);
  }
  return [...rounds.values()];
}

function ratioOf(
  subject: SubjectResult,
  base: GateBaseline,
  condition: Condition,
  betweenRuns: number,
  draws: number,
): Resampled | Unknown {
  if (base.kind === 'paired') {
    const [now, then] = [subject, base.result].map((result) => valuesByRound(result, condition));
    return scattered(pairedEvidence(now!, then!, condition, draws), betweenLoads);
  }
  const now = evidenceOf(valuesOf(subject, condition), condition, draws);
  if (isUnknown(now)) return now;
  const runs: Resampled[] = [];
  for (const [i, result] of base.results.entries()) {
    const then = evidenceOf(valuesOf(result, condition), condition, draws, i + 2);
    if (isUnknown(then)) return { unknown: `in the baseline, ${then.unknown}` };
    runs.push(then);
  }
  const count = runs.length;
  const ratio = {
    log: now.log - average(runs.map(({ log }) => log)),
    draws: now.draws.map((draw, i) => draw - average(runs.map((run) => run.draws[i]!))),
  };
  const between = count < runsForSpread ? betweenRuns : spreadOf(runs);
  return scattered(ratio, between * Math.sqrt(1 + 1 / count), count < runsForSpread ? null : count - 1);
}

/** Spread between runs, beyond what each run shows by itself. */
function spreadOf(runs: readonly Resampled[]): number {
  const mean = average(runs.map(({ log }) => log));
  const total = (average(runs.map(({ log }) => (log - mean) ** 2)) * runs.length) / (runs.length - 1);
  const within = average(runs.map(({ log, draws }) => average([...draws].map((draw) => (draw - log) ** 2))));
  return Math.sqrt(Math.max(0, total - within));
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * Adds the spread between runs: started again, the same program is faster or slower by more than the chunks of one run show, since
 * its memory lies elsewhere and the machine does other things.
 * @param spread its standard deviation, as a share
 * @param degrees of freedom of the spread if it was estimated from runs; null if it is given
 */
function scattered(
  evidence: Resampled | Unknown,
  spread: number,
  degrees: number | null = null,
): Resampled | Unknown {
  if (isUnknown(evidence)) return evidence;
  const random = new Random(0);
  const scale = (): number => (degrees === null ? 1 : studentScale(random, degrees));
  return { ...evidence, draws: evidence.draws.map((draw) => draw + spread * random.normal() * scale()) };
}

function verdict(
  { subject: { subject }, disturbed }: GatePair,
  condition: Condition,
  base: GateBaseline | null,
  evidence: Resampled | Unknown,
  tail: number,
  confidence: number,
): GateVerdict {
  const { limit, side, text } = condition;
  const shared = {
    condition: text,
    subject: subject.name,
    baseline: base?.name ?? null,
    limit,
    confidence,
  };
  if (isUnknown(evidence)) {
    const nothing = { value: limit, low: 0, high: Number.MAX_VALUE };
    return { ...shared, ...nothing, outcome: 'noisy', because: `${subject.name}: ${evidence.unknown}` };
  }
  const { value, low, high } = intervalOf(evidence, tail);
  const isBeyond = side === 'above' ? low > limit : high < limit;
  const isWithin = side === 'above' ? high <= limit : low >= limit;
  const seen = isBeyond ? 'fail' : isWithin ? 'pass' : 'noisy';
  const doubt = doubtOf(seen, base, disturbed);
  const outcome = doubt === null ? seen : 'noisy';
  const show = (number: number): string => shown(number, condition);
  const judged = {
    fail: `all of it ${side} ${show(limit)}`,
    pass: `none of it ${side} ${show(limit)}`,
    noisy: `${show(limit)} lies in it: measure more chunks, or on a quieter machine`,
  }[seen];
  const against = base === null ? '' : ` against ${base.name}`;
  const because = `${subject.name}${against}: ${show(value)}, ${Number((100 * confidence).toFixed(2))} % interval ${show(low)} .. ${show(high)}; ${judged}${doubt === null ? '' : `, but ${doubt}`}`;
  return { ...shared, value, low, high, outcome, because };
}

/**
 * Why a verdict about two separate runs is doubtful. A disturbance can only slow a run down: a disturbed run that passes has truly
 * passed, and a run slower than even a disturbed baseline is truly slower.
 */
function doubtOf(
  seen: 'pass' | 'fail' | 'noisy',
  base: GateBaseline | null,
  disturbed: string | undefined,
): string | null {
  if (base?.kind === 'paired') return null;
  if (seen === 'fail' && disturbed !== undefined) return disturbed;
  if (seen === 'pass' && base?.disturbed !== undefined) return base.disturbed;
  return null;
}

function shown(value: number, { kind, statistic }: Condition): string {
  if (kind === 'ratio') return `${value.toFixed(3)}x`;
  return statistic === 'throughput' ? `${value.toPrecision(4)}/s` : `${value.toPrecision(4)} ms`;
}
