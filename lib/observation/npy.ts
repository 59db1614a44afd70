/**
 * NumPy's .npy files, versions 1 to 3 (numpy/lib/format.py): a magic string, a header that is a Python dict literal, and
 * the array's bytes. Every length is checked against the file before anything is allocated.
 */

import { SemanticVlaError } from '../support/errors.ts';

const readers = {
  '|u1': { bytes: 1, make: (b: ArrayBuffer) => new Uint8Array(b) },
  '|b1': { bytes: 1, make: (b: ArrayBuffer) => new Uint8Array(b) },
  '|i1': { bytes: 1, make: (b: ArrayBuffer) => new Int8Array(b) },
  '<u2': { bytes: 2, make: (b: ArrayBuffer) => new Uint16Array(b) },
  '<i2': { bytes: 2, make: (b: ArrayBuffer) => new Int16Array(b) },
  '<u4': { bytes: 4, make: (b: ArrayBuffer) => new Uint32Array(b) },
  '<i4': { bytes: 4, make: (b: ArrayBuffer) => new Int32Array(b) },
  '<u8': { bytes: 8, make: (b: ArrayBuffer) => new BigUint64Array(b) },
  '<i8': { bytes: 8, make: (b: ArrayBuffer) => new BigInt64Array(b) },
  '<f4': { bytes: 4, make: (b: ArrayBuffer) => new Float32Array(b) },
  '<f8': { bytes: 8, make: (b: ArrayBuffer) => new Float64Array(b) },
} as const;

/** NumPy's `descr` of the supported types. */
export type NpyDtype = keyof typeof readers;

export interface NpyArray {
  readonly dtype: NpyDtype;
  readonly shape: readonly number[];
  /** Row-major (C order), a copy. */
  readonly data: ReturnType<(typeof readers)[NpyDtype]['make']>;
}

/** NumPy itself refuses longer headers unless told to trust the file (max_header_size). */
const maxHeaderBytes = 10_000;
/** NumPy's limit on dimensions (NPY_MAXDIMS). */
const maxDimensions = 64;

/**
 * @param file what to call the bytes in messages
 * @throws NPY_INVALID
 */
