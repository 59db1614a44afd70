/** The golden tokenizers and their ids. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const golden = new URL('../../golden/', import.meta.url);

export function goldenPath(name: string): string {
  return fileURLToPath(new URL(name, golden));
}

export const tokenizerFiles = {
  llamaJson: goldenPath('libero-tiny/checkpoint/tokenizer.json'),
  llamaModel: goldenPath('libero-tiny/checkpoint/tokenizer.model'),
  siglipModel: goldenPath('libero-tiny/checkpoint/siglip-text-tiny/spiece.model'),
};

/** 99 strings by the reference's tokenizers, plain and as the policy's prompt. */
export interface GoldenRow {
  readonly text: string;
  readonly llama: number[];
  readonly siglip: number[];
  readonly siglip_padded: number[] | null;
  readonly prompt: string;
  readonly prompt_llama: number[];
  readonly prompt_siglip_padded: number[] | null;
}

export function goldenRows(): GoldenRow[] {
  return (json('tokenizers/golden.json') as { rows: GoldenRow[] }).rows;
}

export const spieceVariants = ['user_defined', 'byte_fallback', 'keep_spaces'] as const;
type SpieceVariant = (typeof spieceVariants)[number];

/** Awkward and random strings; see golden/tokenizers/makeDifferential.py. */
export interface Differential {
  readonly tokenizer_metaspace: object;
  readonly suffixes: Readonly<Record<SpieceVariant, string>>;
  readonly rows: readonly ({
    readonly text: string;
    readonly llama: number[];
    readonly metaspace: number[];
    readonly siglip: number[];
  } & Readonly<Record<SpieceVariant, number[]>>)[];
}

export function differential(): Differential {
  return json('tokenizers/differential.json') as Differential;
}

function json(name: string): unknown {
  return JSON.parse(readFileSync(goldenPath(name), 'utf8'));
}
