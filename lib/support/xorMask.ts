/**
 * The masking of WebSocket (RFC 6455, section 5.3): every byte with the byte of a key of four at its place modulo 4. Its own
 * inverse. Byte by byte, two camera images cost more than all else that a request needs.
 */

import { loadAddon } from '../binding.ts';

/**
 * Over `bytes` itself.
 * @param key its bytes as they are sent, read as a little-endian number
 * @param place of the first byte within the payload
 */
export type XorMask = (bytes: Uint8Array, key: number, place?: number) => void;

/** Up to here a call of the addon takes longer than the work. */
const fewBytes = 256;

let chosen: XorMask | undefined;

/** The addon's where it is built, by words elsewhere, such as on a robot that only asks a server. */
export function xorMask(bytes: Uint8Array, key: number, place = 0): void {
  chosen ??= choose();
  chosen(bytes, key, place);
}

function choose(): XorMask {
  try {
    const addon = loadAddon();
    return (bytes, key, place = 0) => {
      if (bytes.length < fewBytes) xorByWords(bytes, key, place);
      else addon.xorMask(bytes, rotated(key, place) | 0);
    };
  } catch {
    return xorByWords;
  }
}

/** Without the addon. */
export function xorByWords(bytes: Uint8Array, key: number, place = 0): void {
  const { buffer, byteOffset, length } = bytes;
  // Up to the first whole word of the memory that it lies in.
  const before = -byteOffset & 3;
  if (length < before + 4) {
    xorBytes(bytes, 0, length, rotated(key, place));
    return;
  }
  xorBytes(bytes, 0, before, rotated(key, place));
  const count = (length - before) >>> 2;
  const word = rotated(key, place + before);
  const words = new Int32Array(buffer, byteOffset + before, count);
  const fours = count & ~3;
  // Four a turn: half the time of one.
  for (let i = 0; i < fours; i += 4) {
    words[i]! ^= word;
    words[i + 1]! ^= word;
    words[i + 2]! ^= word;
    words[i + 3]! ^= word;
  }
  for (let i = fours; i < count; i++) words[i]! ^= word;
  xorBytes(bytes, before + 4 * count, length, word);
}

/** The key as it is for who begins at `place`. */
function rotated(key: number, place: number): number {
  const bits = (place & 3) * 8;
  return (key >>> bits) | (key << (32 - bits));
}

/** `key` is that of `from`. */
function xorBytes(bytes: Uint8Array, from: number, to: number, key: number): void {
  for (let i = from; i < to; i++) bytes[i]! ^= key >>> (((i - from) & 3) * 8);
}
