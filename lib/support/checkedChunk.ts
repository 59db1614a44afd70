/**
 * The one door for chunks. Whatever made one - a model, an engine's process, a server, a policy that a user wrote - it is
 * checked here, whole, where it enters a scheduler or leaves a supervisor, a client or a guard. Measured on one core of a
 * shared server: 2.6 us for 8 actions of 7 dimensions, 21 us for 25 of 14 with 24,576 similarities of three cameras
 * (bench/supervise/door.ts).
 */

import { isFloat32Array, isFloat64Array, isInt32Array } from 'node:util/types';
import type { ActionChunk, Policy } from '../types.ts';
import { type ErrorCode, SemanticVlaError } from './errors.ts';
import { expected } from './options.ts';

/** More rows than any policy of this kind returns: anything longer is not a chunk. */
export const mostRows = 4096;

/** What a chunk is checked against. `patchGrid` 0 or absent: unknown, as from a server that does not say. */
export type ChunkFacts = Pick<Policy, 'dimensions'> & Partial<Pick<Policy, 'patchGrid'>>;

/**
 * A chunk as `policy` promises it: C actions of the policy's A dimensions, by name and in order, all of it finite.
 *
 * The result is a new object. Its `actions` and `normalized` are copies, checked after they were copied, and everything
 * but the numbers in the arrays is frozen, so whoever made the chunk may reuse its memory. `keptPatches` and `similarity`,
 * which move nothing, keep their arrays. Throws nothing but the codes below, whatever `chunk` is.
 *
 * @param chunk unknown on purpose; `normalized` may be empty, as from a server that does not send it
 * @param from what the error calls it
 * @throws CHUNK_INVALID not an object, an array missing or of another type or length, other dimensions, more than 4,096
 *   rows, impossible indices; ACTION_NOT_FINITE with row and dimension
 */
export function checkedChunk(chunk: unknown, policy: ChunkFacts, from = 'chunk'): ActionChunk {
  try {
    return read(chunk, policy, from);
  } catch (error) {
    if (error instanceof SemanticVlaError) throw error;
    // a getter that throws, an array without memory
    throw refusal(
      'CHUNK_INVALID',
      `Expected a chunk for ${from} that can be read, found one that throws.`,
      error,
    );
  }
}

function read(chunk: unknown, { dimensions, patchGrid = 0 }: ChunkFacts, from: string): ActionChunk {
  if (typeof chunk !== 'object' || chunk === null || Array.isArray(chunk)) {
    throw invalid('an object with actions, normalized and shape', from, chunk);
  }
  // each field once: a getter may give something else the second time
  const { actions, normalized, shape, timings, instruction, unnormKey, ...rest } = chunk as Loose;
  const [rows, columns] = readShape(shape, dimensions, `${from}.shape`);
  readNames(rest.dimensions, dimensions, `${from}.dimensions`);
  const length = rows * columns;
  if (!isFloat64Array(actions)) throw invalid('a Float64Array', `${from}.actions`, actions);
  if (!isFloat32Array(normalized)) throw invalid('a Float32Array', `${from}.normalized`, normalized);
  const ownActions = new Float64Array(actions);
  const ownNormalized = new Float32Array(normalized);
  checkLength(ownActions.length, length, `${from}.actions of shape [${rows}, ${columns}]`);
  if (ownNormalized.length !== 0)
    checkLength(ownNormalized.length, length, `${from}.normalized of shape [${rows}, ${columns}]`);
  checkFinite(ownActions, dimensions, `${from}.actions`);
  checkFinite(ownNormalized, dimensions, `${from}.normalized`);
  if (typeof instruction !== 'string') throw invalid('a sentence', `${from}.instruction`, instruction);
  if (typeof unnormKey !== 'string') throw invalid('a name', `${from}.unnormKey`, unnormKey);
  const patches = patchGrid > 0 ? patchGrid ** 2 : 2 ** 31;
  return Object.freeze({
    actions: ownActions,
    normalized: ownNormalized,
    shape: Object.freeze([rows, columns] as const),
    dimensions,
    keptPatches: readRecord(rest.keptPatches, `${from}.keptPatches`, (value, name) =>
      readIndices(value, patches, name),
    ),
    similarity: readRecord(rest.similarity, `${from}.similarity`, readSimilarity),
    timings: readRecord(timings, `${from}.timings`, readTime),
    instruction,
    unnormKey,
  });
}

