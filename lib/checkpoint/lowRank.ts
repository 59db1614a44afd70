/**
 * The arithmetic of the LoRA merge, `W + alpha/r * B A` in float32, in WebAssembly SIMD: a full-size policy takes 45 GFLOP,
 * and this is four times as fast as the same loops in JavaScript, on every machine that Node runs on. Written
 * instruction by instruction, since the package is built without a WebAssembly compiler.
 *
 * Every sum over r runs in the order of r and is then added to W, so the result does not depend on how rows are split.
 */

import { dtypeBytes } from './tensorView.ts';
import {
  advance,
  anyTrue128,
  assemble,
  type Code,
  constant,
  countDown,
  extendHigh16To32,
  extendLow16To32,
  f32x4Add,
  f32x4Mul,
  f32x4Sub,
  get,
  i32Add,
  i32Mul,
  load128,
  loadSplat32,
  or128,
  set,
  shiftLeft32,
  store128,
  whileBelow,
  zero128,
} from './wasmAssembler.ts';

/** The part of the global that is used; the type library of Node does not declare it. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
  Instance: new (module: object, imports: { env: { memory: object } }) => { readonly exports: unknown };
};

interface Exports {
  /** Adds to `rows` (a multiple of 4) of `columns` (a multiple of 8) floats; not 0 when a result is not finite. */
  addLowRank(weights: number, a: number, b: number, rows: number, columns: number, rank: number): number;
  /** Widens `count` (a multiple of 8) bfloat16 values. */
  widen(source: number, target: number, count: number): void;
}

const rowTile = 4;
const columnTile = 8;
const pageBytes = 65_536;
const alignment = 64;

/** Merges the rows of one weight at a time. Not safe for two weights at once: make one each. */
export class LowRankKernel {
  readonly #columns: number;
  /** Row length in the kernel's memory, floats. */
  readonly #stride: number;
  readonly #rank: number;
  readonly #loraB: Float32Array;
  readonly #scale: number;
  readonly #maxRows: number;
  readonly #memory: ArrayBuffer;
  readonly #exports: Exports;
  readonly #bAt: number;
  readonly #sourceAt: number;
  readonly #weightsAt: number;

