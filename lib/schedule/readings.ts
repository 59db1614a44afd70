/**
 * Whether a joint reading is possible. One that no robot of this space can produce (not finite, farther out of range than sensor
 * errors explain, or a jump that no joint can make) is an error of a cable or an encoder: nothing is predicted from it, nothing
 * moves, and it is forgotten when a good reading arrives.
 */

import { SemanticVlaError } from '../support/errors.ts';
import type { Observation } from '../types.ts';
import { wrapped } from './actionSpace.ts';
import { type LimitRule, placeOf, readingSlack } from './limitRules.ts';

/** `moved`: the robot is elsewhere, as several readings in a row have confirmed. */
export type Verdict =
  | 'good'
  | 'moved'
  | { readonly dimension: string | null; readonly error: SemanticVlaError };

interface Reading {
  readonly at: number;
  readonly state: ArrayLike<number>;
}

/** How many times faster than its limits a joint may appear to move: pushed by hand, or still swinging. */
const pushed = 4;

/** This many new readings in a row that agree on a new place are believed: no glitch lasts that long. */
const believed = 3;

export class Readings {
  readonly #rules: readonly LimitRule[];
  readonly #period: number;
  #good: Reading | null = null;
  /** The newest reading that is too far from the last good one, and how many before it agree with it. */
  #other: Reading | null = null;
  #agreeing = 0;
  /** [A] The largest deltas of this episode: a joint without limits moves no faster than it was told to. */
  readonly #told: Float64Array;

  /** @param period of the loop in ms */
  constructor(rules: readonly LimitRule[], period: number) {
    this.#rules = rules;
    this.#period = period;
    this.#told = new Float64Array(rules.length);
  }

  /** @param values [A] as sent */
  executed(values: ArrayLike<number>): void {
    for (let d = 0; d < this.#told.length; d++) {
      if (this.#rules[d]!.dimension.kind === 'delta')
        this.#told[d] = Math.max(this.#told[d]!, Math.abs(values[d]!));
    }
  }

  /** A new episode: the robot may be anywhere. */
  forget(): void {
    this.#told.fill(0);
    this.#good = null;
    this.#other = null;
    this.#agreeing = 0;
  }

  /** @param at when it was taken; the same time again means the same reading again */
  check({ state }: Observation, at: number): Verdict {
    if (state === undefined || state === null) return 'good';
    const broken = this.#brokenIn(state);
    if (broken !== null) return broken;
    const now = { at, state: Float64Array.from(state) };
    if (this.#good === null) {
      this.#good = now;
      return 'good';
    }
    const jump = this.#jump(this.#good, now);
    if (jump === null) {
      this.#good = now;
      this.#other = null;
      this.#agreeing = 0;
      return 'good';
    }
    const other = this.#other;
    if (other === null || at !== other.at) {
      const agrees = other !== null && this.#jump(other, now) === null;
      this.#agreeing = agrees ? this.#agreeing + 1 : 1;
      this.#other = now;
    }
    if (this.#agreeing < believed) return jump;
    this.#good = now;
    this.#other = null;
    this.#agreeing = 0;
    return 'moved';
  }

  #brokenIn(state: ArrayLike<number>): Verdict | null {
    for (let i = 0; i < state.length; i++) {
      if (Number.isFinite(state[i])) continue;
      const rule = this.#rules.find(({ dimension }) => dimension.state?.index === i);
      return impossible(rule ?? null, i, `a finite number`, state[i]);
    }
    for (const rule of this.#rules) {
      const { dimension } = rule;
      const measured = dimension.state && state[dimension.state.index];
      if (measured === undefined || dimension.kind === 'delta' || placeOf(measured, rule) !== null) continue;
      const { index, scale } = dimension.state!;
      const [low, high] = rule.dimension.range ?? rule.hard;
      return impossible(rule, index, `about ${low}..${high} times ${scale}`, measured);
    }
    return null;
  }

  #jump(a: Reading, b: Reading): Exclude<Verdict, string> | null {
    const ticks = 1 + Math.abs(b.at - a.at) / this.#period;
    for (const [d, rule] of this.#rules.entries()) {
      const { dimension } = rule;
      const farthest = farthestInTick(rule, this.#told[d]!);
      if (!Number.isFinite(farthest)) continue;
      const { index, scale } = dimension.state!;
      const before = a.state[index];
      const after = b.state[index];
      if (before === undefined || after === undefined) continue;
      const difference = (after - before) / scale;
      const way = rule.circle === null ? difference : wrapped(difference, rule.circle);
      const most = pushed * farthest * ticks + readingSlack(rule);
      if (Math.abs(way) <= most) continue;
      return impossible(
        rule,
        index,
        `within ${Math.abs(scale) * most} of ${before}, ${b.at - a.at} ms before`,
        after,
      );
    }
    return null;
  }
}

/** In units of the action, by the limits that need to know where the robot is; infinite if nothing limits its speed. */
function farthestInTick({ dimension, step, needsPosition }: LimitRule, told: number): number {
  const { kind, range } = dimension;
  if (!needsPosition || kind !== 'delta') return needsPosition ? step : Number.POSITIVE_INFINITY;
  const most = range === undefined ? step : Math.min(step, Math.max(-range[0], range[1]));
  return Number.isFinite(most) ? most : told;
}

function impossible(
  rule: LimitRule | null,
  index: number,
  what: string,
  found: unknown,
): Exclude<Verdict, string> {
  const dimension = rule?.dimension.name ?? null;
  const of = dimension === null ? '' : ` (action dimension ${dimension})`;
  return {
    dimension,
    error: new SemanticVlaError(
      'STATE_INVALID',
      `Observation, state ${index}${of}: expected ${what}, found ${found}. The robot holds until a reading can be; ` +
        'check the encoder and its cable, then range and state.scale of the action space.',
    ),
  };
}
