/**
 * The arithmetic of weights that are not used as they lie on disk: LoRA merged, rounded to bfloat16, or both. A block of
 * rows at a time; what the reference's loaders do is in docs/weightRounding.md.
 */

import type { FileHandle } from 'node:fs/promises';
import { loadAddon } from '../addon/binding.ts';
import { roundToBfloat16, toBfloat16 } from '../support/bfloat16.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { readInto } from '../support/fileAccess.ts';
import { EntryCrc } from './entryCrc.ts';
import type { SplitTensor } from './logicalTensors.ts';
import { widenToFloat32 } from './readTensor.ts';
import { elementCount } from './shapes.ts';
import { dtypeBytes, type TensorView } from './tensorView.ts';
import type { TorchArchive } from './torchArchive.ts';

/** Bytes of float32 held at a time. */
const blockBytes = 8 * 1024 * 1024;

/**
 * How a weight is made of what lies on disk:
 * - `merged`: `W + alpha/r * B A` in float32, nothing rounded
 * - `mergedInBfloat16`: every part and every step rounded to bfloat16, as PEFT merges into a bfloat16 model
 * - `mergedOfRounded`: the parts rounded to bfloat16, the merge in float32, for a reference that never merges
 * - `rounded`: rounded to bfloat16
 */
export type WeightMaking =
  | { readonly how: 'merged' | 'mergedInBfloat16' | 'mergedOfRounded'; readonly source: SplitTensor }
  | { readonly how: 'rounded'; readonly source: TensorView };

export interface LoraScale {
  readonly rank: number;
  readonly alpha: number;
}

/** Type that it is made in. */
export function madeDtype({ how }: WeightMaking): 'F32' | 'BF16' {
  return how === 'mergedInBfloat16' || how === 'rounded' ? 'BF16' : 'F32';
}

/**
 * Bytes of the finished weight; a block may be overwritten by the next.
 * @param input the file that holds all parts  @param archive the same where it is one, for its CRCs
 * @throws TENSOR_NOT_FINITE, TORCH_ARCHIVE_INVALID; ADDON_NOT_BUILT where LoRA is merged
 */
export async function* weightBlocks(
  input: FileHandle,
  archive: TorchArchive | null,
  making: WeightMaking,
  scale: LoraScale | null,
): AsyncGenerator<Uint8Array> {
  if (making.how === 'rounded') yield* roundedBlocks(input, archive, making.source);
  else yield* mergedBlocks(input, archive, making, scale!);
}

async function* roundedBlocks(
  input: FileHandle,
  archive: TorchArchive | null,
  view: TensorView,
): AsyncGenerator<Uint8Array> {
  const crc = new EntryCrc(archive, view);
  const step = (blockBytes / dtypeBytes.F32) * dtypeBytes[view.dtype];
  for (let at = 0; at < view.byteLength; at += step) {
    const bytes = new Uint8Array(Math.min(step, view.byteLength - at));
    await readInto(input, bytes, view.offset + at, view.file, 'TENSOR_SHAPE');
    crc.update(bytes);
    const halves = toBfloat16(widenToFloat32(view, bytes));
    if (!areFinite(halves)) throw notFinite(view.file, view.name, 'weights that bfloat16 holds');
    yield new Uint8Array(halves.buffer);
  }
  crc.finish();
}

async function* mergedBlocks(
  input: FileHandle,
  archive: TorchArchive | null,
  { how, source }: Exclude<WeightMaking, { how: 'rounded' }>,
  { rank, alpha }: LoraScale,
): AsyncGenerator<Uint8Array> {
  const { name, base } = source;
  const out = base.shape[0]!;
  const columns = elementCount(base.shape) / out;
  const rowsAtOnce = Math.min(out, Math.max(1, Math.floor(blockBytes / (columns * dtypeBytes.F32))));
  const { addLowRank } = loadAddon();
  const loraA = await readWhole(input, archive, source.loraA);
  const loraB = await readWhole(input, archive, source.loraB);
  if (how !== 'merged') [loraA, loraB].forEach(roundToBfloat16);
  const inSteps = how === 'mergedInBfloat16';
  const factors = inSteps ? loraB : loraB.map((value) => (alpha / rank) * value);
  const crc = new EntryCrc(archive, base);
  const rowBytes = columns * dtypeBytes[base.dtype];
  // used for every block
  const allBytes = new Uint8Array(rowsAtOnce * rowBytes);
  const room = new Float32Array(base.dtype === 'BF16' ? rowsAtOnce * columns : 0);
  const allSums = new Float32Array(inSteps ? rowsAtOnce * columns : 0);
  for (let row = 0; row < out; row += rowsAtOnce) {
    const rows = Math.min(rowsAtOnce, out - row);
    const bytes = allBytes.subarray(0, rows * rowBytes);
    await readInto(input, bytes, base.offset + row * rowBytes, base.file, 'TORCH_ARCHIVE_INVALID');
    crc.update(bytes);
    const weights = widenToFloat32(base, bytes, room.subarray(0, rows * columns));
    if (how !== 'merged') roundToBfloat16(weights);
    const sums = inSteps ? allSums.subarray(0, weights.length).fill(0) : weights;
    const sumsAreFinite = addLowRank(sums, loraA, factors.subarray(row * rank, (row + rows) * rank), rank);
    const made = inSteps ? addInBfloat16(weights, sums, alpha / rank) : sums;
    const isSound = made instanceof Uint16Array ? areFinite(made) : sumsAreFinite;
    if (!isSound) throw notFinite(base.file, name, 'finite weights after the LoRA merge');
    yield new Uint8Array(made.buffer, made.byteOffset, made.byteLength);
  }
  crc.finish();
}

/** `weights + scale * sums` as PyTorch computes it on bfloat16 tensors: each operation in float32, its result rounded. */
function addInBfloat16(weights: Float32Array, sums: Float32Array, scale: number): Uint16Array<ArrayBuffer> {
  const factor = Math.fround(scale);
  roundToBfloat16(sums);
  for (let i = 0; i < sums.length; i++) sums[i] = sums[i]! * factor;
  roundToBfloat16(sums);
  for (let i = 0; i < sums.length; i++) sums[i] = weights[i]! + sums[i]!;
  return toBfloat16(sums);
}

/** All exponent bits set means infinite or NaN. */
function areFinite(halves: Uint16Array): boolean {
  for (let i = 0; i < halves.length; i++) if ((halves[i]! & 0x7f80) === 0x7f80) return false;
  return true;
}

function notFinite(file: string, name: string, expected: string): SemanticVlaError {
  return new SemanticVlaError(
    'TENSOR_NOT_FINITE',
    `${file}: ${name}: expected ${expected}, found NaN or Infinity. The training run diverged or the file is damaged.`,
  );
}

async function readWhole(
  input: FileHandle,
  archive: TorchArchive | null,
  view: TensorView,
): Promise<Float32Array> {
  const bytes = new Uint8Array(view.byteLength);
  await readInto(input, bytes, view.offset, view.file, 'TORCH_ARCHIVE_INVALID');
  const crc = new EntryCrc(archive, view);
  crc.update(bytes);
  crc.finish();
  return widenToFloat32(view, bytes);
}
