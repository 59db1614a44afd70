/** The records of a zip archive as torch writes them: stored, sizes in data descriptors, always a zip64 end record. */

export const uint32Max = 0xffffffff;
const alignment = 64;
/** A data descriptor follows; names are UTF-8. */
const flags = 0x0808;

export interface ZipEntry {
  readonly name: Buffer;
  readonly headerOffset: number;
  /** Below 4 GB. */
  readonly size: number;
  readonly crc: number;
}

/** 16 bytes after the data of each entry. */
export function dataDescriptor(crc: number, size: number): Buffer {
  const bytes = Buffer.alloc(16);
  for (const [i, value] of [0x08074b50, crc, size, size].entries()) bytes.writeUInt32LE(value, i * 4);
  return bytes;
}

/** 30 bytes, the name, and padding so that the data start at a multiple of 64. */
export function localHeader(name: Buffer, headerOffset: number): Buffer {
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

/** Central directory header; with a zip64 field when the entry begins beyond 4 GB. */
export function directoryHeader({ name, headerOffset, size, crc }: ZipEntry): Buffer {
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
export function endRecords(count: number, start: number, size: number): Buffer {
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
