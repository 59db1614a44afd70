/** A random tensor to be written; the writer decides where it goes. */

import { fillBfloat16, fillFloat32, type Normal, type NormalTables, type RandomKey } from './random.ts';

export interface PlannedTensor {
  readonly name: string;
  readonly dtype: 'BF16' | 'F32';
  readonly shape: readonly number[];
  readonly values: Normal;
}

export function elementCount(tensor: PlannedTensor): number {
  return tensor.shape.reduce((product, n) => product * n, 1);
}

export function elementBytes(tensor: PlannedTensor): number {
  return tensor.dtype === 'BF16' ? 2 : 4;
}

export function tensorBytes(tensor: PlannedTensor): number {
  return elementCount(tensor) * elementBytes(tensor);
}

export function totalBytes(tensors: readonly PlannedTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
}

/** Writes bytes [offset, offset + view.length) of the tensor into `view`, little-endian. */
export type TensorFiller = (view: Uint8Array, offset: number) => void;

/** `view` must start and end on whole elements and be aligned to them in memory. */
export function tensorFiller(tensor: PlannedTensor, key: RandomKey, tables: NormalTables): TensorFiller {
  const table = tables.get(tensor.values);
  if (tensor.dtype === 'BF16')
    return (view, offset) =>
      fillBfloat16(new Uint16Array(view.buffer, view.byteOffset, view.length / 2), offset / 2, key, table);
  return (view, offset) =>
    fillFloat32(new Uint32Array(view.buffer, view.byteOffset, view.length / 4), offset / 4, key, table);
}
