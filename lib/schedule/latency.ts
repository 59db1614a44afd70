/** Latency distributions: drawn from a formula, or replayed from recorded milliseconds. */

import { SemanticVlaError } from '../support/errors.ts';
import { expected } from '../support/options.ts';
import type { Random } from '../support/random.ts';

/** A distribution of latencies. */
export interface Latency {
  /** For people to read, e.g. `lognormal(80, 0.3)`. */
  readonly name: string;
  /** Milliseconds, finite, >= 0. */
  draw(random: Random): number;
}

const forms: Readonly<
  Record<
    string,
    {
      readonly usage: string;
      readonly parameters: number;
      readonly check: (p: readonly number[]) => boolean;
      readonly draw: (p: readonly number[], random: Random) => number;
    }
  >
> = {
  constant: {
    usage: 'constant(ms)',
    parameters: 1,
    check: ([ms]) => ms! >= 0,
    draw: ([ms]) => ms!,
  },
  uniform: {
    usage: 'uniform(lowMs, highMs)',
    parameters: 2,
    check: ([low, high]) => low! >= 0 && high! >= low!,
    draw: ([low, high], random) => random.between(low!, high!),
  },
  normal: {
    usage: 'normal(meanMs, deviationMs)',
    parameters: 2,
    check: ([mean, deviation]) => mean! >= 0 && deviation! >= 0,
    draw: ([mean, deviation], random) => Math.max(0, mean! + deviation! * random.normal()),
  },
  lognormal: {
    usage: 'lognormal(medianMs, sigma)',
    parameters: 2,
    check: ([median, sigma]) => median! > 0 && sigma! >= 0 && sigma! <= 5,
    draw: ([median, sigma], random) => median! * Math.exp(sigma! * random.normal()),
  },
};

/** The formulas accepted by `parseLatency`. */
export const latencyForms: readonly string[] = Object.values(forms).map(({ usage }) => usage);

/**
 * Parses a formula such as `lognormal(80, 0.3)` (median in ms, sigma of the logarithm).
 * @throws OPTION_INVALID, listing the formulas
 */
export function parseLatency(text: string): Latency {
  const match = /^\s*([a-z]+)\s*\(([^()]*)\)\s*$/.exec(text);
  const form = match === null ? undefined : Object.hasOwn(forms, match[1]!) ? forms[match[1]!] : undefined;
  const parts = match === null ? [] : match[2]!.split(',').map((part) => part.trim());
  const values = parts.map(Number);
  const isWritten = parts.every((part) => part !== '') && values.every(Number.isFinite);
  if (form === undefined || !isWritten || values.length !== form.parameters || !form.check(values)) {
    throw expected('OPTION_INVALID', `one of ${latencyForms.join(', ')}`, 'latency', text);
  }
  return { name: `${match![1]}(${values.join(', ')})`, draw: (random) => form.draw(values, random) };
}

/**
 * Recorded latencies, drawn at random with replacement. Their order is lost, so schedulers meet every order.
 * @param milliseconds at least one
 * @throws OPTION_INVALID if there are none, or a value is not a latency
 */
export function recordedLatency(milliseconds: readonly number[], name = 'recorded'): Latency {
  const bad = milliseconds.findIndex((value) => !(Number.isFinite(value) && value >= 0));
  if (milliseconds.length === 0 || bad >= 0) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Latencies ${name}: expected at least one number of milliseconds >= 0, found ` +
        `${milliseconds.length === 0 ? 'none' : `${milliseconds[bad]} at place ${bad}`}. Remove what is not a measurement.`,
    );
  }
  const values = Float64Array.from(milliseconds);
  return { name, draw: (random) => values[random.integer(0, values.length - 1)]! };
}