type Loose = Readonly<Record<keyof ActionChunk, unknown>>;

function readShape(shape: unknown, dimensions: readonly string[], name: string): readonly [number, number] {
  const [rows, columns, ...more] = Array.isArray(shape) ? (shape as unknown[]) : [];
  const right =
    Number.isInteger(rows) &&
    (rows as number) >= 1 &&
    (rows as number) <= mostRows &&
    columns === dimensions.length &&
    more.length === 0;
  if (!right) throw invalid(`[rows, ${dimensions.length}] with 1 to ${mostRows} rows`, name, shape);
  return [rows as number, columns as number];
}

function readNames(given: unknown, dimensions: readonly string[], name: string): void {
  if (given === dimensions) return;
  if (!Array.isArray(given)) throw invalid(`the names ${dimensions.join(' ')}`, name, given);
  const right = given.length === dimensions.length && dimensions.every((known, i) => given[i] === known);
  if (!right) throw invalid(`the policy's names in its order, ${dimensions.join(' ')}`, name, given);
}

function checkLength(length: number, wanted: number, name: string): void {
  if (length !== wanted)
    throw refusal('CHUNK_INVALID', `Expected ${wanted} numbers for ${name}, found ${length}.`);
}

/** One broken value rules out the whole chunk: the others come from the same computation. */
function checkFinite(values: Float64Array | Float32Array, dimensions: readonly string[], name: string): void {
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    const width = dimensions.length;
    throw refusal(
      'ACTION_NOT_FINITE',
      `Expected finite numbers for ${name}, found ${values[i]} in row ${Math.floor(i / width)}, dimension ${dimensions[i % width]}.`,
    );
  }
}

function readRecord<T>(
  record: unknown,
  name: string,
  each: (value: unknown, name: string) => T,
): Readonly<Record<string, T>> {
  if (typeof record !== 'object' || record === null || Array.isArray(record) || ArrayBuffer.isView(record))
    throw invalid('an object', name, record);
  const entries = Object.entries(record as Record<string, unknown>);
  return Object.freeze(
    Object.fromEntries(entries.map(([key, value]) => [key, each(value, `${name}.${key}`)])),
  );
}

function readIndices(value: unknown, patches: number, name: string): Int32Array {
  if (!isInt32Array(value)) throw invalid('an Int32Array', name, value);
  let before = -1;
  for (let i = 0; i < value.length; i++) {
    const index = value[i]!;
    if (index <= before || index >= patches) {
      throw refusal(
        'CHUNK_INVALID',
        `Expected ascending indices below ${patches} for ${name}, found ${index} at ${i} after ${before}.`,
      );
    }
    before = index;
  }
  return value;
}

function readSimilarity(value: unknown, name: string): Float32Array {
  if (!isFloat32Array(value)) throw invalid('a Float32Array', name, value);
  // 0 times anything but a finite number is NaN, which stays in the sum; four sums can be computed in parallel
  let [a, b, c, d] = [0, 0, 0, 0];
  const fours = value.length & ~3;
  for (let i = 0; i < fours; i += 4) {
    a += value[i]! * 0;
    b += value[i + 1]! * 0;
    c += value[i + 2]! * 0;
    d += value[i + 3]! * 0;
  }
  for (let i = fours; i < value.length; i++) a += value[i]! * 0;
  if (a + b + c + d !== 0)
    throw refusal('CHUNK_INVALID', `Expected finite numbers for ${name}, found one that is not.`);
  return value;
}

function readTime(value: unknown, name: string): number {
  if (typeof value !== 'number' || !(value >= 0 && value < Number.POSITIVE_INFINITY))
    throw invalid('milliseconds from 0 on', name, value);
  return value;
}

function invalid(what: string, name: string, value: unknown): SemanticVlaError {
  return refusal('CHUNK_INVALID', expected('CHUNK_INVALID', what, name, value).message);
}

function refusal(code: ErrorCode, found: string, cause?: unknown): SemanticVlaError {
  const next =
    code === 'ACTION_NOT_FINITE'
      ? 'check the observation, then the weights of the checkpoint.'
      : 'it comes from another robot, or what made it is broken.';
  return new SemanticVlaError(code, `${found} Nothing of this chunk is used; ${next}`, { cause });
}
