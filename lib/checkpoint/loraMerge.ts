/**
 * Merges the split weights of the vision archive, `W + alpha/r * B A` (spec, Checkpoint on disk), once per checkpoint. The
 * result is one safetensors file in the cache, float32 (which holds the sum of bf16 weights and a small update exactly
 * enough; the reference rounds it to bf16). Its header follows from the key and the shapes alone, so a cached file is
 * trusted only if header and length are byte for byte what this code would write.
 *
 * No lock: every process writes a temporary file of its own and renames it into place when it is complete and on disk.
 */

import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { SemanticVlaError } from '../errors.ts';
import { openRegular, readExactly, readInto, reason } from '../support/fileAccess.ts';
import { isolated } from '../support/isolated.ts';
import { makeFolder } from '../support/makeFolder.ts';
import type { CheckpointSources, OpenCheckpointOptions, Progress } from './checkpoint.ts';
import { crc32 } from './crc32.ts';
import { JsonFields } from './jsonFields.ts';
import type { SplitTensor } from './logicalTensors.ts';
import { LowRankKernel } from './lowRank.ts';
import { widenToFloat32 } from './readTensor.ts';
import { dtypeBytes, type TensorView } from './tensorView.ts';
import type { TorchArchive } from './torchArchive.ts';

/** Part of the key: a change of layout or arithmetic makes new files. */
const formatVersion = 2;
/** Bytes of merged rows held at a time. */
const blockBytes = 8 * 1024 * 1024;
/** A temporary file that nobody has written to for so long was left by a process that was killed. */
const staleMs = 10 * 60 * 1000;

export interface LoraScale {
  readonly rank: number;
  readonly alpha: number;
}

export interface MergeResult {
  readonly tensors: ReadonlyMap<string, TensorView>;
  readonly report: NonNullable<CheckpointSources['loraMerged']>;
}

/** `r` and `lora_alpha` of lora_adapter/adapter_config.json; variants of LoRA that change the formula are refused. */
export async function readLoraScale(dir: string): Promise<LoraScale> {
  const file = join(dir, 'lora_adapter', 'adapter_config.json');
  const fields = await JsonFields.read(file, 'CHECKPOINT_FILE_MISSING', 'LORA_INVALID');
  for (const key of ['use_rslora', 'use_dora', 'fan_in_fan_out']) {
    if (fields.boolean(key, false)) throw fields.error(key, 'false (only W + alpha/r * B A is merged)');
  }
  for (const key of ['rank_pattern', 'alpha_pattern']) {
    if (fields.has(key) && Object.keys(fields.object(key).value).length > 0) {
      throw fields.error(key, 'no exceptions (one r and one lora_alpha for all layers)');
    }
  }
  return { rank: fields.integer('r', 1, 4096), alpha: fields.positive('lora_alpha') };
}

/** Cached result, or merges now. LORA_INVALID, TORCH_ARCHIVE_INVALID, TENSOR_NOT_FINITE, CACHE_UNWRITABLE; the signal's reason. */
export async function mergeLora(
  archive: TorchArchive,
  split: readonly SplitTensor[],
  scale: LoraScale,
  options: OpenCheckpointOptions,
): Promise<MergeResult> {
  const sorted = [...split].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const tensor of sorted) checkSplit(archive.file, tensor, scale);
  const key = await cacheKey(archive, sorted, scale);
  const folder = resolve(cacheFolder(options));
  const file = join(folder, `lora-${key}.safetensors`);
  const { header, tensors, total } = layout(file, key, sorted);
  const fromCache = await isIntact(file, header, total);
  if (!fromCache) await write(archive, file, header, sorted, scale, options);
  return { tensors, report: { file, tensors: sorted.length, fromCache } };
}

/** See OpenCheckpointOptions.cacheDir. */
export function cacheFolder(options: Pick<OpenCheckpointOptions, 'cacheDir'>): string {
  const { SEMANTICVLA_CACHE: own, XDG_CACHE_HOME: xdg } = process.env;
  if (options.cacheDir !== undefined) return options.cacheDir;
  if (own !== undefined && own !== '') return own;
  return xdg !== undefined && xdg !== ''
    ? join(xdg, 'semanticvla')
    : join(homedir(), '.cache', 'semanticvla');
}

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** A [r, in], B [out, r], both with the trailing dimensions of a convolution flattened, against base [out, in]. */
function checkSplit(file: string, { name, base, loraA, loraB }: SplitTensor, { rank }: LoraScale): void {
  const [out = 0] = base.shape;
  const inputs = product(base.shape) / out;
  const isSound =
    base.shape.length >= 2 &&
    loraA.shape[0] === rank &&
    product(loraA.shape) === rank * inputs &&
    loraB.shape[0] === out &&
    loraB.shape[1] === rank &&
    product(loraB.shape) === out * rank;
  if (!isSound) {
    throw new SemanticVlaError(
      'LORA_INVALID',
      `${file}: ${name}: expected lora_A [r, in] = [${rank}, ${inputs}] and lora_B [out, r] = [${out}, ${rank}] (r from adapter_config.json), found [${loraA.shape.join(', ')}] and [${loraB.shape.join(', ')}]. adapter_config.json belongs to another training run.`,
    );
  }
}

