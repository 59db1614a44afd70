/**
 * Counter-based random numbers: element i of a tensor depends only on the seed, the tensor's label and i, so chunk sizes, file
 * order and shard sizes cannot change a value.
 *
 * Word j = hash(j, key): the 32-bit finalizer of the `lowbias32` family (xor-shift, multiply), with the second half of a 64-bit
 * key mixed in after the first round; without that, two tensors would get the same sequence, shifted. Each word gives two
 * 16-bit indices into a table of 65536 quantiles of a normal distribution, already rounded to bf16. The values are therefore
 * normal (within 4.3 standard deviations), exact in both bf16 and float32, and cheap. Not for cryptography.
 */

export interface RandomKey {
  readonly k0: number;
  readonly k1: number;
}

/** Normal distribution of a tensor's values. */
export interface Normal {
  readonly mean: number;
  readonly std: number;
}

const quantileCount = 65536;

/** 64-bit key of one tensor: two FNV-1a hashes over seed and label, finalized. */
export function randomKey(seed: number, label: string): RandomKey {
  let a = 0x811c9dc5 ^ seed;
  let b = 0xc2b2ae35 ^ Math.imul(seed, 0x9e3779b1);
  for (let i = 0; i < label.length; i += 1) {
    const c = label.charCodeAt(i);
    a = Math.imul(a ^ c, 0x01000193);
    b = Math.imul(b ^ c, 0x01000193) ^ (b >>> 13);
  }
  return { k0: finalize(a), k1: finalize(b ^ 0x5bd1e995) };
}

function finalize(value: number): number {
  let x = value | 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x21f0aaad);
  x ^= x >>> 15;
  x = Math.imul(x, 0x735a2d97);
  x ^= x >>> 15;
  return x >>> 0;
}

/** Word `index` of a key's sequence, uint32. The loop of `fillBfloat16` repeats this arithmetic inline. */
export function randomWord(key: RandomKey, index: number): number {
  let x = (index + key.k0) | 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x21f0aaad) ^ key.k1;
  x ^= x >>> 15;
  x = Math.imul(x, 0x735a2d97);
  x ^= x >>> 15;
  return x >>> 0;
}

/** Uniform in [0, 1), 32 bits. */
export function randomUniform(key: RandomKey, index: number): number {
  return randomWord(key, index) / 4294967296;
}

/** Polynomial; the coefficient of the highest power comes first. */
function horner(terms: readonly number[], x: number): number {
  return terms.reduce((sum, term) => sum * x + term, 0);
}

/** Inverse normal distribution function (Acklam's rational approximation, relative error 1.2e-9). */
function normalQuantile(p: number): number {
  const a = [
    -39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716,
    2.506628277459239,
  ];
  const b = [
    -54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572,
  ];
  const c = [
    -0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734, 4.374664141464968,
    2.938163982698783,
  ];
  const d = [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416];
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return horner(c, q) / (horner(d, q) * q + 1);
  }
  if (p > 1 - 0.02425) return -normalQuantile(1 - p);
  const q = p - 0.5;
  const r = q * q;
  return (horner(a, r) * q) / (horner(b, r) * r + 1);
}

/** Tables of bf16 bits by distribution; a model has a few dozen distinct ones, 128 KiB each. */
export class NormalTables {
  readonly #unit = new Float64Array(quantileCount);
  readonly #tables = new Map<string, Uint16Array>();

  constructor() {
    for (let i = 0; i < quantileCount; i += 1) this.#unit[i] = normalQuantile((i + 0.5) / quantileCount);
  }

  /** [65536] bf16 bits, rounded to nearest even, ascending in value. */
  get({ mean, std }: Normal): Uint16Array {
    const name = `${mean}/${std}`;
    const known = this.#tables.get(name);
    if (known !== undefined) return known;
    const values = new Float32Array(quantileCount);
    for (let i = 0; i < quantileCount; i += 1) values[i] = mean + std * this.#unit[i]!;
    const bits = new Uint32Array(values.buffer);
    const table = new Uint16Array(quantileCount);
    for (let i = 0; i < quantileCount; i += 1) {
      const word = bits[i]!;
      table[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    }
    this.#tables.set(name, table);
    return table;
  }
}

/** Fills `out` with elements `first`, `first + 1`, ... of a tensor, as bf16 bits. */
export function fillBfloat16(out: Uint16Array, first: number, key: RandomKey, table: Uint16Array): void {
  const { k0, k1 } = key;
  const count = out.length;
  let i = 0;
  if (first % 2 === 1 && count > 0) out[i++] = table[randomWord(key, (first - 1) / 2) >>> 16]!;
  let word = Math.floor((first + i) / 2);
  for (; i + 1 < count; i += 2, word += 1) {
    let x = (word + k0) | 0;
    x ^= x >>> 16;
    x = Math.imul(x, 0x21f0aaad) ^ k1;
    x ^= x >>> 15;
    x = Math.imul(x, 0x735a2d97);
    x ^= x >>> 15;
    out[i] = table[x & 0xffff]!;
    out[i + 1] = table[x >>> 16]!;
  }
  if (i < count) out[i] = table[randomWord(key, word) & 0xffff]!;
}

/** The same elements as float32 (bf16 bits in the upper half). */
export function fillFloat32(out: Uint32Array, first: number, key: RandomKey, table: Uint16Array): void {
  const count = out.length;
  let i = 0;
  if (first % 2 === 1 && count > 0) out[i++] = table[randomWord(key, (first - 1) / 2) >>> 16]! << 16;
  let index = Math.floor((first + i) / 2);
  for (; i + 1 < count; i += 2, index += 1) {
    const word = randomWord(key, index);
    out[i] = table[word & 0xffff]! << 16;
    out[i + 1] = table[word >>> 16]! << 16;
  }
  if (i < count) out[i] = table[randomWord(key, index) & 0xffff]! << 16;
}
