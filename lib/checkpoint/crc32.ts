/** CRC-32 as ZIP uses it (polynomial 0xEDB88320), updatable. Node has one, from 20.15 on; before, the one below. */

import * as zlib from 'node:zlib';

/** Eight tables, so that eight bytes are taken at once ("slicing by 8"). */
const tables = makeTables();

/** CRC of `bytes`, continuing from `previous` (0 to start). Unsigned 32-bit. */
export const crc32: (bytes: Uint8Array, previous?: number) => number = zlib.crc32 ?? tableCrc32;

/** The same without help from Node. */
export function tableCrc32(bytes: Uint8Array, previous = 0): number {
  let crc = ~previous;
  let i = 0;
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  for (const end = bytes.length - 7; i < end; i += 8) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc =
      t7[crc & 0xff]! ^
      t6[(crc >>> 8) & 0xff]! ^
      t5[(crc >>> 16) & 0xff]! ^
      t4[crc >>> 24]! ^
      t3[bytes[i + 4]!]! ^
      t2[bytes[i + 5]!]! ^
      t1[bytes[i + 6]!]! ^
      t0[bytes[i + 7]!]!;
  }
  for (; i < bytes.length; i++) crc = t0[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

function makeTables(): Int32Array[] {
  const out = Array.from({ length: 8 }, () => new Int32Array(256));
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    out[0]![n] = c;
  }
  for (let n = 0; n < 256; n++) {
    for (let k = 1; k < 8; k++) {
      const before = out[k - 1]![n]!;
      out[k]![n] = out[0]![before & 0xff]! ^ (before >>> 8);
    }
  }
  return out;
}
