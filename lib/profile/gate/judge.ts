/**
 * The regression gate: decides whether a condition holds, but only if the measurement is precise enough. It looks at the confidence
 * interval rather than the value: `fail` if the whole interval is beyond the limit, `pass` if none of it is, else `noisy`.
 */

import { SemanticVlaError } from '../../support/errors.ts';
import { Random } from '../../support/random.ts';
import { enoughDraws, intervalOf, type Resampled, studentScale } from '../measure/bootstrap.ts';
import { mean } from '../measure/percentiles.ts';
import type { GateVerdict, Timed } from '../types.ts';
import type { Condition } from './condition.ts';
import { evidenceOf, isUnknown, pairedEvidence, type Unknown } from './evidence.ts';

/** A subject and its baseline. */
export interface GatePair {
  readonly subject: Timed;
  /** Why the run was slowed by something other than the subject, e.g. other work on the machine; a `fail` is then not trusted. */
  readonly disturbed?: string;
  readonly baseline: GateBaseline | null;
}

/** What a ratio is relative to. */
export type GateBaseline =
  /** Measured in the same run, taking turns. */
  | { readonly kind: 'paired'; readonly name: string; readonly result: Timed }
  /** Earlier runs of the same subject, one per file. */
  | {
      readonly kind: 'runs';
      readonly name: string;
      readonly results: readonly Timed[];
      /** Why these were slower than they should be; a `pass` is then not trusted. */
      readonly disturbed?: string;
    };

/** How certain a verdict must be. */
export interface JudgeOptions {
  /** Probability that none of the verdicts is wrong by chance; default 0.95. */
  readonly confidence?: number;
  /**
   * Standard deviation between runs of the same program, beyond what one run shows by itself, as a share; default 0.01, as observed
   * between processes running the tiny policy (bench/falseAlarms.ts). With five baseline runs or more it is estimated from them.
   */
  readonly betweenRuns?: number;
}

const runsForSpread = 5;
/** Spread between two subjects in one process, since they lie elsewhere in memory. */
const betweenLoads = 0.003;

/**
 * Returns one verdict per condition and subject.
 * @throws OPTION_REQUIRED for a ratio without a baseline; OPTION_INVALID for a stage that the subject does not have
 */
export function judge(
  pairs: readonly GatePair[],
  conditions: readonly Condition[],
  { confidence = 0.95, betweenRuns = 0.01 }: JudgeOptions = {},
): GateVerdict[] {
  // several verdicts are several chances to be wrong: each gets its share (Bonferroni), on both sides
  const tail = (1 - confidence) / (2 * pairs.length * conditions.length);
  const draws = enoughDraws(tail);
  return pairs.flatMap((pair) =>
    conditions.map((condition) => {
      const base = baseOf(pair, condition);
      const evidence =
        base === null
          ? scattered(evidenceOf(byRound(pair.subject, condition).flat(), condition, draws), betweenRuns)
          : ratioOf(pair.subject, base, condition, betweenRuns, draws);
      return verdict(pair, condition, base, evidence, tail, confidence);
    }),
  );
}

/** What a condition is relative to; null: to nothing. */
function baseOf(
  { subject: { subject, summary }, baseline }: GatePair,
  { text, stage, kind }: Condition,
): GateBaseline | null {
  const where = `--fail-if ${JSON.stringify(text)}: expected`;
  if (summary[stage] === undefined) {
    const known = Object.keys(summary).join(', ');
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `${where} a stage of ${subject.name} (${known}), found ${stage}, which it did not run.`,
    );
  }
  if (kind === 'ratio' && baseline === null) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `${where} --baseline for a ratio, found none. Name a report or a folder, or give the limit in ms.`,
    );
  }
  return kind === 'ratio' ? baseline : null;
}

