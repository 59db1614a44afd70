/** The figures of one run: what the plots show. Pure. */

/** One tick. Ages in ms; null when held. */
export interface Sample {
  readonly at: number;
  readonly command: number;
  readonly target: number;
  readonly held: boolean;
  readonly oldest: number | null;
  readonly newest: number | null;
}

export interface Figures {
  /** Root mean square of the third difference of the commands, rad/s^3. */
  readonly jerk: number;
  /** ms, mean over executed actions: age of the newest and of the oldest observation that an action rests on. */
  readonly newestAge: number;
  readonly oldestAge: number;
  /** Share of ticks that held. */
  readonly idle: number;
  /** ms from a jump of the target until the commands have covered half the way: median, and what 9 of 10 stay under. */
  readonly reaction: { readonly median: number; readonly p90: number };
}

/** @param samples one a tick, from the first action on */
export function measure(samples: readonly Sample[], rate: number): Figures {
  const executed = samples.filter(({ held }) => !held);
  const reactions = reactionTimes(samples).sort((a, b) => a - b);
  return {
    jerk: jerk(samples, rate),
    newestAge: mean(executed.map(({ newest }) => newest!)),
    oldestAge: mean(executed.map(({ oldest }) => oldest!)),
    idle: samples.length === 0 ? 1 : 1 - executed.length / samples.length,
    reaction: { median: quantile(reactions, 0.5), p90: quantile(reactions, 0.9) },
  };
}

function jerk(samples: readonly Sample[], rate: number): number {
  const third = (i: number): number => {
    const [a, b, c, d] = [0, 1, 2, 3].map((k) => samples[i + k]!.command) as [number, number, number, number];
    return (d - 3 * c + 3 * b - a) * rate ** 3;
  };
  const squares = Array.from({ length: Math.max(0, samples.length - 3) }, (_, i) => third(i) ** 2);
  return Math.sqrt(mean(squares));
}

/** A jump that is followed by another before the half way counts until that one: slow modes are not flattered. */
function reactionTimes(samples: readonly Sample[]): number[] {
  const times: number[] = [];
  for (let i = 1; i < samples.length; i++) {
    const { at, target } = samples[i]!;
    if (target === samples[i - 1]!.target) continue;
    const from = samples[i - 1]!.command;
    const half = (target - from) / 2;
    let j = i;
    while (j < samples.length && samples[j]!.target === target && (samples[j]!.command - from) / half < 1)
      j++;
    if (j < samples.length) times.push(samples[j]!.at - at);
  }
  return times;
}

/** NaN of nothing. */
function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** @param sorted ascending; NaN of nothing */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