  /** @param loraA [r, columns]  @param loraB [out, r]  `maxRows`: rows given at a time at most. */
  constructor(loraA: Float32Array, loraB: Float32Array, rank: number, scale: number, maxRows: number) {
    this.#columns = loraA.length / rank;
    this.#stride = roundUp(this.#columns, columnTile);
    this.#rank = rank;
    this.#loraB = loraB;
    this.#scale = scale;
    this.#maxRows = roundUp(maxRows, rowTile);
    this.#bAt = roundUp(rank * this.#stride * 4, alignment);
    this.#sourceAt = this.#bAt + roundUp(this.#maxRows * rank * 4, alignment);
    this.#weightsAt = this.#sourceAt + roundUp(this.#maxRows * this.#columns * dtypeBytes.BF16, alignment);
    const bytes = this.#weightsAt + this.#maxRows * this.#stride * 4;
    const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / pageBytes) });
    this.#memory = memory.buffer;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes()), { env: { memory } });
    this.#exports = instance.exports as Exports;
    for (let k = 0; k < rank; k++) {
      const row = loraA.subarray(k * this.#columns, (k + 1) * this.#columns);
      new Float32Array(this.#memory, k * this.#stride * 4, this.#columns).set(row);
    }
  }

  /** Where to put the bfloat16 bytes of the next rows, before `mergeBfloat16`. */
  source(rows: number): Uint8Array {
    return new Uint8Array(this.#memory, this.#sourceAt, rows * this.#columns * dtypeBytes.BF16);
  }

  /** Merges rows `firstRow ...`, whose bytes lie in `source`. The result is overwritten by the next call. */
  mergeBfloat16(firstRow: number, rows: number): MergedRows {
    const count = rows * this.#columns;
    if (this.#stride === this.#columns) {
      this.#exports.widen(this.#sourceAt, this.#weightsAt, count);
    } else {
      const halves = new Uint16Array(this.#memory, this.#sourceAt, count);
      const words = new Uint32Array(this.#memory, this.#weightsAt, rows * this.#stride);
      for (let i = 0; i < count; i++)
        words[Math.floor(i / this.#columns) * this.#stride + (i % this.#columns)] = halves[i]! << 16;
    }
    return this.#merge(firstRow, rows);
  }

  /** Merges rows `firstRow ...` given as float32 [rows, columns]. The result is overwritten by the next call. */
  mergeFloat32(firstRow: number, base: Float32Array): MergedRows {
    const rows = base.length / this.#columns;
    for (let row = 0; row < rows; row++) {
      const from = base.subarray(row * this.#columns, (row + 1) * this.#columns);
      new Float32Array(this.#memory, this.#weightsAt + row * this.#stride * 4, this.#columns).set(from);
    }
    return this.#merge(firstRow, rows);
  }

  #merge(firstRow: number, rows: number): MergedRows {
    const tiledRows = roundUp(rows, rowTile);
    if (tiledRows > this.#maxRows) throw new RangeError(`${rows} rows, but room for ${this.#maxRows}`);
    this.#packB(firstRow, rows, tiledRows);
    const weights = new Float32Array(this.#memory, this.#weightsAt, tiledRows * this.#stride);
    // Rows and columns that only fill up the tiles; what they held before must not look like a NaN of this weight.
    weights.fill(0, rows * this.#stride);
    if (this.#stride !== this.#columns) {
      for (let row = 0; row < rows; row++)
        weights.fill(0, row * this.#stride + this.#columns, (row + 1) * this.#stride);
    }
    const bad = this.#exports.addLowRank(this.#weightsAt, 0, this.#bAt, tiledRows, this.#stride, this.#rank);
    return { values: this.#packed(weights, rows), isFinite: bad === 0 };
  }

  /** B times alpha/r, four rows side by side: [rows / 4, r, 4]; rows past the end are 0. */
  #packB(firstRow: number, rows: number, tiledRows: number): void {
    const packed = new Float32Array(this.#memory, this.#bAt, tiledRows * this.#rank);
    const rank = this.#rank;
    for (let row = 0; row < tiledRows; row++) {
      const tile = (row - (row % rowTile)) * rank + (row % rowTile);
      for (let k = 0; k < rank; k++) {
        packed[tile + k * rowTile] = row < rows ? this.#scale * this.#loraB[(firstRow + row) * rank + k]! : 0;
      }
    }
  }

  #packed(weights: Float32Array, rows: number): Float32Array {
    if (this.#stride === this.#columns) return weights.subarray(0, rows * this.#columns);
    const out = new Float32Array(rows * this.#columns);
    for (let row = 0; row < rows; row++) {
      out.set(weights.subarray(row * this.#stride, row * this.#stride + this.#columns), row * this.#columns);
    }
    return out;
  }
}

export interface MergedRows {
  /** [rows, columns] */
  readonly values: Float32Array;
  readonly isFinite: boolean;
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

function moduleBytes(): Uint8Array<ArrayBuffer> {
  return assemble([
    { name: 'addLowRank', parameters: 6, results: 1, locals: [6, 13], body: addLowRankBody() },
    { name: 'widen', parameters: 3, results: 0, locals: [0, 1], body: widenBody() },
  ]);
}

/** For each tile of 4 rows and 8 columns: eight vectors of sums over r, then added to the weights. */
function addLowRankBody(): Code {
  const [weights, a, b, rows, columns, rank] = [0, 1, 2, 3, 4, 5];
  const [stride, j, aAt, bAt, k, wAt] = [6, 7, 8, 9, 10, 11];
  const sums = [12, 13, 14, 15, 16, 17, 18, 19];
  const [left, right, factor, bad, value] = [20, 21, 22, 23, 24];
  const multiplyAdd = (row: number): Code => [
    get(bAt),
    loadSplat32(4 * row),
    set(factor),
    get(sums[2 * row]!),
    get(left),
    get(factor),
    f32x4Mul,
    f32x4Add,
    set(sums[2 * row]!),
    get(sums[2 * row + 1]!),
    get(right),
    get(factor),
    f32x4Mul,
    f32x4Add,
    set(sums[2 * row + 1]!),
  ];
  /** x - x is 0 for every finite x and NaN, which has bits set, for the others. */
  const addToWeights = (sum: number, offset: number): Code => [
    get(wAt),
    get(wAt),
    load128(offset),
    get(sum),
    f32x4Add,
    set(value),
    get(value),
    store128(offset),
    get(value),
    get(value),
    f32x4Sub,
    get(bad),
    or128,
    set(bad),
  ];
  const overRank: Code = [
    get(aAt),
    load128(0),
    set(left),
    get(aAt),
    load128(16),
    set(right),
    [0, 1, 2, 3].map(multiplyAdd),
    advance(aAt, get(stride)),
    advance(bAt, constant(16)),
  ];
  const tile: Code = [
    sums.map((sum): Code => [zero128, set(sum)]),
    get(a),
    get(j),
    i32Add,
    set(aAt),
    get(b),
    set(bAt),
    get(rank),
    set(k),
    countDown(k, 1, overRank),
    get(weights),
    get(j),
    i32Add,
    set(wAt),
    [0, 1, 2, 3].map(
      (row): Code => [
        addToWeights(sums[2 * row]!, 0),
        addToWeights(sums[2 * row + 1]!, 16),
        advance(wAt, get(stride)),
      ],
    ),
    advance(j, constant(32)),
  ];
  return [
    get(columns),
    constant(4),
    i32Mul,
    set(stride),
    zero128,
    set(bad),
    countDown(rows, rowTile, [
      constant(0),
      set(j),
      whileBelow(j, stride, tile),
      advance(weights, [get(stride), constant(4), i32Mul]),
      advance(b, [get(rank), constant(16), i32Mul]),
    ]),
    get(bad),
    anyTrue128,
  ];
}

/** bfloat16 is the upper half of a float32. */
function widenBody(): Code {
  const [source, target, count, halves] = [0, 1, 2, 3];
  return countDown(count, 8, [
    get(source),
    load128(0),
    set(halves),
    get(target),
    get(halves),
    extendLow16To32,
    constant(16),
    shiftLeft32,
    store128(0),
    get(target),
    get(halves),
    extendHigh16To32,
    constant(16),
    shiftLeft32,
    store128(16),
    advance(source, constant(16)),
    advance(target, constant(32)),
  ]);
}
