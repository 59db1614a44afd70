/**
 * Parses JSON (RFC 8259) from bytes, for requests that consist mostly of two long base64 strings. `JSON.parse` would copy
 * each of them three times and would build whatever a hostile body describes. Here strings stay in place until they are
 * read, and depth, number of values and length of keys are bounded. Duplicate keys and `__proto__` are refused.
 */

import { SemanticVlaError } from '../support/errors.ts';
import { invalidRequest } from './ndarray.ts';

export type JsonValue = null | boolean | number | JsonText | JsonValue[] | Map<string, JsonValue>;

/** Deep enough for `{"images": {"camera": {"shape": [...]}}}`, with some to spare. */
const maxDepth = 16;
/** A request has about 20 values; one with the state as a plain list has a few more. */
const maxValues = 10_000;
const maxKeyBytes = 256;
const maxNumberBytes = 64;
/** For strings that are decoded whole: an instruction, a type string. Longer ones can only be arrays or `encoded`. */
const maxTextBytes = 64 * 2 ** 10;

/**
 * Escapes in one string: some writers escape every slash of base64, and `encoded` every quote. They are handled one by one, so
 * without a bound 32 MiB of them would block all other requests.
 */
const maxEscapes = 2 ** 20;
/** White space in a whole document: enough for 10,000 lines with deep indentation. */
const maxBlankBytes = 2 ** 20;

const quote = 0x22;
const backslash = 0x5c;

/** The body is not JSON at all, rather than beyond this parser's bounds. Code REQUEST_INVALID. */
export class JsonSyntaxError extends SemanticVlaError {
  constructor(expected: string, found: string) {
    super('REQUEST_INVALID', `Request: expected ${expected}, found ${found}.`);
  }
}

/** Fast path for most keys and type strings: no escapes, one byte per character. */
const plainText = /^[ !#-[\]-~]*$/;

/** A string of the document: the bytes between its quotes, still escaped. */
export class JsonText {
  readonly raw: Buffer;

  constructor(raw: Buffer) {
    this.raw = raw;
  }

  /** @throws REQUEST_INVALID if it is not UTF-8, has a bad escape or a control character, or is too long */
  toString(limit = maxTextBytes): string {
    if (this.raw.length > limit) throw invalidRequest(`text of at most ${limit} bytes`, `${this.raw.length}`);
    if (this.raw.length <= maxKeyBytes) {
      const text = this.raw.toString('latin1');
      if (plainText.test(text)) return text;
    }
    const text = decodeUtf8(this.raw);
    // JSON.parse checks the rest: escapes and control characters.
    try {
      return JSON.parse(`"${text}"`) as string;
    } catch {
      throw invalidRequest('a JSON string', 'a bad escape or a control character');
    }
  }

  /** The bytes without escapes. They are unescaped in place, so the document cannot be parsed again afterwards. */
  unescapeInPlace(): Buffer {
    return unescapeOver(this.raw);
  }
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw invalidRequest('UTF-8', 'other bytes');
  }
}

/** By letter: the byte that a backslash and this letter stand for; 0: not an escape. */
const shortEscapes = new Uint8Array(256);
for (const [letter, byte] of Object.entries({
  '"': 0x22,
  '\\': backslash,
  '/': 0x2f,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
}))
  shortEscapes[letter.charCodeAt(0)] = byte;

/** By character code of a digit: its value; 255: not a digit. */
const hexDigits = new Uint8Array(256).fill(255);
for (const [value, letters] of [...'0123456789abcdef'].entries())
  for (const letter of [letters, letters.toUpperCase()]) hexDigits[letter.charCodeAt(0)] = value;

