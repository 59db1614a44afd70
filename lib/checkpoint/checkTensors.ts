/** Compares what a checkpoint holds with what its config needs: nothing missing, misshaped, of a wrong kind, or left over. */

import { SemanticVlaError } from '../support/errors.ts';
import type { ExpectedTensor } from './expectedTensors.ts';
import { fileOf, isSplit, type LogicalTensor } from './logicalTensors.ts';
import { isFloat } from './readTensor.ts';

/** Buffers that older libraries save although they can be computed; they are not read. */
const ignorable = [
  /^language_model\.model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$/,
  /^vision_backbone\..*_mm_sampler\.text_encoder\.text_model\.embeddings\.position_ids$/,
];
const listed = 5;

/** TENSOR_MISSING, TENSOR_SHAPE, TENSOR_DTYPE, TENSOR_UNEXPECTED. `dir`: for messages. */
export function checkTensors(
  dir: string,
  found: ReadonlyMap<string, LogicalTensor>,
  expected: ReadonlyMap<string, ExpectedTensor>,
): void {
  const missing = [...expected].filter(([name, { optional }]) => !optional && !found.has(name));
  if (missing.length > 0) {
    const names = missing
      .slice(0, listed)
      .map(([name, { words, shape }]) => `${name} ${words} = [${shape.join(', ')}]`);
    throw new SemanticVlaError(
      'TENSOR_MISSING',
      `${dir}: expected ${expected.size} tensors for this config.json, ${missing.length} of them are missing: ${names.join('; ')}${missing.length > listed ? '; ...' : ''}. A file of the checkpoint was not copied, or config.json belongs to another policy.`,
    );
  }
  const extra: string[] = [];
  for (const [name, tensor] of found) {
    const want = expected.get(name);
    if (want === undefined) {
      if (!ignorable.some((pattern) => pattern.test(name))) extra.push(name);
      continue;
    }
    checkShape(name, tensor, want);
    for (const view of isSplit(tensor) ? [tensor.base, tensor.loraA, tensor.loraB] : [tensor]) {
      if (!isFloat(view)) {
        throw new SemanticVlaError(
          'TENSOR_DTYPE',
          `${view.file}: ${view.name}: expected F32, BF16, F16 or F64, found ${view.dtype}. Quantized checkpoints are not read; export the weights as bfloat16.`,
        );
      }
    }
  }
  if (extra.length > 0) {
    const file = fileOf(found.get(extra[0]!)!);
    throw new SemanticVlaError(
      'TENSOR_UNEXPECTED',
      `${file}: ${extra.length} tensors have no place in the policy that config.json describes: ${extra.slice(0, listed).join(', ')}${extra.length > listed ? ', ...' : ''}. The config belongs to another policy, or the policy has parts that are not supported.`,
    );
  }
}

function checkShape(name: string, tensor: LogicalTensor, want: ExpectedTensor): void {
  const { shape } = tensor;
  if (shape.length !== want.shape.length || shape.some((size, i) => size !== want.shape[i])) {
    throw new SemanticVlaError(
      'TENSOR_SHAPE',
      `${fileOf(tensor)}: ${name}: expected ${want.words} = [${want.shape.join(', ')}], found [${shape.join(', ')}]. The file belongs to another config.json.`,
    );
  }
}
