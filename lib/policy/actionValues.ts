/** What differs between heads at both ends of a session: the ids that go in, and how its output becomes actions. */

import type { Bounds } from '../checkpoint/checkpoint.ts';
import { isTokenHead } from '../checkpoint/policyConfig.ts';
import type { InstructionInput, PolicyOutput } from '../runtime/session.ts';
import { discreteActions, requireWholeAnswer, unnormalizeActions } from '../transforms/actions.ts';
import type { EncodedPrompt } from '../transforms/prompt.ts';
import type { PolicyParts } from './policyParts.ts';

/** An autoregressive policy's sequence ends with the prompt; all others end with the stop id. */
export function instructionInput(
  { checkpoint, tokenizers }: Pick<PolicyParts, 'checkpoint' | 'tokenizers'>,
  { promptIds, siglipIds }: EncodedPrompt,
): InstructionInput {
  if (checkpoint.config.head.kind === 'autoregressive') return { promptIds, siglipIds };
  return { promptIds: [...promptIds, tokenizers.llama.endId], siglipIds };
}

/**
 * [C, A] in the dataset's units. Of tokens in float64, as the reference's look-up.
 * @throws ACTION_NOT_FINITE, ACTION_INCOMPLETE, STATISTICS_INVALID
 */
export function actionsOf(
  { checkpoint, platform, tokenizers }: Pick<PolicyParts, 'checkpoint' | 'platform' | 'tokenizers'>,
  { actions, tokens }: Pick<PolicyOutput, 'actions' | 'tokens'>,
  bounds: Bounds,
): Float64Array {
  const { head } = checkpoint.config;
  const { normalization } = platform;
  if (tokens === undefined || !isTokenHead(head)) return unnormalizeActions(actions, bounds, normalization);
  if (head.kind === 'discrete')
    return unnormalizeActions(discreteActions(tokens, head), bounds, normalization);
  requireWholeAnswer(tokens, tokenizers.llama.endId);
  return unnormalizeActions(discreteActions(tokens, head), bounds, normalization, 0);
}
