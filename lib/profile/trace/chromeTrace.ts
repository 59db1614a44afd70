/** A timeline in Chrome's trace event format (JSON), which chrome://tracing and Perfetto open. */

import { type SliceTrack, type Timeline, trackLabel } from './timeline.ts';

export function encodeChrome({ title, pid, clock, tracks }: Timeline): string {
  const meta = (name: string, tid: number, args: object) => ({ ph: 'M', pid, tid, name, args });
  const events: object[] = [meta('process_name', 0, { name: title })];
  for (const [i, track] of tracks.entries()) {
    // 0 is the process itself
    const tid = i + 1;
    if (track.kind === 'counter') {
      for (const { atMs, value } of track.samples) {
        events.push({
          ph: 'C',
          pid,
          name: track.name,
          ts: microseconds(atMs),
          args: { [track.unit]: value },
        });
      }
      continue;
    }
    events.push(meta('thread_name', tid, { name: trackLabel(track) }));
    events.push(meta('thread_sort_index', tid, { sort_index: tid }));
    events.push(...sliceEvents(track, pid, tid));
  }
  events.push(
    ...flowEvents(
      tracks.filter((track) => track.kind === 'slices'),
      tracks,
      pid,
    ),
  );
  return JSON.stringify({
    traceEvents: events,
    displayTimeUnit: 'ms',
    otherData: { clock: 'CLOCK_MONOTONIC', monotonicMs: clock.monotonicMs, realtimeMs: clock.realtimeMs },
  });
}

function sliceEvents({ slices }: SliceTrack, pid: number, tid: number): object[] {
  return slices.map(({ name, category, startMs, ms, args }) => ({
    ph: 'X',
    pid,
    tid,
    name,
    cat: category,
    ts: microseconds(startMs),
    dur: microseconds(ms),
    ...(args === undefined ? {} : { args }),
  }));
}

/** Arrows: from the first slice of a number to the last, in the order of their times. */
function flowEvents(slices: readonly SliceTrack[], tracks: Timeline['tracks'], pid: number): object[] {
  const flows = new Map<number, { ts: number; tid: number }[]>();
  for (const track of slices) {
    for (const { flow, startMs } of track.slices) {
      if (flow === undefined) continue;
      const points = flows.get(flow) ?? [];
      points.push({ ts: microseconds(startMs), tid: tracks.indexOf(track) + 1 });
      flows.set(flow, points);
    }
  }
  return [...flows].flatMap(([id, points]) =>
    points.length < 2
      ? []
      : points
          .sort((a, b) => a.ts - b.ts)
          .map(({ ts, tid }, i) => ({
            ph: i === 0 ? 's' : i === points.length - 1 ? 'f' : 't',
            pid,
            tid,
            ts,
            id,
            name: 'chunk',
            cat: 'chunk',
            ...(i === points.length - 1 ? { bp: 'e' } : {}),
          })),
  );
}

/** The format's unit; three digits keep the nanosecond. */
function microseconds(ms: number): number {
  return Math.round(ms * 1e6) / 1e3;
}
