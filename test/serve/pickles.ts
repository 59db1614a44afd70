/** Pickles of protocol 4 as LeRobot's robot client makes them, of plain values, NumPy arrays and its dataclasses. */

import { NdArray } from '../../lib/serve/ndarray.ts';

export type Plain =
  | null
  | boolean
  | number
  | string
  | Float
  | NdArray
  | readonly Plain[]
  | Instance
  | { readonly [key: string]: Plain };

/** A Python float, where a number would be an int. */
export class Float {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

export class Instance {
  readonly name: string;
  readonly state: Readonly<Record<string, Plain>>;

  constructor(name: string, state: Readonly<Record<string, Plain>>) {
    this.name = name;
    this.state = state;
  }
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
};

export function bytes(...parts: (number | string | Uint8Array)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))));
}

export function text(value: string): Buffer {
  return bytes(0x58, u32(Buffer.byteLength(value)), value);
}

export function global(module: string, name: string): Buffer {
  return bytes(text(module), text(name), 0x93);
}

function dtypeOf(dtype: string): Buffer {
  const call = bytes(global('numpy', 'dtype'), text(dtype.slice(1)), 0x89, 0x88, 0x87, 'R');
  return bytes(call, '(', 'K', 3, text(dtype[0]!), 'NNNJ', u32(-1), 'J', u32(-1), 'K', 0, 'tb');
}

export function array(
  { dtype, shape, data }: Pick<NdArray, 'dtype' | 'shape' | 'data'>,
  order = 0x89,
): Buffer {
  const made = bytes(
    global('numpy._core.multiarray', '_reconstruct'),
    global('numpy', 'ndarray'),
    'K',
    0,
    0x85,
    'C',
    1,
    'b',
    0x87,
    'R',
  );
  const sizes = bytes('(', ...shape.map((n) => bytes('J', u32(n))), 't');
  return bytes(made, '(', 'K', 1, sizes, dtypeOf(dtype), order, 'B', u32(data.length), data, 'tb');
}

export function scalar(dtype: string, data: Uint8Array): Buffer {
  return bytes(global('numpy._core.multiarray', 'scalar'), dtypeOf(dtype), 'C', data.length, data, 0x86, 'R');
}

/** The opcodes that push `value`. */
export function pushed(value: Plain): Buffer {
  if (value === null) return bytes('N');
  if (typeof value === 'boolean') return bytes(value ? 0x88 : 0x89);
  if (typeof value === 'string') return text(value);
  if (typeof value === 'number') return bytes('J', u32(value));
  if (value instanceof Float) {
    const double = Buffer.alloc(8);
    double.writeDoubleBE(value.value);
    return bytes('G', double);
  }
  if (value instanceof NdArray) return array(value);
  if (value instanceof Instance)
    return bytes(global('lerobot.async_inference.helpers', value.name), ')', 0x81, pushed(value.state), 'b');
  if (Array.isArray(value)) return bytes('](', ...(value as readonly Plain[]).map(pushed), 'e');
  return bytes('}(', ...Object.entries(value).flatMap(([key, item]) => [text(key), pushed(item)]), 'u');
}

export function pickle(...opcodes: (number | string | Uint8Array)[]): Buffer {
  return bytes(0x80, 4, ...opcodes, '.');
}
