/** The arithmetic of the LoRA merge. */

/**
 * Rows of `base + scale * B A`, in double precision, rounded once to float32: exact to the last bit of float32, whatever
 * the order. `base` [rows, columns] is read, `out` of the same size written (they may be the same array).
 *
 * @param loraA [r, columns]
 * @param loraB [>= firstRow + rows, r]; row `firstRow + i` belongs to row i of `base`
 */
export function addLowRank(
  base: Float32Array,
  out: Float32Array,
  columns: number,
  loraA: Float32Array,
  loraB: Float32Array,
  rank: number,
  scale: number,
  firstRow: number,
): void {
  const sums = new Float64Array(columns);
  const rows = base.length / columns;
  for (let row = 0; row < rows; row++) {
    const at = row * columns;
    for (let j = 0; j < columns; j++) sums[j] = base[at + j]!;
    let k = 0;
    for (; k + 8 <= rank; k += 8)
      addEight(sums, loraA, k * columns, columns, loraB, (firstRow + row) * rank + k, scale);
    for (; k < rank; k++) {
      const factor = scale * loraB[(firstRow + row) * rank + k]!;
      const from = k * columns;
      for (let j = 0; j < columns; j++) sums[j] = sums[j]! + factor * loraA[from + j]!;
    }
    for (let j = 0; j < columns; j++) out[at + j] = sums[j]!;
  }
}

/** Eight rows of A at once: one load and store of the sums for 16 operations. */
function addEight(
  sums: Float64Array,
  a: Float32Array,
  from: number,
  columns: number,
  b: Float32Array,
  bAt: number,
  scale: number,
): void {
  const f0 = scale * b[bAt]!;
  const f1 = scale * b[bAt + 1]!;
  const f2 = scale * b[bAt + 2]!;
  const f3 = scale * b[bAt + 3]!;
  const f4 = scale * b[bAt + 4]!;
  const f5 = scale * b[bAt + 5]!;
  const f6 = scale * b[bAt + 6]!;
  const f7 = scale * b[bAt + 7]!;
  const a1 = from + columns;
  const a2 = a1 + columns;
  const a3 = a2 + columns;
  const a4 = a3 + columns;
  const a5 = a4 + columns;
  const a6 = a5 + columns;
  const a7 = a6 + columns;
  for (let j = 0; j < columns; j++) {
    sums[j] =
      sums[j]! +
      f0 * a[from + j]! +
      f1 * a[a1 + j]! +
      f2 * a[a2 + j]! +
      f3 * a[a3 + j]! +
      f4 * a[a4 + j]! +
      f5 * a[a5 + j]! +
      f6 * a[a6 + j]! +
      f7 * a[a7 + j]!;
  }
}
