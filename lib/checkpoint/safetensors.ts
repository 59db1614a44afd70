/**
 * One safetensors file: an 8-byte little-endian header length, a JSON header, then the data. Only the header is read;
 * tensors are views. The rules are those of the reference parser, plus no repeated keys and no empty tensors.
 */

import { SemanticVlaError } from '../support/errors.ts';
import { openRegular, readExactly } from '../support/fileAccess.ts';
import { foreignKind } from '../support/standIn.ts';
import {
  isJsonArray,
  isJsonObject,
  type JsonObject,
  JsonSyntaxError,
  type JsonValue,
  parseStrictJson,
} from './strictJson.ts';
import { dtypeBytes, type TensorDtype, type TensorView } from './tensorView.ts';

/** Of the header, bytes. The format allows 100 MB; a shard of this family has 0.1 MB, one of 65,536 tensors 8 MB. */
const headerCap = 32 * 1024 * 1024;
/** More than any policy has (a full-size one has 2,200 in all its shards). */
const maxTensors = 65_536;
const maxRank = 8;
/** dtypes the format defines and no policy of this family uses (quantized or unsigned weights). */
const foreignDtypes = new Set([
  'F4',
  'F6_E2M3',
  'F6_E3M2',
  'F8_E4M3',
  'F8_E5M2',
  'F8_E8M0',
  'F8_E4M3FNUZ',
  'F8_E5M2FNUZ',
  'U16',
  'U32',
  'U64',
  'C64',
]);

export interface SafetensorsFile {
  readonly file: string;
  /** By the names in the file. */
  readonly tensors: ReadonlyMap<string, TensorView>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Header bytes as they lie on disk (without the length), for comparison and digests. */
  readonly header: Buffer;
}

/** Parses the header of `file` (absolute path). SAFETENSORS_INVALID, or TENSOR_DTYPE for a dtype we do not read. */
export async function readSafetensors(file: string): Promise<SafetensorsFile> {
  const { handle, size } = await openRegular(file, {
    missing: 'CHECKPOINT_FILE_MISSING',
    invalid: 'SAFETENSORS_INVALID',
  });
  try {
    if (size < 10) throw invalid(file, `expected at least 10 bytes, found ${size}: the file is truncated`);
    // The start first: a lying length or a foreign file must not make us read 100 MB.
    const start = await readExactly(handle, 0, Math.min(size, 512), file, 'SAFETENSORS_INVALID');
    const declared = start.readBigUInt64LE(0);
    const foreign = start[8] === 0x7b ? null : foreignKind(start);
    if (foreign !== null) throw invalid(file, `expected a safetensors file, found ${foreign}`);
    if (declared > BigInt(headerCap))
      throw invalid(file, `expected a header of at most ${headerCap} bytes, found ${declared}`);
    const length = Number(declared);
    if (8 + length > size) {
      throw invalid(
        file,
        `the header says it is ${length} bytes long, but the file has ${size}: truncated or not safetensors`,
      );
    }
    if (start[8] !== 0x7b) throw invalid(file, 'expected the header to start with "{"');
    const header = await readExactly(handle, 8, length, file, 'SAFETENSORS_INVALID');
    return parseHeader(file, header, size - 8 - length);
  } finally {
    await handle.close();
  }
}

function parseHeader(file: string, header: Buffer, dataLength: number): SafetensorsFile {
  const json = parseHeaderJson(file, header);
  const tensors = new Map<string, TensorView>();
  let metadata: Readonly<Record<string, string>> = {};
  const entries = Object.entries(json);
  if (entries.length > maxTensors)
    throw invalid(file, `expected at most ${maxTensors} tensors, found ${entries.length}`);
  requireWhole(file, entries, header.length, dataLength);
  for (const [name, value] of entries) {
    if (name === '__metadata__') metadata = readMetadata(file, value);
    else tensors.set(name, readEntry(file, name, value, 8 + header.length, dataLength));
  }
  checkCoverage(file, [...tensors.values()], 8 + header.length, dataLength);
  return { file, tensors, metadata, header };
}

/** A valid header says how long the file is: the error for an incomplete download names both lengths. */
function requireWhole(
  file: string,
  entries: readonly (readonly [string, JsonValue])[],
  headerLength: number,
  dataLength: number,
): void {
  let end = 0;
  for (const [, value] of entries) {
    const offsets = isJsonObject(value) ? value.data_offsets : undefined;
    const last = isJsonArray(offsets) ? offsets[1] : undefined;
    if (isCount(last) && last > end) end = last;
  }
  if (end <= dataLength) return;
  const bytes = 8 + headerLength;
  throw invalid(
    file,
    `expected ${bytes + end} bytes by its header (data end at ${end}), but the file holds ${bytes + dataLength} (${dataLength} bytes of data): truncated, only part of it was downloaded or copied`,
  );
}

