/**
 * The last step between a prediction and the robot: every value stays within its range, workspace, largest step, velocity and
 * acceleration, or nothing is sent.
 */

import type { Observation } from '../types.ts';
import { type ActionSpace, wrapped } from './actionSpace.ts';
import { ExecutedRows } from './executedRows.ts';
import {
  asWritten,
  everything,
  isStart,
  isWithin,
  type LimitOptions,
  type LimitRule,
  limitRules,
  onCircle,
  placeOf,
} from './limitRules.ts';
import type { HoldReason, LimitName } from './loopEvents.ts';
import { type Bounds, clamp, stepBounds } from './stepBounds.ts';

export type { LimitOptions } from './limitRules.ts';

type Refusal = Extract<
  HoldReason,
  'notFinite' | 'outOfRange' | 'infeasible' | 'positionUnknown' | 'readingImpossible' | 'outsideWorkspace'
>;

/** `values`: [A] that may be sent, and which dimensions were changed. Otherwise why nothing may be sent. */
export type Limited =
  | { readonly values: Float64Array; readonly changed: readonly string[] }
  | { readonly refused: Refusal; readonly dimension: string };

export class Limiter {
  readonly rules: readonly LimitRule[];
  readonly #executed: ExecutedRows;
  /** [A] The action sent last; null before the first one of an episode. */
  #last: Float64Array | null = null;
  /** [A] How far that action moved each dimension. */
  #lastStep: Float64Array;
  /** [A] Where the robot was when the action was limited; 0 if that is not needed. */
  #from: Float64Array;

  /**
   * @param period of the loop in ms: steps are per tick, velocities per second
   * @throws OPTION_INVALID, OPTION_UNKNOWN if a limit is malformed, or names a dimension that cannot have it
   */
  constructor(space: ActionSpace, options: LimitOptions, period: number) {
    this.rules = limitRules(space, options, period / 1000);
    this.#executed = new ExecutedRows(space);
    this.#lastStep = new Float64Array(space.dimensions.length);
    this.#from = new Float64Array(space.dimensions.length);
  }

  /** [A] Where the last `apply` assumed the robot to be: deltas in state units, others in units of the action; 0 if not needed. */
  get positions(): Float64Array {
    return this.#from;
  }

  /**
   * Non-finite values are refused before anything is clamped: a clamped NaN or infinity would look like an action.
   * @param observedAt when `observation` was taken; deltas executed since have moved the robot on
   */
  apply(values: ArrayLike<number>, observation: Observation | null, observedAt: number): Limited {
    for (const [d, { dimension }] of this.rules.entries()) {
      if (!Number.isFinite(values[d])) return { refused: 'notFinite', dimension: dimension.name };
    }
    const out = new Float64Array(this.rules.length);
    const changed: string[] = [];
    for (const [d, rule] of this.rules.entries()) {
      const { name } = rule.dimension;
      const position = rule.needsPosition ? this.#position(d, rule, observation, observedAt) : 0;
      if (typeof position === 'string') return { refused: position, dimension: name };
      this.#from[d] = position;
      const wanted = asWritten(values[d]!, rule);
      if (wanted === null) return { refused: 'outOfRange', dimension: name };
      const value = limitOne(rule, wanted, position, this.#lastStep[d]!);
      if (value === null) return { refused: 'infeasible', dimension: name };
      out[d] = value;
      if (value !== wanted) changed.push(name);
    }
    return { values: out, changed };
  }

  /**
   * Which limit changed each of these dimensions in the last `apply`. Call it before `executed`.
   * @param wanted [A] as it was proposed
   * @param sent [A] what became of it
   */
  limitsOf(wanted: ArrayLike<number>, sent: Float64Array, changed: readonly string[]): LimitName[] {
    return changed.map((name) => {
      const d = this.rules.findIndex(({ dimension }) => dimension.name === name);
      const rule = this.rules[d]!;
      const value = asWritten(wanted[d]!, rule)!;
      return limitOf(rule, value, this.#from[d]!, this.#lastStep[d]!, sent[d]!);
    });
  }

  /** Reports that the last result of `apply` was sent. */
  executed(values: Float64Array, at: number): void {
    this.#lastStep = values.map((value, d) => {
      const { dimension, circle } = this.rules[d]!;
      if (dimension.kind === 'delta') return value;
      const step = value - this.#from[d]!;
      return circle === null ? step : wrapped(step, circle);
    });
    this.#last = values;
    this.#executed.add(values, at);
  }

