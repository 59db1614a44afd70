/** Observation, policy, instruction: what `predict`, `stages` and `view` start from. */

import { readObservation } from '../observation/readObservation.ts';
import { loadPolicy } from '../policy/loadPolicy.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { Observation, Policy } from '../types.ts';
import { type CommandContext, hooksOf } from './context.ts';
import { type PolicyFlags, policyOptions } from './flags.ts';

export interface LoadedPolicy {
  readonly policy: Policy;
  readonly observation: Observation;
  readonly instruction: string;
  /** Milliseconds from the folder on disk to a policy that can predict. */
  readonly loadMs: number;
}

/** The observation is read first: it is small, and more often wrong than a checkpoint. */
export async function withPolicy(
  context: CommandContext,
  checkpoint: string,
  flags: PolicyFlags,
  body: (loaded: LoadedPolicy) => Promise<number>,
): Promise<number> {
  const { observation, instruction: written } = await readObservation(flags.observation);
  const instruction = flags.instruction ?? written;
  if (instruction === undefined) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Expected an instruction: ${flags.observation}/observation.json holds none, and --instruction was not given. ` +
        'Pass --instruction "what the robot should do".',
    );
  }
  const started = performance.now();
  const policy = await loadPolicy(checkpoint, {
    ...policyOptions(flags),
    ...hooksOf(context),
  });
  try {
    return await body({ policy, observation, instruction, loadMs: performance.now() - started });
  } finally {
    await policy.close();
  }
}
