/** bfloat16, the upper half of a float32: rounding to nearest, ties to even, as PyTorch's conversions do. */

/** Rounds every number in place; a number past the largest bfloat16 becomes infinite. NaN stays NaN or becomes 0. */
export function roundToBfloat16(values: Float32Array): void {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) words[i] = rounded(words[i]!) & -0x10000;
}

/** The bit patterns of the rounded numbers. */
export function toBfloat16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) halves[i] = rounded(words[i]!) >>> 16;
  return halves;
}

/** Exact. @param out for the same number of values */
export function fromBfloat16(halves: Uint16Array, out = new Float32Array(halves.length)): Float32Array {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < halves.length; i++) words[i] = halves[i]! << 16;
  return out;
}

/** The upper half of `word`, plus a carry if the lower half is above the middle, or exactly on it and the upper half is odd. */
function rounded(word: number): number {
  return (word + 0x7fff + ((word >>> 16) & 1)) | 0;
}