export function parseNpy(bytes: Uint8Array, file: string): NpyArray {
  const fail = (expected: string, found: string): never => {
    throw new SemanticVlaError(
      'NPY_INVALID',
      `${file}: expected ${expected}, found ${found}. Write the file again with numpy.save.`,
    );
  };
  if (bytes.length < 10 || bytes[0] !== 0x93 || latin1(bytes.subarray(1, 6)) !== 'NUMPY') {
    return fail('a NumPy .npy file', `${bytes.length} bytes without its magic string`);
  }
  const version = bytes[6] as number;
  if (version < 1 || version > 3) return fail('.npy version 1, 2 or 3', `version ${version}.${bytes[7]}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) return fail(`at least ${start} bytes`, `${bytes.length}`);
  const headerLength = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (headerLength > maxHeaderBytes) {
    return fail(`a header of at most ${maxHeaderBytes} bytes`, `one that claims ${headerLength}`);
  }
  const dataStart = start + headerLength;
  if (dataStart > bytes.length) {
    return fail(
      `a header of ${headerLength} bytes`,
      `a file that ends ${dataStart - bytes.length} bytes early`,
    );
  }
  const header = parseHeader(latin1(bytes.subarray(start, dataStart)));
  if (typeof header === 'string') return fail("a header {'descr', 'fortran_order', 'shape'}", header);
  // One byte has no order; NumPy writes '|', some other writers '<'.
  const descr = header.descr.replace(/^[<=](?=[uib]1$)/, '|').replace(/^=/, '<');
  if (!Object.hasOwn(readers, descr)) {
    return fail(
      `a plain little-endian type (${Object.keys(readers).join(' ')})`,
      `'${header.descr.slice(0, 40)}'`,
    );
  }
  const dtype = descr as NpyDtype;
  const { bytes: itemBytes, make } = readers[dtype];
  let items = 1;
  for (const size of header.shape) {
    items *= size;
    // Every size is an exact integer, and so is any product below 2^53; no file can hold more anyway.
    if (!Number.isSafeInteger(items * itemBytes))
      return fail('a shape that fits a file', `(${header.shape})`);
  }
  const length = bytes.length - dataStart;
  if (items * itemBytes !== length) {
    return fail(`${items * itemBytes} bytes of ${dtype} for shape (${header.shape})`, `${length}`);
  }
  // A buffer of its own: aligned for every type, and the caller may change the file's bytes. (Buffer's slice would not copy.)
  const stored = make(new Uint8Array(bytes.subarray(dataStart)).buffer);
  if (!header.fortranOrder || header.shape.length < 2) return { dtype, shape: header.shape, data: stored };
  return { dtype, shape: header.shape, data: toRowMajor(stored, make, header.shape) };
}

/** The elements of an array of any type as numbers, for small ones such as a joint state. */
export function npyNumbers(array: NpyArray): Float64Array {
  return Float64Array.from(array.data as ArrayLike<number | bigint>, Number);
}

interface Header {
  readonly descr: string;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

/**
 * Parses the dict literal: exactly three keys, in any order. A returned string says what is wrong. Structured types (a list as
 * `descr`) do not match and are refused this way.
 */
function parseHeader(text: string): Header | string {
  const shown = JSON.stringify(text.trimEnd().slice(0, 80));
  const body = /^\{(.*)\}[ \n]*$/s.exec(text)?.[1];
  if (body === undefined) return shown;
  const entry =
    /\s*(?:'(descr|fortran_order|shape)'|"(descr|fortran_order|shape)")\s*:\s*(?:'([^'\\]*)'|"([^"\\]*)"|(True|False)|\(([\d,\s]*)\))\s*(,|$)/y;
  const found = new Map<string, RegExpExecArray>();
  let at = 0;
  while (at < body.trimEnd().length) {
    entry.lastIndex = at;
    const match = entry.exec(body);
    const key = match?.[1] ?? match?.[2];
    if (match === null || key === undefined || found.has(key)) return shown;
    found.set(key, match);
    at = entry.lastIndex;
  }
  const descr = found.get('descr')?.[3] ?? found.get('descr')?.[4];
  const order = found.get('fortran_order')?.[5];
  const tuple = found.get('shape')?.[6];
  if (found.size !== 3 || descr === undefined || order === undefined || tuple === undefined) return shown;
  const shape = parseTuple(tuple);
  return shape === null ? shown : { descr, fortranOrder: order === 'True', shape };
}

/** `8,` or `2, 3` or nothing, as Python writes tuples; null when it is something else. */
function parseTuple(text: string): number[] | null {
  const trimmed = text.trim();
  if (trimmed === '') return [];
  const parts = trimmed.split(',').map((part) => part.trim());
  if (parts.at(-1) === '') parts.pop();
  // (8) is a number in Python, not a tuple.
  else if (parts.length === 1) return null;
  if (parts.length > maxDimensions || parts.some((part) => !/^\d{1,16}$/.test(part))) return null;
  const sizes = parts.map(Number);
  return sizes.every(Number.isSafeInteger) ? sizes : null;
}

/** Converts from Fortran order (first index fastest) to C order. */
function toRowMajor(
  stored: NpyArray['data'],
  make: (buffer: ArrayBuffer) => NpyArray['data'],
  shape: readonly number[],
): NpyArray['data'] {
  const out = make(new ArrayBuffer(stored.byteLength));
  const source = stored as { readonly [i: number]: number | bigint };
  const target = out as { [i: number]: number | bigint };
  const strides = shape.map((_, d) => shape.slice(0, d).reduce((a, b) => a * b, 1));
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < stored.length; to++) {
    target[to] = source[from] as number | bigint;
    for (let d = shape.length - 1; d >= 0; d--) {
      const stride = strides[d] as number;
      index[d] = (index[d] as number) + 1;
      from += stride;
      if ((index[d] as number) < (shape[d] as number)) break;
      from -= stride * (shape[d] as number);
      index[d] = 0;
    }
  }
  return out;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
