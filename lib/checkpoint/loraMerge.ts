/**
 * Weights that are not used as stored (LoRA merged, rounded to bfloat16: weightBlocks.ts), made once per
 * checkpoint into one safetensors file in the cache. Its header follows from the key, the shapes and a digest of the data,
 * so a cached file is trusted only if every byte is what this code wrote (weightCache.ts).
 */

import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { openRegular } from '../support/fileAccess.ts';
import type { CheckpointSources, OpenCheckpointOptions } from './checkpoint.ts';
import { JsonFields } from './jsonFields.ts';
import { fileOf, isSplit, type SplitTensor } from './logicalTensors.ts';
import { elementCount } from './shapes.ts';
import type { TensorView } from './tensorView.ts';
import type { TorchArchive } from './torchArchive.ts';
import { type LoraScale, madeDtype, type WeightMaking, weightBlocks } from './weightBlocks.ts';
import { checkCached, digestOf, trimCache } from './weightCache.ts';
import { weightFile, writeWeightFile } from './weightFile.ts';

/** Part of the key: a change of layout or arithmetic makes new files. */
const formatVersion = 4;

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
 * Returns the cached result, or makes it now.
 *
 * @param archives all that were opened  @param scale null when nothing is merged
 * @throws LORA_INVALID, TORCH_ARCHIVE_INVALID, TENSOR_NOT_FINITE, CACHE_UNWRITABLE; ADDON_NOT_BUILT where LoRA is merged;
 *   the signal's reason
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
  const entries = sorted.map((making) => {
    const { name, shape } = making.source;
    return { name, dtype: madeDtype(making), shape };
  });
  const made = weightFile(file, `weights ${formatVersion} ${key}`, entries);
  const { tensors } = made;
  const state = await checkCached(file, made, options);
  const fromCache = state === 'sound';
  if (typeof state === 'object') {
    options.onNotice?.({
      code: 'MERGE_RENEWED',
      message: `${file}: expected ${state.expected}, found ${state.found}. The weights are made again.`,
    });
  }
  if (!fromCache) {
    const step = scale === null ? 'round weights' : 'merge LoRA';
    await writeWeightFile(made, madeBlocks(sorted, archives, scale), step, options);
    await trimCache(folder, file);
  }
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
    if (archive?.hasCrc === false) hash.update(await digestOf(file));
    // for an archive the names, sizes and CRCs of all entries, and its mtime; a shard's header says nothing about its content
    hash.update(JSON.stringify(archive === undefined ? [size, mtimeMs, ino] : [size, mtimeMs]));
    for (const part of archive?.fingerprint ?? []) hash.update(part);
  }
  return hash.digest('hex').slice(0, 40);
}

function filesOf(makings: readonly WeightMaking[]): string[] {
  return [...new Set(makings.map(({ source }) => fileOf(source)))].sort();
}

/** The finished weights, one after the other. */
async function* madeBlocks(
  makings: readonly WeightMaking[],
  archives: readonly TorchArchive[],
  scale: LoraScale | null,
): AsyncGenerator<Uint8Array> {
  const inputs = new Map<string, FileHandle>();
  try {
    for (const input of filesOf(makings))
      inputs.set(input, (await openRegular(input, { missing: 'CHECKPOINT_FILE_MISSING' })).handle);
    for (const making of makings) {
      const input = fileOf(making.source);
      const archive = archives.find((candidate) => candidate.file === input) ?? null;
      yield* weightBlocks(inputs.get(input)!, archive, making, scale);
    }
  } finally {
    for (const input of inputs.values()) await input.close();
  }
}
