/** What every prediction of one policy shares: the checkpoint's facts and the platform's, resolved once at load. */

import { availableParallelism } from 'node:os';
import { requireStatistics } from '../checkpoint/agreement.ts';
import {
  type Checkpoint,
  type OpenCheckpointOptions,
  openCheckpointOptionNames,
} from '../checkpoint/checkpoint.ts';
import { checkBounds } from '../checkpoint/statistics.ts';
import type { PolicySizes } from '../graph/graphContext.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { expected } from '../support/options.ts';
import { type DdimSchedule, type DiffusionSteps, ddimSchedule } from '../transforms/ddim.ts';
import { type PromptLimits, promptLimits } from '../transforms/prompt.ts';
import { checkVocabularies } from '../transforms/tokenizer/checkVocabularies.ts';
import { loadTokenizers, type Tokenizers } from '../transforms/tokenizer/tokenizers.ts';
import type { Platform, Policy, PolicyOptions, PromptStyle } from '../types.ts';
import { diffusionStepsOf } from './denoising.ts';
import { resolvePlatform, resolveUnnormKey } from './platform.ts';

export interface PolicyParts {
  readonly checkpoint: Checkpoint;
  readonly platform: Platform;
  readonly tokenizers: Tokenizers;
  readonly sizes: PolicySizes;
  /** null: not a diffusion policy. */
  readonly diffusion: (DiffusionSteps & { readonly schedule: DdimSchedule }) | null;
  readonly promptStyle: PromptStyle;
  readonly promptLimits: PromptLimits;
  readonly threads: number;
  /** See PolicyOptions.spin. */
  readonly spinUs: number | undefined;
}

/** The options among `loadPolicy`'s that open a checkpoint. @param options of `loadPolicy`; others may be among them */
export function checkpointOptions(options: OpenCheckpointOptions): OpenCheckpointOptions {
  const given = openCheckpointOptionNames.map((name) => [name, options[name]] as const);
  return Object.fromEntries(given.filter(([, value]) => value !== undefined));
}

/** @throws PLATFORM_REQUIRED, OPTION_INVALID, UNNORM_KEY_*, TOKENIZER_INVALID */
export async function gatherParts(checkpoint: Checkpoint, options: PolicyOptions): Promise<PolicyParts> {
  const platform = resolvePlatform(checkpoint, options);
  const promptStyle = promptStyleOf(checkpoint, options);
  const steps = diffusionStepsOf(checkpoint, options);
  const sizes = policySizes(checkpoint, platform, options.unnormKey);
  return {
    checkpoint,
    platform,
    tokenizers: await policyTokenizers(checkpoint),
    sizes,
    diffusion:
      steps === null ? null : { ...steps, schedule: ddimSchedule(steps, checkpoint.config.llama.width) },
    promptStyle,
    promptLimits: promptLimits(checkpoint.config, sizes),
    threads: options.threads ?? availableParallelism(),
    spinUs: options.spin,
  };
}

/** @throws OPTION_INVALID unknown, or of a policy that has one prompt only */
function promptStyleOf({ dir, config }: Checkpoint, { prompt }: PolicyOptions): PromptStyle {
  if (prompt === undefined) return 'openvla';
  if (prompt !== 'openvla' && prompt !== 'openvla-v01')
    throw expected('OPTION_INVALID', 'openvla or openvla-v01', 'prompt', prompt);
  if (prompt === 'openvla' || config.head.kind === 'autoregressive') return prompt;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `Option prompt of ${dir}: expected openvla, since only autoregressive OpenVLA policies were trained with another, found ${prompt}. Leave it out.`,
  );
}

/** The checkpoint's tokenizers, compared with the vocabularies of its weights. @throws TOKENIZER_INVALID */
export async function policyTokenizers({ config, tokenizers }: Checkpoint): Promise<Tokenizers> {
  const loaded = await loadTokenizers(tokenizers);
  checkVocabularies(loaded, tokenizers, config);
  return loaded;
}

/**
 * Sizes of a policy's graphs. The statistics that it will read are compared with its weights on the way.
 * @throws UNNORM_KEY_UNKNOWN; UNNORM_KEY_REQUIRED where only the data set says how many dimensions an action has;
 *   STATISTICS_INVALID they cannot be read, or belong to another robot than the weights
 */
export function policySizes(checkpoint: Checkpoint, platform: Platform, unnormKey?: string): PolicySizes {
  const { config, statistics } = checkpoint;
  const isChosen = unnormKey !== undefined || config.actionDim === null || statistics.size === 1;
  const key = isChosen ? resolveUnnormKey(checkpoint, unnormKey) : null;
  requireStatistics(checkpoint, key, platform);
  return {
    images: platform.cameras.length,
    chunk: platform.chunk,
    // action tokens have no head that tells; the statistics do
    actionDim: config.actionDim ?? checkBounds(statistics.get(key!)!.action, platform.normalization),
    proprio: platform.proprio,
  };
}

/** What a policy of this process was made of. */
export interface OpenedPolicy {
  readonly parts: PolicyParts;
  readonly options: PolicyOptions;
}

const opened = new WeakMap<Policy, OpenedPolicy>();

/** For tools that look inside (profilePolicy): remembers what `loadPolicy` made a policy of, as long as it lives. */
export function rememberParts(policy: Policy, made: OpenedPolicy): void {
  opened.set(policy, made);
}

/** null for a policy that `loadPolicy` of this process did not make: a scheduled, remote or supervised one. */
export function partsOf(policy: Policy): OpenedPolicy | null {
  return opened.get(policy) ?? null;
}
