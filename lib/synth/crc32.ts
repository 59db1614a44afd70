/** CRC-32 of zip archives: Node's own from 20.15 and 22.2 on, which is several times faster; before that, the table. */

import zlib from 'node:zlib';
import { crc32 as crc32Table } from '../checkpoint/crc32.ts';

const native: unknown = 'crc32' in zlib ? zlib.crc32 : undefined;

/** Continues `crc` (0 to begin with) over `bytes`; uint32. */
export const crc32: (bytes: Uint8Array, crc?: number) => number =
  typeof native === 'function' ? (native as (bytes: Uint8Array, crc?: number) => number) : crc32Table;
