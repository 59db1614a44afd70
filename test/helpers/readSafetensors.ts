/** A safetensors file as a Map; a reader independent of the one under test, for files that the tests own. */

import { readFileSync } from 'node:fs';

export interface PlainTensor {
  readonly dtype: string;
  readonly shape: number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

export function readSafetensorsFile(file: string): Map<string, PlainTensor> {
  const bytes = readFileSync(file);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const start = 8 + headerLength;
  const tensors = new Map<string, PlainTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [from, to] = entry.data_offsets;
    // a copy, so that the view is aligned
    const raw = new Uint8Array(bytes.subarray(start + from, start + to));
    const data =
      entry.dtype === 'F32'
        ? new Float32Array(raw.buffer)
        : entry.dtype === 'I32'
          ? new Int32Array(raw.buffer)
          : raw;
    tensors.set(name, { dtype: entry.dtype, shape: entry.shape, data });
  }
  return tensors;
}

/** The numbers of each tensor, whatever its type. */
export function readTensors(file: string): Map<string, Float32Array> {
  return new Map([...readSafetensorsFile(file)].map(([name, tensor]) => [name, numbers(tensor)]));
}

/** Wide types as float32: what is compared with them is no finer. */
function numbers({ dtype, data }: PlainTensor): Float32Array {
  if (dtype === 'F64') return Float32Array.from(new Float64Array(data.buffer as ArrayBuffer));
  if (dtype === 'I64') return Float32Array.from(new BigInt64Array(data.buffer as ArrayBuffer), Number);
  return Float32Array.from(data);
}
