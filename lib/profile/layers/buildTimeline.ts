/** The profiled chunks as tracks: the host's threads above, what the runtime did below. */

import type { EventLoopWatch } from '../trace/eventLoopWatch.ts';
import { monotonicMs, nested, type Slice, type SliceTrack, type Timeline } from '../trace/timeline.ts';
import type { GraphName } from './blocks.ts';
import type { ChunkTimes, HostTrack } from './chunkRun.ts';
import { blocksOf } from './foldLayers.ts';
import type { GraphRun } from './layerRuns.ts';

const hostTracks: readonly HostTrack[] = [
  'chunks',
  'JavaScript thread',
  'preprocessing threads',
  'inference thread',
];

export function buildTimeline(
  title: string,
  chunks: readonly ChunkTimes[],
  runs: Readonly<Record<GraphName, readonly GraphRun[]>>,
  eventLoop: EventLoopWatch,
): Timeline {
  const slices = chunks.flatMap(({ slices }) => slices);
  const host = hostTracks.map(
    (track): SliceTrack => ({
      kind: 'slices',
      side: 'host',
      name: track,
      slices: nested(slices.filter((slice) => slice.track === track).map(({ track: _, ...slice }) => slice)),
    }),
  );
  const layers = (['instruction', 'policy'] as const).flatMap((graph) =>
    runs[graph].flatMap((run, chunk) => layerSlices(run, graph, chunk)),
  );
  return {
    title,
    pid: process.pid,
    clock: { monotonicMs: monotonicMs(), realtimeMs: Date.now() },
    tracks: [
      ...host,
      { kind: 'slices', side: 'device', name: 'layers', slices: nested(layers) },
      { kind: 'counter', name: 'event loop delay', unit: 'ms', samples: eventLoop.samples },
    ],
  };
}

/** The graph, and its layers inside: where the profiler put them, else one behind the other. */
function layerSlices(run: GraphRun, graph: GraphName, chunk: number): Slice[] {
  if (run.at === null) return [];
  const blocks = blocksOf(run.layers, graph);
  let next = run.at;
  const layers = run.layers.map(({ name, kind, startMs, ms }, i): Slice => {
    const start = startMs === null ? next : run.at! + startMs;
    next = start + ms;
    return {
      name: blocks[i]!,
      category: 'layer',
      startMs: start,
      ms,
      args: { layer: name, ...(kind === '' ? {} : { kind }) },
    };
  });
  return [{ name: `${graph} graph`, category: 'graph', startMs: run.at, ms: run.ms, flow: chunk }, ...layers];
}
