/** Episodes to figures: success with its interval, steps, holds, by mode and latency. Pure. */

import { wilson } from '../../lib/support/wilson.ts';
import type { Episode } from './episode.ts';

/** One line of the file of episodes. */
export interface Line extends Episode {
  readonly mode: string;
  /** As given: milliseconds or a formula. */
  readonly latency: string;
  readonly family: string;
  readonly policy: string;
}

export interface Cell {
  readonly mode: string;
  readonly latency: string;
  readonly count: number;
  readonly success: number;
  /** Wilson, 95 %. */
  readonly interval: readonly [number, number];
  /** Episodes in which another cube was lifted first. */
  readonly another: number;
  /** Median over the successful episodes; null: there are none. */
  readonly steps: number | null;
  /** Share of ticks without an action. */
  readonly held: number;
  /** Predictions an episode. */
  readonly calls: number;
}

/** In the order in which latencies and modes come first. */
export function cells(lines: readonly Line[]): Cell[] {
  const groups = new Map<string, Line[]>();
  for (const line of lines) {
    const key = JSON.stringify([line.latency, line.mode]);
    groups.set(key, [...(groups.get(key) ?? []), line]);
  }
  return [...groups.values()].map((episodes) => {
    const { mode, latency } = episodes[0]!;
    const count = episodes.length;
    const good = episodes.filter(({ lifted, named }) => lifted === named);
    const steps = good.map((episode) => episode.steps).sort((a, b) => a - b);
    const sum = (pick: (episode: Line) => number): number =>
      episodes.reduce((total, episode) => total + pick(episode), 0);
    return {
      mode,
      latency,
      count,
      success: good.length,
      interval: wilson(good.length, count),
      another: episodes.filter(({ lifted, named }) => lifted !== null && lifted !== named).length,
      steps: steps[steps.length >> 1] ?? null,
      held: sum(({ held }) => held) / sum((episode) => episode.steps),
      calls: sum(({ calls }) => calls) / count,
    };
  });
}
