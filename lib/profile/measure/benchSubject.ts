/** What a caller of `benchPolicies` wants measured. */

import type { SynthPreset } from '../../synth/presets.ts';
import type { Policy, PolicyOptions } from '../../types.ts';

/** One thing to measure. */
export interface BenchSubject {
  /** Folder of a trained policy; or `preset`, whose random weights are made in the cache folder. */
  readonly checkpoint?: string;
  readonly preset?: SynthPreset;
  /** Unique among the subjects; default: made of what distinguishes them. */
  readonly name?: string;
  /** As for `loadPolicy`. */
  readonly options?: Omit<PolicyOptions, 'onProgress' | 'signal' | 'instructionCache'>;
  /** The first n cameras of the platform, or more of them under further names. */
  readonly cameraCount?: number;
  /** What to tell the policy; default: `instruction` of the options of `benchPolicies`. */
  readonly instruction?: string;
  /** P, tokens of the prompt; a sentence of that length is made. Not with `instruction`. */
  readonly promptTokens?: number;
  /** Another version's `loadPolicy`. */
  readonly load?: (dir: string, options: PolicyOptions) => Promise<Policy>;
  /** What to write for `load` in the report: `semanticvla 0.0.9`. */
  readonly version?: string;
}
