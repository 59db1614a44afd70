/** Stage files: every named intermediate tensor of one prediction, as safetensors. */

import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { readTensor, widenToFloat32 } from '../checkpoint/readTensor.ts';
import { readSafetensors } from '../checkpoint/safetensors.ts';
import type { TensorView } from '../checkpoint/tensorView.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { StageTensor } from '../types.ts';

/** Named intermediate tensors of one prediction. */
export type Stages = ReadonlyMap<string, StageTensor>;

/**
 * The 8-byte length and the header. Names are sorted. Data are ordered by element size, largest first, so that every tensor is
 * aligned to its elements; the header is padded to 8 bytes.
 */
function layOut(stages: Stages): { head: Buffer; inOrder: StageTensor[] } {
  const entries = [...stages].sort(([a], [b]) => (a < b ? -1 : 1));
  const bySize = [...entries].sort(([, a], [, b]) => b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT);
  const offsets = new Map<string, [number, number]>();
  let end = 0;
  for (const [name, { data }] of bySize) {
    offsets.set(name, [end, end + data.byteLength]);
    end += data.byteLength;
  }
  const header = JSON.stringify(
    Object.fromEntries(
      entries.map(([name, { dtype, shape }]) => [name, { dtype, shape, data_offsets: offsets.get(name) }]),
    ),
  );
  const length = Math.ceil(Buffer.byteLength(header) / 8) * 8;
  const head = Buffer.alloc(8 + length, ' ');
  head.writeBigUInt64LE(BigInt(length), 0);
  head.write(header, 8);
  return { head, inOrder: bySize.map(([, tensor]) => tensor) };
}

function checkStage(name: string, { shape, data }: StageTensor): void {
  const elements = shape.reduce((product, dim) => product * dim, 1);
  if (elements !== data.length) {
    throw new SemanticVlaError(
      'STAGES_INVALID',
      `Stage "${name}": expected ${elements} elements for shape [${shape.join(', ')}], found ${data.length}.`,
    );
  }
}

/**
 * Writes `stages` to `file`, completely or not at all (a temporary file beside it, renamed at the end).
 *
 * @throws (rejects) OUTPUT_UNWRITABLE, STAGES_INVALID if a shape and its data disagree
 */
export async function writeStages(file: string, stages: Stages): Promise<void> {
  for (const [name, tensor] of stages) checkStage(name, tensor);
  const { head, inOrder } = layOut(stages);
  const partial = `${file}.${randomBytes(4).toString('hex')}.partial`;
  try {
    const handle = await open(partial, 'wx');
    try {
      await handle.writeFile(head);
      for (const { data } of inOrder) {
        await handle.writeFile(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      }
    } finally {
      await handle.close();
    }
    await rename(partial, file);
  } catch (cause) {
    await rm(partial, { force: true });
    throw new SemanticVlaError(
      'OUTPUT_UNWRITABLE',
      `${file}: expected a file that can be written, found ${(cause as Error).message}.`,
      { cause },
    );
  }
}

/** Reads one tensor as float32, int32 or uint8; wider types are narrowed if the values allow it. */
async function readStage(view: TensorView): Promise<StageTensor> {
  const tensor = await readTensor(view);
  const { shape } = tensor;
  switch (tensor.dtype) {
    case 'F32':
      return { dtype: 'F32', shape, data: tensor.data };
    case 'F64':
    case 'F16':
    case 'BF16': {
      const bytes = new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
      return { dtype: 'F32', shape, data: widenToFloat32(view, bytes) };
    }
    case 'U8':
    case 'BOOL':
      return { dtype: 'U8', shape, data: tensor.data };
    default: {
      const data = Int32Array.from(tensor.data as Int32Array | BigInt64Array, Number);
      const outside = tensor.data.findIndex(
        (value: number | bigint) => Number(value) !== (Number(value) | 0),
      );
      if (outside !== -1) {
        throw new SemanticVlaError(
          'STAGES_INVALID',
          `${view.file}: stage "${view.name}" holds ${tensor.data[outside]}, which does not fit in 32 bits.`,
        );
      }
      return { dtype: 'I32', shape, data };
    }
  }
}

/**
 * Reads a stage file written by this or another implementation.
 *
 * @throws (rejects) SAFETENSORS_INVALID, TENSOR_DTYPE, STAGES_INVALID, CHECKPOINT_FILE_MISSING
 */
export async function readStages(file: string): Promise<Map<string, StageTensor>> {
  const { tensors } = await readSafetensors(file);
  const stages = new Map<string, StageTensor>();
  for (const [name, view] of tensors) stages.set(name, await readStage(view));
  return stages;
}
