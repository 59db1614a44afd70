/**
 * The last thing between a prediction and the robot: every value stays inside its range, its workspace, its largest step,
 * velocity and acceleration, or nothing leaves.
 */

import { SemanticVlaError } from '../errors.ts';
import { checkOptions, expected } from '../options.ts';
import type { Observation } from '../types.ts';
import { type ActionDimension, type ActionSpace, periodOf, wrapped } from './actionSpace.ts';
import { ExecutedRows } from './executedRows.ts';
import { type Bounds, stepBounds } from './stepBounds.ts';

/** By dimension name. */
type PerDimension<T> = Readonly<Record<string, T>>;

export interface LimitOptions {
  /** Training statistics of the actions (`Checkpoint.statistics`), [A] each: what the policy never saw is not executed. */
  readonly statistics?: { readonly min: readonly number[]; readonly max: readonly number[] };
  /** How far beyond the statistics, as a share of their width; default 0.1. */
  readonly margin?: number;
  /** Largest change in one tick: of a position since the action before, or a delta itself; in the dimension's unit. */
  readonly maxStep?: PerDimension<number>;
  /** In the dimension's unit per second. */
  readonly maxVelocity?: PerDimension<number>;
  /** In the dimension's unit per second squared; HOLD is exempt, a stop is the safe state. */
  readonly maxAcceleration?: PerDimension<number>;
  /** [low, high] that the robot is kept in, in units of `Observation.state`. */
  readonly workspace?: PerDimension<readonly [number, number]>;
}

const optionNames = [
  'statistics',
  'margin',
  'maxStep',
  'maxVelocity',
  'maxAcceleration',
  'workspace',
] as const satisfies readonly (keyof LimitOptions)[];

/** `values`: [A] as they may leave, and which dimensions were changed. Else why nothing may. */
export type Limited =
  | { readonly values: Float64Array; readonly changed: readonly string[] }
  | { readonly refused: 'notFinite' | 'infeasible' | 'positionUnknown'; readonly dimension: string };

interface Rule {
  readonly dimension: ActionDimension;
  /** Absolute bounds of the value. */
  readonly bounds: Bounds;
  /** In state units; infinite without. */
  readonly workspace: Bounds;
  /** Largest |step|, and largest change of it from tick to tick. */
  readonly step: number;
  readonly change: number;
  /** The value is on a whole circle: it has no bounds, and steps go the short way. */
  readonly circle: number | null;
  /** Limits of motion need to know where the robot is. */
  readonly needsPosition: boolean;
}

const everything: Bounds = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];

export class Limiter {
  readonly #rules: readonly Rule[];
  readonly #executed: ExecutedRows;
  /** [A] What left last; null before the first action of an episode. */
  #last: Float64Array | null = null;
  /** [A] The change that it made. */
  #lastStep: Float64Array;
  /** [A] Where the robot was when the action was limited; 0 where nobody needs it. */
  #from: Float64Array;

  /**
   * @param period of the loop, ms: steps are per tick, velocities per second
   * @throws OPTION_INVALID, OPTION_UNKNOWN a limit is malformed, or names a dimension that cannot have it
   */
  constructor(space: ActionSpace, options: LimitOptions, period: number) {
    this.#rules = makeRules(space, options, period / 1000);
    this.#executed = new ExecutedRows(space);
    this.#lastStep = new Float64Array(space.dimensions.length);
    this.#from = new Float64Array(space.dimensions.length);
  }

