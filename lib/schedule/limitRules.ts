/** What each dimension's limits come to, worked out once: bounds, steps, and where the reading of a position is taken from. */

import { SemanticVlaError } from '../support/errors.ts';
import { checkOptions, expected } from '../support/options.ts';
import {
  type ActionDimension,
  type ActionSpace,
  checkActionSpace,
  periodOf,
  wrapped,
} from './actionSpace.ts';
import { type Bounds, clamp } from './stepBounds.ts';

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
  /** [low, high] that the robot is kept in, in units of `Observation.state`; one end may be infinite. */
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

export interface LimitRule {
  readonly dimension: ActionDimension;
  /**
   * What may ever be sent, wherever the robot is: the range, and the workspace of what is no delta. Of an angle on a whole
   * circle: how it is written.
   */
  readonly hard: Bounds;
  /** `hard`, and what the statistics leave of it; endless for an angle on a whole circle. */
  readonly bounds: Bounds;
  /** In state units; infinite without. */
  readonly workspace: Bounds;
  /** Largest |step|, and largest change of it from tick to tick. */
  readonly step: number;
  readonly change: number;
  /** The value is on a whole circle: it has no ends, and steps go the short way. */
  readonly circle: number | null;
  /** Limits of motion need to know where the robot is. */
  readonly needsPosition: boolean;
}

export const everything: Bounds = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];

/** Beyond this many turns a double no longer resolves the angle to 1e-9 of a circle: it is refused. */
const mostTurns = 1e6;

/** Share of a range that a reading may lie outside of it, as sensors and calibrations do; it counts as the end then. */
const tolerated = 0.05;

/**
 * @param seconds a tick
 * @throws OPTION_INVALID, OPTION_UNKNOWN the space or a limit is malformed, or a limit is for a dimension that cannot have it
 */
export function limitRules(space: ActionSpace, options: LimitOptions, seconds: number): LimitRule[] {
  checkActionSpace(space);
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
      if (!(typeof value === 'number' && value > 0))
        throw expected('OPTION_INVALID', 'a positive number', `${what} of ${name}`, value);
    }
  }
  const ranges = statistics === undefined ? null : statisticsRanges(statistics, margin, names);
  return space.dimensions.map((dimension, d) => {
    const { name, kind, range, state } = dimension;
    const circle = circleOf(dimension);
    const box = workspace?.[name] ?? everything;
    if (!isBox(box))
      throw expected('OPTION_INVALID', '[low, high] with low < high', `workspace of ${name}`, box);
    const step = Math.min(
      maxStep?.[name] ?? Number.POSITIVE_INFINITY,
      (maxVelocity?.[name] ?? Number.POSITIVE_INFINITY) * seconds,
    );
    const change = (maxAcceleration?.[name] ?? Number.POSITIVE_INFINITY) * seconds * seconds;
    // added to the end of the range, or to nothing where there is none, it must make another number
    const far = kind === 'delta' || range === undefined ? 0 : Math.max(-range[0], range[1]);
    if (!(far + Math.min(step, change) > far))
      throw notFor(name, 'one of them is so small that a tick of it is nothing');
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
    const hard = hardBounds(dimension, circle, box);
    const bounds = circle !== null ? everything : learned === null ? hard : common(hard, learned);
    if (hard[0] > hard[1] || bounds[0] > bounds[1])
      throw notFor(name, 'its range, its statistics and its workspace have nothing in common');
    return { dimension, hard, bounds, workspace: box, step, change, circle, needsPosition };
  });
}

/** Length of the circle that the value goes all the way round; null: it has ends. */
function circleOf(dimension: ActionDimension): number | null {
  if (dimension.kind !== 'angle') return null;
  const period = periodOf(dimension);
  const { range } = dimension;
  // a range as wide as the circle only says how angles are written
  return range === undefined || range[1] - range[0] >= period * (1 - 1e-9) ? period : null;
}

