/** Sensors of the machine as counter tracks: what a report holds of them, at the times at which it read them. */

import type { MachineSnapshot, MachineState } from '../types.ts';
import type { CounterTrack, Timeline } from './timeline.ts';

const kinds = [
  ['temperatures', 'temperature', '°C'],
  ['power', 'power', 'W'],
  ['clocks', 'clock', 'MHz'],
] as const;

/** The timeline with a track for each sensor that was read. */
export function withMachine(timeline: Timeline, machine: MachineState): Timeline {
  const snapshots = [machine.start, ...(machine.end === null ? [] : [machine.end])];
  return { ...timeline, tracks: [...timeline.tracks, ...machineCounters(snapshots, timeline.clock)] };
}

function machineCounters(snapshots: readonly MachineSnapshot[], clock: Timeline['clock']): CounterTrack[] {
  const tracks = new Map<string, { unit: string; samples: { atMs: number; value: number }[] }>();
  for (const snapshot of snapshots) {
    const atMs = clock.monotonicMs + Date.parse(snapshot.at) - clock.realtimeMs;
    for (const [field, word, unit] of kinds) {
      for (const { name, value } of snapshot[field]) {
        const key = `${word} ${name}`;
        const track = tracks.get(key) ?? { unit, samples: [] };
        track.samples.push({ atMs, value });
        tracks.set(key, track);
      }
    }
  }
  return [...tracks].map(([name, track]) => ({ kind: 'counter', name, ...track }));
}
