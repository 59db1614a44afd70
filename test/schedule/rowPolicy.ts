/** A policy of one dimension with rows from the test, and listeners that record what a loop does. */

import type { ControlLoopOptions } from '../../lib/schedule/controlLoop.ts';
import type { LoopEvent, SentAction } from '../../lib/schedule/loopEvents.ts';
import type { ActionChunk, Observation, Policy } from '../../lib/types.ts';
import { testPolicy } from './testPolicy.ts';

/** `rows(call, observation)`: [C]. */
export function policyOf(rows: (call: number, observation: Observation) => readonly number[]): Policy {
  let calls = 0;
  return testPolicy(['p'], async (observation, { instruction }): Promise<ActionChunk> => {
    const actions = Float64Array.from(rows(calls++, observation));
    return {
      actions,
      normalized: new Float32Array(actions.length),
      shape: [actions.length, 1],
      dimensions: ['p'],
      keptPatches: {},
      similarity: {},
      timings: { total: 1 },
      instruction,
      unnormKey: 'k',
    };
  });
}

export interface Told {
  readonly sent: SentAction[];
  readonly events: LoopEvent[];
}

export function listen(): Told & Pick<ControlLoopOptions, 'act' | 'onEvent'> {
  const sent: SentAction[] = [];
  const events: LoopEvent[] = [];
  return { sent, events, act: (action) => sent.push(action), onEvent: (event) => events.push(event) };
}
