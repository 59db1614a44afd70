/**
 * Checks a msgpack message before anything is built from it. A decoder trusts the lengths that it reads: an array that claims
 * 30 million items costs 240 MB before the first one is found missing. Here each length is compared with the bytes that are
 * left, and depth and number of values are bounded. Extension types are refused: the protocol has none. Texts must be UTF-8,
 * which a decoder would repair silently, and a map must have each key only once, since a decoder would keep the last.
 */

import { isUtf8 } from 'node:buffer';
import { invalidRequest } from './ndarray.ts';

const maxDepth = 16;
const maxValues = 10_000;
const maxKeyBytes = 256;

/** Payload bytes of the fixed-size types with first byte 0xc0..0xd3; -1: a type of another kind. */
const fixedBytes = [0, -1, 0, 0, -1, -1, -1, -1, -1, -1, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8];

/** `text` and `bytes` are those of the item before `next`. */
type Kind = 'plain' | 'text' | 'bytes' | 'array' | 'map';
interface Item {
  readonly kind: Kind;
  /** Number of values inside an array or map; bytes of a text. */
  readonly count: number;
  /** Where the next value begins, or the first one inside. */
  readonly next: number;
}

/** @throws REQUEST_INVALID */
export function checkMsgpack(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // One entry per level.
  const open: Level[] = [{ left: 1, keys: null }];
  let values = 0;
  let at = 0;
  while (open.length > 0) {
    const level = open.at(-1)!;
    if (level.left === 0) {
      open.pop();
      continue;
    }
    const isKey = level.keys !== null && level.left % 2 === 0;
    level.left--;
    if (++values > maxValues) throw invalidRequest(`msgpack of at most ${maxValues} values`, moreValues);
    const item = readItem(view, at);
    at = item.next;
    if (at > bytes.length) throw truncated(at - bytes.length);
    if (isKey) checkKey(level.keys!, bytes, item);
    if (item.kind === 'text' && !isUtf8(bytes.subarray(at - item.count, at)))
      throw invalidRequest('text in UTF-8', 'other bytes');
    if (item.kind !== 'array' && item.kind !== 'map') continue;
    const inside = item.kind === 'map' ? 2 * item.count : item.count;
    // Each value takes at least one byte.
    if (inside > bytes.length - at) throw truncated(inside - (bytes.length - at));
    if (open.length > maxDepth) throw invalidRequest(`msgpack of at most ${maxDepth} levels`, 'more');
    open.push({ left: inside, keys: item.kind === 'map' ? new Set() : null });
  }
  if (at !== bytes.length) throw invalidRequest('one msgpack value', `${bytes.length - at} bytes behind it`);
}

/** The usual cause. */
const moreValues =
  "more, such as an image as a list of numbers has. Send NumPy arrays with openpi_client's msgpack_numpy";

interface Level {
  /** Values still to come. */
  left: number;
  /** Keys of a map that have already been read. */
  readonly keys: Set<string> | null;
}

/** A text and a byte string of the same name count as one key: if they differed only in that, one of them would be lost. */
function checkKey(keys: Set<string>, bytes: Uint8Array, { kind, count, next }: Item): void {
  if (kind !== 'text' && kind !== 'bytes') throw invalidRequest('keys of text or bytes', 'another one');
  if (count > maxKeyBytes) throw invalidRequest(`keys of at most ${maxKeyBytes} bytes`, `${count}`);
  const name = Buffer.from(bytes.buffer, bytes.byteOffset + next - count, count).toString('latin1');
  if (keys.has(name)) throw invalidRequest('each key once', `${JSON.stringify(name.slice(0, 40))} twice`);
  keys.add(name);
}

function plain(next: number): Item {
  return { kind: 'plain', count: 0, next };
}

function stretch(kind: 'text' | 'bytes', at: number, count: number): Item {
  return { kind, count, next: at + count };
}

function truncated(missing: number): Error {
  return invalidRequest('a whole msgpack message', `one that claims ${missing} bytes more than it has`);
}

function readItem(view: DataView, at: number): Item {
  const type = readLength(view, at, 1);
  if (type < 0x80 || type >= 0xe0) return plain(at + 1);
  if (type < 0x90) return { kind: 'map', count: type & 0x0f, next: at + 1 };
  if (type < 0xa0) return { kind: 'array', count: type & 0x0f, next: at + 1 };
  if (type < 0xc0) return stretch('text', at + 1, type & 0x1f);
  const fixed = fixedBytes[type - 0xc0] ?? -1;
  if (fixed >= 0) return plain(at + 1 + fixed);
  switch (type) {
    case 0xc4:
    case 0xd9:
      return stretch(type === 0xd9 ? 'text' : 'bytes', at + 2, readLength(view, at + 1, 1));
    case 0xc5:
    case 0xda:
      return stretch(type === 0xda ? 'text' : 'bytes', at + 3, readLength(view, at + 1, 2));
    case 0xc6:
    case 0xdb:
      return stretch(type === 0xdb ? 'text' : 'bytes', at + 5, readLength(view, at + 1, 4));
    case 0xdc:
    case 0xde:
      return { kind: type === 0xdc ? 'array' : 'map', count: readLength(view, at + 1, 2), next: at + 3 };
    case 0xdd:
    case 0xdf:
      return { kind: type === 0xdd ? 'array' : 'map', count: readLength(view, at + 1, 4), next: at + 5 };
    default:
      throw invalidRequest('plain msgpack types', `type 0x${type.toString(16)}`);
  }
}

function readLength(view: DataView, at: number, bytes: 1 | 2 | 4): number {
  if (at + bytes > view.byteLength) throw truncated(at + bytes - view.byteLength);
  return bytes === 1 ? view.getUint8(at) : bytes === 2 ? view.getUint16(at) : view.getUint32(at);
}