  /**
   * Non-finite values are refused before anything is clamped: a clamped NaN or infinity would look like an action.
   * @param observedAt when `observation` was taken; deltas executed since have moved the robot on
   */
  apply(values: ArrayLike<number>, observation: Observation | null, observedAt: number): Limited {
    for (const [d, { dimension }] of this.#rules.entries()) {
      if (!Number.isFinite(values[d])) return { refused: 'notFinite', dimension: dimension.name };
    }
    const out = new Float64Array(this.#rules.length);
    const changed: string[] = [];
    for (const [d, rule] of this.#rules.entries()) {
      const { name } = rule.dimension;
      const position = rule.needsPosition ? this.#position(d, rule, observation, observedAt) : 0;
      if (position === null) return { refused: 'positionUnknown', dimension: name };
      this.#from[d] = position;
      const value = limitOne(rule, values[d]!, position, this.#lastStep[d]!);
      if (value === null) return { refused: 'infeasible', dimension: name };
      out[d] = value;
      if (value !== values[d]) changed.push(name);
    }
    return { values: out, changed };
  }

  /** What `apply` gave last has left. */
  executed(values: Float64Array, at: number): void {
    this.#lastStep = values.map((value, d) => {
      const { dimension, circle } = this.#rules[d]!;
      if (dimension.kind === 'delta') return value;
      const step = value - this.#from[d]!;
      return circle === null ? step : wrapped(step, circle);
    });
    this.#last = values;
    this.#executed.add(values, at);
  }

  /** The robot stands still. */
  held(): void {
    this.#lastStep = new Float64Array(this.#rules.length);
  }

  /** A new episode: where the robot is must be read anew. */
  reset(): void {
    this.#last = null;
    this.held();
  }

  /** For deltas in state units, else in units of the action. */
  #position(
    d: number,
    { dimension }: Rule,
    observation: Observation | null,
    observedAt: number,
  ): number | null {
    if (dimension.kind !== 'delta' && this.#last !== null) return this.#last[d]!;
    const { index, scale } = dimension.state!;
    const measured = observation?.state?.[index];
    if (measured === undefined || !Number.isFinite(measured)) return null;
    if (dimension.kind !== 'delta') return measured / scale;
    const count = this.#executed.countBefore(observedAt);
    return count === null ? null : measured + scale * this.#executed.movedSince(count)[d]!;
  }
}

function limitOne(rule: Rule, value: number, position: number, lastStep: number): number | null {
  const { dimension, bounds, step, change, circle } = rule;
  if (circle !== null) {
    if (!rule.needsPosition) return value;
    const steps = stepBounds({ room: everything, step, change, lastStep });
    const wanted = wrapped(value - position, circle);
    const taken = clamp(wanted, steps);
    return taken === wanted ? value : onCircle(position + taken, dimension, circle);
  }
  if (dimension.kind === 'delta') {
    const scale = dimension.state?.scale ?? 1;
    const [low, high] = rule.workspace;
    const a = (low - position) / scale;
    const b = (high - position) / scale;
    // pushed out of the workspace it may only come back
    const room: Bounds = [Math.min(0, a, b), Math.max(0, a, b)];
    const [lowest, highest] = stepBounds({ room, step, change, lastStep });
    const both: Bounds = [Math.max(lowest, bounds[0]), Math.min(highest, bounds[1])];
    return both[0] > both[1] ? null : clamp(value, both);
  }
  if (!rule.needsPosition) return clamp(value, bounds);
  // outside its bounds at the start it may only come back
  const wide: Bounds = [Math.min(bounds[0], position), Math.max(bounds[1], position)];
  const room: Bounds = [wide[0] - position, wide[1] - position];
  const steps = stepBounds({ room, step, change, lastStep });
  if (steps[0] > steps[1]) return null;
  return clamp(position + clamp(value - position, steps), wide);
}

function onCircle(angle: number, { range }: ActionDimension, circle: number): number {
  const middle = range === undefined ? 0 : (range[0] + range[1]) / 2;
  return middle + wrapped(angle - middle, circle);
}

function clamp(value: number, [low, high]: Bounds): number {
  return Math.min(high, Math.max(low, value));
}

