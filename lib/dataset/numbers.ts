/** Rows of numbers as they come from files, checked. */

import { SemanticVlaError } from '../support/errors.ts';

/** The numbers of several features, joined: [rows, width] row-major float64. */
export interface Joined {
  readonly values: Float64Array;
  readonly width: number;
}

/**
 * @param rows one per step; each contains the named features as a number or a list of numbers
 * @param source for messages: what the rows belong to
 * @throws EPISODE_INVALID if a value is not a finite number, or rows have different widths
 */
export function joinRows(
  rows: readonly Readonly<Record<string, unknown>>[],
  names: readonly string[],
  source: string,
): Joined {
  const lists = rows.map((row, step) =>
    names.flatMap((name) => listOf(row[name], `${source}, step ${step}, ${name}`)),
  );
  const width = lists[0]?.length ?? 0;
  const values = new Float64Array(rows.length * width);
  for (const [step, list] of lists.entries()) {
    if (list.length !== width) {
      throw new SemanticVlaError(
        'EPISODE_INVALID',
        `${source}, step ${step}: expected ${width} numbers in ${names.join(', ')}, as at step 0, found ${list.length}. The recording is damaged: record or convert it again.`,
      );
    }
    values.set(list, step * width);
  }
  requireFinite(values, width, names, source);
  return { values, width };
}

/** @throws EPISODE_INVALID */
export function requireFinite(
  values: Float64Array,
  width: number,
  names: readonly string[],
  source: string,
): void {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  throw new SemanticVlaError(
    'EPISODE_INVALID',
    `${source}, step ${Math.floor(at / width)}: expected finite numbers in ${names.join(', ')}, found ${values[at]} at ${at % width}. ` +
      'Leave this episode out with the option episodes, or mend the recording.',
  );
}

function listOf(value: unknown, what: string): number[] {
  const list =
    Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value as ArrayLike<unknown>) : [value];
  return list.map((item) => {
    // Parquet's int64
    if (typeof item === 'number' || typeof item === 'bigint') return Number(item);
    if (typeof item === 'boolean') return Number(item);
    throw new SemanticVlaError(
      'EPISODE_INVALID',
      `${what}: expected numbers, found ${item === null || item === undefined ? 'nothing' : `a ${typeof item}`}. Leave this episode out, or mend the recording.`,
    );
  });
}
