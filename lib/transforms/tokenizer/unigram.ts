/**
 * sentencepiece's unigram encoder: the segmentation with the greatest total log probability (Viterbi). Sums are kept in float32
 * but compared in float64, as sentencepiece does from 0.1.99, which the reference pins, to 0.2.0: ties (`s` + `ss` or `ss` +
 * `s`) depend on it, and 0.2.3 decides them differently. Source: sentencepiece unigram_model.cc (EncodeOptimized),
 * sentencepiece_processor.cc (PopulateSentencePieceText).
 */

import { type Piece, pieceType, type SentencePieceModel } from './sentencePieceModel.ts';

/** An encoded piece: its text as it appears in the normalized input. */
export interface EncodedPiece {
  readonly text: string;
  readonly id: number;
}

/** An unknown character costs this much more than the least likely piece. */
const unknownPenalty = 10;

export class Unigram {
  readonly unknownId: number;
  readonly #pieces: readonly Piece[];
  readonly #byteFallback: boolean;
  /** Text -> id of the pieces available to a segmentation. */
  readonly #usable = new Map<string, number>();
  /** Text -> id of all pieces. */
  readonly #ids = new Map<string, number>();
  /** In code points. */
  readonly #longest: number;
  readonly #maxScore: number;
  readonly #unknownScore: number;

  constructor(model: SentencePieceModel) {
    this.#pieces = model.pieces;
    this.#byteFallback = model.byteFallback;
    this.unknownId = model.pieces.findIndex((piece) => piece.type === pieceType.unknown);
    let longest = 0;
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    for (const [id, { text, type, score }] of model.pieces.entries()) {
      this.#ids.set(text, id);
      if (type === pieceType.normal) {
        min = Math.min(min, score);
        max = Math.max(max, score);
      }
      if (type === pieceType.normal || type === pieceType.userDefined) {
        this.#usable.set(text, id);
        longest = Math.max(longest, [...text].length);
      }
    }
    this.#longest = longest;
    this.#maxScore = max;
    this.#unknownScore = Math.fround(min - unknownPenalty);
  }

  /** The id of a piece by its text; the unknown id if there is none. */
  pieceToId(text: string): number {
    return this.#ids.get(text) ?? this.unknownId;
  }

  /** @param normalized the normalizer's output */
  encode(normalized: string): EncodedPiece[] {
    return this.#mergeUnknown(this.#segment([...normalized]));
  }

  #segment(chars: readonly string[]): EncodedPiece[] {
    const size = chars.length;
    const score = new Float32Array(size + 1);
    const start = new Int32Array(size + 1).fill(-1);
    const ids = new Int32Array(size + 1).fill(-1);
    for (let from = 0; from < size; from++) {
      const base = score[from] as number;
      let text = '';
      let single = false;
      for (let to = from + 1; to <= Math.min(size, from + this.#longest); to++) {
        text += chars[to - 1];
        const id = this.#usable.get(text);
        if (id === undefined) continue;
        const candidate = this.#score(id, text) + base;
        if (start[to] === -1 || candidate > (score[to] as number)) {
          score[to] = candidate;
          start[to] = from;
          ids[to] = id;
        }
        single ||= to === from + 1;
      }
      if (!single) {
        const candidate = Math.fround(this.#unknownScore + base);
        if (start[from + 1] === -1 || candidate > (score[from + 1] as number)) {
          score[from + 1] = candidate;
          start[from + 1] = from;
          ids[from + 1] = this.unknownId;
        }
      }
    }
    const path: EncodedPiece[] = [];
    for (let end = size; end > 0; end = start[end] as number) {
      path.push({ text: chars.slice(start[end] as number, end).join(''), id: ids[end] as number });
    }
    return path.reverse();
  }

  /** User-defined symbols get a bonus for their length in UTF-8 bytes, so that they always win. */
  #score(id: number, text: string): number {
    const piece = this.#pieces[id] as Piece;
    return piece.type === pieceType.userDefined
      ? Buffer.byteLength(text) * this.#maxScore - 0.1
      : piece.score;
  }

  /** A run of unknown characters is one piece; with byte fallback, each character becomes its UTF-8 bytes instead. */
  #mergeUnknown(path: readonly EncodedPiece[]): EncodedPiece[] {
    const out: EncodedPiece[] = [];
    let afterUnknown = false;
    for (const piece of path) {
      const unknown = piece.id === this.unknownId;
      if (unknown && this.#byteFallback) {
        for (const byte of Buffer.from(piece.text)) {
          const text = `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
          out.push({ text, id: this.pieceToId(text) });
        }
      } else if (unknown && afterUnknown) {
        const text = (out.pop() as EncodedPiece).text + piece.text;
        out.push({ text, id: piece.id });
      } else {
        out.push(piece);
      }
      afterUnknown = unknown;
    }
    return out;
  }
}
