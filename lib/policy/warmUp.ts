/**
 * Instructions that are known before the first observation: encoded at load, and every length of prompt among them prepared by
 * one prediction. With TensorRT a new length costs a context, its bindings, on TensorRT-RTX a compilation, an uncaptured run
 * and the capture, which the first chunk of that length would wait for.
 */

import { expected } from '../support/options.ts';
import type { PolicyOptions } from '../types.ts';

/** Instructions that stay encoded unless told otherwise. */
const usualInstructions = 16;
/** Lengths of prompts that stay prepared unless told otherwise. */
const usualLengths = 4;

/** What LIBERO's cameras deliver. */
const usualFrame = [256, 256] as const;

export interface WarmUp {
  readonly instructions: readonly string[];
  /** [width, height] */
  readonly frameSize: readonly [number, number];
  /** Instructions that stay encoded. */
  readonly instructionCache: number;
}

/** @throws OPTION_INVALID */
export function warmUpOf(options: PolicyOptions): WarmUp {
  const { instructions = [], frameSize = usualFrame } = options;
  if (!Array.isArray(instructions) || instructions.some((one) => typeof one !== 'string'))
    throw expected('OPTION_INVALID', 'a list of strings', 'option instructions', instructions);
  const isSide = (side: unknown): boolean => Number.isInteger(side) && (side as number) > 0;
  if (!Array.isArray(frameSize) || frameSize.length !== 2 || !frameSize.every(isSide))
    throw expected('OPTION_INVALID', '[width, height]', 'option frameSize', frameSize);
  const distinct = [...new Set(instructions)];
  const instructionCache = options.instructionCache ?? Math.max(usualInstructions, distinct.length);
  if (instructionCache < distinct.length) {
    const what = `at least ${distinct.length}, the number of option instructions,`;
    throw expected('OPTION_INVALID', what, 'option instructionCache', instructionCache);
  }
  return { instructions: distinct, frameSize, instructionCache };
}

/**
 * Lengths of prompts that a session keeps prepared: one more than the instructions have, since another may come between.
 *
 * @param lengths distinct ones of the instructions
 * @throws OPTION_INVALID
 */
export function keptLengthsOf({ keptLengths }: Pick<PolicyOptions, 'keptLengths'>, lengths: number): number {
  if (keptLengths === undefined) return Math.max(usualLengths, lengths + 1);
  if (!Number.isInteger(keptLengths) || keptLengths < Math.max(lengths, 1) || keptLengths > 1024) {
    const least = lengths === 0 ? '' : `, at least ${lengths} for the lengths of option instructions`;
    throw expected('OPTION_INVALID', `a whole number in 1..1024${least}`, 'option keptLengths', keptLengths);
  }
  return keptLengths;
}

/** What is done to an instruction. */
export interface Warmed {
  /** Tokens of its prompt. */
  length(instruction: string): number;
  encode(instruction: string): Promise<unknown>;
  predict(instruction: string): Promise<unknown>;
}

/** Longest first: scratch memory that grows later would void the graphs that were captured before. */
export async function warmUp(
  instructions: readonly string[],
  { length, encode, predict }: Warmed,
): Promise<void> {
  const prepared = new Set<number>();
  for (const instruction of [...instructions].sort((a, b) => length(b) - length(a))) {
    const tokens = length(instruction);
    await (prepared.has(tokens) ? encode(instruction) : predict(instruction));
    prepared.add(tokens);
  }
}
