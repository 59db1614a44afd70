/**
 * A `.pt` file as torch.save writes a state dict (torch >= 1.6): a ZIP archive of stored entries
 * `<stem>/data.pkl`, `<stem>/byteorder`, `<stem>/version`, `<stem>/data/<key>`. Tensors are views into the archive itself.
 */

import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { SemanticVlaError } from '../support/errors.ts';
import { openRegular, readExactly } from '../support/fileAccess.ts';
import { readPickle } from './pickle.ts';
import type { PickleTensor, PickleValue } from './pickleValues.ts';
import { dtypeBytes, type TensorDtype, type TensorView } from './tensorView.ts';
import { readZip, type ZipEntry } from './zipArchive.ts';

/** A full-size vision archive has a pickle of about 300 KB. */
const pickleCap = 4 * 1024 * 1024;
const storageDtypes: Readonly<Record<string, TensorDtype>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
};

/** Where a whole entry lies, for checking its CRC when its bytes are read anyway. */
export interface StoredEntry {
  readonly offset: number;
  readonly size: number;
  /** null: the archive was written without. */
  readonly crc32: number | null;
}

export interface TorchArchive {
  readonly file: string;
  /** By the names in the state dict. */
  readonly tensors: ReadonlyMap<string, TensorView>;
  /** The entries that hold tensor data, by offset of their first byte. */
  readonly storages: ReadonlyMap<number, StoredEntry>;
  /** Size, names, sizes and CRCs of all entries: identifies the content without reading it. */
  readonly fingerprint: readonly Buffer[];
  /** false: written without CRCs. Then the fingerprint says nothing of the data, and damage to them does not show. */
  readonly hasCrc: boolean;
  readonly size: number;
}

/**
 * Reads the directory and the pickle of `file` (absolute path). The CRCs of the pickle and of the small text entries are
 * checked here, those of tensor data when the data are read whole (LoRA merge, verifyTensors).
 * TORCH_ARCHIVE_INVALID, TORCH_ARCHIVE_FORBIDDEN.
 */
export async function readTorchArchive(file: string): Promise<TorchArchive> {
  const { handle, size } = await openRegular(file, {
    missing: 'CHECKPOINT_FILE_MISSING',
    invalid: 'TORCH_ARCHIVE_INVALID',
  });
  try {
    const { entries, directory, hasCrc } = await readZip(handle, size, file);
    const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
    if (pickles.length !== 1) {
      throw invalid(
        file,
        `expected one entry <name>/data.pkl, found ${pickles.length}: not a torch.save archive`,
      );
    }
    const stem = pickles[0]!.slice(0, -'data.pkl'.length);
    for (const name of entries.keys()) {
      if (!name.startsWith(stem)) throw invalid(file, `entry ${name} lies outside of ${stem}`);
    }
    await checkSmallEntries(handle, entries, stem, file);
    const pickle = await readEntry(handle, entries.get(`${stem}data.pkl`)!, pickleCap, file);
    const storages = new Map<number, StoredEntry>();
    for (const entry of entries.values()) {
      if (entry.name.startsWith(`${stem}data/`)) storages.set(entry.offset, entry);
    }
    const tensors = stateDict(readPickle(pickle, file), entries, stem, file);
    return { file, tensors, storages, fingerprint: [directory, pickle], hasCrc, size };
  } finally {
    await handle.close();
  }
}

async function checkSmallEntries(
  handle: FileHandle,
  entries: ReadonlyMap<string, ZipEntry>,
  stem: string,
  file: string,
): Promise<void> {
  const byteorder = entries.get(`${stem}byteorder`);
  if (byteorder !== undefined) {
    const text = (await readEntry(handle, byteorder, 16, file)).toString('latin1').trim();
    if (text !== 'little') throw invalid(file, `expected byteorder "little", found ${JSON.stringify(text)}`);
  }
  const version = entries.get(`${stem}version`);
  if (version === undefined)
    throw invalid(file, `the entry ${stem}version is missing: not a torch.save archive`);
  const text = (await readEntry(handle, version, 16, file)).toString('latin1').trim();
  // torch writes 3; lower numbers are older layouts, 4 to 10 belong to TorchScript features.
  if (text !== '3') throw invalid(file, `expected archive version 3, found ${JSON.stringify(text)}`);
}

