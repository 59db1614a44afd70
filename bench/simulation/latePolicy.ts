/**
 * A real policy with a latency of one's choice, in virtual time: its chunks are computed while the clock stands still, and are
 * answered when the latency is over. Calls queue, as on one device.
 */

import type { Clock } from '../../lib/schedule/clock.ts';
import type { Latency } from '../../lib/schedule/latency.ts';
import { whenAborted } from '../../lib/support/abort.ts';
import type { Random } from '../../lib/support/random.ts';
import type { ActionChunk, ImageFrame, Observation, Policy, PredictOptions } from '../../lib/types.ts';

interface Call {
  readonly observation: Observation;
  readonly options: PredictOptions;
  readonly settle: (computed: Promise<ActionChunk>) => void;
}

export interface LatePolicy extends Policy {
  /** Computes what was asked since the last call with the frames of this moment; the answers come later, at their time. */
  compute(frames: () => Promise<Record<string, ImageFrame>>): Promise<void>;
  readonly calls: number;
}

export function latePolicy(policy: Policy, latency: Latency, clock: Clock, random: Random): LatePolicy {
  let asked: Call[] = [];
  let free = 0;
  let calls = 0;
  const predict = (observation: Observation, options: PredictOptions): Promise<ActionChunk> =>
    new Promise((resolve, reject) => {
      const stop = whenAborted(options.signal, reject);
      const settle = (computed: Promise<ActionChunk>): void => {
        free = Math.max(free, clock.now()) + latency.draw(random);
        clock.at(free, () => {
          stop();
          computed.then(resolve, reject);
        });
      };
      asked.push({ observation, options, settle });
    });
  const late = {
    get calls() {
      return calls;
    },
    async compute(frames: () => Promise<Record<string, ImageFrame>>) {
      const now = asked;
      asked = [];
      if (now.length === 0) return;
      const images = await frames();
      for (const { observation, options, settle } of now) {
        const { signal, ...rest } = options;
        if (signal?.aborted) continue;
        calls++;
        const computed = policy.predict({ ...observation, images }, rest);
        await computed.catch(() => {});
        settle(computed);
      }
    },
  };
  // everything else is the policy's own
  return new Proxy(policy, {
    get(target, name) {
      if (name === 'predict') return predict;
      if (name === 'close' || name === Symbol.asyncDispose) return async () => {};
      if (name in late) return late[name as keyof typeof late];
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  }) as LatePolicy;
}
