/** One safetensors file of made weights in the cache: its layout, which follows from key and shapes, and how it is written. */

import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isolated } from '../support/isolated.ts';
import { makeFolder } from '../support/makeFolder.ts';
import { putInPlace } from '../support/ownFiles.ts';
import type { OpenCheckpointOptions, Progress } from './checkpoint.ts';
import { elementCount } from './shapes.ts';
import { dtypeBytes, type TensorView } from './tensorView.ts';
import {
  append,
  type CachedLayout,
  checkCached,
  inCache,
  removeStale,
  stampWritten,
  syncFolder,
} from './weightCache.ts';

export interface WeightFile extends CachedLayout {
  readonly file: string;
  /** In the order in which they are written. */
  readonly tensors: ReadonlyMap<string, TensorView>;
}

/** @param mark what the file holds, with the version of its format and its key: part of the header */
export function weightFile(
  file: string,
  mark: string,
  entries: readonly Pick<TensorView, 'name' | 'dtype' | 'shape'>[],
): WeightFile {
  const stated: Record<string, unknown> = {};
  let at = 0;
  const sized = entries.map(({ name, dtype, shape }) => {
    const byteLength = elementCount(shape) * dtypeBytes[dtype];
    stated[name] = { dtype, shape, data_offsets: [at, at + byteLength] };
    at += byteLength;
    return { name, dtype, shape, byteLength };
  });
  // Length and JSON, padded so that the data start at a multiple of 64 bytes.
  const headerOf = (sha256: string): Buffer => {
    const __metadata__ = { format: 'pt', semanticvla: mark, sha256 };
    const json = Buffer.from(JSON.stringify({ __metadata__, ...stated }));
    const length = Math.ceil((8 + json.length) / 64) * 64 - 8;
    const header = Buffer.alloc(8 + length, ' ');
    header.writeBigUInt64LE(BigInt(length), 0);
    json.copy(header, 8);
    return header;
  };
  const headerBytes = headerOf(''.padEnd(64, '0')).length;
  const tensors = new Map<string, TensorView>();
  let offset = headerBytes;
  for (const { name, dtype, shape, byteLength } of sized) {
    tensors.set(name, { name, dtype, shape, file, offset, byteLength });
    offset += byteLength;
  }
  return { file, headerOf, headerBytes, tensors, total: offset };
}

/**
 * Writes a temporary file and puts it in place when it is complete and on disk: no lock is needed.
 *
 * @param blocks the bytes of all tensors in their order; a block may be overwritten by the next
 * @throws (rejects) CACHE_UNWRITABLE, what `blocks` throws, the signal's reason
 */
export async function writeWeightFile(
  layout: WeightFile,
  blocks: AsyncIterable<Uint8Array>,
  step: string,
  { onProgress, signal }: Pick<OpenCheckpointOptions, 'onProgress' | 'signal'>,
): Promise<void> {
  const { file, headerOf, headerBytes, total } = layout;
  signal?.throwIfAborted();
  const tell = isolated('onProgress', onProgress);
  const temporary = `${file}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`;
  const output = await inCache(temporary, async () => {
    await makeFolder(dirname(file), 0o700);
    await removeStale(dirname(file));
    return open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  });
  try {
    const hash = createHash('sha256');
    let position = headerBytes;
    for await (const block of blocks) {
      hash.update(block);
      position = await append(output, temporary, block, position);
      const done = position - headerBytes;
      tell({ step, done, total: total - headerBytes, unit: 'bytes' } satisfies Progress);
      signal?.throwIfAborted();
    }
    await append(output, temporary, headerOf(hash.digest('hex')), 0);
    await inCache(temporary, () => stampWritten(output));
    await output.close();
    const isSound = async (): Promise<boolean> => (await checkCached(file, layout, {})) === 'sound';
    await inCache(temporary, () => putInPlace(temporary, file, isSound));
    await syncFolder(dirname(file));
  } catch (error) {
    await output.close().catch(() => undefined);
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}
