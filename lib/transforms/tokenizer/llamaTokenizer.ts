/**
 * The Llama tokenizer (docs/model.md, Input 2). The `@huggingface/tokenizers` library does the byte-pair encoding; here its
 * input is made from `tokenizer.json` or `tokenizer.model` and checked.
 */

import { Tokenizer } from '@huggingface/tokenizers';
import { SemanticVlaError } from '../../support/errors.ts';
import type { LlamaTokenizerJson } from './llamaJson.ts';
import { spaceSymbol } from './pieceNormalizer.ts';

/** The part of the library that is used (its own type declarations do not resolve under `nodenext`). */
interface LibraryTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { readonly ids: number[] };
  readonly model: { clear_cache(): void };
}

export class LlamaTokenizer {
  /** `<s>`, before every text. */
  readonly beginId: number;
  /** `</s>`, the stop token. */
  readonly endId: number;
  /** `▁`, which must end a prompt. */
  readonly spaceId: number;
  /** Largest id that any text can contain. */
  readonly largestId: number;
  /** UTF-16 units of the longest piece: a text of n units has at least n / longestPiece ids. */
  readonly longestPiece: number;
  readonly #tokenizer: LibraryTokenizer;

  /**
   * @param file named in errors
   * @throws TOKENIZER_INVALID a piece that every prompt needs is not there
   */
  constructor(json: LlamaTokenizerJson, file: string) {
    const { vocab, merges } = json.model;
    const tokenId = (piece: string): number => {
      const id = vocab.get(piece) ?? json.added_tokens.find((token) => token.content === piece)?.id;
      if (id !== undefined) return id;
      throw new SemanticVlaError(
        'TOKENIZER_INVALID',
        `${file}: expected a Llama vocabulary with the piece ${piece}, found ${vocab.size} pieces without it. ` +
          'Use the tokenizer that the policy was trained with.',
      );
    };
    this.beginId = tokenId('<s>');
    this.endId = tokenId('</s>');
    this.spaceId = tokenId(spaceSymbol);
    let longest = 1;
    let largest = 0;
    for (const id of vocab.values()) largest = Math.max(largest, id);
    for (const { id } of json.added_tokens) largest = Math.max(largest, id);
    this.largestId = largest;
    for (const piece of vocab.keys()) longest = Math.max(longest, piece.length);
    for (const { content } of json.added_tokens) longest = Math.max(longest, content.length);
    this.longestPiece = longest;
    try {
      this.#tokenizer = new Tokenizer(
        {
          ...json,
          model: { ...json.model, vocab: Object.fromEntries(vocab), merges },
          // The begin-of-text token is added here: transformers replaces the post-processor of the file with its own.
          post_processor: null,
          decoder: null,
        },
        {},
      );
    } catch (cause) {
      throw new SemanticVlaError(
        'TOKENIZER_INVALID',
        `${file}: expected a tokenizer of Llama, found one that cannot be built (${cause instanceof Error ? cause.message : cause}). ` +
          'Take the file from the checkpoint as training left it.',
        { cause },
      );
    }
  }

  /** Ids with `<s>` first. A lone surrogate reads as U+FFFD. */
  encode(text: string): number[] {
    const { ids } = this.#tokenizer.encode(text.toWellFormed(), { add_special_tokens: false });
    // The library keeps up to 10,000 texts; instructions are cached where they are used.
    this.#tokenizer.model.clear_cache();
    return [this.beginId, ...ids];
  }
}
