/**
 * Checks the `tokenizer.json` of a Llama tokenizer. Only components whose ids were compared with the Python library are
 * accepted; any other is refused by name, since an almost right tokenizer makes a policy quietly wrong.
 */

import { parseJsonText } from '../../checkpoint/jsonFile.ts';
import type { JsonValue } from '../../checkpoint/strictJson.ts';
import { SemanticVlaError } from '../../support/errors.ts';

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

export type Normalizer =
  | { readonly type: 'Prepend'; readonly prepend: string }
  | { readonly type: 'Replace'; readonly pattern: { readonly String: string }; readonly content: string }
  | { readonly type: 'Sequence'; readonly normalizers: readonly Normalizer[] };

export interface Metaspace {
  readonly type: 'Metaspace';
  readonly replacement: string;
  readonly prepend_scheme: 'always' | 'first' | 'never';
  readonly split: false;
}

/** The fields needed for encoding, with their names on disk. */
export interface LlamaTokenizerJson {
  readonly added_tokens: readonly AddedToken[];
  /** The older ("legacy") form marks spaces here, */
  readonly normalizer: Normalizer | null;
  /** the newer one here. */
  readonly pre_tokenizer: Metaspace | null;
  readonly model: {
    readonly type: 'BPE';
    readonly unk_token: string | null;
    readonly byte_fallback: boolean;
    readonly vocab: ReadonlyMap<string, number>;
    readonly merges: readonly (readonly [string, string])[];
  };
}

type Json = Readonly<Record<string, unknown>>;

/** @throws TOKENIZER_INVALID if it is not JSON, or not a BPE tokenizer of this kind */
export function parseLlamaJson(text: string, file: string): LlamaTokenizerJson {
  return checkLlamaJson(parseJsonText(text, file, { missing: 'TOKENIZER_INVALID' }), file);
}

/** @throws TOKENIZER_INVALID if it is not a BPE tokenizer of this kind */
export function checkLlamaJson(parsed: JsonValue, file: string): LlamaTokenizerJson {
  const check = new Checker(file);
  const root = check.object(parsed, 'the file');
  return {
    added_tokens: check
      .array(root.added_tokens ?? [], 'added_tokens')
      .map((token) => check.addedToken(token)),
    normalizer: root.normalizer == null ? null : check.normalizer(root.normalizer),
    pre_tokenizer: root.pre_tokenizer == null ? null : check.metaspace(root.pre_tokenizer),
    model: check.model(root.model),
  };
}

/** Reads the values of one file and words errors about them. */
class Checker {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  invalid(expected: string, found: string): SemanticVlaError {
    return new SemanticVlaError(
      'TOKENIZER_INVALID',
      `${this.#file}: expected ${expected}, found ${found}. Take the file from the checkpoint as training left it.`,
    );
  }

  object(value: unknown, name: string): Json {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
    throw this.invalid(`an object as ${name}`, describe(value));
  }

  array(value: unknown, name: string): readonly unknown[] {
    if (Array.isArray(value)) return value;
    throw this.invalid(`an array as ${name}`, describe(value));
  }

  string(value: unknown, name: string): string {
    if (typeof value === 'string') return value;
    throw this.invalid(`a string as ${name}`, describe(value));
  }

  id(value: unknown, name: string): number {
    // Ids index embedding rows; 2^24 rows would be 64 GB of the smallest float, so more is a damaged file.
    if (Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 24)
      return value as number;
    throw this.invalid(`an id as ${name}`, describe(value));
  }

  addedToken(value: unknown): AddedToken {
    const token = this.object(value, 'each of added_tokens');
    const content = this.string(token.content, 'added_tokens.content');
    if (content === '') throw this.invalid('no empty added token', '""');
    if (token.single_word === true) throw this.unsupported(`added token ${content}`, 'single_word');
    return {
      id: this.id(token.id, `added_tokens ${content}`),
      content,
      single_word: false,
      lstrip: token.lstrip === true,
      rstrip: token.rstrip === true,
      normalized: token.normalized === true,
      special: token.special === true,
    };
  }

