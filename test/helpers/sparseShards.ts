/**
 * Shards whose large tables were left out of the repository: `model-*.sparse.safetensors` is a shard whose metadata entry
 * `sparse` (JSON: name -> shape) lists tensors that consist mostly of zero rows. `NAME.rows` (I32) and `NAME.values` contain
 * the other rows, if there are any.
 */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface RawTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Owns its buffer, so typed arrays over it are aligned. */
  readonly bytes: Uint8Array;
}

const suffix = '.sparse.safetensors';

export function isSparseShard(file: string): boolean {
  return file.endsWith(suffix);
}

/**
 * Writes the whole shard of each sparse shard in `from` into `to`.
 * @returns tensors by the name of their shard
 */
export function expandShards(from: string, to: string): Map<string, Map<string, RawTensor>> {
  const shards = new Map<string, Map<string, RawTensor>>();
  for (const file of readdirSync(from).filter(isSparseShard)) {
    const shard = file.replace(suffix, '.safetensors');
    const tensors = expand(readRawShard(join(from, file)));
    writeShard(join(to, shard), tensors);
    shards.set(shard, tensors);
  }
  return shards;
}

/** The tensors that lie in a safetensors file, and what its `sparse` entry says. */
export function readRawShard(file: string): {
  tensors: Map<string, RawTensor>;
  sparse: Record<string, number[]>;
} {
  const content = readFileSync(file);
  const start = 8 + Number(content.readBigUInt64LE(0));
  const { __metadata__: metadata, ...entries } = JSON.parse(content.toString('utf8', 8, start)) as {
    __metadata__?: { sparse?: string };
  } & Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  const tensors = new Map<string, RawTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(entries)) {
    const bytes = new Uint8Array(content.subarray(start + data_offsets[0], start + data_offsets[1]));
    tensors.set(name, { dtype, shape, bytes });
  }
  return { tensors, sparse: JSON.parse(metadata?.sparse ?? '{}') as Record<string, number[]> };
}

/** Fills the rows that the sparse file left out with zeros. */
function expand({ tensors, sparse }: ReturnType<typeof readRawShard>): Map<string, RawTensor> {
  const full = new Map([...tensors].filter(([name]) => !/\.(rows|values)$/.test(name)));
  for (const [name, shape] of Object.entries(sparse)) {
    const rowBytes = 2 * shape.slice(1).reduce((a, b) => a * b, 1);
    const bytes = new Uint8Array(shape[0]! * rowBytes);
    const rows = tensors.get(`${name}.rows`);
    if (rows !== undefined) {
      const values = tensors.get(`${name}.values`)!.bytes;
      for (const [i, row] of new Int32Array(rows.bytes.buffer).entries()) {
        bytes.set(values.subarray(i * rowBytes, (i + 1) * rowBytes), row * rowBytes);
      }
    }
    full.set(name, { dtype: 'BF16', shape, bytes });
  }
  return full;
}

function writeShard(file: string, tensors: ReadonlyMap<string, RawTensor>): void {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  writeFileSync(file, Buffer.concat([length, padded, ...[...tensors.values()].map(({ bytes }) => bytes)]));
}
