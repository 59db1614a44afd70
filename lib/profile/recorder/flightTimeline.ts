/**
 * A recording as a timeline: what the loop sent, why it held, which deadlines passed, and what the policy was doing then.
 *
 * Only the durations of a prediction's stages are known. They are placed where the policy runs them: host stages at the
 * beginning, `unnormalize` at the end, the runtime's before it.
 */

import type { CounterTrack, Slice, SliceTrack, Timeline } from '../trace/timeline.ts';
import { dated, nested } from '../trace/timeline.ts';
import type { StageName, StageTimes } from '../types.ts';
import { outcomes, stagesOf } from './chunkRing.ts';
import { type EventKind, type EventRows, eventKinds, eventReasons } from './eventRing.ts';
import type { Recording } from './recorder.ts';

export interface FlightFacts {
  readonly title: string;
  readonly pid: number;
  /** Why it was written: `hold`, `deadline`, `request`. */
  readonly why: string;
  /** The moment of the copy, ms of `performance.now()`: what still runs ends here. */
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

/** An event without a length is drawn as a mark of the same width at any zoom. */
const markMs = 0;
const ticks: ReadonlySet<EventKind> = new Set(['executed', 'hold']);
/** Slices that a person looks up in a log. */
const datedCategories: ReadonlySet<string> = new Set(['chunk', 'hold', 'miss']);
const misses: ReadonlySet<EventKind> = new Set([
  'missed',
  'deadline missed',
  'late',
  'abandoned',
  'rejected',
]);

export function flightTimeline(recording: Recording, facts: FlightFacts): Timeline {
  const shift = facts.toMonotonicMs;
  const events = readEvents(recording.events);
  const tracks: (SliceTrack | CounterTrack)[] = [
    track('control loop', tickSlices(events, facts.nowMs, shift)),
    track('deadlines', missSlices(events, shift)),
    track('decisions', decisionSlices(events, shift)),
    ...policyTracks(recording, facts),
    ageTrack(events, shift),
  ];
  const clock = { monotonicMs: facts.nowMs + shift, realtimeMs: facts.realtimeMs };
  return {
    title: `${facts.title} (${facts.why})`,
    pid: facts.pid,
    clock,
    tracks: tracks
      .filter((one) => (one.kind === 'slices' ? one.slices : one.samples).length > 0)
      .map((one) =>
        one.kind === 'counter'
          ? one
          : {
              ...one,
              slices: one.slices.map((slice) =>
                datedCategories.has(slice.category) ? dated(slice, clock) : slice,
              ),
            },
      ),
  };
}

const track = (name: string, slices: readonly Slice[], side: SliceTrack['side'] = 'host'): SliceTrack => ({
  kind: 'slices',
  name,
  side,
  slices: nested(slices),
});

function readEvents({ at, value, kind, reason }: EventRows): FlightEvent[] {
  return Array.from(at, (time, i) => ({
    kind: eventKinds[kind[i]!]!,
    reason: eventReasons[reason[i]!]!,
    at: time,
    value: value[i]!,
  }));
}

/** From each tick to the next one: an action is in force until then, a HOLD lasts until then. */
function tickSlices(events: readonly FlightEvent[], nowMs: number, shift: number): Slice[] {
  const own = events.filter(({ kind }) => ticks.has(kind));
  const period = medianGap(own) ?? markMs;
  return own.map(({ kind, reason, at, value }, i) => {
    // a loop that stood still is not drawn as one long action
    const next = Math.min(own[i + 1]?.at ?? nowMs, at + 2 * period);
    return {
      name: kind === 'hold' ? `HOLD ${reason}` : 'action',
      category: kind === 'hold' ? 'hold' : 'tick',
      startMs: at + shift,
      ms: Math.max(0, next - at),
      ...(kind === 'executed' ? { args: { 'observation age ms': value } } : {}),
    };
  });
}

function medianGap(own: readonly FlightEvent[]): number | null {
  const gaps = own.slice(1).map(({ at }, i) => at - own[i]!.at);
  return gaps.length === 0 ? null : gaps.sort((a, b) => a - b)[gaps.length >> 1]!;
}

function missSlices(events: readonly FlightEvent[], shift: number): Slice[] {
  return events.flatMap(({ kind, reason, at, value }) => {
    if (!misses.has(kind)) return [];
    const args: Record<string, number> =
      kind === 'missed' ? { ticks: value } : kind === 'deadline missed' ? { 'took ms': value } : {};
    const name = kind === 'rejected' ? `request refused: ${reason}` : kind;
    return [{ name, category: 'miss', startMs: at + shift, ms: markMs, args }];
  });
}

function decisionSlices(events: readonly FlightEvent[], shift: number): Slice[] {
  return events.flatMap(({ kind, at, value }) => {
    if (ticks.has(kind) || misses.has(kind)) return [];
    const args: Record<string, number> = kind === 'chunk' ? { 'rows dropped': value } : {};
    return [{ name: kind, category: 'decision', startMs: at + shift, ms: markMs, args }];
  });
}

const hostStages: readonly StageName[] = ['decode', 'resize', 'crop'];
/** Stages that a prediction's arrows connect. */
const joined: ReadonlySet<string> = new Set([
  'preprocess',
  'frames to the device',
  'policy graph',
  'compute',
]);
const deviceStages: readonly StageName[] = ['h2d', 'compute', 'd2h'];

/** Predictions that wait for one another overlap: each in the first lane that is free. */
function policyTracks({ chunks }: Recording, { nowMs, toMonotonicMs }: FlightFacts): SliceTrack[] {
  const lanes: { end: number; readonly slices: Slice[] }[] = [];
  const host: Slice[] = [];
  const instruction: Slice[] = [];
  const runtime: Slice[] = [];
  const device: Slice[] = [];
  for (const [row, start] of chunks.start.entries()) {
    const stages = stagesOf(chunks.stages, row);
    const outcome = outcomes[chunks.outcome[row]!]!;
    const total = stages.total ?? Math.max(0, nowMs - start);
    const lane = lanes.find(({ end }) => end <= start) ?? { end: 0, slices: [] };
    if (!lanes.includes(lane)) lanes.push(lane);
    lane.end = start + total;
    const name =
      outcome === 'running'
        ? 'prediction, still running'
        : outcome === 'done'
          ? 'prediction'
          : `prediction ${outcome}`;
    const put = (slices: Slice[], what: string, at: number, ms: number, category = 'stage'): void => {
      const number = chunks.first + row;
      const args = category === 'chunk' ? { number } : {};
      const isJoined = category === 'chunk' || joined.has(what);
      slices.push({
        name: what,
        category,
        startMs: at + toMonotonicMs,
        ms,
        args,
        ...(isJoined ? { flow: number } : {}),
      });
    };
    put(lane.slices, name, start, total, 'chunk');
    placeStages(stages, start, start + total, (kind, what, at, ms) =>
      put({ host, instruction, runtime, device }[kind], what, at, ms),
    );
  }
  return [
    ...lanes.map(({ slices }, i) => track(i === 0 ? 'policy' : `policy (${i + 1})`, slices)),
    track('preprocessing', host),
    track('instruction', instruction),
    track('runtime', runtime),
    track('stream', device, 'device'),
  ];
}

type Put = (
  kind: 'host' | 'instruction' | 'runtime' | 'device',
  name: string,
  at: number,
  ms: number,
) => void;

function placeStages(stages: StageTimes, start: number, end: number, put: Put): void {
  const { preprocess, preprocessOnDevice, tokenize, instruction, policy, unnormalize = 0, enqueue } = stages;
  if (preprocess !== undefined) put('host', 'preprocess', start, preprocess);
  if (preprocessOnDevice !== undefined) put('host', 'frames to the device', start, preprocessOnDevice);
  let at = start;
  for (const name of hostStages) {
    const ms = stages[name];
    if (ms === undefined) continue;
    put('host', name, at, ms);
    at += ms;
  }
  if (tokenize !== undefined) put('instruction', 'tokenize', start, tokenize);
  if (instruction !== undefined)
    put('instruction', 'instruction graph', start + (tokenize ?? 0), instruction);
  if (unnormalize > 0) put('runtime', 'unnormalize', end - unnormalize, unnormalize);
  if (policy === undefined) return;
  const begin = end - unnormalize - policy;
  put('runtime', 'policy graph', begin, policy);
  if (enqueue !== undefined) put('runtime', 'enqueue', begin, enqueue);
  at = begin;
  for (const name of deviceStages) {
    const ms = stages[name];
    if (ms === undefined) continue;
    put('device', name, at, ms);
    at += ms;
  }
}

function ageTrack(events: readonly FlightEvent[], shift: number): CounterTrack {
  const samples = events.flatMap(({ kind, at, value }) =>
    kind === 'executed' ? [{ atMs: at + shift, value }] : [],
  );
  return { kind: 'counter', name: 'age of the observation acted upon', unit: 'ms', samples };
}
