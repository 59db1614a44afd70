/**
 * The zip archive that `torch.save` writes: stored entries only, data aligned to 64 bytes by an extra field `FB`, sizes and CRC
 * in a data descriptor after the data, always a zip64 end record, and zip64 offsets in the directory beyond 4 GB. Entries:
 * data.pkl, byteorder, data/N (N in string order), version, .data/serialization_id.
 */

import { basename } from 'node:path';
import { crc32 } from 'node:zlib';
import { SemanticVlaError } from '../support/errors.ts';
import { type BufferPool, FileSink, type FileSinkOptions } from './fileSink.ts';
import { pickleStateDict } from './pickleWriter.ts';
import { type PlannedTensor, type TensorFiller, tensorBytes } from './tensorPlan.ts';
import {
  dataDescriptor,
  directoryHeader,
  endRecords,
  localHeader,
  uint32Max,
  type ZipEntry,
} from './zipRecords.ts';

class ZipWriter {
  readonly #sink: FileSink;
  readonly #entries: ZipEntry[] = [];

  constructor(sink: FileSink) {
    this.#sink = sink;
  }

  async add(path: string, size: number, filler: TensorFiller): Promise<void> {
    if (size >= uint32Max)
      throw new SemanticVlaError(
        'OPTION_INVALID',
        `${path}: expected a tensor below 4 GB in a torch archive, found ${size} bytes. Choose smaller dimensions.`,
      );
    const name = Buffer.from(path);
    const headerOffset = this.#sink.position;
    await this.#sink.write(localHeader(name, headerOffset));
    let crc = 0;
    await this.#sink.fill(size, (view, offset) => {
      filler(view, offset);
      crc = crc32(view, crc);
    });
    await this.#sink.write(dataDescriptor(crc, size));
    this.#entries.push({ name, headerOffset, size, crc });
  }

  async addBytes(path: string, bytes: Uint8Array): Promise<void> {
    await this.add(path, bytes.length, (view, offset) =>
      view.set(bytes.subarray(offset, offset + view.length)),
    );
  }

  /** CRCs of the entries so far, in hexadecimal. */
  digest(): string {
    return this.#entries.map(({ crc }) => crc.toString(16).padStart(8, '0')).join('');
  }

  async finish(): Promise<void> {
    const start = this.#sink.position;
    for (const entry of this.#entries) await this.#sink.write(directoryHeader(entry));
    await this.#sink.write(endRecords(this.#entries.length, start, this.#sink.position - start));
  }
}

/** 40 decimal digits like torch's: a hash of the names, then a hash of the contents. */
function serializationId(names: string, contents: string): string {
  const decimal = (text: string) => {
    let hash = 0xcbf29ce484222325n;
    for (const byte of Buffer.from(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
    return hash.toString().padStart(20, '0');
  };
  return decimal(names) + decimal(contents);
}

/**
 * Writes `tensors` as a state dict with one storage each, in order. Returns the size of the file. Rejects with the signal's
 * reason or OUTPUT_*; the caller has to remove the unfinished file.
 */
export async function writeTorchArchive(
  path: string,
  tensors: readonly PlannedTensor[],
  filler: (tensor: PlannedTensor) => TensorFiller,
  pool: BufferPool,
  options: FileSinkOptions = {},
): Promise<number> {
  const root = basename(path, '.pt');
  const sink = await FileSink.create(path, pool, options);
  try {
    const zip = new ZipWriter(sink);
    await zip.addBytes(
      `${root}/data.pkl`,
      pickleStateDict(tensors.map((tensor, storage) => ({ ...tensor, storage }))),
    );
    await zip.addBytes(`${root}/byteorder`, Buffer.from('little'));
    const numbered = tensors.map((tensor, storage) => ({ tensor, storage: String(storage) }));
    for (const { tensor, storage } of numbered.toSorted((a, b) => (a.storage < b.storage ? -1 : 1)))
      await zip.add(`${root}/data/${storage}`, tensorBytes(tensor), filler(tensor));
    await zip.addBytes(`${root}/version`, Buffer.from('3\n'));
    const names = tensors.map(({ name }) => name).join('\n');
    await zip.addBytes(`${root}/.data/serialization_id`, Buffer.from(serializationId(names, zip.digest())));
    await zip.finish();
  } catch (error) {
    await sink.abandon();
    throw error;
  }
  return sink.close();
}
