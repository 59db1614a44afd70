/** What `bench` measures: every combination of what its list flags name. */

import { enginePrecisions } from '../graph/tiers.ts';
import { cpuPrecisions, cpuWeights, engineWeights } from '../policy/runtimeOptions.ts';
import type { BenchSubject } from '../profile/measure/benchSubject.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { type SynthPreset, synthPresets } from '../synth/presets.ts';
import type { PolicyOptions } from '../types.ts';
import { type PolicyFlags, policyOptions } from './flags.ts';

type Backend = NonNullable<PolicyOptions['backend']>;

/** Flags of which several values are compared, and those that all subjects share. */
export interface SubjectFlags
  extends Omit<PolicyFlags, 'backend' | 'threads' | 'weights' | 'precision' | 'observation'> {
  readonly preset?: readonly SynthPreset[];
  readonly backend?: readonly Backend[];
  readonly weights?: readonly NonNullable<PolicyOptions['weights']>[];
  readonly precision?: readonly NonNullable<PolicyOptions['precision']>[];
  readonly threads?: readonly number[];
  readonly promptLength?: readonly number[];
  readonly cameraCounts?: readonly number[];
}

/** Every combination of what was listed, sources first. */
export function subjectsOf(checkpoints: readonly string[], flags: SubjectFlags): BenchSubject[] {
  const sources: Pick<BenchSubject, 'checkpoint' | 'preset'>[] = [
    ...checkpoints.map((checkpoint) => ({ checkpoint })),
    ...(flags.preset ?? []).map((preset) => ({ preset })),
  ];
  if (sources.length === 0) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Expected a checkpoint folder or --preset (${Object.keys(synthPresets).join(', ')}), found neither.`,
    );
  }
  const shared = policyOptions(withoutLists(flags));
  const { cacheDir: _, ...policy } = shared;
  return sources.flatMap((source) =>
    runtimesOf(flags).flatMap((runtime) =>
      each(flags.threads).flatMap((threads) =>
        each(flags.promptLength).flatMap((promptTokens) =>
          each(flags.cameraCounts).map((cameraCount) => ({
            ...source,
            options: {
              ...ownOf(runtime.backend ?? 'cpu', policy, flags.backend),
              ...runtime,
              ...(threads === undefined ? {} : { threads }),
            },
            ...(promptTokens === undefined ? {} : { promptTokens }),
            ...(cameraCount === undefined ? {} : { cameraCount }),
          })),
        ),
      ),
    ),
  );
}

type Runtime = Pick<PolicyOptions, 'backend' | 'weights' | 'precision'>;

/** Every backend with those of the listed weights and precisions that it can have. */
function runtimesOf(flags: SubjectFlags): Runtime[] {
  const backends = flags.backend ?? ['cpu'];
  const fits = (backend: Backend, cpu: readonly string[], engine: readonly string[]) => (value: string) =>
    (backend === 'cpu' ? cpu : engine).includes(value);
  const chosen = <T extends string>(
    name: string,
    values: readonly T[] | undefined,
    takes: (backend: Backend) => (value: string) => boolean,
  ) => {
    const lost = values?.find((value) => !backends.some((backend) => takes(backend)(value)));
    if (lost !== undefined) {
      throw new SemanticVlaError(
        'OPTION_INVALID',
        `--${name} ${lost}: expected a value that ${backends.join(' or ')} has. Add the other runtime to --backend, or leave it out.`,
      );
    }
    return (backend: Backend): readonly (T | undefined)[] => {
      const fitting = values?.filter(takes(backend)) ?? [];
      return fitting.length === 0 ? [undefined] : fitting;
    };
  };
  const weightsOf = chosen('weights', flags.weights, (backend) => fits(backend, cpuWeights, engineWeights));
  const precisionsOf = chosen('precision', flags.precision, (backend) =>
    fits(backend, cpuPrecisions, enginePrecisions),
  );
  return backends.flatMap((backend) =>
    weightsOf(backend).flatMap((weights) =>
      precisionsOf(backend).map((precision) => ({
        ...(flags.backend === undefined ? {} : { backend }),
        ...(weights === undefined ? {} : { weights }),
        ...(precision === undefined ? {} : { precision }),
      })),
    ),
  );
}

/** When both runtimes take turns, an option that only one takes applies to that one; else it is refused when the policy is loaded. */
function ownOf(backend: Backend, policy: PolicyOptions, backends: readonly Backend[] = []): PolicyOptions {
  if (new Set(backends).size < 2) return policy;
  const { spin: _spin, ...tensorrt } = policy;
  const { tensorRt: _library, device: _device, graphs: _graphs, ...cpu } = policy;
  return backend === 'tensorrt' ? tensorrt : cpu;
}

function withoutLists(flags: SubjectFlags): Partial<PolicyFlags> {
  const { backend: _b, weights: _w, precision: _p, threads: _t, ...rest } = flags;
  return rest;
}

function each<T>(values: readonly T[] | undefined): readonly (T | undefined)[] {
  return values ?? [undefined];
}
