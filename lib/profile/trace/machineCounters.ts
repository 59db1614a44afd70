/** Sensors of the machine as counter tracks: what a report holds of them, at the times at which it read them. */

import type { MachineSeries, MachineState } from '../types.ts';
import type { CounterTrack, Timeline } from './timeline.ts';

/** The timeline with a track for each sensor that was sampled. */
export function withMachine(timeline: Timeline, { series }: MachineState): Timeline {
  if (!series) return timeline;
  const counters = seriesCounters(series).filter(({ samples }) => samples.length > 0);
  return { ...timeline, tracks: [...timeline.tracks, ...counters.map(inHertz)] };
}

/** The viewer puts a prefix before the unit: 1.3K MHz would be read twice, 1.3G Hz is read once. */
function inHertz(track: CounterTrack): CounterTrack {
  if (track.unit !== 'MHz') return track;
  const samples = track.samples.map(({ atMs, value }) => ({ atMs, value: value * 1e6 }));
  return { ...track, unit: 'Hz', samples };
}

/** What was sampled: a track a sensor, on the clock of the slices, and one for what slowed the machine. */
function seriesCounters({ atMs, startMonotonicMs, sensors, throttling }: MachineSeries): CounterTrack[] {
  const at = (ms: number): number => ms + startMonotonicMs;
  const tracks = sensors.map(
    ({ kind, name, unit, values }): CounterTrack => ({
      kind: 'counter',
      name: `${kind} ${name}`,
      unit,
      // a counter keeps its value until the next: what was not read has none to show
      samples: values.flatMap((value, i) => (value === null ? [] : [{ atMs: at(atMs[i]!), value }])),
    }),
  );
  const slowed = throttling.map(
    ({ reason, fromMs, toMs }): CounterTrack => ({
      kind: 'counter',
      name: `throttled ${reason}`,
      unit: '1: slowed',
      samples: [
        { atMs: at(atMs[0] ?? fromMs), value: fromMs <= (atMs[0] ?? fromMs) ? 1 : 0 },
        { atMs: at(fromMs), value: 1 },
        { atMs: at(Math.max(toMs, fromMs + 1)), value: 0 },
      ],
    }),
  );
  return [...tracks, ...slowed];
}