/** Value of four hexadecimal digits; -1 if they are not digits. */
function hexAt(bytes: Buffer, at: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const digit = hexDigits[bytes[at + i] ?? 0]!;
    if (digit === 255) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/** How many bytes to check one by one before calling `indexOf`, whose call costs as much as checking some of them. */
const nearBytes = 32;

/** Position of the next `byte`, or the length if there is none. Fast whether such bytes are frequent or rare. */
function nextOf(bytes: Buffer, byte: number, from: number): number {
  const near = Math.min(from + nearBytes, bytes.length);
  for (let at = from; at < near; at++) if (bytes[at] === byte) return at;
  const far = near < bytes.length ? bytes.indexOf(byte, near) : -1;
  return far < 0 ? bytes.length : far;
}

/** Unescapes in place. The result is never longer: `\\u` takes 6 bytes for at most 3 of UTF-8, a pair 12 for 4. */
function unescapeOver(bytes: Buffer): Buffer {
  let from = 0;
  let to = 0;
  for (let escapes = 0; ; escapes++) {
    if (escapes > maxEscapes) throw invalidRequest(`text of at most ${maxEscapes} escapes`, 'more');
    const next = nextOf(bytes, backslash, from);
    if (to !== from && next - from > nearBytes) bytes.copyWithin(to, from, next);
    else if (to !== from) for (let i = 0; i < next - from; i++) bytes[to + i] = bytes[from + i]!;
    to += next - from;
    if (next === bytes.length) return bytes.subarray(0, to);
    const letter = bytes[next + 1] ?? 0;
    const short = shortEscapes[letter]!;
    if (short !== 0) {
      bytes[to++] = short;
      from = next + 2;
      continue;
    }
    const first = letter === 0x75 ? hexAt(bytes, next + 2) : -1;
    if (first < 0) throw invalidRequest('a JSON string', 'a bad escape');
    const isHigh = first >= 0xd800 && first < 0xdc00;
    const isFollowed = isHigh && bytes[next + 6] === backslash && bytes[next + 7] === 0x75;
    const second = isFollowed ? hexAt(bytes, next + 8) : -1;
    const isPair = second >= 0xdc00 && second < 0xe000;
    const isHalf = first >= 0xd800 && first < 0xe000;
    // Half of a surrogate pair becomes U+FFFD, as Node writes it.
    const single = isHalf ? 0xfffd : first;
    const point = isPair ? 0x10000 + (first - 0xd800) * 0x400 + (second - 0xdc00) : single;
    to += writeUtf8(bytes, to, point);
    from = next + (isPair ? 12 : 6);
  }
}

/** @returns bytes written */
function writeUtf8(bytes: Buffer, at: number, point: number): number {
  if (point < 0x80) {
    bytes[at] = point;
    return 1;
  }
  if (point < 0x800) {
    bytes[at] = 0xc0 | (point >> 6);
    bytes[at + 1] = 0x80 | (point & 63);
    return 2;
  }
  const length = point < 0x10000 ? 3 : 4;
  bytes[at] = length === 3 ? 0xe0 | (point >> 12) : 0xf0 | (point >> 18);
  if (length === 4) bytes[at + 1] = 0x80 | ((point >> 12) & 63);
  bytes[at + length - 2] = 0x80 | ((point >> 6) & 63);
  bytes[at + length - 1] = 0x80 | (point & 63);
  return length;
}

/**
 * @param bytes a whole document
 * @throws REQUEST_INVALID if it is not JSON, or beyond the bounds
 */
export function parseJsonBytes(bytes: Buffer): JsonValue {
  return new Parser(bytes).document();
}

/** The usual cause. */
const moreValues =
  'more, such as an image as a list of numbers has. Send NumPy arrays: in Python json_numpy.patch() before json.dumps or ' +
  'requests.post(json=...)';

class Parser {
  readonly #bytes: Buffer;
  #at = 0;
  #values = 0;
  #blanks = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  document(): JsonValue {
    // A byte order mark, as some Windows editors write it.
    if (this.#bytes[0] === 0xef && this.#bytes[1] === 0xbb && this.#bytes[2] === 0xbf) this.#at = 3;
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#bytes.length) throw this.#unexpected('the end');
    return value;
  }

  #value(depth: number): JsonValue {
    if (depth > maxDepth) throw invalidRequest(`JSON of at most ${maxDepth} levels`, 'more');
    if (++this.#values > maxValues) throw invalidRequest(`JSON of at most ${maxValues} values`, moreValues);
    this.#space();
    switch (this.#bytes[this.#at]) {
      case quote:
        return this.#text();
      case 0x7b:
        return this.#object(depth);
      case 0x5b:
        return this.#array(depth);
      case 0x74:
        return this.#word('true', true);
      case 0x66:
        return this.#word('false', false);
      case 0x6e:
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #object(depth: number): Map<string, JsonValue> {
    const object = new Map<string, JsonValue>();
    this.#at++;
    if (this.#next(0x7d)) return object;
    do {
      this.#space();
      if (this.#bytes[this.#at] !== quote) throw this.#unexpected('a key');
      const key = this.#text().toString(maxKeyBytes);
      if (key === '__proto__') throw invalidRequest('plain keys', '__proto__');
      if (object.has(key)) throw invalidRequest('each key once', `${JSON.stringify(key.slice(0, 40))} twice`);
      if (!this.#next(0x3a)) throw this.#unexpected('a colon');
      object.set(key, this.#value(depth + 1));
    } while (this.#next(0x2c));
    if (!this.#next(0x7d)) throw this.#unexpected('a comma or }');
    return object;
  }

  #array(depth: number): JsonValue[] {
    const array: JsonValue[] = [];
    this.#at++;
    if (this.#next(0x5d)) return array;
    do array.push(this.#value(depth + 1));
    while (this.#next(0x2c));
    if (!this.#next(0x5d)) throw this.#unexpected('a comma or ]');
    return array;
  }

  #text(): JsonText {
    const bytes = this.#bytes;
    const start = this.#at + 1;
    let from = start;
    for (let escapes = 0; ; escapes++) {
      if (escapes > maxEscapes) throw invalidRequest(`text of at most ${maxEscapes} escapes`, 'more');
      const end = nextOf(bytes, quote, from);
      if (end === bytes.length) throw this.#unexpected('the end of a string');
      // A quote after an odd number of backslashes is part of the string. Each run is counted once, since it ends at the quote.
      let run = end - 1;
      while (run >= start && bytes[run] === backslash) run--;
      if ((end - 1 - run) % 2 === 0) {
        this.#at = end + 1;
        return new JsonText(bytes.subarray(start, end));
      }
      from = end + 1;
    }
  }

  #number(): number {
    const text = this.#bytes.toString(
      'latin1',
      this.#at,
      Math.min(this.#at + maxNumberBytes + 1, this.#bytes.length),
    );
    const found = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/.exec(text)?.[0];
    if (found === undefined || found.length > maxNumberBytes) throw this.#unexpected('a value');
    this.#at += found.length;
    return Number(found);
  }

  #word<T>(word: string, value: T): T {
    if (this.#bytes.toString('latin1', this.#at, this.#at + word.length) !== word)
      throw this.#unexpected('a value');
    this.#at += word.length;
    return value;
  }

  /** Skips `byte` if it comes next, and returns whether it did. */
  #next(byte: number): boolean {
    this.#space();
    if (this.#bytes[this.#at] !== byte) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    const bytes = this.#bytes;
    let at = this.#at;
    const most = at + maxBlankBytes - this.#blanks;
    for (;;) {
      if (at > most) throw invalidRequest(`JSON with at most ${maxBlankBytes} blanks`, 'more');
      const byte = bytes[at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
      at++;
    }
    this.#blanks += at - this.#at;
    this.#at = at;
  }

  #unexpected(what: string): Error {
    const found = this.#at < this.#bytes.length ? 'something else' : 'the end';
    return new JsonSyntaxError(`JSON with ${what} at byte ${this.#at}`, found);
  }
}
