/** What ran when. Times are milliseconds of process.hrtime. */

/** Something that began and ended. */
export interface Slice {
  readonly name: string;
  readonly startMs: number;
  readonly ms: number;
  /** Perfetto's category: `chunk`, `stage`, `layer`. */
  readonly category: string;
  /** Shown beside the slice. */
  readonly args?: Readonly<Record<string, string | number>>;
  /** Slices of one number are joined by arrows in the order of their times. */
  readonly flow?: number;
}

/** Slices of one track lie beside or inside one another; they never cross. */
export interface SliceTrack {
  readonly kind: 'slices';
  readonly name: string;
  /** `host`: threads of this process; `device`: what runs on the GPU, or inside the CPU runtime. */
  readonly side: 'host' | 'device';
  readonly slices: readonly Slice[];
}

/** One value that changes over time: power, a temperature, the delay of the event loop. */
export interface CounterTrack {
  readonly kind: 'counter';
  readonly name: string;
  /** `W`, `°C`, `ms`, `Hz` */
  readonly unit: string;
  readonly samples: readonly { readonly atMs: number; readonly value: number }[];
}

/** Slices, counters and moments of a run, on one clock. */
export interface Timeline {
  /** Of the process, for the viewer's heading. */
  readonly title: string;
  readonly pid: number;
  /** One moment on both clocks: milliseconds of process.hrtime, and since 1970. */
  readonly clock: { readonly monotonicMs: number; readonly realtimeMs: number };
  readonly tracks: readonly (SliceTrack | CounterTrack)[];
}

/** `host: inference thread`: both sides in one list, in the order in which they were given. */
export function trackLabel({ side, name }: SliceTrack): string {
  return `${side}: ${name}`;
}

/** With the time of day at which it began, UTC: what a person looks for in a log. */
export function dated(slice: Slice, { monotonicMs, realtimeMs }: Timeline['clock']): Slice {
  const time = new Date(realtimeMs + slice.startMs - monotonicMs).toISOString();
  return { ...slice, args: { ...slice.args, time } };
}

/**
 * Slices in an order in which each comes after the one that holds it, cut so that they nest: neighbours that overlap by the
 * rounding of their clocks are pushed apart, and what begins inside another ends with it at the latest.
 */
export function nested(slices: readonly Slice[]): Slice[] {
  const sorted = [...slices].sort((a, b) => a.startMs - b.startMs || b.ms - a.ms);
  const open: number[] = [];
  return sorted.map((slice) => {
    let { startMs } = slice;
    while (open.length > 0 && open.at(-1)! <= slice.startMs + roundingMs) {
      startMs = Math.max(startMs, open.pop()!);
    }
    const limit = open.at(-1) ?? Number.POSITIVE_INFINITY;
    const endMs = Math.max(startMs, Math.min(slice.startMs + slice.ms, limit));
    open.push(endMs);
    return { ...slice, startMs, ms: endMs - startMs };
  });
}

/** Profilers count whole microseconds. */
const roundingMs = 0.002;
