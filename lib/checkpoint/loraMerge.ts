/**
 * Weights that are not used as they lie on disk (LoRA merged, rounded to bfloat16: weightBlocks.ts), made once per
 * checkpoint into one safetensors file in the cache. Its header follows from the key and the shapes alone, so a cached
 * file is trusted only if header and length are byte for byte what this code would write.
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
import { openRegular, readExactly, reason } from '../support/fileAccess.ts';
import { makeFolder } from '../support/makeFolder.ts';
import type { CheckpointSources, OpenCheckpointOptions, Progress } from './checkpoint.ts';
import { JsonFields } from './jsonFields.ts';
import { fileOf, isSplit, type SplitTensor } from './logicalTensors.ts';
import { elementCount } from './shapes.ts';
import { dtypeBytes, type TensorView } from './tensorView.ts';
import type { TorchArchive } from './torchArchive.ts';
import { type LoraScale, madeDtype, type WeightMaking, weightBlocks } from './weightBlocks.ts';

/** Part of the key: a change of layout or arithmetic makes new files. */
const formatVersion = 3;
/** A temporary file that nobody has written to for so long was left by a process that was killed. */
const staleMs = 10 * 60 * 1000;

export interface MadeWeights {
  readonly tensors: ReadonlyMap<string, TensorView>;
  readonly report: NonNullable<CheckpointSources['madeWeights']>;
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

/**
 * Cached result, or makes it now.
 *
 * @param archives all that were opened  @param scale null when nothing is merged
 * @throws LORA_INVALID, TORCH_ARCHIVE_INVALID, TENSOR_NOT_FINITE, CACHE_UNWRITABLE; the signal's reason
 */
export async function makeWeights(
  makings: readonly WeightMaking[],
  archives: readonly TorchArchive[],
  scale: LoraScale | null,
  options: OpenCheckpointOptions,
): Promise<MadeWeights> {
  const sorted = [...makings].sort((a, b) => (a.source.name < b.source.name ? -1 : 1));
  const merged = sorted.filter(({ how }) => how !== 'rounded');
  for (const { source } of merged) if (isSplit(source)) checkSplit(source, scale!);
  const key = await cacheKey(archives, sorted, scale);
  const folder = resolve(cacheFolder(options));
  const file = join(folder, `weights-${key}.safetensors`);
  const { header, tensors, total } = layout(file, key, sorted);
  const fromCache = await isIntact(file, header, total);
  if (!fromCache) await write(archives, file, { header, total }, sorted, scale, options);
  const report = { file, fromCache, merged: merged.length, rounded: sorted.length - merged.length };
  return { tensors, report };
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

/** A [r, in], B [out, r], both with the trailing dimensions of a convolution flattened, against base [out, in]. */
function checkSplit({ name, base, loraA, loraB }: SplitTensor, { rank }: LoraScale): void {
  const [out = 0] = base.shape;
  const inputs = elementCount(base.shape) / out;
  const isSound =
    base.shape.length >= 2 &&
    loraA.shape[0] === rank &&
    elementCount(loraA.shape) === rank * inputs &&
    loraB.shape[0] === out &&
    loraB.shape[1] === rank &&
    elementCount(loraB.shape) === out * rank;
  if (!isSound) {
    throw new SemanticVlaError(
      'LORA_INVALID',
      `${base.file}: ${name}: expected lora_A [r, in] = [${rank}, ${inputs}] and lora_B [out, r] = [${out}, ${rank}] (r from adapter_config.json), found [${loraA.shape.join(', ')}] and [${loraB.shape.join(', ')}]. adapter_config.json belongs to another training run.`,
    );
  }
}

/** What the result depends on: how each weight is made, of which files, with which r and alpha. */
async function cacheKey(
  archives: readonly TorchArchive[],
  makings: readonly WeightMaking[],
  scale: LoraScale | null,
): Promise<string> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([formatVersion, scale?.rank, scale?.alpha]));
  for (const { how, source } of makings) {
    const lies = isSplit(source) ? null : [source.dtype, source.offset, source.shape];
    hash.update(JSON.stringify([how, source.name, lies]));
  }
  for (const file of filesOf(makings)) {
    const archive = archives.find((candidate) => candidate.file === file);
    const { mtimeMs, size, ino } = await stat(file);
    // of an archive the names, sizes and CRCs of all entries, and the time of an in-place edit; a shard tells no content
    hash.update(JSON.stringify(archive === undefined ? [size, mtimeMs, ino] : [size, mtimeMs]));
    for (const part of archive?.fingerprint ?? []) hash.update(part);
  }
  return hash.digest('hex').slice(0, 40);
}

