/**
 * A stand-in for Llama's tokenizer, which cannot be shipped: byte-pair encoding trained on the word list, in the layout of the
 * real one. Ids: 0 `<unk>`, 1 `<s>`, 2 `</s>`, 3..258 the bytes, then one id per merge, then fillers that no text can produce;
 * from 29871 on the single characters, `▁` first, as in the real vocabulary; 32000 pieces in all. Prompts made of listed words
 * are as long as with the real tokenizer; other words are split into letters.
 */

import { SemanticVlaError } from '../support/errors.ts';
import { words } from './words.ts';

const vocabSize = 32000;
const firstMerge = 259;
/** The id of `▁` in Llama's vocabulary; the policy appends it to every prompt. */
const spaceId = 29871;
export const space = '▁';

export interface BpeModel {
  /** [32000] pieces by id. */
  readonly pieces: readonly string[];
  /** Number of merged pieces: ids 259 .. 259 + merged - 1. */
  readonly merged: number;
  /** Number of characters: ids 29871 .. 29871 + characters - 1. */
  readonly characters: number;
}

export function makeBpe(): BpeModel {
  const ascii = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const characters = [space, ...ascii];
  const merged = trainMerges();
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);
  const pieces = ['<unk>', '<s>', '</s>', ...bytes, ...merged];
  if (pieces.length > spaceId || spaceId + characters.length > vocabSize)
    throw new SemanticVlaError(
      'TOKENIZER_INVALID',
      `synthetic vocabulary: ${merged.length} merges do not fit. Shorten the word list.`,
    );
  while (pieces.length < spaceId) pieces.push(`⟦${pieces.length}⟧`);
  pieces.push(...characters);
  while (pieces.length < vocabSize) pieces.push(`⟦${pieces.length}⟧`);
  return { pieces, merged: merged.length, characters: characters.length };
}

/** Merged pieces, best first: greedy byte-pair merging until every word is one piece. */
function trainMerges(): string[] {
  // Every prompt begins with `In` and ends with `Out`; `Out` follows a newline, so it has no leading space.
  const entries = [...words, 'In', 'What', 'Out'].map((word, i) => ({
    symbols: [...(word === 'Out' ? word : `${space}${word}`)],
    weight: words.length + 3 - i,
  }));
  const merged = new Set<string>();
  for (;;) {
    const counts = new Map<string, number>();
    for (const { symbols, weight } of entries)
      for (let i = 0; i + 1 < symbols.length; i += 1) {
        const pair = `${symbols[i]} ${symbols[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + weight);
      }
    let best = '';
    let bestCount = 0;
    for (const [pair, count] of counts)
      if (count > bestCount || (count === bestCount && pair < best)) [best, bestCount] = [pair, count];
    if (best === '') return [...merged];
    const [left, right] = best.split(' ');
    for (const entry of entries) entry.symbols = mergePair(entry.symbols, left!, right!);
    merged.add(`${left}${right}`);
  }
}

function mergePair(symbols: readonly string[], left: string, right: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < symbols.length; i += 1) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      out.push(left + right);
      i += 1;
    } else out.push(symbols[i]!);
  }
  return out;
}

/** Rank-ordered pairs: for each merged piece every split into two pieces, as the converter from sentencepiece lists them. */
function mergeRules({ pieces, merged }: BpeModel): string[] {
  const ids = new Map(pieces.map((piece, id) => [piece, id]));
  return pieces.slice(firstMerge, firstMerge + merged).flatMap((piece) => {
    const splits: (readonly [number, number])[] = [];
    for (let cut = 1; cut < piece.length; cut += 1) {
      const left = ids.get(piece.slice(0, cut));
      const right = ids.get(piece.slice(cut));
      if (left !== undefined && right !== undefined) splits.push([left, right]);
    }
    return splits
      .sort((a, b) => a[0] - b[0] || a[1] - b[1])
      .map(([left, right]) => `${pieces[left]} ${pieces[right]}`);
  });
}

/** `tokenizer.json`, with the normalizer, template and decoder of Llama's tokenizer. */
export function bpeTokenizerJson(model: BpeModel): object {
  const special = (id: number, content: string) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const token = (id: string, typeId: number) => ({ SpecialToken: { id, type_id: typeId } });
  const sequence = (id: string, typeId: number) => ({ Sequence: { id, type_id: typeId } });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [special(0, '<unk>'), special(1, '<s>'), special(2, '</s>'), special(vocabSize, '<PAD>')],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: space },
        { type: 'Replace', pattern: { String: ' ' }, content: space },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [token('<s>', 0), sequence('A', 0)],
      pair: [token('<s>', 0), sequence('A', 0), token('<s>', 1), sequence('B', 1)],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: space }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(model.pieces.map((piece, id) => [piece, id])),
      merges: mergeRules(model),
    },
  };
}
