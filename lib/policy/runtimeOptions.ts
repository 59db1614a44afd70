/** Options of `loadPolicy` that belong to one runtime: checked against the one that was chosen, so that none is ignored. */

import type { TensorRtOptions } from '../engine/openTensorRt.ts';
import { type EnginePrecision, enginePrecisions, refusedTiers, type Tier } from '../graph/tiers.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { expected, present } from '../support/options.ts';
import type { PolicyOptions } from '../types.ts';

/** How the CPU runtime holds weights. */
export const cpuWeights = ['folded', 'mapped'] as const;
/** How an engine gets them. */
export const engineWeights = ['bound', 'baked'] as const;
/** What the CPU runtime computes linear layers in. */
export const cpuPrecisions = ['float32', 'int8', 'int8-llm'] as const;
export const precisions = [...new Set([...enginePrecisions, ...cpuPrecisions])];

export type CpuWeights = (typeof cpuWeights)[number];
export type EngineWeights = (typeof engineWeights)[number];
export type CpuPrecision = (typeof cpuPrecisions)[number];
/** Those in which weights are quantized. */
export type RoundedPrecision = Exclude<CpuPrecision, 'float32'> | Tier;

/** What only TensorRT takes. */
export const tensorRtOnly = [
  'tensorRt',
  'device',
  'graphs',
  'keptLengths',
] as const satisfies readonly (keyof PolicyOptions)[];

/** What only the CPU runtime takes. */
const cpuOnly = ['spin'] as const satisfies readonly (keyof PolicyOptions)[];

/** @throws OPTION_INVALID with the runtime that the option belongs to */
export function checkRuntimeOptions(options: PolicyOptions): void {
  const { backend = 'cpu', weights, precision, device, graphs, tensorRt } = options;
  checkChoice('backend', backend, ['cpu', 'tensorrt']);
  if (precisions.some((name) => name === (weights as string | undefined))) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option weights: expected how weights are held, found ${weights}, which is a precision. Pass precision: '${weights}'.`,
    );
  }
  checkChoice('weights', weights, backend === 'cpu' ? cpuWeights : engineWeights, backend);
  const refusal = refusedTiers.get(precision ?? '');
  if (refusal !== undefined) throw new SemanticVlaError('OPTION_INVALID', `Option precision: ${refusal}`);
  checkChoice('precision', precision, backend === 'cpu' ? cpuPrecisions : enginePrecisions, backend);
  const [foreign, own] = backend === 'cpu' ? [tensorRtOnly, 'tensorrt'] : [cpuOnly, 'cpu'];
  const found = foreign.find((name) => options[name] !== undefined);
  if (found !== undefined) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option ${found}: expected with backend ${own} only, found it with backend ${backend}. Set backend: '${own}', or leave it out.`,
    );
  }
  if (backend === 'cpu') return;
  if (device !== undefined && !(Number.isInteger(device) && device >= 0))
    throw expected('OPTION_INVALID', 'the number of a GPU', 'option device', device);
  if (graphs !== undefined && typeof graphs !== 'boolean')
    throw expected('OPTION_INVALID', 'true or false', 'option graphs', graphs);
  if (tensorRt !== undefined && (typeof tensorRt !== 'string' || tensorRt === ''))
    throw expected('OPTION_INVALID', 'the path of a library or its folder', 'option tensorRt', tensorRt);
}

function checkChoice(name: string, value: unknown, choices: readonly string[], backend?: string): void {
  if (value === undefined || choices.includes(value as string)) return;
  const where = backend === undefined ? '' : ` with backend ${backend}`;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `Option ${name}: expected ${choices.join(' or ')}${where}, found ${String(value)}.`,
  );
}

/** `weights` as the CPU runtime takes it; undefined when it was not given. @param options checked */
export function cpuWeightsOf({ weights }: Pick<PolicyOptions, 'weights'>): CpuWeights | undefined {
  return weights === 'folded' || weights === 'mapped' ? weights : undefined;
}

/** `precision` as the CPU runtime takes it. @param options checked */
export function cpuPrecisionOf({ precision }: Pick<PolicyOptions, 'precision'>): CpuPrecision {
  return cpuPrecisions.find((name) => name === precision) ?? 'float32';
}

/** `precision` as an engine takes it; undefined when it was not given. @param options checked */
export function enginePrecisionOf({
  precision,
}: Pick<PolicyOptions, 'precision'>): EnginePrecision | undefined {
  return enginePrecisions.find((name) => name === precision);
}

/** The options that TensorRT takes. @param options checked */
export function tensorRtOptionsOf({
  tensorRt,
  device,
  precision,
  weights,
  graphs,
  keptLengths,
}: PolicyOptions): Pick<
  TensorRtOptions,
  'tensorRt' | 'device' | 'precision' | 'weights' | 'graphs' | 'keptLengths'
> {
  return {
    ...(tensorRt === undefined ? {} : { tensorRt }),
    ...(device === undefined ? {} : { device }),
    ...present({ precision: enginePrecisionOf({ ...(precision === undefined ? {} : { precision }) }) }),
    ...(weights === 'bound' || weights === 'baked' ? { weights } : {}),
    ...present({ graphs, keptLengths }),
  };
}
