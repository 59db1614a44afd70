/** Selects episodes of a dataset: `0,3-5`. */

import { SemanticVlaError } from '../support/errors.ts';

/** Both ends are included. */
export interface NumberRange {
  readonly first: number;
  readonly last: number;
}

/** @returns null if it is not in this form */
export function parseNumbers(text: string): readonly NumberRange[] | null {
  const ranges = text.split(',').map((part) => {
    const found = /^\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*$/.exec(part);
    if (found === null) return null;
    const first = Number(found[1]);
    return { first, last: Number(found[2] ?? first) };
  });
  const isWhole = ranges.every((range) => range !== null && range.first <= range.last);
  return isWhole ? (ranges as NumberRange[]) : null;
}

/**
 * @param numbers the available ones, ascending
 * @param ranges default: all
 * @returns the selected ones, ascending, without duplicates
 * @throws OPTION_INVALID if a range contains none of them, or a single number is not among them
 */
export function chooseNumbers(
  path: string,
  numbers: readonly number[],
  ranges: readonly NumberRange[] | undefined,
): readonly number[] {
  if (ranges === undefined) return numbers;
  for (const { first, last } of ranges) {
    if (numbers.some((number) => number >= first && number <= last)) continue;
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option episodes: expected numbers of ${path}, which has ${numbers.length} episodes (${numbers[0]} to ${numbers.at(-1)}), found ${first === last ? first : `${first}-${last}`}.`,
    );
  }
  return numbers.filter((number) => ranges.some(({ first, last }) => number >= first && number <= last));
}