function hardBounds({ kind, range, state }: ActionDimension, circle: number | null, box: Bounds): Bounds {
  // -pi..pi and 0..2 pi are both ways to write an angle
  if (circle !== null) return range ?? [-circle, circle];
  const scaled =
    kind === 'delta' || state === undefined
      ? everything
      : ordered(box[0] / state.scale, box[1] / state.scale);
  return common(range ?? everything, scaled);
}

/** The angle as the robot's range writes it; null: it has gone round too often to be one. Within the range it stays as it is. */
export function asWritten(angle: number, { hard, circle }: LimitRule): number | null {
  if (circle === null || (angle >= hard[0] && angle <= hard[1])) return angle;
  return Math.abs(angle) > mostTurns * circle ? null : onCircle(angle, hard, circle);
}

export function onCircle(angle: number, written: Bounds, circle: number): number {
  const middle = (written[0] + written[1]) / 2;
  return clamp(middle + wrapped(angle - middle, circle), written);
}

/**
 * A reading of `Observation.state` in units of the action, of what is no delta; null: no robot of this space can be there. Up
 * to 5 % of the range outside of it is an end that is read a little off.
 */
export function placeOf(measured: number, rule: LimitRule): number | null {
  const { dimension, circle } = rule;
  const { kind, range, state } = dimension;
  const place = measured / state!.scale;
  if (!Number.isFinite(place) || vanishesAt(place, rule)) return null;
  if (kind === 'binaryGripper') return place;
  if (kind === 'angle' && Math.abs(place) > mostTurns * periodOf(dimension)) return null;
  if (circle !== null || range === undefined) return place;
  const isInside = place >= range[0] && place <= range[1];
  const turned = kind === 'angle' && !isInside ? turnedTo(place, range, periodOf(dimension)) : place;
  return isWithin(turned, range, tolerated * (range[1] - range[0])) ? turned : null;
}

/** Whether the largest step from there is lost in rounding: as doubles the two places are equal. */
function vanishesAt(place: number, { needsPosition, step, change }: LimitRule): boolean {
  const most = Math.min(step, change);
  return needsPosition && place + most === place;
}

/** The same angle, written as near to the middle of the range as turns allow. */
function turnedTo(angle: number, [low, high]: Bounds, period: number): number {
  const middle = (low + high) / 2;
  return middle + wrapped(angle - middle, period);
}

/**
 * Whether motion may begin at `place`: not outside of what may leave by more than 5 % of it, or one step where it has one
 * end; and no farther from what the policy ever saw than that is wide.
 */
export function isStart(place: number, { hard, bounds, step }: LimitRule): boolean {
  const width = hard[1] - hard[0];
  const slack = Number.isFinite(width) ? tolerated * width : Number.isFinite(step) ? step : 0;
  return isWithin(place, hard, slack) && isWithin(place, bounds, Math.max(slack, bounds[1] - bounds[0]));
}

export function isWithin(value: number, [low, high]: Bounds, slack: number): boolean {
  return value >= low - slack && value <= high + slack;
}

/** What a reading may be off without the robot having moved, in units of the action. */
export function readingSlack({ dimension, hard, workspace }: LimitRule): number {
  const isDelta = dimension.kind === 'delta';
  const width = isDelta
    ? (workspace[1] - workspace[0]) / Math.abs(dimension.state!.scale)
    : hard[1] - hard[0];
  return Number.isFinite(width) ? tolerated * width : 0;
}

function isBox(box: unknown): box is Bounds {
  if (!Array.isArray(box) || box.length !== 2) return false;
  const [low, high] = box as unknown[];
  return typeof low === 'number' && typeof high === 'number' && low < high;
}

function common(a: Bounds, b: Bounds): Bounds {
  return [Math.max(a[0], b[0]), Math.min(a[1], b[1])];
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
    const isRange = low! <= high! && Number.isFinite(high! - low!);
    if (min.length !== names.length || max.length !== names.length || !isRange) {
      throw new SemanticVlaError(
        'OPTION_INVALID',
        `Limits, statistics: expected finite min <= max for each of the ${names.length} action dimensions, found ${min.length} and ${max.length} ` +
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
