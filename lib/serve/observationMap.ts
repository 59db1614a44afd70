/**
 * Turns the fields of a request, in whatever form they arrived, into an observation and an instruction. Cameras are found by
 * configured name. The reference takes every key that contains "wrist", in dictionary order, so two clients of one robot could
 * show a policy its cameras swapped.
 */

import { checkImageBytes, decodeImage } from '../observation/decodeImage.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { checkOptions, expected } from '../support/options.ts';
import { frameOfArray } from '../transforms/imageFrame.ts';
import type { ImageFrame, Observation, Policy } from '../types.ts';
import { invalidRequest, NdArray, type WireValue } from './ndarray.ts';
import type { WireFields } from './wireFields.ts';

/** Where to find things in a request. `a/b` is the key `a/b` or, if there is none, `b` inside `a`. */
export interface ObservationKeys {
  /** The key of each camera's image. Default: the camera's own name. */
  readonly cameras?: Readonly<Record<string, string>>;
  /** Default: `state`. */
  readonly state?: string;
  /** Default: `instruction`, or `prompt` as in openpi; a request may contain only one of them. */
  readonly instruction?: string;
}

export interface ServedObservation {
  /**
   * The observation, its JPEG and PNG frames decoded: large memory, so only when it is the request's turn.
   * @throws (rejects) IMAGE_*, PACKAGE_UNAVAILABLE
   */
  readonly observation: () => Promise<Observation>;
  readonly instruction: string;
  /** The dataset in whose units the client wants its actions; null: it does not say. */
  readonly unnormKey: string | null;
}

export type ReadObservation = (fields: WireFields) => ServedObservation;

/** More numbers than any robot has joints. States written as plain lists are also bounded by the JSON parser. */
const maxStateSize = 4096;

/**
 * Makes a reader of requests for this policy.
 * @throws OPTION_UNKNOWN, OPTION_INVALID, or CAMERA_UNKNOWN if `keys` names a camera that the policy does not have
 */
export function observationReader(
  policy: Pick<Policy, 'platform'>,
  keys: ObservationKeys = {},
): ReadObservation {
  checkKeys(keys, policy.platform.cameras);
  const { cameras, state: stateKey, instruction: instructionKeys } = requestKeys(policy, keys);
  const needsState = policy.platform.proprio;

  return (fields) => {
    const images = cameras.map(({ name, key }) => [name, frame(fields, name, key)] as const);
    const state = fields.find(stateKey);
    if (state === undefined && needsState) {
      throw new SemanticVlaError(
        'STATE_INVALID',
        `Field ${stateKey}: expected the joint state, found ${fields.names()}. Send it, or serve with --state-key KEY ` +
          '(keys.state) where another key holds it.',
      );
    }
    const values = state === undefined ? null : stateOf(state, stateKey, needsState);
    return {
      observation: async () => {
        const frames: Record<string, ImageFrame> = {};
        for (const [name, image] of images) frames[name] = 'decode' in image ? await image.decode() : image;
        return values === null ? { images: frames } : { images: frames, state: values };
      },
      instruction: instruction(fields, instructionKeys),
      unnormKey: unnormKey(fields),
    };
  };
}

