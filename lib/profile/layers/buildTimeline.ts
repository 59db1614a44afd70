/** The profiled chunks as tracks: the host's threads above, what the runtime did below. */

import type { EventLoopWatch } from '../trace/eventLoopWatch.ts';
import { dated, monotonicMs, nested, type Slice, type SliceTrack, type Timeline } from '../trace/timeline.ts';
import { type GraphName, otherBlock, stageOfBlock } from './blocks.ts';
import type { ChunkTimes, ChunkTrack } from './chunkRun.ts';
import { blocksOf } from './foldLayers.ts';
import type { GraphRun } from './layerRuns.ts';

const tracks: readonly (readonly [name: ChunkTrack, side: SliceTrack['side']])[] = [
  ['chunks', 'host'],
  ['JavaScript thread', 'host'],
  ['preprocessing threads', 'host'],
  ['inference thread', 'host'],
  ['stream', 'device'],
];

/** @param plain chunks without the profiler that ran between the others, so that no gap looks idle */
export function buildTimeline(
  title: string,
  chunks: readonly ChunkTimes[],
  runs: Readonly<Record<GraphName, readonly GraphRun[]>>,
  eventLoop: Pick<EventLoopWatch, 'samples'>,
  plain: readonly ChunkTimes[] = [],
): Timeline {
  const clock = { monotonicMs: monotonicMs(), realtimeMs: Date.now() };
  const between = plain.flatMap(({ slices }) =>
    slices
      .filter(({ track }) => track === 'chunks')
      .map(({ flow: _, ...slice }) => ({ ...slice, name: 'chunk without the profiler' })),
  );
  const slices = [...chunks.flatMap(({ slices }) => slices), ...between];
  const ofChunks = tracks.map(
    ([name, side]): SliceTrack => ({
      kind: 'slices',
      side,
      name,
      slices: nested(
        slices
          .filter(({ track }) => track === name)
          .map(({ track: _, ...slice }) => (name === 'chunks' ? dated(slice, clock) : slice)),
      ),
    }),
  );
  const layers = (['instruction', 'policy'] as const).flatMap((graph) =>
    runs[graph].map((run, chunk) =>
      graphSlices(run, graph, chunk, graph === 'policy' ? (chunks[chunk]?.stages.h2d ?? 0) : 0),
    ),
  );
  return {
    title,
    pid: process.pid,
    clock,
    tracks: [
      ...ofChunks.filter((track) => track.slices.length > 0),
      { kind: 'slices', side: 'device', name: 'layers', slices: inOrder(layers) },
      { kind: 'counter', name: 'event loop delay', unit: 'ms', samples: eventLoop.samples },
    ],
  };
}

/** Graphs of all chunks on one track: each run's slices stay together. */
function inOrder(runs: readonly (readonly Slice[])[]): Slice[] {
  return runs
    .filter((run) => run.length > 0)
    .sort(([a], [b]) => a!.startMs - b!.startMs)
    .flat();
}

type LayerSlice = Slice & { readonly block: string };

/**
 * The graph, and its layers inside: where the profiler put them, else one behind the other.
 * @param copyMs time of the copies before the first layer, where the runtime reports durations only
 */
function graphSlices(run: GraphRun, graph: GraphName, chunk: number, copyMs: number): Slice[] {
  if (run.at === null) return [];
  const { at } = run;
  const blocks = blocksOf(run.layers, graph);
  let next = at + copyMs;
  const layers = run.layers.map(({ name, kind, startMs, ms }, i): LayerSlice => {
    const start = startMs === null ? next : at + startMs;
    next = start + ms;
    return {
      name,
      category: 'layer',
      startMs: start,
      ms,
      args: { block: blocks[i]!, ...(kind === '' ? {} : { kind }) },
      block: blocks[i]!,
    };
  });
  const whole: LayerSlice = {
    name: `${graph} graph`,
    category: 'graph',
    startMs: at,
    ms: run.ms,
    flow: chunk,
    block: otherBlock,
  };
  const [first, ...rest] = nested([whole, ...layers]) as LayerSlice[];
  return [first!, ...withBlocks(rest, graph)].map(({ block: _, ...slice }) => slice);
}

/** Layers that follow one another in one block lie inside a slice of that block, blocks inside one of their stage. */
function withBlocks(layers: readonly LayerSlice[], graph: GraphName): LayerSlice[] {
  const stageOf = (block: string): string => (graph === 'instruction' ? otherBlock : stageOfBlock(block));
  const out: LayerSlice[] = [];
  for (const stage of neighbours(layers, ({ block }) => stageOf(block))) {
    const name = stageOf(stage[0]!.block);
    if (name !== otherBlock) out.push(holder(stage, name, 'stage'));
    for (const block of neighbours(stage, (layer) => layer.block)) {
      if (block[0]!.block !== otherBlock) out.push(holder(block, block[0]!.block, 'block'));
      out.push(...block);
    }
  }
  return out;
}

function holder(layers: readonly LayerSlice[], name: string, category: string): LayerSlice {
  const { startMs, ms, block } = layers[0]!;
  const endMs = Math.max(...layers.map((layer) => layer.startMs + layer.ms));
  // of a single layer the difference may round below its length
  return { name, category, startMs, ms: Math.max(ms, endMs - startMs), block };
}

/** Stretches of layers with one key. A layer inside another one stays with it. */
function neighbours(layers: readonly LayerSlice[], keyOf: (layer: LayerSlice) => string): LayerSlice[][] {
  const groups: LayerSlice[][] = [];
  let endMs = Number.NEGATIVE_INFINITY;
  for (const layer of layers) {
    const last = groups.at(-1);
    const isInside = layer.startMs < endMs && layer.startMs + layer.ms <= endMs;
    if (last !== undefined && (isInside || keyOf(last[0]!) === keyOf(layer))) last.push(layer);
    else groups.push([layer]);
    endMs = Math.max(endMs, layer.startMs + layer.ms);
  }
  return groups;
}
