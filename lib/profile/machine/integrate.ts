/** Energy of a stretch of time from samples of power, and how far its edges can be wrong. */

export interface PowerSeries {
  /** Ascending, milliseconds. */
  readonly atMs: readonly number[];
  /** Watts; null: a gap. */
  readonly watts: readonly (number | null)[];
  /** `moment`: straight lines between samples; `mean`: each value holds since the sample before. */
  readonly is: 'moment' | 'mean';
}

export type Integral =
  | {
      readonly joules: number;
      /** What a step of the power between the samples around an edge can have moved, joules. */
      readonly edgeJoules: number;
      /** Inside the stretch. */
      readonly samples: number;
    }
  /** Why there is none. */
  | { readonly missing: 'not covered' | 'gap' };

export interface IntegrateOptions {
  /** Two samples that lie farther apart than this say nothing of what was between them. */
  readonly longestGapMs: number;
  /** How late the sensor itself may be, milliseconds. */
  readonly lagMs: number;
}

interface Sample {
  readonly at: number;
  readonly value: number;
}

/** Trapezoids over [fromMs, toMs], with the power at its ends read off the lines between the samples around them. */
export function integratePower(
  { atMs, watts, is }: PowerSeries,
  fromMs: number,
  toMs: number,
  { longestGapMs, lagMs }: IntegrateOptions,
): Integral {
  const known: Sample[] = [];
  for (const [i, value] of watts.entries()) if (value !== null) known.push({ at: atMs[i]!, value });
  const first = known.findLastIndex(({ at }) => at <= fromMs);
  const last = known.findIndex(({ at }) => at >= toMs);
  if (first < 0 || last < 0 || !(toMs > fromMs)) return { missing: 'not covered' };
  let joules = 0;
  let edgeJoules = 0;
  for (let i = first + 1; i <= last; i++) {
    const [a, b] = [known[i - 1]!, known[i]!];
    if (b.at - a.at > longestGapMs) return { missing: 'gap' };
    const [from, to] = [Math.max(a.at, fromMs), Math.min(b.at, toMs)];
    const at = (ms: number): number =>
      is === 'mean' ? b.value : a.value + ((b.value - a.value) * (ms - a.at)) / (b.at - a.at);
    joules += ((at(from) + at(to)) / 2) * ((to - from) / 1000);
    if (i === first + 1) edgeJoules += edgeBound(known, i, is, from, to, lagMs);
    if (i === last) edgeJoules += edgeBound(known, i, is, from, to, lagMs);
  }
  const samples = known.filter(({ at }) => at >= fromMs && at <= toMs).length;
  return { joules, edgeJoules, samples };
}

/**
 * What one edge can be wrong by. Between two samples the power may have stepped at any moment, and a sensor that is late
 * shows the step later still; the samples around the edge tell how high it was.
 */
function edgeBound(
  known: readonly Sample[],
  i: number,
  is: PowerSeries['is'],
  from: number,
  to: number,
  lagMs: number,
): number {
  const [a, b] = [known[i - 1]!, known[i]!];
  const around = known.filter(
    (sample, k) => (sample.at >= a.at - lagMs && sample.at <= b.at + lagMs) || (is === 'mean' && k === i + 1),
  );
  const values = around.map(({ value }) => value);
  const spread = Math.max(...values) - Math.min(...values);
  const [whole, inside] = [b.at - a.at, to - from];
  // a line from a to b against a step at its worst moment; a mean whose two sides differ by all of the spread
  const place = ((from + to) / 2 - a.at) / whole;
  const moved = is === 'mean' ? (inside * (whole - inside)) / whole : inside * Math.max(place, 1 - place);
  return (spread * (moved + lagMs)) / 1000;
}
