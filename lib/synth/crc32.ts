/** CRC-32 of zip archives. Node has it from 20.15 and 22.2 on; before that, a table. */

import zlib from 'node:zlib';

type T = Uint32Array;
type Tables = readonly [T, T, T, T, T, T, T, T];

const tables = makeTables();

/** Eight tables for eight bytes a step (Intel's slicing-by-8). */
function makeTables(): Tables {
  const first = new Uint32Array(256);
  for (let n = 0; n < 256; n += 1) {
    let c = n;
    for (let k = 0; k < 8; k += 1) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    first[n] = c >>> 0;
  }
  const all = [first];
  for (let t = 1; t < 8; t += 1) {
    const before = all[t - 1]!;
    all.push(Uint32Array.from(before, (c) => (c >>> 8) ^ first[c & 255]!));
  }
  return all as unknown as Tables;
}

/** Continues `crc` (0 to begin with) over `bytes`; uint32. */
export function crc32Table(bytes: Uint8Array, crc = 0): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables;
  let c = ~crc;
  let i = 0;
  for (; i + 8 <= bytes.length; i += 8) {
    c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    c =
      t7[c & 255]! ^
      t6[(c >>> 8) & 255]! ^
      t5[(c >>> 16) & 255]! ^
      t4[c >>> 24]! ^
      t3[bytes[i + 4]!]! ^
      t2[bytes[i + 5]!]! ^
      t1[bytes[i + 6]!]! ^
      t0[bytes[i + 7]!]!;
  }
  for (; i < bytes.length; i += 1) c = (c >>> 8) ^ t0[(c ^ bytes[i]!) & 255]!;
  return ~c >>> 0;
}

const native: unknown = 'crc32' in zlib ? zlib.crc32 : undefined;

/** Continues `crc` (0 to begin with) over `bytes`; uint32. */
export const crc32: (bytes: Uint8Array, crc?: number) => number =
  typeof native === 'function' ? (native as (bytes: Uint8Array, crc?: number) => number) : crc32Table;
