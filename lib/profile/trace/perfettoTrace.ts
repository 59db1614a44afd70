/**
 * A timeline as a Perfetto trace (ui.perfetto.dev): TrackEvents of one packet sequence, names interned.
 *
 * Written for what the viewer makes of it (test/profile/traceViewer.test.ts). Tracks of slices are threads: these it shows
 * in the order of their numbers, sums up in the overview and in the closed process; other tracks below a process it sorts
 * by name. There is no clock snapshot: it would be a second group, and the viewer opens the process by itself only if
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

/**
 * A timeline as the bytes of a Perfetto trace file (`.perfetto-trace`, `.pftrace`).
 *
 * @param timeline of `profilePolicy`; its times are nanoseconds of one clock
 * @throws never
 */
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
    ...descriptors(timeline).map((trackDescriptor) => ({ trackDescriptor })),
    // before the first event that uses one
    { sequenceFlags: sequenceFlag.cleared, internedData: names.message },
    ...events.map(({ ns, trackEvent }) => ({
      ...{ timestamp: ns, sequenceFlags: sequenceFlag.needsState, trackEvent },
    })),
  ].map((one) => ({ ...one, trustedPacketSequenceId: sequence }));
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
      nameIid: names.id('debugAnnotationNames', key),
      ...annotation(value, names),
    }));
    events.push({
      ns,
      trackEvent: {
        type: eventType.begin,
        trackUuid,
        nameIid: names.id('eventNames', name),
        categoryIids: [names.id('eventCategories', category)],
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
  const slices = tracks.flatMap((track) => (track.kind === 'counter' ? [] : track.slices));
  const flows = slices.flatMap(({ flow }) => flow ?? []);
  return new Set(flows.filter((flow) => seen.size === seen.add(flow).size));
}

/** A whole number as one: the viewer would show 30.0. */
function annotation(value: string | number, names: Interned): object {
  if (typeof value === 'string') return { stringValueIid: names.id('debugAnnotationStringValues', value) };
  return Number.isSafeInteger(value) ? { intValue: value } : { doubleValue: value };
}

function nanoseconds(ms: number): number {
  return Math.round(ms * 1e6);
}

/** Each text once, by number, a list of its own for each kind. Numbers begin at 1. */
class Interned {
  readonly #lists = {
    eventNames: new Map<string, number>(),
    eventCategories: new Map<string, number>(),
    debugAnnotationNames: new Map<string, number>(),
    debugAnnotationStringValues: new Map<string, number>(),
  };

  id(kind: keyof Interned['message'], text: string): number {
    const list = this.#lists[kind];
    if (!list.has(text)) list.set(text, list.size + 1);
    return list.get(text)!;
  }

  get message() {
    const named = (map: ReadonlyMap<string, number>) => [...map].map(([name, iid]) => ({ iid, name }));
    const { debugAnnotationStringValues: texts, ...lists } = this.#lists;
    return {
      eventNames: named(lists.eventNames),
      eventCategories: named(lists.eventCategories),
      debugAnnotationNames: named(lists.debugAnnotationNames),
      debugAnnotationStringValues: [...texts].map(([text, iid]) => ({ iid, str: Buffer.from(text, 'utf8') })),
    };
  }
}
