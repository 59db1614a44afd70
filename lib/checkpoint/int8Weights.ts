/**
 * Weights in 8 bits, made once per checkpoint into a file of the cache beside the merged ones (loraMerge.ts), sealed like them: a block
 * of rows at a time, so that memory holds one matrix in 8 bits and no more. The arithmetic is native/support/quantizeRows.h's.
 */

import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { loadAddon } from '../addon/binding.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { openRegular, readInto } from '../support/fileAccess.ts';
import type { Checkpoint, OpenCheckpointOptions } from './checkpoint.ts';
import { requireUnchanged } from './fileStates.ts';
import { cacheFolder } from './loraMerge.ts';
import { widenToFloat32 } from './readTensor.ts';
import { dtypeBytes, type TensorView } from './tensorView.ts';
import { checkCached, trimCache } from './weightCache.ts';
import { weightFile, writeWeightFile } from './weightFile.ts';

/** Matrices of equal width, one below the other, to be quantized as one. */
export interface QuantizedWeight {
  readonly name: string;
  /** [rows, columns] together. */
  readonly parts: readonly TensorView[];
  readonly rows: number;
  readonly columns: number;
  /** int8, or `float8`: E4M3. */
  readonly levels: 'int8' | 'float8';
  /** How levels lie: [rows, columns] as engines take them, or [columns, rows] as the CPU runtime's product does. */
  readonly byRow: boolean;
  /** Columns that are rotated together; a power of two that divides `columns`. */
  readonly block: number;
  /** Rows that are rotated together, so that outputs come rotated; divides the rows of each part. 1: none. */
  readonly rowBlock: number;
  /** [columns]: each column is multiplied by its number first, since what is multiplied with the weight lacks it. */
  readonly gamma?: TensorView;
}

/** As `levels` and `byRow` say; bytes of E4M3 as U8. */
export const levelsOf = (name: string): string => `${name}/levels`;
/** float32 [rows]. */
export const scalesOf = (name: string): string => `${name}/scales`;

export interface Int8Weights {
  /** Levels and scales by name. */
  readonly tensors: ReadonlyMap<string, TensorView>;
  readonly file: string;
  /** Of content and recipe; also names what is known of these weights (precisionGate). */
  readonly key: string;
  readonly fromCache: boolean;
}

/** Part of the key: a change of layout or arithmetic makes new files. */
const formatVersion = 1;
/** Bytes of float32 held at a time. */
const blockBytes = 8 * 1024 * 1024;

/**
 * Returns the cached result, or makes it now. No calibration data: weights alone.
 *
 * @throws (rejects) TENSOR_NOT_FINITE, CHECKPOINT_CHANGED, CACHE_UNWRITABLE, ADDON_NOT_BUILT; the signal's reason
 */
export async function makeInt8Weights(
  checkpoint: Pick<Checkpoint, 'files' | 'sources'>,
  weights: readonly QuantizedWeight[],
  options: Pick<OpenCheckpointOptions, 'cacheDir' | 'onProgress' | 'onNotice' | 'signal'>,
): Promise<Int8Weights> {
  const key = int8Key(checkpoint, weights);
  const folder = resolve(cacheFolder(options));
  const file = join(folder, `int8-${key}.safetensors`);
  const layout = weightFile(
    file,
    `int8 ${formatVersion} ${key}`,
    weights.flatMap(({ name, rows, columns, byRow, levels }) => [
      { name: scalesOf(name), dtype: 'F32' as const, shape: [rows] },
      {
        name: levelsOf(name),
        dtype: levels === 'int8' ? ('I8' as const) : ('U8' as const),
        shape: byRow ? [rows, columns] : [columns, rows],
      },
    ]),
  );
  const state = await checkCached(file, layout, options);
  if (typeof state === 'object') {
    options.onNotice?.({
      code: 'MERGE_RENEWED',
      message: `${file}: expected ${state.expected}, found ${state.found}. The weights are quantized again.`,
    });
  }
  if (state !== 'sound') {
    await writeWeightFile(layout, blocksOf(checkpoint, weights), 'quantize weights', options);
    await trimCache(folder, file);
  }
  return { tensors: layout.tensors, file, key, fromCache: state === 'sound' };
}