/** What the result depends on: content (names, sizes and CRCs of all entries; and the time of an in-place edit), r, alpha. */
async function cacheKey(
  archive: TorchArchive,
  split: readonly SplitTensor[],
  { rank, alpha }: LoraScale,
): Promise<string> {
  const hash = createHash('sha256');
  const { mtimeMs } = await stat(archive.file);
  hash.update(
    JSON.stringify([formatVersion, archive.size, mtimeMs, rank, alpha, split.map(({ name }) => name)]),
  );
  for (const part of archive.fingerprint) hash.update(part);
  return hash.digest('hex').slice(0, 40);
}

interface Layout {
  /** Length and JSON, padded so that the data start at a multiple of 64 bytes. */
  readonly header: Buffer;
  readonly tensors: Map<string, TensorView>;
  /** File size. */
  readonly total: number;
}

function layout(file: string, key: string, split: readonly SplitTensor[]): Layout {
  const entries: Record<string, unknown> = {
    __metadata__: { format: 'pt', semanticvla: `lora ${formatVersion} ${key}` },
  };
  let at = 0;
  for (const { name, shape } of split) {
    const end = at + product(shape) * dtypeBytes.F32;
    entries[name] = { dtype: 'F32', shape, data_offsets: [at, end] };
    at = end;
  }
  const json = Buffer.from(JSON.stringify(entries));
  const length = Math.ceil((8 + json.length) / 64) * 64 - 8;
  const header = Buffer.alloc(8 + length, ' ');
  header.writeBigUInt64LE(BigInt(length), 0);
  json.copy(header, 8);
  const tensors = new Map<string, TensorView>();
  at = header.length;
  for (const { name, shape } of split) {
    const byteLength = product(shape) * dtypeBytes.F32;
    tensors.set(name, { name, dtype: 'F32', shape, file, offset: at, byteLength });
    at += byteLength;
  }
  return { header, tensors, total: at };
}

/** Header and length exactly as expected; anything else (truncated, foreign, absent) is made again. */
async function isIntact(file: string, header: Buffer, total: number): Promise<boolean> {
  try {
    const { handle, size } = await openRegular(file, { missing: 'CHECKPOINT_FILE_MISSING' });
    try {
      if (size !== total) return false;
      return (await readExactly(handle, 0, header.length, file, 'SAFETENSORS_INVALID')).equals(header);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof SemanticVlaError) return false;
    throw error;
  }
}

