/** Many runs of one graph -> one line a layer, one a block, one a stage. */

import { median } from '../../support/median.ts';
import { mean } from '../measure/percentiles.ts';
import type { BlockTime, GraphProfile, LayerTime, StageShare } from '../types.ts';
import {
  blockOfLayer,
  type GraphName,
  otherBlock,
  type PolicyStage,
  policyStages,
  stageOfBlock,
} from './blocks.ts';
import type { GraphRun, LayerRun } from './layerRuns.ts';

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
  { plainMs, profiledMs }: { readonly plainMs: number; readonly profiledMs: number },
): FoldedGraph {
  const rows = attribute(runs, graph);
  const totals = runs.map(({ layers }) => sum(layers.map(({ ms }) => ms)));
  // by medians: a mean is pulled by whatever else the machine did, and the largest share would be the unluckiest layer
  const typicalMs = sum(rows.map(({ times }) => median(times)));
  const timesOf = (some: readonly Row[]) => {
    const times = runs.map((_, run) => sum(some.map((row) => row.times[run]!)));
    const percent = (100 * sum(some.map((row) => median(row.times)))) / (typicalMs || 1);
    return { averageMs: mean(times), medianMs: median(times), percent };
  };
  const layers = rows.map(
    (row): LayerTime => ({
      ...{ name: row.name, kind: row.kind, block: row.block, graph, count: row.count },
      ...timesOf([row]),
    }),
  );
  const blocks = group(rows, ({ block }) => block).map(
    ([block, some]): BlockTime => ({
      ...{ block, stage: stageOfBlock(block), graph, layers: some.length },
      ...timesOf(some),
    }),
  );
  const stages = group(rows, ({ block }) => stageOfBlock(block))
    .map(([stage, some]): StageShare => ({ stage, ...timesOf(some) }))
    .sort((a, b) => place(a.stage) - place(b.stage));
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

const place = (stage: string): number => policyStages.indexOf(stage as PolicyStage);

interface Row {
  readonly name: string;
  readonly kind: string;
  readonly block: string;
  /** One value a run, 0 if it did not run. */
  readonly times: number[];
  count: number;
}

/** One row a layer in the order of the first run. A name that runs several times in one run (a loop) is one row. */
function attribute(runs: readonly GraphRun[], graph: GraphName): Row[] {
  const rows = new Map<string, Row>();
  for (const [at, { layers }] of runs.entries()) {
    const blocks = blocksOf(layers, graph);
    for (const [i, { name, kind, ms }] of layers.entries()) {
      if (!rows.has(name))
        rows.set(name, {
          name,
          kind,
          block: blocks[i]!,
          times: new Array<number>(runs.length).fill(0),
          count: 0,
        });
      const row = rows.get(name)!;
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
  for (let i = told.length - 2; i >= 0; i--) after[i] = told[i + 1] ?? after[i + 1]!;
  let before: string | null = null;
  return told.map((block, i) => {
    before = block ?? before;
    return block ?? (before !== null && before === after[i] ? before : otherBlock);
  });
}

function group<K extends string>(rows: readonly Row[], keyOf: (row: Row) => K): [K, Row[]][] {
  const groups = new Map<K, Row[]>();
  for (const row of rows) groups.set(keyOf(row), [...(groups.get(keyOf(row)) ?? []), row]);
  return [...groups];
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