async function readEntry(handle: FileHandle, entry: ZipEntry, cap: number, file: string): Promise<Buffer> {
  if (entry.size > cap)
    throw invalid(file, `expected entry ${entry.name} to take at most ${cap} bytes, found ${entry.size}`);
  const bytes = await readExactly(handle, entry.offset, entry.size, file, 'TORCH_ARCHIVE_INVALID');
  if (entry.crc32 !== null && crc32(bytes) !== entry.crc32)
    throw invalid(file, `the CRC of entry ${entry.name} is wrong: the file is damaged`);
  return bytes;
}

function stateDict(
  root: PickleValue,
  entries: ReadonlyMap<string, ZipEntry>,
  stem: string,
  file: string,
): Map<string, TensorView> {
  if (typeof root !== 'object' || root?.kind !== 'dict')
    throw invalid(file, 'expected the pickle to hold a dict of tensors');
  const out = new Map<string, TensorView>();
  /** Elements by storage key: two mentions of one storage must agree on its type and size. */
  const seen = new Map<string, string>();
  for (const [key, value] of root.entries) {
    const name = String(key);
    if (typeof key !== 'string' || typeof value !== 'object' || value?.kind !== 'tensor') {
      throw invalid(
        file,
        `expected a dict of tensors, found ${describe(value)} under ${JSON.stringify(name.slice(0, 120))}`,
      );
    }
    const { storage } = value;
    const said = `${storage.type} ${storage.elements}`;
    if ((seen.get(storage.key) ?? said) !== said)
      throw invalid(file, `storage ${storage.key} is described in two ways`);
    seen.set(storage.key, said);
    out.set(name, tensorView(name, value, entries.get(`${stem}data/${storage.key}`), file));
  }
  return out;
}

function tensorView(
  name: string,
  tensor: PickleTensor,
  entry: ZipEntry | undefined,
  file: string,
): TensorView {
  const { storage, offset, shape, stride } = tensor;
  const dtype = storageDtypes[storage.type];
  if (dtype === undefined) throw invalid(file, `tensor ${name}: unknown storage ${storage.type}`);
  if (entry === undefined) throw invalid(file, `tensor ${name}: its storage data/${storage.key} is missing`);
  const itemBytes = dtypeBytes[dtype];
  if (storage.elements * itemBytes !== entry.size) {
    throw invalid(
      file,
      `tensor ${name}: a storage of ${storage.elements} ${dtype} takes ${storage.elements * itemBytes} bytes, found ${entry.size}`,
    );
  }
  let elements = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    // A dimension of size 1 is never stepped over, so its stride says nothing.
    if (shape[i] !== 1 && stride[i] !== elements) {
      throw invalid(
        file,
        `tensor ${name}: expected a contiguous tensor, found shape [${shape.join(', ')}] with strides [${stride.join(', ')}]; call .contiguous() before torch.save`,
      );
    }
    elements *= shape[i]!;
    if (elements > storage.elements) break;
  }
  if (elements === 0) throw invalid(file, `tensor ${name}: shape [${shape.join(', ')}] has no elements`);
  if (offset + elements > storage.elements) {
    throw invalid(
      file,
      `tensor ${name}: shape [${shape.join(', ')}] at offset ${offset} runs past its storage of ${storage.elements}`,
    );
  }
  return {
    name,
    dtype,
    shape,
    file,
    offset: entry.offset + offset * itemBytes,
    byteLength: elements * itemBytes,
  };
}

function describe(value: PickleValue): string {
  return value === null || typeof value !== 'object' ? typeof value : value.kind;
}

function invalid(file: string, problem: string): SemanticVlaError {
  return new SemanticVlaError('TORCH_ARCHIVE_INVALID', `${file}: ${problem}. Copy or save the file again.`);
}
