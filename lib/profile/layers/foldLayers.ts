/** Many runs of one graph -> one line a layer, one a block, one a stage. */

import { mean, median } from '../measure/percentiles.ts';
import type { BlockTime, GraphProfile, LayerTime, StageShare } from '../types.ts';
import { type GraphName, otherBlock, type PolicyStage, policyStages, stageOfBlock } from './blocks.ts';
import type { GraphRun, LayerRun } from './layerRuns.ts';
import { blockOfLayer } from './nodeNames.ts';

export interface FoldedGraph {
  readonly layers: readonly LayerTime[];
  readonly profile: GraphProfile;
}

/**
 * @param runs without warm-up, all of the same shapes
 * @param host median milliseconds of a run as the host saw it, without the profiler and with it
 */
export function foldGraph(
  graph: GraphName,
  runs: readonly GraphRun[],
  host: { readonly plainMs: number; readonly profiledMs: number },
): FoldedGraph {
  const rows = attribute(runs, graph).map((row) => ({ ...row, medianMs: median(row.times) }));
  const totals = runs.map(({ layers }) => sum(layers.map(({ ms }) => ms)));
  // by medians: a mean is pulled by whatever else the machine did, and the largest share would be the unluckiest layer
  const typicalMs = sum(rows.map(({ medianMs }) => medianMs));
  const share = (some: readonly MedianRow[]): number =>
    typicalMs > 0 ? (100 * sum(some.map(({ medianMs }) => medianMs))) / typicalMs : 0;
  const layers = rows.map((row): LayerTime => {
    const { name, kind, block, times, count, medianMs } = row;
    return { name, kind, block, graph, count, averageMs: mean(times), medianMs, percent: share([row]) };
  });
  const blocks = group(rows, ({ block }) => block).map(([block, some]): BlockTime => {
    const times = sums(some, runs.length);
    return {
      block,
      stage: stageOfBlock(block),
      graph,
      layers: some.length,
      averageMs: mean(times),
      medianMs: median(times),
      percent: share(some),
    };
  });
  const stages = group(rows, ({ block }) => stageOfBlock(block))
    .map(([stage, some]): StageShare => {
      const times = sums(some, runs.length);
      return { stage, averageMs: mean(times), medianMs: median(times), percent: share(some) };
    })
    .sort((a, b) => place(a.stage) - place(b.stage));
  const { plainMs, profiledMs } = host;
  const otherPercent = blocks.find(({ block }) => block === otherBlock)?.percent ?? 0;
  return {
    layers,
    profile: {
      graph,
      runs: runs.length,
      plainMs,
      profiledMs,
      slowDown: plainMs > 0 ? profiledMs / plainMs : 0,
      layerMs: median(totals),
      betweenMs: median(runs.map(({ ms }, i) => Math.max(ms - totals[i]!, 0))),
      attributedPercent: typicalMs > 0 ? 100 - otherPercent : 0,
      blocks,
      stages,
    },
  };
}

function place(stage: string): number {
  return policyStages.indexOf(stage as PolicyStage);
}

interface Row {
  readonly name: string;
  readonly kind: string;
  readonly block: string;
  /** One value a run, 0 where it did not run. */
  readonly times: number[];
  count: number;
}

type MedianRow = Row & { readonly medianMs: number };

/** One row a layer in the order of the first run. A name that runs several times in one run (a loop) is one row. */
function attribute(runs: readonly GraphRun[], graph: GraphName): Row[] {
  const rows = new Map<string, Row>();
  for (const [at, { layers }] of runs.entries()) {
    const blocks = blocksOf(layers, graph);
    for (const [i, { name, kind, ms }] of layers.entries()) {
      let row = rows.get(name);
      if (row === undefined) {
        row = { name, kind, block: blocks[i]!, times: new Array<number>(runs.length).fill(0), count: 0 };
        rows.set(name, row);
      }
      row.times[at]! += ms;
      row.count += 1;
    }
  }
  return [...rows.values()];
}

/**
 * A runtime also makes nodes without a name of ours (`Transpose_token_76`). One whose nearest named neighbours before and
 * after, in the order of execution, are of one block is that block's; any other stays `other`.
 */
export function blocksOf(layers: readonly LayerRun[], graph: GraphName): string[] {
  const told = layers.map(({ name, metadata }) => blockOfLayer(name, graph, metadata));
  const after = new Array<string | null>(told.length).fill(null);
  for (let i = told.length - 1, seen: string | null = null; i >= 0; i--) {
    after[i] = seen;
    seen = told[i] ?? seen;
  }
  let before: string | null = null;
  return told.map((block, i) => {
    if (block !== null) {
      before = block;
      return block;
    }
    return before !== null && before === after[i] ? before : otherBlock;
  });
}

function group<K extends string>(
  rows: readonly MedianRow[],
  keyOf: (row: MedianRow) => K,
): [K, MedianRow[]][] {
  const groups = new Map<K, MedianRow[]>();
  for (const row of rows) {
    const key = keyOf(row);
    const some = groups.get(key);
    if (some === undefined) groups.set(key, [row]);
    else some.push(row);
  }
  return [...groups];
}

function sums(rows: readonly Row[], runs: number): number[] {
  return Array.from({ length: runs }, (_, run) => sum(rows.map(({ times }) => times[run]!)));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
