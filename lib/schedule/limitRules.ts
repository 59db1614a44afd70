/** Derives, once, what the limits mean for each dimension: bounds, steps, and how a reading of the position is interpreted. */

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

/** What may leave to the robot, in the dataset's units; what is beyond is held or clipped as docs/safety.md says. */
export interface LimitOptions {
  /**
   * Training statistics of the actions (`Checkpoint.statistics`), [A] each: values unlike any in the training data are not
   * executed.
   */
  readonly statistics?: { readonly min: readonly number[]; readonly max: readonly number[] };
  /** How far beyond the statistics values may lie, as a share of their width; default 0.1. */
  readonly margin?: number;
  /**
   * Largest change per tick, in the dimension's unit: of a position, since the previous action; of a delta, the delta itself.
   */
  readonly maxStep?: PerDimension<number>;
  /** In the dimension's unit per second. */
  readonly maxVelocity?: PerDimension<number>;
  /** In the dimension's unit per second squared. HOLD is exempt, since standing still is the safe state. */
  readonly maxAcceleration?: PerDimension<number>;
  /** [low, high] within which the robot is kept, in units of `Observation.state`; one end may be infinite. */
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
   * What may be sent at all, wherever the robot is: the range and, unless it is a delta, the workspace. For an angle on a whole
   * circle: the range in which it is written.
   */
  readonly hard: Bounds;
  /** `hard`, narrowed by the statistics; unbounded for an angle on a whole circle. */
  readonly bounds: Bounds;
  /** In state units; infinite if there is none. */
  readonly workspace: Bounds;
  /** Largest |step|, and largest change of the step from tick to tick. */
  readonly step: number;
  readonly change: number;
  /** Length of the circle if the value covers all of it: it has no ends, and steps go the short way round. null otherwise. */
  readonly circle: number | null;
  /** Whether the limits of motion depend on where the robot is. */
  readonly needsPosition: boolean;
}

export const everything: Bounds = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];

/** After more turns than this, a double no longer resolves the angle to 1e-9 of a circle: the value is refused. */
const mostTurns = 1e6;

/**
 * Share of the range by which a reading may lie outside it, since sensors and calibrations are inexact; it is then taken as the
 * end.
 */
const tolerated = 0.05;

/**
 * @param seconds per tick
 * @throws OPTION_INVALID, OPTION_UNKNOWN if the space or a limit is malformed, or a limit is given for a dimension that cannot
 *   have it
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
    // adding it to the end of the range, or to zero if there is none, must change the number
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

/** Length of the circle if the value can go all the way round; null if it has ends. */
function circleOf(dimension: ActionDimension): number | null {
  if (dimension.kind !== 'angle') return null;
  const period = periodOf(dimension);
  const { range } = dimension;
  // a range as wide as the circle only states how angles are written
  return range === undefined || range[1] - range[0] >= period * (1 - 1e-9) ? period : null;
}

function hardBounds({ kind, range, state }: ActionDimension, circle: number | null, box: Bounds): Bounds {
  // -pi..pi and 0..2 pi are two ways to write the same angles
  if (circle !== null) return range ?? [-circle, circle];
  const scaled =
    kind === 'delta' || state === undefined
      ? everything
      : ordered(box[0] / state.scale, box[1] / state.scale);
  return common(range ?? everything, scaled);
}

/**
 * Writes the angle within the robot's range; one that is already inside is unchanged. null: it has turned too often to be
 * valid.
 */
export function asWritten(angle: number, { hard, circle }: LimitRule): number | null {
  if (circle === null || (angle >= hard[0] && angle <= hard[1])) return angle;
  return Math.abs(angle) > mostTurns * circle ? null : onCircle(angle, hard, circle);
}

export function onCircle(angle: number, written: Bounds, circle: number): number {
  const middle = (written[0] + written[1]) / 2;
  return clamp(middle + wrapped(angle - middle, circle), written);
}

/**
 * Converts a reading of `Observation.state`, for anything but deltas, to units of the action; null if no robot of this space
 * can be there. A reading up to 5 % of the range outside of it is taken as its end, since sensors are a little off.
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

/** Whether the largest step from there is lost in rounding, so that both places are the same double. */
function vanishesAt(place: number, { needsPosition, step, change }: LimitRule): boolean {
  const most = Math.min(step, change);
  return needsPosition && place + most === place;
}

/** The same angle, written as close to the middle of the range as whole turns allow. */
function turnedTo(angle: number, [low, high]: Bounds, period: number): number {
  const middle = (low + high) / 2;
  return middle + wrapped(angle - middle, period);
}

/**
 * Whether motion may begin at `place`. It may lie outside of what can be sent by up to 5 % of its width (or by one step if only
 * one end is bounded), and outside of the training data by no more than their width.
 */
export function isStart(place: number, { hard, bounds, step }: LimitRule): boolean {
  const width = hard[1] - hard[0];
  const slack = Number.isFinite(width) ? tolerated * width : Number.isFinite(step) ? step : 0;
  return isWithin(place, hard, slack) && isWithin(place, bounds, Math.max(slack, bounds[1] - bounds[0]));
}

export function isWithin(value: number, [low, high]: Bounds, slack: number): boolean {
  return value >= low - slack && value <= high + slack;
}

/** By how much a reading may be off although the robot has not moved, in units of the action. */
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
