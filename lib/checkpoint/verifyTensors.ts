/**
 * Looks for NaN and Infinity in weights, and checks the CRCs of archive entries that are read whole. A 15 GB checkpoint
 * takes as long as its disk, so loading checks only the tensors where a diverged run shows first and a read costs nothing
 * (vectors, and everything small in the `.pt` files); `verifyTensors` checks all.
 */

import type { FileHandle } from 'node:fs/promises';
import { SemanticVlaError } from '../support/errors.ts';
import { openRegular, readInto } from '../support/fileAccess.ts';
import { isolated } from '../support/isolated.ts';
import type { Checkpoint, Progress } from './checkpoint.ts';
import { EntryCrc } from './entryCrc.ts';
import { isFloat } from './readTensor.ts';
import type { TensorView } from './tensorView.ts';
import { readTorchArchive, type TorchArchive } from './torchArchive.ts';

/** Bytes read at a time; a multiple of every element size. */
const blockBytes = 8 * 1024 * 1024;
/** Archive tensors up to this size are checked at load. */
const smallBytes = 1024 * 1024;

export interface VerifyOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

export interface VerifyReport {
  readonly tensors: number;
  readonly bytes: number;
}

/** Reads every tensor of the checkpoint. TENSOR_NOT_FINITE, TORCH_ARCHIVE_INVALID; the signal's reason. */
export async function verifyTensors(
  checkpoint: Checkpoint,
  options: VerifyOptions = {},
): Promise<VerifyReport> {
  const { visionBackbone, actionHead, proprioProjector, noisyActionProjector } = checkpoint.sources;
  const archives: TorchArchive[] = [];
  for (const file of [visionBackbone, actionHead, proprioProjector, noisyActionProjector]) {
    if (file !== null) archives.push(await readTorchArchive(file));
  }
  return scan([...checkpoint.tensors.values()], archives, options);
}

/** The part of it that loading does. */
export async function verifySmallTensors(
  tensors: Iterable<TensorView>,
  archives: readonly TorchArchive[],
  options: VerifyOptions,
): Promise<VerifyReport> {
  const files = new Set(archives.map(({ file }) => file));
  const small = [...tensors].filter(
    (view) => view.shape.length < 2 || (files.has(view.file) && view.byteLength <= smallBytes),
  );
  return scan(small, archives, options);
}

async function scan(
  views: readonly TensorView[],
  archives: readonly TorchArchive[],
  { signal, onProgress }: VerifyOptions,
): Promise<VerifyReport> {
  const tell = isolated('onProgress', onProgress);
  const byFile = new Map<string, TensorView[]>();
  for (const view of views) {
    const list = byFile.get(view.file);
    if (list === undefined) byFile.set(view.file, [view]);
    else list.push(view);
  }
  const total = views.reduce((sum, view) => sum + view.byteLength, 0);
  const buffer = new Uint8Array(Math.min(blockBytes, Math.max(8, ...views.map((view) => view.byteLength))));
  let done = 0;
  for (const [file, list] of byFile) {
    const archive = archives.find((candidate) => candidate.file === file) ?? null;
    const { handle } = await openRegular(file, { missing: 'CHECKPOINT_FILE_MISSING' });
    try {
      // In file order, so that disks read ahead.
      for (const view of list.sort((a, b) => a.offset - b.offset)) {
        await scanTensor(handle, view, archive, buffer, signal);
        done += view.byteLength;
        tell({ step: 'verify', done, total, unit: 'bytes' });
      }
    } finally {
      await handle.close();
    }
  }
  return { tensors: views.length, bytes: done };
}

async function scanTensor(
  handle: FileHandle,
  view: TensorView,
  archive: TorchArchive | null,
  buffer: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const crc = new EntryCrc(archive, view);
  for (let at = 0; at < view.byteLength; at += buffer.byteLength) {
    signal?.throwIfAborted();
    const bytes = buffer.subarray(0, Math.min(buffer.byteLength, view.byteLength - at));
    await readInto(handle, bytes, view.offset + at, view.file, 'TENSOR_SHAPE');
    crc.update(bytes);
    if (isFloat(view) && hasNonFinite(view, bytes)) {
      throw new SemanticVlaError(
        'TENSOR_NOT_FINITE',
        `${view.file}: ${view.name}: expected finite weights, found NaN or Infinity. The training run diverged or the file is damaged.`,
      );
    }
  }
  crc.finish();
}

/** All exponent bits set means NaN or Infinity, in every IEEE format. */
function hasNonFinite(view: TensorView, { buffer, byteOffset, byteLength }: Uint8Array): boolean {
  if (view.dtype === 'BF16' || view.dtype === 'F16') {
    const mask = view.dtype === 'BF16' ? 0x7f80 : 0x7c00;
    const halves = new Uint16Array(buffer, byteOffset, byteLength / 2);
    for (let i = 0; i < halves.length; i++) if ((halves[i]! & mask) === mask) return true;
    return false;
  }
  const words = new Int32Array(buffer, byteOffset, byteLength / 4);
  const [first, step, mask] = view.dtype === 'F64' ? [1, 2, 0x7ff00000] : [0, 1, 0x7f800000];
  for (let i = first; i < words.length; i += step) if ((words[i]! & mask) === mask) return true;
  return false;
}
