/** Makes sentences with a given number of tokens, and others of the same length, to measure prompt lengths. */

import { SemanticVlaError } from '../support/errors.ts';
import { words } from './words.ts';

/** Number of tokens (P) of the prompt made from a sentence. */
export type CountTokens = (sentence: string) => number;

/** Words used to lengthen a sentence. */
const fillers = words.slice(0, 120);

/**
 * A sentence whose prompt has exactly `target` tokens.
 * @throws OPTION_INVALID if there is none: shorter than the prompt's fixed words, or longer than the policy accepts
 */
export function sentenceOf(target: number, count: CountTokens): string {
  let sentence = 'pick';
  let length = count(sentence);
  if (length > target) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Prompt length ${target}: expected at least ${length} tokens, which the shortest sentence has. Choose a longer one.`,
    );
  }
  for (let next = 0; length < target; next++) {
    // try the words in turn, and the whole list once more before giving up
    const found = fillers
      .map((_, i) => fillers[(next + i) % fillers.length]!)
      .find((word) => {
        const longer = count(`${sentence} ${word}`);
        return longer > length && longer <= target;
      });
    if (found === undefined) {
      throw new SemanticVlaError(
        'OPTION_INVALID',
        `Prompt length ${target}: no sentence has exactly that many tokens with this tokenizer. Choose another length.`,
      );
    }
    sentence = `${sentence} ${found}`;
    length = count(sentence);
  }
  return sentence;
}

/** Up to `most` other sentences with the same number of tokens: each replaces one word of the given one. */
export function othersLike(sentence: string, most: number, count: CountTokens): string[] {
  const length = count(sentence);
  const parts = sentence.split(' ');
  const found: string[] = [];
  for (let at = parts.length - 1; at >= 0 && found.length < most; at--) {
    for (const word of fillers) {
      if (found.length >= most) break;
      const other = [...parts.slice(0, at), word, ...parts.slice(at + 1)].join(' ');
      if (other !== sentence && !found.includes(other) && count(other) === length) found.push(other);
    }
  }
  return found;
}
