/**
 * A policy without a model: it answers after a random or recorded latency, with rows computed by a function. It stands in for a
 * GPU, in real or in virtual time.
 */

import { whenAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { checkOptions, expected } from '../support/options.ts';
import { Random } from '../support/random.ts';
import type { ActionChunk, Observation, Policy, PredictOptions, StageTensor } from '../types.ts';
import { type Clock, monotonicClock } from './clock.ts';
import type { Latency } from './latency.ts';

/** One call, as seen by the row function. */
export interface SimulatedCall {
  readonly observation: Observation;
  readonly instruction: string;
  /** Number of earlier calls. */
  readonly index: number;
  readonly random: Random;
}

/** What the simulated policy returns, and how late. */
export interface SimulatedPolicyOptions {
  /** Names of the A action dimensions. */
  readonly dimensions: readonly string[];
  /** Rows C of a chunk. */
  readonly chunk: number;
  readonly latency: Latency;
  /** [C, A] row-major, computed when the call arrives; default: zeros. */
  readonly rows?: (call: SimulatedCall) => Float64Array;
  /** Share of calls that fail: they reject with RUNTIME_FAILED after their latency. Default 0. */
  readonly failing?: number;
  /** Share of calls that are never answered, as on a lossy network; abort them. Default 0. */
  readonly lost?: number;
  /** Seed of the random numbers; default 1. */
  readonly seed?: number;
  /** Default: the process's monotonic clock. */
  readonly clock?: Clock;
  /** Returned as `policy.platform`; default: a custom platform with camera `full_image`. */
  readonly platform?: Policy['platform'];
}

const optionNames = [
  'dimensions',
  'chunk',
  'latency',
  'rows',
  'failing',
  'lost',
  'seed',
  'clock',
  'platform',
] as const satisfies readonly (keyof SimulatedPolicyOptions)[];

/**
 * A policy that follows a target with a given latency, for trying schedulers without a checkpoint.
 *
 * @throws OPTION_INVALID, OPTION_UNKNOWN
 */
export function simulatedPolicy(options: SimulatedPolicyOptions): Policy {
  checkOptions(options, optionNames, 'simulatedPolicy');
  const { dimensions, chunk, failing = 0, lost = 0 } = options;
  if (!Array.isArray(dimensions) || dimensions.length === 0) {
    throw expected('OPTION_INVALID', 'a list of names', 'dimensions', dimensions);
  }
  if (!Number.isSafeInteger(chunk) || chunk < 1) {
    throw expected('OPTION_INVALID', 'a positive integer', 'chunk', chunk);
  }
  for (const [name, value] of Object.entries({ failing, lost })) {
    if (!(value >= 0 && value <= 1)) throw expected('OPTION_INVALID', 'a share in 0..1', name, value);
  }
  return new SimulatedPolicy(options);
}

interface Job {
  readonly ms: number;
  answer: () => void;
}

class SimulatedPolicy implements Policy {
  readonly platform: Policy['platform'];
  readonly dimensions: readonly string[];
  readonly variant = 'simulated';
  readonly imageSize = 224;
  readonly patchGrid = 16;
  readonly notices = [];
  readonly #options: SimulatedPolicyOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  #calls = 0;
  /** Calls run one after the other, as on one device. An aborted call that is running continues, and its result is dropped. */
  readonly #waiting: Job[] = [];
  #busy = false;
  #closed = false;

  constructor(options: SimulatedPolicyOptions) {
    this.#options = options;
    this.#clock = options.clock ?? monotonicClock();
    this.#random = new Random(options.seed ?? 1);
    this.dimensions = [...options.dimensions];
    this.platform = options.platform ?? {
      name: 'custom',
      cameras: ['full_image'],
      proprio: true,
      centerCrop: false,
      jpeg: false,
      chunk: options.chunk,
      normalization: 'minmax',
    };
  }

  predict(
    observation: Observation,
    { instruction, unnormKey, signal }: PredictOptions,
  ): Promise<ActionChunk> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw closed();
      signal?.throwIfAborted();
      const { chunk, failing = 0, lost = 0, rows, latency } = this.#options;
      const shape = [chunk, this.dimensions.length] as const;
      // drawn when the call arrives, so that the same seed always gives the same run
      const isLost = this.#random.chance(lost);
      const fails = this.#random.chance(failing);
      const ms = latency.draw(this.#random);
      const index = this.#calls++;
      const actions =
        rows?.({ observation, instruction, index, random: this.#random }) ??
        new Float64Array(shape[0] * shape[1]);
      const answer = (): void => {
        if (isLost) return;
        stopListening();
        if (this.#closed) reject(closed());
        else if (fails)
          reject(new SemanticVlaError('RUNTIME_FAILED', `Simulated call ${index} fails, as asked for.`));
        else {
          resolve({
            actions,
            normalized: Float32Array.from(actions),
            shape,
            dimensions: this.dimensions,
            keptPatches: {},
            similarity: {},
            timings: { total: ms },
            instruction,
            unnormKey: unnormKey ?? 'simulated',
          });
        }
      };
      const job: Job = { ms, answer };
      this.#waiting.push(job);
      const stopListening = whenAborted(signal, (reason) => {
        job.answer = () => {};
        const place = this.#waiting.indexOf(job);
        if (place >= 0) this.#waiting.splice(place, 1);
        reject(reason);
      });
      if (!this.#busy) this.#work();
    });
  }

  #work(): void {
    const job = this.#waiting.shift();
    this.#busy = job !== undefined;
    if (job === undefined) return;
    this.#clock.at(this.#clock.now() + job.ms, () => {
      job.answer();
      this.#work();
    });
  }

  async stages(): Promise<Map<string, StageTensor>> {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      'Stages of a simulated policy: expected a model, found none. Load a checkpoint with loadPolicy.',
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function closed(): SemanticVlaError {
  return new SemanticVlaError(
    'CLOSED',
    'This simulated policy is closed. Make another with simulatedPolicy.',
  );
}
