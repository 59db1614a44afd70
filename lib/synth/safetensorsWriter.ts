/**
 * Sharded safetensors as `save_pretrained` writes them: shards are filled greedily in module order up to `maxShardBytes`, names
 * are sorted within a shard, the data follow the header without gaps, and the header is padded with spaces to 8 bytes.
 */

import { join } from 'node:path';
import { type BufferPool, FileSink, type FileSinkOptions } from './fileSink.ts';
import { type PlannedTensor, type TensorFiller, tensorBytes, totalBytes } from './tensorPlan.ts';

export interface PlannedShard {
  readonly file: string;
  /** In file order. */
  readonly tensors: readonly PlannedTensor[];
}

/**
 * Splits `tensors` (module order) into shards of at most `maxShardBytes` data bytes; a larger tensor gets a shard of its own.
 */
export function planShards(tensors: readonly PlannedTensor[], maxShardBytes: number): PlannedShard[] {
  const groups: PlannedTensor[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const tensor of tensors) {
    const size = tensorBytes(tensor);
    if (bytes + size > maxShardBytes) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(tensor);
    bytes += size;
  }
  const digits = (n: number) => String(n).padStart(5, '0');
  return groups.map((group, i) => ({
    file: `model-${digits(i + 1)}-of-${digits(groups.length)}.safetensors`,
    tensors: group.sort((a, b) => (a.name < b.name ? -1 : 1)),
  }));
}

/** Length prefix and JSON header, padded so that the data start at a multiple of 8. */
export function safetensorsHeader(tensors: readonly PlannedTensor[]): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const tensor of tensors) {
    const end = offset + tensorBytes(tensor);
    header[tensor.name] = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8;
  const bytes = Buffer.alloc(8 + padded, ' ');
  bytes.writeBigUInt64LE(BigInt(padded), 0);
  json.copy(bytes, 8);
  return bytes;
}

/** `model.safetensors.index.json` of the shards. */
export function shardIndex(shards: readonly PlannedShard[]): object {
  const entries = shards.flatMap(({ file, tensors }) => tensors.map(({ name }) => [name, file] as const));
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    metadata: { total_size: totalBytes(shards.flatMap(({ tensors }) => tensors)) },
    weight_map: Object.fromEntries(entries),
  };
}

/** Writes one shard into `folder`; returns its size. Rejects with the signal's reason or OUTPUT_*. */
export async function writeSafetensors(
  folder: string,
  shard: PlannedShard,
  filler: (tensor: PlannedTensor) => TensorFiller,
  pool: BufferPool,
  options: FileSinkOptions = {},
): Promise<number> {
  const sink = await FileSink.create(join(folder, shard.file), pool, options);
  try {
    await sink.write(safetensorsHeader(shard.tensors));
    for (const tensor of shard.tensors) await sink.fill(tensorBytes(tensor), filler(tensor));
  } catch (error) {
    await sink.abandon();
    throw error;
  }
  return sink.close();
}
