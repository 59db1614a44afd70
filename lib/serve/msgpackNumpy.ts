/**
 * openpi's msgpack: one binary frame per message; arrays are maps with binary keys `{b"__ndarray__": true, b"data": bytes,
 * b"dtype": "<f4", b"shape": [...]}`, NumPy scalars are `{b"__npgeneric__": true, b"data": item, b"dtype": "<f4"}`
 * (openpi_client/msgpack_numpy.py).
 */

import msgpack5 from 'msgpack5';
import { checkMsgpack } from './msgpackCheck.ts';
import { checkDtype, checkShape, invalidRequest, NdArray, type WireMap, type WireValue } from './ndarray.ts';
import { type WireFields, wireFields } from './wireFields.ts';

/** Objects have no binary keys. */
const msgpack = msgpack5({ preferMap: true, forceFloat64: true });

const keys = {
  ndarray: Buffer.from('__ndarray__'),
  data: Buffer.from('data'),
  dtype: Buffer.from('dtype'),
  shape: Buffer.from('shape'),
};

/**
 * @param bytes one message; arrays in the result are views of it
 * @throws REQUEST_INVALID
 */
export function decodeMsgpackNumpy(bytes: Uint8Array): WireValue {
  return decode(unpackMsgpack(bytes));
}

/** Maps are Maps, with the keys as they came: texts or bytes. @throws REQUEST_INVALID */
export function unpackMsgpack(bytes: Uint8Array): unknown {
  checkMsgpack(bytes);
  try {
    return msgpack.decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch {
    throw invalidRequest('msgpack', 'other bytes');
  }
}

/** A request: a map. @throws REQUEST_INVALID */
export function decodeMsgpackRequest(bytes: Uint8Array): WireFields {
  const fields = inside(unpackMsgpack(bytes));
  if (fields === null) throw invalidRequest('a msgpack map', 'something else');
  return wireFields(fields, { inside, decode });
}

/** null: not a map, or one that stands for an array or a scalar. */
function inside(value: unknown): ReadonlyMap<string, unknown> | null {
  if (!(value instanceof Map)) return null;
  const { fields, marks } = readKeys(value);
  return marks.has('__ndarray__') || marks.has('__npgeneric__') ? null : fields;
}

/** A message that must be a map. @throws REQUEST_INVALID */
export function decodeMsgpackMap(bytes: Uint8Array): WireMap {
  const value = decodeMsgpackNumpy(bytes);
  if (value instanceof Map) return value;
  throw invalidRequest('a msgpack map', 'something else');
}

function decode(value: unknown): WireValue {
  if (
    value === null ||
    typeof value === 'boolean' ||
    typeof value === 'number' ||
    typeof value === 'string'
  ) {
    return value;
  }
  if (Array.isArray(value)) return value.map(decode);
  // The protocol has no bytes outside of arrays, but they do no harm: they are read as |u1.
  if (value instanceof Uint8Array) return new NdArray('|u1', [value.length], value);
  if (value instanceof Map) return decodeMap(value);
  throw invalidRequest('plain msgpack types', typeof value);
}

interface Keys {
  readonly fields: ReadonlyMap<string, unknown>;
  /** Keys given as bytes: only those mark an array. */
  readonly marks: ReadonlySet<string>;
}

/** Names are unique: msgpackCheck has checked that. */
export function readKeys(map: Map<unknown, unknown>): Keys {
  const fields = new Map<string, unknown>();
  const marks = new Set<string>();
  for (const [key, value] of map) {
    const name = keyText(key);
    if (name === '__proto__') throw invalidRequest('plain keys', '__proto__');
    if (typeof key !== 'string') marks.add(name);
    fields.set(name, value);
  }
  return { fields, marks };
}

function decodeMap(map: Map<unknown, unknown>): WireValue {
  const { fields, marks } = readKeys(map);
  if (marks.has('__ndarray__')) return decodeArray(fields);
  if (marks.has('__npgeneric__')) return decodeScalar(fields);
  return new Map([...fields].map(([key, value]) => [key, decode(value)]));
}

function keyText(key: unknown): string {
  if (typeof key === 'string') return key;
  if (key instanceof Uint8Array) return Buffer.from(key).toString('latin1');
  throw invalidRequest('keys of text or bytes', typeof key);
}

function decodeArray(fields: ReadonlyMap<string, unknown>): NdArray {
  const data = fields.get('data');
  if (!(data instanceof Uint8Array)) throw invalidRequest('`data` of an array to be bytes', typeof data);
  return new NdArray(checkDtype(fields.get('dtype')), checkShape(fields.get('shape')), data);
}

function decodeScalar(fields: ReadonlyMap<string, unknown>): WireValue {
  const data = fields.get('data');
  if (typeof data === 'number' || typeof data === 'boolean' || typeof data === 'string') return data;
  throw invalidRequest('`data` of a scalar to be one number', typeof data);
}

/** Encodes any value of the protocol as one message. Plain numbers are written as msgpack's own. */
export function encodeMsgpackNumpy(value: WireValue): Buffer {
  return packMsgpack(encode(value));
}

/** Encodes plain values, maps and bytes as they are. */
export function packMsgpack(value: unknown): Buffer {
  return msgpack.encode(value);
}

function encode(value: WireValue): unknown {
  if (value instanceof NdArray) {
    const { data, dtype, shape } = value;
    return new Map<Buffer, unknown>([
      [keys.ndarray, true],
      [keys.data, Buffer.from(data.buffer, data.byteOffset, data.byteLength)],
      [keys.dtype, dtype],
      [keys.shape, shape],
    ]);
  }
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, encode(item)]));
  return Array.isArray(value) ? value.map(encode) : value;
}
