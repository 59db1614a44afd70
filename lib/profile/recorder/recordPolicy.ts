/** A policy whose predictions are recorded. */

import type { ActionChunk, Observation, Policy, PredictOptions } from '../../types.ts';
import type { StageTimes } from '../types.ts';
import type { Recorder } from './recorder.ts';

/**
 * The wrapper gives the same answers and the same errors; its `close` closes the policy. A prediction counts from the call
 * to its answer, waiting for one before it included.
 *
 * @param policy any, a remote or a scheduled one too
 * @param recorder where its times are kept, in milliseconds
 * @throws never; its `predict` as the policy's
 */
export function recordPolicy(policy: Policy, recorder: Recorder): Policy {
  return {
    platform: policy.platform,
    dimensions: policy.dimensions,
    variant: policy.variant,
    imageSize: policy.imageSize,
    patchGrid: policy.patchGrid,
    notices: policy.notices,
    predict: (observation: Observation, options: PredictOptions): Promise<ActionChunk> => {
      const start = performance.now();
      const number = recorder.begin(start, policy.platform.cameras, {
        observation,
        instruction: options.instruction,
      });
      return policy.predict(observation, options).then(
        (chunk) => {
          const end = performance.now();
          if (isChunk(chunk)) recorder.answered(number, end, chunk);
          recorder.end(number, start, end, 'done', timesOf(chunk));
          return chunk;
        },
        (error: unknown) => {
          const outcome = options.signal?.aborted === true ? 'aborted' : 'failed';
          recorder.end(number, start, performance.now(), outcome, null);
          throw error;
        },
      );
    },
    stages: (observation, options) => policy.stages(observation, options),
    close: () => policy.close(),
    [Symbol.asyncDispose]: () => policy[Symbol.asyncDispose](),
  };
}

const isChunk = (chunk: unknown): chunk is ActionChunk =>
  typeof chunk === 'object' && chunk !== null && Array.isArray((chunk as Partial<ActionChunk>).dimensions);

/** A policy that a user wrote may answer anything; who acts upon it checks the chunk. */
function timesOf(chunk: unknown): StageTimes | null {
  const timings =
    typeof chunk === 'object' && chunk !== null ? (chunk as Partial<ActionChunk>).timings : null;
  return typeof timings === 'object' ? timings : null;
}
