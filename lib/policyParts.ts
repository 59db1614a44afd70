/** What every prediction of one policy shares: the checkpoint's facts and the platform's, resolved once at load. */

import { availableParallelism } from 'node:os';
import type { Checkpoint } from './checkpoint/checkpoint.ts';
import type { GraphOptions } from './graph/graphContext.ts';
import { type Platform, resolvePlatform, resolveUnnormKey } from './platform.ts';
import { type PromptLimits, promptLimits } from './transforms/prompt.ts';
import { loadTokenizers, type Tokenizers } from './transforms/tokenizer/tokenizers.ts';
import type { PolicyOptions } from './types.ts';

/** Sizes that both graphs are built with. */
export type PolicySizes = Pick<GraphOptions, 'images' | 'chunk' | 'actionDim' | 'proprio'>;

export interface PolicyParts {
  readonly checkpoint: Checkpoint;
  readonly platform: Platform;
  readonly tokenizers: Tokenizers;
  readonly sizes: PolicySizes;
  readonly promptLimits: PromptLimits;
  readonly threads: number;
}

/** @throws PLATFORM_REQUIRED, OPTION_INVALID, UNNORM_KEY_*, TOKENIZER_INVALID */
export async function gatherParts(checkpoint: Checkpoint, options: PolicyOptions): Promise<PolicyParts> {
  const platform = resolvePlatform(checkpoint, options);
  if (options.unnormKey !== undefined) resolveUnnormKey(checkpoint, options.unnormKey);
  const sizes = policySizes(checkpoint, platform, options.unnormKey);
  return {
    checkpoint,
    platform,
    tokenizers: await loadTokenizers(checkpoint.tokenizers),
    sizes,
    promptLimits: promptLimits(checkpoint.config, sizes),
    threads: options.threads ?? availableParallelism(),
  };
}

export function policySizes(checkpoint: Checkpoint, platform: Platform, unnormKey?: string): PolicySizes {
  return {
    images: platform.cameras.length,
    chunk: platform.chunk,
    actionDim: actionDimOf(checkpoint, unnormKey),
    proprio: platform.proprio,
  };
}

/** A from the head; a discrete policy has none, there the statistics tell. */
function actionDimOf(checkpoint: Checkpoint, unnormKey: string | undefined): number {
  if (checkpoint.config.actionDim !== null) return checkpoint.config.actionDim;
  const key = resolveUnnormKey(checkpoint, unnormKey);
  return checkpoint.statistics.get(key)!.action.min.length;
}

/** Bytes of the weights that the graphs may read. */
export function weightBytes(checkpoint: Checkpoint): number {
  let bytes = 0;
  for (const view of checkpoint.tensors.values()) bytes += view.byteLength;
  return bytes;
}
