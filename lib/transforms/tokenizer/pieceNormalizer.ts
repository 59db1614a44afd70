/**
 * sentencepiece's text normalizer without dummy prefix: character rules, runs of whitespace reduced to one, both ends trimmed,
 * spaces escaped as `▁`. Source: sentencepiece normalizer.cc (Normalizer::Normalize).
 */

import { CharsMap } from './charsMap.ts';
import { pieceType, type SentencePieceModel } from './sentencePieceModel.ts';

/** U+2581, which sentencepiece writes for a space. */
export const spaceSymbol = '\u2581';

export class PieceNormalizer {
  readonly #charsMap: CharsMap | null;
  readonly #userDefined: readonly string[];
  readonly #removeExtra: boolean;
  readonly #space: string;

  /** @throws TOKENIZER_INVALID if the character map is damaged */
  constructor(model: SentencePieceModel, file: string) {
    this.#charsMap = model.charsMap.length === 0 ? null : new CharsMap(model.charsMap, file);
    this.#userDefined = model.pieces
      .filter((piece) => piece.type === pieceType.userDefined)
      .map((piece) => piece.text)
      .sort((a, b) => b.length - a.length);
    this.#removeExtra = model.removeExtraWhitespaces;
    this.#space = model.escapeWhitespaces ? spaceSymbol : ' ';
  }

  /** A lone surrogate reads as U+FFFD. */
  normalize(text: string): string {
    const chunks = this.#chunks(text);
    let first = 0;
    if (this.#removeExtra) while (chunks[first] === ' ') first++;
    let out = '';
    let afterSpace = this.#removeExtra;
    for (const chunk of chunks.slice(first)) {
      const kept = afterSpace ? chunk.replace(/^ +/, '') : chunk;
      if (kept === '') continue;
      out += kept.replaceAll(' ', this.#space);
      afterSpace = this.#removeExtra && kept.endsWith(' ');
    }
    if (this.#removeExtra) while (out.endsWith(this.#space)) out = out.slice(0, -this.#space.length);
    return out;
  }

  /** Splits the text by the rules: each chunk is the replacement of a rule, a user-defined symbol, or one character. */
  #chunks(text: string): string[] {
    const wellFormed = text.toWellFormed();
    const bytes = new TextEncoder().encode(wellFormed);
    const chunks: string[] = [];
    let at = 0;
    let byteAt = 0;
    while (at < wellFormed.length) {
      const symbol = this.#userDefined.find((candidate) => wellFormed.startsWith(candidate, at));
      const match = symbol === undefined ? (this.#charsMap?.longestMatch(bytes, byteAt) ?? null) : null;
      if (match !== null) {
        chunks.push(match.replacement);
        const end = byteAt + match.length;
        while (byteAt < end) {
          const char = String.fromCodePoint(wellFormed.codePointAt(at) as number);
          at += char.length;
          byteAt += Buffer.byteLength(char);
        }
      } else {
        const chunk = symbol ?? String.fromCodePoint(wellFormed.codePointAt(at) as number);
        chunks.push(chunk);
        at += chunk.length;
        byteAt += Buffer.byteLength(chunk);
      }
    }
    return chunks;
  }
}
