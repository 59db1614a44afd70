/** A policy whose inferences end when the test says so, so that no test of a server depends on the clock. */

import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { ActionChunk, Observation, Platform, Policy, PredictOptions } from '../../lib/types.ts';

export const liberoPlatform: Platform = {
  name: 'libero',
  cameras: ['full_image', 'wrist_image'],
  proprio: true,
  centerCrop: true,
  jpeg: true,
  chunk: 2,
  normalization: 'q99',
};

export interface FakeCall {
  readonly observation: Observation;
  readonly options: PredictOptions;
  /** Ends the call; without `actions`, with the default ones: row * 10 + column, plus the first number of the state. */
  finish(actions?: Float64Array): void;
  fail(error: unknown): void;
}

export interface FakeOptions {
  readonly platform?: Platform;
  readonly dimensions?: readonly string[];
  /** Calls end at once, without `finish`. */
  readonly immediate?: boolean;
  /** Ignores the signal, like code that cannot be interrupted. */
  readonly deaf?: boolean;
}

export class FakePolicy implements Policy {
  readonly platform: Platform;
  readonly dimensions: readonly string[];
  readonly patchGrid = 16;
  readonly notices = [];
  readonly imageSize = 224;
  readonly variant: string = 'SemanticVLA';
  /** In order of arrival, including ended ones. */
  readonly calls: FakeCall[] = [];
  /** Signals that were aborted while a call ran. */
  aborted = 0;
  running = 0;
  mostRunning = 0;
  readonly #options: FakeOptions;
  #waiters: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(options: FakeOptions = {}) {
    this.#options = options;
    this.platform = options.platform ?? liberoPlatform;
    this.dimensions = options.dimensions ?? ['x', 'y', 'gripper'];
  }

  predict(observation: Observation, options: PredictOptions): Promise<ActionChunk> {
    const shape = [this.platform.chunk, this.dimensions.length] as const;
    this.running++;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    const result = new Promise<ActionChunk>((resolve, reject) => {
      const call: FakeCall = {
        observation,
        options,
        fail: reject,
        finish: (actions = defaultActions(shape, observation.state?.[0] ?? 0)) =>
          resolve({
            actions,
            normalized: Float32Array.from(actions),
            shape,
            dimensions: this.dimensions,
            keptPatches: {},
            similarity: {},
            timings: { total: 1 },
            instruction: options.instruction,
            unnormKey: options.unnormKey ?? 'fake',
          }),
      };
      if (this.#options.deaf !== true) {
        options.signal?.addEventListener('abort', () => {
          this.aborted++;
          reject(options.signal?.reason);
        });
      }
      this.calls.push(call);
      if (this.#options.immediate === true) call.finish();
    });
    const ended = result.finally(() => this.running--);
    ended.catch(() => {});
    this.#waiters = this.#waiters.filter(({ count, resolve }) => {
      if (this.calls.length < count) return true;
      resolve();
      return false;
    });
    return ended;
  }

  /** Resolves with the last call once `count` calls have arrived in all. */
  async called(count: number): Promise<FakeCall> {
    if (this.calls.length < count) {
      await new Promise<void>((resolve) => this.#waiters.push({ count, resolve }));
    }
    return this.calls[count - 1]!;
  }

  stages(): Promise<never> {
    return Promise.reject(new SemanticVlaError('BACKEND_UNAVAILABLE', 'A fake has no stages.'));
  }

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

export function defaultActions([count, width]: readonly [number, number], offset: number): Float64Array {
  return Float64Array.from(
    { length: count * width },
    (_, i) => Math.floor(i / width) * 10 + (i % width) + offset,
  );
}