  /** Reports that the robot holds still. */
  held(): void {
    this.#lastStep = new Float64Array(this.rules.length);
  }

  /** The robot's position must be read again: a new episode begins, or somebody has moved it. */
  reset(): void {
    this.#last = null;
    this.held();
  }

  /** The clock went back to `now`: everything sent so far counts as sent before that. */
  settle(now: number): void {
    this.#executed.settle(now);
  }

  #position(
    d: number,
    rule: LimitRule,
    observation: Observation | null,
    observedAt: number,
  ): number | Refusal {
    const { dimension, workspace } = rule;
    if (dimension.kind !== 'delta' && this.#last !== null) return this.#last[d]!;
    const { index, scale } = dimension.state!;
    const measured = observation?.state?.[index];
    if (measured === undefined || !Number.isFinite(measured)) return 'positionUnknown';
    if (dimension.kind === 'delta') {
      const count = this.#executed.countBefore(observedAt);
      if (count === null) return 'positionUnknown';
      // if it is farther outside than the workspace is wide, the robot is not there on purpose
      if (!isWithin(measured, workspace, workspace[1] - workspace[0])) return 'outsideWorkspace';
      return measured + scale * this.#executed.movedSince(count)[d]!;
    }
    const place = placeOf(measured, rule);
    if (place === null) return 'readingImpossible';
    if (rule.circle !== null) return place;
    return isStart(place, rule) ? clamp(place, rule.hard) : 'outsideWorkspace';
  }
}

function limitOne(rule: LimitRule, value: number, position: number, lastStep: number): number | null {
  const { dimension, bounds, step, change, circle } = rule;
  if (circle !== null) {
    if (!rule.needsPosition) return value;
    const steps = stepBounds({ room: everything, step, change, lastStep });
    const wanted = wrapped(value - position, circle);
    const taken = clamp(wanted, steps);
    return taken === wanted ? value : onCircle(position + taken, rule.hard, circle);
  }
  if (dimension.kind === 'delta') {
    const scale = dimension.state?.scale ?? 1;
    const [low, high] = rule.workspace;
    const a = (low - position) / scale;
    const b = (high - position) / scale;
    // outside the workspace it may only move back
    const room: Bounds = [Math.min(0, a, b), Math.max(0, a, b)];
    const [lowest, highest] = stepBounds({ room, step, change, lastStep });
    const both: Bounds = [Math.max(lowest, bounds[0]), Math.min(highest, bounds[1])];
    return both[0] > both[1] ? null : clamp(value, both);
  }
  if (!rule.needsPosition) return clamp(value, bounds);
  // beyond the training data it may only move back
  const wide: Bounds = [Math.min(bounds[0], position), Math.max(bounds[1], position)];
  const room: Bounds = [wide[0] - position, wide[1] - position];
  const steps = stepBounds({ room, step, change, lastStep });
  if (steps[0] > steps[1]) return null;
  return clamp(position + clamp(value - position, steps), wide);
}

/** Each limit without the others; what stops a joint in time for its end takes two of them. */
const alone: readonly (readonly [LimitName, (rule: LimitRule) => LimitRule])[] = [
  ['range', (rule) => ({ ...rule, step: Infinity, change: Infinity, workspace: everything })],
  ['workspace', (rule) => ({ ...rule, step: Infinity, change: Infinity, bounds: everything })],
  ['step', (rule) => ({ ...rule, change: Infinity, bounds: everything, workspace: everything })],
  ['acceleration', (rule) => ({ ...rule, step: Infinity, bounds: everything, workspace: everything })],
];

function limitOf(
  rule: LimitRule,
  wanted: number,
  position: number,
  lastStep: number,
  sent: number,
): LimitName {
  // the same places, reached by sums in another order
  const slack = 1e-9 * Math.max(Math.abs(sent), Math.abs(wanted - sent));
  const found = alone.find(([, only]) => {
    const value = limitOne(only(rule), wanted, position, lastStep);
    return value !== null && value !== wanted && Math.abs(value - sent) <= slack;
  });
  return found?.[0] ?? 'braking';
}