function makeRules(space: ActionSpace, options: LimitOptions, seconds: number): Rule[] {
  checkOptions(options, optionNames, 'limits');
  const { statistics, margin = 0.1, maxStep, maxVelocity, maxAcceleration, workspace } = options;
  if (!(Number.isFinite(margin) && margin >= 0)) {
    throw expected('OPTION_INVALID', 'a share >= 0', 'margin of limits', margin);
  }
  const names = space.dimensions.map(({ name }) => name);
  for (const [what, limits] of Object.entries({ maxStep, maxVelocity, maxAcceleration, workspace })) {
    checkOptions(limits ?? {}, names, `limits ${what}`);
  }
  for (const [what, limits] of Object.entries({ maxStep, maxVelocity, maxAcceleration })) {
    for (const [name, value] of Object.entries(limits ?? {})) {
      if (!(value > 0)) throw expected('OPTION_INVALID', 'a positive number', `${what} of ${name}`, value);
    }
  }
  const ranges = statistics === undefined ? null : statisticsRanges(statistics, margin, names);
  return space.dimensions.map((dimension, d) => {
    const { name, kind, range, state } = dimension;
    const period = kind === 'angle' ? periodOf(dimension) : null;
    // a range as wide as the circle only says how angles are written
    const circle =
      period !== null && (range === undefined || range[1] - range[0] >= period * (1 - 1e-9)) ? period : null;
    const box = workspace?.[name] ?? everything;
    if (!(box[0] < box[1]))
      throw expected('OPTION_INVALID', '[low, high] with low < high', `workspace of ${name}`, box);
    const step = Math.min(
      maxStep?.[name] ?? Number.POSITIVE_INFINITY,
      (maxVelocity?.[name] ?? Number.POSITIVE_INFINITY) * seconds,
    );
    const change = (maxAcceleration?.[name] ?? Number.POSITIVE_INFINITY) * seconds * seconds;
    const isMoving = Number.isFinite(step) || Number.isFinite(change);
    if (kind === 'binaryGripper' && (isMoving || box !== everything)) {
      throw notFor(name, 'a binary gripper has two states and no way between them');
    }
    if (circle !== null && box !== everything) throw notFor(name, 'an angle on a whole circle has no ends');
    const needsPosition = kind === 'delta' ? box !== everything : isMoving;
    if ((needsPosition || box !== everything) && state === undefined) {
      throw notFor(
        name,
        'it needs to know where the robot is: give the action dimension state { index, scale }',
      );
    }
    const learned = kind === 'binaryGripper' || circle !== null ? null : (ranges?.[d] ?? null);
    const scaled =
      kind === 'delta' || state === undefined
        ? everything
        : ordered(box[0] / state.scale, box[1] / state.scale);
    const bounds = [range ?? everything, learned ?? everything, scaled].reduce<Bounds>(
      (all, next) => [Math.max(all[0], next[0]), Math.min(all[1], next[1])],
      everything,
    );
    if (bounds[0] > bounds[1])
      throw notFor(name, 'its range, its statistics and its workspace have nothing in common');
    return {
      dimension,
      bounds: circle === null ? bounds : everything,
      workspace: box,
      step,
      change,
      circle,
      needsPosition,
    };
  });
}

function ordered(a: number, b: number): Bounds {
  return a < b ? [a, b] : [b, a];
}

function statisticsRanges(
  { min, max }: NonNullable<LimitOptions['statistics']>,
  margin: number,
  names: readonly string[],
): Bounds[] {
  return names.map((name, d) => {
    const low = min[d];
    const high = max[d];
    if (min.length !== names.length || max.length !== names.length || !(low! <= high!)) {
      throw new SemanticVlaError(
        'OPTION_INVALID',
        `Limits, statistics: expected min <= max for each of the ${names.length} action dimensions, found ${min.length} and ${max.length} ` +
          `values, and ${low}..${high} for ${name}. Pass statistics of the actions of the policy's own dataset.`,
      );
    }
    const extra = margin * (high! - low!);
    return [low! - extra, high! + extra];
  });
}

function notFor(name: string, reason: string): SemanticVlaError {
  return new SemanticVlaError(
    'OPTION_INVALID',
    `Limits of action dimension ${name}: expected limits that it can have, found some it cannot, since ${reason}.`,
  );
}
