/** Bytes of a tensor, read on demand. Nothing is cached. */

import { endianness } from 'node:os';
import { fromBfloat16 } from '../support/bfloat16.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { openRegular, readInto } from '../support/fileAccess.ts';
import type { TensorView } from './tensorView.ts';

export type TensorData =
  | { readonly dtype: 'F64'; readonly shape: readonly number[]; readonly data: Float64Array }
  | { readonly dtype: 'F32'; readonly shape: readonly number[]; readonly data: Float32Array }
  /** Raw 16-bit patterns; `readTensorFloat32` widens them. */
  | { readonly dtype: 'F16' | 'BF16'; readonly shape: readonly number[]; readonly data: Uint16Array }
  | { readonly dtype: 'I64'; readonly shape: readonly number[]; readonly data: BigInt64Array }
  | { readonly dtype: 'I32'; readonly shape: readonly number[]; readonly data: Int32Array }
  | { readonly dtype: 'I16'; readonly shape: readonly number[]; readonly data: Int16Array }
  | { readonly dtype: 'I8'; readonly shape: readonly number[]; readonly data: Int8Array }
  | { readonly dtype: 'U8' | 'BOOL'; readonly shape: readonly number[]; readonly data: Uint8Array };

/** Bytes of `view` as stored, in a new buffer. */
export async function readTensorBytes(view: TensorView): Promise<Uint8Array> {
  const { handle } = await openRegular(view.file, { missing: 'CHECKPOINT_FILE_MISSING' });
  try {
    const bytes = new Uint8Array(view.byteLength);
    await readInto(handle, bytes, view.offset, view.file, 'TENSOR_SHAPE');
    return bytes;
  } finally {
    await handle.close();
  }
}

/** The tensor in its own dtype, row-major. */
export async function readTensor(view: TensorView): Promise<TensorData> {
  requireLittleEndian();
  const { buffer } = await readTensorBytes(view);
  const { shape } = view;
  switch (view.dtype) {
    case 'F64':
      return { dtype: 'F64', shape, data: new Float64Array(buffer) };
    case 'F32':
      return { dtype: 'F32', shape, data: new Float32Array(buffer) };
    case 'F16':
    case 'BF16':
      return { dtype: view.dtype, shape, data: new Uint16Array(buffer) };
    case 'I64':
      return { dtype: 'I64', shape, data: new BigInt64Array(buffer) };
    case 'I32':
      return { dtype: 'I32', shape, data: new Int32Array(buffer) };
    case 'I16':
      return { dtype: 'I16', shape, data: new Int16Array(buffer) };
    case 'I8':
      return { dtype: 'I8', shape, data: new Int8Array(buffer) };
    case 'U8':
    case 'BOOL':
      return { dtype: view.dtype, shape, data: new Uint8Array(buffer) };
  }
}

/** A floating-point tensor as float32. BF16 and F16 widen exactly, F64 rounds to nearest. Others: TENSOR_DTYPE. */
export async function readTensorFloat32(view: TensorView): Promise<Float32Array> {
  requireFloat(view);
  return widenToFloat32(view, await readTensorBytes(view));
}

/** Whether the dtype is one of the floating-point ones weights come in. */
export function isFloat(view: Pick<TensorView, 'dtype'>): boolean {
  return view.dtype === 'F64' || view.dtype === 'F32' || view.dtype === 'F16' || view.dtype === 'BF16';
}

/**
 * Bytes of (a part of) `view`, starting at an element boundary, as float32. `bytes` must be aligned to its elements.
 *
 * @param room for BF16, an array of as many numbers to reuse: new memory costs as much as the conversion
 */
export function widenToFloat32(
  view: TensorView,
  bytes: Uint8Array,
  room?: Float32Array<ArrayBuffer>,
): Float32Array {
  requireLittleEndian();
  requireFloat(view);
  const { buffer, byteOffset, byteLength } = bytes;
  switch (view.dtype) {
    case 'F32':
      return new Float32Array(buffer, byteOffset, byteLength / 4);
    case 'F64':
      return Float32Array.from(new Float64Array(buffer, byteOffset, byteLength / 8));
    case 'BF16':
      return fromBfloat16(new Uint16Array(buffer, byteOffset, byteLength / 2), room);
    default:
      return widenFloat16(new Uint16Array(buffer, byteOffset, byteLength / 2));
  }
}

/** IEEE binary16: 5 exponent bits (bias 15), 10 fraction bits. */
function widenFloat16(halves: Uint16Array): Float32Array {
  const out = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i]!;
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 31) out[i] = fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    else if (exponent === 0) out[i] = sign * fraction * 2 ** -24;
    else out[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return out;
}

function requireFloat(view: TensorView): void {
  if (!isFloat(view)) {
    throw new SemanticVlaError(
      'TENSOR_DTYPE',
      `${view.name} in ${view.file}: expected a floating-point tensor (F32, BF16, F16 or F64), found ${view.dtype}. Quantized checkpoints are not read; export the weights as bfloat16.`,
    );
  }
}

function requireLittleEndian(): void {
  if (endianness() !== 'LE') {
    throw new SemanticVlaError(
      'BACKEND_UNAVAILABLE',
      'Checkpoints are little-endian; this machine is big-endian.',
    );
  }
}
