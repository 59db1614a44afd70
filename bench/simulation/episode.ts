/** One episode in the simulator: the control loop in virtual time, the policy with a latency, physics and frames step by step. */

import { startControlLoop } from '../../lib/schedule/controlLoop.ts';
import type { Latency } from '../../lib/schedule/latency.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import { Random } from '../../lib/support/random.ts';
import type { ImageFrame, Policy } from '../../lib/types.ts';
import { latePolicy } from './latePolicy.ts';
import { type Make, simulatorSpace } from './modes.ts';
import type { Start, Step, Task } from './simulator.ts';

export interface Episode {
  readonly seed: number;
  readonly named: string;
  /** The first cube that was lifted; null: none within `mostSteps`. */
  readonly lifted: string | null;
  /** Simulated steps until then, one a tick of the loop. */
  readonly steps: number;
  /** Ticks in which the loop had no action. */
  readonly held: number;
  /** Predictions. */
  readonly calls: number;
}

/** What an episode needs of the simulator once a scene is laid out. */
export interface World {
  step(action: readonly number[]): Promise<Step>;
  frames(): Promise<Record<string, ImageFrame>>;
}

export interface EpisodeOptions {
  readonly simulator: World;
  readonly start: Start & { readonly task: Task };
  readonly policy: Policy;
  readonly make: Make;
  readonly latency: Latency;
  readonly seed: number;
  /** Ticks per second: that of the simulator's controller. */
  readonly rate: number;
  readonly mostSteps: number;
}

/** Nothing moves and the gripper stays open: what a robot does that was not told anything yet. */
const still = [0, 0, 0, 0, 0, 0, -1] as const;

export async function runEpisode(options: EpisodeOptions): Promise<Episode> {
  const { simulator, start, make, latency, seed, rate, mostSteps } = options;
  const clock = new VirtualClock();
  const period = 1000 / rate;
  const late = latePolicy(options.policy, latency, clock, new Random(seed));
  const chunk = options.policy.platform.chunk;
  const slowest = Math.max(...Array.from({ length: 100 }, () => latency.draw(new Random(seed))));
  const scheduler = make(late, { space: simulatorSpace, clock }, chunk, Math.ceil(slowest / period));
  let { state } = start;
  let ticked = false;
  let action: readonly number[] = still;
  const loop = startControlLoop({
    scheduler,
    rate,
    // a chunk and the latency, and the tick on which an answer becomes an action
    maxAge: (chunk + 1) * period + slowest,
    instruction: start.task.sentence,
    observe: () => {
      ticked = true;
      return { observation: { images: {}, state }, at: clock.now() };
    },
    act: ({ values }) => {
      action = [...values];
    },
    clock,
  });
  let lifted: string | null = null;
  let steps = 0;
  try {
    for (let tick = 0; steps < mostSteps && lifted === null; tick++) {
      ticked = false;
      await clock.runUntil(tick * period);
      await late.compute(() => simulator.frames());
      if (!ticked) continue;
      ({ state, lifted } = await simulator.step(action));
      steps++;
    }
    const { held } = loop.counters;
    const idle = Object.values(held).reduce((sum, count) => sum + count, 0);
    return { seed, named: start.task.named, lifted, steps, held: idle, calls: late.calls };
  } finally {
    await loop.stop();
    await scheduler.close();
  }
}
