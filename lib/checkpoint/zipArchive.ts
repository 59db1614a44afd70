/**
 * The part of the ZIP format that torch.save writes: stored (never compressed) entries, with or without ZIP64. Nothing is
 * extracted; an entry is a range of the file. Refused: compression, encryption, several disks, names that leave the
 * archive, duplicate names, entries that overlap, and local headers that disagree with the central directory (what one
 * reader sees must be what every reader sees).
 */

import type { FileHandle } from 'node:fs/promises';
import { SemanticVlaError } from '../support/errors.ts';
import { readExactly } from '../support/fileAccess.ts';
import { foreignKind } from '../support/standIn.ts';

/** Central directory cap, bytes: a vision archive has about 1,500 entries of about 100 bytes. */
const directoryCap = 32 * 1024 * 1024;
const maxEntries = 100_000;
const endRecordBytes = 22;
const zip64LocatorBytes = 20;
const zip64RecordBytes = 56;
const localHeaderBytes = 30;
const centralHeaderBytes = 46;
const flagEncrypted = 0x0001;
const flagDescriptor = 0x0008;
const flagUtf8 = 0x0800;

export interface ZipEntry {
  readonly name: string;
  /** null: the archive was written without. */
  readonly crc32: number | null;
  /** Offset of the first byte of the stored data in the file. */
  readonly offset: number;
  readonly size: number;
}

export interface ZipArchive {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /** Bytes of the central directory: names, sizes and CRCs of everything, so a digest of it stands for the content. */
  readonly directory: Buffer;
  /** false: written with torch.serialization.set_crc32_options(False), so damage to the data does not show. */
  readonly hasCrc: boolean;
}

interface CentralEntry extends ZipEntry {
  readonly crc32: number;
  readonly rawName: Buffer;
  readonly headerOffset: number;
  readonly flags: number;
}

/** Reads the directory of `file` and checks it against the local headers. TORCH_ARCHIVE_INVALID. */
export async function readZip(handle: FileHandle, size: number, file: string): Promise<ZipArchive> {
  const bounds = await findDirectory(handle, size, file);
  const directory = await readExactly(handle, bounds.offset, bounds.size, file, 'TORCH_ARCHIVE_INVALID');
  const central = parseDirectory(directory, bounds, file);
  // The CRC of what has bytes is 0 once in four billion times; of all entries, only where none was written.
  const hasCrc = central.length === 0 || central.some((entry) => entry.crc32 !== 0);
  const entries = new Map<string, ZipEntry>();
  const spans: { start: number; end: number; name: string }[] = [];
  for (const entry of central) {
    if (entries.has(entry.name)) throw invalid(file, `two entries named ${entry.name}`);
    const offset = await checkLocalHeader(handle, entry, bounds.offset, file);
    if (offset + entry.size > bounds.offset)
      throw invalid(file, `entry ${entry.name} runs into the central directory`);
    entries.set(entry.name, {
      name: entry.name,
      crc32: hasCrc ? entry.crc32 : null,
      offset,
      size: entry.size,
    });
    spans.push({ start: entry.headerOffset, end: offset + entry.size, name: entry.name });
  }
  spans.sort((a, b) => a.start - b.start);
  for (let i = 1; i < spans.length; i++) {
    if (spans[i]!.start < spans[i - 1]!.end) {
      throw invalid(file, `entries ${spans[i - 1]!.name} and ${spans[i]!.name} overlap`);
    }
  }
  return { entries, directory, hasCrc };
}

interface DirectoryBounds {
  readonly offset: number;
  readonly size: number;
  readonly count: number;
}

