/** The steps that a moving joint may take next so that it can always stop before its end. Pure. */

/** [low, high], both inclusive. */
export type Bounds = readonly [number, number];

export interface Motion {
  /** Room below (<= 0) and above (>= 0), relative to where the robot is. */
  readonly room: Bounds;
  /** Largest |step| per tick. */
  readonly step: number;
  /** Largest change of the step from one tick to the next. */
  readonly change: number;
  readonly lastStep: number;
}

/**
 * The steps within all limits; low > high if there are none. If the change of the step is limited, a step is allowed only if
 * the robot can still brake before the end of its room; a motion that has obeyed this can always continue to obey it.
 */
export function stepBounds({ room, step, change, lastStep }: Motion): Bounds {
  const up = Math.min(step, farthestStep(room[1], change));
  const down = Math.min(step, farthestStep(-room[0], change));
  const low = Math.max(-down, lastStep - change);
  const high = Math.min(up, lastStep + change);
  // At the hardest allowed braking only one step remains, and rounding may put its bounds in the wrong order.
  if (low > high && low - high <= 1e-9 * Math.max(Math.abs(lastStep), change)) {
    const only = lastStep > 0 ? high : low;
    return [only, only];
  }
  return [low, high];
}

/**
 * The largest step s towards an end `room` away, from which shrinking steps s - change, s - 2 change, ... stop in time:
 * s + (s - change) + ... <= room. With n more steps after the first that is (n + 1) s - change n (n + 1) / 2, and n is the
 * largest with change n (n + 1) / 2 <= room.
 */
function farthestStep(room: number, change: number): number {
  if (room <= 0) return 0;
  if (!Number.isFinite(room) || !Number.isFinite(change)) return room;
  const ratio = (8 * room) / change;
  // too many steps to count: treated as continuous motion
  if (!Number.isFinite(ratio)) return Math.SQRT2 * Math.sqrt(room) * Math.sqrt(change);
  const n = Math.floor((Math.sqrt(1 + ratio) - 1) / 2);
  return (room + (change * n * (n + 1)) / 2) / (n + 1);
}

export function clamp(value: number, [low, high]: Bounds): number {
  return Math.min(high, Math.max(low, value));
}
