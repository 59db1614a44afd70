/**
 * A message as one WebSocket frame of a client (RFC 6455, section 5.2): masked in place, with a key that nobody can know
 * before. `ws` masks byte by byte, into a copy: for two camera images longer than a server needs for the rest.
 */

import { randomFillSync } from 'node:crypto';
import { xorMask } from '../support/xorMask.ts';

/** The end of a message, binary. */
const wholeBinary = 0x82;
const masked = 0x80;

/**
 * @param payload masked from here on
 * @returns what is sent before it
 */
export function maskFrame(payload: Uint8Array): Buffer {
  const { length } = payload;
  const lengthBytes = length < 126 ? 0 : length < 2 ** 16 ? 2 : 8;
  const head = Buffer.alloc(2 + lengthBytes + 4);
  head[0] = wholeBinary;
  if (lengthBytes === 0) head[1] = masked | length;
  else {
    head[1] = masked | (lengthBytes === 2 ? 126 : 127);
    // 6 bytes hold any length that there is memory for.
    head.writeUIntBE(length, 2 + Math.max(0, lengthBytes - 6), Math.min(lengthBytes, 6));
  }
  const keyAt = 2 + lengthBytes;
  randomFillSync(head, keyAt, 4);
  xorMask(payload, head.readUInt32LE(keyAt));
  return head;
}