/** The end record must be the last 22 bytes: torch writes no archive comment, and a comment can hide a second archive. */
async function findDirectory(handle: FileHandle, size: number, file: string): Promise<DirectoryBounds> {
  if (size < endRecordBytes) throw invalid(file, `${size} bytes are too few for a ZIP archive`);
  const end = await readExactly(handle, size - endRecordBytes, endRecordBytes, file, 'TORCH_ARCHIVE_INVALID');
  if (end.readUInt32LE(0) !== 0x06054b50 || end.readUInt16LE(20) !== 0) {
    const start = await readExactly(handle, 0, Math.min(size, 512), file, 'TORCH_ARCHIVE_INVALID');
    const found = foreignKind(start);
    throw invalid(
      file,
      `no ZIP end record in the last 22 bytes: ${
        start.readUInt32LE(0) === 0x04034b50
          ? 'the file is truncated, only the first part of it was downloaded or copied'
          : `not written by torch.save of torch >= 1.6${found === null ? '' : `, but ${found}`}`
      }`,
    );
  }
  const count = end.readUInt16LE(10);
  const shortSize = end.readUInt32LE(12);
  const shortOffset = end.readUInt32LE(16);
  if (
    end.readUInt16LE(4) !== end.readUInt16LE(6) ||
    (end.readUInt16LE(4) !== 0 && end.readUInt16LE(4) !== 0xffff)
  ) {
    throw invalid(file, 'a ZIP archive on several disks');
  }
  if (end.readUInt16LE(8) !== count) throw invalid(file, 'the end record counts its entries in two ways');
  const locatorAt = size - endRecordBytes - zip64LocatorBytes;
  const zip64 = locatorAt >= 0 ? await readZip64(handle, locatorAt, file) : null;
  const isSaturated = count === 0xffff || shortSize === 0xffffffff || shortOffset === 0xffffffff;
  if (isSaturated && zip64 === null) throw invalid(file, 'the ZIP64 end record is missing');
  const bounds = zip64 ?? { offset: shortOffset, size: shortSize, count, end: size - endRecordBytes };
  if (zip64 !== null) {
    const agrees =
      (count === 0xffff || count === zip64.count) &&
      (shortSize === 0xffffffff || shortSize === zip64.size) &&
      (shortOffset === 0xffffffff || shortOffset === zip64.offset);
    if (!agrees) throw invalid(file, 'the ZIP64 end record and the end record disagree');
  }
  if (bounds.count > maxEntries || bounds.size > directoryCap) {
    throw invalid(file, `a central directory of ${bounds.count} entries and ${bounds.size} bytes`);
  }
  if (bounds.offset + bounds.size !== bounds.end) {
    throw invalid(file, 'the central directory does not end where the end record starts');
  }
  return bounds;
}

async function readZip64(handle: FileHandle, locatorAt: number, file: string) {
  const locator = await readExactly(handle, locatorAt, zip64LocatorBytes, file, 'TORCH_ARCHIVE_INVALID');
  if (locator.readUInt32LE(0) !== 0x07064b50) return null;
  const recordAt = safeNumber(locator.readBigUInt64LE(8), 'the ZIP64 locator', file);
  if (
    locator.readUInt32LE(4) !== 0 ||
    locator.readUInt32LE(16) > 1 ||
    recordAt + zip64RecordBytes !== locatorAt
  ) {
    throw invalid(file, 'the ZIP64 locator points elsewhere than right before itself');
  }
  const record = await readExactly(handle, recordAt, zip64RecordBytes, file, 'TORCH_ARCHIVE_INVALID');
  const isSound =
    record.readUInt32LE(0) === 0x06064b50 &&
    record.readBigUInt64LE(4) === BigInt(zip64RecordBytes - 12) &&
    record.readUInt32LE(16) === 0 &&
    record.readUInt32LE(20) === 0 &&
    record.readBigUInt64LE(24) === record.readBigUInt64LE(32);
  if (!isSound) throw invalid(file, 'a broken ZIP64 end record');
  return {
    count: safeNumber(record.readBigUInt64LE(32), 'the ZIP64 entry count', file),
    size: safeNumber(record.readBigUInt64LE(40), 'the ZIP64 directory size', file),
    offset: safeNumber(record.readBigUInt64LE(48), 'the ZIP64 directory offset', file),
    end: recordAt,
  };
}

function parseDirectory(directory: Buffer, bounds: DirectoryBounds, file: string): CentralEntry[] {
  const out: CentralEntry[] = [];
  let at = 0;
  for (let i = 0; i < bounds.count; i++) {
    if (at + centralHeaderBytes > directory.length || directory.readUInt32LE(at) !== 0x02014b50) {
      throw invalid(file, `entry ${i} of the central directory is broken`);
    }
    const nameLength = directory.readUInt16LE(at + 28);
    const extraLength = directory.readUInt16LE(at + 30);
    const commentLength = directory.readUInt16LE(at + 32);
    const next = at + centralHeaderBytes + nameLength + extraLength + commentLength;
    if (next > directory.length) throw invalid(file, `entry ${i} runs past the central directory`);
    const nameAt = at + centralHeaderBytes;
    const rawName = directory.subarray(nameAt, nameAt + nameLength);
    const extra = directory.subarray(nameAt + nameLength, nameAt + nameLength + extraLength);
    out.push(parseCentral(directory.subarray(at, nameAt), rawName, extra, file));
    at = next;
  }
  if (at !== directory.length) throw invalid(file, 'the central directory holds more than its entries');
  return out;
}

function parseCentral(header: Buffer, rawName: Buffer, extra: Buffer, file: string): CentralEntry {
  const name = checkedName(rawName, file);
  const flags = header.readUInt16LE(8);
  if ((flags & flagEncrypted) !== 0 || (flags & ~(flagDescriptor | flagUtf8)) !== 0) {
    throw invalid(file, `entry ${name} is encrypted or has unknown flags (0x${flags.toString(16)})`);
  }
  if (header.readUInt16LE(10) !== 0) {
    throw invalid(
      file,
      `entry ${name} is compressed (method ${header.readUInt16LE(10)}); torch.save stores entries plain`,
    );
  }
  if (header.readUInt16LE(34) !== 0) throw invalid(file, `entry ${name} lies on another disk`);
  const wide = zip64Fields(extra, name, file, [
    header.readUInt32LE(24),
    header.readUInt32LE(20),
    header.readUInt32LE(42),
  ]);
  const [size, compressedSize, headerOffset] = wide as [number, number, number];
  if (size !== compressedSize)
    throw invalid(file, `stored entry ${name} has two sizes, ${size} and ${compressedSize}`);
  return { name, rawName, flags, crc32: header.readUInt32LE(16), size, headerOffset, offset: -1 };
}

