/** Shapes of the checkpoint's tensors, for deriving dimensions from them. */

import { SemanticVlaError } from '../support/errors.ts';

export type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** Shape of a tensor that must be there with `rank` dimensions; `words` says which, `where` in which file. TENSOR_MISSING, TENSOR_SHAPE. */
export function requireShape(
  shapes: Shapes,
  name: string,
  words: string,
  rank: number,
  where?: string,
): readonly number[] {
  const shape = shapes.get(name)?.shape;
  if (shape === undefined) {
    throw new SemanticVlaError(
      'TENSOR_MISSING',
      `${where === undefined ? 'Expected' : `${where}: expected`} the tensor ${name} of shape ${words}, found ${where === undefined ? 'none in the checkpoint' : `others: ${others(shapes, name)}`}. Copy all of its files.`,
    );
  }
  if (shape.length !== rank) {
    throw new SemanticVlaError(
      'TENSOR_SHAPE',
      `${name}: expected shape ${words}, found [${shape.join(', ')}].`,
    );
  }
  return shape;
}

/** Some names of the same part. */
function others(shapes: Shapes, name: string): string {
  const part = `${name.split('.', 1)[0]}.`;
  const names = [...shapes.keys()].filter((other) => other.startsWith(part));
  return names.length === 0 ? 'none' : `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}`;
}

/** How many of `prefix.0.`, `prefix.1.`, ... there are, counting up from 0. */
export function countNumbered(shapes: Shapes, prefix: string): number {
  const seen = new Set<number>();
  for (const name of shapes.keys()) {
    if (!name.startsWith(`${prefix}.`)) continue;
    const index = /^(\d{1,6})\./.exec(name.slice(prefix.length + 1))?.[1];
    if (index !== undefined) seen.add(Number(index));
  }
  let count = 0;
  while (seen.has(count)) count++;
  return count;
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}
