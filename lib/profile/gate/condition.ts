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
const statistics = 'p50, p90, p95, p99, mean or throughput';

/** Milliseconds per unit. */
const units: Readonly<Record<string, number>> = { us: 1e-3, ms: 1, s: 1000 };

/**
 * Parses `p50 > 1.05x`, `compute.p99 > 12ms`, `throughput < 0.95x`, `throughput < 80/s`.
 * @throws OPTION_INVALID with the position, what was expected there and what was found
 */
export function parseCondition(text: string): Condition {
  let at = 0;
  const skip = (from: number): number => from + /^ */.exec(text.slice(from))![0].length;
  const fail = (expected: string, from = at): never => {
    const place = skip(from);
    const found = place === text.length ? 'nothing' : JSON.stringify(text.slice(place));
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `--fail-if ${JSON.stringify(text)}: expected ${expected} at character ${place + 1}, found ${found}. A condition is ${grammar}.`,
    );
  };
  /** What matches here is taken; null, and nothing is, if it does not match. */
  const take = (pattern: RegExp): string | null => {
    const match = new RegExp(`^(?:${pattern.source})`).exec(text.slice(at))?.[0] ?? null;
    at += match?.length ?? 0;
    return match;
  };
  /** The same after white space. */
  const next = (pattern: RegExp, expected: string): string => {
    at = skip(at);
    return take(pattern) ?? fail(expected);
  };

  let wordAt = skip(0);
  let word = next(/[A-Za-z][A-Za-z0-9]*/, 'a statistic or a stage');
  let stage: StageName = 'total';
  // `p99.9` is a single statistic; `compute.p50` is a stage and a statistic
  if (!/^p\d+$/.test(word) && text[at] === '.') {
    const meant = nearest(word, stageNames);
    const known = `${stageNames.join(', ')}${meant === null ? '' : `; ${meant} was probably meant`}`;
    stage = stageNames.find((name) => name === word) ?? fail(`a stage (${known})`, wordAt);
    wordAt = ++at;
    word = take(/[A-Za-z][A-Za-z0-9]*/) ?? fail('a statistic');
  }
  const fraction = /^p\d+$/.test(word) ? (take(/\.\d+/) ?? '') : null;
  const percentile = fraction === null ? (word === 'median' ? 50 : null) : Number(word.slice(1) + fraction);
  if (percentile !== null && !(percentile > 0 && percentile < 100))
    fail('a percentile between p0 and p100', wordAt);
  const isExtreme = word === 'min' || word === 'max';
  const why = isExtreme ? ` (of ${word} nothing can be said with confidence: one chunk decides it)` : '';
  const statistic =
    percentile !== null
      ? 'percentile'
      : word === 'mean' || word === 'throughput'
        ? word
        : fail(`${statistics}${why}`, wordAt);
  const isRate = statistic === 'throughput';
  if (isRate && stage !== 'total') fail('a statistic of times (throughput is of whole chunks)', wordAt);

  const side = next(/[<>]=?/, '> or <').startsWith('>') ? 'above' : 'below';
  const limitAt = skip(at);
  const limit = Number(next(/\d+(\.\d+)?|\.\d+/, 'a number'));
  if (!(limit > 0)) fail('a number above 0', limitAt);
  const unit = isRate ? next(/x|\/s/, 'x or /s') : next(/x|us|ms|s/, 'x, ms, us or s');
  if (skip(at) < text.length) fail('the end');
  const shared = { text: text.trim(), stage, statistic, percentile, side } as const;
  return unit === 'x'
    ? { ...shared, limit, kind: 'ratio' }
    : { ...shared, limit: limit * (units[unit] ?? 1), kind: 'absolute' };
}