/** The entry's name; no absolute or parent paths, no control characters. */
function checkedName(raw: Buffer, file: string): string {
  let name: string;
  try {
    name = new TextDecoder('utf-8', { fatal: true }).decode(raw);
  } catch {
    throw invalid(file, 'an entry name that is not UTF-8');
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
  const isSound = name.length > 0 && name.length <= 512 && !/[\\\u0000-\u001f\u007f:]/.test(name);
  if (
    !isSound ||
    name.startsWith('/') ||
    name.endsWith('/') ||
    name.split('/').some((part) => part === '..' || part === '')
  ) {
    throw invalid(file, `an entry with the unsafe name ${JSON.stringify(name.slice(0, 120))}`);
  }
  return name;
}

/** Replaces saturated 32-bit fields by those of the ZIP64 extra field (id 1), which holds only these, in this order. */
function zip64Fields(extra: Buffer, name: string, file: string, fields: number[]): number[] {
  let zip64: Buffer | null = null;
  for (let at = 0; at < extra.length; ) {
    if (at + 4 > extra.length) throw invalid(file, `entry ${name} has a broken extra field`);
    const id = extra.readUInt16LE(at);
    const end = at + 4 + extra.readUInt16LE(at + 2);
    if (end > extra.length) throw invalid(file, `entry ${name} has a broken extra field`);
    if (id === 1) {
      if (zip64 !== null) throw invalid(file, `entry ${name} has two ZIP64 fields`);
      zip64 = extra.subarray(at + 4, end);
    }
    at = end;
  }
  let at = 0;
  return fields.map((field) => {
    if (field !== 0xffffffff) return field;
    if (zip64 === null || at + 8 > zip64.length) throw invalid(file, `entry ${name} lacks its ZIP64 sizes`);
    at += 8;
    return safeNumber(zip64.readBigUInt64LE(at - 8), `entry ${name}`, file);
  });
}

/** Compares the local header with the central one; returns where the data start. */
async function checkLocalHeader(
  handle: FileHandle,
  entry: CentralEntry,
  limit: number,
  file: string,
): Promise<number> {
  const fixedEnd = entry.headerOffset + localHeaderBytes + entry.rawName.length;
  if (fixedEnd > limit) throw invalid(file, `entry ${entry.name} starts outside of the archive`);
  const local = await readExactly(
    handle,
    entry.headerOffset,
    localHeaderBytes + entry.rawName.length,
    file,
    'TORCH_ARCHIVE_INVALID',
  );
  const differs =
    local.readUInt32LE(0) !== 0x04034b50 ||
    local.readUInt16LE(6) !== entry.flags ||
    local.readUInt16LE(8) !== 0 ||
    local.readUInt16LE(26) !== entry.rawName.length ||
    !local.subarray(localHeaderBytes).equals(entry.rawName);
  if (differs)
    throw invalid(file, `the local header of entry ${entry.name} differs from the central directory`);
  const extraLength = local.readUInt16LE(28);
  if (fixedEnd + extraLength > limit)
    throw invalid(file, `entry ${entry.name} starts outside of the archive`);
  const sizes = [local.readUInt32LE(22), local.readUInt32LE(18)];
  const needsExtra = sizes.includes(0xffffffff);
  const extra = needsExtra
    ? await readExactly(handle, fixedEnd, extraLength, file, 'TORCH_ARCHIVE_INVALID')
    : Buffer.alloc(0);
  const values = [local.readUInt32LE(14), ...zip64Fields(extra, entry.name, file, sizes)];
  const expected = [entry.crc32, entry.size, entry.size];
  // With a data descriptor behind the data, CRC and sizes may be left 0 here.
  const isDeferred = (entry.flags & flagDescriptor) !== 0 && values.every((value) => value === 0);
  if (!isDeferred && !values.every((value, i) => value === expected[i])) {
    throw invalid(
      file,
      `CRC or sizes of entry ${entry.name} differ between its local header and the central directory`,
    );
  }
  return fixedEnd + extraLength;
}

function safeNumber(value: bigint, what: string, file: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid(file, `${what}: ${value} is out of range`);
  return Number(value);
}

function invalid(file: string, problem: string): SemanticVlaError {
  return new SemanticVlaError('TORCH_ARCHIVE_INVALID', `${file}: ${problem}. Copy or save the file again.`);
}
