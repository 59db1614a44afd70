/**
 * Instruction -> prompt -> token ids of both tokenizers (docs/model.md, Input 2). Pure; tokenizers are passed in.
 */

import type { PolicyConfig } from '../checkpoint/policyConfig.ts';
import { countTokens, type SequenceSizes } from '../graph/tokenCounts.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { expected } from '../support/options.ts';
import type { PromptStyle } from '../types.ts';
import type { Tokenizers } from './tokenizer/tokenizers.ts';

/** An encoded instruction. */
export interface EncodedPrompt {
  readonly prompt: string;
  /** [P] Llama ids: `<s>` first, `▁` last. */
  readonly promptIds: number[];
  /** [positions] SigLIP text ids, padded with `</s>`; null if no tower has a sampler. */
  readonly siglipIds: number[] | null;
  /** [positions] true for ids of text; `</s>` itself is masked too, as in the reference. null like `siglipIds`. */
  readonly siglipMask: boolean[] | null;
}

export interface PromptLimits {
  /** Length of the SigLIP text tower's sequence (64); null if no tower has a sampler. */
  readonly siglipPositions: number | null;
  /** Most prompt tokens P that fit in the language model besides images, proprioception and actions. */
  readonly promptTokens: number;
}

/**
 * `In: What action should the robot take to {instruction, lower case}?\nOut:` (any string, unchecked). JavaScript's lower case
 * equals Python's: compared for every character of Unicode 14; characters added later depend on the versions of both.
 */
export function buildPrompt(instruction: string, style: PromptStyle = 'openvla'): string {
  const question = `What action should the robot take to ${instruction.toLowerCase()}?`;
  return style === 'openvla' ? `In: ${question}\nOut:` : `${vicunaSystem} USER: ${question} ASSISTANT:`;
}

/** Vicuna 1.5's, which openvla-7b-v01 was trained with. */
const vicunaSystem =
  "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions.";

/** The space that everything else in the sequence leaves for the prompt (docs/model.md, LLM). */
export function promptLimits(
  config: PolicyConfig,
  sizes: SequenceSizes & { readonly actionDim: number },
): PromptLimits {
  const sampler = config.siglip.sampler ?? config.dinov2.sampler;
  return {
    siglipPositions: sampler?.textEncoder.positions ?? null,
    promptTokens: config.llama.maxPositions - countTokens(config, sizes).besidePrompt,
  };
}

/**
 * The reference accepts an empty instruction; here it is refused, since a robot that is told nothing points to a mistake
 * upstream.
 * @throws INSTRUCTION_INVALID if it is not a string, blank, or not well-formed Unicode
 */
export function checkInstruction(instruction: unknown): string {
  if (typeof instruction !== 'string') {
    throw expected('INSTRUCTION_INVALID', 'a string', 'instruction', instruction);
  }
  if (instruction.trim() === '') {
    throw new SemanticVlaError(
      'INSTRUCTION_INVALID',
      `Expected a sentence for instruction but received ${JSON.stringify(instruction)}. Say what the robot should do.`,
    );
  }
  if (!instruction.isWellFormed()) {
    throw new SemanticVlaError(
      'INSTRUCTION_INVALID',
      `Expected well-formed Unicode for instruction but received ${JSON.stringify(instruction)}, which holds half of a ` +
        'surrogate pair. It was probably cut in the middle of a character.',
    );
  }
  return instruction;
}

/**
 * @throws INSTRUCTION_INVALID see checkInstruction
 * @throws INSTRUCTION_TOO_LONG if there are more ids than a tower has positions; nothing is ever truncated
 */
export function encodePrompt(
  tokenizers: Tokenizers,
  instruction: string,
  limits: PromptLimits,
  style?: PromptStyle,
): EncodedPrompt {
  return encodeText(tokenizers, buildPrompt(checkInstruction(instruction), style), limits);
}

/** As encodePrompt, for a prompt that is already built. @throws INSTRUCTION_TOO_LONG */
export function encodeText(tokenizers: Tokenizers, prompt: string, limits: PromptLimits): EncodedPrompt {
  const { llama, siglip } = tokenizers;
  // Rejects megabytes of text cheaply; the exact count follows below.
  const atLeast = Math.ceil(prompt.length / llama.longestPiece);
  if (atLeast > limits.promptTokens) {
    throw tooLong(prompt, `at least ${atLeast}`, limits.promptTokens, 'language model');
  }
  const promptIds = llama.encode(prompt);
  if (promptIds.at(-1) !== llama.spaceId) promptIds.push(llama.spaceId);
  if (promptIds.length > limits.promptTokens) {
    throw tooLong(prompt, `${promptIds.length}`, limits.promptTokens, 'language model');
  }
  if (siglip === null || limits.siglipPositions === null) {
    return { prompt, promptIds, siglipIds: null, siglipMask: null };
  }
  const siglipIds = siglip.encode(prompt);
  if (siglipIds.length > limits.siglipPositions) {
    throw tooLong(prompt, `${siglipIds.length}`, limits.siglipPositions, 'SigLIP text tower');
  }
  while (siglipIds.length < limits.siglipPositions) siglipIds.push(siglip.endId);
  return { prompt, promptIds, siglipIds, siglipMask: siglipIds.map((id) => id !== siglip.endId) };
}

function tooLong(prompt: string, count: string, most: number, where: string): SemanticVlaError {
  const shown = prompt.length > 80 ? `${prompt.slice(0, 80).toWellFormed()}...` : prompt;
  return new SemanticVlaError(
    'INSTRUCTION_TOO_LONG',
    `Prompt ${JSON.stringify(shown)}: expected at most ${most} tokens for the ${where}, found ${count}. Shorten the instruction.`,
  );
}
