/**
 * A recording as a timeline: what the loop sent, why it held, which deadlines passed, and what the policy was doing then.
 *
 * Only the durations of a prediction's stages are known. They are placed where the policy runs them: host stages at the
 * beginning, `unnormalize` at the end, the runtime's before it.
 */

import { dated, nested, type Slice, type SliceTrack, type Timeline } from '../trace/timeline.ts';
import type { StageName, StageTimes } from '../types.ts';
import type { Recording } from './recorder.ts';
import { type EventKind, eventKinds, eventReasons, outcomes, stagesOf } from './rings.ts';

export interface FlightFacts {
  readonly title: string;
  readonly pid: number;
  /** Why it was written: `hold`, `deadline`, `request`. */
  readonly why: string;
  /** The moment of the copy, ms of `performance.now()`: whatever is still running ends here. */
  readonly nowMs: number;
  /** To be added for the clock of a timeline. */
  readonly toMonotonicMs: number;
  readonly realtimeMs: number;
}

interface FlightEvent {
  readonly kind: EventKind;
  readonly reason: string;
  readonly at: number;
  readonly value: number;
}

const ticks: ReadonlySet<EventKind> = new Set(['executed', 'hold']);
const misses: ReadonlySet<EventKind> = new Set([
  'missed',
  'deadline missed',
  'late',
  'abandoned',
  'rejected',
]);
/** Slices that a person looks up in a log. */
const datedCategories: ReadonlySet<string> = new Set(['chunk', 'hold', 'miss']);

export function flightTimeline(recording: Recording, facts: FlightFacts): Timeline {
  const { nowMs, toMonotonicMs } = facts;
  const { at, value, kind, reason } = recording.events;
  const events = [...at].map(
    (time, i): FlightEvent => ({
      kind: eventKinds[kind[i]!]!,
      reason: eventReasons[reason[i]!]!,
      at: time + toMonotonicMs,
      value: value[i]!,
    }),
  );
  const clock = { monotonicMs: nowMs + toMonotonicMs, realtimeMs: facts.realtimeMs };
  const track = (name: string, slices: readonly Slice[], side: SliceTrack['side'] = 'host'): SliceTrack => ({
    kind: 'slices',
    name,
    side,
    slices: nested(slices).map((slice) =>
      datedCategories.has(slice.category) ? dated(slice, clock) : slice,
    ),
  });
  const { lanes, host, instruction, runtime, device } = policySlices(recording, facts);
  const tracks = [
    track('control loop', tickSlices(events, clock.monotonicMs)),
    track('deadlines', events.flatMap(missSlice)),
    track('decisions', events.flatMap(decisionSlice)),
    ...lanes.map((slices, i) => track(i === 0 ? 'policy' : `policy (${i + 1})`, slices)),
    track('preprocessing', host),
    track('instruction', instruction),
    track('runtime', runtime),
    track('stream', device, 'device'),
  ].filter(({ slices }) => slices.length > 0);
  const executed = events.filter((event) => event.kind === 'executed');
  const ages = executed.map((event) => ({ atMs: event.at, value: event.value }));
  const age = {
    kind: 'counter',
    name: 'age of the observation acted upon',
    unit: 'ms',
    samples: ages,
  } as const;
  return {
    title: `${facts.title} (${facts.why})`,
    pid: facts.pid,
    clock,
    tracks: ages.length === 0 ? tracks : [...tracks, age],
  };
}

/** From each tick to the next one: an action is in force until then, a HOLD lasts until then. */
function tickSlices(events: readonly FlightEvent[], now: number): Slice[] {
  const own = events.filter(({ kind }) => ticks.has(kind));
  const gaps = own.slice(1).map(({ at }, i) => at - own[i]!.at);
  const period = gaps.sort((a, b) => a - b)[gaps.length >> 1] ?? 0;
  return own.map(({ kind, reason, at, value }, i) => {
    // a loop that stood still is not drawn as one long action
    const ms = Math.max(0, Math.min(own[i + 1]?.at ?? now, at + 2 * period) - at);
    return kind === 'hold'
      ? { name: `HOLD ${reason}`, category: 'hold', startMs: at, ms }
      : { name: 'action', category: 'tick', startMs: at, ms, args: { 'observation age ms': value } };
  });
}

