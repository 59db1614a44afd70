/**
 * NumPy arrays as both protocols carry them: type string, shape and little-endian bytes. Checked once, when constructed: there
 * are exactly as many bytes as type and shape require.
 */

import { SemanticVlaError } from '../support/errors.ts';

type Read = (view: DataView, at: number) => number;

const types: Readonly<Record<string, { readonly size: number; readonly read: Read }>> = {
  '|u1': { size: 1, read: (view, at) => view.getUint8(at) },
  '|i1': { size: 1, read: (view, at) => view.getInt8(at) },
  '|b1': { size: 1, read: (view, at) => view.getUint8(at) },
  '<u2': { size: 2, read: (view, at) => view.getUint16(at, true) },
  '<i2': { size: 2, read: (view, at) => view.getInt16(at, true) },
  '<u4': { size: 4, read: (view, at) => view.getUint32(at, true) },
  '<i4': { size: 4, read: (view, at) => view.getInt32(at, true) },
  '<u8': { size: 8, read: (view, at) => Number(view.getBigUint64(at, true)) },
  '<i8': { size: 8, read: (view, at) => Number(view.getBigInt64(at, true)) },
  '<f4': { size: 4, read: (view, at) => view.getFloat32(at, true) },
  '<f8': { size: 8, read: (view, at) => view.getFloat64(at, true) },
};

/** NumPy's own limit of dimensions is 64; nothing that a policy reads has more than three. */
const maxDimensions = 8;

/** A malformed request: 400, or close code 1011. */
export function invalidRequest(expected: string, found: string): SemanticVlaError {
  return new SemanticVlaError('REQUEST_INVALID', `Request: expected ${expected}, found ${found}.`);
}

export class NdArray {
  /** NumPy's type string, e.g. `|u1`, `<f8`. */
  readonly dtype: string;
  /** Empty for a scalar. */
  readonly shape: readonly number[];
  /** Row-major (C order). May be a view of the message it came in. */
  readonly data: Uint8Array;

  /** @throws REQUEST_INVALID if the number of bytes does not fit type and shape */
  constructor(dtype: string, shape: readonly number[], data: Uint8Array) {
    const bytes = arrayBytes(dtype, shape);
    if (data.length !== bytes) {
      throw invalidRequest(`${bytes} bytes of ${dtype} for shape (${shape.join(', ')})`, `${data.length}`);
    }
    this.dtype = dtype;
    this.shape = shape;
    this.data = data;
  }

  /** The elements as float64; exact for all types except integers beyond 2^53. For small arrays such as a joint state. */
  numbers(): Float64Array {
    const { size, read } = types[this.dtype]!;
    const view = new DataView(this.data.buffer, this.data.byteOffset, this.data.byteLength);
    const values = new Float64Array(this.data.length / size);
    for (let i = 0; i < values.length; i++) values[i] = read(view, i * size);
    return values;
  }
}

/** [shape] float64 -> an array. It is a view of `values`: all machines that Node supports here are little-endian. */
export function float64Array(values: Float64Array, shape: readonly number[]): NdArray {
  return new NdArray('<f8', shape, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}

/** NumPy writes `|` for one-byte types, some other writers `<`. */
function canonical(dtype: unknown): string | null {
  if (typeof dtype !== 'string') return null;
  if (Object.hasOwn(types, dtype)) return dtype;
  const name = dtype.replace(/^[<=](?=[uib]1$)/, '|').replace(/^=/, '<');
  return Object.hasOwn(types, name) ? name : null;
}

/** The type string in the form of `types`. @throws REQUEST_INVALID for other types, such as structured or object types */
export function checkDtype(dtype: unknown): string {
  const name = canonical(dtype);
  if (name !== null) return name;
  const found = typeof dtype === 'string' ? JSON.stringify(dtype.slice(0, 20)) : `a ${typeof dtype}`;
  throw invalidRequest(`dtype to be one of ${Object.keys(types).join(' ')}`, found);
}

/** Checks that a shape consists of whole numbers. @throws REQUEST_INVALID */
export function checkShape(shape: unknown): readonly number[] {
  const valid =
    Array.isArray(shape) &&
    shape.length <= maxDimensions &&
    shape.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (valid) return shape as number[];
  throw invalidRequest(`shape to be a list of at most ${maxDimensions} whole numbers`, 'something else');
}

/** Number of bytes that an array of this type and shape takes. @throws REQUEST_INVALID if it is no exact integer */
export function arrayBytes(dtype: string, shape: readonly number[]): number {
  const bytes = shape.reduce((product, n) => product * n, types[dtype]!.size);
  if (Number.isSafeInteger(bytes)) return bytes;
  throw invalidRequest('a shape that fits a message', `(${shape.join(', ')})`);
}

/** A decoded value of either protocol. Maps have text keys. */
export type WireValue = null | boolean | number | string | NdArray | readonly WireValue[] | WireMap;
export type WireMap = ReadonlyMap<string, WireValue>;
