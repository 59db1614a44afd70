/**
 * The fields of a request, however they came, as an observation and an instruction. Cameras are taken by configured name:
 * the reference takes every key with "wrist" in it in the order of the dictionary, so that two clients of one robot can
 * show a policy its cameras swapped.
 */

import { SemanticVlaError } from '../support/errors.ts';
import { checkOptions, expected } from '../support/options.ts';
import { frameOfArray } from '../transforms/imageFrame.ts';
import type { ImageFrame, Observation, Policy } from '../types.ts';
import { invalidRequest, NdArray, type WireMap, type WireValue } from './ndarray.ts';

/** Where a request holds what. `a/b` names the key `a/b` or, where there is none, `b` inside of `a`. */
export interface ObservationKeys {
  /** By camera of the policy: the key of its image. Default: the camera's own name. */
  readonly cameras?: Readonly<Record<string, string>>;
  /** Default: `state`. */
  readonly state?: string;
  /** Default: `instruction`, or `prompt` as openpi calls it; a request may have one of them. */
  readonly instruction?: string;
}

export interface ServedObservation {
  readonly observation: Observation;
  readonly instruction: string;
}

export type ReadObservation = (fields: WireMap) => ServedObservation;

/** More numbers than any robot has joints; a bound for states written as plain lists is in the JSON reader. */
const maxStateSize = 4096;

/**
 * A reader of requests for this policy.
 * @throws OPTION_UNKNOWN, OPTION_INVALID, CAMERA_UNKNOWN `keys` names what the policy does not have
 */
export function observationReader(
  policy: Pick<Policy, 'platform'>,
  keys: ObservationKeys = {},
): ReadObservation {
  checkKeys(keys, policy.platform.cameras);
  const cameras = policy.platform.cameras.map((name) => ({ name, key: keys.cameras?.[name] ?? name }));
  const stateKey = keys.state ?? 'state';
  const instructionKeys = keys.instruction === undefined ? ['instruction', 'prompt'] : [keys.instruction];
  const needsState = policy.platform.proprio;

  return (fields) => {
    const images: Record<string, ImageFrame> = {};
    for (const { name, key } of cameras) images[name] = frame(find(fields, key), key);
    const state = find(fields, stateKey);
    if (state === undefined && needsState) {
      throw new SemanticVlaError('STATE_INVALID', `Field ${stateKey}: expected the joint state, found none.`);
    }
    const observation = state === undefined ? { images } : { images, state: numbers(state, stateKey) };
    return { observation, instruction: instruction(fields, instructionKeys) };
  };
}

function checkKeys(keys: ObservationKeys, known: readonly string[]): void {
  checkOptions(keys, ['cameras', 'state', 'instruction'], 'keys');
  for (const [name, key] of Object.entries(keys.cameras ?? {})) {
    if (!known.includes(name)) {
      throw new SemanticVlaError(
        'CAMERA_UNKNOWN',
        `Option keys.cameras: expected cameras of the policy (${known.join(', ')}), found ${name}.`,
      );
    }
    if (typeof key !== 'string' || key === '')
      throw expected('OPTION_INVALID', 'a key', `keys.cameras.${name}`, key);
  }
  for (const name of ['state', 'instruction'] as const) {
    const key: unknown = keys[name];
    if (key !== undefined && (typeof key !== 'string' || key === '')) {
      throw expected('OPTION_INVALID', 'a key', `keys.${name}`, key);
    }
  }
}

function find(fields: WireMap, key: string): WireValue | undefined {
  const own = fields.get(key);
  if (own !== undefined) return own;
  const slash = key.indexOf('/');
  if (slash < 0) return undefined;
  const outer = fields.get(key.slice(0, slash));
  return outer instanceof Map ? find(outer, key.slice(slash + 1)) : undefined;
}

function frame(value: WireValue | undefined, key: string): ImageFrame {
  if (value === undefined) {
    throw new SemanticVlaError(
      'CAMERA_MISSING',
      `Field ${key}: expected an image, found none. Send it, or configure which key holds which camera.`,
    );
  }
  if (!(value instanceof NdArray)) {
    throw new SemanticVlaError('IMAGE_INVALID', `Field ${key}: expected an array, found something else.`);
  }
  return frameOfArray(value, `Field ${key}`);
}

function numbers(value: WireValue, key: string): Float64Array {
  const fail = (found: string): never => {
    throw new SemanticVlaError(
      'STATE_INVALID',
      `Field ${key}: expected an array of finite numbers of one dimension, found ${found}.`,
    );
  };
  const list = value instanceof NdArray ? rowOf(value) : Array.isArray(value) ? value : null;
  if (list === null)
    return fail(value instanceof NdArray ? `shape (${value.shape.join(', ')})` : 'another value');
  const state = Float64Array.from(list, (item) => (typeof item === 'number' ? item : Number.NaN));
  return state.every(Number.isFinite) ? state : fail('one that is not finite, or no number');
}

/** [n], or [1, n] as a batch of one; null for another shape or too many. A scalar has no row. */
function rowOf(array: NdArray): Float64Array | null {
  const { shape } = array;
  const isRow = shape.length === 1 || (shape.length === 2 && shape[0] === 1);
  return isRow && shape.at(-1)! <= maxStateSize ? array.numbers() : null;
}

function instruction(fields: WireMap, keys: readonly string[]): string {
  const given = keys.filter((key) => find(fields, key) !== undefined);
  const [key] = given;
  if (key === undefined) {
    throw new SemanticVlaError(
      'INSTRUCTION_INVALID',
      `Field ${keys.join(' or ')}: expected what the robot shall do, found none.`,
    );
  }
  if (given.length > 1) throw invalidRequest(`one of ${keys.join(', ')}`, `${given.length} of them`);
  const text = find(fields, key);
  if (typeof text === 'string' && text.trim() !== '') return text;
  throw new SemanticVlaError('INSTRUCTION_INVALID', `Field ${key}: expected a text, found none.`);
}
