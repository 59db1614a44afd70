/** A policy of one dimension with rows from the test, and listeners that record what a loop does. */

import type { ControlLoopOptions } from '../../lib/schedule/controlLoop.ts';
import type { LoopEvent, SentAction } from '../../lib/schedule/loopEvents.ts';
import type { ActionChunk, Observation, Policy } from '../../lib/types.ts';

/** `rows(call, observation)`: [C]. */
export function policyOf(rows: (call: number, observation: Observation) => readonly number[]): Policy {
  let calls = 0;
  return {
    platform: {
      name: 'custom',
      cameras: [],
      proprio: true,
      centerCrop: false,
      jpeg: false,
      chunk: 8,
      normalization: 'minmax',
    },
    dimensions: ['p'],
    variant: 'test',
    imageSize: 224,
    patchGrid: 16,
    notices: [],
    predict: async (observation, { instruction }): Promise<ActionChunk> => {
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
    },
    stages: async () => new Map(),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
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
