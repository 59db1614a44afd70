/** Checks that stages are what a policy promises; used on both sides of the link. */

import { isFloat32Array, isInt32Array, isUint8Array } from 'node:util/types';
import { expected } from '../support/options.ts';
import type { StageTensor } from '../types.ts';

const isOf: Readonly<Record<string, (value: unknown) => boolean>> = {
  F32: isFloat32Array,
  I32: isInt32Array,
  U8: isUint8Array,
};

/** @throws STAGES_INVALID if it is not a map, or a tensor's type, shape and data do not agree */
export function checkedStages(stages: unknown): Map<string, StageTensor> {
  if (!(stages instanceof Map)) throw expected('STAGES_INVALID', 'a map of tensors', 'stages', stages);
  for (const [name, tensor] of stages as Map<unknown, unknown>) {
    if (typeof name !== 'string') throw expected('STAGES_INVALID', 'a name', 'a stage', name);
    if (typeof tensor !== 'object' || tensor === null)
      throw expected('STAGES_INVALID', 'a tensor', `stage ${name}`, tensor);
    const { dtype, shape, data } = tensor as Record<keyof StageTensor, unknown>;
    const isData = typeof dtype === 'string' && Object.hasOwn(isOf, dtype) ? isOf[dtype]! : null;
    if (isData === null) throw expected('STAGES_INVALID', 'F32, I32 or U8', `dtype of stage ${name}`, dtype);
    if (!isData(data)) throw expected('STAGES_INVALID', `data of ${dtype}`, `stage ${name}`, data);
    const sizes: unknown[] = Array.isArray(shape) ? shape : [Number.NaN];
    const right = sizes.every((size) => Number.isInteger(size) && (size as number) >= 0);
    const { length } = data as Float32Array;
    if (!right || (sizes as number[]).reduce((product, size) => product * size, 1) !== length)
      throw expected('STAGES_INVALID', `a shape of ${length} elements`, `stage ${name}`, shape);
  }
  return stages as Map<string, StageTensor>;
}
