/**
 * The zip archive that `torch.save` writes: stored entries only, data aligned to 64 bytes by an extra field `FB`,
 * sizes and CRC in a data descriptor after the data, a zip64 end record always, zip64 offsets in the directory beyond
 * 4 GB. Entries: data.pkl, byteorder, data/N (in the string order of N), version, .data/serialization_id.
 */

import { basename } from 'node:path';
import { SemanticVlaError } from '../errors.ts';
import { crc32 } from './crc32.ts';
import { type BufferPool, FileSink, type FileSinkOptions } from './fileSink.ts';
import { pickleStateDict } from './pickleWriter.ts';
import { type PlannedTensor, type TensorFiller, tensorBytes } from './tensorPlan.ts';

const uint32Max = 0xffffffff;
const alignment = 64;
/** Data descriptor follows, names are UTF-8. */
const flags = 0x0808;

interface Entry {
  readonly name: Buffer;
  readonly headerOffset: number;
  readonly size: number;
  readonly crc: number;
}

class ZipWriter {
  readonly #sink: FileSink;
  readonly #entries: Entry[] = [];

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
    await this.#sink.write(uint32s(0x08074b50, crc, size, size));
    this.#entries.push({ name, headerOffset, size, crc });
  }

  async addBytes(path: string, bytes: Uint8Array): Promise<void> {
    await this.add(path, bytes.length, (view, offset) =>
      view.set(bytes.subarray(offset, offset + view.length)),
    );
  }

  /** CRCs of the entries so far, as hex. */
  digest(): string {
    return this.#entries.map(({ crc }) => crc.toString(16).padStart(8, '0')).join('');
  }

  async finish(): Promise<void> {
    const start = this.#sink.position;
    for (const entry of this.#entries) await this.#sink.write(directoryHeader(entry));
    await this.#sink.write(endRecords(this.#entries.length, start, this.#sink.position - start));
  }
}

function uint32s(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, i * 4);
  return bytes;
}

/** 30 bytes, the name, and padding so that the data start at a multiple of 64. */
function localHeader(name: Buffer, headerOffset: number): Buffer {
  const before = headerOffset + 30 + name.length + 4;
  const padding = (alignment - (before % alignment)) % alignment;
  const header = Buffer.alloc(30 + name.length + 4 + padding, 'Z');
  header.fill(0, 0, 30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(flags, 6);
  header.writeUInt16LE(name.length, 26);
  header.writeUInt16LE(4 + padding, 28);
  name.copy(header, 30);
  header.write('FB', 30 + name.length);
  header.writeUInt16LE(padding, 32 + name.length);
  return header;
}

function directoryHeader({ name, headerOffset, size, crc }: Entry): Buffer {
  const far = headerOffset >= uint32Max;
  const header = Buffer.alloc(46 + name.length + (far ? 12 : 0));
  header.writeUInt32LE(0x02014b50, 0);
  header.writeUInt16LE(flags, 8);
  header.writeUInt32LE(crc, 16);
  header.writeUInt32LE(size, 20);
  header.writeUInt32LE(size, 24);
  header.writeUInt16LE(name.length, 28);
  header.writeUInt16LE(far ? 12 : 0, 30);
  header.writeUInt32LE(far ? uint32Max : headerOffset, 42);
  name.copy(header, 46);
  if (far) {
    header.writeUInt16LE(1, 46 + name.length); // zip64 extra field: the offset only
    header.writeUInt16LE(8, 48 + name.length);
    header.writeBigUInt64LE(BigInt(headerOffset), 50 + name.length);
  }
  return header;
}

/** Zip64 end record, its locator, and the plain end record. */
function endRecords(count: number, start: number, size: number): Buffer {
  const bytes = Buffer.alloc(56 + 20 + 22);
  bytes.writeUInt32LE(0x06064b50, 0);
  bytes.writeBigUInt64LE(44n, 4);
  bytes.writeUInt16LE(0x031e, 12);
  bytes.writeUInt16LE(45, 14);
  bytes.writeBigUInt64LE(BigInt(count), 24);
  bytes.writeBigUInt64LE(BigInt(count), 32);
  bytes.writeBigUInt64LE(BigInt(size), 40);
  bytes.writeBigUInt64LE(BigInt(start), 48);
  bytes.writeUInt32LE(0x07064b50, 56);
  bytes.writeBigUInt64LE(BigInt(start + size), 64);
  bytes.writeUInt32LE(1, 72);
  bytes.writeUInt32LE(0x06054b50, 76);
  bytes.writeUInt16LE(Math.min(count, 0xffff), 84);
  bytes.writeUInt16LE(Math.min(count, 0xffff), 86);
  bytes.writeUInt32LE(Math.min(size, uint32Max), 88);
  bytes.writeUInt32LE(Math.min(start, uint32Max), 92);
  return bytes;
}

/** 40 decimal digits like torch's: a hash of the names and one of the contents. */
function serializationId(names: string, contents: string): string {
  const decimal = (text: string) => {
    let hash = 0xcbf29ce484222325n;
    for (const byte of Buffer.from(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
    return hash.toString().padStart(20, '0');
  };
  return decimal(names) + decimal(contents);
}

/**
 * Writes `tensors` as a state dict, one storage each, in order. Returns the file's size. Rejects with the signal's
 * reason or OUTPUT_*; the unfinished file is left for the caller to remove.
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
