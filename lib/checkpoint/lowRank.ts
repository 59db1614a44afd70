/** The arithmetic of the LoRA merge. */

/** A and B in double precision, as the inner loop wants them: A transposed, so that both are read along r. */
export interface LowRankFactors {
  readonly rank: number;
  /** [columns, r] */
  readonly a: Float64Array;
  /** [rows, r], already times alpha/r */
  readonly b: Float64Array;
}

/** @param loraA [r, columns]  @param loraB [rows, r] */
export function lowRankFactors(
  loraA: Float32Array,
  loraB: Float32Array,
  rank: number,
  scale: number,
): LowRankFactors {
  const columns = loraA.length / rank;
  const a = new Float64Array(loraA.length);
  for (let k = 0; k < rank; k++) {
    for (let j = 0; j < columns; j++) a[j * rank + k] = loraA[k * columns + j]!;
  }
  return { rank, a, b: Float64Array.from(loraB, (value) => scale * value) };
}

/**
 * Adds rows `firstRow ...` of `B A` to `weights` [rows, columns] in place. Sums are taken in double precision and rounded
 * once to float32, so the result does not depend on how the rows are split.
 */
export function addLowRank(weights: Float32Array, firstRow: number, { rank, a, b }: LowRankFactors): void {
  const columns = a.length / rank;
  const rows = weights.length / columns;
  // Tiles of 4 x 2: eight sums stay in registers, six loads for sixteen operations.
  for (let i = 0; i < rows; i += 4) {
    for (let j = 0; j < columns; j += 2) {
      if (i + 4 <= rows && j + 2 <= columns)
        addTile(weights, i, j, columns, (firstRow + i) * rank, rank, a, b);
      else addEdge(weights, i, j, rows, columns, firstRow, rank, a, b);
    }
  }
}

function addTile(
  weights: Float32Array,
  i: number,
  j: number,
  columns: number,
  bAt: number,
  rank: number,
  a: Float64Array,
  b: Float64Array,
): void {
  const a0 = j * rank;
  const a1 = a0 + rank;
  const b1 = bAt + rank;
  const b2 = b1 + rank;
  const b3 = b2 + rank;
  let s00 = 0;
  let s01 = 0;
  let s10 = 0;
  let s11 = 0;
  let s20 = 0;
  let s21 = 0;
  let s30 = 0;
  let s31 = 0;
  for (let k = 0; k < rank; k++) {
    const x = a[a0 + k]!;
    const y = a[a1 + k]!;
    const p = b[bAt + k]!;
    const q = b[b1 + k]!;
    const r = b[b2 + k]!;
    const s = b[b3 + k]!;
    s00 += p * x;
    s01 += p * y;
    s10 += q * x;
    s11 += q * y;
    s20 += r * x;
    s21 += r * y;
    s30 += s * x;
    s31 += s * y;
  }
  const w0 = i * columns + j;
  const w1 = w0 + columns;
  const w2 = w1 + columns;
  const w3 = w2 + columns;
  weights[w0] = weights[w0]! + s00;
  weights[w0 + 1] = weights[w0 + 1]! + s01;
  weights[w1] = weights[w1]! + s10;
  weights[w1 + 1] = weights[w1 + 1]! + s11;
  weights[w2] = weights[w2]! + s20;
  weights[w2 + 1] = weights[w2 + 1]! + s21;
  weights[w3] = weights[w3]! + s30;
  weights[w3 + 1] = weights[w3 + 1]! + s31;
}

/** The part of a tile that lies inside, where a dimension is no multiple of the tile. */
function addEdge(
  weights: Float32Array,
  i: number,
  j: number,
  rows: number,
  columns: number,
  firstRow: number,
  rank: number,
  a: Float64Array,
  b: Float64Array,
): void {
  for (let row = i; row < Math.min(i + 4, rows); row++) {
    for (let column = j; column < Math.min(j + 2, columns); column++) {
      let sum = 0;
      for (let k = 0; k < rank; k++) sum += b[(firstRow + row) * rank + k]! * a[column * rank + k]!;
      weights[row * columns + column] = weights[row * columns + column]! + sum;
    }
  }
}