/** The recipe, and the files' content: by name where the name says it (merged weights), else by state. */
export function int8Key(
  { files, sources }: Pick<Checkpoint, 'files' | 'sources'>,
  weights: readonly QuantizedWeight[],
): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([formatVersion]));
  const used = new Set<string>();
  const liesOf = ({ file, dtype, offset, shape }: TensorView) => {
    used.add(file);
    return [[...used].indexOf(file), dtype, offset, shape];
  };
  for (const { name, parts, block, byRow, rowBlock, gamma, levels } of weights) {
    hash.update(JSON.stringify([name, block, parts.map(liesOf)]));
    if (byRow) hash.update(JSON.stringify([levels, rowBlock, gamma === undefined ? null : liesOf(gamma)]));
  }
  for (const file of used) {
    if (file === sources.madeWeights?.file) {
      hash.update(file.slice(file.lastIndexOf('/') + 1));
      continue;
    }
    const { size, mtimeNs, ino } = files.get(file)!;
    hash.update([size, mtimeNs, ino].join(' '));
  }
  return hash.digest('hex').slice(0, 40);
}

/** The scales of each weight, then its levels. */
async function* blocksOf(
  { files }: Pick<Checkpoint, 'files'>,
  weights: readonly QuantizedWeight[],
): AsyncGenerator<Uint8Array> {
  const inputs = new Map<string, FileHandle>();
  try {
    for (const { file } of weights.flatMap(({ parts, gamma }) => (gamma ? [...parts, gamma] : parts))) {
      if (!inputs.has(file))
        inputs.set(file, (await openRegular(file, { missing: 'CHECKPOINT_FILE_MISSING' })).handle);
    }
    for (const weight of weights) yield* quantized(inputs, weight);
    // what was read meanwhile may be of two states
    await requireUnchanged(new Map([...files].filter(([file]) => inputs.has(file))));
  } finally {
    for (const input of inputs.values()) await input.close();
  }
}

async function* quantized(
  inputs: ReadonlyMap<string, FileHandle>,
  { parts, rows, columns, levels: format, byRow, block, rowBlock, gamma }: QuantizedWeight,
): AsyncGenerator<Uint8Array> {
  const { foldRows, quantizeRows } = loadAddon();
  const factors = gamma === undefined ? null : await readVector(inputs.get(gamma.file)!, gamma);
  const levels = new Uint8Array(rows * columns);
  const scales = new Float32Array(rows);
  const blocksAtOnce = Math.floor(blockBytes / (columns * dtypeBytes.F32 * rowBlock));
  const atOnce = rowBlock * Math.max(1, blocksAtOnce);
  let done = 0;
  for (const view of parts) {
    const input = inputs.get(view.file)!;
    const rowBytes = columns * dtypeBytes[view.dtype];
    const end = view.byteLength / rowBytes;
    const bytes = new Uint8Array(Math.min(atOnce, end) * rowBytes);
    const room = new Float32Array(Math.min(atOnce, end) * columns);
    for (let row = 0; row < end; row += atOnce) {
      const count = Math.min(atOnce, end - row);
      const some = bytes.subarray(0, count * rowBytes);
      await readInto(input, some, view.offset + row * rowBytes, view.file, 'TENSOR_SHAPE');
      const floats = widenToFloat32(view, some, room.subarray(0, count * columns));
      if (factors !== null || rowBlock > 1) foldRows(floats, count, factors, rowBlock);
      if (!quantizeRows(floats, block, levels, scales, done, count, byRow, format)) {
        throw new SemanticVlaError(
          'TENSOR_NOT_FINITE',
          `${view.file}: ${view.name}: expected finite weights, found NaN or Infinity. The training run diverged or the file is damaged.`,
        );
      }
      done += count;
    }
  }
  yield new Uint8Array(scales.buffer);
  yield levels;
}

async function readVector(input: FileHandle, view: TensorView): Promise<Float32Array> {
  const bytes = new Uint8Array(view.byteLength);
  await readInto(input, bytes, view.offset, view.file, 'TENSOR_SHAPE');
  return widenToFloat32(view, bytes);
}