async function write(
  archive: TorchArchive,
  file: string,
  header: Buffer,
  split: readonly SplitTensor[],
  scale: LoraScale,
  { onProgress, signal }: OpenCheckpointOptions,
): Promise<void> {
  signal?.throwIfAborted();
  const tell = isolated('onProgress', onProgress);
  const temporary = `${file}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`;
  const output = await inCache(temporary, async () => {
    await makeFolder(dirname(file), 0o700);
    await removeStale(dirname(file));
    return open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  });
  try {
    const { handle: input } = await openRegular(archive.file, { missing: 'CHECKPOINT_FILE_MISSING' });
    try {
      let position = await append(output, temporary, header, 0);
      const total = split.reduce((sum, { shape }) => sum + product(shape) * dtypeBytes.F32, 0);
      for (const tensor of split) {
        for await (const block of mergedBlocks(input, archive, tensor, scale)) {
          position = await append(output, temporary, block, position);
          tell({
            step: 'merge LoRA',
            done: position - header.length,
            total,
            unit: 'bytes',
          } satisfies Progress);
          signal?.throwIfAborted();
        }
      }
    } finally {
      await input.close();
    }
    await inCache(temporary, () => output.sync());
    await output.close();
    await inCache(temporary, () => rename(temporary, file));
    await syncFolder(dirname(file));
  } catch (error) {
    await output.close().catch(() => undefined);
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}

/** Rows of the merged weight, as bytes of float32, a block at a time; each block is overwritten by the next. */
async function* mergedBlocks(
  input: FileHandle,
  archive: TorchArchive,
  tensor: SplitTensor,
  { rank, alpha }: LoraScale,
): AsyncGenerator<Uint8Array> {
  const { name, base } = tensor;
  const out = base.shape[0]!;
  const columns = product(base.shape) / out;
  const rowsAtOnce = Math.min(out, Math.max(1, Math.floor(blockBytes / (columns * dtypeBytes.F32))));
  const loraA = await readWhole(input, archive, tensor.loraA);
  const loraB = await readWhole(input, archive, tensor.loraB);
  const kernel = new LowRankKernel(loraA, loraB, rank, alpha / rank, rowsAtOnce);
  const crc = new EntryCrc(archive, base);
  const rowBytes = columns * dtypeBytes[base.dtype];
  for (let row = 0; row < out; row += rowsAtOnce) {
    const rows = Math.min(rowsAtOnce, out - row);
    const bytes = base.dtype === 'BF16' ? kernel.source(rows) : new Uint8Array(rows * rowBytes);
    await readInto(input, bytes, base.offset + row * rowBytes, base.file, 'TORCH_ARCHIVE_INVALID');
    crc.update(bytes);
    const merged =
      base.dtype === 'BF16'
        ? kernel.mergeBfloat16(row, rows)
        : kernel.mergeFloat32(row, widenToFloat32(base, bytes));
    if (!merged.isFinite) {
      throw new SemanticVlaError(
        'TENSOR_NOT_FINITE',
        `${archive.file}: ${name}: expected finite weights after the LoRA merge, found NaN or Infinity. The training run diverged or the file is damaged.`,
      );
    }
    yield new Uint8Array(merged.values.buffer, merged.values.byteOffset, merged.values.byteLength);
  }
  crc.finish();
}

async function readWhole(input: FileHandle, archive: TorchArchive, view: TensorView): Promise<Float32Array> {
  const bytes = new Uint8Array(view.byteLength);
  await readInto(input, bytes, view.offset, view.file, 'TORCH_ARCHIVE_INVALID');
  const crc = new EntryCrc(archive, view);
  crc.update(bytes);
  crc.finish();
  return widenToFloat32(view, bytes);
}

/** Checks the entry's CRC along the way, where a tensor is the whole of its entry (as torch saves state dicts). */
export class EntryCrc {
  readonly #expected: number | null;
  readonly #view: TensorView;
  #crc = 0;

  constructor(archive: TorchArchive, view: TensorView) {
    const entry = archive.storages.get(view.offset);
    this.#expected = entry !== undefined && entry.size === view.byteLength ? entry.crc32 : null;
    this.#view = view;
  }

  update(bytes: Uint8Array): void {
    if (this.#expected !== null) this.#crc = crc32(bytes, this.#crc);
  }

  /** TORCH_ARCHIVE_INVALID when the bytes are not those that were saved. */
  finish(): void {
    if (this.#expected !== null && this.#crc !== this.#expected) {
      throw new SemanticVlaError(
        'TORCH_ARCHIVE_INVALID',
        `${this.#view.file}: ${this.#view.name}: the CRC of its data is wrong: the file is damaged. Copy it again.`,
      );
    }
  }
}

async function append(
  output: FileHandle,
  path: string,
  bytes: Uint8Array,
  position: number,
): Promise<number> {
  await inCache(path, async () => {
    let done = 0;
    while (done < bytes.byteLength) {
      done += (await output.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten;
    }
  });
  return position + bytes.byteLength;
}

async function removeStale(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!/^lora-[0-9a-f]+\.safetensors\.\d+\.[0-9a-f]+\.tmp$/.test(name)) continue;
    const path = join(folder, basename(name));
    const info = await stat(path).catch(() => null);
    if (info !== null && Date.now() - info.mtimeMs > staleMs) await unlink(path).catch(() => undefined);
  }
}

/** The rename itself must survive a power cut; where folders cannot be synced, it is only less durable. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY).catch(() => null);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

async function inCache<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new SemanticVlaError(
      'CACHE_UNWRITABLE',
      `${dirname(path)}: expected a writable folder with room for the merged LoRA weights, found ${reason(cause)}. Set SEMANTICVLA_CACHE or the option cacheDir to a folder on a disk with space.`,
      { cause },
    );
  }
}