function parseHeaderJson(file: string, header: Buffer): JsonObject {
  let value: JsonValue;
  try {
    value = parseStrictJson(new TextDecoder('utf-8', { fatal: true }).decode(header));
  } catch (cause) {
    const problem = cause instanceof JsonSyntaxError ? cause.message : 'bytes that are not UTF-8';
    throw invalid(file, `expected a JSON header, found ${problem}`, cause);
  }
  if (!isJsonObject(value)) throw invalid(file, 'expected the header to be a JSON object');
  return value;
}

function readMetadata(file: string, value: JsonValue): Record<string, string> {
  if (!isJsonObject(value)) throw invalid(file, 'expected __metadata__ to be an object of strings');
  const out: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string')
      throw invalid(file, `expected __metadata__.${clip(key)} to be a string, found ${typeof text}`);
    out[key] = text;
  }
  return out;
}

function readEntry(
  file: string,
  name: string,
  value: JsonValue,
  dataStart: number,
  dataLength: number,
): TensorView {
  const where = `tensor ${clip(name)}`;
  if (name.length > 1024) throw invalid(file, `${where}: a name of ${name.length} characters`);
  if (!isJsonObject(value))
    throw invalid(file, `${where}: expected an object with dtype, shape and data_offsets`);
  for (const key of Object.keys(value)) {
    if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets')
      throw invalid(file, `${where}: unknown key ${clip(key)}`);
  }
  const dtype = readDtype(file, where, value.dtype);
  const shape = readShape(file, where, value.shape);
  const [begin, end] = readOffsets(file, where, value.data_offsets);
  if (end > dataLength)
    throw invalid(file, `${where}: its data end at ${end}, but the file holds ${dataLength} bytes of data`);
  let elements = 1;
  for (const dim of shape) {
    elements *= dim;
    // Past the data length the product can only be wrong; stopping here also keeps it exact.
    if (elements > dataLength)
      throw invalid(file, `${where}: shape [${shape.join(', ')}] is larger than the file`);
  }
  if (elements === 0) throw invalid(file, `${where}: shape [${shape.join(', ')}] has no elements`);
  const byteLength = elements * dtypeBytes[dtype];
  if (end - begin !== byteLength) {
    throw invalid(
      file,
      `${where}: ${dtype} of shape [${shape.join(', ')}] takes ${byteLength} bytes, found ${end - begin}`,
    );
  }
  return { name, dtype, shape, file, offset: dataStart + begin, byteLength };
}

function readDtype(file: string, where: string, value: JsonValue | undefined): TensorDtype {
  if (typeof value === 'string' && Object.hasOwn(dtypeBytes, value)) return value as TensorDtype;
  if (typeof value === 'string' && foreignDtypes.has(value)) {
    throw new SemanticVlaError(
      'TENSOR_DTYPE',
      `${file}: ${where}: expected one of ${Object.keys(dtypeBytes).join(', ')}, found ${value}. Quantized checkpoints are not read; export the weights as bfloat16.`,
    );
  }
  throw invalid(file, `${where}: unknown dtype ${clip(JSON.stringify(value) ?? 'none')}`);
}

function readShape(file: string, where: string, value: JsonValue | undefined): number[] {
  if (!isJsonArray(value) || value.length > maxRank) {
    throw invalid(file, `${where}: expected a shape of at most ${maxRank} dimensions`);
  }
  return value.map((dim) => {
    if (!isCount(dim)) throw invalid(file, `${where}: expected dimensions that are non-negative integers`);
    return dim;
  });
}

function readOffsets(file: string, where: string, value: JsonValue | undefined): [number, number] {
  if (!isJsonArray(value) || value.length !== 2)
    throw invalid(file, `${where}: expected data_offsets [begin, end]`);
  const [begin, end] = value;
  if (!isCount(begin) || !isCount(end) || begin > end) {
    throw invalid(file, `${where}: expected data_offsets of two ascending non-negative integers`);
  }
  return [begin, end];
}

/** Every byte of the data belongs to exactly one tensor: no overlap, no hole, nothing after the last. */
function checkCoverage(file: string, views: TensorView[], dataStart: number, dataLength: number): void {
  views.sort((a, b) => a.offset - b.offset);
  let next = dataStart;
  for (const view of views) {
    if (view.offset < next)
      throw invalid(file, `tensor ${clip(view.name)}: its data overlap another tensor's`);
    if (view.offset > next)
      throw invalid(
        file,
        `tensor ${clip(view.name)}: ${view.offset - next} bytes before it belong to no tensor`,
      );
    next = view.offset + view.byteLength;
  }
  if (next !== dataStart + dataLength) {
    throw invalid(file, `${dataStart + dataLength - next} bytes after the last tensor belong to no tensor`);
  }
}

function isCount(value: JsonValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function clip(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}...` : text;
}

function invalid(file: string, problem: string, cause?: unknown): SemanticVlaError {
  return new SemanticVlaError(
    'SAFETENSORS_INVALID',
    `${file}: ${problem}. Copy or export the file again.`,
    cause === undefined ? undefined : { cause },
  );
}
