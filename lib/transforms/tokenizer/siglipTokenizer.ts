/**
 * The SigLIP text tokenizer (docs/model.md, Input 2): what `SiglipTokenizer` of transformers 4.40.1 adds around a sentencepiece
 * unigram model. Pure: text in, ids out.
 */

import { SemanticVlaError } from '../../support/errors.ts';
import { PieceNormalizer, spaceSymbol } from './pieceNormalizer.ts';
import { parseSentencePieceModel } from './sentencePieceModel.ts';
import { Unigram } from './unigram.ts';

/** The special strings of the tokenizer class; their ids come from the model. */
const endPiece = '</s>';
const unknownPiece = '<unk>';

/** Python's `string.punctuation`: 32 ASCII characters. */
const punctuation = /[!-/:-@[-`{-~]/g;

/**
 * The whitespace that Python's `str.isspace`, `str.strip` and `re`'s `\s` agree on; JavaScript's `\s` also has U+FEFF and lacks
 * 1C-1F and 85.
 */
const pythonSpace = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
const spaceRuns = new RegExp(`${pythonSpace}+`, 'g');
const leadingSpace = new RegExp(`^${pythonSpace}+`);
const trailingSpace = new RegExp(`${pythonSpace}+$`);

const specialStrings = new RegExp(`${endPiece}|${unknownPiece}`, 'g');

export class SiglipTokenizer {
  /** Id of `</s>`, which is also the padding. */
  readonly endId: number;
  readonly #normalizer: PieceNormalizer;
  readonly pieces: number;
  readonly #unigram: Unigram;
  /** Number of pieces that `<unk>` encodes to; every text is encoded after it, to get its leading space. */
  readonly #prefixPieces: number;

  /**
   * @param bytes content of `spiece.model`
   * @param file named in errors
   * @throws TOKENIZER_INVALID if it is damaged, not a unigram model, or lacks the special pieces
   */
  constructor(bytes: Uint8Array, file: string) {
    const model = parseSentencePieceModel(bytes, file, 'unigram');
    this.#normalizer = new PieceNormalizer(model, file);
    this.#unigram = new Unigram(model);
    for (const special of [endPiece, unknownPiece]) {
      if (model.pieces.every((piece) => piece.text !== special)) {
        throw new SemanticVlaError(
          'TOKENIZER_INVALID',
          `${file}: expected a SigLIP vocabulary with the piece ${special}, found ${model.pieces.length} pieces without it. ` +
            'Use the spiece.model of the SigLIP text folder that the policy was trained with.',
        );
      }
    }
    this.pieces = model.pieces.length;
    this.endId = this.#unigram.pieceToId(endPiece);
    this.#prefixPieces = this.#encodePieces(unknownPiece).length;
  }

  /** Ids with `</s>` at the end, neither padded nor truncated. */
  encode(text: string): number[] {
    const ids = this.#specialsCutOut(`${spaceSymbol}${text.replaceAll(spaceSymbol, ' ')}`);
    if (ids.at(-1) !== this.endId) ids.push(this.endId);
    return ids;
  }

  /** Special strings are cut out first; the spaces around them disappear when the chunks between are trimmed. */
  #specialsCutOut(text: string): number[] {
    const lowered = lowerEach(text);
    const ids: number[] = [];
    let start = 0;
    for (const { 0: special, index } of lowered.matchAll(specialStrings)) {
      const pieces = this.#encodeChunk(lowered.slice(start, index));
      // A lone `▁` before the first special string is the prefix that encode() added, not text.
      const onlyPrefix = start === 0 && pieces.length === 1 && pieces[0]?.text === spaceSymbol;
      if (!onlyPrefix) for (const { id } of pieces) ids.push(id);
      ids.push(this.#unigram.pieceToId(special));
      start = index + special.length;
    }
    for (const { id } of this.#encodeChunk(lowered.slice(start))) ids.push(id);
    return ids;
  }

  #encodeChunk(chunk: string) {
    const canonical = chunk
      .replace(punctuation, '')
      .replace(spaceRuns, ' ')
      .replace(leadingSpace, '')
      .replace(trailingSpace, '');
    const pieces = this.#encodePieces(unknownPiece + canonical);
    const kept = pieces.length >= this.#prefixPieces ? pieces.slice(this.#prefixPieces) : pieces;
    // The reference looks up ids by the text of the pieces, where a run of unknown characters may spell a reserved piece.
    return kept.map(({ text }) => ({ text, id: this.#unigram.pieceToId(text) }));
  }

  #encodePieces(text: string) {
    return this.#unigram.encode(this.#normalizer.normalize(text));
  }
}

/** Lower case of each character on its own, as in the tokenizer (so `Σ` at the end of a word becomes `σ`). */
function lowerEach(text: string): string {
  let out = '';
  for (const char of text) out += char.toLowerCase();
  return out;
}
