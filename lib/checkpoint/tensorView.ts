/** Where a tensor is on disk. Nothing is read until its bytes are requested. */

export type TensorDtype = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL';

export interface TensorView {
  /** Canonical name (see policyTensors.ts), e.g. `vision_backbone.featurizer.blocks.0.attn.qkv.weight`. */
  readonly name: string;
  readonly dtype: TensorDtype;
  readonly shape: readonly number[];
  /** Absolute path of the file that holds the bytes: a shard, a `.pt` archive or the LoRA merge cache. */
  readonly file: string;
  /** Offset of the first byte in `file`. Data are little-endian, row-major and contiguous. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Bytes of one element. */
export const dtypeBytes: Readonly<Record<TensorDtype, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};
