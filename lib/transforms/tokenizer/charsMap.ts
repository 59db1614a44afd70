/**
 * The character rules compiled into a sentencepiece model (`precompiled_charsmap`, e.g. NFKC with its own changes):
 * little-endian uint32 trie size, a darts-clone double array over UTF-8 bytes, then NUL-terminated replacements.
 * Source: sentencepiece normalizer.cc (DecodePrecompiledCharsMap, NormalizePrefix), darts.h.
 */

import { SemanticVlaError } from '../../support/errors.ts';

/** A matched rule: this many input bytes become `replacement`. */
export interface CharsMapMatch {
  readonly length: number;
  readonly replacement: string;
}

/** Bits of a darts-clone unit. */
const leafFlag = 0x100;
const labelMask = 0x800000ff;
const valueMask = 0x7fffffff;

export class CharsMap {
  readonly #units: Uint32Array;
  readonly #replacements: Uint8Array;
  readonly #file: string;

  /** @throws TOKENIZER_INVALID if the blob is truncated or its sizes contradict each other */
  constructor(blob: Uint8Array, file: string) {
    this.#file = file;
    const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
    const trieBytes = blob.length > 4 ? view.getUint32(0, true) : -1;
    if (trieBytes < 4 || trieBytes % 4 !== 0 || trieBytes >= blob.length) {
      throw this.#invalid(`a trie of ${trieBytes} bytes in a blob of ${blob.length}`);
    }
    this.#units = new Uint32Array(trieBytes / 4);
    for (let i = 0; i < this.#units.length; i++) this.#units[i] = view.getUint32(4 + 4 * i, true);
    this.#replacements = blob.subarray(4 + trieBytes);
  }

  /**
   * The longest rule whose key starts at `start`, or null.
   * @param input UTF-8
   * @throws TOKENIZER_INVALID if the double array points outside itself
   */
  longestMatch(input: Uint8Array, start: number): CharsMapMatch | null {
    let node = this.#offset(0);
    let length = 0;
    let value = -1;
    for (let i = start; i < input.length; i++) {
      const byte = input[i] as number;
      node ^= byte;
      const unit = this.#unit(node);
      if ((unit & labelMask) >>> 0 !== byte) break;
      node = (node ^ this.#offset(node)) >>> 0;
      if ((unit & leafFlag) !== 0) {
        length = i + 1 - start;
        value = this.#unit(node) & valueMask;
      }
    }
    return value < 0 ? null : { length, replacement: this.#replacement(value) };
  }

  #unit(index: number): number {
    const unit = this.#units[index];
    if (unit === undefined) throw this.#invalid(`trie unit ${index} of ${this.#units.length}`);
    return unit;
  }

  #offset(index: number): number {
    const unit = this.#unit(index);
    return ((unit >>> 10) << ((unit & 0x200) >>> 6)) >>> 0;
  }

  #replacement(start: number): string {
    const end = this.#replacements.indexOf(0, start);
    if (start >= this.#replacements.length || end < 0) {
      throw this.#invalid(`a replacement at ${start} of ${this.#replacements.length} bytes`);
    }
    return utf8.decode(this.#replacements.subarray(start, end));
  }

  #invalid(found: string): SemanticVlaError {
    return new SemanticVlaError(
      'TOKENIZER_INVALID',
      `${this.#file}: expected a precompiled character map, found ${found}. Take the file from the checkpoint as training left it.`,
    );
  }
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