/** An event has no length: the viewer draws a mark of the same width at any zoom. */
function missSlice({ kind, reason, at, value }: FlightEvent): Slice[] {
  if (!misses.has(kind)) return [];
  const args: Record<string, number> =
    kind === 'missed' ? { ticks: value } : kind === 'deadline missed' ? { 'took ms': value } : {};
  const name = kind === 'rejected' ? `request refused: ${reason}` : kind;
  return [{ name, category: 'miss', startMs: at, ms: 0, args }];
}

function decisionSlice({ kind, at, value }: FlightEvent): Slice[] {
  if (ticks.has(kind) || misses.has(kind)) return [];
  const args: Record<string, number> = kind === 'chunk' ? { 'rows dropped': value } : {};
  return [{ name: kind, category: 'decision', startMs: at, ms: 0, args }];
}

/** Stages that a prediction's arrows connect. */
const joined: ReadonlySet<string> = new Set([
  'preprocess',
  'frames to the device',
  'policy graph',
  'compute',
]);

/** Predictions that wait for one another overlap: each goes to the first lane that is free. */
function policySlices({ chunks }: Recording, { nowMs, toMonotonicMs }: FlightFacts) {
  const lanes: Slice[][] = [];
  const ends: number[] = [];
  const tracks = {
    host: [] as Slice[],
    instruction: [] as Slice[],
    runtime: [] as Slice[],
    device: [] as Slice[],
  };
  for (const [row, start] of chunks.start.entries()) {
    const stages = stagesOf(chunks.stages, row);
    const outcome = outcomes[chunks.outcome[row]!]!;
    const end = start + (stages.total ?? Math.max(0, nowMs - start));
    const free = ends.findIndex((busyUntil) => busyUntil <= start);
    const lane = free < 0 ? lanes.push([]) - 1 : free;
    ends[lane] = end;
    const number = chunks.first + row;
    const name =
      outcome === 'running'
        ? 'prediction, still running'
        : outcome === 'done'
          ? 'prediction'
          : `prediction ${outcome}`;
    const startMs = start + toMonotonicMs;
    lanes[lane]!.push({ name, category: 'chunk', startMs, ms: end - start, args: { number }, flow: number });
    for (const [track, what, at, ms] of placed(stages, start, end)) {
      const slice = { name: what, category: 'stage', startMs: at + toMonotonicMs, ms, args: {} };
      tracks[track].push(joined.has(what) ? { ...slice, flow: number } : slice);
    }
  }
  return { lanes, ...tracks };
}

type Placed = readonly [
  track: 'host' | 'instruction' | 'runtime' | 'device',
  name: string,
  at: number,
  ms: number,
];

/** Where each stage of a prediction from `start` to `end` is drawn. */
function placed(stages: StageTimes, start: number, end: number): Placed[] {
  const { unnormalize = 0, policy = 0, tokenize = 0 } = stages;
  const begin = end - unnormalize - policy;
  const inRow = (track: Placed[0], names: readonly StageName[], from: number): Placed[] => {
    let at = from;
    return names.flatMap((name) => {
      const ms = stages[name];
      if (ms === undefined) return [];
      at += ms;
      return [[track, name, at - ms, ms] as const];
    });
  };
  const one = (track: Placed[0], stage: StageName, name: string, at: number): Placed[] =>
    stages[stage] === undefined ? [] : [[track, name, at, stages[stage]]];
  return [
    ...one('host', 'preprocess', 'preprocess', start),
    ...one('host', 'preprocessOnDevice', 'frames to the device', start),
    ...inRow('host', ['decode', 'resize', 'crop'], start),
    ...one('instruction', 'tokenize', 'tokenize', start),
    ...one('instruction', 'instruction', 'instruction graph', start + tokenize),
    ...(unnormalize > 0 ? one('runtime', 'unnormalize', 'unnormalize', end - unnormalize) : []),
    ...one('runtime', 'policy', 'policy graph', begin),
    ...one('runtime', 'enqueue', 'enqueue', begin),
    ...inRow('device', ['h2d', 'compute', 'd2h'], begin),
  ];
}
