/** What `profilePolicy` can be asked for. */

import type { Progress } from '../../checkpoint/checkpoint.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { checkOptions, checkSignal } from '../../support/options.ts';
import type { Observation, PolicyOptions } from '../../types.ts';

/** What is profiled, on which observation, and how often. */
export interface ProfileOptions {
  /** Default: noise in the cameras' order, and a joint state in the middle of its bounds. */
  readonly observation?: Observation;
  /** Default: a sentence of usual length. */
  readonly instruction?: string;
  readonly unnormKey?: string;
  /**
   * Runs that are counted, 1 to 1000. Default: 20, fewer where they would take longer than 20 s, never fewer than 3.
   */
  readonly iterations?: number;
  /** Runs before them that are not; default 3. */
  readonly warmUp?: number;
  /** For a folder: how to load it. Not for a policy that is loaded already. */
  readonly policy?: PolicyOptions;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

const names = [
  'observation',
  'instruction',
  'unnormKey',
  'iterations',
  'warmUp',
  'policy',
  'onProgress',
  'signal',
] as const satisfies readonly (keyof ProfileOptions)[];

/** @throws OPTION_UNKNOWN, OPTION_INVALID */
export function checkProfileOptions(options: ProfileOptions): void {
  checkOptions(options, names, 'profilePolicy');
  checkSignal(options.signal);
  whole('iterations', options.iterations, 1, 1000);
  whole('warmUp', options.warmUp, 0, 1000);
}

function whole(name: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `Option ${name}: expected a whole number in ${least}..${most}, found ${String(value)}.`,
  );
}

/** Whether enough was measured. */
export function isEnough(
  options: Pick<ProfileOptions, 'iterations'>,
  done: number,
  sinceMs: number,
): boolean {
  if (options.iterations !== undefined) return done >= options.iterations;
  return done >= usual || (done >= least && sinceMs > patienceMs);
}

/** Rounds that are probably needed, for the progress. */
export function expectedRounds(options: Pick<ProfileOptions, 'iterations'>): number {
  return options.iterations ?? usual;
}

const usual = 20;
const least = 3;
const patienceMs = 20_000;
