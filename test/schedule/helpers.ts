/** Small policies and ticks for tests of schedulers. */

import type { ActionSpace } from '../../lib/schedule/actionSpace.ts';
import { parseLatency } from '../../lib/schedule/latency.ts';
import type { ActionScheduler, ScheduledAction, Tick } from '../../lib/schedule/scheduler.ts';
import { type SimulatedCall, simulatedPolicy } from '../../lib/schedule/simulatedPolicy.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import type { Policy } from '../../lib/types.ts';

export const position: ActionSpace = {
  name: 'one',
  dimensions: [{ name: 'p', kind: 'position', unit: 'm' }],
};

/** Ticks are `period` apart; a call takes `latency` ms. */
export interface Bench {
  readonly clock: VirtualClock;
  readonly policy: Policy;
  readonly calls: SimulatedCall[];
}

/** `rows`: [C][A] of call `index`. */
export function bench(
  dimensions: readonly string[],
  rows: (call: SimulatedCall) => readonly (readonly number[])[],
  latency: string,
  chunk: number,
): Bench {
  const clock = new VirtualClock(1000);
  const calls: SimulatedCall[] = [];
  const policy = simulatedPolicy({
    dimensions,
    chunk,
    latency: parseLatency(latency),
    clock,
    rows: (call) => {
      calls.push(call);
      return Float64Array.from(rows(call).flat());
    },
  });
  return { clock, policy, calls };
}

export interface TickOptions extends Partial<Tick> {
  readonly state?: readonly number[];
  /** false: the proposed action is not sent. */
  readonly leaves?: boolean;
}

/** One tick now, with an observation of now; executes what is proposed. */
export function step(
  scheduler: ActionScheduler,
  clock: VirtualClock,
  { state = [], leaves = true, ...tick }: TickOptions = {},
): ScheduledAction | null {
  const now = clock.now();
  const action = scheduler.tick({
    observation: { images: {}, state },
    observedAt: now,
    now,
    oldest: now - 1e6,
    instruction: 'go',
    ...tick,
  });
  if (action !== null && leaves) scheduler.executed(action.values, now);
  return action;
}

/** `ticks` ticks, `period` ms apart; first values of what left, null where nothing did. */
export async function run(
  scheduler: ActionScheduler,
  clock: VirtualClock,
  ticks: number,
  period = 10,
): Promise<(number | null)[]> {
  const out: (number | null)[] = [];
  for (let i = 0; i < ticks; i++) {
    out.push(step(scheduler, clock)?.values[0] ?? null);
    await clock.runUntil(clock.now() + period);
  }
  return out;
}
