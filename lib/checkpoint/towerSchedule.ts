/**
 * Which block of the towers runs when, and when they exchange patches, as the authors' wrapper does it (55a6be2,
 * prismatic/models/vit_wrapper.py). Each pair of `cross_vit_target_pairs` runs both towers up to its blocks and then exchanges;
 * the rest runs after the last pair. Places are counted as Python counts them:
 *
 * - a pair that names the block which ran last, or an earlier one, runs none before its exchange, and what follows begins
 *   after the named block: blocks run again when it was an earlier one;
 * - -1 means "begin at block 0", -2 "begin at block -1", which is the last one. So the reference's default, (1, 1) and
 *   (-2, -2), is: blocks 0 and 1, two exchanges, the last block, then all blocks from the first to the last.
 *
 * A tower's tokens are those after its last block ran as such (not as -1) for the first time, with the exchanges that follow
 * before another block runs: the wrapper keeps that tensor, and exchanges write into it.
 */

import type { Tower } from './deriveVit.ts';
import type { PolicyConfig } from './policyConfig.ts';

export type TowerStep =
  | { readonly tower: Tower; readonly block: number }
  /** Number of the pair; both towers' patches go in, those of `updates` are changed. */
  | { readonly pair: number; readonly updates: readonly Tower[] };

export interface TowerSchedule {
  readonly steps: readonly TowerStep[];
  /** The step after which a tower's tokens leave it. */
  readonly leaves: Readonly<Record<Tower, number>>;
}

/** What the wrapper takes when `cross_vit_target_pairs` is null, as it is by default. */
export const defaultExchangePairs: readonly (readonly [number, number])[] = [
  [1, 1],
  [-2, -2],
];

type Shape = Pick<PolicyConfig, 'exchangePairs'> &
  Readonly<Record<Tower, Pick<PolicyConfig['dinov2'], 'depth' | 'outputBlock'>>>;

/**
 * Every step, needed or not.
 * @throws RangeError for a block that a tower does not have
 */
export function towerSchedule(config: Shape): TowerSchedule {
  const { dinov2, siglip } = config;
  const steps: TowerStep[] = [];
  const start = { dinov2: 0, siglip: 0 };
  const leaves = { dinov2: -1, siglip: -1 };
  /** Whether what leaves the tower is still the tensor that the next exchange writes into. */
  const isLast = { dinov2: false, siglip: false };
  const advance = (tower: Tower, end: number): void => {
    const { depth, outputBlock } = config[tower];
    for (let at = start[tower]; at < end; at++) {
      if (at < -depth || at >= depth) throw new RangeError(`${tower} has no block ${at}`);
      isLast[tower] = at === outputBlock && leaves[tower] === -1;
      if (isLast[tower]) leaves[tower] = steps.length;
      steps.push({ tower, block: at < 0 ? depth + at : at });
    }
    start[tower] = end;
  };
  for (const [pair, [dinov2Block, siglipBlock]] of config.exchangePairs.entries()) {
    advance('dinov2', dinov2Block + 1);
    advance('siglip', siglipBlock + 1);
    for (const tower of ['dinov2', 'siglip'] as const) if (isLast[tower]) leaves[tower] = steps.length;
    steps.push({ pair, updates: ['dinov2', 'siglip'] });
  }
  advance('dinov2', dinov2.outputBlock + 1);
  advance('siglip', siglip.outputBlock + 1);
  return { steps, leaves };
}

/** The same without what changes nothing that leaves a tower. */
export function neededSteps({ steps, leaves }: TowerSchedule): TowerSchedule {
  const isNeeded = { dinov2: false, siglip: false };
  const kept: TowerStep[] = [];
  const places: number[] = [];
  const keep = (step: TowerStep, at: number): void => {
    kept.unshift(step);
    places.unshift(at);
  };
  for (let at = steps.length - 1; at >= 0; at--) {
    const step = steps[at]!;
    for (const tower of ['dinov2', 'siglip'] as const) if (leaves[tower] === at) isNeeded[tower] = true;
    if ('tower' in step) {
      if (isNeeded[step.tower]) keep(step, at);
      continue;
    }
    const updates = step.updates.filter((tower) => isNeeded[tower]);
    if (updates.length === 0) continue;
    keep({ ...step, updates }, at);
    isNeeded.dinov2 = true;
    isNeeded.siglip = true;
  }
  return {
    steps: kept,
    leaves: { dinov2: places.indexOf(leaves.dinov2), siglip: places.indexOf(leaves.siglip) },
  };
}
