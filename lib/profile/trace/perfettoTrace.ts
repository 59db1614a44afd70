/**
 * A timeline as a Perfetto trace (ui.perfetto.dev): TrackEvents of one packet sequence, names interned.
 *
 * Written for what the viewer makes of it (test/profile/traceViewer.test.ts). Tracks of slices are threads: these it shows
 * in the order of their numbers, sums up in the overview and in the closed process; other tracks below a process it sorts
 * by name. There is no clock snapshot: it would be a second group, and the viewer opens the process by itself only where
 * it is the only one. Slices that need it carry the time of day (timeline.ts, dated).
 */

import { eventType, sequenceFlag, traceProto } from './perfettoSchema.ts';
import { type CounterTrack, type SliceTrack, type Timeline, trackLabel } from './timeline.ts';

/** Any number but 0: it says which packets share their interned names. */
const sequence = 1;
const processUuid = 1;
const firstTrackUuid = 10;

interface Event {
  readonly ns: number;
  readonly trackEvent: object;
}

/** A timeline as the bytes of a Perfetto trace file (`.perfetto-trace`, `.pftrace`). */
export function encodeTrace(timeline: Timeline): Uint8Array {
  const names = new Interned();
  const joined = joinedFlows(timeline);
  const events = timeline.tracks
    .flatMap((track, i) =>
      track.kind === 'slices'
        ? sliceEvents(track, firstTrackUuid + i, names, joined)
        : counterEvents(track, firstTrackUuid + i),
    )
    // stable: at one moment the order within a track stays, so that ends come before the next begin
    .sort((a, b) => a.ns - b.ns);
  const packet = [
    ...descriptors(timeline).map((trackDescriptor) => ({
      trustedPacketSequenceId: sequence,
      trackDescriptor,
    })),
    // before the first event that uses one
    {
      trustedPacketSequenceId: sequence,
      sequenceFlags: sequenceFlag.cleared,
      internedData: names.message(),
    },
    ...events.map(({ ns, trackEvent }) => ({
      timestamp: ns,
      trustedPacketSequenceId: sequence,
      sequenceFlags: sequenceFlag.needsState,
      trackEvent,
    })),
  ];
  return traceProto.encode(traceProto.fromObject({ packet })).finish();
}

function descriptors({ title, pid, tracks }: Timeline): object[] {
  return [
    { uuid: processUuid, process: { pid, processName: title } },
    ...tracks.map((track, i) => ({
      uuid: firstTrackUuid + i,
      parentUuid: processUuid,
      ...(track.kind === 'slices'
        ? { thread: { pid, tid: i + 1, threadName: trackLabel(track) } }
        : { name: track.name, counter: { unitName: track.unit } }),
    })),
  ];
}

/** Slices come with those that hold others first (timeline.ts, nested), so a stack closes them in the right order. */
function sliceEvents(
  { slices }: SliceTrack,
  trackUuid: number,
  names: Interned,
  joined: ReadonlySet<number>,
): Event[] {
  const events: Event[] = [];
  const open: number[] = [];
  const closeUntil = (ns: number): void => {
    while (open.length > 0 && open.at(-1)! <= ns) {
      events.push({ ns: open.pop()!, trackEvent: { type: eventType.end, trackUuid } });
    }
  };
  for (const { name, category, startMs, ms, args, flow } of slices) {
    const ns = nanoseconds(startMs);
    closeUntil(ns);
    const annotations = Object.entries(args ?? {}).map(([key, value]) => ({
      nameIid: names.argument(key),
      ...annotation(value, names),
    }));
    events.push({
      ns,
      trackEvent: {
        type: eventType.begin,
        trackUuid,
        nameIid: names.name(name),
        categoryIids: [names.category(category)],
        ...(annotations.length === 0 ? {} : { debugAnnotations: annotations }),
        // 0 is no flow
        ...(flow !== undefined && joined.has(flow) ? { flowIds: [flow + 1] } : {}),
      },
    });
    // a slice ends no later than the one around it, rounding included
    const end = Math.max(ns, nanoseconds(startMs + ms));
    open.push(Math.min(end, open.at(-1) ?? end));
  }
  closeUntil(Number.POSITIVE_INFINITY);
  return events;
}

function counterEvents({ samples }: CounterTrack, trackUuid: number): Event[] {
  return samples.map(({ atMs, value }) => ({
    ns: nanoseconds(atMs),
    trackEvent: { type: eventType.counter, trackUuid, doubleCounterValue: value },
  }));
}

/** Numbers that two slices or more have: an arrow has two ends. */
function joinedFlows({ tracks }: Timeline): Set<number> {
  const seen = new Set<number>();
  const joined = new Set<number>();
  for (const track of tracks) {
    if (track.kind === 'counter') continue;
    for (const { flow } of track.slices) {
      if (flow === undefined) continue;
      if (seen.has(flow)) joined.add(flow);
      seen.add(flow);
    }
  }
  return joined;
}

/** A whole number as one: the viewer would show 30.0. */
function annotation(value: string | number, names: Interned): object {
  if (typeof value === 'string') return { stringValueIid: names.text(value) };
  return Number.isSafeInteger(value) ? { intValue: value } : { doubleValue: value };
}

function nanoseconds(ms: number): number {
  return Math.round(ms * 1e6);
}

/** Each text once, by number. Numbers begin at 1, each kind by itself. */
class Interned {
  readonly #names = new Map<string, number>();
  readonly #categories = new Map<string, number>();
  readonly #arguments = new Map<string, number>();
  readonly #texts = new Map<string, number>();

  name(text: string): number {
    return intern(this.#names, text);
  }
  category(text: string): number {
    return intern(this.#categories, text);
  }
  argument(text: string): number {
    return intern(this.#arguments, text);
  }
  text(text: string): number {
    return intern(this.#texts, text);
  }

  message(): object {
    const list = (map: ReadonlyMap<string, number>) => [...map].map(([name, iid]) => ({ iid, name }));
    return {
      eventNames: list(this.#names),
      eventCategories: list(this.#categories),
      debugAnnotationNames: list(this.#arguments),
      debugAnnotationStringValues: [...this.#texts].map(([text, iid]) => ({
        iid,
        str: Buffer.from(text, 'utf8'),
      })),
    };
  }
}

function intern(map: Map<string, number>, text: string): number {
  const known = map.get(text);
  if (known !== undefined) return known;
  map.set(text, map.size + 1);
  return map.size;
}
