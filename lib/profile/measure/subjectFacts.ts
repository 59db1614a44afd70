/** What a report says about a subject, and how it names it. */

import { createRequire } from 'node:module';
import { findOnnxRuntime } from '../../addon/nativeFiles.ts';
import { engineOptions, findMachine, labelOf } from '../../engine/openTensorRt.ts';
import { defaultWeights } from '../../policy/cpuModels.ts';
import type { PolicyParts } from '../../policy/policyParts.ts';
import { cpuPrecisionOf, tensorRtOptionsOf } from '../../policy/runtimeOptions.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import type { Policy, PolicyOptions } from '../../types.ts';
import type { SubjectFacts } from '../types.ts';
import type { BenchSubject } from './benchSubject.ts';

export function subjectFacts(
  { preset, checkpoint, options = {}, version }: BenchSubject,
  parts: PolicyParts,
  policy: Policy,
  told: Pick<SubjectFacts, 'name' | 'instruction' | 'promptTokens' | 'frame'>,
): SubjectFacts {
  const backend = options.backend ?? 'cpu';
  const { runtime, precision, weights } =
    backend === 'tensorrt'
      ? tensorRtFacts(options)
      : {
          runtime: `ONNX Runtime ${onnxRuntimeVersion()}`,
          precision: cpuPrecisionOf(options),
          weights: options.weights ?? defaultWeights(parts.checkpoint, cpuPrecisionOf(options)),
        };
  let parameters = 0;
  for (const { shape } of parts.checkpoint.tensors.values()) parameters += shape.reduce((a, b) => a * b, 1);
  return {
    ...told,
    variant: policy.variant,
    source: preset === undefined ? checkpoint! : `preset ${preset}`,
    backend,
    runtime: version === undefined ? runtime : `${version}, ${runtime}`,
    precision,
    weights,
    cameras: policy.platform.cameras,
    chunk: policy.platform.chunk,
    actionDim: policy.dimensions.length,
    parameters,
    threads: backend === 'cpu' ? parts.threads : null,
  };
}

/** As the engines for this device are built. */
function tensorRtFacts(options: PolicyOptions): Pick<SubjectFacts, 'runtime' | 'precision' | 'weights'> {
  const chosen = tensorRtOptionsOf(options);
  const machine = findMachine(chosen);
  const { precision, tier, weights } = engineOptions(machine, chosen);
  return { runtime: labelOf(machine.tensorRt), precision: tier ?? precision, weights };
}

export function packageVersion(name: string): string {
  const { version } = createRequire(import.meta.url)(`${name}/package.json`) as { version: string };
  return version;
}

/** Of the library that computes; sessions have been opened with it. */
export function onnxRuntimeVersion(): string {
  return findOnnxRuntime()?.version ?? 'unknown';
}

/** Names that distinguish the subjects: they contain only what differs. */
export function subjectNames(subjects: readonly BenchSubject[]): string[] {
  const parts = subjects.map((subject) => ({
    source: subject.preset ?? (subject.checkpoint ?? '').replace(/\/+$/, '').split('/').slice(-2).join('/'),
    version: subject.version ?? '',
    backend: subject.options?.backend ?? 'cpu',
    precision: subject.options?.precision ?? '',
    weights: subject.options?.weights ?? '',
    threads: threadsText(subject.options?.threads ?? null),
    prompt: subject.promptTokens === undefined ? '' : `P ${subject.promptTokens}`,
    cameras: subject.cameraCount === undefined ? '' : `${subject.cameraCount} cameras`,
    instruction: subject.instruction === undefined ? '' : JSON.stringify(subject.instruction),
  }));
  const fields = Object.keys(parts[0] ?? {}) as (keyof (typeof parts)[number])[];
  const isTelling = (field: (typeof fields)[number]): boolean =>
    field === 'source' || field === 'backend' || new Set(parts.map((part) => part[field])).size > 1;
  const names = subjects.map(({ name }, i) => {
    const words = fields.filter(isTelling).map((field) => parts[i]![field]);
    return name ?? words.filter(Boolean).join(' ');
  });
  return names.map((name, i) => {
    // measuring the same subject twice (A against A) shows the noise
    const again = names.slice(0, i).filter((before) => before === name).length;
    if (again > 0 && subjects[i]!.name !== undefined) {
      throw new SemanticVlaError('OPTION_INVALID', `Bench: expected each name once, found ${name} twice.`);
    }
    return again === 0 ? name : `${name} (${again + 1})`;
  });
}

/** `2 threads`; empty if the number is not given. */
export function threadsText(threads: number | null): string {
  if (threads === null) return '';
  return threads === 1 ? '1 thread' : `${threads} threads`;
}
