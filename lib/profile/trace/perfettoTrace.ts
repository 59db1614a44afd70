/** A timeline as a Perfetto trace (ui.perfetto.dev): TrackEvents of one packet sequence, names interned. */

import { clockId, eventType, explicitOrder, sequenceFlag, traceProto } from './perfettoSchema.ts';
import type { CounterTrack, SliceTrack, Timeline } from './timeline.ts';

/** Any number but 0: it says which packets share their interned names. */
const sequence = 1;
const processUuid = 1;
const sideUuid = { host: 2, device: 3 } as const;
const firstTrackUuid = 10;

interface Event {
  readonly ns: number;
  readonly trackEvent: object;
}

export function encodePerfetto(timeline: Timeline): Uint8Array {
  const names = new Interned();
  const events = timeline.tracks
    .flatMap((track, i) =>
      track.kind === 'slices'
        ? sliceEvents(track, firstTrackUuid + i, names)
        : counterEvents(track, firstTrackUuid + i),
    )
    // stable: at one moment the order within a track stays, so that ends come before the next begin
    .sort((a, b) => a.ns - b.ns);
  const { monotonicMs, realtimeMs } = timeline.clock;
  const head = {
    trustedPacketSequenceId: sequence,
    sequenceFlags: sequenceFlag.cleared,
    clockSnapshot: {
      clocks: [
        { clockId: clockId.monotonic, timestamp: nanoseconds(monotonicMs) },
        { clockId: clockId.realtime, timestamp: nanoseconds(realtimeMs) },
      ],
      primaryTraceClock: clockId.monotonic,
    },
    tracePacketDefaults: { timestampClockId: clockId.monotonic },
  };
  const packet = [
    head,
    ...descriptors(timeline).map((trackDescriptor) => ({
      trustedPacketSequenceId: sequence,
      trackDescriptor,
    })),
    // before the first event that uses one
    {
      trustedPacketSequenceId: sequence,
      sequenceFlags: sequenceFlag.needsState,
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
    { uuid: processUuid, process: { pid, processName: title }, childOrdering: explicitOrder },
    ...(['host', 'device'] as const).map((side, rank) => ({
      uuid: sideUuid[side],
      parentUuid: processUuid,
      name: side,
      childOrdering: explicitOrder,
      siblingOrderRank: rank,
    })),
    ...tracks.map((track, rank) => ({
      uuid: firstTrackUuid + rank,
      name: track.name,
      siblingOrderRank: rank,
      ...(track.kind === 'slices'
        ? { parentUuid: sideUuid[track.side] }
        : { parentUuid: processUuid, counter: { unitName: track.unit } }),
    })),
  ];
}

/** Slices come with those that hold others first (timeline.ts, nested), so a stack closes them in the right order. */
function sliceEvents({ slices }: SliceTrack, trackUuid: number, names: Interned): Event[] {
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
      ...(typeof value === 'number' ? { doubleValue: value } : { stringValueIid: names.text(value) }),
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
        ...(flow === undefined ? {} : { flowIds: [flow + 1] }),
      },
    });
    // what is inside another ends with it at the latest, also after rounding
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
