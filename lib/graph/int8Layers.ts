/** Which linear layers are computed in 8 bits, and how (int8.ts). */

export interface Int8Options {
  /** `all`: every linear layer that is large enough; `llm`: those of the language model's layers. */
  readonly layers: 'all' | 'llm';
  /**
   * Bits of the activations: 7 on x86 processors without VNNI, whose kernels add two products in 16 bits with saturation.
   * Two products of 7 and 8 bits fit.
   */
  readonly activationBits: 7 | 8;
  /** Compute both and publish how far apart they are, under `errorPrefix`; what goes on is float32. */
  readonly compares: boolean;
}

/** Below these sizes a layer gains nothing, or a rotation spreads too little. */
const leastSize = 32;
const leastBlock = 16;
/** Columns whose 8-bit products, each up to 2^15, always fit an int32 sum. */
const mostColumns = 2 ** 16 - 1;
/** Largest block that is rotated. */
const largestBlock = 64;

/** Whether a layer of this weight is one of those in 8 bits. @param tensor of the checkpoint */
export function isInt8({ layers }: Int8Options, tensor: string, rows: number, columns: number): boolean {
  if (Math.min(rows, columns) < leastSize || columns > mostColumns) return false;
  if (blockOf(columns) < leastBlock) return false;
  return layers === 'all' || tensor.startsWith('language_model.model.layers.');
}

/** The largest power of two that divides `columns`, at most 64. */
export function blockOf(columns: number): number {
  let block = 1;
  while (block < largestBlock && columns % (2 * block) === 0) block *= 2;
  return block;
}
