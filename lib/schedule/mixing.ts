/**
 * Combines several predictions for one tick into one action. Pure. By kind: positions are averaged, angles the short way round the
 * circle, deltas after re-anchoring; for grippers one state is chosen.
 */

import { type ActionDimension, type ActionSpace, periodOf, wrapped } from './actionSpace.ts';

/** What one chunk predicts for this tick. */
export interface Contribution {
  /** [A] the chunk's row as predicted. */
  readonly row: ArrayLike<number>;
  /**
   * [A] Deltas re-anchored: from where the robot has been sent to, to where this chunk would have it after this tick,
   * which is the sum of the chunk's deltas up to this row minus all deltas executed since its observation. Two chunks start
   * from two poses; only then do their deltas refer to the same place. Read for dimensions of kind `delta` only.
   */
  readonly anchored: ArrayLike<number>;
  /** >= 0; over all contributions the sum is 1. */
  readonly weight: number;
}

/**
 * @param contributions oldest observation first, at least one
 * @param last [A] the previously executed action, with which a gripper's hysteresis compares; null at the start
 * @returns [A]
 */
export function mix(
  space: ActionSpace,
  contributions: readonly Contribution[],
  last: ArrayLike<number> | null,
): Float64Array {
  const newest = contributions.at(-1)!;
  return Float64Array.from(space.dimensions, (dimension, d) => {
    switch (dimension.kind) {
      case 'position':
        return sum(contributions, ({ row, weight }) => weight * row[d]!);
      case 'delta':
        return sum(contributions, ({ anchored, weight }) => weight * anchored[d]!);
      case 'angle': {
        const period = periodOf(dimension);
        const around = newest.row[d]!;
        const turn = sum(contributions, ({ row, weight }) => weight * wrapped(row[d]! - around, period));
        return intoRange(around + turn, dimension.range, period);
      }
      case 'gripper':
        return newest.row[d]!;
      case 'binaryGripper':
        return decideGripper(
          dimension,
          contributions.map(({ row }) => row[d]!),
          last === null ? null : last[d]!,
        );
    }
  });
}

/**
 * One of the two ends of the range. A value within the band around the middle keeps the present state, so that noise
 * around the middle does not open and close the gripper.
 * @param values predictions, oldest first
 * @param last the state executed before, null when unknown
 */
export function decideGripper(
  dimension: ActionDimension,
  values: readonly number[],
  last: number | null,
): number {
  const [low, high] = dimension.range!;
  const middle = (low + high) / 2;
  const band = (dimension.hysteresis ?? 0.1) * (high - low);
  const wasHigh = last === null ? null : last >= middle;
  const says = (value: number): boolean => {
    if (wasHigh === null) return value >= middle;
    return wasHigh ? value > middle - band : value >= middle + band;
  };
  const newest = says(values.at(-1)!);
  if (dimension.decides !== 'majority') return newest ? high : low;
  const votes = values.filter(says).length;
  const isHigh = 2 * votes === values.length ? (wasHigh ?? newest) : 2 * votes > values.length;
  return isHigh ? high : low;
}

/** Averaging may leave the range in which the robot writes its angles (-pi..pi, 0..2 pi): returns the same place within it. */
function intoRange(angle: number, range: readonly [number, number] | undefined, period: number): number {
  if (range === undefined || (angle >= range[0] && angle <= range[1])) return angle;
  const middle = (range[0] + range[1]) / 2;
  return middle + wrapped(angle - middle, period);
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  let total = 0;
  for (const item of items) total += of(item);
  return total;
}