  normalizer(value: unknown): Normalizer {
    const { type, ...rest } = this.object(value, 'normalizer');
    switch (type) {
      case 'Prepend':
        return { type, prepend: this.string(rest.prepend, 'normalizer.prepend') };
      case 'Replace': {
        const pattern = this.object(rest.pattern, 'normalizer.pattern');
        return {
          type,
          pattern: { String: this.string(pattern.String, 'normalizer.pattern.String') },
          content: this.string(rest.content, 'normalizer.content'),
        };
      }
      case 'Sequence': {
        const parts = this.array(rest.normalizers, 'normalizer.normalizers');
        return { type, normalizers: parts.map((part) => this.normalizer(part)) };
      }
      default:
        throw this.unsupported('normalizer', String(type));
    }
  }

  metaspace(value: unknown): Metaspace {
    const { type, replacement, prepend_scheme, split } = this.object(value, 'pre_tokenizer');
    if (type !== 'Metaspace') throw this.unsupported('pre_tokenizer', String(type));
    if (split !== false) throw this.unsupported('pre_tokenizer', 'Metaspace that splits at spaces');
    if (prepend_scheme !== 'always' && prepend_scheme !== 'first' && prepend_scheme !== 'never') {
      throw this.unsupported('pre_tokenizer.prepend_scheme', describe(prepend_scheme));
    }
    return {
      type,
      replacement: this.string(replacement, 'pre_tokenizer.replacement'),
      prepend_scheme,
      split,
    };
  }

  model(value: unknown): LlamaTokenizerJson['model'] {
    const model = this.object(value, 'model');
    if (model.type !== 'BPE') throw this.invalid('model.type BPE', describe(model.type));
    if (model.byte_fallback !== true)
      throw this.unsupported('model.byte_fallback', describe(model.byte_fallback));
    for (const option of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix']) {
      if (model[option]) throw this.unsupported(`model.${option}`, describe(model[option]));
    }
    if (model.ignore_merges === true) throw this.unsupported('model.ignore_merges', 'true');
    const entries = Object.entries(this.object(model.vocab, 'model.vocab'));
    const vocab = new Map(
      entries.map(([text, id]) => [text, this.id(id, `model.vocab ${JSON.stringify(text)}`)]),
    );
    if (new Set(vocab.values()).size !== vocab.size)
      throw this.invalid('distinct ids in model.vocab', 'doubles');
    for (let byte = 0; byte < 256; byte++) {
      const text = `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
      if (!vocab.has(text)) throw this.invalid('256 byte pieces in model.vocab', `none for ${text}`);
    }
    const merges = this.array(model.merges, 'model.merges').map((merge, rank) =>
      this.merge(merge, rank, vocab),
    );
    const unknown = model.unk_token == null ? null : this.string(model.unk_token, 'model.unk_token');
    return { type: 'BPE', unk_token: unknown, byte_fallback: true, vocab, merges };
  }

  /** `"left right"` in older files, `["left", "right"]` in newer ones. */
  merge(value: unknown, rank: number, vocab: ReadonlyMap<string, number>): readonly [string, string] {
    const parts = typeof value === 'string' ? value.split(' ') : value;
    if (Array.isArray(parts) && parts.length === 2) {
      const [left, right] = parts as unknown[];
      if (typeof left === 'string' && typeof right === 'string' && vocab.has(left + right)) {
        if (vocab.has(left) && vocab.has(right)) return [left, right];
      }
    }
    throw this.invalid(`two pieces of the vocabulary as model.merges[${rank}]`, describe(value));
  }

  unsupported(what: string, found: string): SemanticVlaError {
    return new SemanticVlaError(
      'TOKENIZER_INVALID',
      `${this.#file}: expected the tokenizer of Llama 2 (BPE with byte fallback, spaces as ▁), found ${what}: ${found}, ` +
        'which would give other token ids than in training. Remove tokenizer.json if the folder also has a tokenizer.model.',
    );
  }
}

function describe(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
