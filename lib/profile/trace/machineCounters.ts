/** Sensors of the machine as counter tracks: what a report holds of them, at the times at which it read them. */

import type { MachineState } from '../../machine/types.ts';
import type { CounterTrack, Timeline } from './timeline.ts';

/** The timeline with a track for each sensor that was sampled, on the clock of the slices, and one for what slowed the machine. */
export function withMachine(timeline: Timeline, { series }: MachineState): Timeline {
  if (!series) return timeline;
  const { atMs, startMonotonicMs, sensors, throttling } = series;
  const at = (ms: number): number => ms + startMonotonicMs;
  const ofSensors = sensors.map(({ kind, name, unit, values }): CounterTrack => {
    // the viewer puts a prefix before the unit: 1.3K MHz would be read twice, 1.3G Hz is read once
    const isClock = unit === 'MHz';
    // a counter keeps its value until the next: what was not read has none to show
    const samples = values.flatMap((value, i) =>
      value === null ? [] : [{ atMs: at(atMs[i]!), value: isClock ? value * 1e6 : value }],
    );
    return { kind: 'counter', name: `${kind} ${name}`, unit: isClock ? 'Hz' : unit, samples };
  });
  const slowed = throttling.map(({ reason, fromMs, toMs }): CounterTrack => {
    const first = atMs[0] ?? fromMs;
    const samples = [
      { atMs: at(first), value: fromMs <= first ? 1 : 0 },
      { atMs: at(fromMs), value: 1 },
      { atMs: at(Math.max(toMs, fromMs + 1)), value: 0 },
    ];
    return { kind: 'counter', name: `throttled ${reason}`, unit: '1: slowed', samples };
  });
  const counters = [...ofSensors, ...slowed].filter(({ samples }) => samples.length > 0);
  return { ...timeline, tracks: [...timeline.tracks, ...counters] };
}