function filesOf(makings: readonly WeightMaking[]): string[] {
  return [...new Set(makings.map(({ source }) => fileOf(source)))].sort();
}

interface Layout {
  /** Length and JSON, padded so that the data start at a multiple of 64 bytes. */
  readonly header: Buffer;
  readonly tensors: Map<string, TensorView>;
  /** File size. */
  readonly total: number;
}

function layout(file: string, key: string, makings: readonly WeightMaking[]): Layout {
  const entries: Record<string, unknown> = {
    __metadata__: { format: 'pt', semanticvla: `weights ${formatVersion} ${key}` },
  };
  let at = 0;
  for (const making of makings) {
    const { name, shape } = making.source;
    const dtype = madeDtype(making);
    const end = at + elementCount(shape) * dtypeBytes[dtype];
    entries[name] = { dtype, shape, data_offsets: [at, end] };
    at = end;
  }
  const json = Buffer.from(JSON.stringify(entries));
  const length = Math.ceil((8 + json.length) / 64) * 64 - 8;
  const header = Buffer.alloc(8 + length, ' ');
  header.writeBigUInt64LE(BigInt(length), 0);
  json.copy(header, 8);
  const tensors = new Map<string, TensorView>();
  at = header.length;
  for (const making of makings) {
    const { name, shape } = making.source;
    const dtype = madeDtype(making);
    const byteLength = elementCount(shape) * dtypeBytes[dtype];
    tensors.set(name, { name, dtype, shape, file, offset: at, byteLength });
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
  archives: readonly TorchArchive[],
  file: string,
  { header, total }: Pick<Layout, 'header' | 'total'>,
  makings: readonly WeightMaking[],
  scale: LoraScale | null,
  { onProgress, signal }: OpenCheckpointOptions,
): Promise<void> {
  signal?.throwIfAborted();
  const temporary = `${file}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`;
  const output = await inCache(temporary, async () => {
    await makeFolder(dirname(file), 0o700);
    await removeStale(dirname(file));
    return open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  });
  const inputs = new Map<string, FileHandle>();
  const step = scale === null ? 'round weights' : 'merge LoRA';
  try {
    for (const input of filesOf(makings))
      inputs.set(input, (await openRegular(input, { missing: 'CHECKPOINT_FILE_MISSING' })).handle);
    let position = await append(output, temporary, header, 0);
    for (const making of makings) {
      const input = fileOf(making.source);
      const archive = archives.find((candidate) => candidate.file === input) ?? null;
      for await (const block of weightBlocks(inputs.get(input)!, archive, making, scale)) {
        position = await append(output, temporary, block, position);
        const done = position - header.length;
        onProgress?.({ step, done, total: total - header.length, unit: 'bytes' } satisfies Progress);
        signal?.throwIfAborted();
      }
    }
    await inCache(temporary, () => output.sync());
    await output.close();
    await inCache(temporary, () => rename(temporary, file));
    await syncFolder(dirname(file));
  } catch (error) {
    await output.close().catch(() => undefined);
    await unlink(temporary).catch(() => undefined);
    throw error;
  } finally {
    for (const input of inputs.values()) await input.close();
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
    if (!/^(?:lora|weights)-[0-9a-f]+\.safetensors\.\d+\.[0-9a-f]+\.tmp$/.test(name)) continue;
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
      `${dirname(path)}: expected a writable folder with room for merged and rounded weights, found ${reason(cause)}. Set SEMANTICVLA_CACHE or the option cacheDir to a folder on a disk with space.`,
      { cause },
    );
  }
}