/** Times of the condition's stage in order, one list per round. */
function byRound({ chunks, newInstruction = [] }: Timed, { stage }: Condition): number[][] {
  const records = stage === 'tokenize' || stage === 'instruction' ? newInstruction : chunks;
  const rounds = new Map<number, number[]>();
  for (const [i, { round = i, stages }] of records.entries()) {
    if (!rounds.has(round)) rounds.set(round, []);
    if (stages[stage] !== undefined) rounds.get(round)!.push(stages[stage]);
  }
  return [...rounds.values()];
}

function ratioOf(
  subject: Timed,
  base: GateBaseline,
  condition: Condition,
  betweenRuns: number,
  draws: number,
): Resampled | Unknown {
  if (base.kind === 'paired') {
    const [now, then] = [subject, base.result].map((result) => byRound(result, condition));
    return scattered(pairedEvidence(now!, then!, condition, draws), betweenLoads);
  }
  const evidence = [subject, ...base.results].map((result, i) =>
    evidenceOf(byRound(result, condition).flat(), condition, draws, i + 1),
  );
  const unknown = evidence.findIndex(isUnknown);
  if (unknown >= 0) {
    const { unknown: why } = evidence[unknown] as Unknown;
    return { unknown: unknown === 0 ? why : `in the baseline, ${why}` };
  }
  const [now, ...runs] = evidence as [Resampled, ...Resampled[]];
  const count = runs.length;
  const ratio = {
    log: now.log - mean(runs.map(({ log }) => log)),
    draws: now.draws.map((draw, i) => draw - mean(runs.map((run) => run.draws[i]!))),
  };
  const isEstimated = count >= runsForSpread;
  const between = isEstimated ? spreadOf(runs) : betweenRuns;
  return scattered(ratio, between * Math.sqrt(1 + 1 / count), isEstimated ? count - 1 : null);
}

/** Spread between runs, beyond what each run shows by itself. */
function spreadOf(runs: readonly Resampled[]): number {
  const middle = mean(runs.map(({ log }) => log));
  const total = (mean(runs.map(({ log }) => (log - middle) ** 2)) * runs.length) / (runs.length - 1);
  const within = mean(runs.map(({ log, draws }) => mean(draws.map((draw) => (draw - log) ** 2))));
  return Math.sqrt(Math.max(0, total - within));
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
  const shared = { condition: text, subject: subject.name, baseline: base?.name ?? null, limit, confidence };
  if (isUnknown(evidence)) {
    const nothing = { value: limit, low: 0, high: Number.MAX_VALUE };
    return { ...shared, ...nothing, outcome: 'noisy', because: `${subject.name}: ${evidence.unknown}` };
  }
  const { value, low, high } = intervalOf(evidence, tail);
  const isBeyond = side === 'above' ? low > limit : high < limit;
  const isWithin = side === 'above' ? high <= limit : low >= limit;
  const seen = isBeyond ? 'fail' : isWithin ? 'pass' : 'noisy';
  // a disturbance can only slow a run down: a disturbed run that passes has truly passed, and a run slower than even a
  // disturbed baseline is truly slower; subjects of one run are slowed alike
  const doubt =
    base?.kind === 'paired' || seen === 'noisy' ? undefined : seen === 'fail' ? disturbed : base?.disturbed;
  const show = (number: number): string => shown(number, condition);
  const judged = {
    fail: `all of it ${side} ${show(limit)}`,
    pass: `none of it ${side} ${show(limit)}`,
    noisy: `${show(limit)} lies in it: measure more chunks, or on a quieter machine`,
  }[seen];
  const against = base === null ? '' : ` against ${base.name}`;
  const because = `${subject.name}${against}: ${show(value)}, ${Number((100 * confidence).toFixed(2))} % interval ${show(low)} .. ${show(high)}; ${judged}${doubt === undefined ? '' : `, but ${doubt}`}`;
  return { ...shared, value, low, high, outcome: doubt === undefined ? seen : 'noisy', because };
}

function shown(value: number, { kind, statistic }: Condition): string {
  if (kind === 'ratio') return `${value.toFixed(3)}x`;
  return statistic === 'throughput' ? `${value.toPrecision(4)}/s` : `${value.toPrecision(4)} ms`;
}