/** The keys of a request, with the defaults where `keys` says nothing. */
export function requestKeys({ platform }: Pick<Policy, 'platform'>, keys: ObservationKeys) {
  return {
    cameras: platform.cameras.map((name) => ({ name, key: keys.cameras?.[name] ?? name })),
    state: keys.state ?? 'state',
    instruction: keys.instruction === undefined ? ['instruction', 'prompt'] : [keys.instruction],
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

/** Describes a value in a message. */
function kindOf(value: WireValue): string {
  if (value instanceof NdArray) return `an array of shape (${value.shape.join(', ')})`;
  if (value instanceof Map) return 'an object';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'string' ? 'a text' : `${String(value)}`;
}

/** What to tell a client of either protocol that did not send an array. */
const asArray =
  'Send a NumPy array: in Python json_numpy.patch() before json.dumps or requests.post(json=...), over the WebSocket ' +
  "openpi_client's msgpack_numpy";

/** A JPEG or PNG as it came. */
interface EncodedFrame {
  readonly decode: () => Promise<ImageFrame>;
}

/**
 * An array of shape (height, width, 3) or (3, height, width), or an encoded image: bytes (msgpack), an array of them as cv2.imencode makes, or base64.
 */
function frame(fields: WireFields, camera: string, key: string): ImageFrame | EncodedFrame {
  const value = fields.find(key);
  if (value === undefined) {
    throw new SemanticVlaError(
      'CAMERA_MISSING',
      `Field ${key}: expected the image of camera ${camera}, found ${fields.names()}. Send it, or serve with --camera ` +
        `${camera}=KEY (keys.cameras) where another key holds it.`,
    );
  }
  const bytes = encodedBytes(value);
  if (bytes !== null) {
    checkImageBytes(bytes.length, `Field ${key}`);
    return { decode: () => decodeImage(bytes, `Field ${key}`) };
  }
  if (value instanceof NdArray) {
    if (!isChannelsFirst(value)) return frameOfArray(value, `Field ${key}`);
    return { decode: async () => frameOfArray(channelsLast(value), `Field ${key}`) };
  }
  throw new SemanticVlaError(
    'IMAGE_INVALID',
    `Field ${key}: expected an array of shape (height, width, 3), uint8, found ${kindOf(value)}. ${asArray}; or the bytes of a JPEG.`,
  );
}

/** As openpi's ALOHA clients send images; a width of three pixels would be a guess, and is taken for the channels. */
function isChannelsFirst({ dtype, shape }: NdArray): boolean {
  return dtype === '|u1' && shape.length === 3 && shape[0] === 3 && shape[2] !== 3;
}

/** [3, height, width] -> [height, width, 3] */
function channelsLast({ dtype, shape, data }: NdArray): NdArray {
  const pixels = data.length / 3;
  const moved = new Uint8Array(data.length);
  for (let channel = 0; channel < 3; channel++) {
    for (let at = 0; at < pixels; at++) moved[3 * at + channel] = data[channel * pixels + at]!;
  }
  return new NdArray(dtype, [shape[1]!, shape[2]!, 3], moved);
}

/** null: it is no encoded image, nor meant as one. */
function encodedBytes(value: WireValue): Uint8Array | null {
  if (typeof value === 'string') {
    const text = value.replace(/^data:image\/\w+;base64,/, '');
    // the first bytes of a JPEG or a PNG
    return /^(?:\/9j\/|iVBORw0KGgo)[A-Za-z0-9+/]*={0,2}$/.test(text) ? Buffer.from(text, 'base64') : null;
  }
  if (!(value instanceof NdArray) || value.dtype !== '|u1') return null;
  const { data, shape } = value;
  const isRow = shape.length === 1 || (shape.length === 2 && shape.includes(1));
  const isEncoded = (data[0] === 0xff && data[1] === 0xd8) || (data[0] === 0x89 && data[1] === 0x50);
  return isRow && isEncoded ? data : null;
}

/** null: it is not numeric. The policy does not read it, though a scheduler around it may. */
function stateOf(value: WireValue, key: string, isNeeded: boolean): Float64Array | null {
  try {
    return numbers(value, key);
  } catch (error) {
    if (isNeeded) throw error;
    return null;
  }
}

function numbers(value: WireValue, key: string): Float64Array {
  const fail = (found: string): never => {
    throw new SemanticVlaError(
      'STATE_INVALID',
      `Field ${key}: expected an array of finite numbers of one dimension, found ${found}.`,
    );
  };
  const row = rowOf(value);
  if (row === null) return fail(kindOf(value));
  if (row.length > maxStateSize) return fail(`${row.length} of them`);
  return Float64Array.from(row, (item, i) => {
    const number = scalarOf(item);
    if (number === null) return fail(`${kindOf(item)} at ${i}`);
    return Number.isFinite(number) ? number : fail(`${number} at ${i}`);
  });
}

/** [n], or [1, n] for a batch of one; null for any other shape. A scalar has no row. */
function rowOf(value: WireValue): ArrayLike<WireValue> | null {
  if (Array.isArray(value)) {
    const [only] = value as readonly WireValue[];
    const isBatch =
      value.length === 1 && (Array.isArray(only) || (only instanceof NdArray && only.shape.length === 1));
    return isBatch ? rowOf(only!) : (value as readonly WireValue[]);
  }
  if (!(value instanceof NdArray)) return null;
  const { shape } = value;
  const isRow = shape.length === 1 || (shape.length === 2 && shape[0] === 1);
  if (!isRow) return null;
  return shape.at(-1)! <= maxStateSize ? value.numbers() : { length: shape.at(-1)! };
}

/** An item of a list: a number, or a NumPy scalar, which json_numpy writes as an array without dimensions. */
function scalarOf(item: WireValue): number | null {
  if (typeof item === 'number') return item;
  return item instanceof NdArray && item.shape.length === 0 ? item.numbers()[0]! : null;
}

function instruction(fields: WireFields, keys: readonly string[]): string {
  const given = keys.filter((key) => fields.find(key) !== undefined);
  const [key] = given;
  if (key === undefined) {
    throw new SemanticVlaError(
      'INSTRUCTION_INVALID',
      `Field ${keys.join(' or ')}: expected what the robot should do, found ${fields.names()}. Send it, or serve with ` +
        '--instruction-key KEY (keys.instruction) where another key holds it.',
    );
  }
  if (given.length > 1) throw invalidRequest(`one of ${keys.join(', ')}`, `${given.length} of them`);
  const text = fields.find(key)!;
  // Half of a UTF-16 surrogate pair is not text that UTF-8 could carry.
  if (typeof text === 'string' && text.trim() !== '' && text.isWellFormed()) return text;
  const found =
    typeof text !== 'string' ? kindOf(text) : text.trim() === '' ? 'an empty one' : 'half a character';
  throw new SemanticVlaError('INSTRUCTION_INVALID', `Field ${key}: expected a text, found ${found}.`);
}

/** The original OpenVLA clients send it to choose the statistics; a server has only one set. */
function unnormKey(fields: WireFields): string | null {
  const key = fields.find('unnorm_key');
  if (key === undefined || typeof key === 'string') return key ?? null;
  throw invalidRequest('`unnorm_key` to be a text', kindOf(key));
}
