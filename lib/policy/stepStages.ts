/** Intermediates that the reference names otherwise than the graphs: of a diffusion policy's steps, and of generated tokens. */

import type { NamedTensors, TensorData } from '../addon/onnxMessages.ts';
import { type HeadConfig, isTokenHead } from '../checkpoint/policyConfig.ts';
import { stagePrefix } from '../graph/graphContext.ts';
import { names as graphNames } from '../graph/names.ts';
import type { StageTensor } from '../types.ts';
import type { PolicyParts } from './policyParts.ts';

/** Tables of all steps: `noise`, `x`, `noise_pred`, `x0`; of the first two and the last one also the language model's. */
export class StepStages {
  readonly stages = new Map<string, TensorData>();
  readonly #names = new Set<string>([graphNames.noise, graphNames.actions]);
  readonly #steps: number;
  readonly #tables = { x: [] as Float32Array[], noise_pred: [] as Float32Array[], x0: [] as Float32Array[] };

  constructor({ diffusion }: Pick<PolicyParts, 'diffusion'>) {
    this.#steps = diffusion?.inference ?? 0;
  }

  get isEmpty(): boolean {
    return this.stages.size === 0;
  }

  /** Outputs of the denoiser, which belong to one step. */
  get names(): ReadonlySet<string> {
    return this.#names;
  }

  add(step: number, outputs: NamedTensors, before: TensorData): void {
    if (step === 0) this.stages.set('noise', before);
    const row = (name: string): Float32Array => outputs[name]!.data as Float32Array;
    this.#tables.x.push(before.data as Float32Array);
    this.#tables.noise_pred.push(row(graphNames.noise));
    this.#tables.x0.push(row(`${stagePrefix}x0`));
    for (const [output, tensor] of Object.entries(outputs)) {
      if (!output.startsWith(stagePrefix)) continue;
      this.#names.add(output);
      const name = output.slice(stagePrefix.length);
      if (name === 'noisy_tokens' && step === 0) this.stages.set('noisy_tokens0', tensor);
      const isShown = step < 2 || step === this.#steps - 1;
      if (isShown && name.startsWith('llm.')) this.stages.set(`step${step}.${name}`, tensor);
    }
    if (step === this.#steps - 1) this.#publish(outputs[graphNames.actions]!);
  }

  #publish(last: TensorData): void {
    this.#tables.x.push(last.data as Float32Array);
    for (const [name, rows] of Object.entries(this.#tables)) {
      const data = Float32Array.from(rows.flatMap((row) => [...row]));
      this.stages.set(name, { type: 'float32', data, dims: [rows.length, ...last.dims] });
    }
  }
}

export function without(outputs: NamedTensors, dropped: ReadonlySet<string>): NamedTensors {
  return Object.fromEntries(Object.entries(outputs).filter(([name]) => !dropped.has(name)));
}

/** `generated.ids`, `generated.bins`, and the logits of the action ids as one table. */
export function publishTokens(stages: Map<string, StageTensor>, ids: Int32Array, head: HeadConfig): void {
  if (!isTokenHead(head)) return;
  const { bins, tokenVocab } = head;
  const binOf = (id: number): number => Math.min(Math.max(tokenVocab - id - 1, 0), bins - 2);
  const shape = [ids.length];
  stages.set('generated.ids', { dtype: 'I32', shape, data: ids });
  stages.set('generated.bins', { dtype: 'I32', shape, data: ids.map(binOf) });
  if (head.kind !== 'autoregressive') return;
  const rows = Array.from(ids, (_, n) => {
    const name = `generated.action_logits${n === 0 ? '' : n}`;
    const row = stages.get(name)?.data ?? [];
    stages.delete(name);
    return row;
  });
  const data = Float32Array.from(rows.flatMap((row) => [...row]));
  stages.set('generated.action_logits', { dtype: 'F32', shape: [ids.length, bins], data });
}
