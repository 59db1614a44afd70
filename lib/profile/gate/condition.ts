/** A condition of `--fail-if`: a statistic of a stage, and a limit that it must not pass. */

import { SemanticVlaError } from '../../support/errors.ts';
import { nearest } from '../../support/options.ts';
import { stageNames } from '../stages.ts';
import type { StageName } from '../types.ts';

/** A parsed condition of `--fail-if`. */
export interface Condition {
  /** As written. */
  readonly text: string;
  readonly stage: StageName;
  readonly statistic: 'mean' | 'throughput' | 'percentile';
  /** 0 < p < 100; null if the statistic is not a percentile. */
  readonly percentile: number | null;
  /** The gate fails if the value is beyond the limit on this side. */
  readonly side: 'above' | 'below';
  readonly limit: number;
  /** `ratio`: relative to a baseline, value now / value then. `absolute`: milliseconds, or chunks per second. */
  readonly kind: 'ratio' | 'absolute';
}

const grammar =
  'STATISTIC > LIMIT, where STATISTIC is p50, p90, p95, p99, mean or throughput, of a stage with its name before it ' +
  '(compute.p50), and LIMIT is a ratio to the baseline (1.05x) or a time (12ms); throughput < 0.95x or throughput < 80/s';

/** Milliseconds per unit. */
const units: Readonly<Record<string, number>> = { us: 1e-3, ms: 1, s: 1000 };

/**
 * Parses `p50 > 1.05x`, `compute.p99 > 12ms`, `throughput < 0.95x`, `throughput < 80/s`.
 * @throws OPTION_INVALID with the position, what was expected there and what was found
 */
export function parseCondition(text: string): Condition {
  const reader = new Reader(text);
  const { stage, statistic, percentile } = readLeft(reader);
  const side = readSide(reader);
  const { limit, kind } = readLimit(reader, statistic);
  reader.end();
  return { text: text.trim(), stage, statistic, percentile, side, limit, kind };
}

class Reader {
  readonly text: string;
  #at = 0;

  constructor(text: string) {
    this.text = text;
  }

  /** Skips white space and returns what matches, moving past it; null, without moving, if nothing does. */
  take(pattern: RegExp): string | null {
    const before = this.#at;
    this.#space();
    const match = this.takeNext(pattern);
    if (match === null) this.#at = before;
    return match;
  }

  /** The same without skipping white space. */
  takeNext(pattern: RegExp): string | null {
    const sticky = new RegExp(pattern.source, 'y');
    sticky.lastIndex = this.#at;
    const match = sticky.exec(this.text)?.[0] ?? null;
    if (match !== null) this.#at += match.length;
    return match;
  }

  back(length: number): void {
    this.#at -= length;
  }

  end(): void {
    this.#space();
    if (this.#at < this.text.length) throw this.error('the end');
  }

  /** Returns an error for the caller to throw. */
  error(expected: string): SemanticVlaError {
    this.#space();
    const rest = this.text.slice(this.#at);
    const found = rest === '' ? 'nothing' : JSON.stringify(rest);
    return new SemanticVlaError(
      'OPTION_INVALID',
      `--fail-if ${JSON.stringify(this.text)}: expected ${expected} at character ${this.#at + 1}, found ${found}. A condition is ${grammar}.`,
    );
  }

  #space(): void {
    while (this.text[this.#at] === ' ') this.#at += 1;
  }
}

function readLeft(reader: Reader): Pick<Condition, 'stage' | 'statistic' | 'percentile'> {
  const word = reader.take(/[A-Za-z][A-Za-z0-9]*/);
  if (word === null) throw reader.error('a statistic or a stage');
  // `p99.9` is a single statistic; `compute.p50` is a stage and a statistic
  const dot = /^p\d+$/.test(word) ? null : reader.takeNext(/\./);
  if (dot === null) return { stage: 'total', ...readStatistic(reader, word) };
  const stage = stageNames.find((name) => name === word);
  if (stage === undefined) {
    reader.back(word.length + 1);
    const meant = nearest(word, stageNames);
    throw reader.error(
      `a stage (${stageNames.join(', ')}${meant === null ? '' : `; ${meant} was probably meant`})`,
    );
  }
  const statistic = reader.takeNext(/[A-Za-z][A-Za-z0-9]*/);
  if (statistic === null) throw reader.error('a statistic');
  const found = readStatistic(reader, statistic);
  if (found.statistic === 'throughput') {
    reader.back(statistic.length);
    throw reader.error('a statistic of times (throughput is of whole chunks)');
  }
  return { stage, ...found };
}

function readStatistic(reader: Reader, word: string): Pick<Condition, 'statistic' | 'percentile'> {
  if (word === 'mean' || word === 'throughput') return { statistic: word, percentile: null };
  if (word === 'median') return { statistic: 'percentile', percentile: 50 };
  if (/^p\d+$/.test(word)) {
    const fraction = reader.takeNext(/\.\d+/) ?? '';
    const percentile = Number(`${word.slice(1)}${fraction}`);
    if (percentile > 0 && percentile < 100) return { statistic: 'percentile', percentile };
    reader.back(word.length + fraction.length);
    throw reader.error('a percentile between p0 and p100');
  }
  reader.back(word.length);
  if (word === 'min' || word === 'max') {
    throw reader.error(
      `p50, p90, p95, p99, mean or throughput (of ${word} nothing can be said with confidence: one chunk decides it)`,
    );
  }
  throw reader.error('p50, p90, p95, p99, mean or throughput');
}

function readSide(reader: Reader): Condition['side'] {
  const operator = reader.take(/[<>]=?/);
  if (operator === null) throw reader.error('> or <');
  return operator.startsWith('>') ? 'above' : 'below';
}

function readLimit(reader: Reader, statistic: Condition['statistic']): Pick<Condition, 'limit' | 'kind'> {
  const digits = reader.take(/\d+(\.\d+)?|\.\d+/);
  if (digits === null) throw reader.error('a number');
  const limit = Number(digits);
  if (!(limit > 0)) {
    reader.back(digits.length);
    throw reader.error('a number above 0');
  }
  const unit = reader.take(statistic === 'throughput' ? /x|\/s/ : /x|us|ms|s/);
  if (unit === null) throw reader.error(statistic === 'throughput' ? 'x or /s' : 'x, ms, us or s');
  return unit === 'x' ? { limit, kind: 'ratio' } : { limit: limit * (units[unit] ?? 1), kind: 'absolute' };
}
