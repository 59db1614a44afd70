/** Writes ZIP archives of stored entries, in which any field can be wrong. Only for tests. */

import { bytes, u32, u64 } from './pickleAssembler.ts';

export interface ZipPart {
  readonly name: string;
  readonly data: Buffer;
  /** Fields of both headers. */
  readonly method?: number;
  readonly flags?: number;
  readonly crc?: number;
  /** Fields of one header only. */
  readonly localName?: string;
  readonly localCrc?: number;
  readonly localSize?: number;
  readonly centralSize?: number;
  readonly centralCompressedSize?: number;
  readonly centralOffset?: number;
  readonly centralExtra?: Buffer;
  readonly localExtra?: Buffer;
  /** CRC and sizes after the data instead of in the local header. */
  readonly descriptor?: boolean;
}

export interface ZipLies {
  readonly zip64?: boolean;
  readonly zip64Count?: number;
  readonly zip64Offset?: number | bigint;
  readonly count?: number;
  readonly directorySize?: number;
  readonly directoryOffset?: number;
  readonly disk?: number;
  readonly comment?: string;
  readonly prefix?: Buffer;
}

/** CRC-32, bit by bit: slow, and independent of the reader's. */
export function slowCrc32(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

function u16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16LE(value & 0xffff);
  return out;
}

export function zip(parts: readonly ZipPart[], lies: ZipLies = {}): Buffer {
  const body: Buffer[] = [lies.prefix ?? Buffer.alloc(0)];
  const directory: Buffer[] = [];
  let at = body[0]!.length;
  for (const part of parts) {
    const { name, data, method = 0 } = part;
    const crc = part.crc ?? slowCrc32(data);
    const flags = (part.flags ?? 0x800) | (part.descriptor === true ? 8 : 0);
    const localName = Buffer.from(part.localName ?? name);
    const deferred = part.descriptor === true;
    const localCrc = part.localCrc ?? (deferred ? 0 : crc);
    const localSize = part.localSize ?? (deferred ? 0 : data.length);
    const localExtra = part.localExtra ?? Buffer.alloc(0);
    const local = bytes(
      u32(0x04034b50),
      u16(20),
      u16(flags),
      u16(method),
      u32(0),
      u32(localCrc),
      u32(localSize),
      u32(localSize),
      u16(localName.length),
      u16(localExtra.length),
      localName,
      localExtra,
      data,
      deferred ? bytes(u32(0x08074b50), u32(crc), u32(data.length), u32(data.length)) : Buffer.alloc(0),
    );
    const centralName = Buffer.from(name);
    const centralExtra = part.centralExtra ?? Buffer.alloc(0);
    const size = part.centralSize ?? data.length;
    directory.push(
      bytes(
        u32(0x02014b50),
        u16(20),
        u16(20),
        u16(flags),
        u16(method),
        u32(0),
        u32(crc),
        u32(part.centralCompressedSize ?? size),
        u32(size),
        u16(centralName.length),
        u16(centralExtra.length),
        u16(0),
        u16(0),
        u16(0),
        u32(0),
        u32(part.centralOffset ?? at),
        centralName,
        centralExtra,
      ),
    );
    body.push(local);
    at += local.length;
  }
  const central = Buffer.concat(directory);
  const size = lies.directorySize ?? central.length;
  const offset = lies.directoryOffset ?? at;
  const count = lies.count ?? parts.length;
  const zip64 = bytes(
    u32(0x06064b50),
    u64(44),
    u16(45),
    u16(45),
    u32(0),
    u32(0),
    u64(lies.zip64Count ?? count),
    u64(lies.zip64Count ?? count),
    u64(size),
    u64(lies.zip64Offset ?? offset),
    u32(0x07064b50),
    u32(0),
    u64(at + central.length),
    u32(1),
  );
  const saturated = lies.zip64 === true;
  const comment = Buffer.from(lies.comment ?? '');
  const end = bytes(
    u32(0x06054b50),
    u16(lies.disk ?? 0),
    u16(lies.disk ?? 0),
    u16(saturated ? 0xffff : count),
    u16(saturated ? 0xffff : count),
    u32(saturated ? 0xffffffff : size),
    u32(saturated ? 0xffffffff : offset),
    u16(comment.length),
    comment,
  );
  return Buffer.concat([...body, central, saturated ? zip64 : Buffer.alloc(0), end]);
}

export interface TorchParts {
  readonly pickle: Buffer;
  /** Entries `data/<key>`. */
  readonly data?: Readonly<Record<string, Buffer>>;
  readonly stem?: string;
  readonly byteorder?: string | null;
  readonly version?: string | null;
  /** Changes or adds entries. */
  readonly edit?: (parts: ZipPart[]) => ZipPart[];
  readonly lies?: ZipLies;
}

/** Four float32: 1, 2, 3, 4. */
export const fourFloats = Buffer.from(new Float32Array([1, 2, 3, 4]).buffer);

/** An archive as torch.save lays it out. */
export function torchArchive(options: TorchParts): Buffer {
  const stem = options.stem ?? 'archive';
  const parts: ZipPart[] = [{ name: `${stem}/data.pkl`, data: options.pickle }];
  const { byteorder = 'little', version = '3\n' } = options;
  if (byteorder !== null) parts.push({ name: `${stem}/byteorder`, data: Buffer.from(byteorder) });
  for (const [key, data] of Object.entries(options.data ?? { 0: fourFloats })) {
    parts.push({ name: `${stem}/data/${key}`, data });
  }
  if (version !== null) parts.push({ name: `${stem}/version`, data: Buffer.from(version) });
  return zip(options.edit === undefined ? parts : options.edit(parts), options.lies ?? {});
}
