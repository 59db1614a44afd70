/** Memory taken by the weights on a device, by precision. */

import type { PartSize } from './parts.ts';

/** Memory of the weights in one precision. */
export interface MemoryEstimate {
  /** e.g. `bfloat16 or float16`, `int4 LLM, bfloat16 rest`. */
  readonly precision: string;
  /** Bytes of all weights that a prediction reads. Activations and workspace come on top: tens of MB at batch 1. */
  readonly bytes: number;
}

/** Group size of a quantized matrix: one 16-bit scale for this many weights. */
const int4Group = 128;

/** [label, bytes per weight of the LLM's layers, bytes per other weight] */
const precisions: readonly (readonly [label: string, layers: number, rest: number])[] = [
  ['float32', 4, 4],
  ['bfloat16 or float16', 2, 2],
  ['fp8 LLM, bfloat16 rest', 1, 2],
  ['int8 LLM, bfloat16 rest', 1, 2],
  ['int4 LLM, bfloat16 rest', 0.5 + 2 / int4Group, 2],
];

/** Only the LLM's layers are quantized; embeddings, vision and heads stay as they are. Unused tensors are not loaded. */
export function estimateMemory(parts: readonly PartSize[]): MemoryEstimate[] {
  let layers = 0;
  let rest = 0;
  for (const { part, parameters } of parts) {
    if (part === 'LLM layers') layers += parameters;
    else if (part !== 'unused') rest += parameters;
  }
  return precisions.map(([precision, perLayer, perRest]) => ({
    precision,
    bytes: Math.round(layers * perLayer + rest * perRest),
  }));
}
