/** Observation, policy, instruction: what `predict`, `stages` and `view` start from. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
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

/** Codes of observations that lack something; those of broken images name the file. */
const incomplete = ['OBSERVATION_INVALID', 'CAMERA_MISSING', 'STATE_INVALID'];

/** Adds to an error about an observation where the whole of it is explained. */
function explain(checkpoint: string, folder: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof SemanticVlaError) || !incomplete.includes(error.code)) throw error;
    const next = existsSync(join(folder, 'observation.json'))
      ? `semanticvla inspect ${checkpoint} --observation ${folder} shows what the policy takes and what was found.`
      : `semanticvla synth observation --for ${checkpoint} --out DIR writes one to start from.`;
    throw new SemanticVlaError(error.code, `${error.message} ${next}`, { cause: error });
  };
}

/** The observation is read first: it is small, and more often wrong than a checkpoint. */
export async function withPolicy(
  context: CommandContext,
  checkpoint: string,
  flags: PolicyFlags,
  body: (loaded: LoadedPolicy) => Promise<number>,
): Promise<number> {
  const explained = explain(checkpoint, flags.observation);
  const { observation, instruction: written } = await readObservation(flags.observation).catch(explained);
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
    return await body({ policy, observation, instruction, loadMs: performance.now() - started }).catch(
      explained,
    );
  } finally {
    await policy.close();
  }
}
