/** The profiled chunks as tracks: the host's threads above, what the runtime did below. */

import { monotonicMs } from '../../support/monotonicMs.ts';
import type { EventLoopWatch } from '../trace/eventLoopWatch.ts';
import { dated, nested, type Slice, type SliceTrack, type Timeline } from '../trace/timeline.ts';
import { type GraphName, otherBlock, stageOfBlock } from './blocks.ts';
import type { ChunkTimes, ChunkTrack } from './chunkRun.ts';
import { blocksOf } from './foldLayers.ts';
import type { GraphRun } from './layerRuns.ts';

const tracks: readonly ChunkTrack[] = [
  ...(['chunks', 'JavaScript thread', 'preprocessing threads', 'inference thread', 'stream'] as const),
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
  const slices = [...chunks.flatMap((chunk) => chunk.slices), ...between];
  const ofChunks = tracks.map((name): SliceTrack => {
    const own = slices.filter(({ track }) => track === name).map(({ track: _, ...slice }) => slice);
    const shown = name === 'chunks' ? own.map((slice) => dated(slice, clock)) : own;
    return { kind: 'slices', side: name === 'stream' ? 'device' : 'host', name, slices: nested(shown) };
  });
  const layers = (['instruction', 'policy'] as const).flatMap((graph) =>
    runs[graph].map((run, chunk) =>
      graphSlices(run, graph, chunk, graph === 'policy' ? (chunks[chunk]?.stages.h2d ?? 0) : 0),
    ),
  );
  // graphs of all chunks on one track: each run's slices stay together
  const inOrder = layers.filter((run) => run.length > 0).sort(([a], [b]) => a!.startMs - b!.startMs);
  return {
    title,
    pid: process.pid,
    clock,
    tracks: [
      ...ofChunks.filter((track) => track.slices.length > 0),
      { kind: 'slices', side: 'device', name: 'layers', slices: inOrder.flat() },
      { kind: 'counter', name: 'event loop delay', unit: 'ms', samples: eventLoop.samples },
    ],
  };
}

type LayerSlice = Slice & { readonly block: string };

/**
 * The graph, and its layers inside: where the profiler put them, else one behind the other.
 * @param copyMs time of the copies before the first layer, if the runtime reports durations only
 */
function graphSlices(run: GraphRun, graph: GraphName, chunk: number, copyMs: number): Slice[] {
  if (run.at === null) return [];
  const { at, ms: wholeMs } = run;
  const blocks = blocksOf(run.layers, graph);
  let next = at + copyMs;
  const layers = run.layers.map(({ name, kind, startMs, ms }, i): LayerSlice => {
    const start = startMs === null ? next : at + startMs;
    next = start + ms;
    const block = blocks[i]!;
    return { name, category: 'layer', startMs: start, ms, args: { block, ...(kind && { kind }) }, block };
  });
  const whole = { name: `${graph} graph`, category: 'graph', startMs: at, ms: wholeMs, flow: chunk };
  const [first, ...rest] = nested([{ ...whole, block: otherBlock } as Slice, ...layers]) as LayerSlice[];
  return [first!, ...withBlocks(rest, graph)].map(({ block: _, ...slice }) => slice);
}

/** Layers that follow one another in one block lie inside a slice of that block, blocks inside one of their stage. */
function withBlocks(layers: readonly LayerSlice[], graph: GraphName): LayerSlice[] {
  const stageOf = ({ block }: LayerSlice): string =>
    graph === 'instruction' ? otherBlock : stageOfBlock(block);
  return inGroups(layers, stageOf, 'stage').flatMap(([stage, ofStage]) => [
    ...stage,
    ...inGroups(ofStage, ({ block }) => block, 'block').flatMap(([block, ofBlock]) => [...block, ...ofBlock]),
  ]);
}

/**
 * Stretches of layers with one key, each with the slice that holds it, unless it is of none. A layer inside another one stays
 * with it.
 */
function inGroups(
  layers: readonly LayerSlice[],
  keyOf: (layer: LayerSlice) => string,
  category: string,
): (readonly [holder: readonly LayerSlice[], layers: readonly LayerSlice[]])[] {
  const groups: LayerSlice[][] = [];
  let endMs = Number.NEGATIVE_INFINITY;
  for (const layer of layers) {
    const last = groups.at(-1);
    const isInside = layer.startMs < endMs && layer.startMs + layer.ms <= endMs;
    if (last !== undefined && (isInside || keyOf(last[0]!) === keyOf(layer))) last.push(layer);
    else groups.push([layer]);
    endMs = Math.max(endMs, layer.startMs + layer.ms);
  }
  return groups.map((group) => {
    const [first] = group as [LayerSlice];
    const end = Math.max(...group.map(({ startMs, ms }) => startMs + ms));
    const name = keyOf(first);
    // the difference for a single layer may round to less than its length
    const ms = Math.max(first.ms, end - first.startMs);
    const holder = { name, category, startMs: first.startMs, ms, block: first.block };
    return [name === otherBlock ? [] : [holder], group];
  });
}
