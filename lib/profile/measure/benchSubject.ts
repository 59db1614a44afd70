/** What a caller of `benchPolicies` wants measured. */

import type { SynthPreset } from '../../synth/presets.ts';
import type { Policy, PolicyOptions } from '../../types.ts';

/** One thing to measure. */
export interface BenchSubject {
  /** Folder of a trained policy. Alternatively `preset`, whose random weights are made in the cache folder. */
  readonly checkpoint?: string;
  readonly preset?: SynthPreset;
  /** Unique among the subjects; default: built from what distinguishes them. */
  readonly name?: string;
  /** As for `loadPolicy`. */
  readonly options?: Omit<PolicyOptions, 'onProgress' | 'signal' | 'instructionCache'>;
  /** Use only the first n cameras of the platform, or add further ones under new names. */
  readonly cameraCount?: number;
  /** The instruction; default: that of the options of `benchPolicies`. */
  readonly instruction?: string;
  /** P: number of prompt tokens; an instruction of that length is generated. Not with `instruction`. */
  readonly promptTokens?: number;
  /** The `loadPolicy` of another version of the package. */
  readonly load?: (dir: string, options: PolicyOptions) => Promise<Policy>;
  /** How the report names the version of `load`, e.g. `semanticvla 0.0.9`. */
  readonly version?: string;
}
