/**
 * json_numpy's form of arrays: `{"__numpy__": base64, "dtype": "<f8", "shape": [7]}` (docs/model.md, Serving protocol of the
 * reference).
 */

import { decodeBase64 } from '../addon/base64.ts';
import { JsonSyntaxError, type JsonText, type JsonValue, parseJsonBytes } from './jsonBytes.ts';
import { arrayBytes, checkDtype, checkShape, invalidRequest, NdArray, type WireValue } from './ndarray.ts';
import { type WireFields, wireFields } from './wireFields.ts';

export interface ActRequest {
  readonly fields: WireFields;
  /** Whether it came as `{"encoded": "<json>"}`; the answer then has the same form. */
  readonly encoded: boolean;
}

/**
 * Decodes the body of `POST /act`.
 * @param body taken over by this function: an `encoded` one is unescaped in place
 * @throws REQUEST_INVALID
 */
export function decodeActRequest(body: Buffer): ActRequest {
  const outer = parseObject(body);
  const inner = outer.get('encoded');
  if (inner === undefined) return { fields: fieldsOf(outer), encoded: false };
  if (outer.size !== 1) throw invalidRequest('`encoded` to be the only key', `${outer.size} keys`);
  if (!isText(inner)) throw invalidRequest('`encoded` to be a string that holds JSON', 'something else');
  return { fields: fieldsOf(parseInner(inner.unescapeInPlace())), encoded: true };
}

/** Decodes any JSON that contains arrays, including messages of a server. @throws REQUEST_INVALID */
export function decodeJsonNumpy(bytes: Buffer): WireValue {
  return decode(parseJsonBytes(bytes));
}

function parseObject(bytes: Buffer): Map<string, JsonValue> {
  const value = parseJsonBytes(bytes);
  if (value instanceof Map) return value;
  throw invalidRequest('a JSON object', 'something else');
}

/** Malformed content here is a different failure from a malformed body: the reference distinguishes them. */
function parseInner(bytes: Buffer): Map<string, JsonValue> {
  try {
    return parseObject(bytes);
  } catch (error) {
    if (error instanceof JsonSyntaxError) throw invalidRequest('`encoded` to hold JSON', 'something else');
    throw error;
  }
}

function fieldsOf(object: Map<string, JsonValue>): WireFields {
  if (object.has('__numpy__')) throw invalidRequest('an object of observation fields', 'an array');
  const inside = (value: JsonValue): Map<string, JsonValue> | null =>
    value instanceof Map && !value.has('__numpy__') ? value : null;
  return wireFields(object, { inside, decode });
}

function isText(value: JsonValue | undefined): value is JsonText {
  return typeof value === 'object' && value !== null && 'raw' in value;
}

function decode(value: JsonValue): WireValue {
  if (isText(value)) return value.toString();
  if (Array.isArray(value)) return value.map(decode);
  if (!(value instanceof Map)) return value;
  const data = value.get('__numpy__');
  if (data === undefined) return new Map([...value].map(([key, item]) => [key, decode(item)]));
  if (!isText(data)) throw invalidRequest('`__numpy__` to be base64', 'something else');
  const { dtype, shape } = { dtype: value.get('dtype'), shape: value.get('shape') };
  const type = checkDtype(isText(dtype) ? dtype.toString(64) : dtype);
  const sizes = checkShape(shape);
  return new NdArray(type, sizes, decodeBytes(data, arrayBytes(type, sizes)));
}

/** Strict: exactly the padded length, and only base64 characters. Decodes in place. */
function decodeBytes(text: JsonText, bytes: number): Uint8Array {
  const wanted = 4 * Math.ceil(bytes / 3);
  // Some writers escape the slash; base64 has no other use for a backslash.
  const raw = text.raw.length === wanted ? text.raw : text.unescapeInPlace();
  if (raw.length !== wanted)
    throw invalidRequest(`${wanted} characters of base64 for ${bytes} bytes`, `${raw.length}`);
  if (decodeBase64(raw) !== bytes) throw invalidRequest('base64', 'other characters');
  return raw.subarray(0, bytes);
}

/** The default spacing of Python's `json.dumps`, and that of FastAPI. */
export type JsonSpacing = 'spaced' | 'compact';

/** One array as JSON text. */
export function encodeArray(array: NdArray, spacing: JsonSpacing): string {
  const [comma, colon] = spacing === 'spaced' ? [', ', ': '] : [',', ':'];
  const { data, dtype, shape } = array;
  const base64 = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');
  return `{"__numpy__"${colon}"${base64}"${comma}"dtype"${colon}"${dtype}"${comma}"shape"${colon}[${shape.join(comma)}]}`;
}

/**
 * Encodes C actions as the reference's server does: a list of C arrays `<f8` [A]; for an `encoded` request, the same list as
 * JSON inside a JSON string.
 */
export function encodeActions(rows: readonly NdArray[], encoded: boolean): string {
  if (!encoded) return `[${rows.map((row) => encodeArray(row, 'compact')).join(',')}]`;
  return JSON.stringify(`[${rows.map((row) => encodeArray(row, 'spaced')).join(', ')}]`);
}
